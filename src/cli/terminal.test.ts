import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fold, jsonLine, printable } from './terminal.ts'

const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
const anyText = fc.string({ unit: 'binary' })

test('nothing printable() lets through can steer a terminal', () => {
  fc.assert(fc.property(anyText, (text) => !unprintable.test(printable(text))))
  assert.equal(printable('a\x1b[31m\u009b1m\u202eb\r\nc'), 'a [31m 1m b  c')
})

test('a line of JSON holds no such character either, and means the same', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const line = jsonLine({ text })
      assert.ok(line.endsWith('}\n'))
      assert.doesNotMatch(line.slice(0, -1), unprintable)
      assert.deepEqual(JSON.parse(line), { text })
    }),
  )
})

test('folded text keeps its words in order, and its lines within the width unless a word is longer', () => {
  const words = fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1 })
  fc.assert(
    fc.property(words, fc.integer({ min: 5, max: 60 }), (all, width) => {
      const lines = fold(all.join(' '), width, '  ')
      assert.deepEqual(
        lines.flatMap((line) => line.trim().split(' ')),
        all,
      )
      for (const line of lines) {
        assert.match(line, /^ {2}\S/)
        assert.ok(line.length <= width || !line.trim().includes(' '))
      }
    }),
  )
})
