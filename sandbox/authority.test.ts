import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { issueServerIdentity } from './authority.ts'
import { issueCertificate } from './certificate.ts'

const now = new Date('2026-11-24T12:00:00Z')

test('the server certificate names every host, holds at the time, and was signed by the authority', () => {
  const identity = issueServerIdentity(['acme.okta.com', 'localhost', '127.0.0.1'], now)
  const server = new X509Certificate(identity.certificate)
  const authority = new X509Certificate(identity.authority)
  assert.equal(server.subjectAltName, 'DNS:acme.okta.com, DNS:localhost, IP Address:127.0.0.1')
  assert.equal(server.checkHost('acme.okta.com'), 'acme.okta.com')
  assert.equal(server.checkHost('evil.okta.com'), undefined)
  assert.equal(server.checkIP('127.0.0.1'), '127.0.0.1')
  assert.ok(server.checkIssued(authority) && server.verify(authority.publicKey))
  assert.ok(authority.checkIssued(authority) && authority.verify(authority.publicKey))
  assert.equal(authority.ca, true)
  assert.equal(server.ca, false)
  assert.ok(server.validFromDate < now && now < server.validToDate)
})

test('two authorities do not vouch for each other', () => {
  const [one, two] = [issueServerIdentity(['localhost'], now), issueServerIdentity(['localhost'], now)]
  assert.equal(
    new X509Certificate(one.certificate).verify(new X509Certificate(two.authority).publicKey),
    false,
  )
})

test('an RSA key signs its own certificate, and other kinds of key are refused', () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const validity = { notBefore: now, notAfter: new Date('2027-02-03T04:05:06Z') }
  const pem = issueCertificate({
    subject: 'Größe',
    publicKey: pair.publicKey,
    signingKey: pair.privateKey,
    ...validity,
    use: 'signature',
  })
  const certificate = new X509Certificate(pem)
  assert.equal(certificate.subject, 'CN=Größe')
  assert.ok(certificate.verify(pair.publicKey))
  assert.equal(certificate.validToDate.toISOString(), '2027-02-03T04:05:06.000Z')
  const ed25519 = generateKeyPairSync('ed25519')
  assert.throws(
    () =>
      issueCertificate({
        subject: 'x',
        publicKey: ed25519.publicKey,
        signingKey: ed25519.privateKey,
        ...validity,
        use: 'signature',
      }),
    TypeError,
  )
})
