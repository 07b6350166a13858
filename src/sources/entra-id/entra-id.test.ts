/** Validations of Entra ID from end to end: the real runner and the real way out, against the sandbox over TLS. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { createEntraSandbox, type EntraSandbox } from '../../../sandbox/entra/index.ts'
import { type Fault, type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { createOutbound, type Outbound } from '../../outbound/outbound.ts'
import { answerTo } from '../../validation/answer.ts'
import type { CheckReport, Report } from '../../validation/report.ts'
import { validate } from '../../validation/validate.ts'
import { entraId } from './index.ts'

let entra: EntraSandbox
let sandbox: RunningSandbox
let outbound: Outbound
/** The clock of the sandbox. */
let providerTime = () => new Date()

before(async () => {
  entra = await createEntraSandbox({ users: 40, groups: 4, seed: 'entra-id.test' })
  sandbox = await startSandbox({ providers: [entra], now: () => providerTime() })
  const { endpoints, authority = '' } = sandbox
  outbound = createOutbound({
    endpoints: new Map(Object.entries(endpoints).map(([host, origin]) => [host, new URL(origin)])),
    endpointAuthorities: [authority],
  })
})
afterEach(() => {
  providerTime = () => new Date()
  sandbox.setFaults([])
  sandbox.forgetRequests()
})
after(() => sandbox.close())

interface Asked {
  readonly domain?: string
  readonly timeoutMs?: number
  readonly now?: () => Date
}

async function ask(secrets: object, { domain = 'acme.com', timeoutMs, now = () => new Date() }: Asked = {}) {
  const read = entraId.readCredentials({ ...secrets })
  assert.ok(read.ok)
  return validate(
    entraId,
    { domain, credentials: read.credentials },
    { openHttp: (rules, signal) => outbound.open(rules, signal), now },
    // Longer than a busy machine takes: what a limit does is another test's.
    { timeoutMs: timeoutMs ?? 60_000 },
  )
}

const checkIn = (report: Report, id: string): CheckReport => {
  const found = report.checks.find((check) => check.id === id)
  assert.ok(found, `no check ${id}`)
  return found
}

const causesOf = (report: Report, status: CheckReport['status']) =>
  Object.fromEntries(
    report.checks.filter((check) => check.status === status).map(({ id, cause }) => [id, cause?.code]),
  )

const tokenPath = '/oauth2/v2\\.0/token$'
const hit = (fault: Omit<Fault, 'provider'>): void => sandbox.setFaults([{ provider: 'entra', ...fault }])

test('a client secret with every permission is valid, without a single warning', async () => {
  const report = await ask(entra.apps.full)
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(report.warnings, [])
  assert.ok(report.checks.every(({ status }) => status === 'passed'))
  assert.ok(report.capabilities.every(({ available }) => available))
  assert.equal(report.subject.domain, 'acme.com')
  assert.equal(report.subject.organization, `Acme (${entra.tenantId})`)
  assert.equal(report.subject.principal, `full (${entra.apps.full.client_id})`)
})

test('the five usual permissions prove all that is required, and what they lack is named', async () => {
  const report = await ask(entra.apps.usual)
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(causesOf(report, 'failed'), {
    sign_in_activity: 'entra_permission_missing',
    mfa: 'entra_permission_missing',
  })
  assert.deepEqual(
    report.capabilities.filter(({ available }) => !available),
    [
      { entity_type: 'sign_in_activity', available: false, missing: ['AuditLog.Read.All'] },
      { entity_type: 'mfa', available: false, missing: ['AuditLog.Read.All'] },
    ],
  )
})

test('the least privilege is enough: the domain is then proved by the public directory', async () => {
  const report = await ask(entra.apps.leastPrivilege)
  assert.equal(report.verdict, 'valid')
  assert.equal(checkIn(report, 'domain_ownership').status, 'passed')
  assert.ok(sandbox.requests().some(({ path }) => path.startsWith('/acme.com/v2.0/.well-known/')))
  for (const id of ['devices', 'applications', 'roles', 'sign_in_activity', 'mfa', 'credential_expiry'])
    assert.equal(checkIn(report, id).cause?.code, 'entra_permission_missing', id)
})

