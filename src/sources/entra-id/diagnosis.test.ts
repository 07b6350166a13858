/** Every documented refusal, as Microsoft words it, and the cause it leads to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { HttpAnswer, HttpRequest } from '../../outbound/http.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { knownNumbers, numbersIn } from './aadsts.ts'
import { causes } from './causes.ts'
import { entraId } from './index.ts'
import { type Credentials, readCredentials } from './secrets.ts'

const tenantId = '7c9e6679-7425-40de-944b-e07fc1f90ae7'
const clientId = '3f0c9a5e-6f0b-4c0f-9d2f-1a3f2b7c9d10'
const now = new Date('2026-11-24T12:00:00Z')

const registration = { tenantId, clientId, cloud: 'global' }
const withSecret: Credentials = { ...registration, kind: 'client_secret', clientSecret: 'abc8Q~0123456789' }
const withCertificate: Credentials = { ...registration, kind: 'certificate', certificate: '', privateKey: '' }
const withFederation: Credentials = { ...registration, kind: 'federated_token', federatedToken: 'a.b.c' }

const checkOf = (id: string) => {
  const check = entraId.checks.find((candidate) => candidate.id === id)
  assert.ok(check)
  return check
}

/** A literal answer of a provider. */
const answer = (status: number, body: unknown, headers: Record<string, string> = {}): HttpAnswer => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const json = () => {
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw new SourceError({ code: 'unexpected_response', operation: 'read', status, cause })
    }
  }
  return { status, headers: new Headers(headers), text, json, receivedAt: now }
}

/** The diagnosis of a check whose request `path` matches is answered so, after a token with `roles`. */
async function diagnosisOf(
  id: string,
  credentials: Credentials,
  answerTo: (request: HttpRequest) => HttpAnswer | undefined,
) {
  const target = { domain: 'acme.com', credentials }
  const session = entraId.open(target, {
    http: {
      request: async (request) => answerTo(request) ?? answer(200, { value: [{ id: tenantId }] }),
    },
    signal: new AbortController().signal,
    now: () => now,
  })
  const check = checkOf(id)
  try {
    const outcome = await check.run(session)
    return 'cause' in outcome
      ? { status: outcome.status, code: outcome.cause.code, cause: outcome.cause }
      : { status: outcome.status, code: undefined, cause: undefined }
  } catch (error) {
    assert.ok(error instanceof SourceError)
    const { determinate, cause } = entraId.diagnose(error, check, target)
    return { status: determinate ? 'failed' : 'unknown', code: cause.code, cause, error }
  }
}

/** The diagnosis of a refused token, by the error alone: the keys of certificates play no part in it. */
function signInCause(
  error: string,
  number: number | undefined,
  {
    status = 400,
    credentials = withSecret,
    hints = {},
  }: {
    readonly status?: number
    readonly credentials?: Credentials
    readonly hints?: Record<string, string | number | boolean>
  } = {},
) {
  const refused = new SourceError({
    code: 'refused',
    operation: 'get token',
    status,
    hints: { service: 'sign_in', error, ...(number !== undefined && { aadsts: number }), ...hints },
  })
  const { determinate, cause } = entraId.diagnose(refused, checkOf('token'), {
    domain: 'acme.com',
    credentials,
  })
  return `${determinate ? 'no' : '?'} ${cause.code}`
}

