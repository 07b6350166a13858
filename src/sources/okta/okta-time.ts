/** Moments by Okta's clock, as filters compare them. */
import type { HttpAnswer } from '../../outbound/http.ts'

/**
 * So far back an increment looks behind its mark, in ms: what was written while the mark was taken may be told a
 * little later, and the clocks of Okta's servers may differ.
 */
export const overlapMs = 5 * 60 * 1000
/**
 * The same for `search`, whose "results are sourced from an eventually consistent datasource".
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/device/other/listdevices
 */
export const searchOverlapMs = 15 * 60 * 1000

/** How far our clock is trusted where an answer names no time of its own, in ms. */
const ownClockToleranceMs = 60 * 60 * 1000

/**
 * When an answer was written, RFC 3339. The earlier of Okta's clock and ours: a time that lies ahead would let
 * increments skip what happens until then, an early one only makes them read more.
 */
export function timeOf({ headers, receivedAt }: Pick<HttpAnswer, 'headers' | 'receivedAt'>): string {
  const told = Date.parse(headers.get('date') ?? '')
  const time = Number.isNaN(told)
    ? receivedAt.getTime() - ownClockToleranceMs
    : Math.min(told, receivedAt.getTime())
  return new Date(Math.max(0, time)).toISOString()
}

export const before = (time: string, ms: number): string =>
  new Date(Math.max(0, Date.parse(time) - ms)).toISOString()
