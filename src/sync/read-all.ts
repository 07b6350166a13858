/** Reads everything that a run is for: lists side by side, and memberships as soon as their owners are known. */
import type { OpenedConfig } from '../configs/opened.ts'
import type { Json } from '../sources/reading.ts'
import type { Stage } from '../store/sync-stage.ts'
import { failureOf, SyncFailure } from './failures.ts'
import { type ReadableList, readLists } from './lists.ts'
import { chooseWalk, newWalk, readNewcomers, walkMemberships } from './memberships.ts'
import type { Pace } from './pace.ts'
import { keptMark, type Progress } from './progress.ts'
import { patiently, type ReadingParts, Unread } from './reading.ts'
import { createRecorder, type Totals } from './recorder.ts'
import type { AnyReader, RunSession } from './session.ts'
import type { Owner } from './staging.ts'

export interface Everything {
  readonly opened: OpenedConfig
  readonly reader: AnyReader
  readonly session: RunSession
  readonly stage: Stage
  /** What to go on from. */
  readonly progress: Progress
  readonly totals: Totals
  readonly owner: Owner
  /** From where increments go on. */
  readonly knownMarks: Readonly<Record<string, unknown>>
  readonly pace: Pace
  readonly signal: AbortSignal
  /** Has everything that waits for the provider stop. */
  stop(): void
  onProgress(progress: Progress): void
  onPage(list: string, entities: number): void
}

/**
 * Reads to the end, and answers where the run stands then.
 *
 * @throws SyncFailure, MarkLost, ReadingStopped, RunLost, RunCancelled, DatabaseUnavailable
 */
export async function readAll(what: Everything): Promise<Progress> {
  const { stage, session, pace, opened, owner, signal, onPage, onProgress, stop } = what
  /** The first failure is the run's; what fails after it fails because of it. */
  let failed: { readonly error: unknown } | undefined
  const fail = (error: unknown) => {
    failed ??= { error }
    stop()
  }
  const recorder = createRecorder(
    stage,
    { progress: what.progress, totals: what.totals, use: session.use },
    pace,
    fail,
  )
  const parts: ReadingParts = { opened, owner, stage, recorder, pace, signal, onPage }
  try {
    await (what.progress.mode === 'full' ? readFull(what, parts) : readIncrement(what, parts))
    await recorder.flush()
  } catch (error) {
    fail(error)
  } finally {
    // What was read until now is kept, whatever ended it.
    await recorder.close()
    onProgress(recorder.progress)
  }
  if (failed !== undefined) throw failed.error
  return recorder.progress
}

async function readFull(what: Everything, parts: ReadingParts): Promise<void> {
  const { reader, session } = what
  await takeMarks(what, parts)
  const lists = reader.lists.map((list): ReadableList => {
    const { name, title, capability, required, after = [], kinds = [] } = list
    return {
      name,
      title,
      capability,
      required,
      after,
      mayFollowLeftOut: false,
      kinds,
      read: (cursor) => list.read(session.session, cursor),
    }
  })
  const reading = readLists(parts, lists)
  // Who may be asked for memberships has to be known; where groups alone are asked, people are read meanwhile.
  const owners = reader.memberships.map(({ by }) => by)
  const ownerLists = lists
    .filter(({ kinds }) => kinds.some((kind) => owners.some((owner) => owner === kind)))
    .map(({ name }) => name)
  await Promise.all([reading.ended, reading.endOf(ownerLists).then(() => readMemberships(what, parts))])
}

/** Before anything is read, so that what changes meanwhile is told by the next increment. */
async function takeMarks({ reader, session }: Everything, parts: ReadingParts): Promise<void> {
  const { recorder } = parts
  if (recorder.progress.areMarksTaken) return
  const taken = await Promise.all(
    reader.increments.map(async (list): Promise<Pick<Progress, 'marks' | 'unmarked'>> => {
      const { name, title, capability, required } = list
      const subject = { list: name, capability }
      try {
        const mark = await patiently(parts, subject, () => list.begin(session.session))
        return { marks: { [name]: keptMark(mark, title) }, unmarked: [] }
      } catch (error) {
        if (!(error instanceof Unread)) throw error
        if (required || error.reach === 'everything') throw new SyncFailure(error.error)
        return { marks: {}, unmarked: [error.error] }
      }
    }),
  )
  recorder.note((progress) => ({
    ...progress,
    marks: Object.assign({}, ...taken.map(({ marks }) => marks)),
    unmarked: taken.flatMap(({ unmarked }) => unmarked),
    areMarksTaken: true,
  }))
}

async function readMemberships({ reader, session, stage }: Everything, parts: ReadingParts): Promise<void> {
  const { recorder } = parts
  const [first, ...others] = reader.memberships
  if (first === undefined || recorder.progress.memberships?.isEnded === true) return
  // Owners are asked of the stage.
  await recorder.flush()
  if (recorder.progress.memberships === undefined) {
    const memberships = newWalk(await chooseWalk(stage, [first, ...others]))
    recorder.note((progress) => ({ ...progress, memberships }))
  }
  const by = recorder.progress.memberships?.by
  const walk = reader.memberships.find((one) => one.by === by)
  if (walk === undefined) throw new Error(`the source has no walk by ${by} any more`)
  const owners = (after: string, limit: number) => stage.owners(walk.by, after, limit)
  await walkMemberships(parts, walk, session.session, owners, true)
}

/** Whom an increment asks for their groups. What is more than a day's newcomers is a full run's to read. */
const mostNewcomers = 1_000

async function readIncrement(what: Everything, parts: ReadingParts): Promise<void> {
  const { reader, session, stage, knownMarks } = what
  const { recorder } = parts
  recorder.note((progress) => ({
    ...progress,
    unmarked: reader.increments
      .filter(({ name }) => knownMarks[name] === undefined)
      .map(({ name, title }) => ({ ...failureOf('sync_mark_missing', title).error, list: name })),
  }))
  const lists = reader.increments.flatMap((list): ReadableList[] => {
    const { name, title, capability, required, after = [], kinds } = list
    const mark = knownMarks[name]
    if (mark === undefined) return []
    return [
      {
        name,
        title,
        capability,
        required,
        after,
        mayFollowLeftOut: true,
        kinds,
        read: (cursor) => list.read(session.session, mark as Json, cursor),
      },
    ]
  })
  await readLists(parts, lists).ended
  await recorder.flush()
  const walk = reader.memberships.find(({ by }) => by === 'group')
  if (walk === undefined || recorder.progress.memberships?.isEnded === true) return
  if (recorder.progress.memberships === undefined)
    recorder.note((progress) => ({ ...progress, memberships: newWalk({ by: 'group', calls: {} }) }))
  if (reader.newcomers !== undefined) {
    await readNewcomers(parts, reader.newcomers, session.session, await stage.newcomers(mostNewcomers))
    // They may have named groups whose members have to be read.
    await recorder.flush()
  }
  await walkMemberships(
    parts,
    walk,
    session.session,
    (after, limit) => stage.changedGroups(after, limit),
    false,
  )
}
