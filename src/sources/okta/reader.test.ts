/** A sandbox organisation read page by page: everything that its directory says, and nothing else. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { freshKeys } from '../../../sandbox/keys.ts'
import type { Change, LivingDirectory } from '../../../sandbox/living-directory.ts'
import { type AppName, createOktaSandbox, type OktaSandbox } from '../../../sandbox/okta/index.ts'
import {
  httpTo,
  type Known,
  openOkta,
  reader,
  readFull,
  readIncrement,
  speaking,
} from '../../../test/okta-reading.ts'
import type { Device, Entity, Group, Identity } from '../../entities/model.ts'
import type { HttpClient } from '../../outbound/http.ts'
import { createOutbound, maxPageBytes } from '../../outbound/outbound.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { createOkta } from './index.ts'
import type { OktaCredentials } from './secrets.ts'

const okta = createOkta({ customDomains: [] })
const keys = freshKeys()
let organization: OktaSandbox
let running: RunningSandbox

before(async () => {
  organization = await createOktaSandbox({
    users: 450,
    groups: 30,
    seed: 'okta reader',
    administrators: 120,
    keys,
  })
  running = await startSandbox({ providers: [organization] })
})
after(() => running.close())

const token = (name: keyof OktaSandbox['apiTokens'], at = organization): OktaCredentials => ({
  kind: 'api_token',
  apiToken: at.apiTokens[name],
})
const app = (name: AppName): OktaCredentials => ({ kind: 'service_app', ...organization.serviceApps[name] })

function open(credentials: OktaCredentials, now = () => new Date()) {
  const { host } = organization
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([name, origin]) => [name, new URL(origin)])),
    endpointAuthorities: [running.authority ?? ''],
    now,
  })
  const rules = okta.egress({ domain: host, credentials })
  const http = outbound.open(rules, new AbortController().signal, Number.POSITIVE_INFINITY, maxPageBytes)
  return openOkta(host, credentials, http, now)
}

const of = <K extends Entity['kind']>({ entities }: Known, kind: K) =>
  [...entities.values()].filter((entity) => entity.kind === kind) as Extract<Entity, { kind: K }>[]

const there = ({ userCount, hasPerson, person }: LivingDirectory) =>
  Array.from({ length: userCount }, (_, index) => index)
    .filter(hasPerson)
    .map(person)

/** What the sandbox's own directory says, without a detour over documents. */
function assertIsDirectory(known: Known, directory: LivingDirectory): void {
  const people = there(directory)
  const byName = new Map(of(known, 'identity').map((one) => [one.attributes.name, one]))
  assert.equal(byName.size, people.length)
  for (const person of people) {
    const { attributes } = byName.get(person.email) as Identity
    const activity = known.activities.get(`identity ${attributes.uid}`)
    assert.partialDeepStrictEqual(attributes, {
      email_addr: person.email,
      given_name: person.givenName,
      surname: person.familyName,
      job_title: person.title,
      department: person.department,
      employee_uid: person.employeeNumber,
      location: { city: person.city, country: person.countryCode },
      status: { active: 'active', suspended: 'suspended', deactivated: 'deactivated', invited: 'inactive' }[
        person.status
      ],
    })
    assert.equal(
      activity?.last_login_time?.slice(0, 19),
      person.lastSignInAt?.toISOString().slice(0, 19),
      person.email,
    )
    const manager = person.managerIndex === undefined ? undefined : directory.person(person.managerIndex)
    assert.equal(attributes.manager?.email_addr, manager?.email)
  }
  const groups = new Map(of(known, 'group').map((one) => [one.attributes.name, one as Group]))
  const indexes = Array.from({ length: directory.groupCount }, (_, index) => index).filter(directory.hasGroup)
  assert.equal(groups.size, indexes.length)
  const expected = new Set<string>()
  for (const index of indexes) {
    const { name, memberCount } = directory.group(index)
    const group = groups.get(index === 0 ? 'Everyone' : name)
    assert.ok(group, name)
    assert.equal(group.memberCount, memberCount)
    for (const member of directory.members(index, 0, memberCount))
      expected.add(`${group.attributes.uid} ${byName.get(directory.person(member).email)?.attributes.uid}`)
  }
  assert.deepEqual(known.memberships, expected)
}

