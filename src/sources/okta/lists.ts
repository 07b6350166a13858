/** The lists of a full run: users, groups, devices and who holds administrator roles. */

import type { Entity, EntityKind, Fact, FactName } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { EntityList, Json, Page } from '../reading.ts'
import type { EntityType } from '../source.ts'
import type { Scope } from './access.ts'
import { askedOf, isRecord } from './answers.ts'
import { deviceOf, groupOf, identityOf, ownersOf, type Unreadable, uidOf } from './normalise.ts'
import { before, overlapMs, searchOverlapMs, timeOf } from './okta-time.ts'
import { readPageOrSmaller } from './page-size.ts'
import { type ListPage, readPage } from './pages.ts'
import type { OktaReading, ReadingRequest } from './reading-session.ts'

/** How one kind of entity is listed. */
export interface Listing {
  readonly kind: EntityKind
  readonly operation: string
  readonly scope: Scope
  /** Path and query of the whole list. */
  readonly whole: string
  /** Path and query of what has changed since a moment, RFC 3339. */
  since(time: string): string
  /** How far behind a moment `since` has to look, in ms. */
  readonly overlapMs: number
  readonly headers?: Readonly<Record<string, string>>
  /** Records asked for where a page takes Okta too long, for lists of which Okta says to ask for fewer then. */
  readonly smallerPage?: number
  entityOf(record: unknown): Entity | Unreadable
  factsOf?(record: unknown): readonly Fact[]
}

const target = (path: string, parameters: Readonly<Record<string, string>>) =>
  `${path}?${new URLSearchParams(parameters)}`

/** Recommended for lists of groups, and the default elsewhere: the most that is documented for users and devices. */
export const pageSize = 200
const limit = String(pageSize)
/** Asked for in their place where they take Okta too long, for which it names no number. */
export const smallerPage = 50

/**
 * All users by a filter that every one of them matches: without one, Okta leaves the deprovisioned out; with one on
 * `status`, whoever is `ACTIVATING` or in a status yet to come. Not by `search`, which is eventually consistent.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user/other/listusers
 */
export const users: Listing = {
  kind: 'identity',
  operation: 'read users',
  scope: 'okta.users.read',
  whole: target('/api/v1/users', { limit, filter: 'lastUpdated ge "1970-01-01T00:00:00.000Z"' }),
  since: (time) => target('/api/v1/users', { limit, filter: `lastUpdated gt "${time}"` }),
  overlapMs,
  // Leaves out what is not kept, and what "may degrade performance" to fetch; said in this header, oddly, by Okta's API.
  headers: {
    'content-type':
      'application/json; okta-response="omitCredentials,omitCredentialsLinks,omitTransitioningToStatus"',
  },
  smallerPage,
  entityOf: identityOf,
}

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group/other/listgroups */
export const groups: Listing = {
  kind: 'group',
  operation: 'read groups',
  scope: 'okta.groups.read',
  whole: target('/api/v1/groups', { limit, expand: 'stats' }),
  since: (time) =>
    target('/api/v1/groups', {
      limit,
      expand: 'stats',
      filter: `lastUpdated gt "${time}" or lastMembershipUpdated gt "${time}"`,
    }),
  overlapMs,
  smallerPage,
  entityOf: groupOf,
}

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/device/other/listdevices */
export const devices: Listing = {
  kind: 'device',
  operation: 'read devices',
  scope: 'okta.devices.read',
  whole: target('/api/v1/devices', { limit, expand: 'userSummary' }),
  since: (time) =>
    target('/api/v1/devices', { limit, expand: 'userSummary', search: `lastUpdated gt "${time}"` }),
  overlapMs: searchOverlapMs,
  entityOf: deviceOf,
  factsOf: (record) => {
    const uid = uidOf(record)
    if (uid === undefined) return []
    return ownersOf(record).map((value): Fact => ({ kind: 'device', uid, name: 'owners', value }))
  },
}

/** A page of what is listed. */
export const readListing = (session: OktaReading, listing: Listing, at: string): Promise<ListPage> =>
  listing.smallerPage === undefined
    ? readPage(session, requestFor(listing, at))
    : readPageOrSmaller(session, requestFor(listing, at), listing.smallerPage)

