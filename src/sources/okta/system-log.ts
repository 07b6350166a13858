/** What only the System Log tells: who and what was deleted for good, and sign-ins. */
import type { Activity, EntityKind } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { IncrementList, Json } from '../reading.ts'
import { MarkLost } from '../reading.ts'
import { isRecord } from './answers.ts'
import { timeIn, uidOf } from './normalise.ts'
import { before, overlapMs, timeOf } from './okta-time.ts'
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
const filter = [
  ...[...deletions.keys()].map((type) => `eventType eq "${type}"`),
  `eventType eq "${signIn}" and outcome.result eq "SUCCESS"`,
].join(' or ')

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
}

/**
 * A polling request: without `until`, ascending. It "returns every event", in the order in which they were written,
 * has no last page, and is gone on with by its next link alone.
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
    const start = typeof cursor === 'string' ? cursor : from.link
    const page = await readFrom(session, start, from.at)
    if (Date.parse(from.at) < Date.parse(timeOf(page.got.answer)) - retentionMs)
      throw new MarkLost('the mark is older than what the System Log keeps')
    const { records, next } = page
    const content = { ...tidingsIn(records), records: records.length }
    // A page that is not full is the end for now: on a busy log an empty one may never come.
    if (next !== undefined && records.length >= pageSize) return { ...content, next }
    const at = timeOf(page.got.answer)
    return { ...content, mark: { at, ...(next !== undefined && { link: next, filter }) } }
  },
}

async function readFrom(session: OktaReading, link: string | undefined, at: string): Promise<ListPage> {
  const fromTime = `/api/v1/logs?${new URLSearchParams({
    since: before(at, overlapMs),
    sortOrder: 'ASCENDING',
    limit: String(pageSize),
    filter,
  })}`
  const read = (target: string) => readPage(session, { operation, scope, target }, { isEndless: true })
  if (link !== undefined)
    try {
      return await read(link)
    } catch (error) {
      // How long a link stays good is not documented: by the time, what was read is told once more, which harms nothing.
      if (!isRefused(error)) throw error
    }
  try {
    return await read(fromTime)
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
  if (!isRecord(mark) || typeof mark.at !== 'string' || Number.isNaN(Date.parse(mark.at)))
    throw new MarkLost('the mark is none of the System Log')
  const { at, link } = mark
  // A link made for another filter tells what that one asked for.
  return { at, ...(typeof link === 'string' && mark.filter === filter && { link, filter }) }
}

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
