/** What only the System Log tells: who and what was deleted for good, and sign-ins. */
import type { Activity, EntityKind } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { IncrementList, Json, Page } from '../reading.ts'
import { MarkLost } from '../reading.ts'
import { isRecord } from './answers.ts'
import { timeIn, uidOf } from './normalise.ts'
import { before, overlapMs, searchOverlapMs, timeOf } from './okta-time.ts'
import { type ListPage, readPage } from './pages.ts'
import type { OktaReading } from './reading-session.ts'

const scope = 'okta.logs.read'
const operation = 'read the System Log'
/** The most that is documented. */
const pageSize = 1000

interface Deletion {
  readonly kind: EntityKind
  /** Types of the target that is gone. */
  readonly targets: readonly string[]
}

/**
 * Events that end an entity.
 *
 * @see https://developer.okta.com/docs/reference/api/event-types/
 * @see https://github.com/ConductorOne/baton-okta pkg/connector for the type `UserGroup`
 */
const deletions: ReadonlyMap<unknown, Deletion> = new Map<string, Deletion>([
  ['user.lifecycle.delete.completed', { kind: 'identity', targets: ['User'] }],
  ['group.lifecycle.delete', { kind: 'group', targets: ['UserGroup'] }],
  // Which type a device's target has is documented nowhere: its resource type, or as the log calls it elsewhere.
  ['device.lifecycle.delete', { kind: 'device', targets: ['UDDevice', 'Device'] }],
])
const signIn = 'user.session.start'

/**
 * Failed sign-ins are as many as somebody tries, so that they are left out by Okta. Deletions are few: whether they
 * succeeded is looked at here. `and` comes before `or`.
 *
 * @see https://developer.okta.com/docs/reference/system-log-query/#expression-filter `outcome.result`
 * @see https://developer.okta.com/docs/api/#filter
 */
const deletionFilter = [...deletions.keys()].map((type) => `eventType eq "${type}"`).join(' or ')
const filter = `${deletionFilter} or eventType eq "${signIn}" and outcome.result eq "SUCCESS"`

/**
 * Events older than this are not returned, without a word: what happened between them and an older mark is lost. A
 * day less than the 90 that are documented.
 *
 * @see https://developer.okta.com/docs/reference/system-log-query/#data-retention
 */
const retentionMs = 89 * 24 * 60 * 60 * 1000

/** Where the log was read to: Okta's link to what follows, and the moment when it was given. */
interface Mark {
  readonly at: string
  readonly link?: string
  /** What the link was asked for with, which it goes on with. */
  readonly filter?: string
  /** The moment of the mark before this one; absent in a full run's. */
  readonly since?: string
}

/** Deletions are told again once the log was read to its end for now. */
interface Again {
  /** Path and query. */
  readonly again: string
  readonly mark: Mark
}

/** How far apart the marks of a full run may lie, which are tried for until they are told, in ms. */
const marksApartMs = 60 * 60 * 1000
/** No increment takes longer, in ms. */
const longestIncrementMs = 24 * 60 * 60 * 1000

/**
 * Since when deletions are told again. What `search` tells of devices comes from "an eventually consistent
 * datasource": one that was removed is told of once more by the next increment, if it changed within the overlap
 * before the mark of its list. That mark is later than the mark of the log in the run before.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/device/other/listdevices
 */
function againSince({ at, since = before(at, marksApartMs) }: Mark): string {
  const earliest = before(at, longestIncrementMs)
  return before(since > earliest ? since : earliest, searchOverlapMs + overlapMs)
}

/**
 * A polling request: without `until`, ascending. It "returns every event", in the order in which they were written,
 * has no last page, and is gone on with by its next link alone. Deletions of the last two increments are told again at
 * the end of each, so that whoever was told of as if they were there goes once more: ids are not given twice.
 *
 * @see https://developer.okta.com/docs/reference/system-log-query/#polling-requests
 */
export const systemLog: IncrementList<OktaReading> = {
  name: 'system_log',
  title: 'System Log',
  capability: 'change_log',
  required: false,
  // Whoever was deleted after they had been listed is gone.
  after: ['changed_users', 'changed_groups', 'changed_devices'],
  kinds: ['identity', 'group', 'device'],
  async begin(session) {
    const { got } = await readPage(session, { operation, scope, target: '/api/v1/logs?limit=1' })
    return { at: timeOf(got.answer) }
  },
  async read(session, mark, cursor) {
    const from = markIn(mark)
    const again = againIn(cursor)
    if (again !== undefined) return readAgain(session, again)
    const page = await readFrom(session, typeof cursor === 'string' ? cursor : from.link, from.at)
    if (Date.parse(from.at) < Date.parse(timeOf(page.got.answer)) - retentionMs)
      throw new MarkLost('the mark is older than what the System Log keeps')
    const content = { ...tidingsIn(page.records), records: page.records.length }
    const following = goingOn(page)
    if (following !== undefined) return { ...content, next: following }
    const { next } = page
    return {
      ...content,
      next: {
        again: pollFor(againSince(from), deletionFilter),
        mark: {
          at: timeOf(page.got.answer),
          since: from.at,
          ...(next !== undefined && { link: next, filter }),
        },
      },
    }
  },
}

