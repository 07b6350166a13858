import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { createGoogleSandbox, type GoogleSandbox } from '../../../sandbox/google/index.ts'
import { isInSecondaryDomain, parts } from '../../../sandbox/google/organisation.ts'
import { type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { freshKeys } from '../../../sandbox/keys.ts'
import type { Change } from '../../../sandbox/living-directory.ts'
import type { Entity, Fact, Group } from '../../entities/model.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from '../../outbound/http.ts'
import { createOutbound, type Outbound } from '../../outbound/outbound.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type EntityList, type Json, MarkLost, type Page } from '../reading.ts'
import type { SourceTools } from '../source.ts'
import { googleWorkspace } from './index.ts'
import { reader } from './reader.ts'
import type { GoogleReading } from './reading-session.ts'
import { readCredentials } from './secrets.ts'

const keys = freshKeys()
const size = { users: 700, groups: 25, devices: 900, seed: 'reader', keys, isVaried: true }

let google: GoogleSandbox
let running: RunningSandbox
let outbound: Outbound
/** The sandbox's clock, and ours. */
let clock = Date.now()
before(async () => {
  google = await createGoogleSandbox(size)
  running = await startSandbox({ providers: [google], now: () => new Date(clock) })
  outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
  })
})
after(() => running.close())
beforeEach(() => {
  clock = Date.now()
  running.setFaults([])
  running.forgetRequests()
})

interface Given {
  readonly keyFile?: keyof GoogleSandbox['keyFiles']
  /** Null: the service account reads in its own name. */
  readonly admin?: string | null
  readonly domain?: string
  readonly http?: HttpClient
  readonly of?: GoogleSandbox
}

function targetOf({ keyFile = 'good', admin, domain = 'example.com', of = google }: Given = {}) {
  const reading = readCredentials({
    service_account_json: of.keyFiles[keyFile],
    ...(admin !== null && { admin_email: admin ?? of.admins.super }),
  })
  assert.ok(reading.ok)
  return { domain, credentials: reading.credentials }
}

function open(given: Given = {}): GoogleReading {
  const target = targetOf(given)
  const { signal } = new AbortController()
  const rules = ['oauth2.googleapis.com', 'admin.googleapis.com'].map((host) => ({
    host,
    chosenBy: 'provider' as const,
  }))
  const http = given.http ?? outbound.open(rules, signal, Number.POSITIVE_INFINITY, 4 * 1024 * 1024)
  const tools: SourceTools = { http, signal, now: () => new Date(clock) }
  return reader.open(target, tools)
}

/** The same sandbox without a wire. */
function inProcess(of: GoogleSandbox): HttpClient {
  return {
    async request({ method, url, headers, body = '' }: HttpRequest): Promise<HttpAnswer> {
      const answer = await of.handle({
        method,
        url: new URL(url),
        headers: new Headers(headers),
        body,
        now: new Date(clock),
        faults: new Set(),
      })
      const text = JSON.stringify(answer.body)
      return {
        status: answer.status,
        headers: new Headers(answer.headers),
        text,
        json: () => JSON.parse(text),
        receivedAt: new Date(clock),
      }
    },
  }
}

/** Every page of something. */
async function pagesOf(read: (cursor: Json | undefined) => Promise<Page>): Promise<Page[]> {
  const pages: Page[] = []
  let cursor: Json | undefined
  do {
    const page = await read(cursor)
    pages.push(page)
    cursor = page.next
    assert.ok(pages.length < 1_000)
  } while (cursor !== undefined)
  return pages
}

const listNamed = (name: string): EntityList<GoogleReading> => {
  const list = reader.lists.find((one) => one.name === name)
  assert.ok(list !== undefined)
  return list
}
const read = (session: GoogleReading, name: string) =>
  pagesOf((cursor) => listNamed(name).read(session, cursor))

const [walk] = reader.memberships
assert.ok(walk !== undefined)
const membersOf = async (session: GoogleReading, group: string): Promise<string[]> => {
  const pages = await pagesOf((cursor) => walk.read(session, group, cursor))
  return pages.flatMap(({ memberships = [] }) => memberships.map(({ member }) => member))
}

