/** The organisation's token endpoint: client credentials with a signed assertion, with or without DPoP. */
import { createHash, randomBytes } from 'node:crypto'
import {
  compactVerify,
  decodeJwt,
  decodeProtectedHeader,
  type JWTPayload,
  type ProtectedHeaderParameters,
} from 'jose'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { invalidClient, refuse, tokenError } from './errors.ts'
import { knownScopes, type ServiceApp } from './principals.ts'
import { isFresh, type ProofVerifier } from './proofs.ts'

export const tokenPath = '/oauth2/v1/token'

/** @see https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/ fixed at an hour */
const tokenSeconds = 3600
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const algorithms = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512']

export interface IssuedToken {
  readonly app: ServiceApp
  readonly scopes: ReadonlySet<string>
  readonly expiresAt: number
  /** Thumbprint of the key it is bound to. */
  readonly thumbprint: string | undefined
}

export interface TokenEndpointOptions {
  readonly host: string
  readonly seed: string
  readonly apps: readonly ServiceApp[]
  readonly proofs: ProofVerifier
  /** Classic Engine has no devices: asking for their scope is refused together with all others. */
  readonly isClassic: boolean
}

/** Tokens beyond this number push the oldest out: a bench must not fill the memory. */
const maxTokens = 20_000

export class TokenEndpoint {
  readonly #options: TokenEndpointOptions
  readonly #issued = new Map<string, IssuedToken>()
  readonly #spentAssertions = new Map<string, number>()
  readonly #nonce: string

  constructor(options: TokenEndpointOptions) {
    this.#options = options
    this.#nonce = createHash('sha256').update(`nonce\0${options.seed}`).digest('base64url').slice(0, 32)
  }

  find(token: string): IssuedToken | undefined {
    return this.#issued.get(token)
  }

