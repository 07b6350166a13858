/** When stored credentials are validated again. */
import type { Report } from '../validation/report.ts'

const dayMs = 86_400_000
const minuteMs = 60_000

/** Days before the end of credentials at which it is told, the most urgent first. */
export const expiryMarks = [3, 14, 30] as const

/** First wait after a validation that settled nothing; it doubles up to the usual one. */
const firstUnclearMs = 5 * minuteMs
/** Longest time after a mark until it is told. */
const markSpreadMs = 5 * minuteMs
/** Later ones are somebody's way to write "never", and no database's. */
const latestEnd = Date.UTC(9999, 0)

export interface Schedule {
  /** What follows from a report for its configuration; fits `schedule` of ConfigsParts. */
  after(
    report: Report,
    at: Date,
  ): { readonly nextValidationAt: Date; readonly credentialsExpireAt: Date | null }
  /**
   * After so many validations in a row that settled nothing.
   *
   * @param atLeastSeconds what the provider asked us to wait
   */
  afterUnclear(count: number, at: Date, atLeastSeconds?: number): Date
}

/**
 * @param periodMs between two validations of a configuration; each differs from it by a tenth at most, so that those
 *   made together drift apart
 * @param random from 0 to 1
 */
export function createSchedule(periodMs: number, random: () => number = Math.random): Schedule {
  const jittered = (ms: number) => ms * (0.9 + 0.2 * random())

  const afterUnclear: Schedule['afterUnclear'] = (count, at, atLeastSeconds = 0) => {
    // Doubling stops long before the exponent overflows.
    const backoffMs = firstUnclearMs * 2 ** Math.min(Math.max(count - 1, 0), 20)
    const waitMs = Math.min(Math.max(backoffMs, atLeastSeconds * 1000), periodMs)
    return new Date(at.getTime() + jittered(waitMs))
  }

  return {
    after(report, at) {
      const expiresAt = endOf(report)
      const credentialsExpireAt = expiresAt ?? null
      if (report.verdict === 'indeterminate')
        return { nextValidationAt: afterUnclear(1, at, report.retry_after_seconds), credentialsExpireAt }
      const usual = at.getTime() + jittered(periodMs)
      const marks = expiryMarks
        .map((days) => (expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) - days * dayMs)
        .filter((mark) => mark > at.getTime())
        .map((mark) => mark + markSpreadMs * random())
      return { nextValidationAt: new Date(Math.min(usual, ...marks)), credentialsExpireAt }
    },
    afterUnclear,
  }
}

/** When the credentials of a report end, as far as it tells. */
export function endOf({ credentials_expire_at }: Report): Date | undefined {
  const time = credentials_expire_at === undefined ? Number.NaN : Date.parse(credentials_expire_at)
  return Number.isFinite(time) && time > 0 && time < latestEnd ? new Date(time) : undefined
}

/** Which marks credentials that end then have passed. */
export const passedMarks = (expiresAt: Date, at: Date): number[] =>
  expiryMarks.filter((days) => expiresAt.getTime() - at.getTime() <= days * dayMs)

/** Whole days left, never below 0. */
export const daysLeft = (expiresAt: Date, at: Date): number =>
  Math.max(0, Math.floor((expiresAt.getTime() - at.getTime()) / dayMs))
