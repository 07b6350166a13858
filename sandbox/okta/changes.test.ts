/** What happens in the organisation is seen in its lists and in its System Log, as Okta shows it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Change } from '../living-directory.ts'
import type { SandboxAnswer } from '../provider.ts'
import { createOktaSandbox, type OktaSandboxOptions, type TokenName } from './index.ts'

const seconds = Date.parse('2026-11-24T09:00:00Z') / 1000

async function organization(options: Partial<OktaSandboxOptions> = {}) {
  const okta = await createOktaSandbox({ users: 60, groups: 8, seed: 'changes', ...options })
  let now = seconds * 1000
  const ask = (path: string, { as = 'superAdmin' as TokenName, headers = {} } = {}) =>
    okta.handle({
      method: 'GET',
      url: new URL(path, `https://${okta.host}`),
      headers: new Headers({ authorization: `SSWS ${okta.apiTokens[as]}`, ...headers }),
      body: '',
      now: new Date(now),
      faults: new Set(),
    })
  return {
    okta,
    ask,
    /** Has something happen, `after` ms later. */
    happen(change: Change, after = 1000) {
      now += after
      return okta.directory.change(change, new Date(now))
    },
    wait(ms: number) {
      now += ms
    },
    async list(path: string, parameters: Readonly<Record<string, string>> = {}) {
      const answer = await ask(`${path}?${new URLSearchParams(parameters)}`)
      assert.equal(answer.status, 200, JSON.stringify(answer.body))
      return answer.body as readonly Record<string, unknown>[]
    },
  }
}

const nextOf = ({ headers }: SandboxAnswer) => /<([^>]+)>; rel="next"/.exec(headers?.link ?? '')?.[1]
const typesIn = ({ body }: SandboxAnswer) =>
  (body as readonly { eventType: string }[]).map(({ eventType }) => eventType)
const loginOf = (document: Readonly<Record<string, unknown>> | undefined) =>
  (document?.profile as { login: string } | undefined)?.login
const idOf = (document: Readonly<Record<string, unknown>> | undefined) => String(document?.id)

test('those who changed since a moment are listed, and only those', async () => {
  const { happen, list, okta } = await organization()
  const filter = 'lastUpdated gt "2026-11-24T09:00:00.000Z"'
  assert.deepEqual(await list('/api/v1/users', { filter }), [])
  happen({ what: 'edit', person: 7, edit: { title: 'Lead' } })
  happen({ what: 'sign_in', person: 8, ip: '192.0.2.1' })
  happen({ what: 'hire' })
  const changed = await list('/api/v1/users', { filter })
  assert.deepEqual(
    changed.map(loginOf),
    [7, 60].map((index) => okta.directory.person(index).email),
  )
  assert.partialDeepStrictEqual(changed[0], { profile: { title: 'Lead' } })
  assert.deepEqual(await list('/api/v1/users', { search: filter }), changed)
})

test('a filter that everybody matches lists everybody, deprovisioned users too', async () => {
  const { list, okta } = await organization()
  const everybody = await list('/api/v1/users', { filter: 'lastUpdated ge "1970-01-01T00:00:00.000Z"' })
  assert.equal(everybody.length, okta.directory.userCount)
  const statuses = ['ACTIVE', 'SUSPENDED', 'DEPROVISIONED', 'PROVISIONED']
  const filter = statuses.map((status) => `status eq "${status}"`).join(' or ')
  assert.deepEqual(await list('/api/v1/users', { filter }), everybody)
})

test('whoever leaves is nowhere any more, and has another id when they return', async () => {
  const { happen, list, ask, okta } = await organization()
  const everybody = { filter: 'lastUpdated ge "1970-01-01T00:00:00.000Z"' }
  const before = idOf((await list('/api/v1/users', everybody))[9])
  const everyone = idOf((await list('/api/v1/groups'))[0])
  happen({ what: 'leave', person: 9 })
  assert.equal((await ask(`/api/v1/users/${before}`)).status, 404)
  assert.equal((await list('/api/v1/users', everybody)).length, 59)
  assert.equal((await list(`/api/v1/groups/${everyone}/users`)).length, 59)
  happen({ what: 'return', person: 9 })
  assert.equal((await ask(`/api/v1/users/${before}`)).status, 404)
  const after = (await list('/api/v1/users', everybody))[9]
  assert.notEqual(idOf(after), before)
  assert.equal(loginOf(after), okta.directory.person(9).email)
  assert.equal((await ask(`/api/v1/users/${idOf(after)}`)).status, 200)
})