/** A page that is not full is the end for now: on a busy log an empty one may never come. */
const goingOn = ({ records, next }: ListPage) => (records.length >= pageSize ? next : undefined)

const pollFor = (since: string, filter: string) =>
  `/api/v1/logs?${new URLSearchParams({ since, sortOrder: 'ASCENDING', limit: String(pageSize), filter })}`

const readLog = (session: OktaReading, target: string) =>
  readPage(session, { operation, scope, target }, { isEndless: true })

async function readAgain(session: OktaReading, { again, mark }: Again): Promise<Page> {
  const page = await readLog(session, again)
  const { removed } = tidingsIn(page.records)
  const next = goingOn(page)
  return {
    ...(removed !== undefined && { removed }),
    records: page.records.length,
    ...(next === undefined ? { mark: { ...mark } } : { next: { again: next, mark: { ...mark } } }),
  }
}

async function readFrom(session: OktaReading, link: string | undefined, at: string): Promise<ListPage> {
  if (link !== undefined)
    try {
      return await readLog(session, link)
    } catch (error) {
      // How long a link stays good is not documented: by the time, what was read is told once more, which harms nothing.
      if (!isRefused(error)) throw error
    }
  try {
    return await readLog(session, pollFor(before(at, overlapMs), filter))
  } catch (error) {
    // "The since parameter is over 180 days prior to the current day."
    if (isRefused(error) && /\bsince\b/.test(error.providerMessage ?? ''))
      throw new MarkLost('the mark is older than the System Log can be asked for')
    throw error
  }
}

const isRefused = (error: unknown): error is SourceError =>
  error instanceof SourceError && error.status === 400

function markIn(mark: Json): Mark {
  if (!isRecord(mark) || !isTime(mark.at)) throw new MarkLost('the mark is none of the System Log')
  const { at, link, since } = mark
  return {
    at,
    // A link made for another filter tells what that one asked for.
    ...(typeof link === 'string' && mark.filter === filter && { link, filter }),
    ...(isTime(since) && { since }),
  }
}

function againIn(cursor: Json | undefined): Again | undefined {
  if (!isRecord(cursor) || typeof cursor.again !== 'string') return undefined
  return { again: cursor.again, mark: markIn(cursor.mark as Json) }
}

const isTime = (value: unknown): value is string =>
  typeof value === 'string' && !Number.isNaN(Date.parse(value))

/** What a page of the log says of entities. */
function tidingsIn(records: readonly unknown[]) {
  const removed: { kind: EntityKind; uid: string }[] = []
  const activities = new Map<string, Activity>()
  for (const record of records) {
    if (!isRecord(record) || !isRecord(record.outcome) || record.outcome.result !== 'SUCCESS') continue
    const deletion = deletions.get(record.eventType)
    if (deletion !== undefined)
      for (const uid of targetsOf(record, deletion.targets)) removed.push({ kind: deletion.kind, uid })
    else if (record.eventType === signIn) noteSignIn(activities, record)
  }
  return {
    ...(removed.length > 0 && { removed }),
    ...(activities.size > 0 && {
      activities: [...activities].map(([uid, activity]) => ({ kind: 'identity' as const, uid, activity })),
    }),
  }
}

/** As the same sign-in is told in a list of users. */
const wholeSecond = (time: string | undefined) => time?.replace(/\.\d{3}Z$/, '.000Z')

/** Targets are known by their type, not by their place. */
function targetsOf(
  { target }: Readonly<Record<string, unknown>>,
  types: readonly string[],
): readonly string[] {
  if (!Array.isArray(target)) return []
  return target
    .filter((one) => isRecord(one) && types.includes(String(one.type)))
    .flatMap((one) => uidOf(one) ?? [])
}

/** Events come in the order of their writing, which need not be that of their happening. */
function noteSignIn(activities: Map<string, Activity>, record: Readonly<Record<string, unknown>>): void {
  const { actor, client } = record
  const uid = isRecord(actor) && actor.type === 'User' ? uidOf(actor) : undefined
  const time = wholeSecond(timeIn(record.published))
  if (uid === undefined || time === undefined) return
  const known = activities.get(uid)?.last_login_time
  if (known !== undefined && known > time) return
  const address = isRecord(client) ? client.ipAddress : undefined
  activities.set(uid, {
    last_login_time: time,
    ...(typeof address === 'string' && /^[0-9a-fA-F.:]{2,45}$/.test(address) && { last_login_ip: address }),
  })
}
