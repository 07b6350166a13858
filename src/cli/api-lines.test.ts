/** Lines that come in pieces, cut wherever the network cuts them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withoutEmptyLines } from './api-lines.ts'

const joined = (pieces: readonly string[]) => pieces.map(withoutEmptyLines()).join('')

/** What holds a character is a line. */
const linesOf = (text: string) => text.split('\n').filter((line) => line !== '')

/** Cuts behind the first character where the first bit is set, and so on. */
function cut(text: string, bits: number): string[] {
  const pieces = ['']
  for (const [at, character] of [...text].entries()) {
    pieces.push(`${pieces.pop()}${character}`)
    if ((bits >> at) & 1) pieces.push('')
  }
  return pieces
}

test('however a text is cut into pieces, it is the same text, and its empty lines alone are left out', () => {
  for (const [text, kept] of [
    ['{"a":1}\n{}\n', '{"a":1}\n{}\n'],
    ['\n\n{}\n\n{}\n\n\n', '{}\n{}\n'],
    ['{}\n\n\n{', '{}\n{'],
  ] as const)
    for (let bits = 0; bits < 2 ** text.length; bits += 1) {
      const pieces = cut(text, bits)
      assert.equal(joined(pieces), kept, JSON.stringify(pieces))
    }
})

test('whatever the lines hold, none is lost, glued to another or cut in two', () => {
  const text = fc.string({ unit: fc.constantFrom('\n', '\r', '\u2028', '{', '"', 'é', '😀'), maxLength: 40 })
  fc.assert(
    fc.property(fc.array(text, { maxLength: 12 }), (pieces) => {
      const kept = joined(pieces)
      assert.deepEqual(linesOf(kept), linesOf(pieces.join('')))
      assert.doesNotMatch(kept, /^\n|\n\n/)
    }),
    { numRuns: 2_000 },
  )
})
