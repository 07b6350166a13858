import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createOutbound } from '../../outbound/outbound.ts'
import type { Report } from '../../validation/report.ts'
import { validate } from '../../validation/validate.ts'
import { scopes } from './access.ts'
import { causes, type GoogleCause } from './causes.ts'
import { googleWorkspace } from './index.ts'

const keyFile = {
  type: 'service_account',
  project_id: 'my-project',
  private_key_id: 'abc',
  private_key: generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString(),
  client_email: 'sync@my-project.iam.gserviceaccount.com',
  client_id: '104857600000000000001',
}

interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** What the stand-in answers: to the token endpoint by scope and subject, to the Directory API by path and query. */
interface Script {
  token?(scope: string, subject: string | undefined, isOneOfMany: boolean): Answer | undefined
  api?(path: string, query: URLSearchParams, headers: IncomingHttpHeaders): Answer | undefined
}

let script: Script = {}

const user = {
  id: '1',
  primaryEmail: 'admin@example.com',
  customerId: 'C0abc',
  isAdmin: false,
  isDelegatedAdmin: true,
}
/** Of another API than the rest, whose paths are told without their beginning. */
const groupLogPath = '/admin/reports/v1/activity/users/all/applications/groups_enterprise'
const good: Record<string, unknown> = {
  'users/admin%40example.com': user,
  users: { users: [{ ...user, isEnrolledIn2Sv: true, lastLoginTime: '2026-11-01T00:00:00.000Z' }] },
  groups: { groups: [{ id: 'g1' }] },
  'groups/g1/members': { members: [{ id: '1' }] },
  'customers/my_customer': { id: 'C0abc', customerDomain: 'example.com' },
  'customer/my_customer/domains/example.com': { domainName: 'example.com', verified: true },
  'customer/my_customer/roles': { items: [{ roleId: '1' }] },
  'customer/my_customer/devices/chromeos': { kind: 'admin#directory#chromeosdevices' },
  'customer/my_customer/devices/mobile': { kind: 'admin#directory#mobiledevices' },
  [groupLogPath]: { kind: 'admin#reports#activities' },
}

const server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('end', () => {
    const url = new URL(request.url ?? '', 'http://localhost')
    const answer =
      request.headers.host === 'oauth2.googleapis.com' ? tokenAnswer(body) : apiAnswer(url, request.headers)
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
    response.writeHead(answer.status, {
      'content-type': 'application/json; charset=UTF-8',
      ...answer.headers,
    })
    response.end(text)
  })
})

function tokenAnswer(body: string): Answer {
  const assertion = new URLSearchParams(body).get('assertion') ?? ''
  const claims = JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString())
  const asked: string[] = claims.scope.split(' ')
  // As Google does, it refuses several scopes together for the sake of one.
  const refusals = asked.flatMap((scope) => script.token?.(scope, claims.sub, asked.length > 1) ?? [])
  const granted = { access_token: 'ya29.x', expires_in: 3599, token_type: 'Bearer' }
  return refusals[0] ?? { status: 200, body: granted }
}

function apiAnswer(url: URL, headers: IncomingHttpHeaders): Answer {
  const path = url.pathname.replace(/^\/admin\/directory\/v1\//, '')
  const scripted = script.api?.(path, url.searchParams, headers)
  if (scripted !== undefined) return scripted
  const found = good[path]
  return found === undefined ? apiError(404, 'notFound', 'Not Found') : { status: 200, body: found }
}

let endpoints: ReadonlyMap<string, URL> = new Map()
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  endpoints = new Map([
    ['oauth2.googleapis.com', origin],
    ['admin.googleapis.com', origin],
  ])
})
after(() => {
  server.closeAllConnections()
  server.close()
})

async function ask(
  answers: Script,
  given: { domain?: string; now?: () => Date; secrets?: Record<string, unknown> } = {},
): Promise<Report> {
  script = answers
  const reading = googleWorkspace.readCredentials(
    given.secrets ?? { service_account_json: keyFile, admin_email: 'admin@example.com' },
  )
  assert.ok(reading.ok)
  const outbound = createOutbound({ endpoints })
  return validate(
    googleWorkspace,
    { domain: given.domain ?? 'example.com', credentials: reading.credentials },
    { openHttp: (rules, signal) => outbound.open(rules, signal), now: given.now ?? (() => new Date()) },
  )
}

const checkOf = (report: Report, id: string) => {
  const check = report.checks.find((candidate) => candidate.id === id)
  assert.ok(check, id)
  return check
}

const tokenError = (status: number, error: string, error_description?: string): Answer => ({
  status,
  body: { error, ...(error_description !== undefined && { error_description }) },
})

function apiError(code: number, reason: string, message: string, status?: string): Answer {
  return {
    status: code,
    body: {
      error: { code, message, errors: [{ domain: 'global', reason, message }], ...(status && { status }) },
    },
  }
}

/** Newer parts of Google's APIs give the reason in `details` alone. */
function errorInfo(code: number, status: string, reason: string, message = 'x'): Answer {
  return {
    status: code,
    body: {
      error: {
        code,
        message,
        status,
        details: [
          {
            '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
            reason,
            domain: 'googleapis.com',
            metadata: { consumer: 'projects/123', service: 'admin.googleapis.com' },
          },
        ],
      },
    },
  }
}

const unauthorizedClient = tokenError(
  401,
  'unauthorized_client',
  'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.',
)
const accessDenied = tokenError(403, 'access_denied', 'Requested client not authorized.')
const html: Answer = {
  status: 200,
  headers: { 'content-type': 'text/html' },
  body: '<!doctype html><html><body>Sign in to the guest network</body></html>',
}

