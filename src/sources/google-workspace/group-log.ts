/** The log of groups: in which of them something happened since a mark, so that their members are read anew. */
import type { Group } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import { groupLog, isObject, isText, type JsonObject, tokenOperation } from './client.ts'
import { mayConcernOneObject } from './diagnosis.ts'
import { groupsRequest } from './lists.ts'
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

/**
 * The log names groups by their addresses. Left out are those that are not there any more, and those that Google does
 * not show: the log also names groups of other organisations, as when an invitation to one is accepted.
 *
 * @throws SourceError where no group may be read
 */
async function findGroups(
  session: GoogleReading,
  keys: readonly string[],
): Promise<NonNullable<Page['changedGroups']>> {
  const answers = await Promise.all(keys.map((key) => answerAbout(session, key)))
  const refusals = answers.filter((answer) => answer instanceof SourceError)
  const [refusal] = refusals
  if (refusal !== undefined && refusals.length === answers.length) await readFirstGroup(session, refusal)
  return answers.flatMap((answer) =>
    answer === undefined || answer instanceof SourceError
      ? []
      : [
          {
            uid: answer.attributes.uid,
            ...(answer.memberCount !== undefined && { memberCount: answer.memberCount }),
          },
        ],
  )
}

/** The group; undefined where it has gone, the refusal where Google does not show this one. */
async function answerAbout(session: GoogleReading, key: string): Promise<Group | SourceError | undefined> {
  try {
    return await readGroup(session, key)
  } catch (error) {
    if (!(error instanceof SourceError) || error.code !== 'refused') throw error
    if (mayConcernOneObject(error)) return error
    if (isGone(error)) return undefined
    throw error
  }
}

const readGroup = async (session: GoogleReading, key: string) =>
  groupOf(
    await session.read('groups', {
      operation: 'read a group',
      about: 'group',
      path: `groups/${encodeURIComponent(key)}`,
      query: { fields: 'kind,id,email,directMembersCount' },
    }),
  )

/**
 * Tells a log of nothing but groups elsewhere from a permission that is missing: of the organisation's own groups, one
 * is read in the same way.
 *
 * @throws SourceError where it may not be read; `refusal` where there is none
 */
async function readFirstGroup(session: GoogleReading, refusal: SourceError): Promise<void> {
  const request = groupsRequest(session)
  const { items } = await session.page(
    { ...request, query: { ...request.query, maxResults: '1' }, itemFields: 'id' },
    undefined,
  )
  const id = idOf(items[0]?.id)
  if (id === undefined) throw refusal
  await readGroup(session, id)
}

const isGone = (error: SourceError) => error.operation !== tokenOperation && error.status === 404

/** When the log was begun to be read, and its next page. */
function logCursorOf(
  cursor: Json | undefined,
): { readonly begunAt: string; readonly token?: string } | undefined {
  return isObject(cursor) && isText(cursor.begunAt) && isText(cursor.token)
    ? { begunAt: cursor.begunAt, token: cursor.token }
    : undefined
}
