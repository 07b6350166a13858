/** Syncs as the server's own work: begun when they are due, and followed by the next. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startSyncing } from './jobs-sync-world.ts'
import { until } from './jobs-world.ts'
import { createWorld, directoryOf, newTenant, refusal } from './sync-world.ts'

const minute = 60_000

const small = () => directoryOf({ users: 12, groups: 2 })

test('what is due is synchronised once, however many nodes there are, and when it is due next is set', async (t) => {
  const { node, change, ended, state, now, runs } = await startSyncing(t, createWorld(small()))
  await Promise.all([node(), node(), node()])
  await change({ next_full_at: now() })
  const run = await ended(1)
  assert.deepEqual(
    [run.status, run.mode, run.reason, run.requested_by],
    ['succeeded', 'full', 'first', 'system'],
  )
  const { next_full_at: full, next_incremental_at: incremental, complete_at } = await state()
  assert.ok(complete_at)
  const hours = (Number(full) - now().getTime()) / (60 * minute)
  assert.ok(hours > 0 && hours <= 24, String(hours))
  const minutes = (Number(incremental) - now().getTime()) / minute
  assert.ok(minutes > 13 && minutes <= 15, String(minutes))

  await change({ next_incremental_at: now() })
  const second = await ended(2)
  assert.deepEqual([second.mode, second.reason, second.status], ['incremental', 'schedule', 'succeeded'])
  assert.equal(Number((await state()).next_full_at), Number(full))
  assert.deepEqual(
    (await runs()).map(({ fence }) => fence),
    [1, 1],
  )
})

test('an increment whose marks are of other credentials becomes a full run', async (t) => {
  const { database, node, tenant, change, ended, now } = await startSyncing(t, createWorld(small()))
  await node()
  await change({ next_full_at: now() })
  await ended(1)
  await database.query
    .updateTable('integration_configs')
    .set({ revision: 7 })
    .where('id', '=', tenant.configId)
    .execute()
  await change({ next_incremental_at: now() })
  assert.equal((await ended(2)).mode, 'full')
})

test('what is paused, switched off, invalid or not wanted is left alone', async (t) => {
  const { database, node, tenant, change, ended, now, runs } = await startSyncing(t, createWorld(small()))
  const set = async (values: { enabled?: boolean; state?: 'valid' | 'invalid'; settings?: string }) => {
    await database.query
      .updateTable('integration_configs')
      .set(values)
      .where('id', '=', tenant.configId)
      .execute()
  }
  await change({ next_full_at: now(), paused: true })
  const working = await node()
  const looked = async () => {
    // Another configuration that is due as well is taken in the same look.
    const other = await newTenant(database)
    await database.query
      .updateTable('sync_states')
      .set({ next_full_at: now() })
      .where('config_id', '=', other.configId)
      .execute()
    await until(async () =>
      database.query
        .selectFrom('sync_states')
        .select('config_id')
        .where('config_id', '=', other.configId)
        .where('complete_at', 'is not', null)
        .executeTakeFirst(),
    )
  }
  await looked()
  await set({ enabled: false })
  await change({ paused: false })
  await looked()
  await set({ enabled: true, state: 'invalid' })
  await looked()
  await set({ state: 'valid', settings: '{"sync": {"enabled": false}}' })
  await looked()
  assert.equal((await runs()).length, 0)
  await set({ settings: '{"sync": {"full_hours": 6, "incremental_minutes": 0}}' })
  assert.equal((await ended(1)).status, 'succeeded')
  assert.deepEqual(working.troubles, [])
})

test('the settings of a configuration say when it is synchronised next', async (t) => {
  const { database, node, tenant, change, ended, now, state } = await startSyncing(t, createWorld(small()))
  await database.query
    .updateTable('integration_configs')
    .set({ settings: '{"sync": {"full_hours": 6, "incremental_minutes": 0}}' })
    .where('id', '=', tenant.configId)
    .execute()
  await node()
  await change({ next_full_at: now() })
  await ended(1)
  const { next_full_at, next_incremental_at } = await state()
  const hours = (Number(next_full_at) - now().getTime()) / (60 * minute)
  assert.ok(hours > 5.9 && hours <= 6, String(hours))
  assert.equal(next_incremental_at, null)
})

test('increments wait while one that would remove too many does', async (t) => {
  const world = createWorld(directoryOf({ users: 80, groups: 2 }))
  const { node, change, ended, now, state } = await startSyncing(t, world)
  await node()
  await change({ next_full_at: now() })
  await ended(1)
  const { next_full_at, marks } = await state()
  for (let n = 0; n < 60; n += 1) {
    world.directory.users.delete(`u${n}`)
    world.directory.changes.push({ kind: 'user', uid: `u${n}` })
  }
  await change({ next_incremental_at: now() })
  assert.equal((await ended(2)).status, 'quarantined')
  const held = await state()
  assert.equal(held.next_incremental_at, null)
  assert.deepEqual([held.next_full_at, held.marks], [next_full_at, marks])
})

test('a source that tells no changes is read whole each time', async (t) => {
  const world = createWorld(small(), { hasIncrements: false })
  const { node, change, ended, now, state } = await startSyncing(t, world)
  await node()
  await change({ next_full_at: now() })
  await ended(1)
  assert.equal((await state()).next_incremental_at, null)
})

test('a node that is to work on none begins none', async (t) => {
  const { node, change, now, runs } = await startSyncing(t, createWorld(small()))
  const idle = await node({ syncsPerSource: 0 })
  await change({ next_full_at: now() })
  const before = await idle.metrics.text()
  assert.doesNotMatch(before, /credence_jobs_total\{queue="sync/)
  await idle.stop()
  assert.equal((await runs()).length, 0)
})

test('a run that fails is tried again, later each time; the first failure is told, and when it goes well again', async (t) => {
  const world = createWorld(small())
  let isDown = true
  world.faults.push(({ list }) => {
    if (isDown && list === 'users') throw refusal(403)
    return undefined
  })
  const { node, change, ended, now, state, told } = await startSyncing(t, world)
  await node()
  const waits: number[] = []
  for (const number of [1, 2, 3]) {
    await change({ next_full_at: now() })
    const run = await ended(number)
    assert.equal(run.status, 'failed')
    const { next_full_at, failures } = await state()
    assert.equal(failures, number)
    waits.push(Math.round((Number(next_full_at) - now().getTime()) / minute))
  }
  assert.deepEqual(waits, [5, 10, 20])
  isDown = false
  await change({ next_full_at: now() })
  const run = await ended(4)
  assert.equal(run.status, 'succeeded')
  assert.deepEqual([(await state()).failures, (await state()).last_error], [0, null])
  const events = await told()
  assert.deepEqual(
    events.map(({ action }) => action),
    ['sync.run.failed', 'sync.run.recovered'],
  )
  assert.partialDeepStrictEqual(events[0], { cause: 'acme_forbidden', remedy: 'Grant it.', mode: 'full' })
  assert.partialDeepStrictEqual(events[1], { failures: 3, run_id: run.id })
})

test('a mark that the provider has forgotten is no failure: everything is read at once', async (t) => {
  const world = createWorld(small())
  const { node, change, ended, now, told } = await startSyncing(t, world)
  await node()
  world.directory.changes.push({ kind: 'user', uid: 'u1' })
  await change({ next_full_at: now() })
  await ended(1)
  world.directory.changes.length = 0
  await change({ next_incremental_at: now() })
  assert.equal((await ended(2)).status, 'failed')
  const third = await ended(3)
  assert.deepEqual([third.status, third.mode], ['succeeded', 'full'])
  assert.deepEqual(await told(), [])
})

test('a run that would remove too much is told with what it would remove', async (t) => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 60 })
  const { node, change, ended, now, state, told } = await startSyncing(t, world)
  const working = await node()
  await change({ next_full_at: now() })
  await ended(1)
  const { next_incremental_at: before } = await state()
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  await change({ next_full_at: now() })
  const run = await ended(2)
  assert.equal(run.status, 'quarantined')
  const [event] = await told()
  assert.partialDeepStrictEqual(event, { action: 'sync.run.quarantined', run_id: run.id })
  const held = (event as { held?: { kind: string; count: number; of: number }[] } | undefined)?.held ?? []
  assert.partialDeepStrictEqual(
    held.find(({ kind }) => kind === 'identity'),
    { count: 60, of: 120 },
  )
  assert.equal(Number((await state()).next_incremental_at), Number(before))
  const text = await until(async () => {
    const lines = await working.metrics.text()
    return /credence_sync_run_duration_seconds_count\{source="acme",mode="full",end="quarantined"\} 1/.test(
      lines,
    )
      ? lines
      : undefined
  })
  assert.match(
    text,
    /credence_sync_run_duration_seconds_count\{source="acme",mode="full",end="succeeded"\} 1/,
  )
  assert.match(text, /credence_sync_entities_total\{source="acme",kind="identity",change="added"\} 120/)
  assert.match(text, /credence_sync_pages_total\{source="acme",list="users"\} 3/)
  assert.match(text, /credence_sync_provider_calls_total\{source="acme"\} \d+/)
  assert.match(text, /credence_jobs_total\{queue="sync.acme",end="succeeded"\} 1/)
})