const signInTable: readonly (readonly [
  number: number,
  error: string,
  expected: string,
  credentials?: Credentials,
])[] = [
  [90002, 'invalid_request', 'no entra_tenant_not_found'],
  [90002, 'invalid_tenant', 'no entra_tenant_not_found'],
  [900023, 'invalid_request', 'no entra_tenant_malformed'],
  [50059, 'invalid_request', 'no entra_tenant_not_found'],
  [50128, 'invalid_request', 'no entra_tenant_not_found'],
  [90038, 'invalid_request', 'no entra_other_cloud'],
  [900382, 'invalid_request', 'no entra_other_cloud'],
  [900432, 'invalid_request', 'no entra_other_cloud'],
  [700016, 'unauthorized_client', 'no entra_app_not_found'],
  [700011, 'unauthorized_client', 'no entra_app_not_found'],
  [70001, 'unauthorized_client', 'no entra_app_disabled'],
  [7000112, 'unauthorized_client', 'no entra_app_disabled'],
  [1000031, 'unauthorized_client', 'no entra_app_disabled'],
  [700025, 'invalid_client', 'no entra_app_is_public'],
  [7000215, 'invalid_client', 'no entra_secret_wrong'],
  [70002, 'invalid_client', 'no entra_secret_wrong'],
  [50012, 'invalid_client', 'no entra_secret_wrong'],
  [50012, 'invalid_client', 'no entra_credential_rejected', withCertificate],
  [7000222, 'invalid_client', 'no entra_secret_expired'],
  [700027, 'invalid_client', 'no entra_certificate_not_registered', withCertificate],
  [700030, 'invalid_client', 'no entra_certificate_subject', withCertificate],
  [50032, 'invalid_client', 'no entra_private_key_too_small', withCertificate],
  // What this server signs itself is never held against the customer.
  [700024, 'invalid_client', '? entra_assertion_time', withCertificate],
  [700024, 'invalid_client', 'no entra_federated_token_expired', withFederation],
  [700023, 'invalid_client', '? entra_assertion_audience', withCertificate],
  [50013, 'invalid_grant', '? entra_assertion_invalid', withCertificate],
  [50027, 'invalid_client', 'no entra_federated_token_rejected', withFederation],
  [70021, 'invalid_request', 'no entra_federated_no_match', withFederation],
  [700211, 'invalid_client', 'no entra_federated_no_match', withFederation],
  [700212, 'invalid_client', 'no entra_federated_no_match', withFederation],
  [700213, 'invalid_client', 'no entra_federated_no_match', withFederation],
  [7002138, 'invalid_client', 'no entra_federated_no_match', withFederation],
  [700229, 'invalid_client', 'no entra_federated_token_type', withFederation],
  [700222, 'invalid_client', 'no entra_federated_token_type', withFederation],
  [7000229, 'invalid_client', 'no entra_service_principal_missing'],
  [50105, 'invalid_grant', 'no entra_consent_missing'],
  [530084, 'invalid_grant', 'no entra_conditional_access'],
  [1002012, 'invalid_scope', '? entra_request_malformed'],
  [500011, 'invalid_resource', 'no entra_graph_not_in_tenant'],
  [500014, 'invalid_resource', 'no entra_graph_disabled'],
  [65001, 'invalid_grant', 'no entra_consent_missing'],
  [650056, 'invalid_request', 'no entra_consent_missing'],
  [90094, 'invalid_request', 'no entra_consent_missing'],
  [53003, 'invalid_grant', 'no entra_conditional_access'],
  [530032, 'invalid_grant', 'no entra_conditional_access'],
  [530035, 'invalid_grant', 'no entra_conditional_access'],
  [50131, 'interaction_required', 'no entra_conditional_access'],
  [500021, 'invalid_request', '? entra_tenant_restrictions'],
  [70011, 'invalid_scope', '? entra_request_malformed'],
  [28002, 'invalid_scope', '? entra_request_malformed'],
  [700022, 'invalid_scope', '? entra_request_malformed'],
  [90013, 'invalid_request', '? entra_request_malformed'],
  [90014, 'invalid_request', '? entra_request_malformed'],
  [900144, 'invalid_request', '? entra_request_malformed'],
  [9002313, 'invalid_request', '? entra_request_malformed'],
  [7000218, 'invalid_client', '? entra_request_malformed'],
  [50034, 'invalid_grant', '? entra_request_malformed'],
  [50053, 'invalid_grant', '? entra_request_malformed'],
  [50057, 'invalid_grant', '? entra_request_malformed'],
  [50126, 'invalid_grant', '? entra_request_malformed'],
  [9001023, 'invalid_request', '? entra_request_malformed'],
  [50194, 'invalid_request', '? entra_request_malformed'],
  [90130, 'invalid_request', '? entra_request_malformed'],
  [90033, 'invalid_request', '? entra_unavailable'],
  [50000, 'invalid_request', '? entra_unavailable'],
  [50196, 'invalid_grant', '? entra_rate_limited'],
  [90055, 'invalid_request', '? entra_rate_limited'],
]

