/** `settings.sync` of a configuration: when it is synchronised, and within which bounds. */
import { hash } from 'node:crypto'
import { z } from 'zod'
import type { SyncMode } from '../store/schema.ts'

export interface SyncSettings {
  /** Whether it is synchronised by itself. */
  readonly isEnabled: boolean
  /** Between two increments; 0: none. */
  readonly incrementalMinutes: number
  /** Full runs: once a day at a minute of the day in UTC, or every so many hours. */
  readonly full: { readonly atMinute: number } | { readonly hours: number }
  /** Above both, what a full run would remove waits for approval. */
  readonly fuse: { readonly percent: number; readonly atLeast: number }
  /** Share of the provider's rate limits that may be used, in percent. */
  readonly budgetPercent: number
  /** What the provider grants where it is another number than it documents and no answer tells it: by the limit's name. */
  readonly limits: Readonly<Record<string, number>>
}

const defaults = { incrementalMinutes: 15, fusePercent: 10, fuseAtLeast: 50, budgetPercent: 50 }

/** By default full runs begin within this part of the day in UTC, in minutes. */
const nightMinutes = 5 * 60
const dayMs = 86_400_000
const minuteMs = 60_000

const clock = /^([01]\d|2[0-3]):([0-5]\d)$/

const whole = (from: number, to: number, what = '') => {
  const expected = `expected a whole number${what} from ${from} to ${to}`
  return z.number(expected).int(expected).min(from, expected).max(to, expected)
}

const minutes = 'expected 0, or a whole number of minutes from 5 to 1440'
const trueOrFalse = 'expected true or false'
const limitName = 'expected an object of numbers by the name of a limit, such as {"directory": 6000}'
const timeOfDay = 'expected a time of day in UTC, such as 02:00'

const members = {
  enabled: z.boolean(trueOrFalse),
  incremental_minutes: z
    .number(minutes)
    .int(minutes)
    .refine((count) => count === 0 || (count >= 5 && count <= 1_440), minutes),
  full_at: z.string(timeOfDay).regex(clock, timeOfDay),
  full_hours: whole(1, 168, ' of hours'),
  fuse_percent: whole(1, 100),
  fuse_at_least: whole(0, 1_000_000_000),
  budget_percent: whole(1, 100),
  limits: z.record(z.string().max(64, limitName), whole(1, 1_000_000), limitName),
}

/** What is checked when settings are given. Members that mean nothing to us are kept as they are. */
export const syncSettingsSchema = z
  .looseObject(members, 'expected an object such as {"full_at": "02:00"}')
  .partial()
  .refine(({ full_at, full_hours }) => full_at === undefined || full_hours === undefined, {
    error: 'expected full_at or full_hours, not both',
  })

/** What stored settings say, as far as this release understands them. */
export function syncSettingsOf(configId: string, settings: Readonly<Record<string, unknown>>): SyncSettings {
  const given = z.record(z.string(), z.unknown()).safeParse(settings.sync).data ?? {}
  const member = <N extends keyof typeof members>(name: N): z.infer<(typeof members)[N]> | undefined =>
    members[name].safeParse(given[name]).data as z.infer<(typeof members)[N]> | undefined
  const hours = member('full_hours')
  return {
    isEnabled: member('enabled') ?? true,
    incrementalMinutes: member('incremental_minutes') ?? defaults.incrementalMinutes,
    full: hours === undefined ? { atMinute: minuteOf(member('full_at')) ?? ownMinute(configId) } : { hours },
    fuse: {
      percent: member('fuse_percent') ?? defaults.fusePercent,
      atLeast: member('fuse_at_least') ?? defaults.fuseAtLeast,
    },
    budgetPercent: member('budget_percent') ?? defaults.budgetPercent,
    limits: member('limits') ?? {},
  }
}

function minuteOf(time: string | undefined): number | undefined {
  const [, hour, minute] = clock.exec(time ?? '') ?? []
  return hour === undefined ? undefined : Number(hour) * 60 + Number(minute)
}

/** The same for a configuration for ever, and spread over the night. */
const ownMinute = (configId: string) =>
  Number.parseInt(hash('sha256', configId, 'hex').slice(0, 8), 16) % nightMinutes

/** As `settings.sync` spells it: `02:00`. */
export const timeOf = (atMinute: number) =>
  `${String(Math.floor(atMinute / 60)).padStart(2, '0')}:${String(atMinute % 60).padStart(2, '0')}`

/** When the next full run begins, later than `at`. */
export function nextFullAfter({ full }: Pick<SyncSettings, 'full'>, at: Date): Date {
  if ('hours' in full) return new Date(at.getTime() + full.hours * 60 * minuteMs)
  const today = Math.floor(at.getTime() / dayMs) * dayMs + full.atMinute * minuteMs
  return new Date(today > at.getTime() ? today : today + dayMs)
}

/** When the next run of a mode begins after one that is over. */
export const nextAfter = (
  settings: Pick<SyncSettings, 'full' | 'incrementalMinutes'>,
  mode: SyncMode,
  at: Date,
): { readonly nextFullAt: Date } | { readonly nextIncrementalAt: Date | null } =>
  mode === 'full'
    ? { nextFullAt: nextFullAfter(settings, at) }
    : { nextIncrementalAt: nextIncrementAfter(settings, at) }

/** When the next increment begins; null: never. */
export const nextIncrementAfter = (
  { incrementalMinutes }: Pick<SyncSettings, 'incrementalMinutes'>,
  at: Date,
): Date | null => (incrementalMinutes === 0 ? null : new Date(at.getTime() + incrementalMinutes * minuteMs))
