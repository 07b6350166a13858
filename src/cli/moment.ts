/** Times on the command line. */
import { InvalidArgumentError } from 'commander'

const unitsMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A moment as people write it. A time without a zone is refused: it is another moment for each reader. */
export function moment(text: string, _previous?: unknown, nowMs = Date.now()): Date {
  const relative = /^now(?:-(\d{1,6})([mhd]))?$/.exec(text)
  if (relative !== null) {
    const [, count = '0', unit = 'm'] = relative
    return new Date(nowMs - Number(count) * (unitsMs[unit] ?? 0))
  }
  const absolute = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/i
  const time = absolute.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time))
    throw new InvalidArgumentError('It is a time such as 2026-11-24T06:00:00Z, 2026-11-24 or now-7d.')
  return new Date(time)
}
