/** Okta's own SDK finds in the sandbox what it expects of an organisation, over TLS with the local authority. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { type AppName, createOktaSandbox, type OktaSandbox } from '../../sandbox/okta/index.ts'

const script = join(import.meta.dirname, 'okta-sdk.ts')
let okta: OktaSandbox
let running: RunningSandbox

before(async () => {
  okta = await createOktaSandbox({ users: 60, groups: 25, seed: 'okta sdk' })
  running = await startSandbox({ providers: [okta] })
})
after(() => running.close())

interface Failure {
  readonly status?: number
  readonly errorCode?: string
  readonly message: string
  readonly challenge?: string
}
type Outcomes = Readonly<Record<string, { readonly result?: unknown; readonly failure?: Failure }>>

async function drive(credentials: Readonly<Record<string, unknown>>): Promise<Outcomes> {
  const instructions = { orgUrl: running.endpoints[okta.host], ...credentials }
  running.forgetRequests()
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(instructions)], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NODE_EXTRA_CA_CERTS: running.caFile },
    timeout: 60_000,
  })
  return JSON.parse(stdout)
}

const app = (
  name: AppName,
  scopes = ['okta.users.read', 'okta.groups.read', 'okta.devices.read', 'okta.roles.read'],
) => ({
  ...okta.serviceApps[name],
  scopes,
})

function assertReads(outcomes: Outcomes) {
  const ids = (name: string) => outcomes[name]?.result as readonly string[]
  assert.equal(new Set(ids('users')).size, 30)
  assert.equal(new Set(ids('groups')).size, 12)
  assert.equal(new Set(ids('members')).size, 15)
  assert.equal(new Set(ids('devices')).size, 7)
  const { directory } = okta
  const first = Array.from({ length: directory.userCount }, (_, index) => directory.person(index)).filter(
    ({ status }) => status !== 'deactivated',
  )
  assert.deepEqual(
    outcomes.factors?.result,
    first.slice(0, 5).map(({ hasMfa }) => (hasMfa ? ['ACTIVE push'] : [])),
  )
  assert.partialDeepStrictEqual(outcomes.user?.result, { isFirst: true, hasLogin: true })
  assert.partialDeepStrictEqual(outcomes.missing?.failure, { status: 404, errorCode: 'E0000007' })
}

test('with an API token it lists, pages and gets, and reports Okta’s codes', async () => {
  const outcomes = await drive({ token: okta.apiTokens.readOnly })
  assertReads(outcomes)
  assert.partialDeepStrictEqual(outcomes.roles?.failure, { status: 403, errorCode: 'E0000006' })
})

test('with a service app it gets a token, lists, pages and gets', async () => {
  assertReads(await drive(app('plain')))
  const tokens = running.requests().filter(({ path }) => path === '/oauth2/v1/token')
  assert.equal(tokens.at(-1)?.status, 200)
})

test('with a service app that requires DPoP it proves possession for the token and for each request', async () => {
  assertReads(await drive(app('dpop')))
  assert.deepEqual(
    running
      .requests()
      .filter(({ path }) => path === '/oauth2/v1/token')
      .map(({ status }) => status),
    [400, 200],
  )
})

test('with a revoked token each call fails with Okta’s code', async () => {
  const outcomes = await drive({ token: okta.apiTokens.revoked })
  for (const { failure } of Object.values(outcomes))
    assert.partialDeepStrictEqual(failure, { status: 401, errorCode: 'E0000011' })
})

test('without a scope the call fails as Okta tells it, in a header', async () => {
  const { groups } = await drive(app('plain', ['okta.users.read']))
  assert.equal(groups?.failure?.status, 403)
  assert.match(groups?.failure?.challenge ?? '', /error="insufficient_scope"/)
})
