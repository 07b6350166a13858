/** Validates stored credentials again, for the server's own reasons, and keeps what follows from it. */
import type { Transaction } from 'kysely'
import type { Configs } from '../configs/configs.ts'
import { causesOf } from '../configs/proving.ts'
import { type Database, inTransaction, isUnavailable } from '../store/database.ts'
import {
  countUnclear,
  endUnclear,
  lockScheduledConfig,
  noteExpiry,
  type ScheduledConfig,
  setNextValidation,
} from '../store/due-configs.ts'
import type { Schema } from '../store/schema.ts'
import type { Report } from '../validation/report.ts'
import { announceExpiry, announceUnclear, type Unclear } from './announcements.ts'
import { type Job, TakenOver } from './queue.ts'
import { endOf, passedMarks, type Schedule } from './schedule.ts'

export type RevalidationEnd = Report['verdict'] | 'put_off' | 'failed' | 'set_aside' | 'dropped'

export interface RevalidationParts {
  readonly database: Pick<Database, 'query'>
  readonly configs: Pick<Configs, 'revalidate'>
  readonly schedule: Schedule
  now(): Date
  /** Told what an operator has to look at. */
  onTrouble(error: unknown): void
}

/** A job that was begun so often and never ended took its process with it each time. */
export const maxBeginnings = 3
/** After so many validations in a row that settled nothing it is told. */
const unclearLimit = 3

/**
 * Works on a job; rejects when what it found could not be kept, so that the job is begun again.
 *
 * @throws TakenOver, DatabaseUnavailable
 */
export async function revalidate(
  { database, configs, schedule, now, onTrouble }: RevalidationParts,
  job: Job,
): Promise<RevalidationEnd> {
  /** Ends the job with `effect` on its configuration; without one, when that is gone or disabled. */
  const settle = (effect: (transaction: Transaction<Schema>, config: ScheduledConfig) => Promise<void>) =>
    inTransaction(database, async (transaction) => {
      const config = await lockScheduledConfig(transaction, job.id)
      await job.settle(transaction)
      if (config?.enabled === true) await effect(transaction, config)
    })

  const tellUnclear = async (
    transaction: Transaction<Schema>,
    config: ScheduledConfig,
    unclear: Pick<Unclear, 'reason' | 'causes'> & { readonly atLeastSeconds?: number | undefined },
  ) => {
    const at = now()
    const { count, since } = await countUnclear(transaction, config.id, at)
    await setNextValidation(transaction, config, schedule.afterUnclear(count, at, unclear.atLeastSeconds))
    if (count === unclearLimit) await announceUnclear(transaction, config, { ...unclear, count, since, at })
  }

  const keep = async (config: ScheduledConfig, report: Report, transaction: Transaction<Schema>) => {
    await job.settle(transaction)
    if (!config.enabled) return
    if (report.verdict === 'indeterminate') {
      const causes = causesOf(report)
      const atLeastSeconds = report.retry_after_seconds
      await tellUnclear(transaction, config, { reason: 'indeterminate', causes, atLeastSeconds })
    } else await endUnclear(transaction, config.id)
    await tellExpiry(transaction, config, report, now())
  }

  const setAside = async () => {
    const at = now()
    await settle(async (transaction, config) => {
      await setNextValidation(transaction, config, null)
      await announceUnclear(transaction, config, {
        reason: 'set_aside',
        causes: ['process_ended'],
        count: job.attemptsBefore,
        since: new Date(job.dueAt),
        at,
      })
    })
    onTrouble(
      new Error(
        `configuration ${job.id}: its validation was begun ${job.attemptsBefore} times and never ended, so it is set aside until somebody validates or changes it`,
      ),
    )
    return 'set_aside' as const
  }

  const ask = async (): Promise<RevalidationEnd> => {
    let isKept = false
    const found = await configs.revalidate(job.id, 'scheduled validation', {
      signal: job.signal,
      async onReport(...kept) {
        isKept = true
        await keep(...kept)
      },
    })
    switch (found.kind) {
      case 'not_wanted':
        return 'dropped'
      case 'put_off': {
        const next = new Date(now().getTime() + found.retryAfterSeconds * 1000)
        await settle((transaction, config) => setNextValidation(transaction, config, next))
        return 'put_off'
      }
      case 'sealed':
        await settle((transaction, config) =>
          tellUnclear(transaction, config, { reason: 'failed', causes: ['vault_sealed'] }),
        )
        return 'failed'
      case 'done':
        if (isKept) return found.verdict
        // Either the node is about to stop: then it is due for another at once. Or others changed the configuration
        // meanwhile, which set its due time.
        await settle(async (transaction, config) => {
          if (job.signal.aborted) await setNextValidation(transaction, config, now())
        })
        return 'dropped'
    }
  }

  try {
    return job.attemptsBefore >= maxBeginnings ? await setAside() : await ask()
  } catch (error) {
    if (error instanceof TakenOver || isUnavailable(error)) throw error
    onTrouble(error)
    await settle((transaction, config) =>
      tellUnclear(transaction, config, { reason: 'failed', causes: ['internal_error'] }),
    )
    return 'failed'
  }
}

/** Tells once for each mark, and once for all that are passed at a time. */
async function tellExpiry(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  report: Report,
  at: Date,
): Promise<void> {
  const expiresAt = endOf(report)
  if (expiresAt === undefined) return
  const untold = await noteExpiry(transaction, config.id, expiresAt, passedMarks(expiresAt, at))
  if (untold.length > 0)
    await announceExpiry(transaction, config, { expiresAt, days: Math.min(...untold), at })
}
