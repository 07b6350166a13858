import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cleanText, maxTextLength } from './clean-text.ts'

test('text becomes one short line without control characters or markup, whatever it was', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 2000 }),
      fc.integer({ min: 1, max: 500 }),
      (text, limit) => {
        const clean = cleanText(text, limit)
        assert.ok(clean.length <= Math.max(limit, 'an HTML page'.length))
        assert.doesNotMatch(clean, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}<>]/u)
        assert.ok(clean.isWellFormed())
      },
    ),
  )
})

test('an HTML page is named, not shown', () => {
  assert.equal(cleanText('\n<!DOCTYPE html><html><body>Sign in to the network</body>'), 'an HTML page')
})

test('what looks like a token or a key is hidden', () => {
  const tokens = [
    'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl',
    'Bearer abcdefgh12345678',
    'SSWS 00abcdefghijklmnop',
    'ya29.a0AfH6SMBx',
    '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----',
    '-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBg',
  ]
  for (const token of tokens) assert.equal(cleanText(`refused ${token}`), 'refused [redacted]')
})

test('a token that the line breaks of an error page were meant to hide in is hidden all the same', () => {
  assert.equal(cleanText(`${' \n'.repeat(2000)}x eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln`), 'x [redacted]')
})

test('text made to be slow to match costs no more than other text', { timeout: 5000 }, () => {
  for (const piece of ['eyJ-', 'Bearer ', '-----BEGIN A', '< ', 'ya29.-'])
    assert.ok(cleanText(piece.repeat(300_000)).length <= maxTextLength)
})
