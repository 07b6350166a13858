import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SourceError } from './source-error.ts'

test('an error repeats nothing of the provider uncleaned', () => {
  const token = 'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl'
  const error = new SourceError({
    code: 'refused',
    operation: 'read users',
    status: 401,
    providerCode: `E1\r\n${token}`,
    providerMessage: `no ${token}`,
    hints: { description: `\u001b[31m${token}`, attempt: 1 },
  })
  assert.equal(error.message, 'read users refused 401 E1 [redacted]')
  assert.equal(error.providerMessage, 'no [redacted]')
  assert.deepEqual(error.hints, { description: '[redacted]', attempt: 1 })
})
