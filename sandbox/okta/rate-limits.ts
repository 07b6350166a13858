/** Okta's rate limits: a bucket per kind of path and minute, told in the headers of each answer. */
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { apiError } from './errors.ts'

const windowMs = 60_000

export class RateLimits {
  readonly #perMinute: number
  #windowStart = 0
  #used = new Map<string, number>()

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  /** Counts the request; the headers of its answer, and whether it is over the limit. */
  count(request: SandboxRequest): { headers: Readonly<Record<string, string>>; isExceeded: boolean } {
    const start = windowOf(request.now)
    if (start !== this.#windowStart) {
      this.#windowStart = start
      this.#used = new Map()
    }
    const bucket = bucketOf(request.url.pathname)
    const used = (this.#used.get(bucket) ?? 0) + 1
    this.#used.set(bucket, used)
    return {
      headers: headersOf(this.#perMinute, Math.max(0, this.#perMinute - used), request.now),
      isExceeded: used > this.#perMinute,
    }
  }

  /** 429 as if the bucket were used up; with `isConcurrency`, as if too many requests were under way. */
  exceeded({ now }: SandboxRequest, isConcurrency = false): SandboxAnswer {
    return {
      ...apiError('E0000047'),
      // https://developer.okta.com/docs/reference/rl2-monitor/ both numbers are 0 for the limit of concurrency
      headers: headersOf(isConcurrency ? 0 : this.#perMinute, 0, now),
    }
  }
}

const windowOf = (now: Date) => Math.floor(now.getTime() / windowMs) * windowMs

/** `/api/v1/users/00u…/factors` is counted as `/api/v1/users/*`. */
function bucketOf(pathname: string): string {
  const [, api, version, kind, rest] = pathname.split('/')
  return [api, version, kind, ...(rest === undefined ? [] : ['*'])].join('/')
}

const headersOf = (limit: number, remaining: number, now: Date) => ({
  'x-rate-limit-limit': String(limit),
  'x-rate-limit-remaining': String(remaining),
  'x-rate-limit-reset': String((windowOf(now) + windowMs) / 1000),
})
