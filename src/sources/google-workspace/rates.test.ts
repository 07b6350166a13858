import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rates } from './rates.ts'
import { GoogleCredentials } from './secrets.ts'

const account = (email: string | undefined, admin: string | undefined, domain = 'example.com') =>
  rates.account({
    domain,
    credentials: new GoogleCredentials(
      'service_account',
      { client_email: email, project_id: 'claimed' },
      admin,
    ),
  })

test('configurations of one Workspace with one project share a budget, others do not', () => {
  const robot = 'robot@acme-sync.iam.gserviceaccount.com'
  const budget = account(robot, 'admin@example.com')
  assert.equal(budget, 'acme-sync/example.com')
  assert.equal(account(robot, 'Other.Admin@EXAMPLE.com', 'secondary.example'), budget)
  assert.equal(account('second@acme-sync.iam.gserviceaccount.com', 'admin@example.com'), budget)
  assert.notEqual(account('robot@other.iam.gserviceaccount.com', 'admin@example.com'), budget)
  assert.notEqual(account(robot, 'admin@initech.com'), budget)
  assert.equal(account(robot, undefined, 'https://Example.com/'), budget)
})

test('credentials of any form have an account of a short and plain name', () => {
  for (const email of [
    undefined,
    '',
    'x',
    'a@developer.gserviceaccount.com',
    '\u0000',
    'a b@c',
    'x'.repeat(9_999),
  ])
    for (const admin of [undefined, '', 'no address', `${'x'.repeat(9_999)}@y`])
      assert.match(account(email, admin, '::'), /^[\w.@+-]{1,200}\/unknown$/)
})

const url = (path: string) => ({ method: 'GET', url: `https://admin.googleapis.com${path}` }) as const

test('each API has a bucket of its own', () => {
  assert.deepEqual(rates.bucketOf(url('/admin/directory/v1/users?x=1')), { bucket: 'directory', cost: 1 })
  assert.deepEqual(rates.bucketOf(url('/admin/reports/v1/activity')), { bucket: 'reports', cost: 1 })
  assert.deepEqual(rates.bucketOf({ method: 'POST', url: 'https://oauth2.googleapis.com/token' }), {
    bucket: 'token',
    cost: 1,
  })
  assert.deepEqual(rates.documented('directory'), { points: 2_400, perMs: 60_000 })
})

const stopAfter = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  rates.newsIn(
    { status, headers: new Headers(headers), text: typeof body === 'string' ? body : JSON.stringify(body) },
    'directory',
  )?.throttledForMs
const because = (reason: string) => ({ error: { code: 403, errors: [{ domain: 'usageLimits', reason }] } })

test('what throttles is known by its reason, whatever its status', () => {
  assert.equal(stopAfter(403, because('userRateLimitExceeded')), 5_000)
  assert.equal(stopAfter(403, because('quotaExceeded')), 1_000)
  assert.equal(stopAfter(503, because('userRateLimitExceeded')), 5_000)
  assert.equal(stopAfter(429, because('rateLimitExceeded')), 5_000)
  assert.equal(stopAfter(429, { error: { details: [{ reason: 'RATE_LIMIT_EXCEEDED' }] } }), 5_000)
  assert.equal(stopAfter(429, '<html>'), 5_000)
  assert.equal(stopAfter(429, { error: 'rate_limit_exceeded' }), 5_000)
  for (const [status, body] of [
    [403, because('forbidden')],
    [403, because('accessNotConfigured')],
    [403, '<html>'],
    [403, '[]'],
    [403, 'null'],
    [503, because('backendError')],
    [503, ''],
    [200, because('userRateLimitExceeded')],
    [401, because('authError')],
    [403, `{"error":{"errors":[{"reason":"quotaExceeded"}]},"x":"${'x'.repeat(70_000)}"}`],
  ] as const)
    assert.equal(stopAfter(status, body), undefined)
})

test('a wait that is asked for is kept, within an hour, and nonsense is none', () => {
  assert.equal(stopAfter(429, '', { 'retry-after': '30' }), 30_000)
  assert.equal(stopAfter(429, '', { 'retry-after': '0' }), 5_000)
  assert.equal(stopAfter(429, '', { 'retry-after': '1e12' }), 5_000)
  assert.equal(stopAfter(429, '', { 'retry-after': '1000000000000' }), 3_600_000)
  assert.equal(stopAfter(429, '', { 'retry-after': '-1' }), 5_000)
})
