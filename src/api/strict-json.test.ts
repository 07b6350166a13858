import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { JsonFault, maxDepth, parseStrictJson } from './strict-json.ts'

const faultOf = (text: string): string => {
  try {
    parseStrictJson(text)
  } catch (error) {
    assert.ok(error instanceof JsonFault)
    return error.message
  }
  assert.fail('it was accepted')
}

test('reads every document that JSON.parse reads, and the same out of it', () => {
  const key = fc.string().filter((name) => !['__proto__', 'constructor', 'prototype'].includes(name))
  const text = fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0') && value.isWellFormed())
  const number = fc.oneof(fc.maxSafeInteger(), fc.double({ min: -1e15, max: 1e15, noNaN: true }))
  const { document } = fc.letrec((tie) => ({
    document: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, true, false),
      number,
      text,
      fc.array(tie('document'), { maxLength: 5 }),
      fc.dictionary(
        key.map((name) => name.replaceAll('\0', '')).filter((name) => name.isWellFormed()),
        tie('document'),
        {
          maxKeys: 5,
          noNullPrototype: true,
        },
      ),
    ),
  }))
  fc.assert(
    fc.property(document, fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      const json = JSON.stringify(value, null, indent)
      assert.deepEqual(parseStrictJson(json), JSON.parse(json))
    }),
    { numRuns: 2_000 },
  )
})

test('refuses whatever JSON.parse refuses', () => {
  const piece = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '\\',
      '\\u',
      '\\ud800',
      '00',
      '0',
      '-',
      '1e',
      '.5',
      'tru',
      'true',
      'null',
    ],
    ...['"a"', ' ', '\n', '\u0000', 'é', '/*', '//', "'", 'NaN', 'Infinity', '\ufeff', '\u2028', '+1', '0x1'],
  )
  const readable = (text: string) => {
    try {
      JSON.parse(text)
      return true
    } catch {
      return false
    }
  }
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('')
      if (!readable(text)) assert.throws(() => parseStrictJson(text), JsonFault)
    }),
    { numRuns: 20_000 },
  )
})

test('says where the first fault is, and not what stands there', () => {
  const expected: [text: string, message: string][] = [
    ['', 'the document ends too early at line 1, column 1'],
    ['{"a": 1,\n  hunter2}', 'expected a key in double quotes at line 2, column 3'],
    ['{"a" 1}', 'expected a colon at line 1, column 6'],
    ['{"a": 1 "b"}', 'expected a comma or the end of the object at line 1, column 9'],
    ['[1 2]', 'expected a comma or the end of the list at line 1, column 4'],
    ['[1,]', 'expected a value at line 1, column 4'],
    ['{"a":1,}', 'expected a key in double quotes at line 1, column 8'],
    ['"hunter2', 'a string without end at line 1, column 1'],
    ['"a\nb"', 'a control character in a string at line 1, column 3'],
    ['"\\x41"', 'an escape that JSON does not know at line 1, column 2'],
    ['"\\u00zz"', 'expected four hexadecimal digits at line 1, column 2'],
    ['{} hunter2', 'expected the end of the document at line 1, column 4'],
  ]
  for (const [text, message] of expected) assert.equal(faultOf(text), message)
})

test('refuses what other parsers quietly repair', () => {
  assert.match(faultOf('{"domain":"a","domain":"b"}'), /a key is given twice at line 1, column 15/)
  assert.match(faultOf('{"a":1,"\\u0061":2}'), /given twice/)
  for (const key of ['__proto__', 'constructor', 'prototype', '\\u005f_proto__'])
    assert.match(faultOf(`{"${key}":{}}`), /a key that is not allowed/)
  assert.match(faultOf('"\\u0000"'), /NUL/)
  assert.match(faultOf('"\\ud800"'), /surrogate/)
  assert.match(faultOf('"\\udc00\\ud800"'), /surrogate/)
  assert.match(faultOf('{"\\udfff":1}'), /surrogate/)
  for (const number of ['1e400', '-1e400', '9007199254740993', '123456789012345678901234567890'])
    assert.match(faultOf(number), /a number is too large/)
})

test('takes nesting up to its limit, and stops right there beyond', () => {
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
  parseStrictJson(nested(maxDepth))
  assert.match(faultOf(nested(maxDepth + 1)), /nesting deeper than 32 levels at line 1, column 33/)
  assert.match(faultOf('['.repeat(10_000_000)), /nesting deeper than 32 levels at line 1, column 33/)
  assert.match(faultOf('{"a":'.repeat(100_000)), /nesting deeper than 32 levels/)
})
