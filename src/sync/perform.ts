/** Performs one run from its claim to its end: reads, resumes, merges, and says why when it could not. */
import type { Transaction } from 'kysely'
import type { OpenedConfig } from '../configs/opened.ts'
import { ConfigRefusal } from '../configs/refusal.ts'
import { requiredBy } from '../configs/settings.ts'
import { MarkLost } from '../sources/reading.ts'
import { inTransaction, isUnavailable } from '../store/database.ts'
import {
  type ClaimedRun,
  claimRun,
  endCancelledRun,
  failRun,
  giveBackRun,
  keepPlan,
  type Spent,
} from '../store/run-claims.ts'
import type { Schema, SyncMode } from '../store/schema.ts'
import { dropStage, RunCancelled, RunLost, StageLost } from '../store/sync-stage.ts'
import { applyRun, Outdated } from './apply.ts'
import { failureOf, type RunError, type SyncCause, SyncFailure } from './failures.ts'
import { keepHeapSmall } from './heap.ts'
import { defaultPace } from './pace.ts'
import type { RunEnd, RunOptions, RunParts } from './parts.ts'
import { planRun } from './plan.ts'
import type { Progress } from './progress.ts'
import { readAll } from './read-all.ts'
import { ReadingStopped } from './reading.ts'
import { outcomeOf, resultDocument } from './result.ts'
import { type Beginning, beginRun, modeOf, readBefore } from './resume.ts'
import { type AnyReader, openSession, withWantedLists } from './session.ts'

/** A run that was begun so often without keeping a page took its process with it each time. */
const maxBeginnings = 3
/** How often a run begins, when what it has read is of no use again and again. */
const maxRounds = 3

/**
 * Performs a run that is queued or under way. One that was approved is merged as it was staged.
 *
 * @throws DatabaseUnavailable, after which the run may be performed again, and what `settle` throws
 */
export async function performRun(parts: RunParts, runId: string, options: RunOptions): Promise<RunEnd> {
  const { database, now } = parts
  const run = await claimRun(database, runId, now())
  if (run === undefined) return { kind: 'lost' }
  const letGrow = keepHeapSmall()
  try {
    return await new Performance(parts, run, options).toItsEnd()
  } finally {
    letGrow()
  }
}

class Performance {
  readonly #parts: RunParts
  readonly #run: ClaimedRun
  readonly #options: RunOptions
  #mode: SyncMode
  #progress: Progress | undefined
  #source = ''
  #spent: Spent
  /** What `settle` threw: not ours to judge. */
  #unsettled: { readonly error: unknown } | undefined

  constructor(parts: RunParts, run: ClaimedRun, options: RunOptions) {
    this.#parts = parts
    this.#run = run
    this.#options = options
    this.#mode = run.mode
    this.#spent = { providerCalls: run.providerCalls, throttled: run.throttled }
  }