for (const [number, error, expected, credentials = withSecret] of signInTable) {
  test(`AADSTS${number} (${error}) with a ${credentials.kind} is ${expected}`, () => {
    assert.equal(signInCause(error, number, { credentials }), expected)
  })
}

test('without a known number, only the words for a rejected client are a plain no', () => {
  assert.equal(signInCause('invalid_client', 9999999, { status: 401 }), 'no entra_credential_rejected')
  assert.equal(signInCause('invalid_client', undefined, { status: 401 }), 'no entra_credential_rejected')
  assert.equal(signInCause('unauthorized_client', 9999999), 'no entra_credential_rejected')
  for (const error of [
    'invalid_request',
    'invalid_grant',
    'invalid_scope',
    'interaction_required',
    'something_new',
  ])
    assert.equal(signInCause(error, 9999999), '? entra_unrecognised_refusal')
})

test('no number makes a no out of an outage, of throttling or of a status that is no refusal', () => {
  for (const number of knownNumbers) {
    for (const status of [500, 502, 503, 504]) {
      const cause = signInCause('invalid_client', number, { status })
      assert.equal(cause, '? entra_unavailable')
    }
    assert.equal(signInCause('invalid_client', number, { status: 429 }), '? entra_rate_limited')
    assert.equal(signInCause('temporarily_unavailable', number), '? entra_unavailable')
    assert.equal(signInCause('server_error', number), '? entra_unavailable')
    for (const status of [200, 302, 404, 407, 451])
      assert.match(signInCause('invalid_client', number, { status }), /^\? /)
  }
})

test('a clock that is off explains what looks like a bad signature', () => {
  for (const number of [700024, 700027, 50012, 50013, 50027, 70002]) {
    for (const skewMinutes of [-12, 9, 500_000])
      assert.equal(
        signInCause('invalid_client', number, {
          status: 401,
          credentials: withCertificate,
          hints: { skewMinutes },
        }),
        '? entra_clock_skew',
      )
    assert.notEqual(
      signInCause('invalid_client', number, {
        status: 401,
        credentials: withCertificate,
        hints: { skewMinutes: 1 },
      }),
      '? entra_clock_skew',
    )
  }
  assert.equal(
    signInCause('invalid_client', 7000215, { status: 401, hints: { skewMinutes: 30 } }),
    'no entra_secret_wrong',
  )
})

test('numbers are read from the list, or from the start of the description', () => {
  assert.deepEqual(numbersIn([7000215], 'AADSTS90002: x'), [7000215])
  assert.deepEqual(numbersIn(['7000215'], ''), [7000215])
  assert.deepEqual(numbersIn(undefined, 'AADSTS7000215: Invalid client secret provided.'), [7000215])
  assert.deepEqual(numbersIn([], 'see AADSTS7000215'), [])
  for (const odd of [null, 'x', [null, {}, 'x', -1, 1.5, 1e30], {}, 7])
    assert.deepEqual(numbersIn(odd, 7), [])
})

const unsigned = (claims: object) =>
  [{ alg: 'RS256' }, claims, 'x']
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
const tokenWith = (roles: readonly string[] | undefined) =>
  answer(200, { token_type: 'Bearer', access_token: unsigned({ tid: tenantId, roles }) })

