import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cleanFreeValue, cleanText, cleanValue, maxTextLength } from './clean-text.ts'

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

/** As people name departments, groups and rooms, in some scripts. */
const word = fc.oneof(
  fc.constantFrom('Basic', 'basic', 'BASIC', 'Bearer', 'bearer', 'Research', 'Assistants', 'Développement'),
  fc.constantFrom(
    'JavaScript',
    'PowerShell',
    'Organisation',
    'Telecommunications',
    'Ozonforschung',
    '日本語',
  ),
  fc.constantFrom('<', '>', '<Europe>', 'p', 'div', '&', 'R&D', 'AT&T', 'Übung', 'على', 'می‌خواهم', '–'),
  fc.stringMatching(/^[A-Z]?[a-z]{1,14}$/),
)
const name = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(' '))

test('a name is told as it is, whatever it looks like', () => {
  fc.assert(
    fc.property(name, (name) => {
      assert.equal(cleanValue(name, 512), name)
      // The longest words alone may be a token behind this one.
      fc.pre(!/bearer\s+Telecommunications/i.test(name))
      assert.equal(cleanFreeValue(name, 512), name)
    }),
    { numRuns: 5000 },
  )
})

const printable = (minLength: number) => fc.stringMatching(new RegExp(`^[!-9;-~]{${minLength},24}$`))
const token = fc.stringMatching(/^[A-Za-z0-9]{20,40}$/)
const credential = fc.oneof(
  fc
    .tuple(printable(3), printable(3))
    .map(([user, password]) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`),
  fc.tuple(fc.constantFrom('Bearer', 'bearer', 'SSWS', 'DPoP'), token).map((parts) => parts.join(' ')),
  token.map((part) => `eyJ${part}.eyJ${part}.${part}`),
  token.map((part) => `ya29.${part}`),
  token.map((part) => `-----BEGIN PRIVATE KEY-----\n${part}\n-----END PRIVATE KEY-----`),
)

test('a credential among other words is hidden, in what anybody may write and in what a provider says', () => {
  fc.assert(
    fc.property(name, credential, name, (before, credential, after) => {
      const secret = credential.split(/\s+/).at(credential.startsWith('-----') ? 3 : -1) ?? ''
      const text = `${before} ${credential} ${after}`
      assert.ok(!cleanFreeValue(text, 2000).includes(secret))
      assert.ok(!cleanText(text, 2000).includes(secret))
    }),
    { numRuns: 5000 },
  )
})

test('whatever a value was, it is one short line, and clean when it is cleaned again', () => {
  for (const clean of [cleanValue, cleanFreeValue])
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 2000 }),
        fc.integer({ min: 12, max: 500 }),
        (text, limit) => {
          const value = clean(text, limit)
          assert.ok(value.length <= limit)
          assert.doesNotMatch(value, /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u)
          assert.ok(value.isWellFormed())
          assert.equal(clean(value, limit), value)
        },
      ),
    )
})
