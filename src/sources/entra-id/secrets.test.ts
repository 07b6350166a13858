/** Credentials and domains as they come over the wire, and what can be said of them without asking anybody. */
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { SignJWT } from 'jose'
import { issueCertificate } from '../../../sandbox/certificate.ts'
import { entraId } from './index.ts'
import { readCredentials, readDomain, secretsIn } from './secrets.ts'
import { soundCredentials } from './sound-credentials.ts'

const tenant_id = '7c9e6679-7425-40de-944b-e07fc1f90ae7'
const client_id = '3f0c9a5e-6f0b-4c0f-9d2f-1a3f2b7c9d10'
const client_secret = 'abc8Q~0123456789-0123456789_0123456789.0'
const app = { tenant_id, client_id }
const now = new Date('2026-11-24T12:00:00Z')
const day = 86_400_000

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const smallRsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

const pem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' = 'pkcs8') =>
  key.export({ type, format: 'pem' }).toString()
const certificateOf = (key: KeyObject, days: readonly [from: number, until: number] = [-30, 300]) =>
  issueCertificate({
    subject: 'test',
    publicKey: createPublicKey(key),
    signingKey: key,
    notBefore: new Date(now.getTime() + days[0] * day),
    notAfter: new Date(now.getTime() + days[1] * day),
    use: 'signature',
  })
const jwt = (claims: Record<string, unknown>) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(rsa)
const seconds = (date: Date) => Math.floor(date.getTime() / 1000)
const usualClaims = {
  iss: 'https://issuer.example',
  sub: 'me',
  aud: 'api://AzureADTokenExchange',
  exp: seconds(now) + 600,
}

/** The cause for which the credentials are refused, or `sound`. */
function judge(secrets: Record<string, unknown>): string {
  const read = readCredentials(secrets)
  assert.ok(read.ok, JSON.stringify(read))
  const sound = soundCredentials(read.credentials, now)
  if (sound.ok) return 'sound'
  assert.equal(sound.diagnosis.determinate, true)
  return sound.diagnosis.cause.code
}

test('each kind of credentials is told by its fields, and unknown keys are ignored', () => {
  const kind = (secrets: Record<string, unknown>) => {
    const read = readCredentials({ ...secrets, note: 7 })
    return read.ok ? read.credentials.kind : read.faults
  }
  assert.equal(kind({ ...app, client_secret }), 'client_secret')
  assert.equal(kind({ ...app, certificate: 'c', private_key: 'k' }), 'certificate')
  assert.equal(kind({ ...app, federated_token: 't' }), 'federated_token')
  assert.equal(kind({}), 'operator')
  assert.deepEqual(readCredentials(undefined), { ok: true, credentials: { kind: 'operator' } })
})

test('wrong types, missing partners and contradictions are faults of their fields, all at once', () => {
  const faults = (secrets: Record<string, unknown>) => {
    const read = readCredentials(secrets)
    assert.ok(!read.ok)
    return read.faults.map(({ field, expected }) => `${field}: ${expected}`)
  }
  assert.deepEqual(faults({ tenant_id: 1, client_id: null, client_secret: [] }), [
    'secrets.tenant_id: a string',
    'secrets.client_id: a string',
    'secrets.client_secret: a string',
  ])
  assert.deepEqual(faults({ client_secret }), ['secrets.tenant_id: a string', 'secrets.client_id: a string'])
  assert.deepEqual(faults(app), [
    'secrets: one of client_secret, certificate with private_key, or federated_token',
  ])
  assert.deepEqual(faults({ ...app, client_secret, federated_token: 't' }), [
    'secrets: only one of client_secret, certificate with private_key, or federated_token',
  ])
  assert.deepEqual(faults({ ...app, certificate: 'c' }), ['secrets.private_key: a string'])
  assert.deepEqual(faults({ ...app, private_key: 'k' }), ['secrets.certificate: a string'])
  assert.deepEqual(faults({ ...app, client_secret, cloud: 1 }), ['secrets.cloud: a string'])
  assert.deepEqual(faults({ ...app, certificate: 7, private_key: 'k' }), ['secrets.certificate: a string'])
})

