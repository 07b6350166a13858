/** Entra ID read as a sync reads it, page by page: what comes out is what the directory holds. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { idOf } from '../../../sandbox/entra/directory-objects.ts'
import { createEntraSandbox, type EntraSandbox } from '../../../sandbox/entra/index.ts'
import { type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { entraOutbound, keyOf, openRun, readAll, walk } from '../../../test/entra-reading.ts'
import type { Outbound } from '../../outbound/outbound.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { Json } from '../reading.ts'
import { reader } from './reader.ts'

let entra: EntraSandbox
let sandbox: RunningSandbox
let outbound: Outbound
let providerTime = () => new Date()

before(async () => {
  entra = await createEntraSandbox({
    users: 1_203,
    groups: 31,
    devices: 260,
    seed: 'entra reader',
    isVaried: true,
  })
  sandbox = await startSandbox({ providers: [entra], now: () => providerTime() })
  outbound = entraOutbound(sandbox)
})
afterEach(() => {
  providerTime = () => new Date()
  sandbox.setFaults([])
  sandbox.forgetRequests()
})
after(() => sandbox.close())

async function withRun<T>(
  work: (session: ReturnType<typeof openRun>['session']) => Promise<T>,
  secrets: object = entra.apps.full,
  options: Parameters<typeof openRun>[2] = {},
): Promise<T> {
  const run = openRun(outbound, secrets, options)
  try {
    return await work(run.session)
  } finally {
    await run.close()
  }
}

test('somebody who is new is asked for exactly the groups that have them as a member', async () => {
  await withRun(async (session) => {
    const known = await readAll(session)
    for (let index = 0; index < 25; index++) {
      const uid = idOf(entra.directory.person(index).key)
      const page = await reader.newcomers?.read(session, uid, undefined)
      assert.deepEqual(
        page?.memberships?.map(({ group }) => `${group} ${uid}`).sort(),
        [...known.memberships].filter((membership) => membership.endsWith(uid)).sort(),
      )
    }
  })
})

test('pages of which nothing is to be told are not empty ones', async () => {
  await withRun(async (session) => {
    const owners = reader.lists.find(({ name }) => name === 'device_owners')
    const page = await owners?.read(session, undefined)
    assert.equal(page?.records, 100)
  })
})

test('every user, group and device comes out as the directory has it', async () => {
  const known = await withRun((session) => readAll(session))
  const { directory } = entra
  assert.deepEqual(known.leftOut, [])
  assert.deepEqual(known.unreadable, [])
  assert.equal(known.entities.size, 1_203 + 31 + 260)

  for (let index = 0; index < directory.userCount; index++) {
    const person = directory.person(index)
    const uid = idOf(person.key)
    const { managerIndex } = person
    const city = person.city
    assert.deepEqual(known.entities.get(keyOf('identity', uid))?.attributes, {
      uid,
      name: person.email,
      email_addr: person.email,
      email_addrs: [person.email],
      full_name: `${person.givenName} ${person.familyName}`,
      given_name: person.givenName,
      surname: person.familyName,
      ...(person.status === 'invited' && { type: 'Guest' }),
      status: { active: 'active', invited: 'inactive', suspended: 'suspended', deactivated: 'suspended' }[
        person.status
      ],
      ...(person.status === 'invited' && { status_detail: 'PendingAcceptance' }),
      job_title: person.title,
      department: person.department,
      division: person.department,
      company: 'acme.com',
      ...(managerIndex !== undefined && { manager: { uid: idOf(directory.person(managerIndex).key) } }),
      employee_uid: person.employeeNumber,
      employee_type: 'Employee',
      office_location: city,
      location: { city, country: person.countryCode },
      hire_time: person.createdAt.toISOString().replace('.000Z', 'Z'),
      created_time: person.createdAt.toISOString().replace('.000Z', 'Z'),
    })
    // The report leaves out disabled users.
    const isReported = person.status === 'active' || person.status === 'invited'
    assert.deepEqual([...(known.facts.get(`has_mfa ${uid}`) ?? [])], isReported ? [person.hasMfa] : [])
    assert.deepEqual(
      [...(known.facts.get(`mfa_methods ${uid}`) ?? [])],
      isReported && person.hasMfa ? ['microsoftAuthenticatorPush'] : [],
    )
    assert.deepEqual(
      known.activities.get(uid)?.last_login_time,
      person.lastSignInAt?.toISOString().replace('.000Z', 'Z'),
    )
  }
  for (let index = 0; index < directory.groupCount; index++) {
    const group = directory.group(index)
    const uid = idOf(group.key)
    assert.deepEqual(known.entities.get(keyOf('group', uid))?.attributes, {
      uid,
      name: group.name,
      desc: group.description,
      type: 'security',
      created_time: group.createdAt.toISOString().replace('.000Z', 'Z'),
    })
    const members = directory.members(index, 0, 2_000).map((member) => idOf(directory.person(member).key))
    const others = index === 1 ? [idOf(directory.group(2).key), idOf(directory.device(0).key)] : []
    assert.deepEqual(
      [...known.memberships].filter((membership) => membership.startsWith(uid)).sort(),
      [...members, ...others].map((member) => `${uid} ${member}`).sort(),
    )
  }
  for (let index = 0; index < directory.deviceCount; index++) {
    const device = directory.device(index)
    const uid = idOf(device.key)
    const found = known.entities.get(keyOf('device', uid))
    assert.partialDeepStrictEqual(found?.attributes, {
      uid,
      name: device.name,
      hostname: device.name.toLowerCase(),
      os: { version: device.osVersion },
    })
    assert.deepEqual(found?.activity, {
      last_seen_time: device.lastSeenAt.toISOString().replace('.000Z', 'Z'),
    })
    assert.deepEqual(
      [...(known.facts.get(`owners ${uid}`) ?? [])],
      [idOf(directory.person(device.ownerIndex).key)],
    )
  }
})

test('holders of roles are read without their properties, and groups among them looked up by 15', async () => {
  const roleDefinitionId = 'fe930be7-5e62-47db-91af-98c3a49a38b1'
  const principal = (number: number) => `11111111-2222-4333-8444-5555555550${10 + number}`
  const principals = Array.from({ length: 40 }, (_, number) => principal(number))
  const value = principals.map((principalId) => ({ principalId, roleDefinitionId, directoryScopeId: '/' }))
  const group = idOf(entra.directory.group(0).key)
  value.push({ principalId: group, roleDefinitionId, directoryScopeId: '/' })
  sandbox.setFaults([
    { provider: 'entra', path: '/roleAssignments$', kind: 'status', status: 200, body: { value } },
  ])
  sandbox.forgetRequests()
  const known = await withRun((session) => readAll(session, ['role_assignments']))
  for (const uid of principals) assert.ok(known.facts.has(`roles ${uid}`))
  assert.ok(!known.facts.has(`roles ${group}`))
  const [member = assert.fail()] = entra.directory.members(0, 0, 1)
  assert.ok(known.facts.has(`roles ${idOf(entra.directory.person(member).key)}`))
  assert.equal(sandbox.requests().filter(({ path }) => path === '/v1.0/groups').length, 3)
  assert.equal(reader.lists.find(({ name }) => name === 'role_assignments')?.calls({ told: 41 }), 6)
})

test('a role that counts in a part of the tenant says in which', async () => {
  const principalId = '11111111-2222-4333-8444-555555555555'
  const part = '22222222-3333-4444-8555-666666666666'
  const scopes: readonly (readonly [object, string])[] = [
    [{ directoryScopeId: '/' }, ''],
    [{ directoryScopeId: `/administrativeUnits/${part.toUpperCase()}` }, ` (administrative unit ${part})`],
    [{ directoryScopeId: `/${part}` }, ` (application ${part})`],
    [{ directoryScopeId: `/attributeSets/${part}` }, ` (scope /attributeSets/${part})`],
    [{ directoryScopeId: null, appScopeId: `/Catalog/${part}` }, ` (scope /Catalog/${part})`],
    [{ directoryScopeId: '/', appScopeId: `/${part}` }, ` (scope /${part})`],
    [{ directoryScopeId: 7 }, ' (scope unknown)'],
  ]
  const roleDefinitionId = 'fe930be7-5e62-47db-91af-98c3a49a38b1'
  sandbox.setFaults([
    {
      provider: 'entra',
      path: '/roleAssignments$',
      kind: 'status',
      status: 200,
      body: { value: scopes.map(([scope]) => ({ principalId, roleDefinitionId, ...scope })) },
    },
  ])
  const { facts } = await withRun((session) => readAll(session, ['role_assignments']))
  assert.deepEqual(
    [...(facts.get(`roles ${principalId}`) ?? [])],
    scopes.map(([, told]) => `User Administrator${told}`),
  )
})

test('roles are those assigned to a user, and those of a group that the user is in', async () => {
  const known = await withRun((session) => readAll(session, ['role_assignments']))
  const { directory } = entra
  const rolesOf = (index: number) => [
    ...(known.facts.get(`roles ${idOf(directory.person(index).key)}`) ?? []),
  ]
  assert.ok(rolesOf(0).includes('Global Administrator'))
  assert.ok(rolesOf(1).includes('User Administrator'))
  assert.ok(rolesOf(2).includes('Security Reader'))
  const group = Array.from({ length: 20 }, (_, index) => index).find((index) => {
    const { memberCount } = directory.group(index)
    return memberCount > 0 && memberCount <= 5
  })
  assert.ok(group !== undefined)
  for (const member of directory.members(group, 0, 5)) assert.ok(rolesOf(member).includes('Security Reader'))
})

test('without the optional permissions the rest is read, and what is left out is named', async () => {
  const known = await withRun((session) => readAll(session), entra.apps.leastPrivilege)
  assert.deepEqual(known.leftOut.sort(), [
    'authentication_methods',
    'changes of devices',
    'device_owners',
    'devices',
    'role_assignments',
    'sign_in_activity',
  ])
  assert.equal(known.entities.size, 1_203 + 31)
})

test('a tenant without the licence loses sign-ins and methods alone', async () => {
  const known = await withRun((session) => readAll(session), entra.apps.withoutPremium, {
    domain: entra.domains.withoutPremium,
  })
  assert.deepEqual(known.leftOut.sort(), ['authentication_methods', 'sign_in_activity'])
})

test('the plan is what a run asks for', async () => {
  const known = { identities: 1_203, groups: 31, devices: 260 }
  for (const list of reader.lists) {
    sandbox.forgetRequests()
    const counted = await withRun(async (session) => {
      await walk(
        (cursor) => list.read(session, cursor),
        () => {},
      )
      return sandbox.requests().filter(({ path }) => path.startsWith('/v1.0/') && !path.endsWith('/$count'))
        .length
    })
    assert.equal(counted, list.calls(known), list.name)
  }
  assert.deepEqual(
    reader.lists.map(({ calls }) => calls({})),
    reader.lists.map(({ name }) => (name === 'role_assignments' ? 4 : undefined)),
  )
})

test('where the report takes no page size it is read without', async () => {
  sandbox.setFaults([
    {
      provider: 'entra',
      path: '/userRegistrationDetails$',
      kind: 'status',
      status: 400,
      body: { error: { code: 'Request_UnsupportedQuery', message: 'no $top' } },
      times: 1,
    },
  ])
  const known = await withRun((session) => readAll(session, ['authentication_methods']))
  assert.deepEqual(known.leftOut, [])
  assert.ok(known.facts.size > 1_203)
})

test('empty pages in the middle lose nothing', async () => {
  sandbox.setFaults([{ provider: 'entra', kind: 'empty_middle_page' }])
  const known = await withRun((session) => readAll(session, ['users', 'groups', 'devices']))
  assert.equal(known.entities.size, 1_203 + 31 + 260)
})

test('a link that names its own page ends the list with an error', async () => {
  sandbox.setFaults([{ provider: 'entra', kind: 'repeated_next_link' }])
  const users = reader.lists[0]
  await assert.rejects(
    withRun(async (session) =>
      walk(
        (cursor) => users?.read(session, cursor) ?? assert.fail(),
        () => {},
      ),
    ),
    (error: unknown) =>
      error instanceof SourceError && error.code === 'unexpected_response' && error.hints.link === 'repeats',
  )
})

test('a token is renewed before it expires, and once when Graph calls it invalid', async () => {
  const tokensAsked = () =>
    sandbox.requests().filter(({ path }) => path.endsWith('/oauth2/v2.0/token')).length
  let now = new Date()
  providerTime = () => now
  const users = reader.lists[0]
  assert.ok(users)
  await withRun(
    async (session) => {
      const first = await users.read(session, undefined)
      assert.equal(tokensAsked(), 1)
      now = new Date(now.getTime() + 58 * 60_000)
      const second = await users.read(session, first.next)
      assert.equal(tokensAsked(), 2)
      sandbox.setFaults([
        {
          provider: 'entra',
          path: '/users$',
          kind: 'status',
          status: 401,
          body: { error: { code: 'InvalidAuthenticationToken', message: 'expired' } },
          times: 1,
        },
      ])
      const third = await users.read(session, second.next)
      assert.equal(tokensAsked(), 3)
      assert.equal(third.entities?.length, 100)
      sandbox.setFaults([
        {
          provider: 'entra',
          path: '/users$',
          kind: 'status',
          status: 401,
          body: { error: { code: 'InvalidAuthenticationToken', message: 'expired' } },
        },
      ])
      await assert.rejects(users.read(session, third.next), { providerCode: 'InvalidAuthenticationToken' })
      assert.equal(tokensAsked(), 3)
      sandbox.setFaults([])
      assert.equal((await users.read(session, third.next)).entities?.length, 100)
    },
    entra.apps.full,
    { now: () => now },
  )
})

for (const [title, fault] of [
  ['an HTML page', { kind: 'html' }],
  ['half of a document', { kind: 'truncated' }],
  ['an error with status 200', { kind: 'status', status: 200, body: { error: { code: 'x', message: 'y' } } }],
  ['a document without a list', { kind: 'status', status: 200, body: { value: 'none' } }],
  ['nesting without end', { kind: 'deep_json' }],
  ['503', { kind: 'unavailable' }],
] as const)
  test(`${title} in place of a page is an error, and never an empty list`, async () => {
    sandbox.setFaults([{ provider: 'entra', path: '/users$', ...fault }])
    await assert.rejects(
      withRun((session) => readAll(session, ['users'])),
      (error: unknown) => error instanceof SourceError,
    )
  })

for (const [title, link, hint] of [
  ['another host', 'https://graph.microsoft.com.evil.example/v1.0/users?$skiptoken=x', 'other_host'],
  ['another port', 'https://graph.microsoft.com:8443/v1.0/users?$skiptoken=x', 'other_host'],
  ['a host with credentials', 'https://a:b@graph.microsoft.com/v1.0/users?$skiptoken=x', 'other_host'],
  ['plain HTTP', 'http://graph.microsoft.com/v1.0/users?$skiptoken=x', 'other_host'],
  ["another cloud's Graph", 'https://graph.microsoft.us/v1.0/users?$skiptoken=x', 'other_host'],
  ['another list', 'https://graph.microsoft.com/v1.0/groups?$skiptoken=x', 'other_path'],
  ['another version', 'https://graph.microsoft.com/beta/users?$skiptoken=x', 'other_path'],
  ['a path that climbs', 'https://graph.microsoft.com/v1.0/users/../groups', 'other_path'],
  ['no URL', 'next', 'malformed'],
  ['no text', 7, 'malformed'],
  ['an endless URL', `https://graph.microsoft.com/v1.0/users?$skiptoken=${'x'.repeat(9_000)}`, 'malformed'],
] as const)
  test(`a next link to ${title} is not followed`, async () => {
    sandbox.setFaults([
      {
        provider: 'entra',
        path: '/users$',
        kind: 'status',
        status: 200,
        body: { value: [], '@odata.nextLink': link },
      },
    ])
    await assert.rejects(
      withRun((session) => readAll(session, ['users'])),
      (error: unknown) =>
        error instanceof SourceError && error.code === 'unexpected_response' && error.hints.link === hint,
    )
    assert.ok(
      sandbox
        .requests()
        .every(
          ({ path }) => path.startsWith('/v1.0/users') || path.includes('/delta') || path.endsWith('/token'),
        ),
    )
  })

test('a stored cursor that leads elsewhere is not followed', async () => {
  const users = reader.lists[0]
  assert.ok(users)
  const cursors: Json[] = [
    '/groups?$skiptoken=x',
    '@evil.example/users',
    '/users\\@evil.example',
    '/users/../groups',
    '/users?a#b',
    '',
    {},
    null,
  ]
  for (const cursor of cursors)
    await assert.rejects(
      withRun((session) => users.read(session, cursor)),
      (error: unknown) => error instanceof SourceError && error.code === 'unexpected_response',
    )
  assert.ok(sandbox.requests().every(({ path }) => !path.includes('groups')))
})

test('records that cannot be read are named, and the others read', async () => {
  const good = {
    id: '11111111-2222-4333-8444-555555555555',
    userPrincipalName: 'a@acme.com',
    accountEnabled: true,
  }
  sandbox.setFaults([
    {
      provider: 'entra',
      path: '/users$',
      kind: 'status',
      status: 200,
      body: {
        value: [
          null,
          'x',
          { ...good, id: undefined },
          { ...good, id: '__proto__' },
          { ...good, id: 'AAAAAAAA-2222-4333-8444-555555555555', accountEnabled: undefined },
          { ...good, userPrincipalName: '' },
          good,
        ],
      },
    },
  ])
  const page = await withRun((session) => reader.lists[0]?.read(session, undefined) ?? assert.fail())
  assert.deepEqual(
    page.entities?.map(({ attributes }) => attributes.uid),
    [good.id],
  )
  assert.deepEqual(page.unreadable, [
    { kind: 'identity', reason: 'it is no object' },
    { kind: 'identity', reason: 'it is no object' },
    { kind: 'identity', reason: 'it has no id' },
    { kind: 'identity', reason: 'it has no id' },
    {
      kind: 'identity',
      reason: 'accountEnabled is missing',
      uid: 'aaaaaaaa-2222-4333-8444-555555555555',
    },
    { kind: 'identity', reason: 'userPrincipalName is missing', uid: good.id },
  ])
})

test('low priority is what a sync asks with', async () => {
  const seen: (string | null)[] = []
  const watched = await createEntraSandbox({ users: 3, groups: 1, seed: 'priority' })
  const running = await startSandbox({
    providers: [
      {
        ...watched,
        handle: (request) => {
          if (request.url.pathname.startsWith('/v1.0/'))
            seen.push(request.headers.get('x-ms-throttle-priority'))
          return watched.handle(request)
        },
      },
    ],
  })
  const run = openRun(entraOutbound(running), watched.apps.full)
  await readAll(run.session)
  await run.close()
  await running.close()
  assert.ok(seen.length > 10)
  assert.ok(seen.every((priority) => priority === 'Low'))
})
