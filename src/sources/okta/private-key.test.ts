import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { readPrivateKey, secretPartsOf } from './private-key.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const p256 = ec('P-256')
const text = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1') =>
  key.export({ type, format: 'pem' }).toString()
const jwk = (key: KeyObject) => key.export({ format: 'jwk' }) as Record<string, unknown>

async function algorithmOf(given: string | Record<string, unknown>) {
  const reading = await readPrivateKey(given)
  return reading.ok ? reading.key.algorithm : reading.problem
}

test('reads an RSA key as PKCS#8, PKCS#1, JSON Web Key object and text', async () => {
  assert.equal(await algorithmOf(text(rsa.privateKey, 'pkcs8')), 'RS256')
  assert.equal(await algorithmOf(text(rsa.privateKey, 'pkcs1')), 'RS256')
  assert.equal(await algorithmOf(jwk(rsa.privateKey)), 'RS256')
  assert.equal(await algorithmOf(JSON.stringify(jwk(rsa.privateKey), null, 2)), 'RS256')
})

test('reads elliptic curve keys as PKCS#8, SEC1 with or without parameters, and JSON Web Key', async () => {
  const sec1 = text(p256.privateKey, 'sec1')
  assert.equal(await algorithmOf(text(p256.privateKey, 'pkcs8')), 'ES256')
  assert.equal(await algorithmOf(sec1), 'ES256')
  assert.equal(
    await algorithmOf(
      `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${sec1}`,
    ),
    'ES256',
  )
  assert.equal(await algorithmOf(jwk(ec('P-384').privateKey)), 'ES384')
  assert.equal(await algorithmOf(text(ec('P-521').privateKey, 'pkcs8')), 'ES512')
})

test('reads PEM whose line breaks were lost, escaped or changed, or that stands among other text', async () => {
  const pem = text(rsa.privateKey, 'pkcs8')
  for (const spoilt of [
    pem.replaceAll('\n', '\\n'),
    pem.replaceAll('\n', '\r\n'),
    pem.replaceAll('\n', ' '),
    `Key Attributes: <No Attributes>\n${pem}\n`,
    `${rsa.publicKey.export({ type: 'spki', format: 'pem' })}${pem}`,
  ])
    assert.equal(await algorithmOf(spoilt), 'RS256')
})

test('takes algorithm and key ID from a JSON Web Key', async () => {
  const reading = await readPrivateKey({ ...jwk(rsa.privateKey), alg: 'RS384', kid: 'k1', use: 'sig' })
  assert.ok(reading.ok)
  assert.equal(reading.key.algorithm, 'RS384')
  assert.equal(reading.key.keyId, 'k1')
})

test('tells apart what is no private key, encrypted, or of no use with Okta', async () => {
  const { d: _, ...half } = jwk(rsa.privateKey)
  const encrypted = rsa.privateKey
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
  const cases: readonly (readonly [string | Record<string, unknown>, string])[] = [
    [rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'public'],
    ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----', 'public'],
    [{ ...half, d: undefined }, 'public'],
    [jwk(p256.publicKey), 'public'],
    [encrypted, 'encrypted'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----', 'unsupported'],
    [text(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, 'pkcs8'), 'unsupported'],
    [text(generateKeyPairSync('ed25519').privateKey, 'pkcs8'), 'unsupported'],
    [text(ec('secp256k1').privateKey, 'pkcs8'), 'unsupported'],
    [text(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey, 'pkcs8'), 'unsupported'],
    [{ kty: 'oct', k: 'AAAA' }, 'unsupported'],
    [{ keys: [jwk(rsa.privateKey)] }, 'unsupported'],
    [{ ...jwk(rsa.privateKey), use: 'enc' }, 'unsupported'],
    [{ ...jwk(rsa.privateKey), alg: 'PS256' }, 'unsupported'],
    [{ ...jwk(p256.privateKey), alg: 'RS256' }, 'unsupported'],
    ['', 'unreadable'],
    ['not a key', 'unreadable'],
    ['{', 'unreadable'],
    ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', 'unreadable'],
    ['-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----', 'unreadable'],
    [text(rsa.privateKey, 'pkcs8').slice(0, 800), 'unreadable'],
    [{ kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'AQAB' }, 'unreadable'],
    ['x'.repeat(100_000), 'unreadable'],
  ]
  for (const [given, problem] of cases) assert.equal(await algorithmOf(given), problem)
})

test('refuses a key whose parts do not belong together', async () => {
  const other = jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
  assert.equal(await algorithmOf({ ...jwk(rsa.privateKey), n: other.n }), 'unreadable')
  const { x, y } = jwk(ec('P-256').publicKey)
  assert.equal(await algorithmOf({ ...jwk(p256.privateKey), x, y }), 'unreadable')
})

test('never throws, whatever stands in for a key', async () => {
  const good = jwk(p256.privateKey)
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.dictionary(
          fc.constantFrom('kty', 'crv', 'x', 'y', 'd', 'n', 'e', 'alg', 'kid', '__proto__'),
          fc.anything(),
        ),
        fc.record({
          ...Object.fromEntries(
            Object.keys(good).map((name) => [name, fc.oneof(fc.constant(good[name]), fc.anything())]),
          ),
        }),
      ),
      async (given) => {
        await readPrivateKey(given as string | Record<string, unknown>)
      },
    ),
    { numRuns: 300 },
  )
})

test('knows every part of a key that must stay hidden', () => {
  const pem = text(rsa.privateKey, 'pkcs8')
  const body = pem.split('\n').slice(1, -2)
  const parts = secretPartsOf(pem)
  for (const secret of [pem, body.join(''), ...body.filter((line) => line.length >= 32)])
    assert.ok(parts.includes(secret))
  const members = jwk(rsa.privateKey)
  for (const given of [members, JSON.stringify(members)])
    for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi'])
      assert.ok(secretPartsOf(given).includes(String(members[name])))
  assert.equal(secretPartsOf(members).includes(String(members.n)), false)
})
