import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MomentFault, readMoment } from './moments.ts'

const now = Date.parse('2026-11-24T09:00:00.123Z')

test('reads RFC 3339, Unix seconds and milliseconds, and times relative to now', () => {
  for (const [text, expected] of [
    ['now', '2026-11-24T09:00:00.123Z'],
    ['now-7d', '2026-11-17T09:00:00.123Z'],
    ['now-15m', '2026-11-24T08:45:00.123Z'],
    ['now+1h', '2026-11-24T10:00:00.123Z'],
    ['now-1w', '2026-11-17T09:00:00.123Z'],
    ['now-1d-12h', '2026-11-22T21:00:00.123Z'],
    ['2026-11-24T09:00:00Z', '2026-11-24T09:00:00.000Z'],
    ['2026-11-24t09:00:00.5z', '2026-11-24T09:00:00.500Z'],
    ['2026-11-24T09:00:00.123999Z', '2026-11-24T09:00:00.123Z'],
    ['2026-11-24T09:00:00+05:30', '2026-11-24T03:30:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['2016-12-31T23:59:60Z', '2016-12-31T23:59:59.000Z'],
    ['0', '1970-01-01T00:00:00.000Z'],
    ['1764000000', '2025-11-24T16:00:00.000Z'],
    ['1764000000123', '2025-11-24T16:00:00.123Z'],
  ] as const)
    assert.equal(new Date(readMoment(text, now)).toISOString(), expected, text)
})

test('says what was expected, and where in a relative time', () => {
  for (const [text, message] of [
    ['now-', 'expected a whole number at position 4'],
    ['now7d', 'expected "+" or "-" at position 3'],
    ['now-7', 'expected one of the units s, m, h, d, w at position 5'],
    ['now-7d3', 'expected "+" or "-" at position 6'],
    ['now-999999999w', 'expected a time between the years 1 and 9999'],
    ['2026-02-30T00:00:00Z', 'expected a time that exists'],
    ['2023-02-29T00:00:00Z', 'expected a time that exists'],
    ['2026-13-01T00:00:00Z', 'expected a time that exists'],
    ['2026-01-01T24:00:00Z', 'expected a time that exists'],
    ['0000-01-01T00:00:00Z', 'expected a time between the years 1 and 9999'],
  ] as const)
    assert.throws(() => readMoment(text, now), { name: 'MomentFault', message }, text)
  for (const text of ['', '2026-11-24', '2026-11-24T09:00:00', 'yesterday', '-5', '1e9', '1'.repeat(16)])
    assert.throws(() => readMoment(text, now), /^MomentFault: expected an RFC 3339 time/, text)
})

test('whatever the text is, there is a time or a fault', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.stringMatching(/^now([+-]\d{0,12}[smhdwx]?){0,3}$/),
    fc.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/),
    fc.bigInt({ min: 0n, max: 10n ** 20n }).map(String),
  )
  fc.assert(
    fc.property(text, (given) => {
      try {
        assert.ok(Number.isInteger(readMoment(given, now)))
      } catch (error) {
        assert.ok(error instanceof MomentFault)
      }
    }),
    { numRuns: 5_000 },
  )
})
