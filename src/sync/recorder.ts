/** Commits what was read, several pages at a time, each together with the progress that counts it. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Spent } from '../store/run-claims.ts'
import type { Stage, StagedPage } from '../store/sync-stage.ts'
import type { BudgetUse } from './budget.ts'
import type { Pace } from './pace.ts'
import type { Progress } from './progress.ts'

/** What those that worked on the run before have committed. */
export interface Totals extends Spent {
  readonly pages: number
  readonly seen: number
}

/** How a page, or anything else that was done, changes what the run goes on from. */
export type Change = (progress: Progress) => Progress

export interface ReadPage {
  readonly page: StagedPage
  /** Entities, memberships and facts. */
  readonly rows: number
  /** Set where the provider sent none: what is kept then is what is known. */
  readonly isUnread?: boolean
}

export interface Recorder {
  /** As of everything that was handed over, committed or not. */
  readonly progress: Progress
  /** Hands a page over; resolves when there is room for another. Whatever is committed, all before it is. */
  add(page: ReadPage, change: Change): Promise<void>
  /** Changes the progress alone; it is committed with the next page at the latest. */
  note(change: Change): void
  /** Resolves when everything handed over is committed. */
  flush(): Promise<void>
  /** Commits what it still can, and ends. Never rejects: `onFailure` was told. */
  close(): Promise<void>
}

/** @param onFailure told when a commit failed: nothing is committed from then on */
export function createRecorder(
  stage: Pick<Stage, 'commit'>,
  begin: { readonly progress: Progress; readonly totals: Totals; readonly use: BudgetUse },
  pace: Pick<Pace, 'rowsWaiting' | 'rowsAtOnce' | 'lingerMs' | 'lookMs'>,
  onFailure: (error: unknown) => void,
): Recorder {
  let { progress } = begin
  let { pages, seen } = begin.totals
  let waiting: ReadPage[] = []
  let rowsWaiting = 0
  /** When the first of those that wait was handed over. */
  let waitingSinceMs: number | undefined
  let committedAtMs = performance.now()
  let handedOver = 0
  let committed = 0
  let flushTo = 0
  let failure: { readonly error: unknown } | undefined
  let isClosed = false
  let sleeping: AbortController | undefined
  let round = Promise.withResolvers<void>()

  const commit = async () => {
    const taken = waiting
    const takenTo = handedOver
    waiting = []
    waitingSinceMs = undefined
    const rows = taken.reduce((sum, page) => sum + page.rows, 0)
    const totals = {
      pages: pages + taken.filter(({ isUnread }) => isUnread !== true).length,
      seen: seen + rows,
      providerCalls: begin.totals.providerCalls + begin.use.calls,
      throttled: begin.totals.throttled + begin.use.throttled,
    }
    await stage.commit(
      taken.map(({ page }) => page),
      progress,
      totals,
    )
    ;({ pages, seen } = totals)
    rowsWaiting -= rows
    committed = takenTo
    committedAtMs = performance.now()
  }

  /** Whoever watches sees the first page as soon as it is there. */
  const isFirst = () => pages === 0 && waiting.length > 0
  const isHurried = () => isClosed || rowsWaiting >= pace.rowsAtOnce || committed < flushTo || isFirst()

  const msLeft = () => {
    if (isHurried()) return 0
    return waitingSinceMs === undefined
      ? committedAtMs + pace.lookMs - performance.now()
      : waitingSinceMs + pace.lingerMs - performance.now()
  }

  const sleep = async (ms: number) => {
    sleeping = new AbortController()
    await wait(ms, undefined, { signal: sleeping.signal }).catch(() => undefined)
    sleeping = undefined
  }

  /** Has the sleeper look again at what it waits for. */
  const stir = () => sleeping?.abort()

  const working = (async () => {
    try {
      while (!isClosed || committed < handedOver) {
        const ms = msLeft()
        if (ms > 0) {
          await sleep(ms)
          continue
        }
        await commit()
        const { resolve } = round
        round = Promise.withResolvers()
        resolve()
      }
    } catch (error) {
      failure = { error }
      onFailure(error)
      round.resolve()
    }
  })()

  /** Waits, commit by commit, as long as `isWaiting`. */
  const whileWaiting = async (isWaiting: () => boolean) => {
    while (failure === undefined && isWaiting()) {
      stir()
      await round.promise
    }
    if (failure !== undefined) throw failure.error
  }

  return {
    get progress() {
      return progress
    },
    async add(page, change) {
      // It keeps pages: whatever ends its process has nothing to do with where it is.
      progress = { ...change(progress), starts: 0 }
      waiting.push(page)
      handedOver += 1
      rowsWaiting += page.rows
      if (waitingSinceMs === undefined) {
        waitingSinceMs = performance.now()
        stir()
      }
      await whileWaiting(() => rowsWaiting > pace.rowsWaiting)
      if (isHurried()) stir()
    },
    note(change) {
      progress = change(progress)
      handedOver += 1
    },
    async flush() {
      flushTo = handedOver
      await whileWaiting(() => committed < flushTo)
    },
    async close() {
      isClosed = true
      stir()
      await working
    },
  }
}
