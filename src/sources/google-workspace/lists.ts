/**
 * The lists of a full run. None is sorted: Google documents no order that stays as it is while the directory changes.
 *
 * Not among them are the deleted users, whom the list of users leaves out: who is in no list any more is gone.
 */
import type { Entity, EntityKind, Fact } from '../../entities/model.ts'
import type { EntityList, Json, Page } from '../reading.ts'
import { isText, type JsonObject } from './client.ts'
import { groupFields, groupOf, identityOf, idOf, textOf, userFields } from './normalise.ts'
import { chromeDeviceOf, chromeFields, mobileDeviceOf, mobileFields } from './normalise-devices.ts'
import type { GoogleReading, ListPage, ListRequest } from './reading-session.ts'

/** Requests for so many items: one at least. Undefined where nobody knows how many there are. */
const callsFor = (count: number | undefined, pageSize: number) =>
  count === undefined ? undefined : Math.max(1, Math.ceil(count / pageSize))

/** Largest pages. @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list */
export const usersPerPage = 500
/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups/list */
export const groupsPerPage = 200
/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/roleAssignments/list */
const assignmentsPerPage = 200
/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/chromeosdevices/list */
const chromePerPage = 300
/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/mobiledevices/list */
const mobilePerPage = 100

/**
 * Users, 500 at a time. The projection is the basic one: custom schemas are not read.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list
 */
export const usersRequest = ({ everybody }: GoogleReading): ListRequest => ({
  scope: 'users',
  operation: 'read users',
  about: 'domain' in everybody ? 'domain' : 'customer',
  path: 'users',
  query: { ...everybody, maxResults: String(usersPerPage) },
  kind: 'admin#directory#users',
  member: 'users',
  itemFields: userFields,
})

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups/list */
export const groupsRequest = ({ everybody }: GoogleReading): ListRequest => ({
  scope: 'groups',
  operation: 'read groups',
  about: 'domain' in everybody ? 'domain' : 'customer',
  path: 'groups',
  query: { ...everybody, maxResults: String(groupsPerPage) },
  kind: 'admin#directory#groups',
  member: 'groups',
  itemFields: groupFields,
})

/** A page of entities; records that are none are named. */
export function entitiesOf(
  { items, next }: ListPage,
  what: { readonly kind: EntityKind; readonly idMember: string; of(record: JsonObject): Entity | undefined },
): Page {
  const entities: Entity[] = []
  const unreadable: NonNullable<Page['unreadable']>[number][] = []
  for (const record of items) {
    const entity = what.of(record)
    if (entity !== undefined) entities.push(entity)
    else {
      const uid = idOf(record[what.idMember])
      unreadable.push({
        kind: what.kind,
        ...(uid !== undefined && { uid }),
        reason: uid === undefined ? `a record without ${what.idMember}` : 'a record without a name',
      })
    }
  }
  return { entities, ...(unreadable.length > 0 && { unreadable }), ...(next !== undefined && { next }) }
}

export const users = { kind: 'identity', idMember: 'id', of: identityOf } as const
export const groups = { kind: 'group', idMember: 'id', of: groupOf } as const

/**
 * Roles given to users. Google also gives roles to groups, whose members then hold them; that is told of each user
 * only by asking for each user (`includeIndirectRoleAssignments`), and left out. So are service accounts.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/roleAssignments/list
 */
export async function readAssignments(session: GoogleReading, cursor: Json | undefined): Promise<Page> {
  const names = await session.roleNames()
  const { items, next } = await session.page(
    {
      scope: 'roles',
      operation: 'read role assignments',
      about: 'customer',
      path: `customer/${await session.customerKey()}/roleassignments`,
      query: { maxResults: String(assignmentsPerPage) },
      kind: 'admin#directory#roleAssignments',
      member: 'items',
      itemFields: 'roleId,assignedTo,assigneeType',
    },
    cursor,
  )
  const facts = items.flatMap(({ roleId, assignedTo, assigneeType }): Fact[] => {
    const uid = idOf(assignedTo)
    const isGroup = isText(assigneeType) && assigneeType.toUpperCase() === 'GROUP'
    if (uid === undefined || isGroup || !isText(roleId)) return []
    // A role that was made while this run goes on has no name yet.
    const value = textOf(names.get(roleId)) ?? textOf(roleId)
    return value === undefined ? [] : [{ kind: 'identity', uid, name: 'roles', value }]
  })
  return { facts, records: items.length, ...(next !== undefined && { next }) }
}

const devices = (
  scope: 'chromeos' | 'mobile',
  list: Pick<ListRequest, 'kind' | 'member' | 'itemFields'> & {
    readonly title: string
    readonly pageSize: number
    readonly idMember: string
    of(record: JsonObject): Entity | undefined
  },
): EntityList<GoogleReading> => ({
  name: `${scope}_devices`,
  title: list.title,
  capability: 'devices',
  required: false,
  kinds: ['device'],
  calls: (known) => callsFor(known.devices, list.pageSize),
  async read(session, cursor) {
    const page = await session.page(
      {
        scope,
        operation: `read ${list.title}`,
        about: 'customer',
        path: `customer/${await session.customerKey()}/devices/${scope}`,
        // The basic projection leaves out the operating system.
        query: { maxResults: String(list.pageSize), projection: 'FULL' },
        ...list,
      },
      cursor,
    )
    return entitiesOf(page, { kind: 'device', idMember: list.idMember, of: list.of })
  },
})

export const lists: readonly EntityList<GoogleReading>[] = [
  {
    name: 'users',
    title: 'Users',
    capability: 'users',
    required: true,
    kinds: ['identity'],
    calls: (known) => callsFor(known.identities, usersPerPage),
    read: async (session, cursor) => entitiesOf(await session.page(usersRequest(session), cursor), users),
  },
  {
    name: 'groups',
    title: 'Groups',
    capability: 'groups',
    required: true,
    kinds: ['group'],
    calls: (known) => callsFor(known.groups, groupsPerPage),
    read: async (session, cursor) => entitiesOf(await session.page(groupsRequest(session), cursor), groups),
  },
  {
    name: 'role_assignments',
    title: 'Administrator roles',
    capability: 'roles',
    required: false,
    facts: ['roles'],
    // One for the roles' names and one for their holders, who are few.
    calls: () => 2,
    read: readAssignments,
  },
  devices('chromeos', {
    title: 'ChromeOS devices',
    pageSize: chromePerPage,
    kind: 'admin#directory#chromeosdevices',
    member: 'chromeosdevices',
    itemFields: chromeFields,
    idMember: 'deviceId',
    of: chromeDeviceOf,
  }),
  devices('mobile', {
    title: 'Mobile devices',
    pageSize: mobilePerPage,
    kind: 'admin#directory#mobiledevices',
    member: 'mobiledevices',
    itemFields: mobileFields,
    idMember: 'resourceId',
    of: mobileDeviceOf,
  }),
]
