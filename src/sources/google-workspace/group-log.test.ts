import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import { createGoogleSandbox, type GoogleSandbox } from '../../../sandbox/google/index.ts'
import type { HttpAnswer, HttpClient } from '../../outbound/http.ts'
import type { Json, Page } from '../reading.ts'
import { loggedGroups } from './group-log.ts'
import { reader } from './reader.ts'
import type { GoogleReading } from './reading-session.ts'
import { readCredentials } from './secrets.ts'

const minute = 60_000

interface Entry {
  readonly group: string
  readonly at: number
  /** Entries come later than what they tell of happened. */
  readonly shownAt: number
}

let google: GoogleSandbox
let clock = Date.now()
/** The log, the oldest first. */
let entries: Entry[] = []
/** How Google refuses to show a group, by what the log calls it. `every`: all of them. */
let refusals: ReadonlyMap<string, { readonly status: number; readonly body: unknown }> = new Map()
/** Single groups that were asked for, by the last part of the path. */
let asked: string[] = []
let hasIds = true

before(async () => {
  google = await createGoogleSandbox({ users: 40, groups: 8, devices: 0, seed: 'log' })
})
beforeEach(() => {
  entries = []
  refusals = new Map()
  asked = []
  hasIds = true
})

const addressOf = (index: number) => `${google.directory.group(index).mailNickname}@example.com`
const log = (group: string, { lateByMs = 0 } = {}) =>
  entries.push({ group, at: clock, shownAt: clock + lateByMs })

/** The log as the Reports API gives it: the newest first. */
function readLog(query: URLSearchParams): object {
  const since = Date.parse(query.get('startTime') ?? '')
  assert.ok(since < clock)
  const shown = entries
    .map((entry, index) => ({ ...entry, index }))
    .filter(({ at, shownAt }) => at >= since && shownAt <= clock)
    .reverse()
  const from = Number(query.get('pageToken') ?? 0)
  const to = from + Number(query.get('maxResults'))
  return {
    kind: 'admin#reports#activities',
    items: shown.slice(from, to).map(({ group, at, index }) => ({
      ...(hasIds && { id: { time: new Date(at).toISOString(), uniqueQualifier: String(index) } }),
      events: [{ name: 'add_member', parameters: [{ name: 'group_id', value: group }] }],
    })),
    ...(to < shown.length && { nextPageToken: String(to) }),
  }
}

/** The sandbox without a wire, with a log of its own and groups that are not shown. */
const http: HttpClient = {
  async request({ method, url: address, headers, body = '' }) {
    const url = new URL(address)
    const answer = (given: { readonly status: number; readonly body?: unknown }): HttpAnswer => {
      const text = JSON.stringify(given.body)
      const receivedAt = new Date(clock)
      return { status: given.status, headers: new Headers(), text, json: () => JSON.parse(text), receivedAt }
    }
    if (url.pathname.startsWith('/admin/reports/'))
      return answer({ status: 200, body: readLog(url.searchParams) })
    const [, key] = /\/groups\/([^/]+)$/.exec(url.pathname) ?? []
    if (key !== undefined) {
      asked.push(decodeURIComponent(key))
      const refusal = refusals.get(decodeURIComponent(key)) ?? refusals.get('every')
      if (refusal !== undefined) return answer(refusal)
    }
    const request = {
      method,
      url,
      headers: new Headers(headers),
      body,
      now: new Date(clock),
      faults: new Set<never>(),
    }
    return answer(await google.handle(request))
  },
}

function open(): GoogleReading {
  const reading = readCredentials({
    service_account_json: google.keyFiles.good,
    admin_email: google.admins.super,
  })
  assert.ok(reading.ok)
  const target = { domain: 'example.com', credentials: reading.credentials }
  return reader.open(target, { http, signal: new AbortController().signal, now: () => new Date(clock) })
}

/** Reads the log to its end: the groups that it names, and where the next increment goes on. */
async function readFrom(mark: Json): Promise<{ readonly named: number; readonly mark: Json }> {
  asked = []
  const session = open()
  let named = 0
  let page: Page | undefined
  do {
    page = await loggedGroups.read(session, mark, page?.next)
    named += page.changedGroups?.length ?? 0
  } while (page.next !== undefined)
  assert.ok(page.mark !== undefined)
  return { named, mark: page.mark }
}

const refusal = (status: number, reason: string, message: string) => ({
  status,
  body: { error: { code: status, message, errors: [{ domain: 'global', reason, message }] } },
})
const forbidden = refusal(403, 'forbidden', 'Not Authorized to access this resource/api')

