import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Link, linksIn, nextTargetIn } from './links.ts'

const host = 'acme.okta.com'
const asked = { operation: 'read users', target: '/api/v1/users?limit=200' }
const next = 'https://acme.okta.com/api/v1/users?after=2&limit=200'
const nextIn = (link: string) => nextTargetIn(new Headers({ link }), asked, host)

const withNext = {
  'as Okta writes it': `<https://acme.okta.com/api/v1/users>; rel="self", <${next}>; rel="next"`,
  'without spaces': `<https://acme.okta.com/api/v1/users>;rel="self",<${next}>;rel="next"`,
  'without quotation marks': `<${next}>; rel=next`,
  'in capitals': `<${next}>; REL="NEXT"`,
  'after a parameter with a comma and a semicolon': `<${next}>; title="a, b; c"; rel="next"`,
  'after a parameter with quotation marks': `<${next}>; title="a \\"b\\", <c>; rel=prev"; rel="next"`,
  'after a link whose parameter has a link in it': `</x>; title=", <https://evil.example>; rel=next", <${next}>; rel="next"`,
  'among several relations': `<${next}>; rel="last  next"`,
  'before a second relation, which does not count': `<${next}>; rel="next"; rel="prev"`,
  'after parameters without a value': `<${next}>;;crossorigin; x=; rel="next";`,
  'among empty items': `, ,<https://acme.okta.com/api/v1/users>; rel="self",, <${next}>; rel="next", `,
}
for (const [how, header] of Object.entries(withNext))
  test(`the next link is found ${how}`, () => {
    assert.equal(nextIn(header), '/api/v1/users?after=2&limit=200')
  })

test('links that lead elsewhere than on are not followed', () => {
  for (const header of [
    '',
    `<${next}>`,
    `<${next}>; rel="prev"; rel="next"`,
    `<${next}>; title="rel=next"`,
    `<${next}>; rel="nextpage"`,
    `<${next}>; rev="next"`,
  ])
    assert.equal(nextIn(header), undefined, header)
})

test('a header that cannot be read is no end of a list', () => {
  for (const header of [
    `<${next}; rel="next"`,
    `<${next}>; rel="next`,
    `<${next}>; title="a" b; rel="next"`,
    `${next}; rel="next"`,
    `<https://acme.okta.com/api/v1/users>; rel="self" <${next}>; rel="next"`,
  ])
    assert.throws(
      () => nextIn(header),
      { hints: { next_link: 'is in a header that cannot be read' } },
      header,
    )
})

/** Of a header's characters, the printable ones and the tab. */
const text = fc.string({ unit: fc.constantFrom(...'\t ab,;="\\<>/?%&'.split('')), maxLength: 12 })
const name = fc.stringMatching(/^[a-z*-]{1,8}$/)
const parameter = fc.record({ name, value: text })
const link = fc.record({
  target: text.map((target) => target.replaceAll('>', '')),
  relations: fc.uniqueArray(fc.stringMatching(/^[a-z]{1,5}$/), { minLength: 1, maxLength: 3 }),
  before: fc.array(parameter, { maxLength: 3 }),
  after: fc.array(parameter, { maxLength: 3 }),
})
const space = fc.constantFrom('', ' ', '\t', '  ')

test('whatever links a header is written of, those are read', () => {
  fc.assert(
    fc.property(fc.array(link, { maxLength: 4 }), space, space, (given, before, after) => {
      const written = given.map(({ target, relations, before: earlier, after: later }) => {
        const parameters = [
          ...earlier.filter(({ name }) => name !== 'rel'),
          { name: 'rel', value: relations.join(' ') },
          ...later,
        ].map(({ name, value }) => `${name}${before}=${after}"${value.replace(/["\\]/g, '\\$&')}"`)
        return [`<${target}>`, ...parameters].join(`${before};${after}`)
      })
      const expected: Link[] = given.map(({ target, relations }) => ({ target, relations }))
      assert.deepEqual(linksIn(written.join(`${before},${after}`)), expected)
    }),
    { numRuns: 2000 },
  )
})

test('whatever a header holds, it is read in no time', { timeout: 5000 }, () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (header) => {
      linksIn(header)
    }),
  )
  for (const piece of ['<', ';', ' ', '; a', '; a="', '\\', '<x>; a=" ', ',<>'])
    linksIn(`<x>${piece.repeat(20_000)}`)
})