/** The diagnosis of `check` when Graph answers so, and the token carries `roles`. */
const graphCause = async (check: string, roles: readonly string[] | undefined, refused: HttpAnswer) => {
  const found = await diagnosisOf(check, withSecret, ({ url }) =>
    url.includes('/oauth2/') ? tokenWith(roles) : refused,
  )
  return found
}

const graphError = (code: string, message = '') => ({
  error: {
    code,
    message,
    innerError: { 'request-id': '11111111-2222-3333-4444-555555555555', date: '2026-11-24T12:00:00' },
  },
})
const denied = answer(
  403,
  graphError('Authorization_RequestDenied', 'Insufficient privileges to complete the operation.'),
)

const graphTable: readonly (readonly [
  title: string,
  check: string,
  roles: readonly string[] | undefined,
  refused: HttpAnswer,
  expected: string,
])[] = [
  [
    'permission not in the token',
    'users',
    ['GroupMember.Read.All'],
    denied,
    'failed entra_permission_missing',
  ],
  ['no permission at all', 'users', undefined, denied, 'failed entra_no_application_permissions'],
  ['an empty list of permissions', 'users', [], denied, 'failed entra_no_application_permissions'],
  [
    'permission in the token, denied',
    'users',
    ['User.Read.All'],
    denied,
    'failed entra_denied_despite_permission',
  ],
  [
    'a wider permission, denied',
    'groups',
    ['Directory.Read.All'],
    denied,
    'failed entra_denied_despite_permission',
  ],
  [
    'accessDenied',
    'users',
    ['Device.Read.All'],
    answer(403, graphError('accessDenied')),
    'failed entra_permission_missing',
  ],
  [
    'permission named by Graph',
    'mfa',
    ['User.Read.All'],
    answer(
      403,
      graphError(
        'Authentication_MSGraphPermissionMissing',
        'Calling principal does not have required MSGraph permissions AuditLog.Read.All',
      ),
    ),
    'failed entra_permission_missing',
  ],
  [
    'no permission for the audit log',
    'mfa',
    ['User.Read.All'],
    answer(
      403,
      graphError(
        'Authentication_ApplicationHasNoReadAuditLogDataAccess',
        "Application missing MSGraph API 'Read all audit log data' permission",
      ),
    ),
    'failed entra_permission_missing',
  ],
  [
    'no licence',
    'sign_in_activity',
    ['User.Read.All', 'AuditLog.Read.All'],
    answer(
      403,
      graphError(
        'Authentication_RequestFromNonPremiumTenantOrB2CTenant',
        "Neither tenant is B2C or tenant doesn't have premium license",
      ),
    ),
    'failed entra_premium_required',
  ],
  [
    'insufficient claims',
    'users',
    [],
    answer(403, graphError('insufficient_claims')),
    'failed entra_conditional_access',
  ],
  [
    'a claims challenge under the code of an expired token',
    'users',
    ['User.Read.All'],
    answer(
      401,
      graphError('InvalidAuthenticationToken', 'Continuous access evaluation resulted in challenge'),
      {
        'www-authenticate':
          'Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="',
      },
    ),
    'failed entra_conditional_access',
  ],
  [
    'a challenge without a body',
    'users',
    ['User.Read.All'],
    answer(401, '', { 'www-authenticate': 'Bearer error="insufficient_claims", claims="e30="' }),
    'failed entra_conditional_access',
  ],
  [
    'an invalid token',
    'users',
    ['User.Read.All'],
    answer(
      401,
      graphError('InvalidAuthenticationToken', 'Lifetime validation failed, the token is expired.'),
      {
        'www-authenticate':
          'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"',
      },
    ),
    'unknown entra_token_rejected',
  ],
  [
    'an unknown identity',
    'users',
    [],
    answer(401, graphError('Authorization_IdentityNotFound')),
    'failed entra_service_principal_missing',
  ],
  [
    'a disabled identity',
    'users',
    [],
    answer(401, graphError('Authorization_IdentityDisabled')),
    'failed entra_service_principal_disabled',
  ],
  [
    '401 with another code',
    'users',
    [],
    answer(401, graphError('SomethingNew')),
    'unknown entra_unrecognised_refusal',
  ],
  [
    '403 with another code',
    'users',
    [],
    answer(403, graphError('SomethingNew')),
    'unknown entra_unrecognised_refusal',
  ],
  [
    '400',
    'users',
    [],
    answer(400, graphError('Request_UnsupportedQuery')),
    'unknown entra_request_malformed',
  ],
  [
    '404',
    'memberships',
    ['Group.Read.All'],
    answer(404, graphError('Request_ResourceNotFound')),
    'unknown entra_unrecognised_refusal',
  ],
  [
    '429',
    'users',
    [],
    answer(429, graphError('TooManyRequests'), { 'retry-after': '7' }),
    'unknown entra_rate_limited',
  ],
  [
    '403 for throttling',
    'users',
    [],
    answer(403, graphError('activityLimitReached')),
    'unknown entra_rate_limited',
  ],
  ['500', 'users', [], answer(500, graphError('generalException')), 'unknown entra_unavailable'],
  ['501', 'users', [], answer(501, graphError('NotImplemented')), 'unknown entra_request_malformed'],
  ['502 as HTML', 'users', [], answer(502, '<html>bad gateway</html>'), 'unknown entra_unavailable'],
  ['503', 'users', [], answer(503, graphError('serviceNotAvailable')), 'unknown entra_unavailable'],
  ['504 without a body', 'users', [], answer(504, ''), 'unknown entra_unavailable'],
  ['509', 'users', [], answer(509, ''), 'unknown entra_rate_limited'],
  ['403 as HTML', 'users', [], answer(403, '<html>proxy</html>'), 'unknown entra_unexpected_response'],
  ['401 as text', 'users', [], answer(401, 'no'), 'unknown entra_unexpected_response'],
]

