/**
 * What has changed, by Graph's delta queries. They say reliably which objects changed, in any order, some of them
 * more than once or again in a later round; what they show of a changed object may be a part of it. So every changed
 * object is read again, whole. The directory's list may lag behind: what the delta told is laid over what the list
 * shows, and stands alone where the list does not have the object yet. Who is said to be removed and is listed stays.
 * Where the two differ, the next round looks the object up once more, and what is shown then counts.
 *
 * A user who was deleted and is restored comes back without the groups, as no delta tells of these memberships: whoever
 * is met for the first time is asked for them (`newcomers`).
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview
 */
import { isDeepStrictEqual } from 'node:util'
import type { Entity, EntityKind } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import type { EntityType } from '../source.ts'
import { isObject } from './access.ts'
import { readByIds } from './by-ids.ts'
import { type ChangedMembers, membersIn } from './changed-members.ts'
import type { GraphObject } from './client.ts'
import { newsIn } from './delta-news.ts'
import { badLink, objectsIn, type Place } from './graph-page.ts'
import { deviceShape, devices, groupShape, groups, ownersIn, ownersShape, userShape, users } from './lists.ts'
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
import { type Doubts, noDoubts, nothingTold, readStanding, type Told, writeStanding } from './round.ts'
import { sortOut } from './sorted-out.ts'
import { andTold, hasTold } from './told-ids.ts'
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
  further?(news: News): Further
}

interface Further extends Partial<Pick<ChangedMembers, 'joined' | 'left'>> {
  readonly page: Page
}

interface News {
  /** The delta's objects, of those that are there. */
  readonly changed: readonly GraphObject[]
  /** Those that were read again. */
  readonly records: readonly GraphObject[]
  /** Ids of those that the last round left open, and that are there. */
  readonly settled: readonly string[]
  /** What former pages of the round have told. */
  readonly before: Told
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
    further: ({ changed, settled, before }) => membersIn(changed, settled, before),
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
    further: ({ records }) => ({ page: { ...ownersIn(records), wholeFacts: toldOwnersOf(records) } }),
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
      const { link, doubts, told } = readStanding(delta, cursor ?? mark)
      const page = await session.page(delta, link).catch((error: unknown) => lostOr(error, cursor))
      const end = page.next ?? page.delta
      if (end === undefined) throw badLink(delta, 'missing')
      // The first page settles what the last round left open.
      const [open, kept] = cursor === undefined ? [doubts, noDoubts] : [noDoubts, doubts]
      const reread = await readAgain(session, followed, objectsIn(page.value), open, told)
      const standing = {
        link: end,
        doubts: {
          there: [...kept.there, ...reread.doubts.there],
          gone: [...kept.gone, ...reread.doubts.gone],
        },
        told: page.next === undefined ? nothingTold : reread.told,
      }
      const records = page.value.length
      return { ...reread.page, records, [page.next !== undefined ? 'next' : 'mark']: writeStanding(standing) }
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

/** What one page tells of its objects, and what later pages and the next round have to know of it. */
interface Reread {
  readonly page: Page
  readonly doubts: Doubts
  readonly told: Told
}

/**
 * Looks up whoever the page names, those that it says are removed too: who is listed is never removed for what a page
 * says of a state that may be over.
 *
 * @param open what the last round left open
 * @param before what former pages of this round have told
 */
async function readAgain(
  session: ReadingSession,
  { kind, place, properties, shape, normalise, further }: Followed,
  objects: readonly GraphObject[],
  open: Doubts,
  before: Told,
): Promise<Reread> {
  const removed = new Set<string>()
  const changed = new Map<string, GraphObject[]>()
  const nameless: GraphObject[] = []
  for (const object of objects) {
    const uid = idOf(object.id)
    if (uid === undefined) nameless.push(object)
    else if (isObject(object['@removed'])) removed.add(uid)
    else changed.set(uid, [...(changed.get(uid) ?? []), object])
  }
  const asked = new Set([...changed.keys(), ...removed, ...open.there, ...open.gone])
  const found = await readByIds(session, place, shape, [...asked])
  // Both "changed" (it can be restored for 30 days) and "deleted" end it.
  const gone = [...removed, ...open.gone.filter((uid) => !changed.has(uid))]
    .filter((uid) => !found.has(uid))
    .sort()
  const there: string[] = []
  const records: GraphObject[] = []
  const lost: NonNullable<Page['unreadable']>[number][] = []
  for (const [uid, record] of found) {
    const laid = { ...record, ...newsIn(changed.get(uid) ?? [], properties) }
    const read = normalise(laid)
    const isAsTold = isDeepStrictEqual(read, normalise(record))
    if (!isAsTold) there.push(uid)
    records.push(isAsTold || !('entity' in read) ? record : laid)
  }
  for (const [uid, news] of changed) {
    if (found.has(uid) || removed.has(uid)) continue
    there.push(uid)
    const own = { ...newsIn(news, properties), id: uid }
    // Who was told as removed by a page before may be gone for good.
    if (!hasTold(before.removed, uid) && 'entity' in normalise(own)) records.push(own)
    else lost.push({ kind, uid, reason: 'it was told as changed, and is not to be found' })
  }
  const { entities, unreadable = [] } = sortOut(kind, [...records, ...nameless], normalise)
  const unread = [...unreadable, ...lost]
  const {
    page,
    joined = [],
    left = [],
  } = further?.({
    changed: [...changed].flatMap(([uid, news]) => (gone.includes(uid) ? [] : news)),
    records: [...found.values()],
    settled: open.there.filter((uid) => found.has(uid)),
    before,
  }) ?? { page: {} }
  return {
    page: {
      entities,
      ...(unread.length > 0 && { unreadable: unread }),
      ...(gone.length > 0 && { removed: [...new Set(gone)].map((uid) => ({ kind, uid })) }),
      ...page,
    },
    doubts: { there, gone: [...removed].filter((uid) => found.has(uid) && !changed.has(uid)) },
    told: {
      removed: andTold(before.removed, gone),
      joined: andTold(before.joined, joined),
      left: andTold(before.left, left),
    },
  }
}
