/** Works on runs of syncs, and keeps what follows from their ends: when the next ones begin, and what is told. */
import type { Transaction } from 'kysely'
import { nextAfter, nextIncrementAfter, type SyncSettings, syncSettingsOf } from '../configs/sync-settings.ts'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import { type Database, inTransaction } from '../store/database.ts'
import type { Schema } from '../store/schema.ts'
import { deleteOldRuns } from '../store/sync-runs.ts'
import { findRunSubject, type RunSubject, recordSyncEnd } from '../store/sync-states.ts'
import type { RunEnd, RunOptions } from '../sync/parts.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { announceQuarantine, announceSyncFailure, announceSyncRecovery } from './announcements.ts'
import type { Job } from './queue.ts'

/** Performs runs: what it reads and writes is no matter of jobs. */
export interface Runs {
  /** A run that was approved is applied as it stands, any other one is read. @throws DatabaseUnavailable */
  perform(runId: string, options: RunOptions): Promise<RunEnd>
}

export interface SyncingParts {
  readonly database: Pick<Database, 'query'>
  readonly sources: readonly AnySource[]
  readonly runs: Runs
  readonly metrics: Pick<Metrics, 'countSyncCalls'>
  now(): Date
}

/** How long a run that is over can be looked up, in milliseconds. */
const keepRunsMs = 30 * 86_400_000
/** First wait after a run that failed; it doubles up to the longest. */
const firstRetryMs = 5 * 60_000
const longestRetryMs = 6 * 3_600_000

/**
 * Works on a job; rejects when what came of it could not be kept, so that the job is begun again.
 *
 * @param requeue has another node go on with it
 * @throws TakenOver, DatabaseUnavailable
 */
export async function synchronise(
  { database, sources, runs, metrics, now }: SyncingParts,
  job: Job,
  requeue: (transaction: Transaction<Schema>) => Promise<void>,
): Promise<RunEnd['kind']> {
  let ended: RunSubject | undefined
  const end = await runs.perform(job.id, {
    signal: job.signal,
    attemptsBefore: job.attemptsBefore,
    async settle(transaction, runEnd) {
      await job.settle(transaction)
      ended = await findRunSubject(transaction, job.id)
      if (ended !== undefined) await follow(transaction, ended, runEnd, sources, now())
    },
  })
  if (ended !== undefined) {
    const source = sourceByIntegrationType(sources, ended.config.integration_type)
    if (source !== undefined) metrics.countSyncCalls(source.name, ended.providerCalls, ended.throttled)
  }
  if (end.kind === 'lost') await inTransaction(database, (transaction) => job.settle(transaction))
  if (end.kind === 'stopped')
    await inTransaction(database, async (transaction) => {
      await job.settle(transaction)
      await requeue(transaction)
    })
  return end.kind
}

/** Sets when the configuration is synchronised next, and tells whom it concerns. */
async function follow(
  transaction: Transaction<Schema>,
  { config, ...run }: RunSubject,
  end: RunEnd,
  sources: readonly AnySource[],
  at: Date,
): Promise<void> {
  // What was only counted changes nothing.
  if (run.isDryRun) return
  const settings = syncSettingsOf(config.id, config.settings)
  const hasIncrements =
    (sourceByIntegrationType(sources, config.integration_type)?.reader?.increments.length ?? 0) > 0
  await deleteOldRuns(transaction, config.id, new Date(at.getTime() - keepRunsMs))
  const increment = { nextIncrementalAt: hasIncrements ? nextIncrementAfter(settings, at) : null }
  const regular = nextAfter(settings, run.mode, at)
  const news = { runId: run.id, mode: run.mode, at }
  switch (end.kind) {
    case 'succeeded':
      // A full run is followed by increments.
      await recordSyncEnd(transaction, config.id, { ...regular, ...increment })
      if (run.failuresBefore > 0) await announceSyncRecovery(transaction, config, news, run.failuresBefore)
      return
    case 'quarantined':
      // The next increment would find the same: it waits for the approval, or for a full run.
      await recordSyncEnd(transaction, config.id, run.mode === 'full' ? regular : { nextIncrementalAt: null })
      await announceQuarantine(transaction, config, news, end.merge.held ?? [])
      return
    case 'failed': {
      if (end.isFullWanted) {
        await recordSyncEnd(transaction, config.id, { nextFullAt: at, nextIncrementalAt: null })
        return
      }
      const failures = run.failuresBefore + 1
      const retryAt = retryAfter(failures, settings, run.mode, at)
      await recordSyncEnd(transaction, config.id, {
        ...(run.mode === 'full' ? { nextFullAt: retryAt } : { nextIncrementalAt: retryAt }),
      })
      if (failures === 1) await announceSyncFailure(transaction, config, news, end.error)
      return
    }
    default:
      await recordSyncEnd(transaction, config.id, regular)
  }
}

/** Never sooner than the schedule would have it by itself, where that is often. */
function retryAfter(failures: number, settings: SyncSettings, mode: RunSubject['mode'], at: Date): Date {
  // Doubling stops long before the exponent overflows.
  const backoffMs = Math.min(firstRetryMs * 2 ** Math.min(failures - 1, 20), longestRetryMs)
  const leastMs = mode === 'incremental' ? settings.incrementalMinutes * 60_000 : 0
  return new Date(at.getTime() + Math.max(backoffMs, leastMs))
}
