import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { memoryStage } from '../../test/memory-stage.ts'
import { canonicalJson, stagePage } from './staging.ts'

/** The same document with its members in another order. */
const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  )
}

test('equal documents are equal text, in whatever order their members came', () => {
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      assert.equal(canonicalJson(reversed(value)), canonicalJson(value))
    }),
  )
})

test('a document says what it said before, but for what no database keeps', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      fc.pre(!JSON.stringify(value).includes('\\u0000'))
      assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)))
    }),
  )
  assert.equal(canonicalJson({ a: 'x\0y\ud800', b: undefined }), '{"a":"xy\ufffd"}')
  assert.equal(canonicalJson({ 'b\0': [{ c: '\0' }], a: '\\u0000' }), '{"a":"\\\\u0000","b":[{"c":""}]}')
})

test('members, facts and changes of ids that cannot be kept are left out', async () => {
  const { page, rows } = await stagePage(
    { organizationId: 'o', configId: 'c', source: 'acme' },
    memoryStage(),
    {
      memberships: [
        { group: 'g', member: 'u\0' },
        { group: 'g', member: 'u' },
      ],
      facts: [
        { kind: 'identity', uid: '', name: 'roles', value: 'a' },
        { kind: 'identity', uid: 'u', name: 'roles', value: 'a\0b' },
      ],
      removed: [{ kind: 'identity', uid: '\udfff' }],
    },
    { list: 'users', kinds: ['identity'] },
  )
  assert.deepEqual(page.memberships, [{ group: 'g', member: 'u' }])
  assert.deepEqual(page.facts, [{ kind: 'identity', uid: 'u', name: 'roles', value: 'ab' }])
  assert.deepEqual(page.removed, [])
  assert.equal(rows, 2)
})
