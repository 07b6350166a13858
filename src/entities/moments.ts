/** Moments as requests write them: RFC 3339, Unix time, or relative to now. */

/** Says what was expected and where, never what was there. Positions count characters from 0. */
export class MomentFault extends Error {
  override readonly name = 'MomentFault'
}

const unitsMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}
const units = Object.keys(unitsMs).join(', ')

const forms =
  'expected an RFC 3339 time such as 2030-01-31T08:00:00Z, Unix seconds, or a time relative to now such as now-7d'

/** @see https://www.rfc-editor.org/rfc/rfc3339#section-5.6 */
const rfc3339 = /^(\d{4}-(\d\d)-(\d\d))T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d)$/i

/** More digits than this are milliseconds: as seconds they would be beyond the year 5138. */
const mostSecondsDigits = 11

const firstMs = Date.parse('0001-01-01T00:00:00Z')
const lastMs = Date.parse('9999-12-31T23:59:59.999Z')

/**
 * Milliseconds since 1970. What is finer than a millisecond is cut off.
 *
 * @throws MomentFault
 */
export function readMoment(text: string, nowMs: number): number {
  const ms = text.startsWith('now') ? relativeMs(text, nowMs) : absoluteMs(text)
  if (!(ms >= firstMs && ms <= lastMs)) throw new MomentFault('expected a time between the years 1 and 9999')
  return ms
}

function relativeMs(text: string, nowMs: number): number {
  let at = 'now'.length
  let ms = nowMs
  while (at < text.length) {
    const [, sign, count, unit] = /^([+-]?)(\d{0,9})(.?)/s.exec(text.slice(at)) ?? []
    if (!sign) throw new MomentFault(`expected "+" or "-" at position ${at}`)
    if (!count) throw new MomentFault(`expected a whole number at position ${at + 1}`)
    const unitAt = at + 1 + count.length
    const unitMs = unit === undefined ? undefined : unitsMs[unit]
    if (unitMs === undefined)
      throw new MomentFault(`expected one of the units ${units} at position ${unitAt}`)
    ms += (sign === '-' ? -1 : 1) * Number(count) * unitMs
    at = unitAt + 1
  }
  return ms
}

function absoluteMs(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text) * (text.length > mostSecondsDigits ? 1 : 1_000)
  const [, , month, day, hour, minute, second] = rfc3339.exec(text) ?? []
  if (month === undefined) throw new MomentFault(forms)
  // A leap second is the second before it; JavaScript knows none.
  const known = second === '60' ? text.replace(/:60/, ':59') : text
  const ms = Date.parse(known)
  const isReal =
    Number(hour) < 24 && Number(minute) < 60 && Number(day) <= daysOf(Number(text.slice(0, 4)), Number(month))
  if (Number.isNaN(ms) || !isReal) throw new MomentFault('expected a time that exists')
  return ms
}

/** 0 for what is no month. */
const daysOf = (year: number, month: number) =>
  month >= 1 && month <= 12 ? new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate() : 0