function assertCause(report: Report, id: string, code: GoogleCause): void {
  const check = checkOf(report, id)
  assert.equal(check.cause?.code, code)
  assert.equal(check.status, causes[code].determinate ? 'failed' : 'unknown')
  assert.equal(report.verdict, causes[code].determinate ? 'invalid' : 'indeterminate')
  assert.doesNotMatch(JSON.stringify(check.cause), /<\w+>|\{\w+\}|undefined/)
}

const tokenFailures: [Answer, GoogleCause][] = [
  [tokenError(400, 'invalid_grant', 'Invalid JWT Signature.'), 'google_key_rejected'],
  [tokenError(400, 'invalid_grant', 'Invalid grant: account not found'), 'google_service_account_unknown'],
  [tokenError(400, 'invalid_grant', 'Invalid email or User ID'), 'google_admin_unknown'],
  [tokenError(400, 'invalid_grant', 'Not a valid email.'), 'google_admin_unknown'],
  [tokenError(400, 'invalid_grant', 'The account has been deleted'), 'google_admin_deleted'],
  [
    tokenError(
      400,
      'invalid_grant',
      'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
    ),
    'google_clock_skew',
  ],
  [
    tokenError(400, 'invalid_grant', 'Invalid JWT: No valid verifier found for issuer.'),
    'google_issuer_unverified',
  ],
  [tokenError(400, 'invalid_grant', 'Invalid JWT: Failed audience check.'), 'google_assertion_refused'],
  [
    tokenError(400, 'invalid_grant', 'reauth related error (invalid_rapt)'),
    'google_reauthentication_required',
  ],
  [tokenError(400, 'invalid_grant', 'Something new'), 'google_unrecognised_refusal'],
  [
    tokenError(400, 'invalid_request', 'Invalid impersonation prn email address.'),
    'google_admin_email_malformed',
  ],
  [
    tokenError(400, 'invalid_request', 'Invalid impersonation "sub" field: x'),
    'google_admin_email_malformed',
  ],
  [
    tokenError(400, 'invalid_request', 'Required parameter is missing: grant_type'),
    'google_assertion_refused',
  ],
  [
    tokenError(400, 'invalid_scope', 'Invalid OAuth scope or ID token audience provided.'),
    'google_assertion_refused',
  ],
  [tokenError(400, 'unsupported_grant_type', 'Invalid grant_type: x'), 'google_assertion_refused'],
  [unauthorizedClient, 'google_delegation_missing'],
  [
    tokenError(401, 'unauthorized_client', 'Unauthorized client or scope in request.'),
    'google_delegation_missing',
  ],
  [accessDenied, 'google_scopes_missing'],
  [tokenError(403, 'access_denied', 'Account restricted'), 'google_account_restricted'],
  [tokenError(400, 'admin_policy_enforced', 'Blocked'), 'google_blocked_by_policy'],
  [tokenError(401, 'disabled_client', 'The OAuth client was disabled.'), 'google_key_disabled'],
  [tokenError(401, 'deleted_client', 'The OAuth client was deleted.'), 'google_service_account_unknown'],
  [tokenError(401, 'invalid_client', 'The OAuth client was not found.'), 'google_service_account_unknown'],
  [tokenError(401, 'invalid_client', 'Unauthorized'), 'google_client_refused'],
  [tokenError(400, 'internal_failure'), 'google_unavailable'],
  [tokenError(500, 'internal_failure', 'Backend Error'), 'google_unavailable'],
  [tokenError(400, 'server_error', 'x'), 'google_unavailable'],
  [tokenError(400, 'temporarily_unavailable', 'x'), 'google_unavailable'],
  [tokenError(503, 'invalid_grant', 'Invalid JWT Signature.'), 'google_unavailable'],
  [tokenError(418, 'invalid_grant', 'Invalid JWT Signature.'), 'google_unrecognised_refusal'],
  [tokenError(403, 'rate_limit_exceeded', 'x'), 'google_rate_limited'],
  [tokenError(429, 'unauthorized_client', 'x'), 'google_rate_limited'],
  [{ status: 429, body: 'Too many requests' }, 'google_rate_limited'],
  [errorInfo(403, 'RESOURCE_EXHAUSTED', 'RATE_LIMIT_EXCEEDED'), 'google_rate_limited'],
  [{ status: 502, body: '<html>Bad gateway</html>' }, 'google_unavailable'],
  [tokenError(400, 'brand_new_error', 'x'), 'google_unrecognised_refusal'],
  [html, 'google_unexpected_response'],
  [{ status: 404, body: '<html>Not found</html>' }, 'google_unexpected_response'],
  [{ status: 403, body: '<html>Blocked by the proxy</html>' }, 'google_unexpected_response'],
  [{ status: 400, body: { message: 'no error member' } }, 'google_unexpected_response'],
  [{ status: 400, body: '"text"' }, 'google_unexpected_response'],
  [{ status: 200, body: { error: 'invalid_grant' } }, 'google_unexpected_response'],
  [{ status: 200, body: { access_token: 'x', error: 'invalid_grant' } }, 'google_unexpected_response'],
  [{ status: 200, body: {} }, 'google_unexpected_response'],
  [{ status: 200, body: [] }, 'google_unexpected_response'],
  [{ status: 200, body: { access_token: '' } }, 'google_unexpected_response'],
  [{ status: 200, body: { access_token: 'a\r\nb', token_type: 'Bearer' } }, 'google_unexpected_response'],
  [{ status: 200, body: { access_token: 'a', token_type: 'mac' } }, 'google_unexpected_response'],
  [{ status: 200, body: '{"access_token": "ya29.cut' }, 'google_unexpected_response'],
  [{ status: 201, body: { access_token: 'a', token_type: 'Bearer' } }, 'google_unexpected_response'],
]