for (const [title, check, roles, refused, expected] of graphTable) {
  test(`Graph: ${title} is ${expected}`, async () => {
    const { status, code } = await graphCause(check, roles, refused)
    assert.equal(`${status} ${code}`, expected)
  })
}

test('Graph: the access token that an answer repeats is hidden, and no part of it is left', async () => {
  const accessToken = 'canary-access-token'
  for (const before of ['', 'x'.repeat(210)]) {
    const { error } = await diagnosisOf('users', withSecret, ({ url }) =>
      url.includes('/oauth2/')
        ? answer(200, { token_type: 'Bearer', access_token: accessToken })
        : answer(403, graphError(`denied ${accessToken}`, `${before}${accessToken}`)),
    )
    assert.doesNotMatch(`${error?.providerCode} ${error?.providerMessage}`, /canary/)
  }
})

test('the token endpoint: a secret that an answer repeats as it was sent is hidden', async () => {
  const clientSecret = 'abc8Q~01+3/5=canary'
  const { error } = await diagnosisOf('token', { ...withSecret, clientSecret }, ({ body }) =>
    answer(401, {
      error: 'invalid_client',
      error_description: `AADSTS7000215: ${body}`,
      error_codes: [7000215],
    }),
  )
  assert.match(error?.providerMessage ?? '', /client_secret=\[redacted\]/)
  assert.doesNotMatch(error?.providerMessage ?? '', /canary/)
})

test('of two permissions that a read needs, the missing one is named', async () => {
  for (const [roles, missing] of [
    [['User.Read.All'], 'AuditLog.Read.All'],
    [['AuditLog.Read.All'], 'User.Read.All'],
  ] as const) {
    const { cause } = await graphCause('sign_in_activity', roles, denied)
    assert.equal(cause?.title, `The application permission ${missing} is missing`)
  }
})

