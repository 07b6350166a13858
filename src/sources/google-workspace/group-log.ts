/** The log of groups: in which of them something happened since a mark, so that their members are read anew. */
import { hash } from 'node:crypto'
import type { Group } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type IncrementList, type Json, MarkLost, type Page } from '../reading.ts'
import { groupLog, isObject, isText, type JsonObject, tokenOperation } from './client.ts'
import { mayConcernOneObject } from './diagnosis.ts'
import { groupsRequest } from './lists.ts'
import { groupOf, idOf } from './normalise.ts'
import type { GoogleReading } from './reading-session.ts'

/**
 * How late entries may come, in milliseconds. Google's table of lag times says "a couple of minutes" of most logs, and
 * of that of groups "tens of minutes (can also go up to a couple of hours)"; rarely it is more. No order is promised.
 *
 * @see https://support.google.com/a/answer/7061566
 * @see https://github.com/elastic/integrations/pull/19780 who waited two hours for this log
 * @see https://github.com/elastic/integrations/issues/13081 what is missed without an overlap
 */
const longestLagMs = 3 * 3_600_000
/** By how much our clock may be ahead, and the Directory behind its log when a full run reads it. In milliseconds. */
const slackMs = 10 * 60_000
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
    const { sinceMs, handled } = markIn(mark, session.now())
    const at = logCursorOf(cursor) ?? { begunAt: session.now().toISOString(), handled: '' }
    const { entries, records, next } = await readLog(session, sinceMs, at.token)
    const news = entries.filter(({ id }) => id === undefined || !handled.has(id))
    const { changedGroups, refused } = await findGroups(session, [
      ...new Set(news.flatMap(({ groups }) => groups)),
    ])
    const nextSinceMs = Math.max(sinceMs, Date.parse(at.begunAt) - longestLagMs)
    const toKeep = entries.filter(
      // What was refused may be shown later.
      ({ atMs, groups }) => atMs >= nextSinceMs && !groups.some((group) => refused.has(group)),
    )
    const nowHandled = withIds(at.handled, toKeep)
    return next === undefined
      ? { changedGroups, records, mark: { since: new Date(nextSinceMs).toISOString(), handled: nowHandled } }
      : { changedGroups, records, next: { begunAt: at.begunAt, token: next, handled: nowHandled } }
  },
}

/**
 * From when the log is read, and what of it was handled already. The mark of a full run is the moment when that began:
 * it has read what happened before, however late the log tells of it.
 */
function markIn(mark: Json, now: Date): { readonly sinceMs: number; readonly handled: ReadonlySet<string> } {
  const { since, handled } = isObject(mark)
    ? { since: Date.parse(String(mark.since)), handled: mark.handled }
    : { since: Date.parse(String(mark)) - slackMs, handled: '' }
  // Our clock may have been ahead.
  const sinceMs = Math.min(now.getTime() - slackMs, since)
  if (!(now.getTime() - sinceMs < longestLogMs))
    throw new MarkLost('the log of groups does not reach back to the mark')
  return { sinceMs, handled: new Set(idsIn(isText(handled) ? handled : '')) }
}

/** An entry that names groups. */
interface LogEntry {
  /** Undefined where Google gave it none: it is handled whenever it is met. */
  readonly id?: string
  readonly atMs: number
  readonly groups: readonly string[]
}

async function readLog(session: GoogleReading, sinceMs: number, token: string | undefined) {
  const { items, next } = await session.page(
    {
      scope: 'groupLog',
      operation: 'read the log of groups',
      about: 'customer',
      ...groupLog,
      query: { startTime: new Date(sinceMs).toISOString(), maxResults: String(entriesPerPage) },
      itemFields: 'id(time,uniqueQualifier),events(name,parameters(name,value))',
    },
    token,
  )
  const entries = items.map(entryOf).filter(({ groups }) => groups.length > 0)
  return { entries, records: items.length, next }
}

function entryOf({ id: key, events }: JsonObject): LogEntry {
  const { time, uniqueQualifier } = isObject(key) ? key : {}
  const isNamed = isText(time) && isText(uniqueQualifier)
  return {
    ...(isNamed && { id: hash('sha256', `${time} ${uniqueQualifier}`, 'base64url').slice(0, idLength) }),
    atMs: Date.parse(String(time)),
    groups: listOf(events).flatMap(groupsNamedBy),
  }
}

/** Characters of an entry's id: 48 bits, so that one is taken for one of 1,400 others once in 200 billion times. */
const idLength = 8
/**
 * Most entries whose ids are kept, the newest first, as the log comes. With the longest page token they stay below what
 * is kept of a mark or a cursor (16,384 characters). The groups of others are read again as long as the log is.
 */
const mostHandled = 1_400

const idsIn = (text: string): readonly string[] => text.match(/.{8}/g) ?? []

const withIds = (handled: string, entries: readonly LogEntry[]): string =>
  [...new Set([...idsIn(handled), ...entries.flatMap(({ id }) => id ?? [])])].slice(0, mostHandled).join('')

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
async function findGroups(session: GoogleReading, keys: readonly string[]): Promise<FoundGroups> {
  const answers = await Promise.all(
    keys.map(async (key) => ({ key, answer: await answerAbout(session, key) })),
  )
  const refused = answers.filter(({ answer }) => answer instanceof SourceError)
  const [first] = refused
  if (first?.answer instanceof SourceError && refused.length === answers.length)
    await readFirstGroup(session, first.answer)
  const changedGroups = answers.flatMap(({ answer }) =>
    answer === undefined || answer instanceof SourceError
      ? []
      : [
          {
            uid: answer.attributes.uid,
            ...(answer.memberCount !== undefined && { memberCount: answer.memberCount }),
          },
        ],
  )
  return { changedGroups, refused: new Set(refused.map(({ key }) => key)) }
}

interface FoundGroups {
  readonly changedGroups: NonNullable<Page['changedGroups']>
  /** As the log names them. */
  readonly refused: ReadonlySet<string>
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

/** When the log was begun to be read, its next page, and what of it is handled. */
function logCursorOf(
  cursor: Json | undefined,
): { readonly begunAt: string; readonly token?: string; readonly handled: string } | undefined {
  if (!isObject(cursor) || !isText(cursor.begunAt) || !isText(cursor.token)) return undefined
  const { begunAt, token, handled } = cursor
  return { begunAt, token, handled: isText(handled) ? handled : '' }
}
