import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { rateNewsIn, ratesOf } from './rates.ts'

const rates = ratesOf(['id.acme.com'])
const date = 'Tue, 24 Nov 2026 09:00:00 GMT'
const epoch = Date.parse(date) / 1000

const headersOf = (limit: unknown, remaining: unknown, reset: unknown, more: object = {}) =>
  new Headers({
    date,
    'x-rate-limit-limit': String(limit),
    'x-rate-limit-remaining': String(remaining),
    'x-rate-limit-reset': String(reset),
    ...more,
  })
const newsOf = (status: number, headers: Headers) => rateNewsIn({ status, headers })

test('a request counts against the bucket of the most specific path', () => {
  const expected = {
    'https://acme.okta.com/api/v1/users?limit=200': ['/api/v1/users', 600],
    'https://acme.okta.com/api/v1/users/me': ['/api/v1/users/{id}', 2000],
    'https://acme.okta.com/api/v1/users/00u1/groups': ['/api/v1', 1200],
    'https://acme.okta.com/api/v1/groups?expand=stats': ['/api/v1/groups', 500],
    'https://acme.okta.com/api/v1/groups/00g1': ['/api/v1/groups/{id}', 1000],
    'https://acme.okta.com/api/v1/groups/00g1/users?limit=1000': ['/api/v1', 1200],
    'https://acme.okta.com/api/v1/iam/assignees/users': ['/api/v1', 1200],
    'https://acme.okta.com/api/v1/devices/guo1/users': ['/api/v1/devices', 100],
    'https://acme.okta.com/api/v1/logs?limit=1000': ['/api/v1/logs', 120],
    'https://acme.okta.com/oauth2/v1/token': ['/oauth2/v1/token', 240],
  }
  for (const [url, [name, perMinute]] of Object.entries(expected)) {
    const { bucket, cost } = rates.bucketOf({ method: 'GET', url })
    assert.deepEqual(
      [bucket, cost, rates.documented(bucket)],
      [name, 1, { points: perMinute, perMs: 60_000 }],
    )
  }
})

test('the account is the organisation’s host, however it was written', () => {
  const account = (domain: string) =>
    rates.account({ domain, credentials: { kind: 'api_token', apiToken: 'x' } })
  for (const domain of ['acme.okta.com', 'ACME.okta.com', 'https://acme.okta.com/'])
    assert.equal(account(domain), 'acme.okta.com')
})

test('an answer tells the limit, what is left of it, and when all is back by Okta’s clock', () => {
  assert.deepEqual(newsOf(200, headersOf(600, 599, epoch + 42)), {
    limit: { points: 600, perMs: 60_000 },
    remaining: 599,
    resetInMs: 42_000,
  })
})

test('a refusal closes the bucket until the reset, and a second more', () => {
  assert.deepEqual(newsOf(429, headersOf(600, 0, epoch + 42)), {
    limit: { points: 600, perMs: 60_000 },
    remaining: 0,
    throttledForMs: 43_000,
  })
})

test('too many requests at a time are told by two zeros, and say nothing of the limit', () => {
  assert.deepEqual(newsOf(429, headersOf(0, 0, epoch + 42)), { throttledForMs: 10_000 })
  assert.deepEqual(newsOf(429, headersOf(0, 0, epoch)), { throttledForMs: 1_000 })
})

test('without headers there is no news, and a refusal lasts a minute', () => {
  assert.equal(newsOf(200, new Headers({ date })), undefined)
  assert.deepEqual(newsOf(429, new Headers({ date })), { throttledForMs: 61_000 })
})

test('whatever headers say, nothing waits longer than the ceiling, and no refusal is without a wait', () => {
  const absurd = fc.oneof(
    fc.constantFrom('0', '-1', '1e12', '1000000000000', 'NaN', '', '1970', '32503680000', '1.5', '٣'),
    fc.string({ unit: fc.constantFrom(...'0123456789.-+eE ') }),
  )
  const dates = fc.constantFrom(
    date,
    'Thu, 01 Jan 1970 00:00:00 GMT',
    'Fri, 01 Jan 2999 00:00:00 GMT',
    'NaN',
    '',
  )
  fc.assert(
    fc.property(
      absurd,
      absurd,
      absurd,
      absurd,
      dates,
      fc.constantFrom(200, 429, 503),
      (a, b, c, d, at, status) => {
        let headers: Headers
        try {
          headers = headersOf(a, b, c, { date: at, 'retry-after': d })
        } catch {
          return
        }
        const news = newsOf(status, headers)
        if (status === 429) {
          const wait = news?.throttledForMs ?? 0
          assert.ok(wait >= 1_000 && wait <= 3_601_000, `${wait}`)
        }
        if (news?.limit !== undefined) assert.ok(news.limit.points > 0 && news.limit.points < 1e9)
        if (news?.remaining !== undefined)
          assert.ok(news.remaining >= 0 && news.remaining <= (news.limit?.points ?? 0))
        if (news?.resetInMs !== undefined) assert.ok(news.resetInMs >= 0 && news.resetInMs <= 120_000)
      },
    ),
    { numRuns: 2000 },
  )
})
