import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { createVault, type Envelope, type Place, type VaultError } from './vault.ts'

const newKey = (id: string) => ({ id, key: randomBytes(32) })
const one = newKey('one')
const vault = createVault([one])

const place: Place = {
  organization: '0f0f6f5e-8c9b-8d3e-9d0a-000000000001',
  owner: '3d1d3f0e-0000-4000-8000-000000000001',
  type: 'OKTA',
  domain: 'acme.okta.com',
}

const anyText = fc.string({ unit: 'binary', maxLength: 40 })
/** Pieces of UTF-16 that are no text included. */
const anyUnits = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
  .map((units) => String.fromCharCode(...units))
const anyPlace = fc.record({ organization: anyUnits, owner: anyUnits, type: anyUnits, domain: anyUnits })
const anySecrets = fc.dictionary(fc.oneof(anyText, anyUnits), fc.oneof(anyText, anyUnits), { maxKeys: 5 })

const broken = (error: VaultError) => error.name === 'VaultError' && error.code === 'broken'

test('what was sealed opens in its place, whatever text it is', () => {
  fc.assert(
    fc.property(anyPlace, anySecrets, (anywhere, secrets) => {
      assert.deepEqual(vault.open(anywhere, vault.seal(anywhere, secrets)), { ...secrets })
    }),
  )
})

test('empty and very long secrets are sealed whole, and a field may be called __proto__', () => {
  const secrets = Object.fromEntries([
    ['', ''],
    ['long', 'ß'.repeat(64 * 1024)],
    ['__proto__', 'kept'],
  ])
  const opened = vault.open(place, vault.seal(place, secrets))
  assert.deepEqual(Object.entries(opened), Object.entries(secrets))
})

test('no byte of an envelope can be changed, left out or added', () => {
  const envelope = vault.seal(place, { api_token: 'a secret' })
  const parts = ['wrappedKey', 'sealed'] as const
  for (const part of parts) {
    const bytes = envelope[part]
    for (let at = 0; at < bytes.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Buffer.from(bytes)
        changed.writeUInt8(changed.readUInt8(at) ^ (1 << bit), at)
        assert.throws(() => vault.open(place, { ...envelope, [part]: changed }), broken)
      }
      assert.throws(() => vault.open(place, { ...envelope, [part]: bytes.subarray(0, at) }), broken)
    }
    assert.throws(
      () => vault.open(place, { ...envelope, [part]: Buffer.concat([bytes, Buffer.of(0)]) }),
      broken,
    )
  }
})

test('an envelope opens nowhere but in its place', () => {
  fc.assert(
    fc.property(anyPlace, anyPlace, (here, there) => {
      fc.pre(Object.keys(here).some((part) => here[part as keyof Place] !== there[part as keyof Place]))
      assert.throws(() => vault.open(there, vault.seal(here, { a: 'b' })), broken)
    }),
  )
  const envelope = vault.seal(place, { a: 'b' })
  for (const part of Object.keys(place) as (keyof Place)[]) {
    for (const other of ['', `${place[part]} `, place[part].toUpperCase(), place[part].slice(1)]) {
      if (other === place[part]) continue
      assert.throws(() => vault.open({ ...place, [part]: other }, envelope), broken)
    }
  }
})

test('what moves from one part of a place into the next is another place', () => {
  fc.assert(
    fc.property(anyUnits, anyUnits, fc.nat(20), (left, right, cut) => {
      const whole = left + right
      const moved = { ...place, type: whole.slice(0, cut), domain: whole.slice(cut) }
      fc.pre(moved.type !== left)
      assert.throws(
        () => vault.open(moved, vault.seal({ ...place, type: left, domain: right }, { a: 'b' })),
        broken,
      )
    }),
  )
})

test('parts of two envelopes never make one that opens', () => {
  const other = { ...place, owner: '3d1d3f0e-0000-4000-8000-000000000002' }
  const sealedTwice = [vault.seal(place, { a: 'b' }), vault.seal(place, { a: 'c' })] as const
  const elsewhere = vault.seal(other, { a: 'd' })
  const mixed = (wrapped: Envelope, sealed: Envelope) => ({ ...wrapped, sealed: sealed.sealed })
  for (const [wrapped, sealed] of [sealedTwice, sealedTwice.toReversed(), [sealedTwice[0], elsewhere]])
    assert.throws(() => vault.open(place, mixed(wrapped as Envelope, sealed as Envelope)), broken)
  assert.throws(() => vault.open(place, elsewhere), broken)
})

test('an envelope names its key, and opens with no other of that id or of another', () => {
  const two = newKey('two')
  const envelope = vault.seal(place, { a: 'b' })
  assert.equal(envelope.keyId, 'one')
  assert.throws(() => createVault([two]).open(place, envelope), {
    code: 'unknown_key',
    keyId: 'one',
    message: 'the vault key one is needed and not configured',
  })
  assert.throws(() => createVault([newKey('one')]).open(place, envelope), broken)
  // The same key under another id: what is wrapped is bound to the id as well.
  assert.throws(
    () => createVault([{ id: 'two', key: one.key }]).open(place, { ...envelope, keyId: 'two' }),
    broken,
  )
})

test('re-wrapping changes the key and not the secrets, and needs the place', () => {
  const two = newKey('two')
  const both = createVault([two, one])
  const envelope = vault.seal(place, { a: 'b' })
  const renewed = both.rewrap(place, envelope)
  assert.equal(renewed.keyId, 'two')
  assert.deepEqual(createVault([two]).open(place, renewed), { a: 'b' })
  assert.throws(() => both.rewrap({ ...place, domain: 'evil.okta.com' }, envelope), broken)
})

test('the same secrets are never sealed alike', () => {
  const envelopes = Array.from({ length: 100 }, () => vault.seal(place, { a: 'b' }))
  for (const part of ['wrappedKey', 'sealed'] as const)
    assert.equal(new Set(envelopes.map((envelope) => envelope[part].toString('hex'))).size, 100)
})

test('a check value tells a key from another of its id, and nothing else', () => {
  const checkValue = vault.checkValue('one')
  assert.equal(vault.isKey('one', checkValue), true)
  assert.equal(createVault([newKey('one')]).isKey('one', checkValue), false)
  assert.equal(createVault([{ id: 'two', key: one.key }]).isKey('two', checkValue), false)
  assert.equal(vault.isKey('one', checkValue.subarray(1)), false)
  assert.equal(vault.isKey('one', Buffer.alloc(0)), false)
})