/** What a run knows. */
interface Knowledge {
  readonly identities: Map<string, Entity>
  readonly groups: Map<string, Group>
  readonly devices: Map<string, Entity>
  readonly members: Map<string, readonly string[]>
  readonly roles: ReadonlySet<string>
}

const put = (into: Map<string, Entity>, entities: readonly Entity[] = []) => {
  for (const entity of entities) into.set(entity.attributes.uid, entity)
}
const roleOf = ({ uid, value }: Fact) => `${uid} ${value}`

async function readEverything(session: GoogleReading): Promise<Knowledge> {
  const known: Knowledge = {
    identities: new Map(),
    groups: new Map(),
    devices: new Map(),
    members: new Map(),
    roles: new Set((await read(session, 'role_assignments')).flatMap(({ facts = [] }) => facts.map(roleOf))),
  }
  for (const page of await read(session, 'users')) put(known.identities, page.entities)
  for (const page of await read(session, 'groups')) put(known.groups as Map<string, Entity>, page.entities)
  for (const name of ['chromeos_devices', 'mobile_devices'])
    for (const page of await read(session, name)) put(known.devices, page.entities)
  for (const uid of known.groups.keys()) known.members.set(uid, (await membersOf(session, uid)).sort())
  return known
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

test('a full run knows every user, group, member, role and device as the directory has them', async () => {
  const { directory } = google
  const known = await readEverything(open())

  const byName = new Map([...known.identities.values()].map((one) => [one.attributes.name, one]))
  assert.equal(byName.size, 700)
  const emailOf = (index: number) => {
    const { email, userName } = directory.person(index)
    if (index === parts.super) return 'test@example.com'
    return isInSecondaryDomain(index) ? `${userName}@siem-test.com` : email
  }
  for (const index of upTo(700)) {
    const person = directory.person(index)
    const email = emailOf(index)
    const identity = byName.get(email)
    assert.ok(identity?.kind === 'identity')
    const { attributes } = identity
    assert.partialDeepStrictEqual(attributes, {
      name: email,
      email_addr: email,
      full_name: `${person.givenName} ${person.familyName}`,
      given_name: person.givenName,
      surname: person.familyName,
      job_title: person.title,
      department: person.department,
      employee_uid: person.employeeNumber,
      location: { city: person.city, country: person.countryCode },
      org_unit: '/',
      has_mfa: person.hasMfa,
      created_time: person.createdAt.toISOString(),
    })
    assert.deepEqual(
      attributes.email_addrs,
      isInSecondaryDomain(index) ? [email] : [email, `${email.split('@')[0]}@example.net`],
    )
    const manager =
      person.managerIndex === undefined ? undefined : { email_addr: emailOf(person.managerIndex) }
    assert.deepEqual(attributes.manager, manager)
    assert.deepEqual(
      identity.activity,
      person.lastSignInAt && { last_login_time: person.lastSignInAt.toISOString() },
    )
    const isAdmin = index <= parts.suspended || (index > parts.notAdmin && index % 3 === 0)
    assert.equal(attributes.type, isAdmin ? 'Admin' : undefined)
    assert.equal(attributes.is_privileged, isAdmin || undefined)
    if (index > parts.notAdmin)
      assert.equal(attributes.status, person.status === 'invited' ? 'inactive' : person.status)
  }

  const groups = new Map([...known.groups.values()].map((one) => [one.attributes.email_addr, one]))
  assert.equal(groups.size, 25)
  for (const index of upTo(25)) {
    const expected = directory.group(index)
    const group = groups.get(`${expected.mailNickname}@example.com`)
    assert.ok(group !== undefined)
    assert.partialDeepStrictEqual(group, {
      attributes: { name: expected.name, desc: expected.description },
      memberCount: expected.memberCount,
      membersTag: String(expected.memberCount),
    })
    const people = directory
      .members(index, 0, 700)
      .map((one) => byName.get(emailOf(one))?.attributes.uid ?? '')
    const next = index % 2 === 1 && index < 24 ? directory.group(index + 1) : undefined
    const nested = next && groups.get(`${next.mailNickname}@example.com`)?.attributes.uid
    // An outsider with an account has an id; one without, and everybody, are no members.
    const outsiders = index > 0 && index % 3 === 2 ? ['111222333444555666777'] : []
    assert.deepEqual(
      known.members.get(group.attributes.uid),
      [...people, ...(nested === undefined ? [] : [nested]), ...outsiders].sort(),
    )
  }

  const uidOf = (index: number) => byName.get(emailOf(index))?.attributes.uid
  const helpers = upTo(700).filter((index) => index === 2 || (index > 4 && index % 3 === 0))
  assert.deepEqual(
    known.roles,
    new Set([
      `${uidOf(0)} _SEED_ADMIN_ROLE`,
      `${uidOf(1)} _READ_ONLY_ADMIN_ROLE`,
      ...helpers.map((index) => `${uidOf(index)} _HELP_DESK_ADMIN_ROLE`),
    ]),
  )

  const serials = new Map(
    [...known.devices.values()].map((one) => [
      one.kind === 'device' && one.attributes.hw_info?.serial_number,
      one,
    ]),
  )
  const expected = upTo(900)
    .map(directory.device)
    .filter(({ platform }) => ['CHROMEOS', 'ANDROID', 'IOS'].includes(platform))
  assert.equal(serials.size, expected.length)
  for (const device of expected) {
    const found = serials.get(device.serialNumber)
    assert.ok(found?.kind === 'device')
    const os = { CHROMEOS: 'ChromeOS', ANDROID: 'Android', IOS: 'iOS' }[device.platform as 'IOS']
    assert.partialDeepStrictEqual(found, {
      attributes: {
        os: { name: os, version: device.osVersion },
        owner: { email_addr: emailOf(device.ownerIndex) },
        is_managed: true,
      },
      activity: { last_seen_time: device.lastSeenAt.toISOString() },
    })
  }
})

test('pages are as large as Google gives them, and a run takes one token for each scope', async () => {
  await readEverything(open())
  const paths = running.requests().map(({ path }) => path)
  const count = (pattern: RegExp) => paths.filter((path) => pattern.test(path)).length
  assert.equal(count(/\/users$/), 2)
  assert.equal(count(/\/groups$/), 1)
  assert.equal(count(/\/roleassignments$/), 2)
  assert.equal(count(/\/roles$/), 1)
  assert.equal(count(/^\/token$/), 6)
  for (const { name, calls } of reader.lists)
    if (name === 'users') assert.equal(calls({ identities: 700 }), 2)
})

test('without an administrator, the users and groups of the domain alone are read', async () => {
  const session = open({ keyFile: 'withRole', admin: null, domain: 'siem-test.com' })
  const pages = await read(session, 'users')
  const names = pages.flatMap(({ entities = [] }) => entities.map(({ attributes }) => attributes.name ?? ''))
  assert.equal(names.length, 70)
  assert.ok(names.every((name) => name.endsWith('@siem-test.com')))
})

test('an optional list whose scope is not delegated is refused, and names the scope; the others are read', async () => {
  const session = open({ keyFile: 'requiredOnly' })
  for (const name of ['role_assignments', 'chromeos_devices', 'mobile_devices']) {
    const list = listNamed(name)
    assert.equal(list.required, false)
    await assert.rejects(list.read(session, undefined), (error) => {
      assert.ok(error instanceof SourceError)
      assert.equal(error.code, 'refused')
      assert.equal(error.providerCode, 'unauthorized_client')
      assert.match(String(error.hints.only_scope), /readonly$/)
      return true
    })
  }
  assert.equal((await read(session, 'users')).length, 2)
  assert.equal((await membersOf(session, google.directory.group(3).mailNickname)).length > 0, true)
})

test('members are read with the scope of groups where theirs is not delegated', async () => {
  const asked: string[] = []
  const http = inProcess(google)
  const session = open({
    http: {
      async request(request) {
        if (request.url !== 'https://oauth2.googleapis.com/token') return http.request(request)
        const claims = JSON.parse(
          Buffer.from(
            new URLSearchParams(request.body).get('assertion')?.split('.')[1] ?? '',
            'base64url',
          ).toString(),
        )
        asked.push(claims.scope)
        if (!claims.scope.includes('member')) return http.request(request)
        const text = JSON.stringify({ error: 'unauthorized_client' })
        return {
          status: 401,
          headers: new Headers(),
          text,
          json: () => JSON.parse(text),
          receivedAt: new Date(),
        }
      },
    },
  })
  await membersOf(session, google.directory.group(1).mailNickname)
  assert.deepEqual(
    asked.map((scope) => scope.split('.').slice(-2).join('.')),
    ['member.readonly', 'group.readonly'],
  )
})

test('tokens are renewed before they end, and once when one is refused in between', async () => {
  const session = open()
  const tokens = () => running.requests().filter(({ path }) => path === '/token').length
  const first = await listNamed('users').read(session, undefined)
  assert.equal(tokens(), 1)
  clock += 58 * 60_000
  await listNamed('groups').read(session, undefined)
  clock += 60 * 60_000
  // Two at once share the new one.
  await Promise.all([
    listNamed('users').read(session, undefined),
    listNamed('users').read(session, first.next),
  ])
  assert.equal(tokens(), 3)
  running.setFaults([
    {
      path: '/users$',
      kind: 'status',
      status: 401,
      body: { error: { code: 401, errors: [{ reason: 'authError' }] } },
      times: 1,
    },
  ])
  const second = await listNamed('users').read(session, first.next)
  assert.equal(second.entities?.length, 200)
  assert.equal(tokens(), 4)
  running.setFaults([{ path: '/users$', kind: 'status', status: 401, body: { error: { code: 401 } } }])
  await assert.rejects(listNamed('users').read(session, undefined), { code: 'refused', status: 401 })
  assert.equal(tokens(), 5)
})

test('whatever a token says of its life, it is used for some time and not for ever', async () => {
  for (const expiresIn of [0, -1, 1e12, 'NaN', null, undefined, Number.MAX_VALUE]) {
    let tokens = 0
    const http = inProcess(google)
    const session = open({
      http: {
        async request(request) {
          const answer = await http.request(request)
          if (!request.url.endsWith('/token')) return answer
          tokens += 1
          const text = JSON.stringify({ ...JSON.parse(answer.text), expires_in: expiresIn })
          return { ...answer, text, json: () => JSON.parse(text) }
        },
      },
    })
    for (let reads = 0; reads < 3; reads++) await listNamed('groups').read(session, undefined)
    assert.equal(tokens, 1, String(expiresIn))
    clock += 3_601_000
    await listNamed('groups').read(session, undefined)
    assert.equal(tokens, 2, String(expiresIn))
  }
})

test('pages that name themselves, are HTML, broken off or no list at all are errors, not ends', async () => {
  const session = open()
  const users = listNamed('users')
  const first = await users.read(session, undefined)
  running.setFaults([{ path: '/users$', kind: 'repeated_next_link' }])
  const { next } = await users.read(session, undefined)
  await assert.rejects(users.read(session, next), {
    code: 'unexpected_response',
    hints: { page_token: 'repeated' },
  })
  for (const kind of ['html', 'truncated', 'deep_json'] as const) {
    running.setFaults([{ path: '/users$', kind }])
    await assert.rejects(users.read(session, first.next), { code: 'unexpected_response' }, kind)
  }
  for (const body of [
    {},
    [],
    { users: {} },
    { kind: 'admin#directory#groups' },
    { users: [7] },
    { error: {} },
  ]) {
    running.setFaults([{ path: '/users$', kind: 'status', status: 200, body }])
    await assert.rejects(users.read(session, first.next), { code: 'unexpected_response' })
  }
  running.setFaults([
    {
      path: '/users$',
      kind: 'status',
      status: 200,
      body: { kind: 'admin#directory#users', nextPageToken: 'x'.repeat(5_000) },
    },
  ])
  await assert.rejects(users.read(session, undefined), { code: 'unexpected_response' })
})

test('an empty page in the middle is no end, and a user who is on two pages is told twice', async () => {
  running.setFaults([{ path: '/users$', kind: 'empty_middle_page' }])
  const pages = await read(open(), 'users')
  assert.deepEqual(
    pages.map(({ entities }) => entities?.length),
    [500, 0, 200],
  )
  const twice: HttpClient = {
    async request(request) {
      const answer = await inProcess(google).request(request)
      if (!new URL(request.url).pathname.endsWith('/users')) return answer
      const body = JSON.parse(answer.text)
      const text = JSON.stringify({
        ...body,
        users: [...body.users, body.users[0], { primaryEmail: 'x@y.z' }],
      })
      return { ...answer, text, json: () => JSON.parse(text) }
    },
  }
  const page = await listNamed('users').read(open({ http: twice }), undefined)
  assert.equal(page.entities?.length, 501)
  assert.deepEqual(page.entities.at(-1), page.entities[0])
  assert.deepEqual(page.unreadable, [{ kind: 'identity', reason: 'a record without id' }])
})

test('a page token that has ended is refused with 400', async () => {
  const session = open()
  const { next } = await listNamed('users').read(session, undefined)
  clock += 3 * 86_400_000 + 1
  await assert.rejects(listNamed('users').read(session, next), { code: 'refused', status: 400 })
})

test('somebody who is new is asked for exactly the groups that have them as a member', async () => {
  const session = open()
  const { identities, members } = await readEverything(session)
  for (const { attributes } of [...identities.values()].slice(0, 40)) {
    const page = await reader.newcomers?.read(session, attributes.uid, undefined)
    assert.deepEqual(
      page?.memberships?.map(({ group }) => group).sort(),
      [...members].flatMap(([group, uids]) => (uids.includes(attributes.uid) ? [group] : [])).sort(),
    )
  }
})

test('a group that Google lists for a user who is in it through another one only is none of theirs', async () => {
  const session = open()
  const { identities, members } = await readEverything(session)
  const [group = '', uids = []] = [...members].find(([, all]) => all.length > 0) ?? []
  const outsider = [...identities.values()].find(({ attributes }) => !uids.includes(attributes.uid))
  running.setFaults([
    {
      kind: 'status',
      path: '/admin/directory/v1/groups$',
      status: 200,
      body: { kind: 'admin#directory#groups', groups: [{ id: group }] },
    },
  ])
  const page = await reader.newcomers?.read(session, outsider?.attributes.uid ?? '', undefined)
  assert.deepEqual(page?.memberships, [])
})

test('a group of somebody new that Google does not show is named to be read, beside those that it shows', async () => {
  const session = open()
  const { members } = await readEverything(session)
  const shared = [...members].flatMap(([group, uids]) => uids.map((uid) => ({ group, uid })))
  const [uid = '', groups = []] =
    [...Map.groupBy(shared, (one) => one.uid)].find(([, all]) => all.length > 1) ?? []
  const [refused = '', ...shown] = groups.map(({ group }) => group)
  running.setFaults([
    {
      kind: 'status',
      path: `/groups/${refused}/members/`,
      status: 403,
      body: {
        error: {
          code: 403,
          message: 'Not Authorized to access this resource/api',
          errors: [{ reason: 'forbidden', domain: 'global', message: 'Not Authorized' }],
        },
      },
    },
  ])
  const page = await reader.newcomers?.read(session, uid, undefined)
  assert.deepEqual(page?.memberships?.map(({ group }) => group).sort(), shown.sort())
  assert.deepEqual(page?.changedGroups, [{ uid: refused }])
})

test('the members of a group that has gone are refused with 404', async () => {
  await assert.rejects(membersOf(open(), '03ffffffffffffffffffffffffffffffff'), {
    code: 'refused',
    status: 404,
  })
})

test('throttling is a refusal that the limits recognise, in every form that Google gives it', async () => {
  const limited = await createGoogleSandbox({ ...size, users: 10, requestsPerMinute: 3 })
  const http = inProcess(limited)
  const heard: unknown[] = []
  const listening: HttpClient = {
    async request(request) {
      const answer = await http.request(request)
      const { bucket } = reader.rates.bucketOf(request)
      if (bucket !== 'token') heard.push(reader.rates.newsIn(answer, bucket)?.throttledForMs)
      return answer
    },
  }
  const session = open({ http: listening, of: limited })
  for (let reads = 0; reads < 3; reads++) await listNamed('users').read(session, undefined)
  await assert.rejects(listNamed('users').read(session, undefined), {
    code: 'refused',
    status: 403,
    providerCode: 'userRateLimitExceeded',
  })
  clock += 60_000
  await listNamed('users').read(session, undefined)
  assert.deepEqual(heard, [undefined, undefined, undefined, 5_000, undefined])
})

/** Applies an increment to what is known, as a merge would. */
async function increment(
  session: GoogleReading,
  known: Knowledge,
  marks: Map<string, Json>,
  names: readonly string[],
): Promise<void> {
  const changed = new Set<string>()
  const removed: string[] = []
  for (const list of reader.increments) {
    if (!names.includes(list.name)) continue
    const mark = marks.get(list.name)
    assert.ok(mark !== undefined)
    const pages = await pagesOf((cursor) => list.read(session, mark, cursor))
    for (const page of pages) {
      for (const entity of page.entities ?? []) {
        if (entity.kind === 'identity') known.identities.set(entity.attributes.uid, entity)
        if (entity.kind !== 'group') continue
        const { uid } = entity.attributes
        if (known.groups.get(uid)?.membersTag !== entity.membersTag) changed.add(uid)
        known.groups.set(uid, entity)
      }
      for (const { uid } of page.changedGroups ?? []) changed.add(uid)
      removed.push(...(page.removed ?? []).map(({ uid }) => uid))
    }
    const next = pages.at(-1)?.mark
    assert.ok(next !== undefined)
    marks.set(list.name, next)
  }
  for (const uid of removed) known.identities.delete(uid)
  for (const uid of changed) known.members.set(uid, (await membersOf(session, uid)).sort())
}

const person = fc.nat({ max: 45 })
const group = fc.nat({ max: 9 })
const anyChange: fc.Arbitrary<Change> = fc.oneof(
  fc.constant<Change>({ what: 'hire' }),
  fc.record({ what: fc.constantFrom('leave', 'return'), person }) as fc.Arbitrary<Change>,
  fc.record({
    what: fc.constant('edit'),
    person,
    edit: fc.record(
      {
        title: fc.string({ minLength: 1, maxLength: 20 }),
        familyName: fc.string({ minLength: 1, maxLength: 20 }),
        status: fc.constantFrom('active', 'suspended', 'deactivated', 'invited'),
        hasMfa: fc.boolean(),
      },
      { requiredKeys: [] },
    ),
  }) as fc.Arbitrary<Change>,
  fc.record({ what: fc.constant('sign_in'), person, ip: fc.ipV4() }) as fc.Arbitrary<Change>,
  fc.record({
    what: fc.constant('found'),
    name: fc.string({ minLength: 1, maxLength: 20 }),
  }) as fc.Arbitrary<Change>,
  fc.record({
    what: fc.constant('rename'),
    group,
    name: fc.string({ minLength: 1 }),
  }) as fc.Arbitrary<Change>,
  fc.record({ what: fc.constantFrom('join', 'quit'), group, person }) as fc.Arbitrary<Change>,
  fc.record({ what: fc.constant('dissolve'), group: fc.nat({ max: 9 }) }) as fc.Arbitrary<Change>,
)
/** The administrator who is acted for stays. */
const isHarmless = (change: Change) => !('person' in change) || change.person > parts.notAdmin

test('increments know of users and groups what a full listing does, with the log of members too', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(anyChange.filter(isHarmless), { maxLength: 15 }), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (rounds, hasLog) => {
        const living = await createGoogleSandbox({ users: 40, groups: 8, devices: 0, seed: 'grows', keys })
        const session = open({ http: inProcess(living), of: living })
        const marks = new Map<string, Json>()
        for (const list of reader.increments) marks.set(list.name, await list.begin(session))
        const known = await readEverything(session)
        for (const changes of rounds) {
          for (const change of changes) {
            clock += 1_000
            try {
              living.directory.change(change, new Date(clock))
            } catch (error) {
              assert.ok(error instanceof RangeError)
            }
          }
          clock += 15 * 60_000
          const names = hasLog ? ['users', 'groups', 'group_log'] : ['users', 'groups']
          await increment(session, known, marks, names)
          const full = await readEverything(session)
          assert.deepEqual(new Map([...known.identities].sort()), new Map([...full.identities].sort()))
          // Groups that were dissolved stay until the next full run.
          for (const [uid, group] of full.groups) {
            assert.deepEqual(known.groups.get(uid), group)
            if (hasLog) {
              const there = (known.members.get(uid) ?? []).filter((one) => known.identities.has(one))
              assert.deepEqual(there, full.members.get(uid))
            }
          }
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('a member who came while another went is told by the log of groups, and without it by the next full run', async () => {
  const living = await createGoogleSandbox({ users: 40, groups: 8, devices: 0, seed: 'swap', keys })
  const { directory } = living
  const [out = 0] = directory.members(3, 0, 1)
  const within = upTo(40).find((index) => !directory.isMember(3, index)) ?? 0
  for (const names of [['groups'], ['groups', 'group_log']]) {
    const session = open({ http: inProcess(living), of: living })
    const marks = new Map<string, Json>()
    for (const list of reader.increments) marks.set(list.name, await list.begin(session))
    const known = await readEverything(session)
    const uid = [...known.groups.values()].find(
      ({ attributes }) => attributes.name === directory.group(3).name,
    )?.attributes.uid
    const before = known.members.get(uid ?? '')
    clock += 20 * 60_000
    const isOut = directory.isMember(3, out)
    directory.change({ what: isOut ? 'quit' : 'join', group: 3, person: out }, new Date(clock))
    directory.change({ what: isOut ? 'join' : 'quit', group: 3, person: within }, new Date(clock))
    clock += 60_000
    await increment(session, known, marks, names)
    const now = (await readEverything(session)).members.get(uid ?? '')
    assert.notDeepEqual(now, before)
    assert.deepEqual(known.members.get(uid ?? ''), names.length === 1 ? before : now)
  }
})

test('the log is read page by page, a little further back than the mark, and not where it does not reach', async () => {
  const living = await createGoogleSandbox({ users: 40, groups: 8, devices: 0, seed: 'log', keys })
  const session = open({ http: inProcess(living), of: living })
  const log = reader.increments.find(({ name }) => name === 'group_log')
  assert.ok(log !== undefined && !log.required)
  for (let step = 0; step < 70; step++) living.directory.change({ what: 'hire' }, new Date(clock))
  clock += 5 * 60_000
  const mark = await log.begin(session)
  const pages = await pagesOf((cursor) => log.read(session, mark, cursor))
  assert.deepEqual(
    pages.map(({ changedGroups }) => changedGroups?.map(({ memberCount }) => memberCount)),
    [[110], [110]],
  )
  const since = new Date(clock - 10 * 60_000).toISOString()
  assert.partialDeepStrictEqual(pages.at(-1)?.mark, { since })
  clock += 6 * 60_000
  const later = await pagesOf(async (cursor) => log.read(session, new Date(clock).toISOString(), cursor))
  assert.deepEqual(
    later.map(({ changedGroups }) => changedGroups),
    [[]],
  )
  clock += 180 * 86_400_000
  await assert.rejects(log.read(session, mark, undefined), MarkLost)
})

test('without its scope the log alone is refused, and says which scope that is', async () => {
  const session = open({ keyFile: 'withoutReports' })
  const [users, groups, roles, log] = reader.increments
  assert.ok(users !== undefined && groups !== undefined && roles !== undefined && log !== undefined)
  for (const list of [users, groups, roles]) await list.read(session, 'x', undefined)
  await assert.rejects(log.read(session, await log.begin(session), undefined), (error) => {
    assert.ok(error instanceof SourceError)
    assert.equal(error.providerCode, 'unauthorized_client')
    const check = googleWorkspace.checks.find(({ capability }) => capability === 'groups')
    assert.ok(check !== undefined)
    const target = targetOf({ keyFile: 'withoutReports' })
    const { title, remedy } = googleWorkspace.diagnose(error, check, target).cause
    assert.match(`${title} ${remedy}`, /admin\.reports\.audit\.readonly/)
    return true
  })
})
