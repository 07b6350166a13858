/** The sign-in service of the Entra sandbox: discovery documents and the client credentials grant. */
import {
  createHash,
  createPublicKey,
  type KeyObject,
  randomUUID,
  timingSafeEqual,
  type X509Certificate,
} from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, errors, exportJWK, jwtVerify, SignJWT } from 'jose'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { type App, type CloudName, clouds, type Tenant } from './tenants.ts'

/** Microsoft Graph's own client ID, in every cloud. */
export const graphAppId = '00000003-0000-0000-c000-000000000000'

/** Lifetime of access tokens, in seconds, as in Microsoft's samples. */
const tokenSeconds = 3599
/** How far an assertion's times may be off, in seconds. */
const toleranceSeconds = 300

const noStore = { 'cache-control': 'no-store, no-cache', pragma: 'no-cache' }

export interface SignIn {
  /** @param authority canonical name of the authority that was asked */
  handle(request: SandboxRequest, authority: string): Promise<SandboxAnswer>
}

export function createSignIn(tenants: readonly Tenant[], signingKey: KeyObject): SignIn {
  const publicKey = createPublicKey(signingKey)
  const kid = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url')

  const find = (name: string) =>
    tenants.find(({ id, domains }) => id === name.toLowerCase() || domains.includes(name.toLowerCase()))

  async function discover(request: SandboxRequest, authority: string, name: string): Promise<SandboxAnswer> {
    if (request.method !== 'GET') return wrongMethod(request, 'GET')
    if (!isTenantName(name)) return malformedTenant(request, name)
    const tenant = find(name)
    if (tenant === undefined || !isSeenFrom(authority, tenant.cloud))
      return unknownTenant(request, name, 'invalid_tenant')
    return {
      status: 200,
      headers: { 'cache-control': 'max-age=86400, private' },
      body: document(tenant, request.url),
    }
  }

  async function keySet(): Promise<SandboxAnswer> {
    return {
      status: 200,
      body: { keys: [{ ...(await exportJWK(publicKey)), kid, use: 'sig', alg: 'RS256' }] },
    }
  }

  async function token(request: SandboxRequest, authority: string, name: string): Promise<SandboxAnswer> {
    const refuse = refusal(request)
    if (request.method !== 'POST') return wrongMethod(request, 'POST')
    const isForm = /^application\/x-www-form-urlencoded\b/i.test(request.headers.get('content-type') ?? '')
    const form = new URLSearchParams(isForm ? request.body : '')
    const grant = form.get('grant_type')
    if (grant === null || grant === '') return missing(request, 'grant_type')
    if (grant !== 'client_credentials')
      return refuse(
        400,
        'unsupported_grant_type',
        70003,
        "The app requested an unsupported grant type '[removed]'.",
      )
    const clientId = form.get('client_id')?.toLowerCase() ?? ''
    if (clientId === '') return missing(request, 'client_id')
    if (/^(?:common|organizations|consumers)$/i.test(name))
      return refuse(
        400,
        'invalid_request',
        9001023,
        'The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.',
      )
    if (!isTenantName(name)) return malformedTenant(request, name)
    const tenant = find(name)
    if (tenant === undefined || !isSeenFrom(authority, tenant.cloud))
      return unknownTenant(request, name, 'invalid_request')
    const secret = form.get('client_secret')
    const assertion = form.get('client_assertion')
    if (clouds[tenant.cloud].authority !== authority)
      return assertion === null
        ? refuse(
            400,
            'invalid_request',
            900382,
            'Confidential Client is not supported in Cross Cloud request.',
          )
        : refuse(
            401,
            'invalid_client',
            700023,
            'Client assertion audience claim does not match Realm issuer.',
          )
    const app = tenant.apps.find((candidate) => candidate.clientId === clientId)
    if (app === undefined)
      return refuse(
        400,
        'unauthorized_client',
        700016,
        `Application with identifier '${clientId}' was not found in the directory '${tenant.name}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.`,
      )
    const scope = form.get('scope')
    if (scope === null || scope === '') return missing(request, 'scope')
    if (!scope.endsWith('/.default'))
      return refuse(
        400,
        'invalid_scope',
        1002012,
        `The provided value for scope ${scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).`,
      )
    const resource = scope.slice(0, -'/.default'.length)
    const graph = `https://${clouds[tenant.cloud].graph}`
    if (resource !== graph && resource !== graphAppId)
      return refuse(
        400,
        'invalid_resource',
        500011,
        `The resource principal named ${resource} was not found in the tenant named ${tenant.name}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.`,
      )
    if (app.fault === 'no token')
      return refuse(
        400,
        'unauthorized_client',
        7000112,
        `Application '${clientId}'(${app.name}) is disabled.`,
      )

    const denied =
      secret !== null
        ? checkSecret(request, app, secret)
        : assertion === null
          ? refuse(
              401,
              'invalid_client',
              7000218,
              "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )
          : form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
            ? missing(request, 'client_assertion_type')
            : await checkAssertion(request, app, tenant, assertion)
    if (denied !== undefined) return denied
    return {
      status: 200,
      headers: noStore,
      body: {
        token_type: 'Bearer',
        expires_in: tokenSeconds,
        ext_expires_in: tokenSeconds,
        access_token: await issue(request.now, tenant, app, resource),
      },
    }
  }

  async function issue(now: Date, tenant: Tenant, app: App, audience: string): Promise<string> {
    const at = Math.floor(now.getTime() / 1000)
    return new SignJWT({
      app_displayname: app.name,
      appid: app.clientId,
      appidacr: app.passwords.length > 0 ? '1' : '2',
      idp: `https://sts.windows.net/${tenant.id}/`,
      idtyp: 'app',
      oid: app.servicePrincipalId,
      // Left out altogether when nothing was consented to.
      ...(app.permissions.length > 0 && { roles: app.permissions }),
      tid: tenant.id,
      uti: randomUUID(),
      ver: '1.0',
    })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
      .setIssuer(`https://sts.windows.net/${tenant.id}/`)
      .setSubject(app.servicePrincipalId)
      .setAudience(audience)
      .setIssuedAt(at)
      .setNotBefore(at)
      .setExpirationTime(at + tokenSeconds)
      .sign(signingKey)
  }

  return {
    async handle(request, authority) {
      const path = request.url.pathname
      if (path === '/common/discovery/instance') return instances(request)
      const [, name = '', rest = ''] = /^\/([^/]+)\/(.+)$/.exec(path) ?? []
      const tenant = decoded(name)
      switch (rest) {
        case 'v2.0/.well-known/openid-configuration':
        case '.well-known/openid-configuration':
          return discover(request, authority, tenant)
        case 'discovery/v2.0/keys':
        case 'discovery/keys':
          return keySet()
        case 'oauth2/v2.0/token':
          return token(request, authority, tenant)
        default:
          return { status: 404, headers: { 'content-type': 'text/html; charset=utf-8' }, body: '' }
      }
    },
  }
}

/** The authorities that stand for each other, as MSAL asks before it trusts one. */
function instances(request: SandboxRequest): SandboxAnswer {
  const endpoint = request.url.searchParams.get('authorization_endpoint') ?? ''
  const host = URL.canParse(endpoint) ? new URL(endpoint).host : ''
  const tenant = URL.canParse(endpoint) ? new URL(endpoint).pathname.split('/')[1] : 'common'
  return {
    status: 200,
    body: {
      tenant_discovery_endpoint: `https://${host}/${tenant}/v2.0/.well-known/openid-configuration`,
      'api-version': '1.1',
      metadata: [...new Set(Object.values(clouds).map(({ authority }) => authority))].map((authority) => ({
        preferred_network: authority,
        preferred_cache: authority,
        aliases: [authority],
      })),
    },
  }
}

/**
 * Whether an authority has heard of tenants of a cloud. The global and the US Government one know each other's tenants
 * and say where they are; China's knows, and is known to, nobody.
 */
const isSeenFrom = (authority: string, cloud: CloudName) =>
  (authority === clouds.china.authority) === (cloud === 'china')

const regions: Readonly<Record<CloudName, Readonly<Record<string, string>>>> = {
  global: { tenant_region_scope: 'NA' },
  'us-gov': { tenant_region_scope: 'USGov', tenant_region_sub_scope: 'DODCON' },
  'us-gov-dod': { tenant_region_scope: 'USGov', tenant_region_sub_scope: 'DOD' },
  china: { tenant_region_scope: 'AS' },
}

function document(tenant: Tenant, asked: URL): Readonly<Record<string, unknown>> {
  const { authority, graph, instance } = clouds[tenant.cloud]
  // A client that was pointed at this machine by address goes on there: it could not reach the names.
  const isAskedByName = Object.values(clouds).some((cloud) => cloud.authority === asked.hostname)
  const base = `${isAskedByName ? `https://${authority}` : asked.origin}/${tenant.id}`
  return {
    token_endpoint: `${base}/oauth2/v2.0/token`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
    jwks_uri: `${base}/discovery/v2.0/keys`,
    response_modes_supported: ['query', 'fragment', 'form_post'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    response_types_supported: ['code', 'id_token', 'code id_token', 'id_token token'],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    issuer: `${base}/v2.0`,
    request_uri_parameter_supported: false,
    userinfo_endpoint: `https://${graph}/oidc/userinfo`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
    http_logout_supported: true,
    frontchannel_logout_supported: true,
    end_session_endpoint: `${base}/oauth2/v2.0/logout`,
    claims_supported: ['sub', 'iss', 'aud', 'exp', 'iat', 'tid', 'ver'],
    ...regions[tenant.cloud],
    cloud_instance_name: instance,
    cloud_graph_host_name: 'graph.windows.net',
    msgraph_host: graph,
  }
}

function checkSecret(request: SandboxRequest, app: App, secret: string): SandboxAnswer | undefined {
  const refuse = refusal(request)
  const found = app.passwords.find(({ value }) => isSame(value, secret))
  if (found === undefined)
    return refuse(
      401,
      'invalid_client',
      7000215,
      `Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '${app.clientId}'.`,
    )
  if (found.endAt <= request.now)
    return refuse(
      401,
      'invalid_client',
      7000222,
      `The provided client secret keys for app '${app.clientId}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.`,
    )
  return undefined
}

function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

async function checkAssertion(
  request: SandboxRequest,
  app: App,
  tenant: Tenant,
  assertion: string,
): Promise<SandboxAnswer | undefined> {
  const refuse = refusal(request)
  let claims: ReturnType<typeof decodeJwt>
  let header: ReturnType<typeof decodeProtectedHeader>
  try {
    claims = decodeJwt(assertion)
    header = decodeProtectedHeader(assertion)
  } catch {
    return refuse(401, 'invalid_client', 50027, 'JWT token is invalid or malformed.')
  }
  if (claims.iss !== app.clientId) return checkFederated(request, app, assertion, claims)

  if (claims.sub !== app.clientId)
    return refuse(401, 'invalid_client', 50048, 'Subject must match Issuer claim in the client assertion.')
  const thumbprint = header['x5t#S256'] ?? header.x5t
  const certificate = app.certificates.find((candidate) => thumbprintsOf(candidate).has(String(thumbprint)))
  if (certificate === undefined)
    return refuse(
      401,
      'invalid_client',
      700027,
      `The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '${app.clientId}'.]`,
    )
  const authority = `https://${clouds[tenant.cloud].authority}`
  const result = await verify(assertion, certificate.publicKey, request.now, {
    algorithms: ['PS256', 'RS256'],
    // Both spellings of the tenant, the issuer and the token endpoint are accepted, and the address that was used.
    audience: [
      request.url.href,
      ...[tenant.id, ...tenant.domains].flatMap((name) => [
        `${authority}/${name}/oauth2/v2.0/token`,
        `${authority}/${name}/v2.0`,
      ]),
    ],
    requiredClaims: ['exp', 'jti'],
  })
  switch (result) {
    case 'valid':
      return undefined
    case 'time':
      return outOfTime(request, claims)
    case 'audience':
      return refuse(
        401,
        'invalid_client',
        700023,
        'Client assertion audience claim does not match Realm issuer.',
      )
    case 'other':
      return refuse(
        401,
        'invalid_client',
        700027,
        `Client assertion failed signature validation. [Reason - Key was found, but use of the key to verify the signature failed., Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '${app.clientId}'.]`,
      )
  }
}

async function checkFederated(
  request: SandboxRequest,
  app: App,
  assertion: string,
  claims: ReturnType<typeof decodeJwt>,
): Promise<SandboxAnswer | undefined> {
  const refuse = refusal(request)
  const advice =
    'Check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation'
  const noMatch = (number: number, what: string, value: unknown) =>
    refuse(
      401,
      'invalid_client',
      number,
      `No matching federated identity record found for presented assertion ${what} '${String(value)}'. ${advice}`,
    )
  const byIssuer = app.federated.filter(({ issuer }) => issuer === claims.iss)
  if (byIssuer.length === 0) return noMatch(700211, 'issuer', claims.iss)
  const bySubject = byIssuer.filter(({ subject }) => subject === claims.sub)
  if (bySubject.length === 0) return noMatch(700213, 'subject', claims.sub)
  const audiences = [claims.aud ?? []].flat()
  const match = bySubject.find(({ audience }) => audiences.includes(audience))
  if (match === undefined) return noMatch(700212, 'audience', audiences.join())
  const result = await verify(assertion, match.publicKey, request.now, {
    algorithms: ['RS256'],
    requiredClaims: ['exp'],
  })
  if (result === 'valid') return undefined
  if (result === 'time') return outOfTime(request, claims)
  return refuse(
    401,
    'invalid_client',
    50027,
    'JWT token is invalid or malformed. External ID token from issuer failed signature verification.',
  )
}

function outOfTime(
  request: SandboxRequest,
  { nbf = 0, exp = 0 }: { nbf?: number; exp?: number },
): SandboxAnswer {
  const written = (seconds: number) => new Date(seconds * 1000).toISOString().replace('Z', '0000Z')
  return refusal(request)(
    401,
    'invalid_client',
    700024,
    `Client assertion is not within its valid time range. Current time: ${request.now.toISOString()}, assertion valid from ${written(nbf)}, expiry time of assertion ${written(exp)}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .`,
  )
}

async function verify(
  assertion: string,
  key: KeyObject,
  now: Date,
  options: { algorithms: string[]; audience?: string[]; requiredClaims: string[] },
): Promise<'valid' | 'time' | 'audience' | 'other'> {
  try {
    await jwtVerify(assertion, key, { ...options, currentDate: now, clockTolerance: toleranceSeconds })
    return 'valid'
  } catch (error) {
    if (error instanceof errors.JWTExpired) return 'time'
    if (error instanceof errors.JWTClaimValidationFailed) {
      if (error.claim === 'aud') return 'audience'
      if (error.claim === 'nbf' || error.claim === 'exp') return 'time'
    }
    return 'other'
  }
}

const thumbprintsOf = ({ raw }: X509Certificate) =>
  new Set([
    createHash('sha256').update(raw).digest('base64url'),
    createHash('sha1').update(raw).digest('base64url'),
  ])

/**
 * Refusals in the form of the sign-in service.
 *
 * @see https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */
function refusal(request: SandboxRequest) {
  return (status: number, error: string, number: number, text: string): SandboxAnswer => {
    const timestamp = `${request.now.toISOString().slice(0, 19).replace('T', ' ')}Z`
    const trace = randomUUID()
    const asked = request.headers.get('client-request-id') ?? ''
    const correlation = /^[0-9a-f-]{36}$/i.test(asked) ? asked : randomUUID()
    return {
      status,
      headers: { ...noStore, 'x-ms-request-id': trace, 'client-request-id': correlation },
      body: {
        error,
        error_description: `AADSTS${number}: ${text} Trace ID: ${trace} Correlation ID: ${correlation} Timestamp: ${timestamp}`,
        error_codes: [number],
        timestamp,
        trace_id: trace,
        correlation_id: correlation,
        error_uri: `https://login.microsoftonline.com/error?code=${number}`,
      },
    }
  }
}

const missing = (request: SandboxRequest, name: string) =>
  refusal(request)(
    400,
    'invalid_request',
    900144,
    `The request body must contain the following parameter: '${name}'.`,
  )

const wrongMethod = (request: SandboxRequest, method: string) =>
  refusal(request)(
    400,
    'invalid_request',
    900561,
    `The endpoint only accepts ${method} requests. Received a ${request.method} request.`,
  )

const unknownTenant = (request: SandboxRequest, name: string, error: string) =>
  refusal(request)(
    400,
    error,
    90002,
    `Tenant '${name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.`,
  )

const malformedTenant = (request: SandboxRequest, name: string) =>
  refusal(request)(
    400,
    'invalid_request',
    900023,
    `Specified tenant identifier '${name}' is neither a valid DNS name, nor a valid external domain.`,
  )

const isTenantName = (name: string) =>
  /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(name) ||
  /^(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*$/i.test(name)

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
