/** Google's quota: so many queries a minute for each user and API, refused with a reason and without a header that tells when to come back. */
import { apiRefusal } from './errors.ts'
import type { Grant } from './token-endpoint.ts'

const windowMs = 60_000

/** @see https://developers.google.com/workspace/admin/directory/v1/limits */
export class Quota {
  readonly #perMinute: number
  #windowStart = 0
  readonly #used = new Map<string, number>()

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  /** Counts a query of the API. @throws GoogleRefusal 403, or 503 in the Reports API */
  count(api: 'directory' | 'reports', { account, userIndex }: Grant, now: Date): void {
    const start = Math.floor(now.getTime() / windowMs) * windowMs
    if (start !== this.#windowStart) {
      this.#windowStart = start
      this.#used.clear()
    }
    const user = `${api} ${account} ${userIndex ?? ''}`
    const used = (this.#used.get(user) ?? 0) + 1
    this.#used.set(user, used)
    if (used > this.#perMinute)
      throw apiRefusal(api === 'directory' ? 403 : 503, {
        reason: 'userRateLimitExceeded',
        domain: 'usageLimits',
        message: 'User Rate Limit Exceeded',
      })
  }
}