test('an API token of a super administrator reads everything, deprovisioned users included', async () => {
  const known = await readFull(open(token('superAdmin')))
  assertIsDirectory(known, organization.directory)
  assert.deepEqual(known.unreadable, [])
  assert.deepEqual([...known.refused], [])
  const { directory } = organization
  const devices = Array.from({ length: directory.deviceCount }, (_, index) => directory.device(index)).filter(
    ({ platform }) => platform !== 'CHROMEOS',
  )
  const byName = new Map(of(known, 'device').map((one) => [one.attributes.name, one as Device]))
  assert.equal(byName.size, devices.length)
  const uids = new Map(of(known, 'identity').map(({ attributes }) => [attributes.name, attributes.uid]))
  for (const { name, serialNumber, osVersion, ownerIndex } of devices) {
    const device = byName.get(name)
    assert.partialDeepStrictEqual(device?.attributes, {
      hw_info: { serial_number: serialNumber },
      os: { version: osVersion },
      is_managed: true,
    })
    const owner = uids.get(directory.person(ownerIndex).email)
    assert.ok(known.facts.has(`owners ${device?.attributes.uid} ${owner}`))
  }
  const roles = [...known.facts].filter((fact) => fact.startsWith('roles '))
  assert.equal(roles.filter((fact) => fact.endsWith(' Service desk')).length, 120)
  const superAdministrator = uids.get(directory.person(1).email)
  assert.ok(roles.includes(`roles ${superAdministrator} SUPER_ADMIN`))
  const signingIn = there(directory).filter(({ status }) => status !== 'deactivated')
  assert.deepEqual(
    new Set([...known.facts].filter((fact) => /^(?:has_mfa|mfa_methods) /.test(fact))),
    new Set(
      signingIn.flatMap(({ email, hasMfa }) => [
        `has_mfa ${uids.get(email)} ${hasMfa}`,
        ...(hasMfa ? [`mfa_methods ${uids.get(email)} push`] : []),
      ]),
    ),
  )
})

test('asking each user tells the same memberships as asking each group', async () => {
  const session = open(token('readOnly'))
  const [byGroup, byUser] = [await readFull(session), await readFull(session, 'identity')]
  assert.deepEqual(byUser.memberships, byGroup.memberships)
})

for (const name of ['plain', 'dpop'] as const)
  test(`a service app reads everything (${name})`, async () => {
    const known = await readFull(open(app(name)))
    assertIsDirectory(known, organization.directory)
    // Its role may not read who has which.
    assert.deepEqual([...known.refused], ['role_assignments'])
  })

test('what is not granted is left out when it is optional, and ends the run when it is not', async () => {
  const known = await readFull(open(app('requiredScopesOnly')))
  assertIsDirectory(known, organization.directory)
  assert.deepEqual([...known.refused].sort(), [
    'changed_devices',
    'devices',
    'role_assignments',
    'system_log',
  ])
  await assert.rejects(readFull(open(app('withoutGroupsScope'))), { code: 'not_configured' })
  await assert.rejects(readFull(open(token('revoked'))), { status: 401, providerCode: 'E0000011' })
})

