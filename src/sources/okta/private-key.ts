/** Reads the private key of a service app: PEM in any of its usual forms, or a JSON Web Key. */
import {
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  type webcrypto,
} from 'node:crypto'
import { rsaNumbersOf } from '../rsa-key.ts'

/**
 * Signature algorithms that Okta verifies client assertions with.
 *
 * @see https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/#create-and-sign-the-jwt
 */
export type SigningAlgorithm = 'RS256' | 'RS384' | 'RS512' | 'ES256' | 'ES384' | 'ES512'

export interface SigningKey {
  readonly privateKey: webcrypto.CryptoKey
  readonly publicKey: webcrypto.CryptoKey
  readonly algorithm: SigningAlgorithm
  /** `kid` of a JSON Web Key. */
  readonly keyId: string | undefined
}

export type KeyReading =
  | { readonly ok: true; readonly key: SigningKey }
  | { readonly ok: false; readonly problem: KeyProblem; readonly detail?: string }

export type KeyProblem = 'unreadable' | 'public' | 'encrypted' | 'unsupported'

/** Text longer than this is no key: a PEM of 8192 bits has 6,500 characters. */
const maxKeyLength = 16_384

/** RFC 7518 section 3.3 asks for 2048 bits at least; beyond 8192 a signature takes longer than a validation may. */
const rsaBits = { least: 2048, most: 8192 }

const curves: Readonly<
  Record<string, { readonly algorithm: SigningAlgorithm; readonly namedCurve: string }>
> = {
  prime256v1: { algorithm: 'ES256', namedCurve: 'P-256' },
  secp384r1: { algorithm: 'ES384', namedCurve: 'P-384' },
  secp521r1: { algorithm: 'ES512', namedCurve: 'P-521' },
}

/** Reads the key, and sees whether its parts belong together, as they need not. */
export async function readPrivateKey(given: string | Readonly<Record<string, unknown>>): Promise<KeyReading> {
  const reading = parsePrivateKey(given)
  // The numbers of an RSA key were compared already.
  if (!reading.ok || reading.key.algorithm.startsWith('RS') || (await canSign(reading.key))) return reading
  return falseParts
}

const falseParts: KeyReading = {
  ok: false,
  problem: 'unreadable',
  detail: 'its parts do not belong together',
}

async function canSign({ privateKey, publicKey, algorithm }: SigningKey): Promise<boolean> {
  const parameters = { name: privateKey.algorithm.name, hash: `SHA-${algorithm.slice(2)}` }
  const probe = Buffer.from('Credence')
  try {
    const signature = await crypto.subtle.sign(parameters, privateKey, probe)
    return await crypto.subtle.verify(parameters, publicKey, signature, probe)
  } catch {
    return false
  }
}

function parsePrivateKey(given: string | Readonly<Record<string, unknown>>): KeyReading {
  if (typeof given !== 'string') return readJwk(given)
  if (given.length > maxKeyLength) return problem('unreadable', 'it is longer than any key')
  if (given.trimStart().startsWith('{')) {
    const jwk = parseObject(given)
    return jwk === undefined ? problem('unreadable', 'it begins like JSON and is none') : readJwk(jwk)
  }
  return readPem(given)
}

function readPem(text: string): KeyReading {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: *4, *ENCRYPTED/.test(text))
    return problem('encrypted')
  if (/-----BEGIN OPENSSH PRIVATE KEY-----/.test(text))
    return problem('unsupported', 'it is in the OpenSSH format (convert it with ssh-keygen -p -m pkcs8)')
  const block = /-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----([\s\S]+?)-----END \1-----/.exec(text)
  if (block === null)
    return /-----BEGIN (?:(?:RSA )?PUBLIC KEY|CERTIFICATE)-----/.test(text)
      ? problem('public')
      : problem(
          'unreadable',
          'it has no block that begins with "-----BEGIN PRIVATE KEY-----" and ends accordingly',
        )
  const [, label = '', body = ''] = block
  // Line breaks are often lost on the way, or arrive as the two characters of an escape.
  const base64 = body.replace(/\\[rn]|\s/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return problem('unreadable', 'its block is not base64')
  const der = Buffer.from(base64, 'base64')
  const types = { 'PRIVATE KEY': 'pkcs8', 'RSA PRIVATE KEY': 'pkcs1', 'EC PRIVATE KEY': 'sec1' } as const
  try {
    return signingKey(
      createPrivateKey({ key: der, format: 'der', type: types[label as keyof typeof types] }),
      undefined,
      undefined,
    )
  } catch {
    // The library's error may quote its input.
    return problem('unreadable', 'its content is damaged')
  }
}

