/** How requests are authorised: with the API token itself, or with access tokens that a service app is issued. */
import * as oauth from 'oauth4webapi'
import { fetchThrough } from '../../outbound/fetch.ts'
import type { HttpClient } from '../../outbound/http.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type Challenge, type Heard, refusalOf } from './answers.ts'
import { type AccessToken, listenTo, proofsOf, type ServiceApp, TokenRequester } from './token-request.ts'

/** Sends a GET to the API, authorised; `scope` is what a service app needs for it. */
export interface Access {
  get(request: ApiRequest): Promise<Heard>
}

export interface ApiRequest {
  readonly operation: string
  readonly url: string
  readonly scope: Scope
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * What a service app asks for. The first two are what every sync needs.
 *
 * @see https://developer.okta.com/docs/api/oauth2/
 */
export const scopes = [
  'okta.users.read',
  'okta.groups.read',
  'okta.roles.read',
  'okta.devices.read',
  'okta.apps.read',
  'okta.orgs.read',
  'okta.logs.read',
] as const
/** What reading entities asks for. */
export const readingScopes = [
  'okta.users.read',
  'okta.groups.read',
  'okta.roles.read',
  'okta.devices.read',
  'okta.logs.read',
] as const satisfies readonly (typeof scopes)[number][]
/** API tokens are no concern of a service app: it never asks for the scope of their metadata. */
export type Scope = (typeof scopes)[number] | 'okta.apiTokens.read'
export const requiredScopes: readonly Scope[] = ['okta.users.read', 'okta.groups.read']

const accept = { accept: 'application/json' }

/** @see https://developer.okta.com/docs/guides/create-an-api-token/main/ */
export function tokenAccess(http: HttpClient, apiToken: string): Access {
  return {
    async get({ operation, url, headers }) {
      const sent = { ...accept, ...headers, authorization: `SSWS ${apiToken}` }
      return { answer: await http.request({ operation, method: 'GET', url, headers: sent }) }
    },
  }
}

/**
 * Asks for all `wanted` scopes with one token; where Okta refuses them together, one by one, so that what is missing has a
 * name.
 *
 * @see https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/
 * @throws SourceError when no token was issued; hint `scopes_refused` when only because no scope is granted
 */
export async function serviceAppAccess(
  http: HttpClient,
  host: string,
  app: ServiceApp,
  now: () => Date,
  wanted: readonly Scope[] = scopes,
): Promise<Access> {
  const requester = new TokenRequester(http, host, app, now)
  const tokens = new Map<Scope, AccessToken>()
  const refusals = new Map<Scope, SourceError>()
  try {
    const { token, granted } = await requester.request(wanted)
    for (const scope of wanted) if (granted.has(scope)) tokens.set(scope, token)
  } catch (thrown) {
    if (!isAboutScopes(thrown)) throw thrown
    await Promise.all(
      wanted.map(async (scope) => {
        try {
          const { token, granted } = await requester.request([scope])
          if (granted.has(scope)) tokens.set(scope, token)
        } catch (error) {
          if (!(error instanceof SourceError)) throw error
          refusals.set(scope, error)
        }
      }),
    )
    if (tokens.size === 0) throw noTokenAtAll(thrown, [...refusals.values()])
  }
  return new ServiceAppAccess(http, app, now, tokens, refusals)
}

/** A refusal that is not about scopes decides over one that is: it says nothing of what is granted. */
function noTokenAtAll(together: SourceError, single: readonly SourceError[]): SourceError {
  const other = single.find((error) => !isAboutScopes(error))
  if (other !== undefined) return other
  return new SourceError({
    code: 'refused',
    operation: together.operation,
    hints: { ...together.hints, scopes_refused: true },
    ...(together.asked !== undefined && { asked: together.asked }),
    ...(together.status !== undefined && { status: together.status }),
    ...(together.providerCode !== undefined && { providerCode: together.providerCode }),
    ...(together.providerMessage !== undefined && { providerMessage: together.providerMessage }),
  })
}

/** `consent_required`: none is granted. `invalid_scope`: one does not exist in this organisation, or is not configured. */
const isAboutScopes = (error: unknown): error is SourceError =>
  error instanceof SourceError &&
  error.code === 'refused' &&
  (error.providerCode === 'consent_required' || error.providerCode === 'invalid_scope')

class ServiceAppAccess implements Access {
  readonly #http: HttpClient
  readonly #tokens: ReadonlyMap<Scope, AccessToken>
  readonly #refusals: ReadonlyMap<Scope, SourceError>
  /** Apart from those for the token endpoint: a nonce of one is not asked for by the other. */
  readonly #proofs: oauth.DPoPHandle

  constructor(
    http: HttpClient,
    app: ServiceApp,
    now: () => Date,
    tokens: ReadonlyMap<Scope, AccessToken>,
    refusals: ReadonlyMap<Scope, SourceError>,
  ) {
    this.#http = http
    this.#proofs = proofsOf(app, now)
    this.#tokens = tokens
    this.#refusals = refusals
  }

  async get(request: ApiRequest): Promise<Heard> {
    const token = this.#tokens.get(request.scope)
    if (token === undefined) throw this.#missing(request)
    const first = await this.#ask(request, token)
    // Okta's API asks for no nonce at present; RFC 9449 section 9 lets it begin to at any time.
    return token.isBound && isNonceWanted(first) ? this.#ask(request, token) : first
  }

  async #ask({ operation, url, headers }: ApiRequest, token: AccessToken): Promise<Heard> {
    const heard = listenTo(this.#http)
    let challenge: Challenge = {}
    try {
      await oauth.protectedResourceRequest(
        token.value,
        'GET',
        new URL(url),
        new Headers({ ...accept, ...headers }),
        null,
        {
          [oauth.customFetch]: fetchThrough(heard.http, operation),
          ...(token.isBound && { DPoP: this.#proofs }),
        },
      )
    } catch (error) {
      if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
      challenge = challengeIn(error.cause)
    }
    return { answer: heard.answer(), challenge, accessToken: token.value }
  }

  #missing({ operation, scope }: ApiRequest): SourceError {
    const refusal = this.#refusals.get(scope)
    if (refusal !== undefined && !isAboutScopes(refusal)) return refusal
    return new SourceError({
      code: 'not_configured',
      operation,
      hints: { missing_scope: scope },
      ...(refusal?.status !== undefined && { status: refusal.status }),
      ...(refusal?.providerCode !== undefined && { providerCode: refusal.providerCode }),
      ...(refusal?.providerMessage !== undefined && { providerMessage: refusal.providerMessage }),
    })
  }
}

/** Said in the challenge, or as at the token endpoint in the body. */
const isNonceWanted = (heard: Heard) =>
  (heard.answer.status === 400 || heard.answer.status === 401) &&
  refusalOf(heard, '', '').providerCode === 'use_dpop_nonce'

function challengeIn(challenges: readonly oauth.WWWAuthenticateChallenge[]): Challenge {
  const {
    error,
    error_description: description,
    scope,
  } = challenges.find(({ parameters }) => parameters.error !== undefined)?.parameters ?? {}
  return {
    ...(error !== undefined && { error }),
    ...(description !== undefined && { description }),
    ...(scope !== undefined && { scope }),
  }
}