test('a certificate is valid, also when its chain comes with it and line breaks are written out', async () => {
  const { certificate, private_key, ...app } = entra.apps.certificate
  const chain = `${entra.apps.unregisteredCertificate.certificate}${certificate}`
  for (const pair of [
    { certificate, private_key },
    { certificate: chain, private_key },
    {
      certificate: certificate.replaceAll('\n', '\\n'),
      private_key: private_key.replaceAll('\n', '\\r\\n'),
    },
  ]) {
    const report = await ask({ ...app, ...pair })
    assert.equal(report.verdict, 'valid')
    assert.equal(checkIn(report, 'credential_expiry').status, 'passed')
  }
})

test('a federated token is valid, and its expiry is nothing to warn of', async () => {
  const report = await ask(await entra.federated())
  assert.equal(report.verdict, 'valid')
  assert.equal(checkIn(report, 'credential_expiry').status, 'skipped')
})

test('a tenant may be named by one of its domains, in any case', async () => {
  const report = await ask(
    { ...entra.apps.full, tenant_id: 'ACME.onmicrosoft.com' },
    { domain: 'HTTPS://Acme.COM/' },
  )
  assert.equal(report.verdict, 'valid')
  assert.equal(report.subject.domain, 'acme.com')
})

test('every cloud is asked at its own authority and Graph, and nowhere else', async () => {
  const { usGov, usGovDod, china, full } = entra.apps
  for (const [secrets, domain, hosts] of [
    [full, 'acme.com', ['login.microsoftonline.com', 'graph.microsoft.com']],
    [usGov, entra.domains.usGov, ['login.microsoftonline.us', 'graph.microsoft.us']],
    [usGovDod, entra.domains.usGovDod, ['login.microsoftonline.us', 'dod-graph.microsoft.us']],
    [china, entra.domains.china, ['login.partner.microsoftonline.cn', 'microsoftgraph.chinacloudapi.cn']],
  ] as const) {
    sandbox.forgetRequests()
    assert.equal((await ask(secrets, { domain })).verdict, 'valid')
    assert.deepEqual(new Set(sandbox.requests().map(({ host }) => host)), new Set(hosts))
  }
})

const refusals: readonly (readonly [
  scenario: string,
  secrets: () => object,
  check: string,
  cause: string,
])[] = [
  ['a wrong client secret', () => entra.apps.wrongSecret, 'token', 'entra_secret_wrong'],
  ['an expired client secret', () => entra.apps.expiredSecret, 'token', 'entra_secret_expired'],
  [
    'a certificate never uploaded',
    () => entra.apps.unregisteredCertificate,
    'token',
    'entra_certificate_not_registered',
  ],
  ['an unknown app', () => entra.apps.unknownApp, 'token', 'entra_app_not_found'],
  ['an unknown tenant', () => entra.apps.unknownTenant, 'token', 'entra_tenant_not_found'],
  ['a disabled app', () => entra.apps.disabled, 'token', 'entra_app_disabled'],
  ['an app disabled in Graph', () => entra.apps.disabledInGraph, 'users', 'entra_service_principal_disabled'],
  [
    'an app without service principal',
    () => entra.apps.missingInGraph,
    'users',
    'entra_service_principal_missing',
  ],
  ['no consent at all', () => entra.apps.noConsent, 'users', 'entra_no_application_permissions'],
  ['no permission for groups', () => entra.apps.noGroups, 'groups', 'entra_permission_missing'],
]

for (const [scenario, secrets, check, cause] of refusals) {
  test(`${scenario} is invalid, with the cause ${cause}`, async () => {
    const report = await ask(secrets())
    assert.equal(report.verdict, 'invalid')
    assert.equal(checkIn(report, check).status, 'failed')
    assert.equal(checkIn(report, check).cause?.code, cause)
    assert.equal(answerTo(report).status, 400)
  })
}

test('what the sign-in service says is shown with its number and correlation ID', async () => {
  const { provider } = checkIn(await ask(entra.apps.wrongSecret), 'token')
  assert.equal(provider?.status, 401)
  assert.equal(provider?.code, 'AADSTS7000215')
  assert.match(provider?.message ?? '', /^Invalid client secret provided\..*Correlation ID: [0-9a-f-]{36}$/)
})

test('a missing permission is named, with its type and the way to consent', async () => {
  const { cause } = checkIn(await ask(entra.apps.noGroups), 'groups')
  assert.equal(cause?.title, 'The application permission GroupMember.Read.All is missing')
  assert.match(cause?.remedy ?? '', /type Application.*Grant admin consent.*new token/)
})