function readJwk(jwk: Readonly<Record<string, unknown>>): KeyReading {
  if (Array.isArray(jwk.keys))
    return problem('unsupported', 'it is a set of keys (paste the one private key in it)')
  if (jwk.kty !== 'RSA' && jwk.kty !== 'EC') return problem('unsupported', 'its kty is neither RSA nor EC')
  if (jwk.d === undefined) return problem('public')
  if (jwk.use !== undefined && jwk.use !== 'sig') return problem('unsupported', 'its use is not sig')
  const { kid, alg } = jwk
  try {
    return signingKey(
      createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' }),
      typeof alg === 'string' ? alg : undefined,
      typeof kid === 'string' && kid !== '' ? kid : undefined,
    )
  } catch {
    return problem('unreadable', 'members of the JSON Web Key are missing or damaged')
  }
}

/** The key for use, provided that Okta verifies what it signs; `wished` is the `alg` of a JSON Web Key. */
function signingKey(key: KeyObject, wished: string | undefined, keyId: string | undefined): KeyReading {
  if (key.asymmetricKeyType === 'rsa') {
    const { bits, isConsistent } = rsaNumbersOf(key)
    if (bits < rsaBits.least || bits > rsaBits.most)
      return problem(
        'unsupported',
        `it is an RSA key of ${bits} bits, and ${rsaBits.least} to ${rsaBits.most} are needed`,
      )
    const [, size] = /^RS(256|384|512)$/.exec(wished ?? 'RS256') ?? []
    if (size === undefined) return problem('unsupported', 'its alg is none that Okta verifies for an RSA key')
    if (!isConsistent()) return falseParts
    const parameters = { name: 'RSASSA-PKCS1-v1_5', hash: `SHA-${size}` }
    return usable(key, parameters, `RS${size}` as SigningAlgorithm, keyId)
  }
  if (key.asymmetricKeyType === 'ec') {
    const curve = curves[key.asymmetricKeyDetails?.namedCurve ?? '']
    if (curve === undefined) return problem('unsupported', 'its curve is none of P-256, P-384 and P-521')
    if (wished !== undefined && wished !== curve.algorithm)
      return problem('unsupported', 'its alg does not fit its curve')
    return usable(key, { name: 'ECDSA', namedCurve: curve.namedCurve }, curve.algorithm, keyId)
  }
  return problem('unsupported', 'it is neither an RSA nor an elliptic curve key')
}

function usable(
  key: KeyObject,
  parameters: { readonly name: string; readonly hash?: string; readonly namedCurve?: string },
  algorithm: SigningAlgorithm,
  keyId: string | undefined,
): KeyReading {
  return {
    ok: true,
    key: {
      privateKey: key.toCryptoKey(parameters, false, ['sign']),
      publicKey: createPublicKey(key).toCryptoKey(parameters, true, ['verify']),
      algorithm,
      keyId,
    },
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const problem = (what: KeyProblem, detail?: string): KeyReading => ({
  ok: false,
  problem: what,
  ...(detail !== undefined && { detail }),
})

/** Every part of a private key that must never be shown, whichever form it was given in. */
export function secretPartsOf(given: string | Readonly<Record<string, unknown>>): readonly string[] {
  if (typeof given !== 'string') return privateMembers(given)
  const jwk = given.trimStart().startsWith('{') ? parseObject(given) : undefined
  if (jwk !== undefined) return [given, ...privateMembers(jwk)]
  const blocks = [...given.matchAll(/-----BEGIN [A-Z ]+-----([\s\S]*?)(?:-----END|$)/g)].flatMap(
    ([, body = '']) => {
      const lines = body.split(/\\[rn]|\s/).filter((line) => line !== '')
      // The last line of a block may be too short to be worth anything, and too common to be hidden.
      return [lines.join(''), ...lines.filter((line) => line.length >= 16)]
    },
  )
  return [...new Set([given, ...blocks])].filter((part) => part !== '')
}

/** @see https://www.rfc-editor.org/rfc/rfc7518#section-6 */
const privateMembers = (jwk: Readonly<Record<string, unknown>>) =>
  ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'].flatMap((name) => {
    const member = jwk[name]
    return typeof member === 'string' ? [member] : []
  })