for (const [answer, code] of tokenFailures) {
  const words = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
  test(`token endpoint: ${answer.status} ${words.slice(0, 90)} is ${code}`, async () => {
    assertCause(await ask({ token: () => answer }), 'token', code)
  })
}

const apiFailures: [Answer, GoogleCause][] = [
  [apiError(403, 'forbidden', 'Not Authorized to access this resource/api'), 'google_admin_not_authorized'],
  [errorInfo(403, 'PERMISSION_DENIED', 'IAM_PERMISSION_DENIED'), 'google_admin_not_authorized'],
  [
    apiError(403, 'accessNotConfigured', 'Access Not Configured. Admin SDK API has not been used …'),
    'google_admin_sdk_disabled',
  ],
  [errorInfo(403, 'PERMISSION_DENIED', 'SERVICE_DISABLED'), 'google_admin_sdk_disabled'],
  [apiError(403, 'domainCannotUseApis', 'Domain cannot use apis.'), 'google_api_access_disabled'],
  [errorInfo(403, 'PERMISSION_DENIED', 'CONSUMER_INVALID'), 'google_project_deleted'],
  [errorInfo(403, 'PERMISSION_DENIED', 'CONSUMER_SUSPENDED'), 'google_project_suspended'],
  [errorInfo(403, 'PERMISSION_DENIED', 'USER_PROJECT_DENIED'), 'google_project_denied'],
  [errorInfo(403, 'PERMISSION_DENIED', 'BILLING_DISABLED'), 'google_billing_disabled'],
  [errorInfo(403, 'PERMISSION_DENIED', 'SECURITY_POLICY_VIOLATED'), 'google_vpc_service_controls'],
  [errorInfo(403, 'PERMISSION_DENIED', 'ACCESS_TOKEN_SCOPE_INSUFFICIENT'), 'google_scope_insufficient'],
  [
    apiError(403, 'insufficientPermissions', 'Insufficient Permission', 'PERMISSION_DENIED'),
    'google_scope_insufficient',
  ],
  [
    {
      ...apiError(403, 'other', 'x', 'PERMISSION_DENIED'),
      headers: { 'www-authenticate': 'Bearer realm="x", error="insufficient_scope"' },
    },
    'google_scope_insufficient',
  ],
  [
    {
      status: 403,
      headers: { 'www-authenticate': 'Bearer realm="x", error="insufficient_scope"' },
      body: '',
    },
    'google_scope_insufficient',
  ],
  [
    { status: 401, headers: { 'www-authenticate': 'Bearer realm="x", error=invalid_token' }, body: '' },
    'google_token_refused',
  ],
  [
    { status: 401, headers: { 'www-authenticate': 'Basic realm="proxy"' }, body: '' },
    'google_unexpected_response',
  ],
  [apiError(401, 'authError', 'Invalid Credentials', 'UNAUTHENTICATED'), 'google_token_refused'],
  [errorInfo(401, 'UNAUTHENTICATED', 'ACCESS_TOKEN_EXPIRED'), 'google_token_refused'],
  [apiError(401, 'required', 'Login Required.'), 'google_authorization_lost'],
  [apiError(403, 'userRateLimitExceeded', 'User Rate Limit Exceeded'), 'google_rate_limited'],
  [apiError(403, 'quotaExceeded', 'Quota exceeded'), 'google_rate_limited'],
  [apiError(403, 'rateLimitExceeded', 'Rate Limit Exceeded'), 'google_rate_limited'],
  [apiError(403, 'dailyLimitExceeded', 'x'), 'google_rate_limited'],
  [errorInfo(403, 'PERMISSION_DENIED', 'RATE_LIMIT_EXCEEDED'), 'google_rate_limited'],
  [errorInfo(403, 'RESOURCE_EXHAUSTED', 'RESOURCE_QUOTA_EXCEEDED'), 'google_rate_limited'],
  [apiError(429, 'rateLimitExceeded', 'x', 'RESOURCE_EXHAUSTED'), 'google_rate_limited'],
  [apiError(429, 'forbidden', 'x'), 'google_rate_limited'],
  [{ status: 429, body: '' }, 'google_rate_limited'],
  [apiError(500, 'backendError', 'x'), 'google_unavailable'],
  [apiError(503, 'backendError', 'x', 'UNAVAILABLE'), 'google_unavailable'],
  [apiError(504, 'gatewayTimeout', 'x'), 'google_unavailable'],
  [apiError(403, 'backendError', 'x'), 'google_unavailable'],
  [apiError(400, 'invalid', 'A system error has occurred'), 'google_unavailable'],
  [{ status: 502, body: '<html>502</html>' }, 'google_unavailable'],
  [apiError(404, 'notFound', 'Domain not found'), 'google_not_a_workspace'],
  [apiError(404, 'notFound', "Customer doesn't exist"), 'google_not_a_workspace'],
  [apiError(400, 'invalid', 'Invalid Customer Id'), 'google_not_a_workspace'],
  [apiError(400, 'invalid', 'Invalid Input'), 'google_unrecognised_refusal'],
  [apiError(400, 'badRequest', 'Bad Request'), 'google_unrecognised_refusal'],
  [apiError(403, 'somethingNew', 'x'), 'google_unrecognised_refusal'],
  [apiError(409, 'conflict', 'x'), 'google_unrecognised_refusal'],
  [apiError(418, 'forbidden', 'Not Authorized to access this resource/api'), 'google_unrecognised_refusal'],
  [{ status: 403, body: { error: { code: 403 } } }, 'google_unrecognised_refusal'],
  [html, 'google_unexpected_response'],
  [{ status: 403, body: '<html>Blocked by the proxy</html>' }, 'google_unexpected_response'],
  [{ status: 403, body: { blocked: true } }, 'google_unexpected_response'],
  [{ status: 200, body: {} }, 'google_unexpected_response'],
  [{ status: 200, body: [] }, 'google_unexpected_response'],
  [{ status: 200, body: { users: {} } }, 'google_unexpected_response'],
  [{ status: 200, body: { users: [1] } }, 'google_unexpected_response'],
  [{ status: 200, body: { users: [{ id: '1' }] } }, 'google_unexpected_response'],
  [{ status: 200, body: { kind: 'admin#directory#groups' } }, 'google_unexpected_response'],
  [{ status: 200, body: { users: [user], error: { code: 403 } } }, 'google_unexpected_response'],
  [{ status: 200, body: '{"users":[{"id":"1","primaryEmail":"a' }, 'google_unexpected_response'],
  [{ status: 204, body: '' }, 'google_unexpected_response'],
  [{ status: 302, headers: { location: 'https://evil.example/' }, body: '' }, 'google_redirected'],
  [{ status: 200, body: { kind: 'admin#directory#users' } }, 'google_no_users'],
]