test('a federated token is refused for what does not match', async () => {
  for (const [claims, part] of [
    [{ subject: 'repo:acme/other' }, 'subject'],
    [{ issuer: 'https://issuer.example' }, 'issuer'],
    [{ audience: 'api://Other' }, 'audience'],
  ] as const) {
    const { cause } = checkIn(await ask(await entra.federated(claims)), 'token')
    assert.equal(cause?.code, 'entra_federated_no_match')
    assert.match(cause?.explanation ?? '', new RegExp(`the ${part} differs`))
  }
})

test('an unusual audience of a federated token is a warning', async () => {
  const report = await ask(await entra.federated({ audience: 'api://Other' }))
  assert.deepEqual(
    report.warnings.filter(({ check }) => check === 'credentials').map(({ code }) => code),
    ['entra_unusual_audience'],
  )
})

test("a secret's ID is recognised without a packet sent", async () => {
  const report = await ask(entra.apps.secretId)
  assert.equal(report.verdict, 'invalid')
  assert.equal(checkIn(report, 'credentials').cause?.code, 'entra_secret_is_id')
  assert.deepEqual(sandbox.requests(), [])
})

test('without credentials and without an entry of the operator, the text is the same for every domain', async () => {
  const texts = new Set<string>()
  for (const domain of ['acme.com', 'cornershop.example', 'nobody.example']) {
    const report = await ask({}, { domain })
    assert.equal(report.verdict, 'invalid')
    texts.add(JSON.stringify(checkIn(report, 'credentials').cause))
  }
  assert.equal(texts.size, 1)
  assert.match([...texts].join(), /entra_credentials_missing/)
  assert.deepEqual(sandbox.requests(), [])
})

test("the operator's app registration completes a request without credentials", async () => {
  const { operator } = entraId
  const read = entraId.readCredentials(undefined)
  assert.ok(read.ok && operator)
  assert.equal(operator.needed(read.credentials), true)
  const credentials = operator.complete(read.credentials, operator.schema.parse(entra.apps.operator))
  assert.equal(operator.needed(credentials), false)
  const report = await validate(
    entraId,
    { domain: 'acme.com', credentials },
    { openHttp: (rules, signal) => outbound.open(rules, signal), now: () => new Date() },
  )
  assert.equal(report.verdict, 'valid')
})

test('a domain of another tenant is invalid, whichever way it is proved', async () => {
  const byGraph = await ask(entra.apps.full, { domain: entra.domains.withoutPremium })
  assert.equal(byGraph.verdict, 'invalid')
  assert.equal(checkIn(byGraph, 'domain_ownership').cause?.code, 'entra_domain_not_verified')
  const publicly = await ask(entra.apps.leastPrivilege, { domain: entra.domains.withoutPremium })
  assert.equal(publicly.verdict, 'invalid')
  assert.equal(checkIn(publicly, 'domain_ownership').cause?.code, 'entra_domain_other_tenant')
  const nobodys = await ask(entra.apps.leastPrivilege, { domain: 'nobody.example' })
  assert.equal(nobodys.verdict, 'invalid')
  assert.equal(checkIn(nobodys, 'domain_ownership').cause?.code, 'entra_domain_not_verified')
})

test('the public directory tells whose the domain is where the organisation is not to be had', async () => {
  for (const body of ['<html>Not found</html>', graphError('Request_ResourceNotFound', 'no such resource')]) {
    hit({ path: '^/v1\\.0/organization$', kind: 'status', status: 404, body })
    assert.equal((await ask(entra.apps.full)).verdict, 'valid')
    const foreign = await ask(entra.apps.full, { domain: entra.domains.withoutPremium })
    assert.equal(checkIn(foreign, 'domain_ownership').cause?.code, 'entra_domain_other_tenant')
    assert.equal(foreign.verdict, 'invalid')
  }
})

test('a token response that leaves its type out is a good one', async () => {
  hit({ path: tokenPath, kind: 'status', status: 200, body: { access_token: 'opaque' } })
  assert.equal(checkIn(await ask(entra.apps.full), 'token').status, 'passed')
})

test('a tenant of another cloud is invalid, and the right cloud is named', async () => {
  const { usGov, usGovDod } = entra.apps
  for (const [secrets, domain, right] of [
    [{ ...usGov, cloud: 'global' }, entra.domains.usGov, 'us-gov'],
    [{ ...usGovDod, cloud: 'us-gov' }, entra.domains.usGovDod, 'us-gov-dod'],
    [{ ...entra.apps.full, cloud: 'us-gov' }, 'acme.com', 'global'],
    [{ ...entra.apps.certificate, cloud: 'us-gov' }, 'acme.com', 'global'],
  ] as const) {
    const report = await ask(secrets, { domain })
    assert.equal(report.verdict, 'invalid')
    const { cause } = checkIn(report, 'token')
    assert.equal(cause?.code, 'entra_other_cloud')
    assert.equal(cause?.remedy, `Set cloud to ${right}; the app must be registered in that cloud.`)
  }
})

