/** Every documented failure, served literally over a socket, and what it is taken for. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { createOutbound } from '../../outbound/outbound.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { validate } from '../../validation/validate.ts'
import { causes } from './causes.ts'
import { createOkta } from './index.ts'

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** A string is sent as it is, anything else as JSON. */
  readonly body?: unknown
}
type Answers = Readonly<Record<string, Answer | ((request: SeenRequest) => Answer)>>
interface SeenRequest {
  readonly url: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

const host = 'acme.okta.com'
const customHost = 'id.acme.com'
const organization = 'GET /.well-known/okta-organization'
const token = 'POST /oauth2/v1/token'
const me = 'GET /api/v1/users/me'
const users = 'GET /api/v1/users'
const groups = 'GET /api/v1/groups'
const members = 'GET /api/v1/groups/00g1/users'
const devices = 'GET /api/v1/devices'

const ok = (body: unknown): Answer => ({ status: 200, body })
const user = { id: '00u1', status: 'ACTIVE', lastLogin: null, profile: { login: 'sync@acme.com' } }
const good: Answers = {
  [organization]: ok({ id: '00o1', pipeline: 'idx', _links: { organization: { href: `https://${host}` } } }),
  [token]: ok({
    token_type: 'Bearer',
    expires_in: 3600,
    access_token: 'canary-access-token',
    scope:
      'okta.users.read okta.groups.read okta.roles.read okta.devices.read okta.apps.read okta.orgs.read okta.logs.read',
  }),
  [me]: ok(user),
  [users]: ok([user]),
  [groups]: ok([{ id: '00g1', type: 'BUILT_IN' }]),
  [members]: ok([user]),
  'GET /api/v1/iam/assignees/users': ok({ value: [{ id: '00u1' }] }),
  [devices]: ok([]),
  'GET /api/v1/apps': ok([{ id: '0oa1' }]),
  'GET /api/v1/logs': ok([]),
  'GET /api/v1/users/00u1/factors': ok([]),
  'GET /api/v1/users/00u1/roles': ok([{ id: 'ra1', type: 'READ_ONLY_ADMIN', status: 'ACTIVE' }]),
  'GET /oauth2/v1/clients/0oa1/roles': ok([{ id: 'ra1', type: 'READ_ONLY_ADMIN', status: 'ACTIVE' }]),
  'GET /api/v1/api-tokens': ok([]),
  'GET /api/v1/org': ok({ id: '00o1', status: 'ACTIVE', expiresAt: null }),
}

let answers: Answers = good
let seen: string[] = []
const server = createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (chunk: string) => {
    body += chunk
  })
  request.on('end', () => {
    const [path] = request.url?.split('?') ?? []
    const name = `${request.method} ${path}`
    seen.push(`${request.headers.host} ${name}`)
    const at = answers[`${request.headers.host} ${name}`] ?? answers[name]
    const answer = (typeof at === 'function'
      ? at({ url: request.url, headers: request.headers, body })
      : at) ?? { status: 404 }
    const isText = typeof answer.body === 'string'
    response.writeHead(answer.status, {
      'content-type': isText ? 'text/html' : 'application/json',
      ...answer.headers,
    })
    response.end(answer.body === undefined ? '' : isText ? answer.body : JSON.stringify(answer.body))
  })
})
let endpoints: ReadonlyMap<string, URL>

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  endpoints = new Map([
    [host, origin],
    [customHost, origin],
  ])
})
after(() => {
  server.closeAllConnections()
  server.close()
})

const okta = createOkta({ customDomains: [customHost] })
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const apiToken = { api_token: '00QCjAl4MlV-WPXM_0HmjFxvbGua00QCjAl4MlVWPX' }
const serviceApp = {
  client_id: '0oa1',
  private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
}

async function report(given: Answers, secrets: Record<string, unknown>, { domain = host, ahead = 0 } = {}) {
  answers = { ...good, ...given }
  seen = []
  const reading = okta.readCredentials(secrets)
  assert.ok(reading.ok)
  const now = () => new Date(Date.now() + ahead * 1000)
  const outbound = createOutbound({ endpoints, now })
  return validate(
    okta,
    { domain, credentials: reading.credentials },
    { openHttp: (rules, signal) => outbound.open(rules, signal), now },
  )
}

type Row = readonly [
  what: string,
  given: Answers,
  secrets: Record<string, unknown>,
  check: string,
  cause: string,
]

const api = (status: number, errorCode: string, errorSummary = 'words'): Answer => ({
  status,
  body: { errorCode, errorSummary, errorLink: errorCode, errorId: 'oae1', errorCauses: [] },
})
const oauth = (status: number, error: string, error_description: string): Answer => ({
  status,
  body: { error, error_description },
})
const challenged = (
  status: number,
  error: string,
  description = 'words',
  scope = 'okta.groups.read',
): Answer => ({
  status,
  headers: {
    'www-authenticate': `Bearer authorization_uri="http://${host}/oauth2/v1/authorize", realm="http://${host}", scope="${scope}", error="${error}", error_description="${description}", resource="/api/v1/groups"`,
  },
  body: '',
})
const page: Answer = { status: 404, body: '<!DOCTYPE html><html><body>not here</body></html>' }

