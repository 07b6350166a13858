/**
 * What has changed, by Graph's delta queries. They say reliably which objects changed, in any order, some of them
 * more than once or again in a later round; what they show of a changed object may be a part of it. So every changed
 * object is read again, whole. The directory's list may lag behind: what the delta told is laid over what the list
 * shows, and stands alone where the list does not have the object yet. Where the two differ, the next round looks the
 * object up once more, and what is shown then counts.
 *
 * A user who was deleted and is restored comes back without the groups: no delta tells of these memberships, the next
 * full run does.
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview
 */
import { isDeepStrictEqual } from 'node:util'
import type { Entity, EntityKind, Membership } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import type { EntityType } from '../source.ts'
import { isObject } from './access.ts'
import { readByIds } from './by-ids.ts'
import type { GraphObject } from './client.ts'
import { newsIn } from './delta-news.ts'
import { badLink, objectsIn, type Place } from './graph-page.ts'
import { deviceShape, devices, groupShape, groups, ownersIn, ownersShape, userShape, users } from './lists.ts'
import { isKnownMember } from './memberships.ts'
import {
  deviceOf,
  deviceProperties,
  groupOf,
  groupProperties,
  identityOf,
  type Read,
  userProperties,
} from './normalise.ts'
import type { ReadingSession } from './reading-session.ts'
import { readStanding, writeStanding } from './round.ts'
import { sortOut } from './sorted-out.ts'
import { idOf } from './values.ts'

interface Followed {
  readonly name: string
  readonly title: string
  readonly capability: EntityType
  readonly kind: EntityKind
  readonly required: boolean
  readonly place: Place
  /** Properties and relationships that are followed. */
  readonly properties: readonly string[]
  /** How an object is read again. */
  readonly shape: string
  normalise(record: GraphObject): Read<Entity>
  /** What else is told. */
  further?(news: News): Page
}

interface News {
  /** The delta's objects, of those that are there. */
  readonly changed: readonly GraphObject[]
  /** Those that were read again. */
  readonly records: readonly GraphObject[]
  /** Ids of those that the last round left open, and that are there. */
  readonly settled: readonly string[]
}

export const increments: readonly IncrementList<ReadingSession>[] = [
  follow({
    name: 'users',
    title: 'Changed users',
    capability: 'users',
    kind: 'identity',
    required: true,
    place: users,
    properties: [...userProperties, 'manager'],
    shape: userShape,
    normalise: identityOf,
  }),
  follow({
    name: 'groups',
    title: 'Changed groups',
    capability: 'groups',
    kind: 'group',
    required: true,
    place: groups,
    properties: [...groupProperties, 'members'],
    shape: groupShape,
    normalise: groupOf,
    further: membersIn,
  }),
  follow({
    name: 'devices',
    title: 'Changed devices',
    capability: 'devices',
    kind: 'device',
    required: false,
    place: devices,
    properties: deviceProperties,
    shape: `${deviceShape}&${ownersShape}`,
    normalise: deviceOf,
    further: ({ records }) => ({ ...ownersIn(records), wholeFacts: toldOwnersOf(records) }),
  }),
]

function follow(followed: Followed): IncrementList<ReadingSession> {
  const { name, title, capability, kind, required, place, properties } = followed
  const delta: Place = {
    ...place,
    operation: place.operation.replace(/^read /, 'read changed '),
    path: `${place.path}/delta`,
  }
  return {
    name,
    title,
    capability,
    required,
    kinds: [kind],

    async begin(session) {
      const { delta: mark } = await session.page(
        delta,
        `${delta.path}?$select=${properties.join()}&$deltatoken=latest`,
      )
      if (mark === undefined) throw badLink(delta, 'missing')
      return mark
    },

    async read(session, mark, cursor) {
      const standing = readStanding(delta, cursor ?? mark)
      const page = await session.page(delta, standing.link).catch((error: unknown) => lostOr(error, cursor))
      const link = page.next ?? page.delta
      if (link === undefined) throw badLink(delta, 'missing')
      // The first page settles what the last round left open.
      const [open, kept] = cursor === undefined ? [standing.doubts, []] : [[], standing.doubts]
      const { doubts, ...told } = await readAgain(session, followed, objectsIn(page.value), open)
      const end = writeStanding({ link, doubts: [...new Set([...kept, ...doubts])] })
      return { ...told, ...(page.next !== undefined ? { next: end } : { mark: end }) }
    },
  }
}

/** Devices of which all owners are told, if only that there are none. */
const toldOwnersOf = (records: readonly GraphObject[]): NonNullable<Page['wholeFacts']> =>
  records
    .filter(({ registeredOwners }) => Array.isArray(registeredOwners))
    .flatMap(({ id }) => idOf(id) ?? [])
    .map((uid) => ({ kind: 'device', uid, names: ['owners'] }))