test('a tenant without P1 is valid; the licence is asked about twice before it is reported', async () => {
  const report = await ask(entra.apps.withoutPremium, { domain: entra.domains.withoutPremium })
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(causesOf(report, 'failed'), {
    sign_in_activity: 'entra_premium_required',
    mfa: 'entra_premium_required',
  })
  const asked = sandbox.requests().filter(({ path }) => path.includes('userRegistrationDetails'))
  assert.equal(asked.length, 2)
})

test('a licence that is missed only once is there', async () => {
  hit({
    path: 'userRegistrationDetails',
    kind: 'status',
    status: 403,
    body: graphError('Authentication_RequestFromNonPremiumTenantOrB2CTenant', 'Neither tenant is B2C'),
    times: 1,
  })
  assert.equal(checkIn(await ask(entra.apps.full), 'mfa').status, 'passed')
})

test('a tenant without groups is valid, with a word about memberships', async () => {
  hit({ path: '^/v1\\.0/groups$', kind: 'status', status: 200, body: { value: [] } })
  const report = await ask(entra.apps.full)
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(
    report.warnings.map(({ code }) => code),
    ['entra_no_groups'],
  )
})

test('an empty list of users proves nothing', async () => {
  hit({ path: '^/v1\\.0/users$', kind: 'status', status: 200, body: { value: [] } })
  const report = await ask(entra.apps.full)
  assert.equal(report.verdict, 'indeterminate')
  assert.equal(checkIn(report, 'users').cause?.code, 'entra_users_empty')
})

test('a secret that ends soon is a warning by its urgency', async () => {
  for (const [days, code] of [
    [29, 'entra_expires_within_30_days'],
    [13, 'entra_expires_within_14_days'],
    [2, 'entra_expires_within_3_days'],
    [31, undefined],
  ] as const) {
    const endDateTime = new Date(Date.now() + days * 86_400_000).toISOString()
    const hint = entra.apps.full.client_secret.slice(0, 3)
    hit({
      path: '/applications',
      kind: 'status',
      status: 200,
      body: {
        appId: entra.apps.full.client_id,
        passwordCredentials: [
          { hint: '~~~', endDateTime: new Date(Date.now() + 86_400_000).toISOString() },
          { hint, endDateTime: '2001-01-01T00:00:00Z' },
          { hint, endDateTime },
          null,
        ],
      },
    })
    const { warnings, verdict } = await ask(entra.apps.full)
    assert.equal(verdict, 'valid')
    assert.deepEqual(
      warnings.map((warning) => warning.code),
      code === undefined ? [] : [code],
    )
  }
})

test('a certificate that ends soon is a warning without any request for it', async () => {
  const later = () => new Date(Date.now() + 325 * 86_400_000)
  providerTime = later
  const report = await ask(entra.apps.certificate, { now: later })
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(
    report.warnings.filter(({ check }) => check === 'credential_expiry').map(({ code }) => code),
    ['entra_expires_within_14_days'],
  )
  assert.ok(!sandbox.requests().some(({ path }) => path.startsWith('/v1.0/applications')))
})

test('permissions to write are a warning', async () => {
  const report = await ask(entra.apps.writer)
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(
    report.warnings.map(({ code, explanation }) => [code, explanation]),
    [['entra_too_powerful', 'Its token also carries User.ReadWrite.All. Reading needs none of them.']],
  )
})

const undecided: readonly (readonly [
  scenario: string,
  fault: Omit<Fault, 'provider' | 'path'>,
  cause: string,
])[] = [
  ['503', { kind: 'unavailable' }, 'entra_unavailable'],
  ['429', { kind: 'throttled' }, 'entra_rate_limited'],
  ['a captive portal', { kind: 'html' }, 'entra_unexpected_response'],
  ['half a document', { kind: 'truncated' }, 'entra_unexpected_response'],
  ['half a connection', { kind: 'cut' }, 'entra_unreachable'],
  ['no answer but an end', { kind: 'reset' }, 'entra_unreachable'],
  ['a redirect', { kind: 'redirect', location: 'https://evil.example/' }, 'entra_redirected'],
  ['an endless body', { kind: 'endless' }, 'entra_too_large'],
  ['a gzip bomb', { kind: 'gzip_bomb' }, 'entra_too_large'],
  ['deep JSON', { kind: 'deep_json' }, 'entra_unexpected_response'],
  ['silence', { kind: 'hang' }, 'entra_timed_out'],
]

