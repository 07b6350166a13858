import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { redactor } from '../../validation/redact.ts'
import {
  canonicalDomain,
  completeByOperator,
  type GoogleCredentials,
  isEmailAddress,
  readCredentials,
  readPrivateKey,
} from './secrets.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const pkcs8 = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
const pkcs1 = rsa.export({ type: 'pkcs1', format: 'pem' }).toString()

function read(secrets: Record<string, unknown> | undefined): GoogleCredentials {
  const reading = readCredentials(secrets)
  assert.ok(reading.ok)
  return reading.credentials
}

test('takes a key file as an object and as text, with and without a byte order mark', () => {
  const file = { type: 'service_account', client_email: 'a@b.iam.gserviceaccount.com', private_key: pkcs8 }
  for (const given of [file, JSON.stringify(file), `\uFEFF${JSON.stringify(file)}`]) {
    const credentials = read({ service_account_json: given, admin_email: 'admin@example.com', other: 1 })
    assert.equal(credentials.kind, 'service_account')
    assert.equal(credentials.text('client_email'), 'a@b.iam.gserviceaccount.com')
    assert.equal(credentials.adminEmail, 'admin@example.com')
  }
})

test('takes an administrator alone as the form that leaves the service account to the operator', () => {
  const credentials = read({ admin_email: 'test@example.com' })
  assert.equal(credentials.kind, 'operator')
  assert.equal(credentials.hasServiceAccount, false)
  const complete = completeByOperator(credentials, { service_account: { private_key: pkcs8 } })
  assert.equal(complete.hasServiceAccount, true)
  assert.equal(complete.adminEmail, 'test@example.com')
})

test('names every fault of wrong types at once, and never the value', () => {
  const cases: [Record<string, unknown> | undefined, string[]][] = [
    [undefined, ['secrets']],
    [{}, ['secrets']],
    [{ api_token: 'x' }, ['secrets']],
    [{ admin_email: null }, ['secrets']],
    [
      { service_account_json: 7, admin_email: ['x'] },
      ['secrets.service_account_json', 'secrets.admin_email'],
    ],
    [{ service_account_json: ['canary'] }, ['secrets.service_account_json']],
  ]
  for (const [secrets, fields] of cases) {
    const reading = readCredentials(secrets)
    assert.ok(!reading.ok)
    assert.deepEqual(
      reading.faults.map(({ field }) => field),
      fields,
    )
    assert.doesNotMatch(JSON.stringify(reading), /canary/)
  }
})

test("does not take inherited members for the key file's own", () => {
  const credentials = read({ service_account_json: '{"__proto__": {"type": "service_account"}}' })
  assert.equal(credentials.text('type'), undefined)
  assert.equal(credentials.text('constructor'), undefined)
  assert.equal(credentials.has('toString'), false)
})

test('never prints itself', () => {
  const credentials = read({ service_account_json: { private_key: pkcs8 }, admin_email: 'a@example.com' })
  for (const text of [
    inspect(credentials),
    JSON.stringify({ credentials }),
    `${JSON.stringify(credentials)}`,
  ])
    assert.doesNotMatch(text, /PRIVATE KEY|example/)
})

test('calls everything secret that may be one: the key in any form, unknown members, a text that is no JSON', () => {
  const escaped = pkcs8.replaceAll('\n', '\\n')
  const line = pkcs8.split('\n')[5] ?? ''
  for (const private_key of [pkcs8, escaped, pkcs1]) {
    const credentials = read({ service_account_json: { private_key, type: 'service_account' } })
    const redact = redactor(() => credentials.secrets())
    const body = private_key === pkcs1 ? (pkcs1.split('\n')[5] ?? '') : line
    for (const text of [
      private_key,
      body,
      encodeURIComponent(private_key),
      Buffer.from(private_key).toString('hex'),
    ])
      assert.equal(redact(`a ${text} b`), 'a [redacted] b')
    assert.equal(redact('service_account'), 'service_account')
  }
  const other = read({
    service_account_json: { type: 'authorized_user', refresh_token: 'canary-1', deep: { x: ['canary-2'] } },
  })
  assert.deepEqual(other.secrets().sort(), ['canary-1', 'canary-2'])
  assert.deepEqual(read({ service_account_json: 'canary-text' }).secrets(), ['canary-text'])
})

test('reads RSA keys as PKCS#8 and PKCS#1, with escaped and foreign line breaks', () => {
  const forms = [
    pkcs8,
    pkcs1,
    pkcs8.trim(),
    pkcs8.replaceAll('\n', '\\n'),
    pkcs8.replaceAll('\n', '\r\n'),
    pkcs8.replaceAll('\n', '\\r\\n'),
  ]
  for (const pem of forms) {
    const reading = readPrivateKey(pem)
    assert.ok(reading.ok)
    assert.ok(reading.key.equals(createPrivateKey(pkcs8)))
  }
})