const requestFor = ({ operation, scope, headers }: Listing, at: string): ReadingRequest => ({
  operation,
  scope,
  target: at,
  ...(headers !== undefined && { headers }),
})

/** What the records of a page say. */
export function contentOf({ kind, entityOf, factsOf }: Listing, { records }: ListPage): Page {
  const entities: Entity[] = []
  const unreadable: { kind: EntityKind; uid?: string; reason: string }[] = []
  for (const record of records) {
    const read = entityOf(record)
    if ('reason' in read) unreadable.push({ kind, ...read })
    else entities.push(read)
  }
  const facts = factsOf === undefined ? [] : records.flatMap(factsOf)
  return {
    entities,
    ...(facts.length > 0 && { facts }),
    ...(unreadable.length > 0 && { unreadable }),
  }
}

/**
 * Where a list stands. First all of it is read, then what changed while it was: whoever moved from a page that was
 * still to come to one that had been read is not missed.
 */
interface Progress {
  readonly at: string
  /** When it was begun, by Okta's clock; absent before the first answer. */
  readonly begun?: string
  readonly isCatchingUp: boolean
  /** Whether there was any record so far. */
  readonly hasRecords: boolean
}

interface Description {
  readonly name: string
  readonly title: string
  readonly capability: EntityType
  readonly required: boolean
  readonly facts?: readonly FactName[]
  calls: EntityList<OktaReading>['calls']
}

function listOf(listing: Listing, description: Description): EntityList<OktaReading> {
  return {
    ...description,
    kinds: [listing.kind],
    async read(session, cursor) {
      const progress = progressIn(cursor) ?? { at: listing.whole, isCatchingUp: false, hasRecords: false }
      const page = await readListing(session, listing, progress.at)
      const next = following(listing, progress, page)
      return { ...contentOf(listing, page), ...(next !== undefined && { next }) }
    },
  }
}

function following(listing: Listing, progress: Progress, page: ListPage): Json | undefined {
  const begun = progress.begun ?? timeOf(page.got.answer)
  const hasRecords = progress.hasRecords || page.records.length > 0
  const { isCatchingUp } = progress
  if (page.next !== undefined) return { at: page.next, begun, isCatchingUp, hasRecords }
  if (isCatchingUp) return undefined
  if (!hasRecords && listing.kind !== 'device') throw nothingVisible(listing)
  return {
    at: listing.since(before(begun, listing.overlapMs)),
    begun,
    isCatchingUp: true,
    hasRecords,
  }
}

/**
 * Okta answers a service app without an administrator role with an empty list instead of a refusal; and no
 * organisation is without a user and the group Everyone.
 *
 * @see https://github.com/ConductorOne/baton-okta docs/docs-info.md
 */
export const nothingVisible = ({ operation, whole }: Listing) =>
  new SourceError({
    code: 'refused',
    operation,
    asked: askedOf(whole),
    status: 200,
    hints: { nothing_visible: true },
  })

function progressIn(cursor: Json | undefined): Progress | undefined {
  if (!isRecord(cursor) || typeof cursor.at !== 'string') return undefined
  const { at, begun, isCatchingUp, hasRecords } = cursor
  return {
    at,
    ...(typeof begun === 'string' && { begun }),
    isCatchingUp: isCatchingUp === true,
    hasRecords: hasRecords === true,
  }
}

/** So many pages, and one for what changed meanwhile. */
const pagesOf = (count: number | undefined) =>
  count === undefined ? undefined : Math.max(1, Math.ceil(count / pageSize)) + 1

export const userList = listOf(users, {
  name: 'users',
  title: 'Users',
  capability: 'users',
  required: true,
  calls: ({ identities }) => pagesOf(identities),
})

export const groupList = listOf(groups, {
  name: 'groups',
  title: 'Groups',
  capability: 'groups',
  required: true,
  calls: ({ groups: count }) => pagesOf(count),
})

/** Identity Engine alone has devices: elsewhere Okta refuses. */
export const deviceList = listOf(devices, {
  name: 'devices',
  title: 'Devices',
  capability: 'devices',
  required: false,
  facts: ['owners'],
  calls: ({ devices: count }) => pagesOf(count),
})