const invalidClient: readonly (readonly [words: string, cause: string])[] = [
  ["Invalid value for 'client_id' parameter.", 'okta_client_unknown'],
  ['The issuer claim for client_assertion is not a valid client_id.', 'okta_client_unknown'],
  ['The subject claim for client_assertion is not a valid client_id.', 'okta_client_unknown'],
  [
    'Client authentication failed. Either the client or the client credentials are invalid.',
    'okta_client_rejected',
  ],
  ['The client_assertion signature is invalid.', 'okta_key_not_registered'],
  ['The client_assertion JWT kid is invalid.', 'okta_key_not_registered'],
  ['The client_assertion JWT needs to be signed using a signing key.', 'okta_key_not_registered'],
  ['The client JWKSet is invalid.', 'okta_key_set_unusable'],
  [
    'The client does not have a JWKSet configured, but the client_assertion requires one.',
    'okta_key_set_unusable',
  ],
  [
    "The public key being used for client assertion has an invalid 'use' parameter. Valid values for the 'use' parameter are sig.",
    'okta_key_set_unusable',
  ],
  ['The client JWKSet from jwks_uri must contain at least one key.', 'okta_key_set_unusable'],
  ['All keys in the client JWKSet from jwks_uri must have a unique kid.', 'okta_key_set_unusable'],
  ['No active encryption key found for the client.', 'okta_key_set_unusable'],
  ['Error retrieving the client JWKSet from jwks_uri.', 'okta_key_set_unreachable'],
  [
    'Client Credentials requests to the Org Authorization Server must use the private_key_jwt token_endpoint_auth_method.',
    'okta_client_secret_app',
  ],
  [
    'OAuth Integration Client Credentials requests to the Org Authorization Server must use either private_key_jwt or client_secret_basic as the token_endpoint_auth_method.',
    'okta_client_secret_app',
  ],
  [
    'The issuer and subject claim for client_assertion is invalid because the client does not have a client secret.',
    'okta_client_secret_app',
  ],
  [
    "Only clients with 'application_type' of 'service' may use the client_credentials 'grant_type' with the Org Authorization Server.",
    'okta_not_service_app',
  ],
  [
    'The audience claim for client_assertion must be the endpoint invoked for the request.',
    'okta_assertion_refused',
  ],
  ["The client_assertion must contain the 'exp' claim as seconds since epoch.", 'okta_assertion_refused'],
  ['The client_assertion token has already been used.', 'okta_assertion_refused'],
  ['The parsing of the client_assertion failed.', 'okta_assertion_refused'],
  ['The client_assertion JWT signature algorithm is invalid.', 'okta_assertion_refused'],
  ['No client credentials found.', 'okta_assertion_refused'],
  ['The client_assertion token is expired.', 'okta_clock_skew'],
  ['The client_assertion token has an expiration too far into the future.', 'okta_clock_skew'],
  ['The client_assertion token must be issued before the current time.', 'okta_clock_skew'],
]

