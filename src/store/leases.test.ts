import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase, openedDatabase } from '../../test/fresh-database.ts'
import { createLeases, type Leases, type Spending } from './leases.ts'
import { createRateWindows, type RateWindows } from './rate-windows.ts'

/** Windows that answer when the test says so, of one minute that does not end before it is told to. */
function scriptedWindows() {
  let taken = 0
  let remainingMs = 60_000
  const asked: number[] = []
  let state: 'answering' | 'silent' | 'failing' = 'answering'
  const silent: (() => void)[] = []
  const windows: RateWindows = {
    async take(_, points) {
      asked.push(points)
      if (state === 'failing') throw new Error('away')
      if (state === 'silent') await new Promise<void>((resolve) => silent.push(resolve))
      const before = taken
      taken += points
      return { before, remainingMs }
    },
    deleteOld: async () => {},
  }
  return {
    windows,
    asked,
    be(next: typeof state) {
      state = next
      for (const answer of silent.splice(0)) answer()
    },
    takeElsewhere: (points: number) => {
      taken += points
    },
    nextMinute: () => {
      taken = 0
      remainingMs = 60_000
    },
  }
}

function leasesOn(windows: RateWindows) {
  let nowMs = 1_000_000 * 60_000
  const leases = createLeases(windows, { now: () => nowMs, monotonicMs: () => nowMs })
  return {
    leases,
    pass: (ms: number) => {
      nowMs += ms
    },
  }
}

async function spendAll(leases: Leases, limit: number, times: number): Promise<Spending[]> {
  const spent: Spending[] = []
  for (let time = 0; time < times; time += 1) spent.push(await leases.spend('key', limit))
  return spent
}

const granted = (spent: readonly Spending[]) => spent.filter(({ isGranted }) => isGranted).length

test('a limit is granted to its last point and no further, and tells what remains', async () => {
  for (const limit of [1, 2, 9, 40, 300, 600]) {
    const { windows, asked } = scriptedWindows()
    const { leases } = leasesOn(windows)
    const spent = await spendAll(leases, limit, limit + 3)
    assert.deepEqual(
      spent.map(({ isGranted, remaining }) => [isGranted, remaining]),
      Array.from({ length: limit + 3 }, (_, at) => [at < limit, Math.max(0, limit - at - 1)]),
    )
    assert.ok(asked.length <= 120, `${limit}: ${asked.length}`)
  }
})

test('a new minute begins with the whole limit, and the reset counts down to it', async () => {
  const scripted = scriptedWindows()
  const { leases, pass } = leasesOn(scripted.windows)
  assert.equal(granted(await spendAll(leases, 3, 5)), 3)
  pass(58_500)
  assert.partialDeepStrictEqual(await leases.spend('key', 3), { isGranted: false, resetSeconds: 2 })
  pass(1_500)
  scripted.nextMinute()
  assert.partialDeepStrictEqual(await leases.spend('key', 3), {
    isGranted: true,
    remaining: 2,
    resetSeconds: 60,
  })
})

test('what others take is not granted here', async () => {
  const scripted = scriptedWindows()
  const { leases } = leasesOn(scripted.windows)
  assert.equal(granted(await spendAll(leases, 100, 3)), 3)
  scripted.takeElsewhere(90)
  assert.ok(granted(await spendAll(leases, 100, 50)) <= 7)
})

test('many at once ask the database together', async () => {
  const { windows, asked } = scriptedWindows()
  const { leases } = leasesOn(windows)
  const spent = await Promise.all(Array.from({ length: 500 }, () => leases.spend('key', 10)))
  assert.equal(granted(spent), 10)
  assert.equal(asked.length, 1)
})

test('points that are given back are granted again', async () => {
  const { leases } = leasesOn(scriptedWindows().windows)
  const [first] = await spendAll(leases, 2, 3)
  first?.giveBack()
  assert.equal(granted(await spendAll(leases, 2, 2)), 1)
})

test('a database that fails costs nobody a wait: a tenth of the limit is granted, and accounted for later', async () => {
  const scripted = scriptedWindows()
  const { leases, pass } = leasesOn(scripted.windows)
  scripted.be('failing')
  const spent = await spendAll(leases, 100, 50)
  assert.equal(granted(spent), 10)
  assert.equal(scripted.asked.length, 1)
  for (const { remaining } of spent) assert.ok(Number.isInteger(remaining) && remaining >= 0)
  scripted.be('answering')
  pass(2_000)
  assert.equal(granted(await spendAll(leases, 100, 200)), 90)
  assert.equal(granted(await spendAll(leases, 100, 200)), 0)
})

test('a database that does not answer is waited for once, not by everybody', async () => {
  const scripted = scriptedWindows()
  const { leases, pass } = leasesOn(scripted.windows)
  scripted.be('silent')
  const first = leases.spend('key', 20)
  assert.ok(first instanceof Promise)
  await new Promise(setImmediate)
  pass(1_000)
  assert.equal((await first).isGranted, true)
  const other = leases.spend('other', 20)
  assert.ok(!(other instanceof Promise) && other.isGranted)
  scripted.be('answering')
})

test('nodes on one database grant a limit together, never more, and little less', async (t) => {
  const database = await freshDatabase(t)
  const nodes = [database, await openedDatabase(t, database.url), await openedDatabase(t, database.url)].map(
    (own) => createLeases(createRateWindows(own)),
  )
  await withinAMinute(async () => {
    for (const limit of [1, 7, 300]) {
      const key = `limit ${limit} ${Math.random()}`
      const spent = await Promise.all(
        Array.from({ length: 3 * limit + 30 }, (_, at) => nodes[at % nodes.length]?.spend(key, limit)),
      )
      assert.equal(granted(spent.filter((one) => one !== undefined)), limit)
    }
  })
})

test('a window of the database ends with its minute, and rows of old ones are removed', async (t) => {
  const database = await freshDatabase(t)
  const windows = createRateWindows(database)
  await withinAMinute(async () => {
    const key = `key ${Math.random()}`
    assert.equal((await windows.take(key, 5)).before, 0)
    const second = await windows.take(key, 5)
    assert.equal(second.before, 5)
    assert.ok(second.remainingMs > 0 && second.remainingMs <= 60_000)
    await database.pool.query(`update rate_windows set window_start = window_start - interval '1 minute'`)
    assert.equal((await windows.take(key, 5)).before, 0)
  })
  await database.pool.query(`update rate_windows set window_start = window_start - interval '5 minutes'`)
  await windows.take('young', 1)
  await windows.deleteOld()
  const { rows } = await database.pool.query('select count(*)::int as count from rate_windows')
  assert.deepEqual(rows, [{ count: 1 }])
})

/** Tries again when the minute ended meanwhile. */
async function withinAMinute(work: () => Promise<void>): Promise<void> {
  const minuteOf = () => Math.floor(Date.now() / 60_000)
  for (;;) {
    const minute = minuteOf()
    try {
      return await work()
    } catch (error) {
      if (minuteOf() === minute) throw error
    }
  }
}
