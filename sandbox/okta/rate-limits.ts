/** Okta's rate limits: a bucket per kind of path and window, told in the headers of each answer. */
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { apiError } from './errors.ts'

export interface RateLimitOptions {
  /** Requests in each bucket; `documented` for what Okta published for an organisation with Workforce Identity. */
  readonly requestsPerMinute: number | 'documented'
  /** Length of a "minute", in ms. Real ones by default; a shorter one makes the time of a bench pass faster. */
  readonly windowMs?: number
}

/**
 * The most specific pattern counts.
 *
 * @see https://developer.okta.com/docs/reference/rl-global-mgmt/
 */
const documented: readonly (readonly [bucket: string, path: RegExp, perMinute: number])[] = [
  ['/api/v1/users', /^\/api\/v1\/users$/, 600],
  ['/api/v1/users/{id}', /^\/api\/v1\/users\/[^/]+$/, 2000],
  ['/api/v1/groups', /^\/api\/v1\/groups$/, 500],
  ['/api/v1/groups/{id}', /^\/api\/v1\/groups\/[^/]+$/, 1000],
  ['/api/v1/devices*', /^\/api\/v1\/devices(?:\/|$)/, 100],
  ['/api/v1/logs', /^\/api\/v1\/logs$/, 120],
  ['/api/v1/apps*', /^\/api\/v1\/apps(?:\/|$)/, 100],
  ['/oauth2/v1/token', /^\/oauth2\/v1\/token$/, 240],
  ['/api/v1*', /^/, 1200],
]

interface Bucket {
  readonly name: string
  readonly limit: number
}

export class RateLimits {
  readonly #requestsPerMinute: number | 'documented'
  readonly #windowMs: number
  #windowStart = 0
  #used = new Map<string, number>()

  constructor({ requestsPerMinute, windowMs = 60_000 }: RateLimitOptions) {
    this.#requestsPerMinute = requestsPerMinute
    this.#windowMs = windowMs
  }

  /** Counts the request; the headers of its answer, and whether it is over the limit. */
  count(request: SandboxRequest): { headers: Readonly<Record<string, string>>; isExceeded: boolean } {
    const start = this.#startOf(request.now)
    if (start !== this.#windowStart) {
      this.#windowStart = start
      this.#used = new Map()
    }
    const { name, limit } = this.#bucketOf(request)
    const used = (this.#used.get(name) ?? 0) + 1
    this.#used.set(name, used)
    return {
      headers: this.#headersOf(limit, Math.max(0, limit - used), request.now),
      isExceeded: used > limit,
    }
  }

  /** 429 as if the bucket were used up; with `isConcurrency`, as if too many requests were under way. */
  exceeded(request: SandboxRequest, isConcurrency = false): SandboxAnswer {
    return {
      ...apiError('E0000047'),
      // https://developer.okta.com/docs/reference/rl2-monitor/ both numbers are 0 for the limit of concurrency
      headers: this.#headersOf(isConcurrency ? 0 : this.#bucketOf(request).limit, 0, request.now),
    }
  }

  #bucketOf({ url: { pathname } }: SandboxRequest): Bucket {
    const [name, , perMinute] = documented.find(([, path]) => path.test(pathname)) ?? ['', undefined, 1200]
    return { name, limit: this.#requestsPerMinute === 'documented' ? perMinute : this.#requestsPerMinute }
  }

  #startOf(now: Date): number {
    return Math.floor(now.getTime() / this.#windowMs) * this.#windowMs
  }

  #headersOf(limit: number, remaining: number, now: Date) {
    return {
      'x-rate-limit-limit': String(limit),
      'x-rate-limit-remaining': String(remaining),
      'x-rate-limit-reset': String(Math.ceil((this.#startOf(now) + this.#windowMs) / 1000)),
    }
  }
}