test('groups tell when they and when their members changed, and count them', async () => {
  const { happen, list } = await organization()
  const names = async (filter: string) =>
    (await list('/api/v1/groups', { filter })).map(({ profile }) => (profile as { name: string }).name)
  const [first] = await list('/api/v1/groups', { expand: 'stats' })
  assert.partialDeepStrictEqual(first, { _embedded: { stats: { usersCount: 60 } } })
  assert.equal((await list('/api/v1/groups'))[0]?._embedded, undefined)
  happen({ what: 'found', name: 'Rowing' })
  happen({ what: 'join', group: 8, person: 3 })
  happen({ what: 'rename', group: 2, name: 'Chess' })
  const since = '2026-11-24T09:00:00.000Z'
  assert.deepEqual(await names(`lastUpdated gt "${since}"`), ['Chess', 'Rowing'])
  assert.deepEqual(await names('lastMembershipUpdated gt "2026-11-24T09:00:00.000Z"'), ['Rowing'])
  happen({ what: 'leave', person: 3 })
  assert.ok((await names('lastMembershipUpdated gt "2026-11-24T09:00:03.000Z"')).includes('Everyone'))
  happen({ what: 'dissolve', group: 8 })
  assert.equal((await names('type eq "OKTA_GROUP"')).includes('Rowing'), false)
})

test('pages of members go on where they were, whoever comes or leaves meanwhile', async () => {
  const { happen, ask, list, okta } = await organization()
  const everyone = idOf((await list('/api/v1/groups'))[0])
  const first = await ask(`/api/v1/groups/${everyone}/users?limit=20`)
  happen({ what: 'leave', person: 4 })
  const second = await ask(nextOf(first) ?? '')
  assert.deepEqual(
    (second.body as readonly Record<string, unknown>[]).map(loginOf),
    Array.from({ length: 20 }, (_, index) => okta.directory.person(20 + index).email),
  )
})

test('devices tell their users where they are asked to, and those who left have none', async () => {
  const { happen, list, okta } = await organization()
  const [device] = await list('/api/v1/devices', { expand: 'userSummary', limit: '1' })
  assert.ok(device)
  const [{ user }] = (device._embedded as { users: [{ user: Record<string, unknown> }] }).users
  const owner = okta.directory.findPerson(loginOf(user) ?? '')
  assert.ok(owner !== undefined)
  assert.deepEqual(Object.keys(user), ['id', 'profile', '_links'])
  happen({ what: 'leave', person: owner })
  assert.deepEqual(await list(`/api/v1/devices/${idOf(device)}/users`), [])
  const [again] = await list('/api/v1/devices', { expand: 'user', limit: '1' })
  assert.deepEqual(again?._embedded, { users: [] })
})

test('administrators come in pages, each with their roles', async () => {
  const { ask, list } = await organization({ users: 300, administrators: 150 })
  const ids: string[] = []
  let path: string | undefined = '/api/v1/iam/assignees/users'
  while (path !== undefined) {
    const { body } = await ask(path)
    const { value, _links } = body as { value: { id: string }[]; _links: { next?: { href: string } } }
    ids.push(...value.map(({ id }) => id))
    path = _links.next?.href
  }
  assert.equal(new Set(ids).size, 156)
  assert.equal((await list(`/api/v1/users/${ids.at(-1)}/roles`))[0]?.type, 'CUSTOM')
})

test('users come without their credentials where the request says so', async () => {
  const { ask } = await organization()
  const headers = { 'content-type': 'application/json; okta-response="omitCredentials,omitCredentialsLinks"' }
  const [plain] = (await ask('/api/v1/users?limit=1')).body as object[]
  const [spare] = (await ask('/api/v1/users?limit=1', { headers })).body as object[]
  assert.ok('credentials' in (plain ?? {}))
  assert.equal('credentials' in (spare ?? {}), false)
})