for (const [answer, code] of apiFailures) {
  const words = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
  test(`users: ${answer.status} ${words.slice(0, 120)} is ${code}`, async () => {
    assertCause(await ask({ api: (path) => (path === 'users' ? answer : undefined) }), 'users', code)
  })
}

test('accepts what Google answers when all is well', async () => {
  const report = await ask({})
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(report.warnings, [])
  assert.deepEqual(report.subject, {
    principal: 'admin@example.com',
    organization: 'C0abc',
    domain: 'example.com',
  })
})

test('reads lists that Google leaves empty', async () => {
  const empty: Record<string, unknown> = {
    groups: { kind: 'admin#directory#groups', etag: 'x' },
    'customer/my_customer/roles': { kind: 'admin#directory#roles' },
  }
  const report = await ask({
    api: (path) => (path in empty ? { status: 200, body: empty[path] } : undefined),
  })
  assert.equal(report.verdict, 'valid')
  assert.equal(checkOf(report, 'memberships').status, 'passed')
})

test('a group without members is no failure, members of another form are', async () => {
  const answering = (body: unknown) =>
    ask({ api: (path) => (path === 'groups/g1/members' ? { status: 200, body } : undefined) })
  assert.equal((await answering({ kind: 'admin#directory#members' })).verdict, 'valid')
  assert.equal((await answering({ members: [{ email: 'outsider@example.net' }] })).verdict, 'valid')
  assertCause(await answering({ members: [{}] }), 'memberships', 'google_unexpected_response')
})

test('a group that vanishes between two reads says nothing about the credentials', async () => {
  const report = await ask({
    api: (path) =>
      path === 'groups/g1/members' ? apiError(404, 'notFound', 'Resource Not Found: groupKey') : undefined,
  })
  assertCause(report, 'memberships', 'google_unrecognised_refusal')
})

test('tells single missing scopes from a missing delegation, and names all that are missing', async () => {
  const missing: string[] = [scopes.groups, scopes.roles]
  for (const refusal of [unauthorizedClient, accessDenied]) {
    const report = await ask({ token: (scope) => (missing.includes(scope) ? refusal : undefined) })
    assert.equal(report.verdict, 'invalid')
    const check = checkOf(report, 'scope_groups')
    assert.equal(check.cause?.code, 'google_scope_missing')
    assert.match(check.cause.remedy, /client ID 104857600000000000001/)
    assert.match(check.cause.remedy, /Admin console > Security > Access and data control > API controls/)
    for (const scope of missing) assert.ok(check.cause.remedy.includes(scope))
    assert.ok(!check.cause.remedy.includes(scopes.users))
    assert.equal(check.provider?.code, (refusal.body as { error: string }).error)
    assert.equal(checkOf(report, 'users').status, 'passed')
    assert.deepEqual(
      report.capabilities.find(({ entity_type }) => entity_type === 'groups'),
      { entity_type: 'groups', available: false, missing: [scopes.groups, 'Groups > Read'] },
    )
    assert.ok(
      report.warnings.some(({ check: id, code }) => id === 'scope_roles' && code === 'google_scope_missing'),
    )
  }
})

test('is valid without any optional scope, with a warning for each', async () => {
  const needed: string[] = [scopes.users, scopes.groups, scopes.memberships]
  const report = await ask({ token: (scope) => (needed.includes(scope) ? undefined : unauthorizedClient) })
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(
    report.warnings.map(({ check }) => check),
    ['scope_roles', 'scope_chromeos', 'scope_mobile', 'scope_group_log'],
  )
})

test('does not call the delegation missing while one scope could not be asked for', async () => {
  const report = await ask({
    token: (scope) => (scope === scopes.roles ? { status: 503, body: '' } : unauthorizedClient),
  })
  assertCause(report, 'token', 'google_unavailable')
})

