/**
 * Microsoft's limits: resource units for the directory, requests for its reports.
 *
 * @see https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits
 */
import type { HttpAnswer } from '../../outbound/http.ts'
import { retryAfterSeconds } from '../../outbound/retry-after.ts'
import type { RateLimit, RateNews, RateRules } from '../reading.ts'
import { type Credentials, cloudOf } from './secrets.ts'

const windowMs = 10_000

/** Resource units of one app in one tenant, by the number of the tenant's users. */
const unitsOf = (users: number) => (users < 50 ? 3_500 : users <= 500 ? 5_000 : 8_000)

/** What a bucket is held to until an answer tells more: the smallest tenant's. */
const limits: Readonly<Record<string, RateLimit>> = {
  directory: { points: unitsOf(0), perMs: windowMs },
  // @see https://learn.microsoft.com/graph/throttling-limits#identity-and-access-reports-service-limits
  reports: { points: 5, perMs: windowMs },
  // Not published. One token lives about an hour, so that this is far more than is ever asked for.
  sign_in: { points: 20, perMs: 60_000 },
}

/** Base costs in resource units. Whatever is not listed costs 1. */
const costs: readonly (readonly [path: RegExp, units: number])[] = [
  [/^\/users$/, 2],
  [/^\/users\/[^/]+\/memberOf$/i, 2],
  [/^\/groups\/[^/]+\/members$/i, 3],
  [/^\/groups\/[^/]+\/transitiveMembers$/i, 5],
]

/** Under way at a time. Graph names no such limit; more than this gain nothing against its latency. */
const concurrency = 32

export const rates: RateRules<Credentials> = {
  account({ credentials }) {
    const tenant = credentials.kind === 'operator' ? 'operator' : credentials.tenantId.toLowerCase()
    return `${cloudOf(credentials)?.name ?? 'unknown'} ${tenant}`
  },
  bucketOf({ url }) {
    const { pathname, searchParams } = new URL(url)
    const path = /^\/v1\.0(\/.*)$/.exec(pathname)?.[1]
    if (path === undefined) return { bucket: 'sign_in', cost: 1 }
    if (path.startsWith('/reports/')) return { bucket: 'reports', cost: 1 }
    return { bucket: 'directory', cost: costOf(path, searchParams) }
  },
  documented: (bucket) => limits[bucket] ?? { points: 5, perMs: windowMs },
  concurrency,
  newsIn,
}

/** Selecting and small pages make a request cheaper, expanding makes it dearer; none costs less than 1. */
function costOf(path: string, query: URLSearchParams): number {
  const base = costs.find(([pattern]) => pattern.test(path))?.[1] ?? 1
  const top = Number(query.get('$top') ?? Number.NaN)
  const discount = (query.has('$select') ? 1 : 0) + (top < 20 ? 1 : 0)
  return Math.max(1, base - discount + (query.has('$expand') ? 1 : 0))
}

/** What only a throttled answer without `Retry-After` leaves open: a window, after which all units are back. */
const usualWaitMs = windowMs

function newsIn({ status, headers, text }: Pick<HttpAnswer, 'status' | 'headers' | 'text'>, bucket: string) {
  // 509 is Microsoft's other word for it. @see https://learn.microsoft.com/graph/errors#http-status-codes
  if (status === 429 || status === 509) return { throttledForMs: waitIn(headers) }
  if (bucket !== 'directory' || status < 200 || status > 299) return undefined
  const limit = limitIn(text)
  const remaining = remainingIn(headers)
  return limit === undefined && remaining === undefined
    ? undefined
    : ({
        ...(limit !== undefined && { limit }),
        ...(remaining !== undefined && { remaining, resetInMs: windowMs }),
      } satisfies RateNews)
}

/** At least a second, at most what `retryAfterSeconds` passes on. */
function waitIn(headers: Headers): number {
  // A date counts from the answer's own clock, or not at all.
  const seconds = retryAfterSeconds(headers, new Date(Number.NaN))
  return seconds === undefined ? usualWaitMs : Math.max(1_000, seconds * 1_000)
}

/** The answer to "how many users", a bare number, tells which size of tenant it is. */
function limitIn(text: string): RateLimit | undefined {
  if (text.length > 20 || !/^\uFEFF?\s*\d{1,12}\s*$/.test(text)) return undefined
  return { points: unitsOf(Number(text.replace('\uFEFF', ''))), perMs: windowMs }
}

/**
 * Sent only beyond 0.8 of the limit, up to 1.8. Which limit is not said: counted as the largest tenants', since what
 * matters is that nothing is left.
 */
function remainingIn(headers: Headers): number | undefined {
  const told = headers.get('x-ms-throttle-limit-percentage')?.trim() ?? ''
  if (!/^\d{1,3}(?:\.\d{1,6})?$/.test(told)) return undefined
  return Math.floor(Math.max(0, 1 - Number(told)) * unitsOf(Number.POSITIVE_INFINITY))
}
