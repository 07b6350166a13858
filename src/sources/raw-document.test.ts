import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { leftOut, maxRawBytes, smallRaw } from './raw-document.ts'

const nothing: ReadonlySet<string> = new Set()

test('keeps what is not mapped, sorted, without nulls and empty values', () => {
  const raw = smallRaw(
    {
      id: '00u1',
      zeta: 1,
      alpha: ['b', 'a'],
      none: null,
      blank: '',
      empty: {},
      profile: { login: 'ada', badge: 7 },
    },
    new Set(['id', 'profile.login']),
  )
  assert.equal(JSON.stringify(raw), '{"alpha":["a","b"],"profile":{"badge":7},"zeta":1}')
})

test('a mapped path reaches into each item of a list', () => {
  const raw = smallRaw(
    { organizations: [{ title: 'Engineer', floor: '3' }, { title: 'Lead' }] },
    new Set(['organizations.title']),
  )
  assert.deepEqual(raw, { organizations: [{ floor: '3' }] })
})

test('nothing left is no document', () => {
  assert.equal(smallRaw({ id: 1 }, new Set(['id'])), undefined)
  assert.equal(smallRaw(null, nothing), undefined)
  assert.equal(smallRaw([1], nothing), undefined)
})

test('secrets, pictures and links are left out by their names, at every depth', () => {
  const raw = smallRaw(
    {
      credentials: { password: { value: 'x' }, recovery_question: { answer: 'x' } },
      client_secret: 'x',
      apiToken: 'x',
      hashFunction: 'MD5',
      recoveryEmail: 'ada@home.example',
      thumbnailPhotoUrl: 'https://example.com/x',
      _links: { self: { href: 'https://acme.okta.com/api/v1/users/00u1' } },
      '@odata.etag': 'W/"1"',
      etag: '"1"',
      profile: { Password: 'x', 'Private-Key': 'x', team: 'red' },
    },
    nothing,
  )
  assert.deepEqual(raw, { profile: { team: 'red' } })
})

test('claims and times about passwords are no secrets', () => {
  const document = { changePasswordAtNextLogin: true, passwordChanged: '2026-01-02T03:04:05.000Z' }
  assert.deepEqual(smallRaw({ ...document, passwordPolicies: 'None' }, nothing), document)
})

test('text that is shaped like a token is hidden under any name', () => {
  const text = JSON.stringify(
    smallRaw(
      {
        note: 'Bearer abcdefghijklmnop',
        memo: ['eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.sig'],
        key: '-----BEGIN PRIVATE KEY-----\nabc',
      },
      nothing,
    ),
  )
  assert.doesNotMatch(text, /abcdefgh|eyJ|BEGIN/)
})

test('names are kept that hold the words of a secret, or look like markup', () => {
  const document = { note: 'p < div', room: 'R&D <Europe>', team: 'Basic Research Department' }
  assert.deepEqual(smallRaw(document, nothing), document)
})

test('a member named __proto__ stays a member', () => {
  const raw = smallRaw(
    JSON.parse('{"constructor":"a","profile":{"x__proto__":"b"},"__proto__":{"polluted":true}}'),
    nothing,
  )
  assert.deepEqual(Object.keys(raw ?? {}), ['constructor', 'profile'])
  assert.equal((raw as { polluted?: unknown }).polluted, undefined)
})

test('what does not fit is left out, the largest first, and named', () => {
  const raw = smallRaw(
    {
      profile: {
        bio: 'b'.repeat(500),
        list: Array.from({ length: 50 }, (_, at) => `${at}`.padStart(150, 'x')),
        team: 'red',
      },
    },
    nothing,
  )
  assert.deepEqual(raw?.[leftOut], ['profile.list'])
  assert.deepEqual(Object.keys(raw?.profile ?? {}), ['bio', 'team'])
})

test('long text is cut', () => {
  const { note } = smallRaw({ note: 'n'.repeat(5000) }, nothing) ?? {}
  assert.equal(String(note).length, 512)
})

test('whatever comes, the document is small, canonical and can be stored', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled).reverse()
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([name, member]) => [name, shuffled(member)]),
    )
  }
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 8, stringUnit: 'binary' })), (record) => {
      const raw = smallRaw(record, nothing)
      const text = JSON.stringify(raw ?? {})
      assert.ok(Buffer.byteLength(text) <= maxRawBytes)
      assert.ok(text.isWellFormed())
      assert.doesNotMatch(text, /\\u0000/)
      assert.equal(JSON.stringify(smallRaw(shuffled(record), nothing) ?? {}), text)
      assert.equal(JSON.stringify(raw === undefined ? {} : smallRaw(raw, nothing)), text)
    }),
    { numRuns: 2000 },
  )
})

test('ten thousand members take no longer than they should', () => {
  const record = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, at) => [`member${at}`, 'v'.repeat(300)]),
  )
  const raw = smallRaw(record, nothing)
  assert.ok(Buffer.byteLength(JSON.stringify(raw)) <= maxRawBytes)
})
