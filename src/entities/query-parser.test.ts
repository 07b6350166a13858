import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { queryTrees } from '../../test/query-trees.ts'
import { queryFieldNames } from './query-fields.ts'
import { longestQuery, parseQuery, QueryFault } from './query-parser.ts'
import { printQuery, type QueryTree } from './query-tree.ts'

const printed = (text: string) => {
  const tree = parseQuery(text)
  return tree === undefined ? undefined : printQuery(tree)
}

test('reads words, fields, quotes, stars, negations, alternatives and parentheses', () => {
  for (const [text, expected] of [
    ['', undefined],
    ['  \n\t ', undefined],
    ['ada', 'ada'],
    ['  ada   lovelace ', 'ada lovelace'],
    ['ada AND lovelace', 'ada lovelace'],
    ['Department:Sales', 'department:Sales'],
    ['department:"Sales EMEA"', 'department:"Sales EMEA"'],
    ['email:ada*', 'email:ada*'],
    ['name:"ada lo"*', 'name:"ada lo"*'],
    ['title:*', 'title:*'],
    ['*', '*'],
    ['-ada', '-ada'],
    ['NOT ada', '-ada'],
    ['--ada', '-(-ada)'],
    ['a b OR c d', 'a b OR c d'],
    ['a (b OR c)', 'a (b OR c)'],
    ['((a))', 'a'],
    ['-(a b)', '-(a b)'],
    ['jean-luc', 'jean-luc'],
    ['"OR"', '"OR"'],
    ['or', 'or'],
    ['ORacle', 'ORacle'],
    ['"a \\"b\\" \\\\ c"', '"a \\"b\\" \\\\ c"'],
    ['ACME\\ada', '"ACME\\\\ada"'],
    ['ip:fe80::1', 'ip:"fe80::1"'],
    ['fe80::1', '"fe80::1"'],
    ["o'brien&co|!", "o'brien&co|!"],
  ] as const)
    assert.equal(printed(text), expected, text)
})

test('says what was expected and where', () => {
  for (const [text, message] of [
    ['department:', 'expected a value after "department:" at position 11'],
    ['a department: b', 'expected a value after "department:" at position 13'],
    ['department:""', 'expected a value after "department:" at position 11'],
    ['" "', 'expected a value at position 0'],
    ['a )', 'expected "(" before this ")" at position 2'],
    ['(a', 'expected ")" for the "(" of position 0 at position 2'],
    ['()', 'expected a term before ")" at position 1'],
    ['a OR', 'expected a term at position 4'],
    ['OR a', 'expected a term before "OR" at position 0'],
    ['a AND OR b', 'expected a term before "OR" at position 6'],
    ['-', 'expected a term after "-" at position 1'],
    ['a - b', 'expected a term after "-" at position 3'],
    ['a NOT', 'expected a term at position 5'],
    ['a*b', 'expected "*" at the end of a term alone, or quotes around the text, at position 1'],
    ['"a', 'expected a closing quote for that of position 0 at position 2'],
    ['"a"b', 'expected a blank after the quotes at position 3'],
    ['a"b"', 'expected a blank at position 1'],
    ['privileged:yes', 'expected true or false after "privileged:" at position 11'],
    ['\ud800', 'expected whole characters at position 0'],
    ['a\u0000', 'expected no control character at position 1'],
    ['('.repeat(40), 'expected at most 32 levels of parentheses and negations at position 33'],
    [`${'-'.repeat(40)}a`, 'expected at most 32 levels of parentheses and negations at position 33'],
    ['a '.repeat(51), 'expected at most 50 terms at position 100'],
    ['x'.repeat(longestQuery + 1), `expected at most ${longestQuery} characters at position ${longestQuery}`],
  ] as const)
    assert.throws(
      () => parseQuery(text),
      (error) => {
        assert.ok(error instanceof QueryFault)
        assert.equal(error.message, message)
        return true
      },
    )
  assert.throws(() => parseQuery('colour:red'), {
    message: `expected one of the fields ${queryFieldNames.join(', ')}, or quotes around the text, at position 0`,
  })
})

const value = fc.oneof(
  fc.constantFrom('ada', 'OR', '-x', 'a b', 'x:y', '(', '"', '\\', "o'b", '*', 'é', '😀', 'fe80::1', 'a*'),
  fc.string({ minLength: 1, maxLength: 8, unit: 'binary' }).filter((text) => !/\p{Cc}|^\s*$/u.test(text)),
)

const term = fc
  .record({
    field: fc.option(
      fc.constantFrom(...queryFieldNames.filter((name) => name !== 'mfa' && name !== 'privileged')),
      { nil: undefined },
    ),
    value: value.filter((text) => text.normalize('NFKC').trim() !== '' && text.isWellFormed()),
    isPrefix: fc.boolean(),
  })
  .map(({ field, ...rest }): QueryTree => ({ kind: 'term', ...(field && { field }), ...rest, at: 0 }))

const tree = queryTrees(term, { maxDepth: 3, weight: 1 })

const withoutPlaces = (node: QueryTree): QueryTree => {
  if (node.kind === 'term') return { ...node, at: 0 }
  if (node.kind === 'not') return { ...node, of: withoutPlaces(node.of) }
  return node.kind === 'all' ? node : { ...node, of: node.of.map(withoutPlaces) }
}

test('every tree is understood as itself when it is written', () => {
  fc.assert(
    fc.property(tree, (made) => {
      const read = parseQuery(printQuery(made))
      assert.ok(read !== undefined)
      assert.deepEqual(withoutPlaces(read), withoutPlaces(made))
    }),
    { numRuns: 3_000 },
  )
})

test('whatever the text is, there is a tree that is written as a text of the same tree, or a fault within the text', () => {
  const piece = fc.constantFrom(
    '"',
    '\\',
    '(',
    ')',
    '-',
    '*',
    ':',
    ' ',
    'OR',
    'AND',
    'NOT',
    'email:',
    'a',
    'b',
    '\0',
    '\ud800',
  )
  const text = fc.oneof(
    fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 4_000 }),
  )
  fc.assert(
    fc.property(text, (given) => {
      try {
        const read = parseQuery(given)
        if (read === undefined) return assert.match(given, /^\s*$/)
        const again = parseQuery(printQuery(read))
        assert.ok(again !== undefined)
        assert.deepEqual(withoutPlaces(again), withoutPlaces(read))
      } catch (error) {
        if (!(error instanceof QueryFault)) throw error
        assert.ok(error.position >= 0 && error.position <= given.length, error.message)
      }
    }),
    { numRuns: 5_000 },
  )
})