test('a group that Google does not show is left out, and the others that the log names are read', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log(addressOf(3))
  log('theirs@elsewhere.example')
  for (const [what, refused] of Object.entries({
    forbidden,
    elsewhere: refusal(403, 'domainCannotUseApis', 'Domain cannot use apis.'),
    malformed: refusal(400, 'invalid', 'Invalid Input: groupKey'),
  })) {
    refusals = new Map([['theirs@elsewhere.example', refused]])
    assert.equal((await readFrom(mark)).named, 1, what)
  }
})

test('a log of nothing but groups elsewhere is read to its end, since one of our own may be read', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log('theirs@elsewhere.example')
  refusals = new Map([['theirs@elsewhere.example', forbidden]])
  assert.equal((await readFrom(mark)).named, 0)
  assert.equal(asked.length, 2)
})

test('where no group may be read, the log is refused', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log(addressOf(3))
  log('theirs@elsewhere.example')
  refusals = new Map([['every', forbidden]])
  await assert.rejects(readFrom(mark), { code: 'refused', status: 403, providerCode: 'forbidden' })
})

test('a token, a scope, a limit and an outage are no refusal of one group', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log(addressOf(3))
  log('theirs@elsewhere.example')
  for (const refused of [
    refusal(401, 'authError', 'Invalid Credentials'),
    refusal(403, 'insufficientPermissions', 'Request had insufficient authentication scopes.'),
    refusal(403, 'accessNotConfigured', 'Access Not Configured'),
    refusal(403, 'quotaExceeded', 'Quota exceeded'),
    refusal(403, 'userRateLimitExceeded', 'Not Authorized to access this resource/api'),
    refusal(400, 'invalid', 'A system error has occurred'),
    refusal(503, 'backendError', 'Backend Error'),
  ]) {
    refusals = new Map([['theirs@elsewhere.example', refused]])
    await assert.rejects(readFrom(mark), { code: 'refused', status: refused.status })
  }
})

test('an entry that comes late is read, up to three hours late, and every entry once', async () => {
  let { mark } = await readFrom(await loggedGroups.begin(open()))
  for (const late of [0, 12, 25, 40, 90, 180]) {
    clock += minute
    const lateByMs = late * minute
    log(addressOf(late % 8), { lateByMs })
    let named = 0
    const shownAt = clock + lateByMs
    while (clock <= shownAt + 60 * minute) {
      clock += 15 * minute
      const read = await readFrom(mark)
      mark = read.mark
      named += read.named
      assert.equal(asked.length, read.named)
    }
    assert.equal(named, 1, `${late} minutes`)
  }
})

test('what happened before a full run is not read again, however late it is told', async () => {
  clock += minute
  log(addressOf(1))
  log(addressOf(2), { lateByMs: 40 * minute })
  clock += 20 * minute
  let { mark, named } = await readFrom(await loggedGroups.begin(open()))
  for (let increments = 0; increments < 4; increments++) {
    clock += 15 * minute
    const read = await readFrom(mark)
    mark = read.mark
    named += read.named
  }
  assert.equal(named, 0)
})

test('more entries than a mark can hold are read again, as long as the log is, and the mark stays small', async () => {
  const started = clock
  let { mark } = await readFrom(await loggedGroups.begin(open()))
  clock += minute
  for (let index = 0; index < 1_500; index++) log(addressOf(index % 8))
  clock += minute
  const first = await readFrom(mark)
  assert.equal(first.named, 30 * 8)
  assert.ok(JSON.stringify(first.mark).length < 12_000)
  clock += 15 * minute
  log(addressOf(3))
  // The newest are known; the oldest hundred are on two pages and a bit.
  const second = await readFrom(first.mark)
  assert.equal(second.named, 1 + 8 + 8 + 1)
  clock = started + 4 * 3_600_000
  mark = (await readFrom(second.mark)).mark
  assert.equal((await readFrom(mark)).named, 0)
})

test('a group that was refused is asked for again by the next increment, the others are not', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log(addressOf(3))
  log(addressOf(4))
  refusals = new Map([[addressOf(4), forbidden]])
  const first = await readFrom(mark)
  assert.equal(first.named, 1)
  clock += 15 * minute
  refusals = new Map()
  const second = await readFrom(first.mark)
  assert.deepEqual([second.named, asked], [1, [addressOf(4)]])
  clock += 15 * minute
  assert.equal((await readFrom(second.mark)).named, 0)
})

test('entries without an id of their own are read whenever they are met', async () => {
  const mark = await loggedGroups.begin(open())
  clock += minute
  log(addressOf(3))
  hasIds = false
  const first = await readFrom(mark)
  clock += 15 * minute
  assert.deepEqual([first.named, (await readFrom(first.mark)).named], [1, 1])
})
