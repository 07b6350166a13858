/** Reads the waits that providers ask for. Whatever they write, the result is a whole number within our ceiling. */

/** Longest wait passed on, in seconds: Okta's and Microsoft's windows end within minutes, so an hour is no real one. */
export const maxWaitSeconds = 3600

/** RFC 9110's preferred form, `Sun, 06 Nov 1994 08:49:37 GMT`. Date.parse alone would read almost anything. */
const httpDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/** The time of an HTTP date, in milliseconds since 1970. */
function readHttpDate(text: string | null): number | undefined {
  if (text === null || !httpDate.test(text)) return undefined
  const time = Date.parse(text)
  return Number.isFinite(time) ? time : undefined
}

/**
 * Whole seconds that `Retry-After` asks to wait, from 0 to `maxWaitSeconds`; undefined when it is absent or unreadable.
 * A date counts from the answer's own `Date`, as the provider's clock and ours may differ.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterSeconds(headers: Headers, receivedAt: Date): number | undefined {
  const text = headers.get('retry-after')?.trim()
  if (text === undefined) return undefined
  // Fractions are not in the RFC; some gateways send them.
  if (/^\d+(?:\.\d+)?$/.test(text)) return bounded(Number(text))
  const until = readHttpDate(text)
  return until === undefined ? undefined : bounded((until - answerTime(headers, receivedAt)) / 1000)
}

/**
 * Whole seconds until a limit resets at `epochSeconds` (text of a header such as X-Rate-Limit-Reset), from 0 to
 * `maxWaitSeconds`, by the provider's own clock; undefined when it is absent or unreadable.
 */
export function secondsUntilReset(
  epochSeconds: string | null,
  headers: Headers,
  receivedAt: Date,
): number | undefined {
  const text = epochSeconds?.trim() ?? ''
  if (!/^\d+(?:\.\d+)?$/.test(text)) return undefined
  return bounded(Number(text) - answerTime(headers, receivedAt) / 1000)
}

/** When the answer was written, by the provider's clock if it says so, in milliseconds since 1970. */
function answerTime(headers: Headers, receivedAt: Date): number {
  return readHttpDate(headers.get('date')) ?? receivedAt.getTime()
}

function bounded(seconds: number): number | undefined {
  if (Number.isNaN(seconds)) return undefined
  return Math.max(0, Math.min(maxWaitSeconds, Math.ceil(seconds)))
}