test('a plain no about the key outweighs an outage of other requests', async () => {
  const report = await ask({
    token: (scope, _, isOneOfMany) => {
      if (isOneOfMany) return accessDenied
      return scope === scopes.roles
        ? tokenError(400, 'invalid_grant', 'Invalid JWT Signature.')
        : { status: 503, body: '' }
    },
  })
  assertCause(report, 'token', 'google_key_rejected')
})

test('one refusal settles that the key is no good; scopes are asked for alone only when one may be missing', async () => {
  const asked: string[] = []
  const counting = (answer: Answer): Script => ({
    token: (scope, _, isOneOfMany) => {
      if (!isOneOfMany || scope === scopes.users) asked.push(isOneOfMany ? 'all' : scope)
      return answer
    },
  })
  await ask(counting(tokenError(400, 'invalid_grant', 'Invalid JWT Signature.')))
  assert.deepEqual(asked.splice(0), ['all'])
  await ask(counting({ status: 503, body: '' }))
  assert.ok(asked.splice(0).every((what) => what === 'all'))
  for (const refusal of [
    unauthorizedClient,
    accessDenied,
    tokenError(400, 'admin_policy_enforced'),
    tokenError(400, 'invalid_scope'),
  ]) {
    await ask(counting(refusal))
    assert.deepEqual(asked.splice(0).sort(), ['all', ...Object.values(scopes)].sort())
  }
})

test('asks without the administrator when Google says no more than "Bad Request"', async () => {
  const bad = tokenError(400, 'invalid_grant', 'Bad Request')
  const both = (alone: Answer | undefined) =>
    ask({ token: (_, subject) => (subject === undefined ? alone : bad) })
  assertCause(await both(undefined), 'token', 'google_admin_refused')
  assertCause(await both(bad), 'token', 'google_grant_refused')
  assertCause(
    await both(tokenError(400, 'invalid_grant', 'Invalid JWT Signature.')),
    'token',
    'google_key_rejected',
  )
  assertCause(await both({ status: 503, body: '' }), 'token', 'google_unavailable')
})

test('takes a new token once when the API refuses the first', async () => {
  let refused = 0
  const report = await ask({
    api: (path) => {
      if (path !== 'users' || refused > 0) return undefined
      refused += 1
      return apiError(401, 'authError', 'Invalid Credentials')
    },
  })
  assert.equal(report.verdict, 'valid')
})

test('says by how much the clock is wrong', async () => {
  const ahead = () => new Date(Date.now() + 600_000)
  const report = await ask(
    {
      token: () =>
        tokenError(400, 'invalid_grant', 'Invalid JWT: Token must be a short-lived token (60 minutes) …'),
    },
    { now: ahead },
  )
  assertCause(report, 'token', 'google_clock_skew')
  assert.match(
    checkOf(report, 'token').cause?.explanation ?? '',
    /differ by (599|600|601) s \(ours is ahead\)/,
  )
})

test('is not misled by a Date that is none', async () => {
  for (const date of [
    '0',
    '-1',
    'NaN',
    '1e12',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    'Tue, 31 Dec 2999 23:59:59 GMT',
  ]) {
    const report = await ask({
      token: () => ({
        ...tokenError(400, 'invalid_grant', 'Token must be a short-lived token'),
        headers: { date },
      }),
    })
    assertCause(report, 'token', 'google_clock_skew')
  }
})

test('passes on the wait that Google asks for, within bounds', async () => {
  const waits: [string, number | undefined][] = [
    ['17', 17],
    ['0', 0],
    ['1000000000000', 3600],
    ['-1', undefined],
    ['NaN', undefined],
  ]
  for (const [header, seconds] of waits) {
    const report = await ask({
      api: (path) =>
        path === 'groups'
          ? { ...apiError(429, 'rateLimitExceeded', 'x'), headers: { 'retry-after': header } }
          : undefined,
    })
    assertCause(report, 'groups', 'google_rate_limited')
    assert.equal(report.retry_after_seconds, seconds)
  }
})

test('hides the access token that an answer repeats', async () => {
  const access_token = 'canary-access-token'
  const report = await ask({
    token: () => ({ status: 200, body: { access_token } }),
    api: (_, __, headers) => apiError(403, 'forbidden', `${headers.authorization} and ${access_token}`),
  })
  assertCause(report, 'users', 'google_admin_not_authorized')
  assert.doesNotMatch(JSON.stringify(report), /canary/)
})

test('does not mind an expires_in that makes no sense', async () => {
  for (const expires_in of [0, -1, 1e12, '3599', null]) {
    const report = await ask({
      token: () => ({ status: 200, body: { access_token: 'x', token_type: 'bearer', expires_in } }),
    })
    assert.equal(report.verdict, 'valid')
  }
})

test('tells what is wrong with the administrator', async () => {
  const administrator = (answer: Answer) =>
    ask({ api: (path) => (path.startsWith('users/') ? answer : undefined) })
  const shown = (more: object) => administrator({ status: 200, body: { ...user, ...more } })
  assertCause(await shown({ suspended: true }), 'administrator', 'google_admin_suspended')
  assertCause(await shown({ archived: true }), 'administrator', 'google_admin_suspended')
  assertCause(
    await administrator(apiError(404, 'notFound', 'Resource Not Found: userKey')),
    'administrator',
    'google_admin_not_found',
  )
  assertCause(
    await administrator({ status: 200, body: { kind: 'admin#directory#user' } }),
    'admin_sdk',
    'google_unexpected_response',
  )
  const plain = await shown({ isDelegatedAdmin: false })
  assert.equal(plain.verdict, 'valid')
  assert.deepEqual(
    plain.warnings.map(({ code }) => code),
    ['google_admin_without_role'],
  )
  const root = await shown({ isAdmin: true })
  assert.equal(root.verdict, 'valid')
  assert.deepEqual(
    root.warnings.map(({ code }) => code),
    ['google_admin_is_super'],
  )
})