for (const [scenario, fault, cause] of undecided) {
  test(`${scenario} in place of a token leaves the verdict open`, async () => {
    hit({ ...fault, path: tokenPath })
    const report = await ask(entra.apps.full, fault.kind === 'hang' ? { timeoutMs: 1_000 } : {})
    assert.equal(report.verdict, 'indeterminate')
    assert.equal(checkIn(report, 'token').status, 'unknown')
    assert.equal(checkIn(report, 'token').cause?.code, cause)
    assert.notEqual(answerTo(report).status, 200)
    assert.notEqual(answerTo(report).status, 400)
  })

  test(`${scenario} in place of users leaves the verdict open`, async () => {
    hit({ ...fault, path: '^/v1\\.0/users$' })
    const report = await ask(entra.apps.full, fault.kind === 'hang' ? { timeoutMs: 1_000 } : {})
    assert.equal(report.verdict, 'indeterminate')
    assert.equal(checkIn(report, 'users').status, 'unknown')
    assert.equal(checkIn(report, 'users').cause?.code, cause)
    assert.equal(checkIn(report, 'groups').status, 'passed')
  })
}

test('the wait that a throttled sign-in service asks for is passed on', async () => {
  hit({ path: tokenPath, kind: 'throttled' })
  const report = await ask(entra.apps.full)
  assert.equal(report.retry_after_seconds, 60)
  assert.equal(answerTo(report).status, 429)
})

test('absurd waits, lifetimes and dates neither stall nor change the verdict', async () => {
  for (const value of [
    '0',
    '-1',
    '1e12',
    'NaN',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    'Fri, 01 Jan 2999 00:00:00 GMT',
  ]) {
    hit({
      path: tokenPath,
      kind: 'status',
      status: 429,
      headers: { 'retry-after': value, date: value },
      body: 'no',
    })
    const report = await ask(entra.apps.full)
    assert.equal(report.verdict, 'indeterminate')
    assert.ok((report.retry_after_seconds ?? 0) <= 3600)
  }
})

test('a 200 whose body is an error, or lacks what was asked for, is no success', async () => {
  const bodies: readonly (readonly [path: string, check: string, body: unknown])[] = [
    [
      tokenPath,
      'token',
      { error: 'invalid_client', error_description: 'AADSTS7000215: no', error_codes: [7000215] },
    ],
    [tokenPath, 'token', { token_type: 'Bearer', expires_in: 3599 }],
    [tokenPath, 'token', { token_type: 'Bearer', access_token: 'a\r\nb' }],
    [tokenPath, 'token', { token_type: 'pop', access_token: 'a.b.c' }],
    [tokenPath, 'token', []],
    ['^/v1\\.0/users$', 'users', graphError('Authorization_RequestDenied', 'no')],
    ['^/v1\\.0/users$', 'users', { value: {} }],
    ['^/v1\\.0/users$', 'users', { value: [{}] }],
    ['^/v1\\.0/users$', 'users', { value: [{ id: 7 }] }],
    ['^/v1\\.0/users$', 'users', 'true'],
    ['^/v1\\.0/organization$', 'domain_ownership', { value: [] }],
    [
      '^/v1\\.0/organization$',
      'domain_ownership',
      { value: [{ id: 'another', verifiedDomains: [{ name: 'acme.com' }] }] },
    ],
    ['/members$', 'memberships', { value: null }],
  ]
  for (const [path, check, body] of bodies) {
    hit({ path, kind: 'status', status: 200, headers: { 'content-type': 'application/json' }, body })
    const report = await ask(entra.apps.full)
    assert.equal(report.verdict, 'indeterminate', JSON.stringify(body))
    assert.equal(checkIn(report, check).cause?.code, 'entra_unexpected_response', JSON.stringify(body))
  }
})

test('a token that cannot be read is used all the same, and Graph decides', async () => {
  hit({
    path: tokenPath,
    kind: 'status',
    status: 200,
    body: { token_type: 'Bearer', access_token: 'opaque' },
  })
  const report = await ask(entra.apps.full)
  assert.equal(checkIn(report, 'token').status, 'passed')
  assert.equal(checkIn(report, 'permissions').status, 'skipped')
  assert.equal(checkIn(report, 'users').cause?.code, 'entra_token_rejected')
  assert.equal(report.verdict, 'indeterminate')
})

