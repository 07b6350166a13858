/** Validations of Okta credentials against a running sandbox organisation. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type Fault, type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { type AppName, createOktaSandbox, type OktaSandbox } from '../../../sandbox/okta/index.ts'
import { createOutbound } from '../../outbound/outbound.ts'
import type { Report } from '../../validation/report.ts'
import { validate } from '../../validation/validate.ts'
import { createOkta } from './index.ts'

const customDomain = 'id.acme.com'
const okta = createOkta({ customDomains: [customDomain] })
let organization: OktaSandbox
let running: RunningSandbox

before(async () => {
  organization = await createOktaSandbox({ users: 60, groups: 12, seed: 'okta tests', customDomain })
  running = await startSandbox({ providers: [organization] })
})
after(() => running.close())

async function report(
  secrets: Readonly<Record<string, unknown>>,
  {
    domain = organization.host,
    faults = [] as readonly Fault[],
    // Longer than a busy machine takes: what a limit does is another test's.
    timeoutMs = 60_000,
    at = running,
    ahead = 0,
  } = {},
): Promise<Report> {
  const reading = okta.readCredentials(secrets)
  assert.ok(reading.ok)
  const now = () => new Date(Date.now() + ahead * 1000)
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(at.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    endpointAuthorities: at.authority === undefined ? [] : [at.authority],
    now,
  })
  at.setFaults(faults)
  at.forgetRequests()
  try {
    return await validate(
      okta,
      { domain, credentials: reading.credentials },
      { openHttp: (rules, signal) => outbound.open(rules, signal), now },
      { timeoutMs },
    )
  } finally {
    at.setFaults([])
  }
}

const token = (name: keyof OktaSandbox['apiTokens']) => ({ api_token: organization.apiTokens[name] })
const app = (name: AppName) => {
  const { clientId, privateKey, keyId } = organization.serviceApps[name]
  return { client_id: clientId, private_key: privateKey, key_id: keyId }
}
const check = ({ checks }: Report, id: string) => {
  const found = checks.find((one) => one.id === id)
  assert.ok(found, id)
  return found
}
const causeOf = (given: Report, id: string) => check(given, id).cause?.code

test('finds an API token valid, and tells whose it is and of which organisation', async () => {
  const given = await report(token('readOnly'))
  assert.equal(given.verdict, 'valid')
  assert.deepEqual(given.subject, {
    domain: organization.host,
    organization: organization.organizationId,
    principal: organization.directory.person(0).email,
  })
})

test('finds a service app valid with its key as PEM, as JSON Web Key, and as text of one', async () => {
  const { client_id, key_id, private_key } = app('plain')
  const jwk = createPrivateKey(private_key).export({ format: 'jwk' })
  for (const secrets of [
    { client_id, private_key, key_id },
    { client_id, private_key },
    { client_id, private_key: jwk },
    { client_id, private_key: JSON.stringify({ ...jwk, kid: key_id }) },
  ]) {
    const { verdict, subject } = await report(secrets)
    assert.equal(verdict, 'valid')
    assert.equal(subject.principal, client_id)
  }
})

test('gives the proofs that an app with DPoP asks for', async () => {
  assert.equal((await report(app('dpop'))).verdict, 'valid')
  const tokenRequests = running.requests().filter(({ path }) => path === '/oauth2/v1/token')
  assert.deepEqual(
    tokenRequests.map(({ status }) => status),
    [400, 400, 200],
  )
})

test('accepts the domain as URL, in upper case, and as the custom domain of the organisation', async () => {
  for (const domain of [`https://${organization.host}/`, organization.host.toUpperCase(), customDomain])
    assert.equal((await report(token('readOnly'), { domain })).verdict, 'valid', domain)
  const onCustom = running.requests().filter(({ host }) => host === customDomain)
  assert.deepEqual(
    onCustom.map(({ path }) => path),
    ['/.well-known/okta-organization'],
  )
})

test('never asks for anything that changes something', async () => {
  await report(token('superAdmin'))
  assert.deepEqual(new Set(running.requests().map(({ method }) => method)), new Set(['GET']))
  await report(token('superAdmin'))
  assert.equal((await report(token('superAdmin'))).verdict, 'valid')
})

test('refuses tokens that are revoked, expired, of a deactivated user, or made up', async () => {
  for (const secrets of [
    token('revoked'),
    token('expired'),
    token('ownerDeactivated'),
    { api_token: '00QCjAl4MlV-WPXM_0HmjFxvbGua00QCjAl4MlVWPX' },
  ]) {
    const given = await report(secrets)
    assert.equal(given.verdict, 'invalid')
    assert.equal(causeOf(given, 'access'), 'okta_token_rejected')
  }
})

test('refuses what cannot be right without sending anything', async () => {
  const publicKey = createPublicKey(app('plain').private_key)
    .export({ type: 'spki', format: 'pem' })
    .toString()
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ api_token: `SSWS ${organization.apiTokens.readOnly}` }, 'okta_token_malformed'],
    [{ api_token: `${organization.apiTokens.readOnly}\n` }, 'okta_token_malformed'],
    [{ ...app('plain'), private_key: publicKey }, 'okta_private_key_is_public'],
    [{ ...app('plain'), private_key: 'secret' }, 'okta_private_key_unreadable'],
    [{ ...app('plain'), client_id: 'my app' }, 'okta_client_id_malformed'],
  ]
  for (const [secrets, code] of cases) {
    const given = await report(secrets)
    assert.equal(given.verdict, 'invalid')
    assert.equal(causeOf(given, 'credentials'), code)
    assert.deepEqual(running.requests(), [])
  }
  const given = await report(token('readOnly'), { domain: 'acme.okta.com.evil.tld' })
  assert.equal(causeOf(given, 'domain'), 'okta_domain_not_permitted')
  assert.deepEqual(running.requests(), [])
})

test('tells apart why a service app gets no token', async () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const wrongKey = { ...app('plain'), private_key: other.export({ type: 'pkcs8', format: 'pem' }) }
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [wrongKey, 'okta_key_not_registered'],
    [{ ...app('plain'), key_id: 'other' }, 'okta_key_not_registered'],
    [{ ...app('plain'), client_id: '0oaunknown0000000000' }, 'okta_client_unknown'],
    [app('clientSecret'), 'okta_client_secret_app'],
    [app('web'), 'okta_not_service_app'],
    [app('deactivated'), 'okta_client_rejected'],
    [app('outsideZone'), 'okta_network_zone'],
    [app('withoutScopes'), 'okta_scopes_not_granted'],
  ]
  for (const [secrets, code] of cases) {
    const given = await report(secrets)
    assert.equal(given.verdict, 'invalid', code)
    assert.equal(causeOf(given, 'access'), code)
  }
})

test('names the required scope that is missing', async () => {
  const given = await report(app('withoutGroupsScope'))
  assert.equal(given.verdict, 'invalid')
  assert.equal(causeOf(given, 'groups'), 'okta_scope_missing')
  assert.match(check(given, 'groups').cause?.title ?? '', /okta\.groups\.read/)
  assert.equal(check(given, 'users').status, 'passed')
  assert.equal(given.capabilities.find(({ entity_type }) => entity_type === 'groups')?.available, false)
})

test('takes missing optional scopes for warnings', async () => {
  const given = await report(app('requiredScopesOnly'))
  assert.equal(given.verdict, 'valid')
  assert.deepEqual(
    given.warnings.map(({ check: id, code }) => [id, code]),
    ['roles', 'devices', 'applications', 'system_log'].map((id) => [id, 'okta_scope_missing']),
  )
})

test('says what reads the System Log, and what a sync goes without', async () => {
  const withoutScope = check(await report(app('withoutLogsScope')), 'system_log')
  assert.match(withoutScope.cause?.remedy ?? '', /click Grant for okta\.logs\.read\.$/)
  const withoutRole = check(await report(token('groupAdmin')), 'system_log')
  assert.equal(withoutRole.cause?.code, 'okta_permission_missing')
  assert.match(withoutRole.cause?.remedy ?? '', /this role: Read-only Administrator/)
  for (const { status, without } of [withoutScope, withoutRole]) {
    assert.equal(status, 'failed')
    assert.match(without ?? '', /^Deletions and sign-ins/)
  }
  assert.equal(check(await report(token('readOnly')), 'system_log').without, undefined)
})

test('asks the System Log for one event, once, as its limits are low', async () => {
  for (const secrets of [token('readOnly'), app('plain')]) {
    await report(secrets)
    const asked = running.requests().filter(({ path }) => path === '/api/v1/logs')
    assert.equal(asked.length, 1)
  }
})

test('does not take an empty list of users for readable users', async () => {
  const given = await report(app('withoutRole'))
  assert.equal(given.verdict, 'invalid')
  assert.equal(causeOf(given, 'users'), 'okta_admin_role_missing')
})

test('warns of a Super Administrator, of a group administrator who sees a part, and of idle tokens', async () => {
  const codes = async (secrets: Record<string, unknown>) =>
    (await report(secrets)).warnings.map(({ code }) => code)
  assert.deepEqual(await codes(token('superAdmin')), ['okta_super_administrator', 'okta_token_idle_rule'])
  assert.deepEqual(await codes(app('superAdmin')), ['okta_super_administrator'])
  assert.ok((await codes(token('groupAdmin'))).includes('okta_partial_groups'))
})

test('finds Classic Engine valid, where devices have neither endpoint nor scope', async () => {
  const classic = await createOktaSandbox({ users: 5, groups: 2, seed: 'classic', isClassic: true })
  const at = await startSandbox({ providers: [classic] })
  try {
    const { clientId: client_id, privateKey: private_key } = classic.serviceApps.plain
    const withApp = await report({ client_id, private_key }, { at })
    assert.equal(withApp.verdict, 'valid')
    assert.equal(causeOf(withApp, 'devices'), 'okta_scope_missing')
    const withToken = await report({ api_token: classic.apiTokens.readOnly }, { at })
    assert.equal(withToken.verdict, 'valid')
    assert.equal(causeOf(withToken, 'devices'), 'okta_feature_unavailable')
  } finally {
    await at.close()
  }
})

test('says that there is no organisation, where there is none', async () => {
  const given = await report(token('readOnly'), { domain: organization.unknownHost })
  assert.equal(given.verdict, 'invalid')
  assert.equal(causeOf(given, 'organization'), 'okta_organization_not_found')
})

test('refuses credentials of another organisation', async () => {
  const other = await createOktaSandbox({ users: 5, groups: 2, seed: 'other', host: 'other.okta.com' })
  const at = await startSandbox({ providers: [other] })
  try {
    const withToken = await report(token('readOnly'), { at, domain: other.host })
    assert.equal(causeOf(withToken, 'access'), 'okta_token_rejected')
    const withApp = await report(app('plain'), { at, domain: other.host })
    assert.equal(causeOf(withApp, 'access'), 'okta_client_unknown')
    assert.deepEqual([withToken.verdict, withApp.verdict], ['invalid', 'invalid'])
  } finally {
    await at.close()
  }
})

const faults: readonly (readonly [what: string, fault: Omit<Fault, 'path'>, cause: string])[] = [
  ['does not answer in time', { kind: 'hang' }, 'okta_timed_out'],
  ['throttles', { kind: 'throttled' }, 'okta_rate_limited'],
  ['is in read-only mode', { kind: 'unavailable' }, 'okta_read_only_mode'],
  ['answers 500', { kind: 'status', status: 500 }, 'okta_unavailable'],
  ['answers with a page', { kind: 'html' }, 'okta_unexpected_response'],
  ['resets the connection', { kind: 'reset' }, 'okta_unreachable'],
  ['cuts its answer', { kind: 'cut' }, 'okta_unreachable'],
  ['sends half of a document', { kind: 'truncated' }, 'okta_unexpected_response'],
  ['sends endless data', { kind: 'endless' }, 'okta_too_large'],
  ['nests too deep', { kind: 'deep_json' }, 'okta_unexpected_response'],
  ['redirects', { kind: 'redirect', location: 'https://evil.tld/' }, 'okta_redirected'],
]
const places: readonly (readonly [path: string, checkId: string, secrets: () => Record<string, unknown>])[] =
  [
    ['^/\\.well-known/', 'organization', () => token('readOnly')],
    ['^/api/v1/users/me$', 'access', () => token('readOnly')],
    ['^/oauth2/v1/token$', 'access', () => app('plain')],
    ['^/api/v1/users$', 'users', () => app('plain')],
    ['^/api/v1/groups/[^/]+/users$', 'memberships', () => token('readOnly')],
  ]
for (const [what, fault, code] of faults) {
  test(`cannot tell when Okta ${what}`, async () => {
    for (const [path, checkId, secrets] of places) {
      const given = await report(secrets(), {
        faults: [{ ...fault, path }],
        ...(fault.kind === 'hang' && { timeoutMs: 400 }),
      })
      assert.equal(given.verdict, 'indeterminate', path)
      assert.equal(check(given, checkId).status, 'unknown', path)
      assert.equal(causeOf(given, checkId), code, path)
    }
  })
}

test('passes on how long Okta asks to wait', async () => {
  const { retry_after_seconds: seconds = 0 } = await report(token('readOnly'), {
    faults: [{ kind: 'throttled' }],
  })
  assert.ok(seconds >= 1 && seconds <= 61, String(seconds))
})

test('blames a clock that is ten minutes off, not the key', async () => {
  for (const ahead of [-600, 600]) {
    const given = await report(app('plain'), { ahead })
    assert.equal(given.verdict, 'indeterminate')
    assert.equal(causeOf(given, 'access'), 'okta_clock_skew')
  }
})

test('bears a clock that is a few seconds off', async () => {
  for (const ahead of [-4, 4]) {
    assert.equal((await report(app('plain'), { ahead })).verdict, 'valid')
    assert.equal((await report(app('dpop'), { ahead })).verdict, 'valid')
  }
})

test('lets no secret into a report, however it ends', async () => {
  const { private_key } = app('plain')
  const jwk = createPrivateKey(private_key).export({ format: 'jwk' })
  const secretsAndNeedles: readonly (readonly [Record<string, unknown>, readonly string[]])[] = [
    [token('readOnly'), [organization.apiTokens.readOnly]],
    [token('revoked'), [organization.apiTokens.revoked]],
    [{ api_token: `SSWS ${organization.apiTokens.readOnly}` }, [organization.apiTokens.readOnly]],
    [app('plain'), private_key.split('\n').filter((line) => line.length > 20)],
    [{ ...app('plain'), private_key: private_key.slice(0, 900) }, private_key.split('\n').slice(1, 8)],
    [{ ...app('plain'), private_key: jwk }, [String(jwk.d), String(jwk.p)]],
  ]
  for (const [secrets, needles] of secretsAndNeedles) {
    for (const some of [[], [{ kind: 'html' }], [{ kind: 'truncated' }], [{ kind: 'reset' }]] as const) {
      const text = JSON.stringify(await report(secrets, { faults: some }))
      for (const needle of needles)
        for (const spelling of [
          needle,
          encodeURIComponent(needle),
          Buffer.from(needle).toString('base64'),
          Buffer.from(needle).toString('hex'),
        ])
          assert.equal(text.includes(spelling), false)
    }
  }
})

test('asks nothing later than needed: a token, a list, and what stands in it, with the organisation beside', async () => {
  const depths = new Map<string, number>()
  for (const { id, stage, after: earlier } of okta.checks) {
    const before = Math.max(0, ...earlier.map((one) => depths.get(one) ?? 0))
    const asksOkta = stage !== 'shape' && stage !== 'identity' && id !== 'custom_domain'
    depths.set(id, before + (asksOkta ? 1 : 0))
  }
  assert.equal(Math.max(...depths.values()), 3)
  assert.deepEqual(
    ['organization', 'access', 'users', 'groups', 'memberships', 'mfa'].map((id) => depths.get(id)),
    [1, 1, 2, 2, 3, 3],
  )
  await report(token('readOnly'), { faults: [{ kind: 'latency', ms: 20 }] })
  const first = running.requests().slice(0, 2)
  assert.deepEqual(first.map(({ path }) => path).sort(), [
    '/.well-known/okta-organization',
    '/api/v1/users/me',
  ])
})

test('the examples of the sandbox end as they promise', async () => {
  const { valid, invalid } = organization.examples()
  assert.equal((await report(valid.secrets ?? {}, { domain: valid.domain })).verdict, 'valid')
  assert.ok(invalid.length >= 5)
  for (const { title, attributes } of invalid)
    assert.equal(
      (await report(attributes.secrets ?? {}, { domain: attributes.domain })).verdict,
      'invalid',
      title,
    )
})