test('tells why a private key cannot be used', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const pem = (key: typeof rsa) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const encrypted = rsa
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
  const publicKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .publicKey.export({ type: 'spki', format: 'pem' })
    .toString()
  const cases: [string, string][] = [
    ['', 'unreadable'],
    ['secret', 'unreadable'],
    [pkcs8.slice(0, 800), 'unreadable'],
    [pkcs8.replaceAll('\n', ' '), 'unreadable'],
    [encrypted, 'unreadable'],
    [publicKey, 'unreadable'],
    [pem(ec), 'not_rsa'],
    [pem(pss), 'not_rsa'],
    [pem(short), 'wrong_length'],
  ]
  for (const [text, fault] of cases) assert.deepEqual(readPrivateKey(text), { ok: false, fault })
})

test('finds a key that parses but was damaged', () => {
  const jwk = rsa.export({ format: 'jwk' })
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
  for (const damage of [
    { n: other.n },
    { d: other.d },
    { p: other.p },
    { e: 'AQAD' },
    { p: jwk.n, q: 'AQ' },
  ]) {
    const damaged = createPrivateKey({ key: { ...jwk, ...damage }, format: 'jwk' })
    const reading = readPrivateKey(damaged.export({ type: 'pkcs8', format: 'pem' }).toString())
    assert.deepEqual(reading, { ok: false, fault: 'unreadable' })
  }
})

test('brings the usual spellings of a domain into one form', () => {
  const cases = {
    'example.com': 'example.com',
    'EXAMPLE.Com': 'example.com',
    'https://example.com': 'example.com',
    'HTTPS://Example.COM/': 'example.com',
    'a.b-c.example.co.uk': 'a.b-c.example.co.uk',
    'xn--mnchen-3ya.de': 'xn--mnchen-3ya.de',
  }
  for (const [given, domain] of Object.entries(cases)) assert.equal(canonicalDomain(given), domain)
})

test('refuses every spelling of a domain that two parsers could read differently', () => {
  const hostile = [
    '',
    ' ',
    '.',
    'com',
    'localhost',
    'example',
    ' example.com',
    'example.com ',
    'example.com.',
    '.example.com',
    'example..com',
    '-example.com',
    'example-.com',
    'exam_ple.com',
    'example.com:443',
    'example.com/path',
    'example.com//',
    'example.com?x',
    'example.com#x',
    'http://example.com',
    'ftp://example.com',
    '//example.com',
    'https:example.com',
    'https:///example.com',
    'https://https://example.com',
    'user@example.com',
    'https://user:pass@example.com/',
    'https://example.com@evil.tld/',
    'example.com\\@evil.tld',
    'example.com\\evil.tld',
    'example.com%2eevil.tld',
    'example%2ecom',
    'exam\tple.com',
    'example.com\r\nHost: evil',
    'example.com\0.evil.tld',
    'example\u3002com',
    'example\uFF0Ecom',
    'example\uFF61com',
    'ｅxample.com',
    'exаmple.com',
    'example.com\u202E',
    'exam\u00ADple.com',
    '\uFEFFexample.com',
    'example.\u212Aom',
    'münchen.de',
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f.1',
    '0x7f000001',
    '0177.0.0.1',
    '1.2.3.0x4',
    'example.0x1',
    'example.123',
    '[::1]',
    '::1',
    '[::ffff:127.0.0.1]',
    '169.254.169.254',
    `${'a'.repeat(64)}.com`,
    `${'a.'.repeat(130)}com`,
    'a'.repeat(10_000),
    `https://${'a'.repeat(10_000)}.com/`,
    '{"a":1}',
    '../example.com',
    'example.com;evil',
    'example.com,evil.tld',
    '*.example.com',
  ]
  for (const spelling of hostile) assert.equal(canonicalDomain(spelling), undefined, JSON.stringify(spelling))
})

test('any text is either refused or one canonical ASCII name, on which reading it again changes nothing', () => {
  const pieces = fc.constantFrom(
    'example',
    'com',
    '.',
    '-',
    '@',
    ':',
    '/',
    '\\',
    '%2e',
    '\u3002',
    '\t',
    'xn--',
    '1',
    '0x',
    'https://',
    ' ',
    'É',
  )
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((parts) => parts.join('')),
    fc.webUrl(),
    fc.domain(),
  )
  fc.assert(
    fc.property(texts, (text) => {
      const domain = canonicalDomain(text)
      if (domain === undefined) return
      assert.match(domain, /^(?=.{3,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}$/)
      assert.equal(canonicalDomain(domain), domain)
      assert.equal(new URL(`https://${domain}/`).hostname, domain)
    }),
    { numRuns: 3000 },
  )
})

test('every domain name is taken as it is', () => {
  fc.assert(fc.property(fc.domain(), (domain) => canonicalDomain(domain) === domain.toLowerCase()))
})

test('knows what can be the address of an account', () => {
  for (const address of ['test@example.com', "o'neill.j+x@sub.example.co", 'A_B@EXAMPLE.com'])
    assert.ok(isEmailAddress(address), address)
  for (const address of [
    '',
    'x',
    '@example.com',
    'x@',
    'x@localhost',
    'a@b@example.com',
    'a b@example.com',
    'a@example.com\n',
    '.a@example.com',
    'a..b@example.com',
    '"a"@example.com',
    'a@127.0.0.1',
    'á@example.com',
    `${'a'.repeat(65)}@example.com`,
    `a@${'b.'.repeat(200)}com`,
    'a@example.\u212Aom',
  ])
    assert.ok(!isEmailAddress(address), address)
})