test('a token that Graph calls invalid is renewed once, and no more', async () => {
  const refused = {
    kind: 'status',
    status: 401,
    body: graphError('InvalidAuthenticationToken', 'expired'),
  } as const
  hit({ path: '^/v1\\.0/users$', ...refused, times: 1 })
  const report = await ask(entra.apps.full)
  assert.equal(report.verdict, 'valid')
  assert.equal(tokensAsked(), 2)

  sandbox.forgetRequests()
  hit({ path: '^/v1\\.0/', ...refused })
  const again = await ask(entra.apps.full)
  assert.equal(again.verdict, 'indeterminate')
  assert.equal(checkIn(again, 'users').cause?.code, 'entra_token_rejected')
  assert.equal(tokensAsked(), 2)
})

test('a claims challenge is not answered with another token', async () => {
  hit({
    path: '^/v1\\.0/',
    kind: 'status',
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="", error="insufficient_claims", claims="e30="' },
    body: graphError('InvalidAuthenticationToken', 'Continuous access evaluation resulted in challenge'),
  })
  const report = await ask(entra.apps.full)
  assert.equal(checkIn(report, 'users').cause?.code, 'entra_conditional_access')
  assert.equal(tokensAsked(), 1)
})

test("a clock that is off is called so, and not the certificate's fault", async () => {
  const report = await ask(entra.apps.certificate, { now: () => new Date(Date.now() - 20 * 60_000) })
  assert.equal(report.verdict, 'indeterminate')
  assert.equal(checkIn(report, 'token').cause?.code, 'entra_clock_skew')
  assert.match(checkIn(report, 'token').cause?.explanation ?? '', /about 20 minutes/)
})

test('everything is asked once, and only members wait for another read', async () => {
  hit({ kind: 'latency', ms: 100 })
  await ask(entra.apps.full)
  const paths = sandbox.requests().map(({ path }) => path.split('?')[0] ?? '')
  assert.equal(paths.length, 12)
  assert.deepEqual(
    new Set(paths.slice(0, 2).map((path) => path.split('/').at(-1))),
    new Set(['openid-configuration', 'token']),
  )
  assert.match(paths.at(-1) ?? '', /\/members$/)
})

test('no secret occurs in the report, in any spelling', async () => {
  const { certificate, private_key, ...app } = entra.apps.unregisteredCertificate
  const federated = await entra.federated({ subject: 'another' })
  for (const [secrets, canaries] of [
    [entra.apps.wrongSecret, [entra.apps.wrongSecret.client_secret]],
    [
      { ...app, certificate, private_key },
      [private_key, ...private_key.split('\n').filter((line) => line.length === 64)],
    ],
    [federated, [federated.federated_token, federated.federated_token.split('.')[2] ?? '']],
  ] as const) {
    // A provider that repeats what it was sent.
    hit({
      path: tokenPath,
      kind: 'status',
      status: 401,
      body: {
        error: 'invalid_client',
        error_description: `AADSTS7000215: ${canaries.join(' ')}`,
        error_codes: [7000215],
        correlation_id: canaries[0],
      },
    })
    const text = JSON.stringify(await ask(secrets))
    for (const canary of canaries) {
      for (const spelling of [
        canary,
        encodeURIComponent(canary),
        Buffer.from(canary).toString('base64'),
        Buffer.from(canary).toString('base64url'),
        Buffer.from(canary).toString('hex'),
        JSON.stringify(canary).slice(1, -1),
      ])
        assert.ok(!text.includes(spelling), spelling.slice(0, 12))
    }
  }
})

test('a secret that is cut off at the end of a long text is hidden nevertheless', async () => {
  const { client_secret } = entra.apps.wrongSecret
  for (const before of [180, 200, 210, 219, 260, 290]) {
    hit({
      path: tokenPath,
      kind: 'status',
      status: 401,
      body: {
        error: 'invalid_client',
        error_description: `AADSTS7000215: ${'word '.repeat(before / 5)}${client_secret} more words`,
        error_codes: [7000215],
      },
    })
    const text = JSON.stringify(await ask(entra.apps.wrongSecret))
    assert.ok(!text.includes(client_secret.slice(0, 6)))
  }
})

const tokensAsked = () => sandbox.requests().filter(({ path }) => path.endsWith('/token')).length

function graphError(code: string, message: string) {
  return { error: { code, message, innerError: { 'request-id': '0a1b2c', date: '2026-11-24T00:00:00' } } }
}
