/** Verifies proofs of possession, for the token endpoint and for the API. */
import { createHash } from 'node:crypto'
import {
  calculateJwkThumbprint,
  compactVerify,
  decodeJwt,
  decodeProtectedHeader,
  EmbeddedJWK,
  type JWTPayload,
} from 'jose'
import type { SandboxRequest } from '../provider.ts'

/** Why a proof is refused, in Okta's words. */
export interface ProofRefusal {
  readonly error: 'invalid_dpop_proof' | 'use_dpop_nonce'
  readonly description: string
}

export type ProofReading = { readonly thumbprint: string } | { readonly refusal: ProofRefusal }

/** @see https://developer.okta.com/docs/guides/dpop/oktaresourceserver/main/ a proof is refused after five minutes */
const maxAgeSeconds = 300
const algorithms = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512']

export interface ProofExpectations {
  /** The host of the organisation: a proof may name it in place of the address under which the sandbox was reached. */
  readonly host: string
  /** The access token that is presented with the proof. */
  readonly accessToken?: string
  /** The nonce that has to be in the proof. */
  readonly nonce?: string
}

export class ProofVerifier {
  readonly #used = new Map<string, number>()

  async verify(request: SandboxRequest, expected: ProofExpectations): Promise<ProofReading> {
    const proof = request.headers.get('dpop')
    if (proof === null) return refused('The DPoP proof JWT header is missing.')
    // The Headers class joins repeated fields with a comma, which no JWT holds.
    if (proof.includes(',')) return refused('Multiple DPoP proof JWT headers are not allowed.')
    let payload: JWTPayload
    let thumbprint: string
    try {
      const header = decodeProtectedHeader(proof)
      if (header.typ !== 'dpop+jwt') return refused("'typ' must be 'dpop+jwt' in the DPoP proof JWT.")
      if (!algorithms.includes(String(header.alg)))
        return refused('The DPoP proof JWT signature algorithm is invalid.')
      if (header.jwk === undefined || 'd' in header.jwk) return refused('The DPoP proof JWT is invalid.')
      thumbprint = await calculateJwkThumbprint(header.jwk)
    } catch {
      return refused('The DPoP proof JWT cannot be parsed.')
    }
    try {
      await compactVerify(proof, EmbeddedJWK, { algorithms })
      payload = decodeJwt(proof)
    } catch {
      return refused('The DPoP proof JWT signature is invalid.')
    }
    return this.#claims(payload, thumbprint, request, expected)
  }

  #claims(
    payload: JWTPayload,
    thumbprint: string,
    { method, url, now }: SandboxRequest,
    { host, accessToken, nonce }: ProofExpectations,
  ): ProofReading {
    const seconds = Math.floor(now.getTime() / 1000)
    if (payload.htm !== method) return refused("'htm' claim in the DPoP proof JWT is invalid.")
    if (payload.htu !== `${url.origin}${url.pathname}` && payload.htu !== `https://${host}${url.pathname}`)
      return refused("'htu' claim in the DPoP proof JWT is invalid.")
    const { iat, jti } = payload
    if (typeof iat !== 'number') return refused("'iat' claim in the DPoP proof JWT is invalid.")
    if (iat > seconds) return refused('The DPoP proof JWT is issued in the future.')
    if (iat < seconds - maxAgeSeconds)
      return refused('The DPoP proof JWT is issued more than five minutes in the past.')
    if (accessToken !== undefined && payload.ath !== hashOf(accessToken))
      return refused("'ath' claim in the DPoP proof does not match the presented access_token.")
    if (nonce !== undefined && payload.nonce !== nonce)
      return {
        refusal: {
          error: 'use_dpop_nonce',
          description: 'Authorization server requires nonce in DPoP proof.',
        },
      }
    if (typeof jti !== 'string' || jti === '') return refused("'jti' claim in the DPoP proof JWT is invalid.")
    if (!isFresh(this.#used, `${thumbprint} ${jti}`, seconds + maxAgeSeconds, seconds))
      return refused('The DPoP proof JWT has already been used.')
    return { thumbprint }
  }
}

/** Notes that `key` is spent until `until`; false when it was before. What has ended is forgotten. */
export function isFresh(used: Map<string, number>, key: string, until: number, now: number): boolean {
  for (const [old, end] of used) {
    if (end >= now) break
    used.delete(old)
  }
  if (used.has(key)) return false
  used.set(key, until)
  return true
}

const hashOf = (accessToken: string) => createHash('sha256').update(accessToken).digest('base64url')

const refused = (description: string): ProofReading => ({
  refusal: { error: 'invalid_dpop_proof', description },
})
