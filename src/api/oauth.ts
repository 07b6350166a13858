/** Bearer tokens: JSON Web Tokens of the issuers that the operator configured. */
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { Agent, request } from 'undici'
import { RequestError } from './errors.ts'

/** Clocks may differ by this much, in seconds. */
const clockToleranceSeconds = 30
/** Longest wait for an issuer's keys, in milliseconds. */
const keysTimeoutMs = 5_000
/** Largest key set accepted, in bytes. */
const maxKeySetBytes = 256 * 1024

/** An authorization server whose access tokens are accepted. */
export interface TrustedIssuer {
  /** Exactly as in the token's `iss`. */
  readonly issuer: string
  /** One of these must be in the token's `aud`. */
  readonly audience: readonly string[]
  /** Asymmetric ones alone: see `tokenAlgorithms`. */
  readonly algorithms: readonly string[]
  readonly keys:
    | { readonly jwksUri: URL }
    | { readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] } }
  /** Whose requests these are: one organisation by name or id, or the one that a claim of the token names. */
  readonly organization: { readonly name: string } | { readonly claim: string }
}

/** What a token proved. */
export interface ProvenToken {
  readonly issuer: string
  readonly subject: string
  /** Name or id, as configuration or token have it. */
  readonly organization: string
  readonly scopes: ReadonlySet<string>
}

export interface TokenVerifier {
  /**
   * What the token proves; undefined when it proves nothing.
   *
   * @throws RequestError `unavailable` when the issuer's keys could not be had
   */
  verify(token: string): Promise<ProvenToken | undefined>
  close(): Promise<void>
}

export function createTokenVerifier(
  issuers: readonly TrustedIssuer[],
  options: { readonly now: () => Date; readonly onTrouble: (issuer: string, error: unknown) => void },
): TokenVerifier {
  // An agent of our own: no proxy from the environment, no redirect followed, bounded in time and size.
  const agent = new Agent({
    allowH2: false,
    connections: 2,
    connectTimeout: keysTimeoutMs,
    headersTimeout: keysTimeoutMs,
    bodyTimeout: keysTimeoutMs,
    maxResponseSize: maxKeySetBytes,
  })
  const known = new Map(
    issuers.map((issuer) => [issuer.issuer, { ...issuer, keySet: keySetOf(issuer, agent) }]),
  )

  return {
    async verify(token) {
      const issuer = known.get(claimedIssuer(token) ?? '')
      if (issuer === undefined) return undefined
      try {
        const { payload } = await jwtVerify(token, issuer.keySet, {
          issuer: issuer.issuer,
          audience: [...issuer.audience],
          algorithms: [...issuer.algorithms],
          requiredClaims: ['exp', 'sub'],
          clockTolerance: clockToleranceSeconds,
          currentDate: options.now(),
        })
        return proven(issuer, payload)
      } catch (error) {
        if (isRefusal(error)) return undefined
        options.onTrouble(issuer.issuer, error)
        throw new RequestError(
          'unavailable',
          "The token could not be checked: its issuer's keys could not be read. Try again.",
        )
      }
    },
    close: () => agent.close(),
  }
}

/** Which issuer's keys to check with; the check itself says whether the claim was true. */
function claimedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

/** Whether the token is to blame, and not the way to the issuer's keys. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof errors.JOSEError &&
    !(error instanceof errors.JWKSTimeout) &&
    !(error instanceof errors.JWKSInvalid) &&
    error.code !== errors.JOSEError.code
  )
}

function proven(issuer: TrustedIssuer, payload: JWTPayload): ProvenToken | undefined {
  const organization =
    'name' in issuer.organization ? issuer.organization.name : payload[issuer.organization.claim]
  if (typeof organization !== 'string' || organization === '' || typeof payload.sub !== 'string')
    return undefined
  return { issuer: issuer.issuer, subject: payload.sub, organization, scopes: scopesOf(payload) }
}

/**
 * `scope` is one text with blanks (RFC 9068); `scp` a list or a text (Okta, Microsoft Entra ID).
 *
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
 */
function scopesOf({ scope, scp }: JWTPayload): ReadonlySet<string> {
  const words = (claim: unknown): string[] =>
    typeof claim === 'string'
      ? claim.split(' ')
      : Array.isArray(claim)
        ? claim.filter((word) => typeof word === 'string')
        : []
  return new Set([...words(scope), ...words(scp)])
}

function keySetOf(issuer: TrustedIssuer, agent: Agent): JWTVerifyGetKey {
  if ('jwks' in issuer.keys) return createLocalJWKSet({ keys: [...issuer.keys.jwks.keys] })
  return createRemoteJWKSet(issuer.keys.jwksUri, {
    timeoutDuration: keysTimeoutMs,
    [customFetch]: async (url, { headers, method, signal }) => {
      const answer = await request(url, {
        dispatcher: agent,
        method,
        headers: Object.fromEntries(headers),
        signal,
      })
      return new Response(await answer.body.text(), { status: answer.statusCode })
    },
  })
}
