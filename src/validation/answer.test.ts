/** What a caller is told of a report. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerTo } from './answer.ts'
import type { CheckReport, Report } from './report.ts'

const check = (part: Partial<CheckReport>): CheckReport => ({
  id: 'token',
  stage: 'access',
  title: 'Access token',
  status: 'passed',
  required: true,
  proves: '',
  duration_ms: 1,
  ...part,
})

const cause = (code: string) => ({
  code,
  title: 'Key refused',
  explanation: 'It is old.',
  remedy: 'Make a new one.',
  docs: 'https://example.com',
})

const report = (verdict: Report['verdict'], checks: readonly CheckReport[], retry?: number): Report => ({
  verdict,
  source: 'example',
  subject: { domain: 'example.com' },
  capabilities: [],
  checks: [...checks],
  warnings: [],
  checked_at: '2026-01-01T00:00:00Z',
  duration_ms: 1,
  ...(retry !== undefined && { retry_after_seconds: retry }),
})

test('answers 200 without errors when valid', () => {
  assert.deepEqual(answerTo(report('valid', [check({})])), { status: 200, errors: [] })
})

test('answers 400 and says what was tried, what the provider said and the remedy', () => {
  const failed = check({
    status: 'failed',
    cause: cause('x_key'),
    provider: { status: 401, code: 'E1', message: 'Invalid token' },
  })
  assert.deepEqual(
    answerTo(report('invalid', [failed, check({ status: 'unknown', cause: cause('x_down') })])),
    {
      status: 400,
      errors: ['Access token: Key refused (401 E1: Invalid token). It is old. Make a new one.'],
    },
  )
})

test('says once what several checks fail for', () => {
  const failed = { status: 'failed', cause: cause('x_key') } as const
  assert.deepEqual(
    answerTo(report('invalid', [check(failed), check({ ...failed, id: 'users', title: 'Users' })])).errors,
    ['Access token, Users: Key refused. It is old. Make a new one.'],
  )
})

test('answers 503 with a wait when nobody could tell, 429 when only the provider’s limit stood in the way', () => {
  const down = check({ status: 'unknown', cause: cause('x_unavailable') })
  const limited = check({ status: 'unknown', cause: cause('x_rate_limited') })
  assert.equal(answerTo(report('indeterminate', [down, limited])).status, 503)
  assert.deepEqual(
    [answerTo(report('indeterminate', [limited], 12)), answerTo(report('indeterminate', [limited], 1e9))].map(
      ({ status, retryAfterSeconds }) => [status, retryAfterSeconds],
    ),
    [
      [429, 12],
      [429, 3_600],
    ],
  )
})

test('always has at least one error when not valid', () => {
  assert.equal(
    answerTo(report('indeterminate', [check({ status: 'skipped', because: 'x' })])).errors.length,
    1,
  )
})