test('a tenant is a GUID or a domain name, and never a name for many tenants', () => {
  for (const [tenant, code] of [
    [tenant_id.toUpperCase(), 'sound'],
    ['acme.onmicrosoft.com', 'sound'],
    ['common', 'entra_tenant_shared'],
    ['Organizations', 'entra_tenant_shared'],
    ['consumers', 'entra_tenant_shared'],
    ['9188040d-6c67-4c5b-b112-36a304b66dad', 'entra_tenant_shared'],
    ['', 'entra_tenant_malformed'],
    ['acme', 'entra_tenant_malformed'],
    [`{${tenant_id}}`, 'entra_tenant_malformed'],
    ['acme.com/../other', 'entra_tenant_malformed'],
    ['acme.com?x=', 'entra_tenant_malformed'],
    ['acme%2ecom', 'entra_tenant_malformed'],
    ['127.0.0.1', 'entra_tenant_malformed'],
    ['äcme.com', 'entra_tenant_malformed'],
    [`${tenant_id}\n`, 'entra_tenant_malformed'],
  ] as const)
    assert.equal(judge({ tenant_id: tenant, client_id, client_secret }), code, tenant)
})

test('a client ID is a GUID, and a cloud is one of four', () => {
  assert.equal(judge({ tenant_id, client_id: 'directory sync', client_secret }), 'entra_client_id_malformed')
  for (const cloud of ['global', 'us-gov', 'us-gov-dod', 'china'])
    assert.equal(judge({ ...app, client_secret, cloud }), 'sound')
  for (const cloud of ['', 'germany', '__proto__', 'constructor', 'GLOBAL'])
    assert.equal(judge({ ...app, client_secret, cloud }), 'entra_cloud_unknown')
})

test('a client secret looks like a value', () => {
  for (const [secret, code] of [
    [client_secret, 'sound'],
    [tenant_id, 'entra_secret_is_id'],
    [tenant_id.toUpperCase(), 'entra_secret_is_id'],
    ['', 'entra_secret_malformed'],
    ['**********', 'entra_secret_malformed'],
    ['two words', 'entra_secret_malformed'],
    [`${client_secret}\n`, 'entra_secret_malformed'],
    ['é'.repeat(40), 'entra_secret_malformed'],
    ['a'.repeat(300), 'entra_secret_malformed'],
  ] as const)
    assert.equal(judge({ ...app, client_secret: secret }), code, secret)
})

test('a certificate parses, is in its time, and belongs to its RSA key', () => {
  const certificate = certificateOf(rsa)
  const private_key = pem(rsa)
  const encrypted = rsa
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
  for (const [pair, code] of [
    [{ certificate, private_key }, 'sound'],
    [{ certificate, private_key: pem(rsa, 'pkcs1') }, 'sound'],
    [{ certificate: `${certificateOf(otherRsa)}${certificate}`, private_key }, 'sound'],
    [{ certificate: `${private_key}${certificate}`, private_key }, 'sound'],
    [{ certificate: '', private_key }, 'entra_certificate_malformed'],
    [{ certificate: certificate.slice(0, 400), private_key }, 'entra_certificate_malformed'],
    [{ certificate: certificate.replace(/M/g, 'N'), private_key }, 'entra_certificate_malformed'],
    [{ certificate, private_key: '' }, 'entra_private_key_malformed'],
    [{ certificate, private_key: certificate }, 'entra_private_key_malformed'],
    [{ certificate, private_key: encrypted }, 'entra_private_key_encrypted'],
    [{ certificate: certificateOf(ec), private_key: pem(ec) }, 'entra_private_key_not_rsa'],
    [{ certificate: certificateOf(smallRsa), private_key: pem(smallRsa) }, 'entra_private_key_too_small'],
    [{ certificate, private_key: pem(otherRsa) }, 'entra_certificate_key_mismatch'],
    [{ certificate: certificateOf(rsa, [-30, -1]), private_key }, 'entra_certificate_expired'],
    [{ certificate: certificateOf(rsa, [1, 30]), private_key }, 'entra_certificate_not_yet_valid'],
  ] as const)
    assert.equal(judge({ ...app, ...pair }), code)
})

test('a federated token is a complete JWT that has not long expired', async () => {
  const { exp: _, ...endless } = usualClaims
  for (const [token, code] of [
    [await jwt(usualClaims), 'sound'],
    [await jwt({ ...usualClaims, aud: ['x', 'y'] }), 'sound'],
    // Our clock may be the one that is off.
    [await jwt({ ...usualClaims, exp: seconds(now) - 300 }), 'sound'],
    [await jwt({ ...usualClaims, exp: seconds(now) - 3600 }), 'entra_federated_token_expired'],
    [await jwt(endless), 'entra_federated_token_malformed'],
    [await jwt({ ...usualClaims, aud: [] }), 'entra_federated_token_malformed'],
    [await jwt({ ...usualClaims, sub: undefined }), 'entra_federated_token_malformed'],
    ['', 'entra_federated_token_malformed'],
    ['a.b.c', 'entra_federated_token_malformed'],
    [`${await jwt(usualClaims)}\n`, 'entra_federated_token_malformed'],
  ] as const)
    assert.equal(judge({ ...app, federated_token: token }), code)
})

