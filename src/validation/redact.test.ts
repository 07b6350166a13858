/** What the redactor hides. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { redactor } from './redact.ts'

test('hides a secret wherever it stands, in every spelling a provider or a URL gives it', () => {
  const secret = 'tr0ub4dor&3~ "quoted"\n'
  const spellings = [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ x: secret }).toString().slice(2),
    JSON.stringify(secret),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('base64url'),
    Buffer.from(secret).toString('hex'),
  ]
  const shown = JSON.stringify(
    redactor(() => [secret])({ deep: [spellings.map((spelling) => `a ${spelling} b`)] }),
  )
  for (const spelling of spellings) assert.ok(!shown.includes(JSON.stringify(spelling).slice(1, -1)))
})

test('leaves everything else as it is', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(redactor(() => [])(value), value)
      assert.deepEqual(redactor(() => ['\u{10ffff}-not-in-there'])(value), value)
    }),
  )
})