  async handle(request: SandboxRequest): Promise<SandboxAnswer> {
    if (request.method !== 'POST') throw refuse('E0000022')
    if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers.get('content-type') ?? ''))
      throw refuse('E0000021')
    const form = formOf(request)
    const grantType = form.get('grant_type')
    if (grantType === undefined)
      throw tokenError(400, 'invalid_request', "The token request must specify a 'grant_type'.")
    if (grantType !== 'client_credentials')
      throw tokenError(
        400,
        'unsupported_grant_type',
        'The authorization grant type is not supported by the authorization server. Configured grant types: [client_credentials].',
      )
    const app = await this.#authenticate(form, request)
    if (app.state === 'outside_zone')
      throw tokenError(
        403,
        'access_denied',
        "The request is made from outside the client's permitted network zones.",
      )
    const thumbprint = await this.#possession(app, request)
    const scopes = this.#scopesFor(app, form.get('scope') ?? '')
    return this.#issue(app, scopes, thumbprint, request.now)
  }

  async #authenticate(form: ReadonlyMap<string, string>, request: SandboxRequest): Promise<ServiceApp> {
    const assertion = form.get('client_assertion')
    if (assertion === undefined) throw this.#withoutAssertion(form, request)
    if (form.get('client_assertion_type') !== assertionType)
      throw tokenError(400, 'invalid_request', 'The client_assertion_type is invalid.')
    const { header, payload } = decoded(assertion)
    const app = this.#options.apps.find(({ clientId }) => clientId === payload.iss)
    if (app === undefined)
      throw invalidClient('The issuer claim for client_assertion is not a valid client_id.')
    if (payload.sub !== app.clientId)
      throw invalidClient('The subject claim for client_assertion is not a valid client_id.')
    if (form.has('client_id') && form.get('client_id') !== app.clientId)
      throw invalidClient("Invalid value for 'client_id' parameter.")
    // What Okta says of a deactivated app is documented nowhere: this is its word for every client it does not authenticate.
    if (app.state === 'deactivated')
      throw invalidClient(
        'Client authentication failed. Either the client or the client credentials are invalid.',
      )
    if (app.type !== 'service')
      throw invalidClient(
        "Only clients with 'application_type' of 'service' may use the client_credentials 'grant_type' with the Org Authorization Server.",
      )
    if (app.authentication !== 'private_key_jwt') throw needsPrivateKey()
    await verifySignature(assertion, header, app)
    this.#claims(payload, request)
    return app
  }

  #withoutAssertion(form: ReadonlyMap<string, string>, { headers }: SandboxRequest): Error {
    if (!headers.has('authorization') && !form.has('client_secret'))
      return invalidClient('No client credentials found.')
    return needsPrivateKey()
  }

  #claims(payload: JWTPayload, { url, now }: SandboxRequest): void {
    const seconds = Math.floor(now.getTime() / 1000)
    const audiences = [`${url.origin}${tokenPath}`, `https://${this.#options.host}${tokenPath}`]
    if (typeof payload.aud !== 'string' || !audiences.includes(payload.aud))
      throw invalidClient(
        'The audience claim for client_assertion must be the endpoint invoked for the request.',
      )
    if (typeof payload.exp !== 'number')
      throw invalidClient("The client_assertion must contain the 'exp' claim as seconds since epoch.")
    if (payload.exp <= seconds) throw invalidClient('The client_assertion token is expired.')
    if (payload.exp > seconds + 3600)
      throw invalidClient('The client_assertion token has an expiration too far into the future.')
    if (payload.iat !== undefined && payload.iat > seconds)
      throw invalidClient('The client_assertion token must be issued before the current time.')
    const jti = payload.jti
    if (jti !== undefined && !isFresh(this.#spentAssertions, `${payload.iss} ${jti}`, payload.exp, seconds))
      throw invalidClient('The client_assertion token has already been used.')
  }

  /** The assertion is spent by now, whatever becomes of the proof. */
  async #possession(app: ServiceApp, request: SandboxRequest): Promise<string | undefined> {
    if (!app.requiresDpop && !request.headers.has('dpop')) return undefined
    const reading = await this.#options.proofs.verify(request, {
      host: this.#options.host,
      nonce: this.#nonce,
    })
    if ('thumbprint' in reading) return reading.thumbprint
    const { error, description } = reading.refusal
    throw tokenError(400, error, description, error === 'use_dpop_nonce' ? { 'dpop-nonce': this.#nonce } : {})
  }

  #scopesFor(app: ServiceApp, asked: string): readonly string[] {
    const scopes = asked.split(' ').filter((scope) => scope !== '')
    if (scopes.length === 0) throw tokenError(400, 'invalid_scope', 'No scopes were requested.')
    if (scopes.includes('openid'))
      throw tokenError(400, 'invalid_scope', "Cannot request 'openid' scopes using client credentials.")
    const isKnown = (scope: string) =>
      knownScopes.has(scope) && !(this.#options.isClassic && scope === 'okta.devices.read')
    if (!scopes.every(isKnown))
      throw tokenError(
        400,
        'invalid_scope',
        'One or more scopes are not configured for the authorization server resource.',
      )
    // What is not granted is left out of the token without a word.
    const granted = scopes.filter((scope) => app.grantedScopes.includes(scope))
    if (granted.length === 0)
      throw tokenError(400, 'consent_required', 'You are not allowed any of the requested scopes.')
    return granted
  }

  #issue(
    app: ServiceApp,
    scopes: readonly string[],
    thumbprint: string | undefined,
    now: Date,
  ): SandboxAnswer {
    const accessToken = `sandbox.${randomBytes(48).toString('base64url')}`
    this.#issued.set(accessToken, {
      app,
      scopes: new Set(scopes),
      expiresAt: now.getTime() + tokenSeconds * 1000,
      thumbprint,
    })
    const [oldest] = this.#issued.size > maxTokens ? this.#issued.keys() : []
    if (oldest !== undefined) this.#issued.delete(oldest)
    return {
      status: 200,
      headers: { 'cache-control': 'no-cache, no-store', pragma: 'no-cache' },
      body: {
        token_type: thumbprint === undefined ? 'Bearer' : 'DPoP',
        expires_in: tokenSeconds,
        access_token: accessToken,
        scope: scopes.join(' '),
      },
    }
  }
}

function formOf({ body }: SandboxRequest): ReadonlyMap<string, string> {
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(body)) {
    if (form.has(name))
      throw tokenError(
        400,
        'invalid_request',
        'The request contained multiple parameters with the same name.',
      )
    form.set(name, value)
  }
  return form
}

function decoded(assertion: string): { header: ProtectedHeaderParameters; payload: JWTPayload } {
  let header: ProtectedHeaderParameters
  let payload: JWTPayload
  try {
    header = decodeProtectedHeader(assertion)
    payload = decodeJwt(assertion)
  } catch {
    throw invalidClient('The parsing of the client_assertion failed.')
  }
  if (!algorithms.includes(String(header.alg)))
    throw invalidClient('The client_assertion JWT signature algorithm is invalid.')
  return { header, payload }
}

async function verifySignature(
  assertion: string,
  { kid }: ProtectedHeaderParameters,
  { keyId, publicKey }: ServiceApp,
): Promise<void> {
  if (kid !== undefined && kid !== keyId) throw invalidClient('The client_assertion JWT kid is invalid.')
  try {
    await compactVerify(assertion, publicKey, { algorithms })
  } catch {
    throw invalidClient('The client_assertion signature is invalid.')
  }
}

const needsPrivateKey = () =>
  invalidClient(
    'Client Credentials requests to the Org Authorization Server must use the private_key_jwt token_endpoint_auth_method.',
  )
