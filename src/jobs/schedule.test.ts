import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Report } from '../validation/report.ts'
import { createSchedule, daysLeft, endOf, passedMarks } from './schedule.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const periodMs = 6 * hourMs
const at = new Date('2026-11-24T12:00:00Z')

const reportOf = (more: Partial<Report>): Report => ({
  verdict: 'valid',
  source: 'acme',
  subject: { domain: 'acme.example' },
  capabilities: [],
  checks: [],
  warnings: [],
  checked_at: at.toISOString(),
  duration_ms: 1,
  ...more,
})

const waitMs = (report: Partial<Report>, random?: () => number) =>
  createSchedule(periodMs, random).after(reportOf(report), at).nextValidationAt.getTime() - at.getTime()

test('the next validation comes after the period, a tenth sooner or later', () => {
  assert.equal(Math.round(waitMs({}, () => 0)), 0.9 * periodMs)
  assert.equal(Math.round(waitMs({}, () => 1)), Math.round(1.1 * periodMs))
})

test('it comes right after a mark that lies before', () => {
  for (const days of [3, 14, 30]) {
    const end = new Date(at.getTime() + days * dayMs + hourMs)
    assert.equal(
      waitMs({ credentials_expire_at: end.toISOString() }, () => 0),
      hourMs,
    )
  }
})

test('what settled nothing is asked again soon, but not before the provider wants it', () => {
  assert.equal(
    waitMs({ verdict: 'indeterminate' }, () => 0.5),
    5 * 60_000,
  )
  assert.equal(
    waitMs({ verdict: 'indeterminate', retry_after_seconds: 900 }, () => 0.5),
    900_000,
  )
})

test('the waits after what settled nothing double up to the period', () => {
  const { afterUnclear } = createSchedule(periodMs, () => 0.5)
  const minutes = [1, 2, 3, 7, 8, 1_000].map(
    (count) => (afterUnclear(count, at).getTime() - at.getTime()) / 60_000,
  )
  assert.deepEqual(minutes, [5, 10, 20, 320, 360, 360])
})

test('whatever a report tells of the end, the next validation is in the future and within the period', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.date().map((date) => (Number.isNaN(date.getTime()) ? 'x' : date.toISOString())),
      ),
      fc.constantFrom('valid', 'invalid', 'indeterminate'),
      fc.option(fc.double({ min: 0, max: 1e12, noNaN: true }), { nil: undefined }),
      (credentials_expire_at, verdict, retry) => {
        const ms = waitMs({
          verdict,
          credentials_expire_at,
          ...(retry !== undefined && { retry_after_seconds: retry }),
        })
        assert.ok(ms > 0 && ms <= 1.1 * periodMs + 1, `${ms}`)
      },
    ),
  )
})

test('an end that is no time, or never, is none', () => {
  for (const credentials_expire_at of ['', 'soon', '+275760-09-13T00:00:00.000Z', '-000001-01-01T00:00:00Z'])
    assert.equal(endOf(reportOf({ credentials_expire_at })), undefined)
  assert.equal(endOf(reportOf({})), undefined)
})

test('marks are passed at their very moment, and days left are whole and never below 0', () => {
  const end = new Date(at.getTime() + 14 * dayMs)
  assert.deepEqual(passedMarks(end, at), [14, 30])
  assert.deepEqual(passedMarks(new Date(end.getTime() + 1), at), [30])
  assert.equal(daysLeft(end, at), 14)
  assert.equal(daysLeft(at, end), 0)
})
