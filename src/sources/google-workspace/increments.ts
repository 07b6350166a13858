/**
 * What is read between full runs. Google has no list of changes, and ETags spare nothing: they are not documented to
 * hold for lists, and each page is asked for by a token of its own. So an increment reads
 *
 * - the users whole, 500 at a time, and then those who were deleted: exact for what users tell of themselves
 * - the groups whole, 200 at a time; members are read anew where their number is another one
 * - who has administrator roles: exact, since the list is short and read whole
 * - where the scope for it is delegated, the log of groups: members are read anew wherever anything happened
 *
 * It proves nothing of a kind as a whole: a member who came while another went leaves the number as it was, log
 * entries may come hours late or never, dissolved groups are told nowhere by their ids, and devices are not read. The next
 * full run repairs that.
 */
import type { IncrementList, Json } from '../reading.ts'
import { isObject, isText } from './client.ts'
import { loggedGroups } from './group-log.ts'
import {
  entitiesOf,
  groups,
  groupsRequest,
  readAssignments,
  users,
  usersPerPage,
  usersRequest,
} from './lists.ts'
import { idOf } from './normalise.ts'
import type { GoogleReading } from './reading-session.ts'

const now = (session: GoogleReading) => session.now().toISOString()

/**
 * First those who are there, then those who were deleted in the last 20 days: whoever is in both was deleted in
 * between.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list showDeleted
 */
const usersWhole: IncrementList<GoogleReading> = {
  name: 'users',
  title: 'Users, and those deleted',
  capability: 'users',
  required: true,
  kinds: [],
  begin: async (session) => now(session),
  async read(session, _mark, cursor) {
    const { deleted, token } = usersCursor(cursor)
    if (!deleted) {
      const page = await session.page(usersRequest(session), token)
      const next: Json = page.next === undefined ? { deleted: true } : { deleted: false, token: page.next }
      return { ...entitiesOf(page, users), next }
    }
    const { items, next } = await session.page(deletedUsersRequest(session), token)
    const removed = items.flatMap(({ id }) => {
      const uid = idOf(id)
      return uid === undefined ? [] : [{ kind: 'identity' as const, uid }]
    })
    return {
      removed,
      ...(next === undefined ? { mark: now(session) } : { next: { deleted: true, token: next } }),
    }
  },
}

const deletedUsersRequest = (session: GoogleReading) => {
  const request = usersRequest(session)
  return {
    ...request,
    operation: 'read deleted users',
    query: { ...session.everybody, showDeleted: 'true', maxResults: String(usersPerPage) },
    itemFields: 'id',
  }
}

function usersCursor(cursor: Json | undefined): { readonly deleted: boolean; readonly token?: string } {
  if (!isObject(cursor)) return { deleted: false }
  return { deleted: cursor.deleted === true, ...(isText(cursor.token) && { token: cursor.token }) }
}

const groupsWhole: IncrementList<GoogleReading> = {
  name: 'groups',
  title: 'Groups',
  capability: 'groups',
  required: true,
  kinds: [],
  begin: async (session) => now(session),
  async read(session, _mark, cursor) {
    const page = entitiesOf(await session.page(groupsRequest(session), cursor), groups)
    return page.next === undefined ? { ...page, mark: now(session) } : page
  },
}

const rolesWhole: IncrementList<GoogleReading> = {
  name: 'role_assignments',
  title: 'Administrator roles',
  capability: 'roles',
  required: false,
  kinds: [],
  facts: ['roles'],
  begin: async (session) => now(session),
  async read(session, _mark, cursor) {
    const page = await readAssignments(session, cursor)
    return page.next === undefined ? { ...page, mark: now(session) } : page
  },
}

export const increments: readonly IncrementList<GoogleReading>[] = [
  usersWhole,
  groupsWhole,
  rolesWhole,
  loggedGroups,
]
