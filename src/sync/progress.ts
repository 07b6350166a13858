/** Where a run stands: what it goes on from after a crash. Written together with the pages that it counts. */
import { hash } from 'node:crypto'
import type { EntityKind } from '../entities/model.ts'
import type { Json } from '../sources/reading.ts'
import type { SyncMode } from '../store/schema.ts'
import type { RunError } from './failures.ts'
import { failureOf } from './failures.ts'

/** Rises when a document of before cannot be gone on from: its run then starts anew. */
const version = 2

/** Most unreadable records that are named; all are counted. */
export const maxNamed = 20

/** What of a chain of pages is remembered to see that it leads back to itself. Two pages' hashes find every loop. */
export interface Trail {
  /** Of the first cursor: most loops lead back to the beginning. */
  readonly first: string
  /** Of a later one, put forward after twice as many pages each time. */
  readonly beacon: string
  readonly stepsToBeacon: number
  readonly steps: number
  /** Pages without anything on them, in a row. */
  readonly emptyInARow: number
}

export interface ListProgress {
  /** `left_out`: it could not be read, and the run goes on without it. */
  readonly state: 'reading' | 'ended' | 'left_out'
  readonly cursor?: Json
  readonly trail?: Trail
  readonly pages: number
  /** Entities, memberships and facts. */
  readonly seen: number
  /** Records that could not be read. */
  readonly unreadable: number
  /** A provider forgot where the list stood, and it was begun again. */
  readonly isBegunAgain?: boolean
  /** Why it was left out. */
  readonly error?: RunError
}

/** A group (or user) whose members (or groups) are being read. */
export interface OwnerProgress {
  readonly cursor?: Json
  readonly trail?: Trail
}

/** Owners are begun in the order of their ids: all up to `begunTo` have been read, except those that are open. */
export interface WalkProgress {
  readonly by: 'group' | 'identity'
  /** Requests of each walk, by what was read of groups and users. */
  readonly calls: Readonly<Partial<Record<'group' | 'identity', number>>>
  readonly begunTo: string
  readonly open: Readonly<Record<string, OwnerProgress>>
  readonly owners: number
  readonly pages: number
  readonly seen: number
  readonly unreadable: number
  readonly isEnded: boolean
  /** Owners that the provider refused to tell of. */
  readonly refused: number
  /** Not there any more when they were asked for. */
  readonly gone: number
  /** The first of those refusals. */
  readonly error?: RunError
}

export interface Unreadable {
  readonly list: string
  readonly kind: EntityKind
  readonly uid?: string
  readonly reason: string
}

export interface Progress {
  readonly version: typeof version
  readonly mode: SyncMode
  /** The configuration's revision with whose credentials it is read. */
  readonly revision: number
  /** When reading began. RFC 3339. */
  readonly beganAt: string
  /** How often the run was begun since a page was kept last. */
  readonly starts: number
  /** Where the next increment goes on, by list: taken before a full run, or at an increment's end. */
  readonly marks: Readonly<Record<string, Json>>
  /** Marks were asked for; those that are missing could not be had. */
  readonly areMarksTaken: boolean
  /** Lists of increments without a mark, and why: increments go on without them. */
  readonly unmarked: readonly RunError[]
  readonly lists: Readonly<Record<string, ListProgress>>
  readonly memberships?: WalkProgress
  readonly unreadable: { readonly count: number; readonly named: readonly Unreadable[] }
  /** Kinds of which a record could not even be named: nobody of that kind is taken to be gone. */
  readonly unnamedKinds: readonly EntityKind[]
}

export const newProgress = (begin: Pick<Progress, 'mode' | 'revision' | 'beganAt' | 'starts'>): Progress => ({
  version,
  ...begin,
  marks: {},
  areMarksTaken: begin.mode === 'incremental',
  unmarked: [],
  lists: {},
  unreadable: { count: 0, named: [] },
  unnamedKinds: [],
})

/** What was written, when a run can go on from it. */
export function readProgress(document: unknown): Progress | undefined {
  const progress = document as Partial<Progress> | null
  return progress?.version === version ? (progress as Progress) : undefined
}

export const newList: ListProgress = { state: 'reading', pages: 0, seen: 0, unreadable: 0 }

/** Without `cursor` when a list has none: `undefined` is no JSON. */
export const at = (cursor: Json | undefined, trail: Trail | undefined) => ({
  ...(cursor !== undefined && { cursor }),
  ...(trail !== undefined && { trail }),
})

/** No provider's cursor comes near, in characters of its JSON. */
const maxCursorLength = 16_384
/** Providers that filter after paging do send empty pages, though never so many in a row. */
const maxEmptyInARow = 100
/** NUL and halves of surrogate pairs, as JSON spells them: the database keeps neither. */
const unkeepable = /\\u(?:0000|d[89a-f][0-9a-f]{2})/

const isKeepable = (cursor: Json) => {
  const text = JSON.stringify(cursor)
  return text.length <= maxCursorLength && !unkeepable.test(text)
}

/** @throws SyncFailure when it is nothing that could be kept */
export function keptMark(mark: Json, list: string): Json {
  if (!isKeepable(mark)) throw failureOf('sync_cursor_unusable', list)
  return mark
}

/**
 * The trail once a page has named `next`.
 *
 * @param list for people
 * @throws SyncFailure when the list leads back to itself or does not end
 */
export function follow(trail: Trail | undefined, next: Json, isEmpty: boolean, list: string): Trail {
  if (!isKeepable(next)) throw failureOf('sync_cursor_unusable', list)
  const step = hash('sha256', JSON.stringify(next), 'hex').slice(0, 16)
  const emptyInARow = isEmpty ? (trail?.emptyInARow ?? 0) + 1 : 0
  if (emptyInARow > maxEmptyInARow) throw failureOf('sync_list_endless', list)
  if (trail === undefined) return { first: step, beacon: step, stepsToBeacon: 2, steps: 0, emptyInARow }
  if (step === trail.first || step === trail.beacon) throw failureOf('sync_list_loops', list)
  // Brent's way: a loop of any length is met before it was gone through three times.
  const steps = trail.steps + 1
  return steps === trail.stepsToBeacon
    ? { ...trail, beacon: step, stepsToBeacon: steps * 2, steps: 0, emptyInARow }
    : { ...trail, steps, emptyInARow }
}
