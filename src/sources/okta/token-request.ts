/** Asks the organisation's token endpoint for access tokens, signed by a service app's key. */
import * as oauth from 'oauth4webapi'
import { fetchThrough } from '../../outbound/fetch.ts'
import type { HttpAnswer, HttpClient } from '../../outbound/http.ts'
import { bodyOf, isRecord, isText, refusalOf, unexpected } from './answers.ts'
import type { SigningKey } from './private-key.ts'

export interface ServiceApp {
  readonly clientId: string
  readonly key: SigningKey
  /** `kid` of the key at Okta, if the customer or the key named it. */
  readonly keyId: string | undefined
}

export interface AccessToken {
  readonly value: string
  /** Bound to our key: each request proves that we hold it. */
  readonly isBound: boolean
}

/** What a request to the token endpoint is called. */
export const tokenOperation = 'request an access token'

/** A client assertion lives this long, in seconds; Okta accepts up to an hour, and each is used once. */
const assertionSeconds = 300
/** Assertions and proofs are dated back by this, in seconds, as Okta refuses one from the future, however near. */
const backdatedSeconds = 5

/** Without a proof, with one, and with one that holds a nonce; one try more for a nonce that was just renewed. */
const maxTries = 4

const clientOf = (app: ServiceApp, now: () => Date): oauth.Client => ({
  client_id: app.clientId,
  [oauth.clockSkew]: Math.round((now().getTime() - Date.now()) / 1000),
})

/**
 * Proofs are made with the app's own key, as Okta's SDKs do. Their algorithm is one that Okta accepts for client
 * assertions, and these are the same.
 *
 * @see https://developer.okta.com/docs/guides/dpop/oktaresourceserver/main/
 */
export const proofsOf = (app: ServiceApp, now: () => Date) =>
  oauth.DPoP(clientOf(app, now), app.key, {
    [oauth.modifyAssertion]: (_header, payload) => {
      if (typeof payload.iat === 'number') payload.iat -= backdatedSeconds
    },
  })

export class TokenRequester {
  readonly #http: HttpClient
  readonly #server: oauth.AuthorizationServer
  readonly #client: oauth.Client
  readonly #authentication: oauth.ClientAuth
  readonly #proofs: oauth.DPoPHandle
  #isProofNeeded = false

  constructor(http: HttpClient, host: string, app: ServiceApp, now: () => Date) {
    // Only the organisation's own authorization server issues Okta's scopes.
    const tokenUrl = `https://${host}/oauth2/v1/token`
    this.#http = http
    this.#server = { issuer: `https://${host}`, token_endpoint: tokenUrl }
    this.#client = clientOf(app, now)
    this.#proofs = proofsOf(app, now)
    this.#authentication = oauth.PrivateKeyJwt(
      { key: app.key.privateKey, ...(app.keyId !== undefined && { kid: app.keyId }) },
      {
        [oauth.modifyAssertion]: (header, payload) => {
          header.alg = app.key.algorithm
          const issuedAt = Math.floor(now().getTime() / 1000) - backdatedSeconds
          // https://developer.okta.com/docs/api/openapi/okta-oauth/guides/client-auth/
          payload.aud = tokenUrl
          payload.iat = issuedAt
          payload.exp = issuedAt + assertionSeconds
          delete payload.nbf
        },
      },
    )
  }

  /** @throws SourceError `refused` with Okta's words */
  async request(wanted: readonly string[]): Promise<{ token: AccessToken; granted: ReadonlySet<string> }> {
    const asked = 'POST /oauth2/v1/token'
    let answer = await this.#ask(wanted)
    // An app that requires DPoP is told first that a proof is missing, then the nonce that has to be in it.
    for (let tries = 1; tries < maxTries && this.#isProofWanted(answer); tries++) {
      this.#isProofNeeded = true
      answer = await this.#ask(wanted)
    }

    const body = bodyOf({ answer }, tokenOperation, asked)
    if (!isRecord(body) || !isText(body.access_token)) throw unexpected(tokenOperation, asked)
    // RFC 6749 appendix A.12; anything else could not be sent back.
    if (!/^[\x21-\x7e]+$/.test(body.access_token)) throw unexpected(tokenOperation, asked)
    // RFC 6749 section 5.1 demands the type; where it is left out, the reads tell whether it is the usual one.
    const type = isText(body.token_type) ? body.token_type.toLowerCase() : (body.token_type ?? 'bearer')
    if (type !== 'bearer' && !(type === 'dpop' && this.#isProofNeeded))
      throw unexpected(tokenOperation, asked)
    const { scope } = body
    return {
      token: { value: body.access_token, isBound: type === 'dpop' },
      // RFC 6749 section 5.1: absent where all was granted.
      granted: new Set(typeof scope === 'string' ? scope.split(' ') : wanted),
    }
  }

  #isProofWanted(answer: HttpAnswer): boolean {
    return (
      refusedFor(answer, 'use_dpop_nonce') ||
      (!this.#isProofNeeded && refusedFor(answer, 'invalid_dpop_proof'))
    )
  }

  /** A client assertion is spent by each try, so each has its own. */
  async #ask(wanted: readonly string[]): Promise<HttpAnswer> {
    const heard = listenTo(this.#http)
    await oauth.clientCredentialsGrantRequest(
      this.#server,
      this.#client,
      this.#authentication,
      new URLSearchParams({ scope: wanted.join(' ') }),
      {
        [oauth.customFetch]: fetchThrough(heard.http, tokenOperation),
        ...(this.#isProofNeeded && { DPoP: this.#proofs }),
      },
    )
    return heard.answer()
  }
}

function refusedFor(answer: HttpAnswer, code: string): boolean {
  if (answer.status !== 400 && answer.status !== 401) return false
  return refusalOf({ answer }, '', '').providerCode === code
}

/** Keeps the answer that a library consumes, as it is judged here and not there. */
export function listenTo(http: HttpClient): { http: HttpClient; answer(): HttpAnswer } {
  let heard: HttpAnswer | undefined
  return {
    http: {
      async request(request) {
        heard = await http.request(request)
        return heard
      },
    },
    answer() {
      if (heard === undefined) throw new Error('the library sent no request')
      return heard
    },
  }
}
