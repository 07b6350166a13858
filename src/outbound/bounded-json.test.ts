import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { JsonRefused, maxJsonDepth, parseBoundedJson } from './bounded-json.ts'

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

test('JSON is parsed as it stands', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value)
      assert.deepEqual(parseBoundedJson(text), JSON.parse(text))
    }),
  )
})

test('nesting is accepted up to the limit and no deeper', () => {
  assert.ok(Array.isArray(parseBoundedJson(nested(maxJsonDepth))))
  assert.throws(() => parseBoundedJson(nested(maxJsonDepth + 1)), JsonRefused)
  assert.throws(() => parseBoundedJson('{"a":'.repeat(500_000)), JsonRefused)
})

test('brackets in strings do not count', () => {
  const text = JSON.stringify({ '[[[': `${'['.repeat(1000)}\\"${'{'.repeat(1000)}` })
  assert.deepEqual(parseBoundedJson(text), JSON.parse(text))
})

test('what is no JSON is refused without being quoted', () => {
  for (const text of ['', ' \n', '<html>secret</html>', '{"token":"secret', 'secret', '{"a":1}}', 'NaN'])
    assert.throws(
      () => parseBoundedJson(text),
      (error: Error) => {
        assert.ok(error instanceof JsonRefused)
        assert.doesNotMatch(`${error.message} ${error.stack} ${String(error.cause)}`, /secret/)
        return true
      },
      text,
    )
})
