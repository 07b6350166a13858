/**
 * What is read between full runs. Google has no list of changes, and ETags spare nothing: they are not documented to
 * hold for lists, and each page is asked for by a token of its own. So an increment reads
 *
 * - the users whole, 500 at a time, and then those who were deleted: exact for what users tell of themselves
 * - the groups whole, 200 at a time; members are read anew where their number is another one
 * - who has administrator roles: exact for everybody who has one; who lost the last one keeps it in what is known
 * - where the scope for it is delegated, the log of groups: members are read anew wherever anything happened
 *
 * It proves nothing of a kind as a whole: a member who came while another went leaves the number as it was, log
 * entries may come late or never, dissolved groups are told nowhere by their ids, and devices are not read. The next
 * full run repairs that.
 */
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import { groupLog, isObject, isText, type JsonObject } from './client.ts'
import {
  entitiesOf,
  groups,
  groupsRequest,
  readAssignments,
  users,
  usersPerPage,
  usersRequest,
} from './lists.ts'
import { groupOf, idOf } from './normalise.ts'
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
  begin: async (session) => now(session),
  async read(session, _mark, cursor) {
    const page = await readAssignments(session, cursor)
    return page.next === undefined ? { ...page, mark: now(session) } : page
  },
}

/**
 * How far back the log is read beyond the mark, in milliseconds: entries come a couple of minutes late, some later.
 *
 * @see https://support.google.com/a/answer/7061566
 */
const overlapMs = 10 * 60_000
/** The log holds 180 days. */
const longestLogMs = 179 * 86_400_000
/** Entries a page; it could be 1,000, but each group that they name is asked for before the next page. */
const entriesPerPage = 50

/**
 * The log of what happens to groups and their members, wherever it is done: in the console, by API, or by the groups'
 * owners. Every entry that names a group counts. It is read whole, since a filter by event would cost more of Google's
 * quota (250 filtered queries a minute).
 *
 * @see https://developers.google.com/workspace/admin/reports/v1/appendix/activity/groups-enterprise
 * @see https://support.google.com/a/answer/9667889
 * @see https://developers.google.com/workspace/admin/reports/v1/limits
 */
const loggedGroups: IncrementList<GoogleReading> = {
  name: 'group_log',
  title: 'Log of groups',
  capability: 'change_log',
  required: false,
  kinds: [],
  begin: async (session) => now(session),
  async read(session, mark, cursor) {
    const { begunAt, token } = logCursorOf(cursor) ?? { begunAt: now(session) }
    const { named, next } = await readLog(session, mark, token)
    const changedGroups = await findGroups(session, named)
    return { changedGroups, ...(next === undefined ? { mark: begunAt } : { next: { begunAt, token: next } }) }
  },
}

async function readLog(session: GoogleReading, mark: Json, token: string | undefined) {
  const nowMs = session.now().getTime()
  // Our clock may have been ahead.
  const since = Math.min(nowMs, typeof mark === 'string' ? Date.parse(mark) : Number.NaN)
  if (!(nowMs - since < longestLogMs)) throw new MarkLost('the log of groups does not reach back to the mark')
  const { items, next } = await session.page(
    {
      scope: 'groupLog',
      operation: 'read the log of groups',
      about: 'customer',
      ...groupLog,
      query: { startTime: new Date(since - overlapMs).toISOString(), maxResults: String(entriesPerPage) },
      itemFields: 'events(name,parameters(name,value))',
    },
    token,
  )
  const named = [...new Set(items.flatMap(({ events }) => listOf(events).flatMap(groupsNamedBy)))]
  return { named, next }
}

const groupsNamedBy = ({ parameters }: JsonObject): string[] =>
  listOf(parameters).flatMap(({ name, value }) => {
    const group = name === 'group_id' ? idOf(value) : undefined
    return group === undefined ? [] : [group]
  })

const listOf = (value: unknown): readonly JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : [])

/** The log names groups by their addresses. Those that are not there any more are left out. */
async function findGroups(
  session: GoogleReading,
  keys: readonly string[],
): Promise<NonNullable<Page['changedGroups']>> {
  const found = await Promise.all(
    keys.map(async (key) => {
      try {
        return groupOf(
          await session.read('groups', {
            operation: 'read a group',
            about: 'group',
            path: `groups/${encodeURIComponent(key)}`,
            query: { fields: 'kind,id,email,directMembersCount' },
          }),
        )
      } catch (error) {
        if (isGone(error)) return undefined
        throw error
      }
    }),
  )
  return found.flatMap((group) =>
    group === undefined
      ? []
      : [
          {
            uid: group.attributes.uid,
            ...(group.memberCount !== undefined && { memberCount: group.memberCount }),
          },
        ],
  )
}

const isGone = (error: unknown) =>
  error instanceof SourceError && error.code === 'refused' && error.status === 404

/** When the log was begun to be read, and its next page. */
function logCursorOf(
  cursor: Json | undefined,
): { readonly begunAt: string; readonly token?: string } | undefined {
  return isObject(cursor) && isText(cursor.begunAt) && isText(cursor.token)
    ? { begunAt: cursor.begunAt, token: cursor.token }
    : undefined
}

export const increments: readonly IncrementList<GoogleReading>[] = [
  usersWhole,
  groupsWhole,
  rolesWhole,
  loggedGroups,
]
