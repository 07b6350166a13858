/**
 * What has changed, by Graph's delta queries. They say reliably which objects changed, in any order, some of them
 * more than once or again in a later round; what they show of a changed object may be a part of it. So every changed
 * object is read again, whole, and what is gone by then is left to the tombstone that follows.
 *
 * A user who was deleted and is restored comes back without the groups: no delta tells of these memberships, the next
 * full run does.
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview
 */
import type { Entity, EntityKind, Membership } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import type { EntityType } from '../source.ts'
import { isObject } from './access.ts'
import type { GraphObject } from './client.ts'
import { badLink, leadsTo, objectsIn, type Place } from './graph-page.ts'
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
  /** What else is told: by the delta's objects, and by those read again. */
  further?(changed: readonly GraphObject[], records: readonly GraphObject[]): Page
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
    further: (_changed, records) => ({ ...ownersIn(records), wholeFacts: toldOwnersOf(records) }),
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
      const page = await session
        .page(delta, linkOf(delta, mark, cursor))
        .catch((error: unknown) => lostOr(error, cursor))
      const end = page.next ?? page.delta
      if (end === undefined) throw badLink(delta, 'missing')
      const told = await readAgain(session, followed, objectsIn(page.value))
      return { ...told, ...(page.next !== undefined ? { next: page.next } : { mark: end }) }
    },
  }
}

/** Devices of which all owners are told, if only that there are none. */
const toldOwnersOf = (records: readonly GraphObject[]): NonNullable<Page['wholeFacts']> =>
  records
    .filter(({ registeredOwners }) => Array.isArray(registeredOwners))
    .flatMap(({ id }) => idOf(id) ?? [])
    .map((uid) => ({ kind: 'device', uid, names: ['owners'] }))

/** A stored link is looked at again: one that leads elsewhere is no mark of ours. */
function linkOf(delta: Place, mark: Json, cursor: Json | undefined): string {
  const link = cursor ?? mark
  if (typeof link !== 'string' || !leadsTo(delta, link)) throw new MarkLost()
  return link
}

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

async function readAgain(
  session: ReadingSession,
  { kind, place, shape, normalise, further }: Followed,
  told: readonly GraphObject[],
): Promise<Page> {
  const removed = new Set<string>()
  const changed: GraphObject[] = []
  const nameless: GraphObject[] = []
  for (const object of told) {
    const uid = idOf(object.id)
    if (uid === undefined) nameless.push(object)
    else if (isObject(object['@removed'])) removed.add(uid)
    else changed.push(object)
  }
  const records = await readByIds(session, place, shape, [...idsOf(changed)])
  const found = idsOf(records)
  // Both "changed" (it can be restored for 30 days) and "deleted" end it. Who is told of as changed too, and found, is there.
  const gone = [...removed].filter((uid) => !found.has(uid)).sort()
  return {
    ...sortOut(kind, [...records, ...nameless], normalise),
    ...(gone.length > 0 && { removed: gone.map((uid) => ({ kind, uid })) }),
    ...further?.(changed, records),
  }
}

const idsOf = (objects: readonly GraphObject[]): ReadonlySet<string> =>
  new Set(objects.flatMap(({ id }) => idOf(id) ?? []))

/**
 * Most ids in one filter: Graph allows 15 expressions. A page of less than 20 costs less, too.
 *
 * @see https://learn.microsoft.com/graph/filter-query-parameter#operators-and-functions-supported-in-filter-expressions
 */
const mostIds = 15
/** Reads of changed objects under way at a time. */
const sideBySide = 4

async function readByIds(
  session: ReadingSession,
  place: Place,
  shape: string,
  ids: readonly string[],
): Promise<readonly GraphObject[]> {
  const parts: (readonly string[])[] = []
  for (let from = 0; from < ids.length; from += mostIds) parts.push(ids.slice(from, from + mostIds))
  const read = async (part: readonly string[]) => {
    const filter = encodeURIComponent(`id in ('${part.join("','")}')`).replaceAll("'", '%27')
    const { value } = await session.page(place, `${place.path}?$top=${mostIds}&$filter=${filter}&${shape}`)
    // What was not asked for is no answer.
    return objectsIn(value).filter(({ id }) => part.includes(idOf(id) ?? ''))
  }
  const answers: (readonly GraphObject[])[] = []
  const workers = Array.from({ length: sideBySide }, async (_, worker) => {
    for (let at = worker; at < parts.length; at += sideBySide) answers[at] = await read(parts[at] ?? [])
  })
  await Promise.all(workers)
  return answers.flat()
}

/**
 * `members@delta` lists who came and who went. A group that is told of without it was renamed, or restored with
 * members that nobody tells of; one whose member both came and went may have been told in any order: the members of
 * both are read anew.
 *
 * @see https://learn.microsoft.com/graph/delta-query-groups
 */
function membersIn(changed: readonly GraphObject[], records: readonly GraphObject[]): Page {
  const found = idsOf(records)
  const moves = new Map<string, Map<string, NonNullable<Membership['change']>>>()
  const unclear = new Set<string>()
  for (const object of changed) {
    const group = idOf(object.id)
    if (group === undefined || !found.has(group)) continue
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