test('is valid by the lists where what answers does not know single users', async () => {
  for (const unknown of [{ status: 404, body: '<html>' }, apiError(404, 'notFound', 'Not Found')]) {
    const single = (path: string) => (path.startsWith('users/') ? unknown : undefined)
    assert.equal((await ask({ api: single })).verdict, 'valid')
    const withoutList = await ask({
      api: (path) => (path === 'users' ? { status: 503, body: '' } : single(path)),
    })
    assert.equal(withoutList.verdict, 'indeterminate')
  }
})

test('reads members with the scope for groups where that alone is delegated', async () => {
  const report = await ask({ token: only(scopes.users, scopes.groups) })
  assert.equal(report.verdict, 'valid')
  assert.equal(checkOf(report, 'memberships').status, 'passed')
  const unclear = await ask({
    token: (scope, _, isOneOfMany) => {
      if (scope === scopes.memberships) return unauthorizedClient
      return scope === scopes.groups && !isOneOfMany ? { status: 503, body: '' } : undefined
    },
  })
  assertCause(unclear, 'scope_memberships', 'google_unavailable')
})

test('names the project in which the Admin SDK is off, and where to switch it on', async () => {
  const report = await ask({ api: () => errorInfo(403, 'PERMISSION_DENIED', 'SERVICE_DISABLED') })
  assertCause(report, 'admin_sdk', 'google_admin_sdk_disabled')
  assert.match(
    checkOf(report, 'admin_sdk').cause?.remedy ?? '',
    /https:\/\/console\.cloud\.google\.com\/apis\/library\/admin\.googleapis\.com\?project=123,/,
  )
})

test('warns when users come without sign-in and second factor', async () => {
  const report = await ask({
    api: (path) => (path === 'users' ? { status: 200, body: { users: [user] } } : undefined),
  })
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(
    report.warnings.map(({ check, code }) => `${check} ${code}`),
    ['sign_in_activity google_field_withheld', 'mfa google_field_withheld'],
  )
})

const forbidden = apiError(403, 'forbidden', 'Not Authorized to access this resource/api')
const noDomain = apiError(404, 'notFound', 'Resource Not Found: domain')
const domainPath = 'customer/my_customer/domains/'
const aliasPath = 'customer/my_customer/domainaliases/'
const only =
  (...allowed: string[]) =>
  (scope: string) =>
    allowed.includes(scope) ? undefined : unauthorizedClient
const needed = [scopes.users, scopes.groups, scopes.memberships]

