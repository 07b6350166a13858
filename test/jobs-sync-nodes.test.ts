/** Syncs on several nodes: each run goes on where one of them stopped, and only one of them writes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { gateOn, startSyncing } from './jobs-sync-world.ts'
import { until } from './jobs-world.ts'
import { createWorld, directoryOf } from './sync-world.ts'

const small = () => directoryOf({ users: 12, groups: 2 })

test('a run of a node that stops goes on elsewhere from where it stood', async (t) => {
  const gate = gateOn('groups')
  const world = createWorld(small(), { pageSize: 4, faults: [gate.fault] })
  const { node, change, ended, now, runs, performed } = await startSyncing(t, world)
  const first = await node()
  await change({ next_full_at: now() })
  await until(async () => Number((await runs())[0]?.pages) >= 3)
  const users = () => world.asked.filter(({ list }) => list === 'users').length
  assert.equal(users(), 3)
  const stopped = first.stop()
  gate.open()
  await stopped
  const [run] = await runs()
  assert.equal(run?.status, 'running')
  await node()
  assert.equal((await ended(1)).status, 'succeeded')
  assert.equal(users(), 3)
  assert.equal(performed.length, 2)
})

test('a run that takes long is handed on now and then, and loses nothing by it', async (t) => {
  const world = createWorld(directoryOf({ users: 60, groups: 2 }), { pageSize: 4 })
  // As slow as it takes to be handed on.
  world.faults.push(async () => {
    await wait(30)
    return undefined
  })
  const { node, change, ended, now, performed } = await startSyncing(t, world)
  const working = await node({ syncStretchSeconds: 0.3 })
  await change({ next_full_at: now() })
  const run = await ended(1)
  assert.equal(run.status, 'succeeded')
  assert.ok(performed.length > 1)
  assert.equal(run.fence, performed.length)
  assert.equal(run.changed, 60 + 2 + 15)
  assert.match(await working.metrics.text(), /credence_jobs_total\{queue="sync.acme",end="stopped"\}/)
})

test('a run whose job is gone is queued again', async (t) => {
  const { database, node, ended, runs, tenant } = await startSyncing(t, createWorld(small()))
  const first = await node()
  await first.stop()
  await database.query
    .insertInto('sync_runs')
    .values({
      organization_id: tenant.organizationId,
      config_id: tenant.configId,
      mode: 'full',
      requested_by: 'key:1',
      reason: 'request',
      progress: '{}',
    })
    .execute()
  assert.equal((await runs())[0]?.status, 'queued')
  await node()
  assert.equal((await ended(1)).status, 'succeeded')
})

test('a node that is thought dead is replaced, and writes nothing when it wakes', async (t) => {
  const gate = gateOn('groups')
  const world = createWorld(small(), { pageSize: 4, faults: [gate.fault] })
  const { database, node, change, ended, now, runs } = await startSyncing(t, world)
  const first = await node()
  await change({ next_full_at: now() })
  await until(async () => Number((await runs())[0]?.pages) >= 3)
  const second = await node()
  const before = gate.held()
  // As if it had been silent for a minute; it tells of itself again within seconds.
  await until(async () => {
    await database.pool.query(
      `update pgboss.job set heartbeat_on = heartbeat_on - interval '1 minute' where state = 'active' and retry_count = 0`,
    )
    return Number((await runs())[0]?.fence) >= 2
  })
  await until(() => gate.held() > before)
  gate.open()
  const run = await ended(1)
  assert.equal(run.status, 'succeeded')
  const { sequence } = await database.query
    .selectFrom('entity_clocks')
    .select('sequence')
    .executeTakeFirstOrThrow()
  assert.equal(sequence, 1)
  const ends = async () =>
    (await Promise.all([first, second].map(({ metrics }) => metrics.text()))).flatMap((text) =>
      [...text.matchAll(/credence_jobs_total\{queue="sync.acme",end="(\w+)"\} \d+/g)].map(([, end]) => end),
    )
  // The one that was replaced hears of it when it wants to write.
  for (const end of ['succeeded', 'taken_over']) await until(async () => (await ends()).includes(end))
  assert.deepEqual([...first.troubles, ...second.troubles], [])
})