test('polling the log tells every event once, in its order, and always where to go on', async () => {
  const { happen, ask, okta } = await organization()
  const start = `/api/v1/logs?${new URLSearchParams({ since: '2026-11-24T09:00:00Z', sortOrder: 'ASCENDING', limit: '3' })}`
  const quiet = await ask(start)
  assert.deepEqual(quiet.body, [])
  const { email } = okta.directory.person(5)
  happen({ what: 'sign_in', person: 5, ip: '192.0.2.9' })
  happen({ what: 'leave', person: 5 })
  happen({ what: 'dissolve', group: 2 })
  const first = await ask(nextOf(quiet) ?? '')
  assert.deepEqual(typesIn(first), [
    'user.session.start',
    'user.lifecycle.delete.initiated',
    'user.lifecycle.delete.completed',
  ])
  assert.partialDeepStrictEqual(first.body, [
    {
      published: '2026-11-24T09:00:01.000Z',
      actor: { type: 'User', alternateId: email },
      client: { ipAddress: '192.0.2.9' },
      outcome: { result: 'SUCCESS' },
    },
    {},
    { target: [{ type: 'User', alternateId: email }] },
  ])
  const second = await ask(nextOf(first) ?? '')
  assert.deepEqual(typesIn(second), ['group.lifecycle.delete'])
  const third = await ask(nextOf(second) ?? '')
  assert.deepEqual(third.body, [])
  happen({ what: 'hire' })
  assert.deepEqual(typesIn(await ask(nextOf(third) ?? '')), [
    'user.lifecycle.create',
    'user.lifecycle.activate',
  ])
  assert.equal(typesIn(await ask(start)).length, 3)
})

test('the log between two moments has an end, and takes filters', async () => {
  const { happen, ask, wait } = await organization()
  happen({ what: 'sign_in', person: 5, ip: '192.0.2.9' })
  happen({ what: 'leave', person: 5 })
  wait(1000)
  const logs = (parameters: Readonly<Record<string, string>>) =>
    ask(`/api/v1/logs?${new URLSearchParams(parameters)}`)
  const bounds = { since: '2026-11-24T09:00:00Z', until: '2026-11-24T10:00:00Z' }
  const bounded = await logs(bounds)
  assert.equal(nextOf(bounded), undefined)
  assert.equal(typesIn(bounded).length, 3)
  const page = await logs({ ...bounds, limit: '2' })
  assert.deepEqual(typesIn(await ask(nextOf(page) ?? '')), ['user.lifecycle.delete.completed'])
  const descending = await logs({ sortOrder: 'DESCENDING' })
  assert.deepEqual(typesIn(descending), typesIn(bounded).reverse())
  const filter = 'eventType sw "user.lifecycle" and eventType co "completed" and target.type eq "User"'
  assert.deepEqual(typesIn(await logs({ filter })), ['user.lifecycle.delete.completed'])
  for (const parameters of [
    { since: 'yesterday' },
    { since: '2025-01-01T00:00:00Z' },
    { limit: '1001' },
    { filter: 'published gt "2026"' },
    { after: 'x', sortOrder: 'ASCENDING' },
  ] as Record<string, string>[])
    assert.equal((await logs(parameters)).status, 400, JSON.stringify(parameters))
  assert.equal((await ask('/api/v1/logs', { as: 'groupAdmin' })).status, 403)
})

test('enforces the limits that Okta published, each bucket its own, in windows of any length', async () => {
  const { ask, wait } = await organization({ requestsPerMinute: 'documented', rateWindowMs: 5_000 })
  const remaining = async (path: string) => {
    const { headers } = await ask(path)
    return [headers?.['x-rate-limit-limit'], headers?.['x-rate-limit-remaining']]
  }
  assert.deepEqual(await remaining('/api/v1/users?limit=1'), ['600', '599'])
  assert.deepEqual(await remaining('/api/v1/groups?limit=1'), ['500', '499'])
  assert.deepEqual(await remaining('/api/v1/users/me'), ['2000', '1999'])
  assert.deepEqual(await remaining('/api/v1/users/me/groups'), ['1200', '1199'])
  assert.deepEqual(await remaining('/api/v1/iam/assignees/users'), ['1200', '1198'])
  for (let count = 0; count < 100; count++) assert.equal((await ask('/api/v1/devices?limit=1')).status, 200)
  const refused = await ask('/api/v1/devices?limit=1')
  assert.equal(refused.status, 429)
  assert.equal(refused.headers?.['x-rate-limit-reset'], String(seconds + 5))
  wait(5_000)
  assert.equal((await ask('/api/v1/devices?limit=1')).status, 200)
})
