/** Writes X.509 certificates of the few kinds that the sandboxes need (RFC 5280, in DER). */
import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

export interface CertificateOptions {
  /** Common name of the holder. */
  readonly subject: string
  readonly publicKey: KeyObject
  /** Who signs: the holder itself when left out. */
  readonly issuer?: { readonly subject: string; readonly publicKey: KeyObject }
  /** RSA or EC on P-256, of the issuer. */
  readonly signingKey: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  readonly use: 'authority' | 'server' | 'signature'
  /** Names and IP addresses of a server. */
  readonly hosts?: readonly string[]
}

/** The certificate as PEM. */
export function issueCertificate(options: CertificateOptions): string {
  const { subject, publicKey, issuer = { subject, publicKey }, signingKey, use } = options
  const isAuthority = use === 'authority'
  const algorithm = signatureAlgorithm(signingKey)
  const usage = isAuthority ? [0x01, 0x06] : [0x07, 0x80] // keyCertSign + cRLSign, or digitalSignature
  const extensions = [
    extension('2.5.29.19', true, isAuthority ? sequence(boolean(true)) : sequence()), // basicConstraints
    extension('2.5.29.15', true, der(0x03, Buffer.from(usage))), // keyUsage
    extension('2.5.29.14', false, der(0x04, keyIdentifier(publicKey))), // subjectKeyIdentifier
  ]
  if (issuer.publicKey !== publicKey)
    extensions.push(extension('2.5.29.35', false, sequence(der(0x80, keyIdentifier(issuer.publicKey))))) // authorityKeyIdentifier
  if (use === 'server') extensions.push(extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1')))) // extKeyUsage serverAuth
  if (options.hosts !== undefined)
    extensions.push(extension('2.5.29.17', false, sequence(...options.hosts.map(alternativeName)))) // subjectAltName

  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.from([2]))), // version 3
    // 16 random bytes; a first byte from 0x40 to 0x7f keeps the number positive and of fixed length.
    integer(Buffer.concat([Buffer.from([0x40 | ((randomBytes(1)[0] ?? 0) & 0x3f)]), randomBytes(15)])),
    algorithm,
    commonName(issuer.subject),
    sequence(time(options.notBefore), time(options.notAfter)),
    commonName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', toBeSigned, signingKey)
  const certificate = sequence(toBeSigned, algorithm, bitString(signature))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

function signatureAlgorithm(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'ec') return sequence(oid('1.2.840.10045.4.3.2')) // ecdsa-with-SHA256
  if (key.asymmetricKeyType === 'rsa') return sequence(oid('1.2.840.113549.1.1.11'), der(0x05)) // sha256WithRSAEncryption
  throw new TypeError('certificates are signed with RSA or EC keys')
}

/** RFC 5280, 4.2.1.2, method 1 hashes the key alone; hashing the whole SubjectPublicKeyInfo is as unique. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), der(0x04, value))
}

function commonName(text: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(text)))))
}

function alternativeName(host: string): Buffer {
  if (isIP(host) === 0) return der(0x82, Buffer.from(host, 'ascii'))
  if (isIP(host) === 4) return der(0x87, Buffer.from(host.split('.').map(Number)))
  throw new TypeError('the sandboxes listen on IPv4 only')
}

/** UTCTime, which RFC 5280 demands for the years up to 2049. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/\D/g, '')
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`))
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const groups = [part & 0x7f]
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return der(0x06, Buffer.from(bytes))
}

const sequence = (...parts: readonly Buffer[]) => der(0x30, Buffer.concat(parts))
const integer = (bytes: Buffer) => der(0x02, bytes)
const boolean = (value: boolean) => der(0x01, Buffer.from([value ? 0xff : 0x00]))
const bitString = (bytes: Buffer) => der(0x03, Buffer.concat([Buffer.from([0]), bytes]))

/** Tag, length, content. */
function der(tag: number, content: Buffer = Buffer.alloc(0)): Buffer {
  const { length } = content
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, (length >>> 8) & 0xff, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}
