/** Reads lists side by side, each from where it stood, and after those that have to come before it. */
import type { EntityKind } from '../entities/model.ts'
import type { Json, Page } from '../sources/reading.ts'
import type { EntityType } from '../sources/source.ts'
import { failureOf, SyncFailure } from './failures.ts'
import { keptMark, type ListProgress, newList, type Progress, type Trail } from './progress.ts'
import { type ReadingParts, readChain, type Step, Unread } from './reading.ts'

export interface ReadableList {
  readonly name: string
  readonly title: string
  readonly capability: EntityType
  readonly required: boolean
  readonly after: readonly string[]
  /** Whether it is read, too, when one of those was left out. */
  readonly mayFollowLeftOut: boolean
  readonly kinds: readonly EntityKind[]
  read(cursor: Json | undefined): Promise<Page>
}

export interface ListReading {
  /** Resolves once these lists have ended or were left out; whether all have ended. */
  endOf(names: readonly string[]): Promise<boolean>
  /** Resolves once all have. */
  readonly ended: Promise<void>
}

/**
 * Begins to read. An optional list that cannot be read is left out, and so are those that need it.
 *
 * @throws (by `ended`) SyncFailure when a required one cannot be read, or nothing can, MarkLost, ReadingStopped
 */
export function readLists(parts: ReadingParts, lists: readonly ReadableList[]): ListReading {
  const begun = new Map<string, Promise<boolean>>()

  const begin = (list: ReadableList): Promise<boolean> => {
    const known = begun.get(list.name)
    if (known !== undefined) return known
    const reading = (async () => {
      const earlier = parts.recorder.progress.lists[list.name]?.state
      if (earlier === 'ended' || earlier === 'left_out') return earlier === 'ended'
      const isAllRead = await endOf(list.after)
      if (!isAllRead && !list.mayFollowLeftOut) return leaveOutAfter(parts, list)
      return readList(parts, list)
    })()
    begun.set(list.name, reading)
    return reading
  }

  const endOf = async (names: readonly string[]) => {
    const ends = await Promise.all(lists.filter(({ name }) => names.includes(name)).map(begin))
    return ends.every((hasEnded) => hasEnded)
  }

  const ended = endOf(lists.map(({ name }) => name)).then(() => undefined)
  return { endOf, ended }
}

const listOf = (progress: Progress, name: string) => progress.lists[name] ?? newList

const withList = (progress: Progress, name: string, list: ListProgress): Progress => ({
  ...progress,
  lists: { ...progress.lists, [name]: list },
})

/** Whether it ended; when it did not it is left out. */
async function readList(parts: ReadingParts, list: ReadableList): Promise<boolean> {
  const { recorder } = parts
  const { name, title, capability, required, kinds } = list
  const known = listOf(recorder.progress, name)
  const resumedAt = known.cursor
  if (recorder.progress.lists[name] === undefined)
    recorder.note((progress) => withList(progress, name, newList))
  const record = (progress: Progress, { next, mark, rows, unreadable }: Step): Progress => {
    const { cursor: _cursor, trail: _trail, ...before } = listOf(progress, name)
    const after = withList(progress, name, {
      ...before,
      state: next === undefined ? 'ended' : 'reading',
      ...next,
      pages: before.pages + 1,
      seen: before.seen + rows,
      unreadable: before.unreadable + unreadable,
    })
    return next !== undefined || mark === undefined
      ? after
      : { ...after, marks: { ...after.marks, [name]: keptMark(mark, title) } }
  }
  const read = (from: { readonly cursor: Json; readonly trail?: Trail } | undefined) =>
    readChain(parts, {
      list: name,
      title,
      capability,
      kinds,
      ...(from !== undefined && { from }),
      read: list.read,
      record,
    })
  try {
    try {
      await read(
        resumedAt === undefined
          ? undefined
          : { cursor: resumedAt, ...(known.trail !== undefined && { trail: known.trail }) },
      )
    } catch (error) {
      // Providers forget where a list stood: what was read of it is read again, and taken for the same.
      const { cursor, isBegunAgain } = listOf(recorder.progress, name)
      const isForgotten = error instanceof Unread && error.mayBeForgotten && cursor !== undefined
      if (!isForgotten || isBegunAgain === true) throw error
      recorder.note((progress) => {
        const { cursor: _cursor, trail: _trail, ...before } = listOf(progress, name)
        return withList(progress, name, { ...before, isBegunAgain: true })
      })
      await read(undefined)
    }
    return true
  } catch (error) {
    if (!isGoneWithout(error)) throw error
    if (required || (error instanceof Unread && error.reach === 'everything'))
      throw new SyncFailure(error.error)
    const told = { ...error.error, list: name }
    recorder.note((progress) =>
      withList(progress, name, { ...listOf(progress, name), state: 'left_out', error: told }),
    )
    return false
  }
}

/** Whether a run may go on without a list that failed so: it cannot be read, or does not end. */
const isGoneWithout = (error: unknown): error is Unread | SyncFailure =>
  error instanceof Unread || (error instanceof SyncFailure && error.error.code === 'sync_list_endless')

function leaveOutAfter({ recorder }: ReadingParts, { name, title, after, required }: ReadableList): boolean {
  const [earlier] = after.flatMap((one) => recorder.progress.lists[one]?.error ?? [])
  const { error } = failureOf('sync_list_left_out', title)
  const remedy = earlier?.remedy ?? error.remedy
  const told = { ...error, remedy, list: name }
  if (required) throw new SyncFailure(told)
  recorder.note((progress) =>
    withList(progress, name, { ...listOf(progress, name), state: 'left_out', error: told }),
  )
  return false
}
