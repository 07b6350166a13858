/** Okta's rate limits: buckets of requests a minute, told in the headers of every answer. */
import type { HttpAnswer } from '../../outbound/http.ts'
import { maxWaitSeconds, retryAfterSeconds, secondsUntilReset } from '../../outbound/retry-after.ts'
import type { RateLimit, RateNews, RateRules } from '../reading.ts'
import { readHost } from './domain.ts'
import type { OktaCredentials } from './secrets.ts'

const minuteMs = 60_000

/**
 * Requests a minute of an organisation with Workforce Identity; others have fewer, and the first answer tells. The
 * most specific pattern decides, as at Okta. Today's documents name no numbers any more but refer to the organisation's
 * own dashboard; these are the last that were published.
 *
 * @see https://developer.okta.com/docs/reference/rl-global-mgmt/
 * @see https://developer.okta.com/docs/reference/rate-limits/#match-requests
 */
const buckets: readonly { readonly name: string; readonly path: RegExp; readonly perMinute: number }[] = [
  { name: '/api/v1/users', path: /^\/api\/v1\/users$/, perMinute: 600 },
  { name: '/api/v1/users/{id}', path: /^\/api\/v1\/users\/[^/]+$/, perMinute: 2000 },
  { name: '/api/v1/groups', path: /^\/api\/v1\/groups$/, perMinute: 500 },
  { name: '/api/v1/groups/{id}', path: /^\/api\/v1\/groups\/[^/]+$/, perMinute: 1000 },
  { name: '/api/v1/devices', path: /^\/api\/v1\/devices(?:\/|$)/, perMinute: 100 },
  { name: '/api/v1/logs', path: /^\/api\/v1\/logs$/, perMinute: 120 },
  { name: '/api/v1/apps', path: /^\/api\/v1\/apps(?:\/|$)/, perMinute: 100 },
  // https://developer.okta.com/docs/reference/rl2-limits/ four a second
  { name: '/oauth2/v1/token', path: /^\/oauth2\/v1\/token$/, perMinute: 240 },
]
/** "Most other API actions", those below a group's or user's id among them. */
const others = { name: '/api/v1', perMinute: 1200 }

/** The least that is documented for an organisation: that of the Integrator Free plan. @see https://developer.okta.com/docs/reference/rl2-concurrency/ */
const concurrentRequests = 35

export const ratesOf = (customDomains: readonly string[]): RateRules<OktaCredentials> => ({
  account({ domain }) {
    const reading = readHost(domain, customDomains)
    return reading.ok ? reading.host : domain
  },
  bucketOf({ url }) {
    const pathname = URL.parse(url)?.pathname ?? ''
    return { bucket: (buckets.find(({ path }) => path.test(pathname)) ?? others).name, cost: 1 }
  },
  documented(bucket): RateLimit {
    const { perMinute } = buckets.find(({ name }) => name === bucket) ?? others
    return { points: perMinute, perMs: minuteMs }
  },
  concurrency: concurrentRequests,
  newsIn: rateNewsIn,
})

/**
 * The reset is in epoch seconds by Okta's clock, and so compared with the answer's own `Date`.
 *
 * @see https://developer.okta.com/docs/reference/rl2-monitor/
 */
export function rateNewsIn({
  status,
  headers,
}: Pick<HttpAnswer, 'status' | 'headers'>): RateNews | undefined {
  const limit = wholeNumber(headers.get('x-rate-limit-limit'))
  const remaining = wholeNumber(headers.get('x-rate-limit-remaining'))
  const resetInMs = untilReset(headers)
  if (status === 429) return refused(headers, limit === 0 && remaining === 0, limit, resetInMs)
  if (limit === undefined || limit === 0) return undefined
  return {
    limit: { points: limit, perMs: minuteMs },
    ...(remaining !== undefined && { remaining: Math.min(remaining, limit) }),
    ...(resetInMs !== undefined && { resetInMs }),
  }
}

/** Counters start anew within a minute, give or take a clock: what is named beyond is no reset of theirs. */
const longestWindowMs = 2 * minuteMs
/** Where a refusal names no reset that could be one. */
const unnamedWaitMs = minuteMs
/** Requests at a time: "another concurrent thread" is free soon, and the reset that is told "only a suggested value". */
const longestConcurrencyWaitMs = 10_000
/** Both clocks behind a reset count whole seconds. */
const roundingMs = 1_000

function refused(
  headers: Headers,
  isConcurrency: boolean,
  limit: number | undefined,
  resetInMs: number | undefined,
): RateNews {
  const asked = retryAfterSeconds(headers, new Date(0))
  const waitMs = Math.max(asked === undefined ? 0 : Math.min(asked, maxWaitSeconds) * 1000, resetInMs ?? 0)
  if (isConcurrency)
    return { throttledForMs: Math.min(Math.max(waitMs, roundingMs), longestConcurrencyWaitMs) }
  const throttledForMs = (waitMs === 0 && resetInMs === undefined ? unnamedWaitMs : waitMs) + roundingMs
  if (limit === undefined || limit === 0) return { throttledForMs }
  return { limit: { points: limit, perMs: minuteMs }, remaining: 0, throttledForMs }
}

/** Undefined where there is no such header, no `Date` to compare it with, or one of both is absurd. */
function untilReset(headers: Headers): number | undefined {
  if (Number.isNaN(Date.parse(headers.get('date') ?? ''))) return undefined
  const seconds = secondsUntilReset(headers.get('x-rate-limit-reset'), headers, new Date(0))
  return seconds === undefined || seconds * 1000 > longestWindowMs ? undefined : seconds * 1000
}

const wholeNumber = (text: string | null) =>
  text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
