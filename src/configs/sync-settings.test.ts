/** When a configuration is synchronised, by its settings. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import {
  nextFullAfter,
  nextIncrementAfter,
  syncSettingsOf,
  syncSettingsSchema,
  timeOf,
} from './sync-settings.ts'

const id = '00000000-0000-4000-8000-000000000001'

test('without a word everything has its default, and full runs their own minute of the night', () => {
  const settings = syncSettingsOf(id, {})
  assert.deepEqual(settings, syncSettingsOf(id, { sync: 'nonsense' }))
  assert.ok(settings.isEnabled)
  assert.equal(settings.incrementalMinutes, 15)
  assert.deepEqual(settings.fuse, { percent: 10, atLeast: 50 })
  assert.equal(settings.budgetPercent, 50)
  const minutes = Array.from({ length: 200 }, () => {
    const { full } = syncSettingsOf(randomUUID(), {})
    return 'atMinute' in full ? full.atMinute : -1
  })
  assert.ok(minutes.every((minute) => minute >= 0 && minute < 300))
  assert.ok(new Set(minutes).size > 50)
})

test('what is said is followed, and what is not understood any more leaves the rest as it is', () => {
  const settings = syncSettingsOf(id, {
    sync: {
      enabled: false,
      incremental_minutes: 0,
      full_at: '23:59',
      fuse_percent: 1.5,
      fuse_at_least: 0,
      budget_percent: 100,
      limits: { directory: 6_000 },
    },
  })
  assert.deepEqual(settings, {
    isEnabled: false,
    incrementalMinutes: 0,
    full: { atMinute: 23 * 60 + 59 },
    fuse: { percent: 10, atLeast: 0 },
    budgetPercent: 100,
    limits: { directory: 6_000 },
  })
  assert.deepEqual(syncSettingsOf(id, { sync: { full_hours: 6 } }).full, { hours: 6 })
})

test('every member that is wrong is named with what was expected', () => {
  const wrong = {
    enabled: 'yes',
    incremental_minutes: 4,
    full_at: '24:00',
    full_hours: 169,
    fuse_percent: 0,
    fuse_at_least: -1,
    budget_percent: 101,
    limits: 6_000,
  }
  const { error } = syncSettingsSchema.safeParse(wrong)
  assert.deepEqual(error?.issues.map(({ path }) => path.join('.')).sort(), Object.keys(wrong).sort())
  for (const { message } of error?.issues ?? []) assert.match(message, /^expected /)
  const oddLimit = syncSettingsSchema.safeParse({ limits: { directory: 0 } }).error?.issues
  assert.deepEqual(
    oddLimit?.map(({ path, message }) => [path.join('.'), message]),
    [['limits.directory', 'expected a whole number from 1 to 1000000']],
  )
  assert.match(
    syncSettingsSchema.safeParse({ full_at: '02:00', full_hours: 6 }).error?.issues[0]?.message ?? '',
    /not both/,
  )
  assert.deepEqual(syncSettingsSchema.parse({ another: 1 }), { another: 1 })
})

test('the next full run is at the time of day that comes next, or so many hours later', () => {
  const at = (text: string) => new Date(text)
  const daily = { full: { atMinute: 120 } }
  const next = (text: string) => nextFullAfter(daily, at(text)).toISOString()
  assert.equal(next('2026-11-24T01:59:59Z'), '2026-11-24T02:00:00.000Z')
  assert.equal(next('2026-11-24T02:00:00Z'), '2026-11-25T02:00:00.000Z')
  assert.equal(next('2026-12-31T23:00:00Z'), '2027-01-01T02:00:00.000Z')
  assert.equal(
    nextFullAfter({ full: { hours: 6 } }, at('2026-11-24T22:30:00Z')).toISOString(),
    '2026-11-25T04:30:00.000Z',
  )
  assert.equal(
    nextIncrementAfter({ incrementalMinutes: 15 }, at('2026-11-24T22:50:00Z'))?.toISOString(),
    '2026-11-24T23:05:00.000Z',
  )
  assert.equal(nextIncrementAfter({ incrementalMinutes: 0 }, at('2026-11-24T22:50:00Z')), null)
  assert.deepEqual(['00:00', '02:05', '23:59'], [0, 125, 1439].map(timeOf))
})