test('an app without a role is refused, and no organisation without users is read', async () => {
  const error = await readFull(open(app('withoutRole'))).then(
    () => assert.fail('it was read'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof SourceError)
  const [check] = okta.checks.filter(({ id }) => id === 'users')
  assert.ok(check)
  const diagnosis = okta.diagnose(error, check, {
    domain: organization.host,
    credentials: app('withoutRole'),
  })
  assert.equal(diagnosis.cause.code, 'okta_admin_role_missing')
})

for (const name of ['plain', 'dpop'] as const)
  test(`tokens that end in the middle of a run are renewed (${name})`, async ({ mock }) => {
    mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-11-24T09:00:00Z') })
    const own = await createOktaSandbox({ users: 450, groups: 12, seed: 'renewal', keys })
    const http = httpTo(own, () => new Date())
    let issued = 0
    const session = openOkta(
      own.host,
      { kind: 'service_app', ...own.serviceApps[name] },
      {
        async request(request) {
          const answer = await http.request(request)
          if (new URL(request.url).pathname === '/oauth2/v1/token') issued += 1
          // Ten minutes after each request: a run of hours.
          else mock.timers.setTime(Date.now() + 10 * 60_000)
          return answer
        },
      },
    )
    assertIsDirectory(await readFull(session), own.directory)
    assert.ok(issued > 3)
  })

test('a token that is refused is renewed once, and a renewed one that is refused is no more', async () => {
  const own = await createOktaSandbox({ users: 30, groups: 3, seed: 'refusal', keys })
  const now = () => new Date()
  const http = httpTo(own, now)
  let refusals = 1
  let issued = 0
  const session = openOkta(
    own.host,
    { kind: 'service_app', ...own.serviceApps.plain },
    {
      async request(request) {
        if (request.method === 'POST') issued += 1
        else if (refusals-- > 0)
          return http.request({ ...request, headers: { authorization: 'Bearer sandbox.none' } })
        return http.request(request)
      },
    },
  )
  assertIsDirectory(await readFull(session), own.directory)
  assert.equal(issued, 2)
  refusals = 2
  await assert.rejects(readFull(session), { status: 401 })
  assert.equal(issued, 3)
})

for (const name of ['plain', 'dpop'] as const)
  test(`what a request proves once is proved anew when it was spent by a refusal (${name})`, async () => {
    const own = await createOktaSandbox({ users: 30, groups: 3, seed: 'proofs', keys })
    const http = httpTo(own, () => new Date())
    let asked = 0
    let tokens = 0
    const session = openOkta(
      own.host,
      { kind: 'service_app', ...own.serviceApps[name] },
      {
        async request(request) {
          // As a budget does that sends a request again: every fourth one is answered for the second time.
          const first = asked++ % 4 === 0 ? await http.request(request) : undefined
          if (request.method === 'POST' && first?.status === 200) tokens += 1
          return http.request(request)
        },
      },
    )
    assertIsDirectory(await readFull(session), own.directory)
    assert.ok(tokens <= 2)
  })

/** The sandbox, in whose place somebody else answers to what is too much for it. */
async function slowOrganization(givingUp: HttpClient, isTooMuch: (url: URL) => boolean) {
  const own = await createOktaSandbox({ users: 450, groups: 2, seed: 'large', keys })
  const http = httpTo(own, () => new Date())
  const asked: URL[] = []
  const session = openOkta(own.host, token('superAdmin', own), {
    async request(request) {
      const url = new URL(request.url)
      asked.push(url)
      return (isTooMuch(url) ? givingUp : http).request(request)
    },
  })
  return { own, session, asked }
}
const tooLarge: HttpClient = {
  request: async ({ operation }) => Promise.reject(new SourceError({ code: 'too_large', operation })),
}
const answering = (status: number) =>
  speaking(
    () => ({ status, body: { errorCode: 'E0000009', errorSummary: 'Internal Server Error' } }),
    new Date(),
  )
const limitIn = (url: URL) => Number(url.searchParams.get('limit'))

for (const [what, givingUp] of Object.entries({
  'too large': tooLarge,
  'too slow (500)': answering(500),
  'too slow (502)': answering(502),
  'too slow (504)': answering(504),
})) {
  test(`an organisation whose pages of members are ${what} is asked for smaller ones`, async () => {
    const { own, session, asked } = await slowOrganization(
      givingUp,
      (url) => /groups\/[^/]+\/users$/.test(url.pathname) && limitIn(url) > 200,
    )
    assertIsDirectory(await readFull(session), own.directory)
    // Found out once, not for each group.
    assert.equal(asked.filter((url) => limitIn(url) === 1000).length, 1)
  })

  test(`an organisation whose pages of users and groups are ${what} is asked for smaller ones`, async () => {
    const { own, session } = await slowOrganization(
      givingUp,
      (url) => /^\/api\/v1\/(?:users|groups)$/.test(url.pathname) && limitIn(url) > 50,
    )
    const known = await readFull(session)
    assertIsDirectory(known, own.directory)
    own.directory.change({ what: 'hire' }, new Date())
    await readIncrement(session, known)
    assertIsDirectory(known, own.directory)
  })
}

test('a list that fails whatever is asked for is asked for twice at a time', async () => {
  const { session, asked } = await slowOrganization(answering(500), (url) => url.pathname.endsWith('/users'))
  for (const read of [
    () => reader.lists[0]?.read(session, undefined),
    () => reader.memberships[0]?.read(session, '00g1', undefined),
  ]) {
    asked.length = 0
    await assert.rejects(async () => read(), { status: 500 })
    assert.equal(asked.length, 2)
  }
  await assert.rejects(async () => reader.memberships[0]?.read(session, '00g1', undefined), { status: 500 })
  assert.equal(asked.length, 3)
})

const index = fc.nat({ max: 50 })
const group = fc.nat({ max: 12 })
const changes = fc.oneof(
  fc.constant<Change>({ what: 'hire' }),
  index.map((person): Change => ({ what: 'leave', person })),
  index.map((person): Change => ({ what: 'return', person })),
  fc
    .tuple(index, fc.constantFrom('active', 'suspended', 'deactivated'))
    .map(([person, status]): Change => ({ what: 'edit', person, edit: { status } as never })),
  fc
    .tuple(index, fc.stringMatching(/^[A-Z][a-z]{2,8}$/))
    .map(([person, title]): Change => ({ what: 'edit', person, edit: { title } })),
  index.map((person): Change => ({ what: 'sign_in', person, ip: '192.0.2.7' })),
  fc.stringMatching(/^[A-Z][a-z]{2,8}$/).map((name): Change => ({ what: 'found', name })),
  fc
    .tuple(group, fc.stringMatching(/^[A-Z][a-z]{2,8}$/))
    .map(([group, name]): Change => ({ what: 'rename', group: group + 1, name })),
  group.map((group): Change => ({ what: 'dissolve', group: group + 1 })),
  fc
    .tuple(fc.constantFrom('join' as const, 'quit' as const), group, index)
    .map(([what, group, person]): Change => ({ what, group, person })),
)

/** An increment every few seconds or hours, and what happens before it, spread over that time. */
const increments = fc.array(
  fc.record({
    seconds: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 20_000 })),
    changes: fc.array(changes, { maxLength: 8 }),
  }),
  { minLength: 1, maxLength: 5 },
)

