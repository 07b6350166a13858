/** Judges credentials by what they are, before anything is sent. */
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { decodeJwt } from 'jose'
import { isHostName } from '../../outbound/host-name.ts'
import { causeOf, type Diagnosis } from '../cause.ts'
import { causes, type EntraCause } from './causes.ts'
import { type Cloud, cloudNames } from './clouds.ts'
import { type Credentials, cloudOf, isGuid, withLineBreaks } from './secrets.ts'

/** Everything that a token request needs, once the shape of the credentials was found sound. */
export interface SoundCredentials {
  readonly tenantId: string
  readonly clientId: string
  readonly cloud: Cloud
  readonly proof:
    | { readonly kind: 'client_secret'; readonly clientSecret: string }
    | { readonly kind: 'certificate'; readonly certificate: X509Certificate; readonly privateKey: KeyObject }
    | {
        readonly kind: 'federated_token'
        readonly federatedToken: string
        readonly audience: readonly string[]
      }
}

/** How far our clock may be off before we call something expired that the provider has not called so. */
export const clockToleranceMs = 10 * 60_000

/** Authorities that are no tenant; the last is the tenant of personal Microsoft accounts, "consumers" by its other name. */
const sharedAuthorities = new Set([
  'common',
  'organizations',
  'consumers',
  '9188040d-6c67-4c5b-b112-36a304b66dad',
])

/** Entra makes secrets of 16 to 64 characters. @see https://learn.microsoft.com/graph/api/resources/passwordcredential */
const longestSecret = 256

/** The credentials ready for use, or the first reason why they cannot be right. Nothing is sent. */
export function soundCredentials(
  credentials: Credentials,
  now: Date,
): { ok: true; credentials: SoundCredentials } | { ok: false; diagnosis: Diagnosis } {
  const refuse = (code: EntraCause, values: Readonly<Record<string, string>> = {}) =>
    ({ ok: false, diagnosis: causeOf(causes, code, values) }) as const

  if (credentials.kind === 'operator') return refuse('entra_credentials_missing')
  const cloud = cloudOf(credentials)
  if (cloud === undefined) return refuse('entra_cloud_unknown', { clouds: cloudNames.join(', ') })
  const tenantId = credentials.tenantId.toLowerCase()
  if (sharedAuthorities.has(tenantId)) return refuse('entra_tenant_shared')
  if (!isGuid(tenantId) && !isHostName(tenantId)) return refuse('entra_tenant_malformed')
  const clientId = credentials.clientId.toLowerCase()
  if (!isGuid(clientId)) return refuse('entra_client_id_malformed')
  const registration = { tenantId, clientId, cloud }

  switch (credentials.kind) {
    case 'client_secret': {
      const { clientSecret } = credentials
      if (isGuid(clientSecret)) return refuse('entra_secret_is_id')
      if (
        !/^[\x21-\x7e]+$/.test(clientSecret) ||
        clientSecret.length > longestSecret ||
        /^\*+$/.test(clientSecret)
      )
        return refuse('entra_secret_malformed')
      return { ok: true, credentials: { ...registration, proof: { kind: 'client_secret', clientSecret } } }
    }
    case 'certificate': {
      const pair = readCertificate(credentials.certificate, credentials.privateKey)
      if (typeof pair === 'string') return refuse(pair)
      const { notBefore, notAfter } = lifetimeOf(pair.certificate)
      if (notAfter.getTime() < now.getTime() - clockToleranceMs)
        return refuse('entra_certificate_expired', { date: dayOf(notAfter) })
      if (notBefore.getTime() > now.getTime() + clockToleranceMs)
        return refuse('entra_certificate_not_yet_valid', { date: dayOf(notBefore) })
      return { ok: true, credentials: { ...registration, proof: { kind: 'certificate', ...pair } } }
    }
    case 'federated_token': {
      const token = readFederatedToken(credentials.federatedToken)
      if (token === undefined) return refuse('entra_federated_token_malformed')
      if (token.expiresAtMs < now.getTime() - clockToleranceMs) return refuse('entra_federated_token_expired')
      return {
        ok: true,
        credentials: {
          ...registration,
          proof: {
            kind: 'federated_token',
            federatedToken: credentials.federatedToken,
            audience: token.audience,
          },
        },
      }
    }
  }
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** RSA keys below this size are refused by Entra (AADSTS50032) and by RFC 7518 for PS256. */
const smallestKeyBits = 2048

/** The certificate among those given (often a whole chain) that belongs to the key, with the key; or what is wrong. */
function readCertificate(
  certificatePem: string,
  keyPem: string,
): { certificate: X509Certificate; privateKey: KeyObject } | EntraCause {
  const certificates: X509Certificate[] = []
  for (const block of withLineBreaks(certificatePem).match(certificateBlock) ?? []) {
    try {
      certificates.push(new X509Certificate(block))
    } catch {
      return 'entra_certificate_malformed'
    }
  }
  if (certificates.length === 0) return 'entra_certificate_malformed'
  const key = withLineBreaks(keyPem)
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(key)) return 'entra_private_key_encrypted'
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(key)
  } catch {
    return 'entra_private_key_malformed'
  }
  if (privateKey.asymmetricKeyType !== 'rsa') return 'entra_private_key_not_rsa'
  if ((privateKey.asymmetricKeyDetails?.modulusLength ?? 0) < smallestKeyBits)
    return 'entra_private_key_too_small'
  const publicKey = createPublicKey(privateKey)
  const certificate = certificates.find((candidate) => isKeyOf(candidate, publicKey))
  return certificate === undefined ? 'entra_certificate_key_mismatch' : { certificate, privateKey }
}

function isKeyOf(certificate: X509Certificate, publicKey: KeyObject): boolean {
  try {
    return certificate.publicKey.equals(publicKey)
  } catch {
    // A certificate whose own key OpenSSL cannot read matches none.
    return false
  }
}

export const lifetimeOf = (certificate: X509Certificate) => ({
  notBefore: new Date(certificate.validFrom),
  notAfter: new Date(certificate.validTo),
})

const dayOf = (date: Date) =>
  Number.isNaN(date.getTime()) ? 'an unreadable date' : date.toISOString().slice(0, 10)

/** What Entra compares with the app's federated credentials, read without verifying: the issuer's keys are not ours to know. */
function readFederatedToken(token: string): { expiresAtMs: number; audience: readonly string[] } | undefined {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return undefined
  try {
    const { iss, sub, aud, exp } = decodeJwt(token)
    const audience = [aud ?? []].flat()
    const isComplete =
      typeof iss === 'string' &&
      typeof sub === 'string' &&
      typeof exp === 'number' &&
      Number.isFinite(exp) &&
      audience.length > 0 &&
      audience.every((name) => typeof name === 'string')
    return isComplete ? { expiresAtMs: exp * 1000, audience } : undefined
  } catch {
    return undefined
  }
}
