/** A certificate authority for one run: clients may trust its certificate; its private key is never written and soon forgotten. */
import { generateKeyPairSync } from 'node:crypto'
import { issueCertificate } from './certificate.ts'

export interface ServerIdentity {
  /** The server's private key and certificate, PEM. */
  readonly key: string
  readonly certificate: string
  /** The authority's certificate, PEM: what a client must trust. */
  readonly authority: string
}

/** Certificates hold from an hour before `now`, for clients whose clock is behind. */
const backdatedMs = 60 * 60 * 1000
const lifetimeMs = 390 * 24 * 60 * 60 * 1000

/** A certificate for all of `hosts` (names and IP addresses), by an authority made for it alone. */
export function issueServerIdentity(hosts: readonly string[], now: Date): ServerIdentity {
  const validity = {
    notBefore: new Date(now.getTime() - backdatedMs),
    notAfter: new Date(now.getTime() + lifetimeMs),
  }
  // P-256: every TLS client knows it, and making a key takes a millisecond.
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const authorityName = 'Credence sandbox authority'
  return {
    key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: issueCertificate({
      subject: 'Credence sandbox',
      publicKey: server.publicKey,
      issuer: { subject: authorityName, publicKey: authority.publicKey },
      signingKey: authority.privateKey,
      ...validity,
      use: 'server',
      hosts,
    }),
    authority: issueCertificate({
      subject: authorityName,
      publicKey: authority.publicKey,
      signingKey: authority.privateKey,
      ...validity,
      use: 'authority',
    }),
  }
}
