/** Tokens: asks the tenant's sign-in service for an app-only token for Graph, and reads its refusals. */
import { createHash, randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import {
  type ClientAuth,
  ClientSecretPost,
  clientCredentialsGrantRequest,
  customFetch,
  modifyAssertion,
  PrivateKeyJwt,
} from 'oauth4webapi'
import { parseBoundedJson } from '../../outbound/bounded-json.ts'
import { fetchThrough } from '../../outbound/fetch.ts'
import type { HttpClient } from '../../outbound/http.ts'
import { retryAfterSeconds } from '../../outbound/retry-after.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { numbersIn, type Refusal, refusalOf } from './aadsts.ts'
import { type Cloud, type CloudName, cloudOfInstance } from './clouds.ts'
import { isGuid, spellingsOf } from './secrets.ts'
import type { SoundCredentials } from './sound-credentials.ts'

export interface Token {
  readonly accessToken: string
  /** Claims, read as hints only: Microsoft asks clients to treat tokens for Graph as opaque. Undefined where unreadable. */
  readonly claims: TokenClaims | undefined
  readonly issuedAt: Date
  readonly lifetimeMs: number
}

export interface TokenClaims {
  readonly tenantId: string | undefined
  readonly appName: string | undefined
  /** The application permissions. Empty for an app that was granted none: such tokens are issued all the same. */
  readonly roles: ReadonlySet<string>
}

export interface AccessTools {
  readonly http: HttpClient
  now(): Date
}

/** What Microsoft tells everybody about a tenant. */
export interface TenantDocument {
  readonly tenantId: string
  /** The cloud it says it is in, if that is one we know. */
  readonly cloud: Cloud | undefined
}

/**
 * Asks for a token by the client credentials grant.
 *
 * @param tenantCloud asked after a refusal that a wrong choice of cloud explains
 * @see https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
 */
export async function requestToken(
  { tenantId, clientId, cloud, proof }: SoundCredentials,
  { http, now }: AccessTools,
  tenantCloud: () => Promise<CloudName | undefined>,
): Promise<Token> {
  const operation = 'get token'
  const path = `/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`
  const tokenUrl = `https://${cloud.authority}${path}`
  const response = await clientCredentialsGrantRequest(
    { issuer: `https://${cloud.authority}/${tenantId}/v2.0`, token_endpoint: tokenUrl },
    { client_id: clientId },
    authenticationWith(proof, tokenUrl, now),
    { scope: `https://${cloud.graph}/.default` },
    { [customFetch]: fetchThrough(http, operation) },
  )
  const answer = {
    status: response.status,
    headers: response.headers,
    text: await response.text(),
    receivedAt: now(),
  }
  const asked = `POST ${path}`
  if (answer.status !== 200)
    throw await signInRefusal(operation, asked, answer, { tenantCloud, hidden: secretsOf(proof) })

  const body = readObject(answer.text)
  const accessToken = body?.access_token
  const isUsable =
    typeof accessToken === 'string' &&
    /^[\x21-\x7e]{1,16384}$/.test(accessToken) &&
    // RFC 6749 section 5.1 demands it; where it is left out, the reads tell whether it is the usual one.
    (body?.token_type === undefined || isBearer(body.token_type))
  if (!isUsable)
    throw new SourceError({ code: 'unexpected_response', operation, asked, status: answer.status })
  return {
    accessToken,
    claims: claimsOf(accessToken),
    issuedAt: answer.receivedAt,
    lifetimeMs: lifetimeIn(body?.expires_in),
  }
}

/** Entra's tokens live 60 to 90 minutes. @see https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes */
const usualLifetimeSeconds = 3600
const longestLifetimeSeconds = 24 * 3600

/** In ms, whatever `expires_in` says; the usual one where it says nothing sensible. */
function lifetimeIn(expiresIn: unknown): number {
  const seconds = Number(typeof expiresIn === 'string' ? expiresIn.trim() || Number.NaN : expiresIn)
  const isSensible = Number.isFinite(seconds) && seconds >= 1
  return 1000 * (isSensible ? Math.min(seconds, longestLifetimeSeconds) : usualLifetimeSeconds)
}

const isBearer = (type: unknown) => typeof type === 'string' && type.toLowerCase() === 'bearer'

/**
 * Reads a tenant's discovery document, which needs no credentials. `name` is the tenant's ID or one of its domains.
 *
 * @see https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#fetch-the-openid-configuration-document
 */
export async function readTenantDocument(
  name: string,
  cloud: Cloud,
  http: HttpClient,
): Promise<TenantDocument> {
  const operation = 'look up tenant'
  const path = `/${encodeURIComponent(name)}/v2.0/.well-known/openid-configuration`
  const answer = await http.request({
    operation,
    method: 'GET',
    url: `https://${cloud.authority}${path}`,
    headers: { accept: 'application/json' },
  })
  const asked = `GET ${path}`
  if (answer.status !== 200) throw await signInRefusal(operation, asked, answer)
  const body = readObject(answer.text)
  const tenantId = typeof body?.issuer === 'string' ? guidIn(body.issuer) : undefined
  if (tenantId === undefined)
    throw new SourceError({ code: 'unexpected_response', operation, asked, status: answer.status })
  return { tenantId, cloud: cloudOfInstance(body?.cloud_instance_name, body?.tenant_region_sub_scope) }
}

/** How each kind of credentials authenticates at the token endpoint. */
function authenticationWith(proof: SoundCredentials['proof'], tokenUrl: string, now: () => Date): ClientAuth {
  switch (proof.kind) {
    case 'client_secret':
      return ClientSecretPost(proof.clientSecret)
    case 'certificate':
      return PrivateKeyJwt(
        proof.privateKey.toCryptoKey({ name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign']),
        {
          // @see https://learn.microsoft.com/entra/identity-platform/certificate-credentials#assertion-format
          [modifyAssertion]: (header, payload) => {
            header.typ = 'JWT'
            header['x5t#S256'] = createHash('sha256').update(proof.certificate.raw).digest('base64url')
            const issuedAt = Math.floor(now().getTime() / 1000) - assertionLeewaySeconds
            payload.aud = tokenUrl
            payload.jti = randomUUID()
            payload.iat = issuedAt
            payload.nbf = issuedAt
            payload.exp = issuedAt + assertionLifetimeSeconds
          },
        },
      )
    case 'federated_token':
      return (_server, client, body) => {
        body.set('client_id', client.client_id)
        body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
        body.set('client_assertion', proof.federatedToken)
      }
  }
}

function secretsOf(proof: SoundCredentials['proof']): readonly string[] {
  switch (proof.kind) {
    case 'client_secret':
      return spellingsOf(proof.clientSecret)
    case 'federated_token':
      return [proof.federatedToken]
    case 'certificate':
      return []
  }
}

/** Microsoft wants an assertion to expire 5 to 10 minutes after it becomes valid. */
const assertionLifetimeSeconds = 600
/** How far back assertions are dated, so that a clock that is a little ahead does no harm. */
const assertionLeewaySeconds = 120

interface Refused {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly receivedAt: Date
}

interface RefusalContext {
  readonly tenantCloud?: () => Promise<CloudName | undefined>
  /** What was sent and must not come back, not even a part of it. */
  readonly hidden?: readonly string[]
}

/** Refusals that a wrong choice of cloud explains. */
const mayMeanOtherCloud: ReadonlySet<Refusal> = new Set([
  'tenant_not_found',
  'other_cloud',
  'assertion_audience',
  'graph_not_in_tenant',
])

/** The sign-in service's refusal: `{error, error_description, error_codes, correlation_id}`. */
async function signInRefusal(
  operation: string,
  asked: string,
  { status, headers, text, receivedAt }: Refused,
  { tenantCloud, hidden = [] }: RefusalContext = {},
): Promise<SourceError> {
  const body = readObject(text)
  // Throttling and outages may come as plain text; any other answer without JSON is not the service's own.
  if (body === undefined && status !== 429 && status < 500)
    return new SourceError({ code: 'unexpected_response', operation, asked, status })

  const numbers = numbersIn(body?.error_codes, body?.error_description)
  const aadsts = numbers.find((number) => refusalOf(number) !== undefined) ?? numbers[0]
  const refusal = aadsts === undefined ? undefined : refusalOf(aadsts)
  const isAboutCloud = refusal !== undefined && mayMeanOtherCloud.has(refusal)
  const rightCloud = isAboutCloud ? await tenantCloud?.() : undefined
  const error = typeof body?.error === 'string' ? body.error : undefined
  const skewMinutes = minutesAhead(headers, receivedAt)
  const wait = retryAfterSeconds(headers, receivedAt)
  const providerCode = aadsts === undefined ? error : `AADSTS${aadsts}`
  const providerMessage = body === undefined ? undefined : wordsOf(body, hidden)
  return new SourceError({
    code: 'refused',
    operation,
    asked,
    status,
    ...(providerCode !== undefined && { providerCode }),
    ...(providerMessage !== undefined && { providerMessage }),
    ...(wait !== undefined && { retryAfterSeconds: wait }),
    hints: {
      service: 'sign_in',
      ...(error !== undefined && { error }),
      ...(aadsts !== undefined && { aadsts }),
      ...(skewMinutes !== undefined && { skewMinutes }),
      ...(rightCloud !== undefined && { tenantCloud: rightCloud }),
    },
  })
}

/** Longest part of a description that is kept, so that the correlation ID behind it is not cut off. */
const longestDescription = 220

/** The description without its trailer of IDs, and the correlation ID, by which Microsoft's support finds the request. */
function wordsOf(body: Readonly<Record<string, unknown>>, hidden: readonly string[]): string | undefined {
  const { error_description: description, correlation_id: correlation } = body
  const sentence = typeof description === 'string' ? (description.split(/\s+Trace ID:/)[0] ?? '') : ''
  // Hidden before the cut, which could leave a part of a secret that nobody recognises any more.
  const clean = hidden.reduce((left, secret) => left.replaceAll(secret, '[redacted]'), sentence)
  const told = clean.replace(/^\s*AADSTS\d+:\s*/, '').slice(0, longestDescription)
  const trail = typeof correlation === 'string' && isGuid(correlation) ? `Correlation ID: ${correlation}` : ''
  const words = [told, trail].filter((part) => part !== '').join(' ')
  return words === '' ? undefined : words
}

/** How far the service's clock is ahead of ours, in whole minutes. */
function minutesAhead(headers: Headers, receivedAt: Date): number | undefined {
  const time = Date.parse(headers.get('date') ?? '')
  return Number.isFinite(time) ? Math.round((time - receivedAt.getTime()) / 60_000) : undefined
}

export function readObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseBoundedJson(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const guidIn = (text: string) =>
  /(?<![0-9a-f-])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f-])/i.exec(text)?.[0]?.toLowerCase()

/** Most permissions that one token plausibly carries. */
const mostRoles = 1_000

function claimsOf(accessToken: string): TokenClaims | undefined {
  try {
    const { tid, app_displayname: appName, roles } = decodeJwt(accessToken)
    return {
      tenantId: typeof tid === 'string' && isGuid(tid) ? tid.toLowerCase() : undefined,
      appName: typeof appName === 'string' ? appName : undefined,
      roles: new Set(
        Array.isArray(roles)
          ? roles
              .slice(0, mostRoles)
              .filter((role) => typeof role === 'string' && /^[\w.-]{1,100}$/.test(role))
          : [],
      ),
    }
  } catch {
    return undefined
  }
}
