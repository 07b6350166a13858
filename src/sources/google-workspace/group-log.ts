/** The log of groups: in which of them something happened since a mark, so that their members are read anew. */
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import { groupLog, isObject, isText, type JsonObject } from './client.ts'
import { groupOf, idOf } from './normalise.ts'
import type { GoogleReading } from './reading-session.ts'

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
export const loggedGroups: IncrementList<GoogleReading> = {
  name: 'group_log',
  title: 'Log of groups',
  capability: 'change_log',
  required: false,
  kinds: [],
  begin: async (session) => session.now().toISOString(),
  async read(session, mark, cursor) {
    const { begunAt, token } = logCursorOf(cursor) ?? { begunAt: session.now().toISOString() }
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