const rows: readonly Row[] = [
  // The organisation
  [
    'an HTML 404 whatever is asked',
    { [organization]: page, [me]: page, [users]: page },
    apiToken,
    'organization',
    'okta_organization_not_found',
  ],
  [
    'a JSON 404 whatever is asked',
    { [organization]: api(404, 'E0000007'), [me]: api(404, 'E0000007'), [users]: api(404, 'E0000007') },
    apiToken,
    'organization',
    'okta_organization_not_found',
  ],
  [
    'a 404 whatever an app asks',
    { [organization]: page, [token]: page },
    serviceApp,
    'organization',
    'okta_organization_not_found',
  ],
  [
    'a 404, and an outage of the API',
    { [organization]: page, [me]: { status: 500 } },
    apiToken,
    'organization',
    'okta_unavailable',
  ],
  [
    'a dead token where neither the organisation nor the owner can be looked up',
    { [organization]: page, [me]: page, [users]: api(401, 'E0000011') },
    apiToken,
    'access',
    'okta_token_rejected',
  ],
  [
    'an HTML page with 200',
    { [organization]: { status: 200, body: '<html>sign in</html>' } },
    apiToken,
    'organization',
    'okta_unexpected_response',
  ],
  [
    'a document without ID',
    { [organization]: ok({ pipeline: 'idx' }) },
    apiToken,
    'organization',
    'okta_unexpected_response',
  ],
  ['a list', { [organization]: ok([]) }, apiToken, 'organization', 'okta_unexpected_response'],
  [
    'another address',
    { [organization]: ok({ id: '00o1', _links: { organization: { href: 'https://other.okta.com' } } }) },
    apiToken,
    'identity',
    'okta_organization_differs',
  ],
  [
    'a redirect',
    { [organization]: { status: 302, headers: { location: 'https://evil.tld/' } } },
    apiToken,
    'organization',
    'okta_redirected',
  ],
  // The API token
  [
    'an invalid token',
    { [me]: api(401, 'E0000011', 'Invalid token provided') },
    apiToken,
    'access',
    'okta_token_rejected',
  ],
  ['a failed authentication', { [me]: api(401, 'E0000004') }, apiToken, 'access', 'okta_token_rejected'],
  [
    "a token's ID",
    { [me]: api(401, 'E0000011') },
    { api_token: '00Tabcdefg1234567890' },
    'access',
    'okta_token_wrong_kind',
  ],
  [
    'an access token instead',
    { [me]: api(401, 'E0000011') },
    { api_token: 'eyJhbGciOiJub25lIn0.e30.x' },
    'access',
    'okta_token_wrong_kind',
  ],
  [
    'an invalid session',
    { [me]: api(403, 'E0000005', 'Invalid session') },
    apiToken,
    'access',
    'okta_session_invalid',
  ],
  [
    'no permission for oneself',
    { [me]: api(403, 'E0000006') },
    apiToken,
    'access',
    'okta_token_not_permitted',
  ],
  [
    'a deactivated organisation',
    { [me]: api(403, 'E0000260') },
    apiToken,
    'access',
    'okta_organization_deactivated',
  ],
  ['an HTML 404 of the API', { [me]: page, [users]: page }, apiToken, 'access', 'okta_unexpected_response'],
  [
    'a page with 200 instead of the owner',
    { [me]: { status: 200, body: '<html>' } },
    apiToken,
    'access',
    'okta_unexpected_response',
  ],
  [
    'an error document with 200',
    { [me]: { ...api(200, 'E0000011') } },
    apiToken,
    'access',
    'okta_unexpected_response',
  ],
  ['an owner without ID', { [me]: ok({ profile: {} }) }, apiToken, 'access', 'okta_unexpected_response'],
  [
    'a proxy that refuses',
    { [me]: { status: 403, body: '<html>blocked</html>' } },
    apiToken,
    'access',
    'okta_unexpected_response',
  ],
  ['an unknown code', { [me]: api(403, 'E0009999') }, apiToken, 'access', 'okta_unrecognised_refusal'],
  ['a wrong method', { [me]: api(405, 'E0000022') }, apiToken, 'access', 'okta_method_not_allowed'],
  ['an unacceptable request', { [me]: api(406, 'E0000122') }, apiToken, 'access', 'okta_request_refused'],
  ['an internal error', { [me]: api(500, 'E0000009') }, apiToken, 'access', 'okta_unavailable'],
  ['read-only mode', { [me]: api(503, 'E0000010') }, apiToken, 'access', 'okta_read_only_mode'],
  ['a gateway without words', { [me]: { status: 502 } }, apiToken, 'access', 'okta_unavailable'],
  ['throttling', { [me]: api(429, 'E0000047') }, apiToken, 'access', 'okta_rate_limited'],
  [
    'too many at once',
    {
      [me]: {
        ...api(429, 'E0000047'),
        headers: { 'x-rate-limit-limit': '0', 'x-rate-limit-remaining': '0', 'x-rate-limit-reset': '1' },
      },
    },
    apiToken,
    'access',
    'okta_concurrency_rate_limited',
  ],
  // The token endpoint, in both of its forms
  ...invalidClient.map(
    ([words, cause]): Row => [
      words,
      { [token]: oauth(401, 'invalid_client', words) },
      serviceApp,
      'access',
      cause,
    ],
  ),
  [
    'the form of the API',
    { [token]: api(401, 'invalid_client', "Invalid value for 'client_id' parameter.") },
    serviceApp,
    'access',
    'okta_client_unknown',
  ],
  [
    'a grant type',
    {
      [token]: oauth(
        400,
        'unauthorized_client',
        'The client is not authorized to use the provided grant type. Configured grant types: [x].',
      ),
    },
    serviceApp,
    'access',
    'okta_grant_type_missing',
  ],
  [
    'an unsupported grant type',
    { [token]: oauth(400, 'unsupported_grant_type', 'words') },
    serviceApp,
    'access',
    'okta_grant_type_missing',
  ],
  [
    'a network zone',
    {
      [token]: oauth(
        403,
        'access_denied',
        "The request is made from outside the client's permitted network zones.",
      ),
    },
    serviceApp,
    'access',
    'okta_network_zone',
  ],
  [
    'a policy',
    {
      [token]: oauth(
        401,
        'access_denied',
        'Policy evaluation failed for this request, please check the policy configurations.',
      ),
    },
    serviceApp,
    'access',
    'okta_policy_denied',
  ],
  [
    'a policy on scopes',
    {
      [token]: oauth(
        400,
        'access_denied',
        'Policy evaluation succeeded, but all the requested scopes were rejected.',
      ),
    },
    serviceApp,
    'access',
    'okta_policy_denied',
  ],
  [
    'a denial',
    {
      [token]: oauth(403, 'access_denied', 'The resource owner or authorization server denied the request.'),
    },
    serviceApp,
    'access',
    'okta_access_denied',
  ],
  [
    'no scope at all',
    { [token]: oauth(400, 'consent_required', 'You are not allowed any of the requested scopes.') },
    serviceApp,
    'access',
    'okta_scopes_not_granted',
  ],
  [
    'unknown scopes',
    {
      [token]: oauth(
        400,
        'invalid_scope',
        'One or more scopes are not configured for the authorization server resource.',
      ),
    },
    serviceApp,
    'access',
    'okta_scopes_not_granted',
  ],
  [
    'an overload told with 400',
    { [token]: oauth(400, 'temporarily_unavailable', 'words') },
    serviceApp,
    'access',
    'okta_unavailable',
  ],
  [
    'a server error',
    { [token]: oauth(500, 'server_error', 'words') },
    serviceApp,
    'access',
    'okta_unavailable',
  ],
  [
    'a throttled client',
    { [token]: oauth(429, 'invalid_grant', 'API call exceeded rate limit due to too many requests.') },
    serviceApp,
    'access',
    'okta_rate_limited',
  ],
  [
    'a bad proof',
    { [token]: oauth(400, 'invalid_dpop_proof', "'htu' claim in the DPoP proof JWT is invalid.") },
    serviceApp,
    'access',
    'okta_dpop_refused',
  ],
  [
    'a proof from the future',
    { [token]: oauth(400, 'invalid_dpop_proof', 'The DPoP proof JWT is issued in the future.') },
    serviceApp,
    'access',
    'okta_clock_skew',
  ],
  [
    'an old proof',
    {
      [token]: oauth(
        400,
        'invalid_dpop_proof',
        'The DPoP proof JWT is issued more than five minutes in the past.',
      ),
    },
    serviceApp,
    'access',
    'okta_clock_skew',
  ],
  [
    'nonces without end',
    { [token]: { ...oauth(400, 'use_dpop_nonce', 'words'), headers: { 'dpop-nonce': 'n' } } },
    serviceApp,
    'access',
    'okta_dpop_refused',
  ],
  [
    'an unknown error',
    { [token]: oauth(400, 'mfa_required', 'words') },
    serviceApp,
    'access',
    'okta_unrecognised_refusal',
  ],
  ['an HTML 404 of the token endpoint', { [token]: page }, serviceApp, 'access', 'okta_unexpected_response'],
  [
    'a page with 200 instead of a token',
    { [token]: { status: 200, body: '<html>' } },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  [
    'a token response without token',
    { [token]: ok({ token_type: 'Bearer' }) },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  [
    'an error with 200',
    { [token]: { ...oauth(200, 'invalid_client', 'words') } },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  [
    'a token that no header can hold',
    { [token]: ok({ access_token: 'a\nb: c', token_type: 'Bearer' }) },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  [
    'a token of another type',
    { [token]: ok({ access_token: 'x', token_type: 'mac' }) },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  [
    'a bound token that nobody asked for',
    { [token]: ok({ access_token: 'x', token_type: 'DPoP' }) },
    serviceApp,
    'access',
    'okta_unexpected_response',
  ],
  // Reading
  [
    'no permission for a token',
    { [users]: api(403, 'E0000006') },
    apiToken,
    'users',
    'okta_permission_missing',
  ],
  [
    'no permission for an app',
    { [users]: api(403, 'E0000006') },
    serviceApp,
    'users',
    'okta_admin_role_missing',
  ],
  ['no users for a token', { [users]: ok([]) }, apiToken, 'users', 'okta_nothing_visible'],
  ['no users for an app', { [users]: ok([]) }, serviceApp, 'users', 'okta_admin_role_missing'],
  ['no groups for an app', { [groups]: ok([]) }, serviceApp, 'groups', 'okta_admin_role_missing'],
  ['an object instead of users', { [users]: ok({}) }, apiToken, 'users', 'okta_unexpected_response'],
  ['users without ID', { [users]: ok([{}]) }, apiToken, 'users', 'okta_unexpected_response'],
  [
    'an insufficient scope, told in the header alone',
    { [groups]: challenged(403, 'insufficient_scope') },
    serviceApp,
    'groups',
    'okta_scope_missing',
  ],
  [
    'an insufficient scope, told in the body',
    { [groups]: api(403, 'insufficient_scope') },
    serviceApp,
    'groups',
    'okta_scope_missing',
  ],
  [
    'an insufficient scope beside a body',
    { [groups]: { ...challenged(403, 'insufficient_scope'), body: api(403, 'E0000006').body } },
    serviceApp,
    'groups',
    'okta_scope_missing',
  ],
  [
    'an invalid access token',
    { [users]: challenged(401, 'invalid_token') },
    serviceApp,
    'users',
    'okta_access_token_refused',
  ],
  [
    'an access token of a wrong time',
    { [users]: challenged(401, 'invalid_token', 'The token timestamp is invalid.') },
    serviceApp,
    'users',
    'okta_clock_skew',
  ],
  [
    'an endpoint that takes no access tokens',
    { [users]: api(403, 'E0000005') },
    serviceApp,
    'users',
    'okta_oauth_not_accepted',
  ],
  [
    'a proof that is required',
    { [users]: challenged(400, 'invalid_request', 'The resource request requires a DPoP proof.') },
    serviceApp,
    'users',
    'okta_dpop_refused',
  ],
  [
    'a network zone of the API',
    {
      [users]: challenged(
        403,
        'access_denied',
        "The request is made from outside the client's permitted network zones.",
      ),
    },
    serviceApp,
    'users',
    'okta_network_zone',
  ],
  [
    'a group that went away',
    { [members]: api(404, 'E0000007', 'Not found: Resource not found: 00g1 (UserGroup)') },
    apiToken,
    'memberships',
    'okta_object_gone',
  ],
  [
    'a token that died meanwhile',
    { [users]: api(401, 'E0000011') },
    apiToken,
    'users',
    'okta_token_rejected',
  ],
  [
    'no devices in Classic Engine',
    { [devices]: api(404, 'E0000008') },
    apiToken,
    'devices',
    'okta_feature_unavailable',
  ],
  [
    'a feature that is not enabled',
    { [devices]: api(401, 'E0000015') },
    apiToken,
    'devices',
    'okta_feature_unavailable',
  ],
  ['no path for users', { [users]: api(404, 'E0000008') }, apiToken, 'users', 'okta_unrecognised_refusal'],
]

for (const [what, given, secrets, checkId, code] of rows) {
  test(`${checkId}: ${what} is ${code}`, async () => {
    const { checks, verdict } = await report(given, secrets)
    const check = checks.find(({ id }) => id === checkId)
    assert.equal(check?.cause?.code, code)
    const { determinate } = causes[code as keyof typeof causes]
    assert.equal(check?.status, determinate ? 'failed' : 'unknown')
    if (check.required) assert.equal(verdict, determinate ? 'invalid' : 'indeterminate')
    const words = JSON.stringify(check.cause)
    assert.doesNotMatch(words, /<\w+>/, 'every placeholder is filled')
  })
}

test('takes nothing that Okta does not document for a verdict', () => {
  const documented =
    /^(?:E0000(?:004|005|006|008|011|015|026|215|260)|invalid_client|unauthorized_client|unsupported_grant_type|access_denied|consent_required|invalid_scope|insufficient_scope|invalid_request|server_error)$/
  const readings = [apiToken, serviceApp].map((secrets) => okta.readCredentials(secrets))
  fc.assert(
    fc.property(
      fc.constantFrom(...okta.checks),
      fc.constantFrom(...readings),
      fc.integer({ min: 400, max: 499 }),
      fc.oneof(
        fc.constantFrom('E0000001', 'E0000047', 'E0000099', 'invalid_grant', 'slow_down'),
        fc.string(),
      ),
      fc.string(),
      fc.constantFrom('request an access token', 'read users'),
      (check, reading, status, providerCode, providerMessage, operation) => {
        assert.ok(reading.ok)
        const error = new SourceError({ code: 'refused', operation, status, providerCode, providerMessage })
        const { determinate, cause } = okta.diagnose(error, check, {
          domain: host,
          credentials: reading.credentials,
        })
        assert.ok(cause.code in causes)
        const isNoOrganization = check.id === 'organization' && status === 404
        if (!documented.test(error.providerCode ?? '') && !isNoOrganization) assert.equal(determinate, false)
      },
    ),
    { numRuns: 2_000 },
  )
})

test('the answers that the rows vary are those of valid credentials', async () => {
  for (const secrets of [apiToken, serviceApp]) {
    const { verdict, checks } = await report({}, secrets)
    assert.equal(verdict, 'valid')
    assert.deepEqual(
      checks.filter(({ status }) => status === 'failed' || status === 'unknown'),
      [],
    )
  }
})

test('is valid by the reads where neither the organisation nor the owner of the token can be looked up', async () => {
  for (const missing of [page, { status: 404 }, api(404, 'E0000007')]) {
    const withToken = await report({ [organization]: missing, [me]: missing }, apiToken)
    assert.equal(withToken.verdict, 'valid')
    assert.equal(withToken.subject.principal, undefined)
    assert.ok(withToken.warnings.some(({ code }) => code === 'okta_organization_untold'))
    assert.equal((await report({ [organization]: missing }, serviceApp)).verdict, 'valid')
  }
})

test('is valid when the token response leaves its type out', async () => {
  assert.equal((await report({ [token]: ok({ access_token: 'a' }) }, serviceApp)).verdict, 'valid')
})

test('binds reads to a nonce as well, whether it is demanded in the challenge or in the body', async () => {
  const nonceOf = ({ headers }: SeenRequest) => {
    const [, claims = ''] = String(headers.dpop ?? '').split('.')
    return claims === '' ? undefined : JSON.parse(Buffer.from(claims, 'base64url').toString()).nonce
  }
  const issuing = (request: SeenRequest): Answer =>
    request.headers.dpop === undefined
      ? oauth(400, 'invalid_dpop_proof', 'The DPoP proof JWT header is missing.')
      : ok({ access_token: 'x', token_type: 'DPoP' })
  const demands: readonly Answer[] = [
    { ...oauth(400, 'use_dpop_nonce', 'words'), headers: { 'dpop-nonce': 'r1' } },
    {
      status: 401,
      body: '',
      headers: { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'r1' },
    },
  ]
  for (const demand of demands) {
    const { verdict } = await report(
      { [token]: issuing, [users]: (request) => (nonceOf(request) === 'r1' ? ok([user]) : demand) },
      serviceApp,
    )
    assert.equal(verdict, 'valid')
  }
})

test('survives whatever answers in place of Okta, and never finds credentials valid by it', async () => {
  const answer = fc.record({
    status: fc.oneof({ weight: 2, arbitrary: fc.constant(200) }, fc.integer({ min: 200, max: 599 })),
    body: fc.oneof(
      fc.jsonValue(),
      fc.string(),
      fc.record(
        {
          errorCode: fc.anything(),
          error: fc.anything(),
          // A text as id or token would make the document a good one.
          id: fc.jsonValue().filter((id) => typeof id !== 'string'),
          _links: fc.jsonValue(),
          access_token: fc.jsonValue().filter((value) => typeof value !== 'string'),
          token_type: fc.jsonValue(),
          scope: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
    ),
    headers: fc.dictionary(
      fc.constantFrom(
        'www-authenticate',
        'x-rate-limit-limit',
        'x-rate-limit-remaining',
        'x-rate-limit-reset',
        'retry-after',
        'date',
        'dpop-nonce',
      ),
      fc.string({ unit: fc.constantFrom(...'aZ09 ,="\\-.:') }),
    ),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(organization, token, me, users, groups, members),
      fc.constantFrom(apiToken, serviceApp),
      answer,
      async (where, either, instead) => {
        const isSafe = JSON.stringify(instead.body) !== undefined && ![204, 205, 304].includes(instead.status)
        if (!isSafe) return
        const secrets = where === token ? serviceApp : where === me ? apiToken : either
        const { verdict } = await report({ [where]: instead }, secrets)
        const isRead =
          (where === members && instead.status === 200 && Array.isArray(instead.body)) ||
          // What tells about the credentials only, and is not there, is made up for by the reads.
          ((where === organization || where === me) && instead.status === 404)
        if (!isRead) assert.notEqual(verdict, 'valid')
      },
    ),
    { numRuns: 150 },
  )
})

test('names the missing scopes where Okta refuses them together', async () => {
  const refusing = ({ body }: SeenRequest): Answer => {
    const scope = new URLSearchParams(body).get('scope') ?? ''
    return scope === 'okta.users.read'
      ? ok({ token_type: 'Bearer', access_token: 'a', scope })
      : oauth(400, 'consent_required', 'You are not allowed any of the requested scopes.')
  }
  const { checks, verdict } = await report({ [token]: refusing }, serviceApp)
  assert.equal(verdict, 'invalid')
  const by = (id: string) => checks.find((check) => check.id === id)
  assert.equal(by('access')?.status, 'passed')
  assert.equal(by('users')?.status, 'passed')
  assert.equal(by('groups')?.cause?.code, 'okta_scope_missing')
  assert.match(by('groups')?.cause?.remedy ?? '', /okta\.groups\.read/)
  assert.equal(by('groups')?.provider?.code, 'consent_required')
  assert.equal(seen.filter((request) => request.endsWith('GET /api/v1/groups')).length, 0)
})

test('takes throttling of a single scope for what it is', async () => {
  const throttling = ({ body }: SeenRequest): Answer => {
    const scope = new URLSearchParams(body).get('scope') ?? ''
    if (scope.includes(' ')) return oauth(400, 'invalid_scope', 'words')
    return scope === 'okta.groups.read'
      ? api(429, 'E0000047')
      : ok({ token_type: 'Bearer', access_token: 'a', scope })
  }
  const { checks, verdict } = await report({ [token]: throttling }, serviceApp)
  assert.equal(verdict, 'indeterminate')
  assert.equal(checks.find(({ id }) => id === 'groups')?.cause?.code, 'okta_rate_limited')
})

test('reads groups without a filter where the filter is refused, or shows none', async () => {
  const any = ok([{ id: '00g1', type: 'OKTA_GROUP' }])
  for (const [filtered, status] of [
    [api(400, 'E0000031'), 'unknown'],
    [ok([]), 'passed'],
  ] as const) {
    const asked = ({ url }: SeenRequest) => (url?.includes('filter=') ? filtered : any)
    const { checks, verdict } = await report({ [groups]: asked }, apiToken)
    assert.equal(verdict, 'valid')
    assert.equal(checks.find(({ id }) => id === 'completeness')?.status, status)
  }
})

/** Lists whose first pages are empty and name a next one. */
const beginningEmpty = (emptyPages: number): Answers => {
  const at =
    (name: string, records: readonly unknown[]) =>
    ({ url = '' }: SeenRequest): Answer => {
      const page = Number(URL.parse(url, `https://${host}`)?.searchParams.get('page') ?? 0)
      if (page === emptyPages) return ok(records)
      return {
        ...ok([]),
        headers: { link: `<https://${host}${name.slice(4)}?page=${page + 1}>; rel="next"` },
      }
    }
  return { [users]: at(users, [user]), [groups]: at(groups, [{ id: '00g1', type: 'BUILT_IN' }]) }
}

test('an empty first page that names a next one is no empty list', async () => {
  for (const secrets of [apiToken, serviceApp]) {
    const { verdict, checks } = await report(beginningEmpty(3), secrets)
    assert.equal(verdict, 'valid')
    assert.equal(checks.find(({ id }) => id === 'completeness')?.status, 'passed')
  }
})

test('of a list that begins with many empty pages nothing is said', async () => {
  const { verdict, checks } = await report(beginningEmpty(1000), apiToken)
  assert.equal(verdict, 'indeterminate')
  for (const id of ['users', 'groups'])
    assert.equal(checks.find((one) => one.id === id)?.cause?.code, 'okta_unexpected_response')
})

test('asks for groups once where the group of the organisation is shown', async () => {
  await report({}, apiToken)
  assert.equal(seen.filter((request) => request.endsWith(groups)).length, 1)
})

test('tells by how much the clocks differ', async () => {
  const expired = { [token]: oauth(401, 'invalid_client', 'The client_assertion token is expired.') }
  const behind = await report(expired, serviceApp, { ahead: -600 })
  assert.match(
    behind.checks.find(({ id }) => id === 'access')?.cause?.explanation ?? '',
    /about (?:599|600|601) s behind/,
  )
  const ahead = await report(expired, serviceApp, { ahead: 600 })
  assert.match(
    ahead.checks.find(({ id }) => id === 'access')?.cause?.explanation ?? '',
    /about (?:599|600|601) s ahead/,
  )
})

test('waits as long as Okta asks, by the clock of Okta, and never beyond an hour and a second', async () => {
  const date = 'Tue, 24 Nov 2026 06:00:00 GMT'
  const epoch = Date.parse(date) / 1000
  const waits: readonly (readonly [reset: string, seconds: number | undefined])[] = [
    [String(epoch + 42), 43],
    [String(epoch), 1],
    ['0', 1],
    ['-1', undefined],
    ['NaN', undefined],
    ['1000000000000', 3601],
    [String(Date.parse('2999-01-01') / 1000), 3601],
  ]
  for (const [reset, seconds] of waits) {
    const limited = {
      ...api(429, 'E0000047'),
      headers: {
        date,
        'x-rate-limit-limit': '600',
        'x-rate-limit-remaining': '0',
        'x-rate-limit-reset': reset,
      },
    }
    const { retry_after_seconds, verdict } = await report({ [me]: limited }, apiToken)
    assert.equal(verdict, 'indeterminate')
    assert.equal(retry_after_seconds, seconds, reset)
  }
})

test('warns of what is going to end or is too much', async () => {
  const soon = new Date(Date.now() + 5 * 86_400_000).toISOString()
  const { verdict, warnings } = await report(
    {
      'GET /api/v1/users/00u1/roles': ok([{ id: 'ra1', type: 'SUPER_ADMIN', status: 'ACTIVE' }]),
      'GET /api/v1/org': ok({ id: '00o1', status: 'ACTIVE', expiresAt: soon }),
      'GET /api/v1/api-tokens': ok([
        { id: '00T1', name: 'sync', userId: '00u1', expiresAt: soon, network: { connection: 'ANYWHERE' } },
        { id: '00T2', name: 'other', userId: '00u2', expiresAt: soon },
      ]),
      [users]: {
        ...ok([user]),
        headers: { 'x-rate-limit-limit': '600', 'x-rate-limit-remaining': '12', 'x-rate-limit-reset': '1' },
      },
    },
    apiToken,
  )
  assert.equal(verdict, 'valid')
  assert.deepEqual(warnings.map(({ code }) => code).sort(), [
    'okta_organization_ends',
    'okta_rate_limit_low',
    'okta_super_administrator',
    'okta_token_expires_soon',
    'okta_token_from_anywhere',
    'okta_token_idle_rule',
  ])
})

test('says nothing of the expiry of a token that cannot be told from its siblings', async () => {
  const soon = new Date(Date.now() + 86_400_000).toISOString()
  const sibling = { name: 'x', userId: '00u1', expiresAt: soon }
  const { warnings } = await report(
    {
      'GET /api/v1/api-tokens': ok([
        { id: '00T1', ...sibling },
        { id: '00T2', ...sibling },
      ]),
    },
    apiToken,
  )
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['okta_token_idle_rule'],
  )
})

const organizationWith = (links: object, id = '00o1') => ok({ id, _links: links })
const link = (href: string) => ({ href })

test('sends the token of a custom domain to its Okta host alone', async () => {
  const both = organizationWith({
    organization: link(`https://${host}`),
    alternate: link(`https://${customHost}`),
  })
  const { verdict, subject } = await report({ [organization]: both }, apiToken, { domain: customHost })
  assert.equal(verdict, 'valid')
  assert.equal(subject.domain, customHost)
  assert.deepEqual(
    seen.filter((request) => request.startsWith(customHost)),
    [`${customHost} ${organization}`],
  )
})

const onCustom = `${customHost} ${organization}`
const onOkta = `${host} ${organization}`
const genuine = organizationWith({
  organization: link(`https://${host}`),
  alternate: link(`https://${customHost}`),
})
const doubtful: readonly (readonly [what: string, given: Answers, cause: string])[] = [
  [
    'names a host that is not Okta’s',
    { [onCustom]: organizationWith({ organization: link('https://evil.tld') }), [onOkta]: genuine },
    'okta_custom_domain_mismatch',
  ],
  [
    'names no organisation',
    { [onCustom]: organizationWith({}), [onOkta]: genuine },
    'okta_custom_domain_undiscoverable',
  ],
  [
    'names it with a user and a port',
    { [onCustom]: organizationWith({ organization: link(`https://x@${host}:443`) }), [onOkta]: genuine },
    'okta_custom_domain_undiscoverable',
  ],
  [
    'claims the organisation of another',
    {
      [onCustom]: organizationWith({ organization: link(`https://${host}`) }),
      [onOkta]: organizationWith({
        organization: link(`https://${host}`),
        alternate: link('https://other.example'),
      }),
    },
    'okta_custom_domain_mismatch',
  ],
  [
    'claims another ID',
    { [onCustom]: organizationWith({ organization: link(`https://${host}`) }, '00o2'), [onOkta]: genuine },
    'okta_custom_domain_mismatch',
  ],
  [
    'is not named back',
    {
      [onCustom]: organizationWith({ organization: link(`https://${host}`) }),
      [onOkta]: organizationWith({ organization: link(`https://${host}`) }),
    },
    'okta_custom_domain_undiscoverable',
  ],
  ['does not answer as Okta', { [onCustom]: page }, 'okta_custom_domain_undiscoverable'],
  ['answers with a page', { [onCustom]: { status: 200, body: '<html>' } }, 'okta_unexpected_response'],
]
for (const [what, given, code] of doubtful) {
  test(`sends no token for a custom domain that ${what}`, async () => {
    const { checks, verdict } = await report(given, apiToken, { domain: customHost })
    const check = checks.find(({ id }) => id === 'custom_domain')
    assert.equal(check?.cause?.code, code)
    assert.equal(verdict, check?.status === 'failed' ? 'invalid' : 'indeterminate')
    assert.equal(
      seen.some((request) => request.includes('/api/')),
      false,
    )
  })
}

test('hides tokens that an answer repeats, in whichever form', async () => {
  const echo = (request: SeenRequest): Answer =>
    api(
      403,
      'E0000006',
      `${request.headers.authorization} and ${String(request.headers.authorization).split(' ')[1]}`,
    )
  for (const secrets of [apiToken, serviceApp]) {
    const text = JSON.stringify(await report({ [users]: echo, [devices]: echo }, secrets))
    assert.doesNotMatch(text, /canary-access-token/)
    assert.equal(text.includes(apiToken.api_token), false)
  }
})

test('a token too short to be one does not tear the words of a refusal apart', async () => {
  const { checks } = await report(
    {
      [token]: ok({ access_token: 'a', token_type: 'Bearer' }),
      [users]: oauth(403, 'access_denied', 'words'),
    },
    serviceApp,
  )
  assert.equal(checks.find(({ id }) => id === 'users')?.cause?.code, 'okta_access_denied')
})

test('asks with a fresh assertion for every try, for exactly the token URL', async () => {
  const assertions: string[] = []
  await report(
    {
      [token]: ({ body, headers }) => {
        assertions.push(new URLSearchParams(body).get('client_assertion') ?? '')
        return headers.dpop === undefined
          ? oauth(400, 'invalid_dpop_proof', 'The DPoP proof JWT header is missing.')
          : { ...oauth(400, 'use_dpop_nonce', 'words'), headers: { 'dpop-nonce': 'n1' } }
      },
    },
    serviceApp,
  )
  assert.equal(assertions.length, 4)
  const claims = assertions.map((assertion) =>
    JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString()),
  )
  assert.equal(new Set(claims.map(({ jti }) => jti)).size, 4)
  for (const { aud, iss, sub, exp, iat } of claims) {
    assert.equal(aud, `https://${host}/oauth2/v1/token`)
    assert.equal(iss, '0oa1')
    assert.equal(sub, '0oa1')
    assert.ok(exp - iat <= 3600)
  }
})