const ownership: [string, Script, 'passed' | GoogleCause, string?][] = [
  [
    'the domain is listed, whatever its case',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? { status: 200, body: { domainName: 'Example.COM', verified: true } }
          : undefined,
    },
    'passed',
  ],
  [
    'the domain is listed and not verified',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? { status: 200, body: { domainName: 'example.com', verified: false } }
          : undefined,
    },
    'google_domain_unverified',
  ],
  [
    'another domain is answered',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? { status: 200, body: { domainName: 'other.com', verified: true } }
          : undefined,
    },
    'google_unexpected_response',
  ],
  [
    'the domain is neither listed nor an alias',
    { api: (path) => (path.startsWith(domainPath) || path.startsWith(aliasPath) ? noDomain : undefined) },
    'google_domain_not_owned',
  ],
  [
    'the domain is not listed, and the list of aliases is unknown to what answers',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? noDomain
          : path.startsWith(aliasPath)
            ? { status: 404, body: '<html>' }
            : undefined,
    },
    'google_domain_not_owned',
  ],
  [
    'what answers knows no domains at all, and users prove it',
    {
      api: (path) =>
        path.startsWith('customer/my_customer/domain') ? apiError(404, 'notFound', 'Not Found') : undefined,
    },
    'passed',
  ],
  [
    'what answers knows no domains at all, not even by a document, and users prove it',
    {
      api: (path) =>
        path.startsWith('customer/my_customer/domain') ? { status: 404, body: '<html>' } : undefined,
    },
    'passed',
  ],
  [
    'the path of one domain is unknown, and the list of domains holds it',
    {
      api: (path) =>
        path === 'customer/my_customer/domains'
          ? { status: 200, body: { domains: [{ domainName: 'Example.com', verified: true }] } }
          : path.startsWith(domainPath)
            ? { status: 404, body: '<html>' }
            : undefined,
    },
    'passed',
  ],
  [
    'the path of one domain is unknown, and the list of domains lacks it',
    {
      api: (path) =>
        path === 'customer/my_customer/domains'
          ? { status: 200, body: { domains: [{ domainName: 'other.com', verified: true }] } }
          : path.startsWith(domainPath)
            ? { status: 404, body: '<html>' }
            : undefined,
    },
    'google_domain_not_owned',
  ],
  [
    'the domain is an alias that the list of domains alone tells of',
    {
      api: (path) =>
        path === 'customer/my_customer/domains'
          ? {
              status: 200,
              body: {
                domains: [
                  {
                    domainName: 'other.com',
                    verified: true,
                    domainAliases: [null, { domainAliasName: 'example.com', verified: true }],
                  },
                ],
              },
            }
          : path.startsWith(domainPath)
            ? noDomain
            : undefined,
    },
    'passed',
  ],
  [
    'it is not said whether the domain was verified, and users prove it',
    {
      api: (path) =>
        path.startsWith(domainPath) ? { status: 200, body: { domainName: 'example.com' } } : undefined,
    },
    'passed',
  ],
  [
    'the domain is not listed, and aliases cannot be read just now',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? noDomain
          : path.startsWith(aliasPath)
            ? { status: 503, body: '' }
            : undefined,
    },
    'google_unavailable',
  ],
  [
    'the domain is a verified alias',
    {
      api: (path) =>
        path.startsWith(domainPath)
          ? noDomain
          : path.startsWith(aliasPath)
            ? { status: 200, body: { domainAliasName: 'example.com', verified: true } }
            : undefined,
    },
    'passed',
  ],
  [
    'domains cannot be read by this administrator, users can',
    { api: (path) => (path.startsWith(domainPath) ? forbidden : undefined) },
    'passed',
  ],
  [
    'only the organisation may be read, and it is its primary domain',
    { token: only(...needed, scopes.customer) },
    'passed',
  ],
  [
    'only the organisation may be read, and it is another domain without users',
    {
      token: only(...needed, scopes.customer),
      api: (path, query) =>
        path === 'customers/my_customer'
          ? { status: 200, body: { id: 'C0abc', customerDomain: 'other.com' } }
          : query.has('domain')
            ? { status: 200, body: { kind: 'admin#directory#users' } }
            : undefined,
    },
    'google_domain_unproved',
  ],
  ['only users may be read, and one is in the domain', { token: only(...needed) }, 'passed'],
  [
    'only users may be read, and what answers does not look at the domain',
    {
      token: only(...needed),
      api: (_, query) =>
        query.has('domain')
          ? { status: 200, body: { users: [{ id: '1', primaryEmail: 'a@other.com' }] } }
          : undefined,
    },
    'google_domain_unproved',
  ],
  [
    'only users may be read, and Google does not know the domain',
    {
      token: only(...needed),
      api: (_, query) => (query.has('domain') ? apiError(404, 'notFound', 'Domain not found') : undefined),
    },
    'google_domain_not_owned',
  ],
  [
    'only users may be read, and Google calls the domain invalid',
    {
      token: only(...needed),
      api: (_, query) => (query.has('domain') ? apiError(403, 'forbidden', 'Invalid domain.') : undefined),
    },
    'google_domain_not_owned',
  ],
  [
    'only users may be read, and only those of the domain may not',
    { token: only(...needed), api: (_, query) => (query.has('domain') ? forbidden : undefined) },
    'google_domain_not_owned',
  ],
  [
    'no user at all may be read',
    { token: only(...needed), api: (path) => (path === 'users' ? forbidden : undefined) },
    'google_admin_not_authorized',
  ],
  [
    'no scope is delegated that could prove it',
    { token: only(scopes.groups, scopes.memberships) },
    'google_scope_missing',
  ],
]

for (const [situation, answers, expected] of ownership) {
  test(`ownership of the domain: ${situation}: ${expected}`, async () => {
    const report = await ask(answers)
    if (expected === 'passed') {
      assert.equal(checkOf(report, 'domain_ownership').status, 'passed')
      assert.equal(report.verdict, 'valid')
    } else assertCause(report, 'domain_ownership', expected)
  })
}

/** A service account in its own name: the domain stands for the organisation, which Google then names itself. */
const ownName = { secrets: { service_account_json: keyFile } }
const inOwnName: Script = {
  token: (_, subject) => (subject === undefined ? undefined : unauthorizedClient),
  api: (path, query) => {
    if (path === 'users' || path === 'groups')
      return query.get('domain') === 'example.com' ? undefined : forbidden
    const [, customer, ...rest] = path.split('/')
    if (path.startsWith('customer'))
      return customer === 'C0abc'
        ? { status: 200, body: good[`customer/my_customer/${rest.join('/')}`] }
        : forbidden
    return undefined
  },
}

test('needs no administrator where the service account has a role of its own', async () => {
  const report = await ask(inOwnName, ownName)
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(report.subject, {
    principal: keyFile.client_email,
    organization: 'C0abc',
    domain: 'example.com',
  })
  for (const id of ['admin_email', 'administrator', 'admin_privilege'])
    assert.equal(checkOf(report, id).status, 'skipped')
  assert.deepEqual(report.warnings, [])
})

test('asks for an administrator where the service account has no role of its own', async () => {
  const report = await ask({ ...inOwnName, api: () => forbidden }, ownName)
  for (const id of ['users', 'groups', 'domain_ownership'])
    assertCause(report, id, 'google_admin_email_missing')
  assert.match(checkOf(report, 'users').cause?.remedy ?? '', /admin_email/)
  assert.equal(checkOf(report, 'admin_sdk').status, 'passed')
})

test('a role in one organisation proves nothing about the domain of another', async () => {
  const report = await ask(inOwnName, { ...ownName, domain: 'initech.com' })
  assertCause(report, 'domain_ownership', 'google_admin_email_missing')
  const unknown = apiError(404, 'notFound', 'Domain not found')
  assertCause(await ask({ api: () => unknown }, ownName), 'domain_ownership', 'google_domain_not_owned')
})