test('the token endpoint: literal refusals keep their words, number and correlation ID', async () => {
  const correlation_id = '0a6b1f06-8c43-4b2b-9c6e-0f3cf4f7d4a1'
  const { code, error } = await diagnosisOf('token', withSecret, ({ url }) =>
    url.includes('/oauth2/')
      ? answer(401, {
          error: 'invalid_client',
          error_description: `AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.\r\nTrace ID: 6f6c4645-0202-4486-b625-fa957dfc4700\r\nCorrelation ID: ${correlation_id}\r\nTimestamp: 2026-11-24 06:03:00Z`,
          error_codes: [7000215],
          correlation_id,
        })
      : undefined,
  )
  assert.equal(code, 'entra_secret_wrong')
  assert.equal(error?.providerCode, 'AADSTS7000215')
  assert.equal(
    error?.providerMessage,
    `Invalid client secret provided. Ensure the secret being sent in the request is the client secret value. Correlation ID: ${correlation_id}`,
  )
})

test('the token endpoint: 429 as plain text with Retry-After is throttling', async () => {
  const { code, error } = await diagnosisOf('token', withSecret, () =>
    answer(429, 'Too Many Requests', { 'retry-after': '60' }),
  )
  assert.equal(code, 'entra_rate_limited')
  assert.equal(error?.retryAfterSeconds, 60)
})

test('whatever either service answers, it ends in a known cause, and only a listed refusal is a no', async () => {
  const json = fc.jsonValue({ maxDepth: 3 })
  const refused = fc.record({
    status: fc.integer({ min: 201, max: 599 }),
    body: fc.oneof(
      json,
      fc.string(),
      fc.record({
        error: fc.oneof(json, fc.record({ code: json, message: json, innerError: json })),
        error_description: json,
        error_codes: json,
      }),
    ),
    date: fc.string(),
  })
  await fc.assert(
    fc.asyncProperty(
      refused,
      fc.constantFrom('token', 'users', 'domain_ownership', 'credential_expiry'),
      async (given, check) => {
        const headers: Record<string, string> = /^[\x20-\x7e]*$/.test(given.date)
          ? { date: given.date, 'retry-after': given.date }
          : {}
        const refusal = answer(given.status, given.body, headers)
        const { status, code } = await diagnosisOf(check, withSecret, ({ url }) =>
          check !== 'token' && url.includes('/oauth2/') ? tokenWith(['User.Read.All']) : refusal,
        )
        assert.notEqual(status, 'passed')
        if (status === 'skipped') return assert.equal(given.status, 404)
        assert.ok(code !== undefined && Object.hasOwn(causes, code), code)
        if (given.status === 429 || given.status >= 500 || given.status < 400) assert.equal(status, 'unknown')
      },
    ),
    { numRuns: 500 },
  )
})

test('every cause is complete, and no text keeps a placeholder', async () => {
  for (const [code, cause] of Object.entries(causes)) {
    assert.match(code, /^entra_[a-z0-9_]+$/)
    for (const text of [cause.title, cause.explanation, cause.remedy]) assert.ok(text.length > 5, code)
    assert.match(cause.docs, /^https:\/\//)
  }
  for (const number of knownNumbers) {
    for (const credentials of [withSecret, withCertificate, withFederation]) {
      const refused = new SourceError({
        code: 'refused',
        operation: 'get token',
        status: 400,
        hints: { service: 'sign_in', error: 'invalid_request', aadsts: number, skewMinutes: 30 },
      })
      const { cause } = entraId.diagnose(refused, checkOf('token'), { domain: 'acme.com', credentials })
      assert.doesNotMatch(`${cause.title}${cause.explanation}${cause.remedy}`, /<\w+>|\{\w+\}/)
    }
  }
})

test('credentials of the operator show no ID of theirs in a cause', () => {
  const read = readCredentials({})
  assert.ok(read.ok)
  const refused = new SourceError({ code: 'not_configured', operation: 'use credentials' })
  const { cause } = entraId.diagnose(refused, checkOf('token'), {
    domain: 'acme.com',
    credentials: read.credentials,
  })
  assert.equal(cause.code, 'entra_credentials_missing')
})