/** Devices apart: what their owners tell of them is no change of theirs, and read anew with everything alone. */
const comparable = (known: Known) => ({
  entities: new Map(
    [...known.entities]
      .filter(([, { kind }]) => kind !== 'device')
      .map(([key, { attributes, raw }]) => [key, { attributes, raw }]),
  ),
  memberships: known.memberships,
  signIns: new Map([...known.activities].map(([key, activity]) => [key, activity.last_login_time])),
})

test('increments after whatever happened tell the same as everything read anew', async () => {
  let number = 0
  await fc.assert(
    fc.asyncProperty(increments, async (steps) => {
      number += 1
      let time = Date.parse('2026-11-24T09:00:00.250Z')
      const now = () => new Date(time)
      const own = await createOktaSandbox({
        users: 45,
        groups: 9,
        devices: 5,
        seed: `property ${number % 3}`,
      })
      const session = () => openOkta(own.host, token('readOnly', own), httpTo(own, now), now)
      const known = await readFull(session())
      /** Who came back under another id, and has not signed in with it. */
      const returned = new Set<number>()
      for (const { seconds, changes } of steps) {
        for (const change of changes) {
          time += Math.ceil((seconds * 1000) / (changes.length + 1))
          try {
            own.directory.change(change, now())
            if (change.what === 'return') returned.add(change.person)
            if (change.what === 'sign_in') returned.delete(change.person)
          } catch (error) {
            assert.ok(error instanceof RangeError)
          }
        }
        await readIncrement(session(), known)
      }
      const anew = await readFull(session())
      assert.deepEqual(comparable(known), comparable(anew))
      assertIsDirectory(known, own.directory)
      const newcomers = new Set([...returned].map((index) => own.directory.person(index).email))
      const signedIn = there(own.directory).filter(
        ({ lastSignInIp, email }) => lastSignInIp !== undefined && !newcomers.has(email),
      )
      for (const { email } of signedIn) {
        const one = of(known, 'identity').find(({ attributes }) => attributes.name === email)
        assert.equal(known.activities.get(`identity ${one?.attributes.uid}`)?.last_login_ip, '192.0.2.7')
      }
    }),
    { numRuns: 40 },
  )
})
