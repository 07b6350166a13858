/** Reads chains of pages: patiently where the provider may only be unable for a while, and never round in circles. */
import { setTimeout as wait } from 'node:timers/promises'
import type { OpenedConfig } from '../configs/opened.ts'
import { SourceError } from '../outbound/source-error.ts'
import type { Reach } from '../sources/cause.ts'
import type { Json, Page } from '../sources/reading.ts'
import type { EntityType } from '../sources/source.ts'
import type { Stage } from '../store/sync-stage.ts'
import { diagnoseReading, type RunError, readingError } from './failures.ts'
import type { Pace } from './pace.ts'
import { follow, maxNamed, type Progress, type Trail } from './progress.ts'
import type { Recorder } from './recorder.ts'
import { type Owner, type Staged, type Subjects, stagePage } from './staging.ts'

/** What reading needs of a run. */
export interface ReadingParts {
  readonly opened: OpenedConfig
  readonly owner: Owner
  readonly stage: Pick<Stage, 'unchanged'>
  readonly recorder: Recorder
  readonly pace: Pace
  /** Aborts when the run ends here, for whatever reason. */
  readonly signal: AbortSignal
  onPage(list: string, entities: number): void
}

/** The run ends here: whoever ended it knows why. */
export class ReadingStopped extends Error {
  override readonly name = 'ReadingStopped'
}

/** The provider did not tell, for good or for longer than a run waits. */
export class Unread extends Error {
  override readonly name = 'Unread'
  readonly error: RunError
  readonly status: number | undefined
  /** Asked again it would be the same. */
  readonly isFinal: boolean
  readonly reach: Reach | undefined

  constructor(error: RunError, { status, isFinal, reach }: Pick<Unread, 'status' | 'isFinal' | 'reach'>) {
    super(error.code)
    this.error = error
    this.status = status
    this.isFinal = isFinal
    this.reach = reach
  }

  /** Whether the provider has forgotten where a list stood, as it may where it was asked to go on. */
  get mayBeForgotten(): boolean {
    return this.isFinal && isOfNoUse(this.status)
  }

  /** Whether only what was asked for may be refused: whoever is not let in at all (401) is refused whatever it is. */
  get mayBeOfOne(): boolean {
    return this.isFinal && this.reach === undefined && this.status !== 401
  }
}

/** What is not there, or not understood as it was asked, will not be there later. */
const isOfNoUse = (status: number | undefined) => status === 400 || status === 404 || status === 410

/** What is asked for. */
export interface Subject {
  /** Name of the list. */
  readonly list: string
  readonly capability: EntityType
}

/**
 * Asks until there is an answer, or no hope for one.
 *
 * @throws Unread, ReadingStopped, MarkLost
 */
export async function patiently<T>(
  { opened, pace, signal }: Pick<ReadingParts, 'opened' | 'pace' | 'signal'>,
  { list, capability }: Subject,
  ask: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    if (signal.aborted) throw new ReadingStopped()
    try {
      return await untilStopped(ask(), signal)
    } catch (error) {
      if (signal.aborted) throw new ReadingStopped()
      if (!(error instanceof SourceError)) throw error
      const diagnosis = diagnoseReading(opened, error, capability)
      const isFinal = diagnosis.determinate || (error.code === 'refused' && isOfNoUse(error.status))
      if (isFinal || attempt >= pace.attempts)
        throw new Unread(readingError(opened, diagnosis, error, list), {
          status: error.status,
          isFinal,
          reach: diagnosis.reach,
        })
      const asked = (error.retryAfterSeconds ?? 0) * 1000
      const pauseMs = pace.pauseMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2)
      const ms = Math.max(Math.min(pauseMs, pace.longestPauseMs), Math.min(asked, pace.longestWaitMs))
      await wait(ms, undefined, { signal }).catch(() => Promise.reject(new ReadingStopped()))
    }
  }
}

/** Nobody waits for an answer once the run has ended here. */
function untilStopped<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new ReadingStopped())
    signal.addEventListener('abort', stop, { once: true })
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

/** Where a chain of pages stands once a page of it is kept. */
export interface Step {
  /** Absent: the chain has ended. */
  readonly next?: { readonly cursor: Json; readonly trail: Trail }
  readonly mark?: Json
  readonly rows: number
  readonly unreadable: number
}

export interface Chain extends Subject, Subjects {
  /** For people. */
  readonly title: string
  readonly from?: { readonly cursor: Json; readonly trail?: Trail }
  read(cursor: Json | undefined): Promise<Page>
  /** How a page that is kept changes what the run goes on from. */
  record(progress: Progress, step: Step): Progress
}

/**
 * Reads a chain to its end. While a page is staged and committed the next one is asked for.
 *
 * @throws Unread, ReadingStopped, MarkLost, SyncFailure, and what a commit throws
 */
export async function readChain(parts: ReadingParts, chain: Chain): Promise<void> {
  const { recorder, owner, stage, onPage } = parts
  const ask = (cursor: Json | undefined) => patiently(parts, chain, () => chain.read(cursor))
  let trail = chain.from?.trail
  let asked = ask(chain.from?.cursor)
  for (;;) {
    const page = await asked
    const { next } = page
    if (next !== undefined) {
      trail = follow(trail, next, isEmpty(page), chain.title)
      asked = ask(next)
      // Whoever waits for it hears of its failure.
      asked.catch(() => undefined)
    }
    const staged = await stagePage(owner, stage, page, chain)
    const step: Step = {
      ...(next !== undefined && trail !== undefined && { next: { cursor: next, trail } }),
      ...(page.mark !== undefined && { mark: page.mark }),
      rows: staged.rows,
      unreadable: staged.unreadable.length,
    }
    await recorder.add(staged, (progress) => chain.record(noteUnreadable(progress, staged, chain), step))
    onPage(chain.list, staged.page.entities.length)
    if (next === undefined) return
  }
}

const isEmpty = (page: Page) =>
  (page.records ?? 0) === 0 &&
  [
    page.entities,
    page.memberships,
    page.facts,
    page.wholeFacts,
    page.activities,
    page.removed,
    page.changedGroups,
    page.unreadable,
  ].every((records) => records === undefined || records.length === 0)

function noteUnreadable(
  progress: Progress,
  { unreadable }: Pick<Staged, 'unreadable'>,
  { kinds }: Pick<Chain, 'kinds'>,
): Progress {
  if (unreadable.length === 0) return progress
  const { count, named } = progress.unreadable
  const unnamed = unreadable.flatMap(({ kind, uid }) =>
    uid === undefined && kinds.includes(kind) ? kind : [],
  )
  return {
    ...progress,
    unreadable: {
      count: count + unreadable.length,
      named: [...named, ...unreadable].slice(0, maxNamed),
    },
    unnamedKinds: [...new Set([...progress.unnamedKinds, ...unnamed])],
  }
}
