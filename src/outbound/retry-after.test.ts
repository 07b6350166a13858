import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { maxWaitSeconds, retryAfterSeconds, secondsUntilReset } from './retry-after.ts'

const receivedAt = new Date('2026-11-24T12:00:00Z')
const noon = receivedAt.getTime() / 1000
const waitOf = (fields: Record<string, string>) => retryAfterSeconds(new Headers(fields), receivedAt)

suite('Retry-After', () => {
  const waits: readonly (readonly [string, Record<string, string>, number | undefined])[] = [
    ['is absent', {}, undefined],
    ['counts seconds', { 'retry-after': '30' }, 30],
    ['may be nothing to wait', { 'retry-after': '0' }, 0],
    ['is rounded up', { 'retry-after': '1.2' }, 2],
    ['ends at the ceiling', { 'retry-after': '1000000000000' }, maxWaitSeconds],
    [
      'ends at the ceiling for more digits than a number holds',
      { 'retry-after': '9'.repeat(400) },
      maxWaitSeconds,
    ],
    ['is not negative', { 'retry-after': '-1' }, undefined],
    ['is not NaN', { 'retry-after': 'NaN' }, undefined],
    ['is not infinite', { 'retry-after': 'Infinity' }, undefined],
    ['has no exponent', { 'retry-after': '1e12' }, undefined],
    ['is not hexadecimal', { 'retry-after': '0x10' }, undefined],
    ['is not empty', { 'retry-after': '' }, undefined],
    ['is not a list', { 'retry-after': '1, 2' }, undefined],
    ['is a date by our clock', { 'retry-after': 'Tue, 24 Nov 2026 12:00:10 GMT' }, 10],
    [
      "is a date by the provider's clock where the answer says it",
      { 'retry-after': 'Tue, 24 Nov 2026 15:00:10 GMT', date: 'Tue, 24 Nov 2026 15:00:00 GMT' },
      10,
    ],
    ['is a date long past', { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    ['is a date far away', { 'retry-after': 'Thu, 01 Jan 2999 00:00:00 GMT' }, maxWaitSeconds],
    ['is no date of another form', { 'retry-after': '2026-11-24' }, undefined],
    ['is no date that does not exist', { 'retry-after': 'Tue, 99 Nov 2026 12:00:10 GMT' }, undefined],
    [
      'is a date beside an unreadable Date',
      { 'retry-after': 'Tue, 24 Nov 2026 12:00:10 GMT', date: 'soon' },
      10,
    ],
  ]
  for (const [what, fields, seconds] of waits) test(what, () => assert.equal(waitOf(fields), seconds))
})

suite('the reset of a rate limit', () => {
  const reset = (text: string | null, fields: Record<string, string> = {}) =>
    secondsUntilReset(text, new Headers(fields), receivedAt)

  test('counts from our clock', () => assert.equal(reset(String(noon + 12)), 12))

  test("counts from the provider's clock where the answer says it", () => {
    assert.equal(reset(String(noon + 3612), { date: 'Tue, 24 Nov 2026 13:00:00 GMT' }), 12)
  })

  test('is bounded or undefined, whatever it says', () => {
    assert.equal(reset(null), undefined)
    assert.equal(reset(''), undefined)
    assert.equal(reset('NaN'), undefined)
    assert.equal(reset('-1'), undefined)
    assert.equal(reset('0'), 0)
    assert.equal(reset('1000000000000'), maxWaitSeconds)
  })
})

test('every wait is a whole number from zero to the ceiling', () => {
  const texts = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'0123456789.-+eE, xN') }),
    fc.double().map(String),
    fc.date({ noInvalidDate: false }).map((date) => date.toUTCString()),
  )
  fc.assert(
    fc.property(texts, fc.option(texts), (text, date) => {
      const headers = new Headers({ 'retry-after': text, ...(date !== null && { date }) })
      for (const wait of [
        retryAfterSeconds(headers, receivedAt),
        secondsUntilReset(text, headers, receivedAt),
      ])
        assert.ok(
          wait === undefined || (Number.isInteger(wait) && wait >= 0 && wait <= maxWaitSeconds),
          `${wait}`,
        )
    }),
    { numRuns: 1000 },
  )
})