/** @see https://learn.microsoft.com/graph/errors#code-property */
const lostCodes = new Set(['syncstatenotfound', 'syncstateinvalid', 'resyncrequired'])
/** Of a link between pages it means no more than that the round has to begin again. */
const expiredCode = 'directory_expiredpagetoken'

/**
 * Graph answers 410 with a `Location` when a round has to begin anew, and a 40X with a code of its own when a token is
 * older than seven days. The location is not followed: a full run reads everything.
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset
 */
function lostOr(error: unknown, cursor: Json | undefined): never {
  if (error instanceof SourceError && error.code === 'refused') {
    const code = error.providerCode?.toLowerCase() ?? ''
    const isLost =
      error.status === 410 || lostCodes.has(code) || (code === expiredCode && cursor === undefined)
    if (isLost) throw new MarkLost(error.message, { cause: error })
  }
  throw error
}

/** What one page tells of its objects, and which of them the next round has to look up once more. */
type ToldAgain = Page & { readonly doubts: readonly string[] }

/** @param open ids that the last round left open */
async function readAgain(
  session: ReadingSession,
  { kind, place, properties, shape, normalise, further }: Followed,
  told: readonly GraphObject[],
  open: readonly string[],
): Promise<ToldAgain> {
  const removed = new Set<string>()
  const changed = new Map<string, GraphObject[]>()
  const nameless: GraphObject[] = []
  for (const object of told) {
    const uid = idOf(object.id)
    if (uid === undefined) nameless.push(object)
    else if (isObject(object['@removed'])) removed.add(uid)
    else changed.set(uid, [...(changed.get(uid) ?? []), object])
  }
  const found = await readByIds(session, place, shape, [...new Set([...changed.keys(), ...open])])
  // Both "changed" (it can be restored for 30 days) and "deleted" end it. Who is told of as changed too, and found, is there.
  const gone = [...removed].filter((uid) => !found.has(uid)).sort()
  const doubts: string[] = []
  const records: GraphObject[] = []
  const lost: NonNullable<Page['unreadable']>[number][] = []
  for (const [uid, record] of found) {
    const laid = { ...record, ...newsIn(changed.get(uid) ?? [], properties) }
    const read = normalise(laid)
    const isAsTold = isDeepStrictEqual(read, normalise(record))
    if (!isAsTold) doubts.push(uid)
    records.push(isAsTold || !('entity' in read) ? record : laid)
  }
  for (const [uid, objects] of changed) {
    if (found.has(uid) || removed.has(uid)) continue
    doubts.push(uid)
    const own = { ...newsIn(objects, properties), id: uid }
    if ('entity' in normalise(own)) records.push(own)
    else lost.push({ kind, uid, reason: 'it was told as changed, and is not to be found' })
  }
  const { entities, unreadable = [] } = sortOut(kind, [...records, ...nameless], normalise)
  const unread = [...unreadable, ...lost]
  return {
    entities,
    ...(unread.length > 0 && { unreadable: unread }),
    ...(gone.length > 0 && { removed: gone.map((uid) => ({ kind, uid })) }),
    ...further?.({
      changed: [...changed].flatMap(([uid, objects]) => (gone.includes(uid) ? [] : objects)),
      records: [...found.values()],
      settled: open.filter((uid) => found.has(uid)),
    }),
    doubts,
  }
}

/**
 * `members@delta` lists who came and who went. A group that is told of without it was renamed, or restored with
 * members that nobody tells of; one whose member both came and went may have been told in any order; one that was left
 * open could not be asked for its members: those of all three are read anew.
 *
 * @see https://learn.microsoft.com/graph/delta-query-groups
 */
function membersIn({ changed, settled }: News): Page {
  const moves = new Map<string, Map<string, NonNullable<Membership['change']>>>()
  const unclear = new Set<string>(settled)
  for (const object of changed) {
    const group = idOf(object.id)
    if (group === undefined) continue
    const told = object['members@delta']
    if (!Array.isArray(told)) {
      if (!moves.has(group)) unclear.add(group)
      continue
    }
    const known = moves.get(group) ?? new Map()
    moves.set(group, known)
    for (const member of objectsIn(told).filter(isKnownMember)) {
      const uid = idOf(member.id)
      if (uid === undefined) continue
      const change = isObject(member['@removed']) ? 'removed' : 'added'
      if ((known.get(uid) ?? change) !== change) unclear.add(group)
      known.set(uid, change)
    }
  }
  const memberships = [...moves]
    .filter(([group]) => !unclear.has(group))
    .flatMap(([group, known]) => [...known].map(([member, change]) => ({ group, member, change })))
  return {
    ...(memberships.length > 0 && { memberships }),
    ...(unclear.size > 0 && { changedGroups: [...unclear].map((uid) => ({ uid })) }),
  }
}