const shapes: [string, Record<string, unknown>, string, GoogleCause][] = [
  [
    'no service account',
    { admin_email: 'admin@example.com' },
    'service_account',
    'google_service_account_missing',
  ],
  [
    'text that is no JSON',
    { service_account_json: '{"type":' },
    'service_account',
    'google_key_file_unreadable',
  ],
  ['a JSON list', { service_account_json: '[]' }, 'service_account', 'google_key_file_unreadable'],
  ['an empty key file', { service_account_json: {} }, 'service_account', 'google_key_file_incomplete'],
  [
    'a key file without its key',
    { service_account_json: { ...keyFile, private_key: '' } },
    'service_account',
    'google_key_file_incomplete',
  ],
  [
    'a number for the address',
    { service_account_json: { ...keyFile, client_email: 7 } },
    'service_account',
    'google_key_file_incomplete',
  ],
  [
    "a person's credentials",
    { service_account_json: { type: 'authorized_user', refresh_token: 'x' } },
    'service_account',
    'google_not_a_service_account',
  ],
  [
    'a file that names addresses and commands',
    { service_account_json: { ...keyFile, type: 'external_account' } },
    'service_account',
    'google_not_a_service_account',
  ],
  [
    'an address that is none',
    { service_account_json: { ...keyFile, client_email: 'x' } },
    'service_account',
    'google_client_email_malformed',
  ],
  [
    'another universe',
    { service_account_json: { ...keyFile, universe_domain: 'evil.tld' } },
    'service_account',
    'google_universe_unsupported',
  ],
  [
    'another token endpoint',
    { service_account_json: { ...keyFile, token_uri: 'http://169.254.169.254/' } },
    'service_account',
    'google_token_uri_foreign',
  ],
  [
    'a token endpoint that is no text',
    { service_account_json: { ...keyFile, token_uri: {} } },
    'service_account',
    'google_token_uri_foreign',
  ],
  [
    'half a key',
    { service_account_json: { ...keyFile, private_key: keyFile.private_key.slice(0, 500) } },
    'private_key',
    'google_private_key_unreadable',
  ],
]

for (const [given, secrets, id, code] of shapes) {
  test(`${given}: ${code}, and nothing is sent`, async () => {
    let sent = 0
    const count = () => {
      sent += 1
      return undefined
    }
    assertCause(
      await ask(
        { token: count, api: count },
        {
          secrets: {
            admin_email: 'admin@example.com',
            ...secrets,
          },
        },
      ),
      id,
      code,
    )
    assert.equal(sent, 0)
  })
}

test('sends nothing for a domain that is none', async () => {
  let sent = 0
  const report = await ask(
    {
      token: () => {
        sent += 1
        return undefined
      },
    },
    { domain: 'example.com@evil.tld' },
  )
  assertCause(report, 'domain', 'google_domain_malformed')
  assert.equal(sent, 0)
})

test('says the same about a missing service account whatever the domain', async () => {
  const [one, other] = await Promise.all(
    ['example.com', 'initech.com'].map((domain) =>
      ask({}, { domain, secrets: { admin_email: 'a@example.com' } }),
    ),
  )
  assert.deepEqual(
    checkOf(one as Report, 'service_account').cause,
    checkOf(other as Report, 'service_account').cause,
  )
})

test('accepts the token endpoints of former times and asks the present one', async () => {
  for (const token_uri of [
    'https://oauth2.googleapis.com/token',
    'https://accounts.google.com/o/oauth2/token',
    'https://www.googleapis.com/oauth2/v4/token',
  ]) {
    const report = await ask(
      {},
      { secrets: { service_account_json: { ...keyFile, token_uri }, admin_email: 'admin@example.com' } },
    )
    assert.equal(report.verdict, 'valid')
  }
})

test('signs what Google asks for: RS256, typ, kid, the constant audience, an hour at most', async () => {
  let header: Record<string, unknown> = {}
  let claims: Record<string, unknown> = {}
  const seen = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      assert.equal(request.headers['content-type'], 'application/x-www-form-urlencoded')
      const form = new URLSearchParams(body)
      assert.deepEqual([...form.keys()].sort(), ['assertion', 'grant_type'])
      const parts = (form.get('assertion') ?? '')
        .split('.')
        .map((part) => Buffer.from(part, 'base64url').toString())
      header = JSON.parse(parts[0] ?? '')
      claims = JSON.parse(parts[1] ?? '')
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end('{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')
    })
  })
  seen.listen(0, '127.0.0.1')
  await once(seen, 'listening')
  const usual = endpoints
  try {
    const origin = new URL(`http://127.0.0.1:${(seen.address() as AddressInfo).port}`)
    endpoints = new Map([['oauth2.googleapis.com', origin]])
    const now = new Date('2026-11-24T12:00:00.700Z')
    await ask({}, { now: () => now })
    assert.deepEqual(header, { alg: 'RS256', typ: 'JWT', kid: 'abc' })
    const { scope, ...others } = claims
    assert.equal(scope, Object.values(scopes).join(' '))
    assert.deepEqual(others, {
      iss: keyFile.client_email,
      sub: 'admin@example.com',
      aud: 'https://oauth2.googleapis.com/token',
      iat: now.getTime() / 1000 - 30.7,
      exp: now.getTime() / 1000 - 30.7 + 3600,
    })
  } finally {
    endpoints = usual
    seen.closeAllConnections()
    seen.close()
  }
})

test('every cause is well formed', () => {
  for (const [code, cause] of Object.entries(causes)) {
    assert.match(code, /^google_[a-z0-9_]+$/)
    for (const text of [cause.title, cause.explanation, cause.remedy]) assert.ok(text.length > 10, code)
    assert.ok(URL.canParse(cause.docs), code)
  }
})