test('every secret string is named, for redaction', () => {
  const secrets = (given: Record<string, unknown>) => {
    const read = readCredentials(given)
    assert.ok(read.ok)
    return secretsIn(read.credentials)
  }
  const inForm = client_secret.replaceAll('~', '%7E')
  assert.deepEqual(secrets({ ...app, client_secret }), [client_secret, inForm])
  assert.ok(secrets({ ...app, certificate: 'c', private_key: 'the key' }).includes('the key'))
  assert.ok(secrets({ ...app, federated_token: 'a.b.signature' }).includes('signature'))
  assert.deepEqual(secrets({}), [])
})

test('domains are read in one way only', () => {
  for (const [given, domain] of [
    ['acme.com', 'acme.com'],
    ['ACME.com', 'acme.com'],
    ['https://acme.com', 'acme.com'],
    ['HTTPS://acme.com/', 'acme.com'],
    [' acme.com ', 'acme.com'],
    ['acme.onmicrosoft.com', 'acme.onmicrosoft.com'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ] as const) {
    const reading = readDomain(given)
    assert.deepEqual(reading, { ok: true, domain })
  }
})

const hostile = [
  '',
  ' ',
  'acme',
  'acme.',
  '.acme.com',
  'acme..com',
  'acme.com.',
  'acme.com:443',
  'acme.com/path',
  'acme.com//',
  'acme.com?',
  'acme.com#',
  'user@acme.com',
  'user:pass@acme.com',
  'https://user@acme.com',
  'http://acme.com',
  'ftp://acme.com',
  '//acme.com',
  'https:acme.com',
  'https:///acme.com',
  'https://https://acme.com',
  'acme.com\\evil',
  '\\\\acme.com',
  'acme.com\r\n',
  'acme\t.com',
  'acme.com\u0000',
  'acme%2ecom',
  'acme%00.com',
  'acme。com',
  'acme．com',
  'acme｡com',
  'ａｃｍｅ.com',
  'аcme.com',
  'acme.cοm',
  'bücher.example',
  'acme.com\u200b',
  '\u202eacme.com',
  '\ufeffacme.com',
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f.1',
  '0x7f000001',
  '0177.0.0.1',
  '[::1]',
  '::1',
  'acme.127',
  'acme.0x7f',
  '-acme.com',
  'acme-.com',
  'ac_me.com',
  '*.acme.com',
  'acme.com,evil.com',
  'acme.com evil.com',
  'acme com',
  `${'a'.repeat(64)}.com`,
  `${'a.'.repeat(127)}com`,
  'a'.repeat(10_000),
  `https://${'a'.repeat(10_000)}.com`,
  'acme.com\u2028',
  'acme.com\u00a0',
  'ACME.com\u212a',
  'localhost',
  'javascript:acme.com',
  'acme.com;',
  '"acme.com"',
]

test('hostile spellings are refused', () => {
  for (const given of hostile) {
    const reading = readDomain(given)
    assert.ok(!reading.ok, JSON.stringify(given.slice(0, 60)))
    assert.equal(reading.diagnosis.cause.code, 'entra_domain_malformed')
  }
})

test('whatever is written, it is refused or one canonical ASCII host that reads as itself', () => {
  const pieces = fc.constantFrom(
    'acme',
    '.',
    'com',
    'https://',
    '/',
    '@',
    ':',
    '\\',
    '%2e',
    '。',
    '0x7f',
    '1',
    '-',
    ' ',
    '\t',
    'é',
    'A',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces, { maxLength: 8 }).map((list) => list.join('')),
      ),
      (given) => {
        const reading = readDomain(given)
        if (!reading.ok) return
        assert.match(
          reading.domain,
          /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
        )
        assert.equal(new URL(`https://${reading.domain}/`).host, reading.domain)
        assert.deepEqual(readDomain(reading.domain), reading)
      },
    ),
    { numRuns: 2_000 },
  )
})

test('hosts are the pair of the chosen cloud, and none for what is not well formed', () => {
  const hosts = (domain: string, cloud: string) => {
    const read = readCredentials({ ...app, client_secret, cloud })
    assert.ok(read.ok)
    return entraId.egress({ domain, credentials: read.credentials })
  }
  assert.deepEqual(hosts('acme.com', 'us-gov-dod'), [
    { host: 'login.microsoftonline.us', chosenBy: 'provider' },
    { host: 'dod-graph.microsoft.us', chosenBy: 'provider' },
  ])
  assert.deepEqual(hosts('acme.com', 'mars'), [])
  assert.deepEqual(hosts('acme.com@evil.example', 'global'), [])
  assert.deepEqual(entraId.egress({ domain: 'acme.com', credentials: { kind: 'operator' } }), [])
})