  async toItsEnd(): Promise<RunEnd> {
    const { now, metrics } = this.#parts
    const end = await this.#attempt().catch((error: unknown) => this.#endBy(error))
    if (end.kind !== 'lost' && end.kind !== 'stopped') {
      const seconds = (now().getTime() - this.#run.startedAt.getTime()) / 1000
      metrics.onEnd(this.#source, this.#mode, end, seconds)
      if (end.kind !== 'quarantined') await this.#dropStage(this.#run.id)
    }
    return end
  }

  async #attempt(): Promise<RunEnd> {
    const { progress, isCancelRequested } = this.#run
    if (isCancelRequested) throw new RunCancelled()
    const begunBefore = Number(progress.starts) - 1
    if (Math.min(begunBefore, this.#options.attemptsBefore) >= maxBeginnings)
      throw failureOf('sync_process_ended')
    for (let round = 1; ; round += 1) {
      try {
        return await this.#readAndApply(round === 1)
      } catch (error) {
        const cause = whyAnew(error)
        if (cause === undefined) throw error
        if (round === maxRounds || this.#run.approvedBy !== undefined) throw failureOf(cause)
      }
    }
  }

  async #readAndApply(mayResume: boolean): Promise<RunEnd> {
    const parts = this.#parts
    const opened = await this.#open()
    const { row } = opened
    const reader: AnyReader | undefined = opened.source.reader
    this.#source = opened.source.name
    if (reader === undefined) throw failureOf('sync_not_supported')
    // What a round before this one has read counts no more.
    const run = mayResume ? this.#run : { ...this.#run, progress: { starts: this.#run.progress.starts } }
    if (run.approvedBy !== undefined) this.#progress = await readBefore(parts, run, row)
    else {
      this.#mode = await modeOf(parts, run, row, reader)
      const beginning = await beginRun(parts, run, row, this.#mode)
      this.#progress = await this.#read(opened, reader, beginning)
    }
    const { end, superseded } = await applyRun(
      parts,
      run,
      { reader, progress: this.#progress, spent: this.#spent },
      parts.settingsOf(row).fuse,
      (transaction, ended) => this.#settle(transaction, ended),
    )
    for (const id of superseded) await this.#dropStage(id)
    return end
  }

  async #read(
    opened: OpenedConfig,
    reader: AnyReader,
    { stage, progress, kept }: Beginning,
  ): Promise<Progress> {
    const run = this.#run
    const { metrics, pace, database } = this.#parts
    const { source, row } = opened
    if (kept.pages === 0) {
      const plan = await planRun({ database, sources: [source] }, row)
      if (plan !== undefined) await keepPlan(database, run, plan[progress.mode])
    }
    const stopping = new AbortController()
    const signal = AbortSignal.any([this.#options.signal, stopping.signal])
    const session = openSession(this.#parts, opened, reader, signal)
    try {
      return await readAll({
        opened,
        reader: withWantedLists(reader, requiredBy(source, row.settings)),
        session,
        stage,
        progress,
        totals: { pages: kept.pages, seen: kept.seen, ...this.#spent },
        owner: { organizationId: run.organizationId, configId: run.configId, source: source.name },
        knownMarks: run.marks ?? {},
        pace: { ...defaultPace, ...pace },
        signal,
        stop: () => stopping.abort(),
        onProgress: (now) => {
          this.#progress = now
        },
        onPage: (list, entities) => metrics.onPage(source.name, list, entities),
      })
    } finally {
      stopping.abort()
      await session.close()
      this.#spent = {
        providerCalls: this.#spent.providerCalls + session.use.calls,
        throttled: this.#spent.throttled + session.use.throttled,
      }
    }
  }

  async #open(): Promise<OpenedConfig> {
    try {
      const opened = await this.#parts.unseal(this.#run.configId, 'sync')
      if (opened === undefined) throw new RunLost()
      return opened
    } catch (error) {
      if (error instanceof ConfigRefusal && error.refusal.kind === 'sealed')
        throw failureOf('sync_secrets_sealed')
      throw error
    }
  }

  /** What becomes of the run when it was not merged. */
  async #endBy(error: unknown): Promise<RunEnd> {
    const { database, now, onTrouble, log } = this.#parts
    const run = this.#run
    try {
      if (this.#unsettled !== undefined) throw this.#unsettled.error
      if (error instanceof RunLost) return { kind: 'lost' }
      if (error instanceof ReadingStopped && this.#options.signal.aborted) {
        await giveBackRun(database, run, this.#spent)
        return { kind: 'stopped' }
      }
      if (isUnavailable(error)) {
        await giveBackRun(database, run, this.#spent).catch(() => undefined)
        throw error
      }
      if (error instanceof RunCancelled)
        return await this.#finish({ kind: 'cancelled' }, (transaction) =>
          endCancelledRun(transaction, run, { at: now(), ...this.#spent }),
        )
      const failure = failureIn(error)
      if (failure === undefined) {
        log.error({ run: run.id }, 'a run met a mistake of this program')
        onTrouble(error)
      }
      const { error: why, isFullWanted } = failure ?? failureOf('internal_error')
      return await this.#fail(why, isFullWanted)
    } catch (thrown) {
      if (thrown instanceof RunLost) return { kind: 'lost' }
      throw thrown
    }
  }

  #fail(error: RunError, isFullWanted: boolean): Promise<RunEnd> {
    const at = this.#parts.now()
    const result = this.#progress === undefined ? {} : resultDocument(outcomeOf(this.#progress))
    return this.#finish({ kind: 'failed', error, isFullWanted }, (transaction) =>
      failRun(transaction, this.#run, { error, result, at, ...this.#spent }),
    )
  }

  async #finish(end: RunEnd, effect: (transaction: Transaction<Schema>) => Promise<void>): Promise<RunEnd> {
    await inTransaction(this.#parts.database, async (transaction) => {
      await effect(transaction)
      await this.#settle(transaction, end)
    })
    return end
  }

  async #settle(transaction: Transaction<Schema>, end: RunEnd): Promise<void> {
    this.#unsettled = undefined
    try {
      await this.#options.settle?.(transaction, end)
    } catch (error) {
      // The database's own failures have the transaction repeated.
      if (!isUnavailable(error)) this.#unsettled = { error }
      throw error
    }
  }

  /** What is left of a stage is swept later. */
  async #dropStage(runId: string): Promise<void> {
    const { database, onTrouble } = this.#parts
    await inTransaction(database, (transaction) => dropStage(transaction, runId)).catch(onTrouble)
  }
}

const failureIn = (error: unknown): SyncFailure | undefined => {
  if (error instanceof SyncFailure) return error
  return error instanceof MarkLost ? failureOf('sync_mark_lost') : undefined
}

/** What was read is of no use, and reading it again may be. */
const whyAnew = (error: unknown): SyncCause | undefined => {
  if (error instanceof StageLost) return 'sync_stage_lost'
  return error instanceof Outdated ? 'sync_config_changes' : undefined
}
