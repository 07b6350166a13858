/** Syncs under control while others do the same, or the opposite, at the same moment. Nobody works on what is asked for. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { stopSyncing } from '../src/configs/syncing.ts'
import { inTransaction } from '../src/store/database.ts'
import type { SyncRunStatus } from '../src/store/schema.ts'
import { takeDueSyncs } from '../src/store/sync-states.ts'
import { newProgress } from '../src/sync/progress.ts'
import { SyncRefusal } from '../src/sync/refusal.ts'
import { freshDatabase } from './fresh-database.ts'
import { idleSync } from './idle-sync.ts'
import { someoneWaits } from './lock-waits.ts'
import { createWorld, directoryOf, newRun, newTenant } from './sync-world.ts'

/** One for all: each test has configurations of its own. */
const database = await freshDatabase({ after })
const { source } = createWorld(directoryOf({ users: 1, groups: 1 }))
const sync = idleSync({ database, sources: [source], now: () => new Date() })

async function newScene() {
  const tenant = await newTenant(database)
  const { organizationId, configId } = tenant
  const run = async (status: SyncRunStatus, reason = 'request'): Promise<string> => {
    const id = await newRun(database, tenant)
    await database.query.updateTable('sync_runs').set({ status, reason }).where('id', '=', id).execute()
    return id
  }
  const active = () =>
    database.query
      .selectFrom('sync_runs')
      .select('id')
      .where('config_id', '=', configId)
      .where('status', 'in', ['queued', 'running'])
      .execute()
  const state = () =>
    database.query
      .selectFrom('sync_states')
      .selectAll()
      .where('config_id', '=', configId)
      .executeTakeFirstOrThrow()
  const statusOf = async (id: string) => (await sync.get(organizationId, configId, id)).status
  const disable = () =>
    inTransaction(database, async (transaction) => {
      await transaction
        .updateTable('integration_configs')
        .set({ enabled: false })
        .where('id', '=', configId)
        .execute()
      await stopSyncing(transaction, [{ id: configId, organization_id: organizationId }], new Date())
    })
  const who = {
    organization: { id: organizationId, name: 'Acme' },
    actor: { id: 'key:1', organizationId },
  }
  return { who, configId, run, active, state, statusOf, disable }
}

/** Why those were refused that did not go through. */
const refusalsIn = (ends: readonly PromiseSettledResult<unknown>[]) =>
  ends.flatMap((end) => {
    if (end.status === 'fulfilled') return []
    assert.ok(end.reason instanceof SyncRefusal, String(end.reason))
    return end.reason.refusal.kind
  })

test('of ten who approve at once, one does', async () => {
  const { who, configId, run } = await newScene()
  const id = await run('quarantined')
  const ends = await Promise.allSettled(Array.from({ length: 10 }, () => sync.approve(who, configId, id)))
  assert.deepEqual(
    refusalsIn(ends),
    Array.from({ length: 9 }, () => 'wrong_status'),
  )
  const approvals = await database.query
    .selectFrom('audit_events')
    .select('id')
    .where('target', '=', configId)
    .where('action', '=', 'sync.run.approve')
    .execute()
  assert.equal(approvals.length, 1)
})

test('of an approval and a rejection at once, one holds', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { who, configId, run, statusOf } = await newScene()
    const id = await run('quarantined')
    const ends = await Promise.allSettled([sync.approve(who, configId, id), sync.reject(who, configId, id)])
    assert.deepEqual(refusalsIn(ends), ['wrong_status'])
    assert.equal(await statusOf(id), ends[0].status === 'fulfilled' ? 'queued' : 'cancelled')
  }
})

test('of an approval and a new run at once, one is told of the other', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { who, configId, run, active } = await newScene()
    const id = await run('quarantined')
    const ends = await Promise.allSettled([
      sync.approve(who, configId, id),
      sync.request(who, configId, { mode: 'full', isDryRun: false }),
    ])
    assert.deepEqual(refusalsIn(ends), ['another_active'])
    assert.equal((await active()).length, 1)
  }
})

test('an approval is refused while a later run is under way', async () => {
  const { who, configId, run, statusOf } = await newScene()
  const id = await run('quarantined')
  await run('running')
  await assert.rejects(sync.approve(who, configId, id), { message: 'another_active' })
  assert.equal(await statusOf(id), 'quarantined')
})

test('an approval is refused when the run was read with other credentials than there are now', async () => {
  const { who, configId, run, statusOf } = await newScene()
  const id = await run('quarantined')
  const { version, revision } = newProgress({ mode: 'full', revision: 1, beganAt: '', starts: 0 })
  await database.query
    .updateTable('sync_runs')
    .set({ progress: JSON.stringify({ version, revision }) })
    .where('id', '=', id)
    .execute()
  await database.query
    .updateTable('integration_configs')
    .set({ revision: 2 })
    .where('id', '=', configId)
    .execute()
  await assert.rejects(sync.approve(who, configId, id), { message: 'outdated' })
  assert.equal(await statusOf(id), 'quarantined')
})

test('nothing is queued for a configuration that is switched off, whoever was faster', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { who, configId, run, active, disable } = await newScene()
    const id = await run('quarantined')
    await Promise.allSettled([sync.approve(who, configId, id), disable()])
    assert.deepEqual(await active(), [])
  }
  const { who, configId, run, disable } = await newScene()
  const id = await run('quarantined')
  await disable()
  await assert.rejects(sync.approve(who, configId, id), { message: 'disabled' })
})

test('a configuration that is being switched off is not taken for one that is due', async () => {
  const { configId, active } = await newScene()
  const at = new Date()
  await database.query
    .updateTable('sync_states')
    .set({ next_full_at: at })
    .where('config_id', '=', configId)
    .execute()
  const take = () =>
    inTransaction(database, (transaction) =>
      takeDueSyncs(transaction, { at, until: at, types: ['ACME'], limit: 100 }),
    )
  const disabling = await database.pool.connect()
  try {
    await disabling.query('begin')
    await disabling.query('update integration_configs set enabled = false where id = $1', [configId])
    await take()
    assert.deepEqual(await active(), [])
    await disabling.query('rollback')
  } finally {
    disabling.release()
  }
  await take()
  assert.equal((await active()).length, 1)
})

test('what is being applied is not cancelled any more, and whoever asks does not wait for its end', async () => {
  const { who, configId, run, statusOf } = await newScene()
  const id = await run('running')
  const merging = await database.pool.connect()
  try {
    await merging.query('begin')
    await merging.query('select from sync_runs where id = $1 for no key update', [id])
    await assert.rejects(sync.cancel(who, configId, id), { message: 'being_applied' })
    await merging.query(`update sync_runs set status = 'succeeded' where id = $1`, [id])
    await merging.query('commit')
  } finally {
    merging.release()
  }
  await assert.rejects(sync.cancel(who, configId, id), { message: 'wrong_status' })
  assert.equal(await statusOf(id), 'succeeded')
})

test('a pause keeps a scheduled run that is queued from beginning, and it is due when the syncs go on', async () => {
  const { who, configId, run, state, statusOf } = await newScene()
  const id = await run('queued', 'schedule')
  await sync.pause(who, configId)
  assert.equal(await statusOf(id), 'cancelled')
  assert.ok(Number((await state()).next_full_at) <= Date.now())
})

test('whoever pauses or resumes what is being removed at that moment hears that there is nothing', async () => {
  for (const change of [sync.pause, sync.resume]) {
    const { who, configId } = await newScene()
    let ends: Promise<readonly PromiseSettledResult<void>[]> | undefined
    await inTransaction(database, async (transaction) => {
      await transaction.deleteFrom('integration_configs').where('id', '=', configId).execute()
      ends = Promise.allSettled([change(who, configId)])
      await someoneWaits(database)
    })
    assert.deepEqual(refusalsIn((await ends) ?? []), ['config_not_found'])
  }
})

test('a pause leaves alone what was asked for, and what is under way', async () => {
  for (const [status, reason] of [
    ['queued', 'request'],
    ['running', 'schedule'],
  ] as const) {
    const { who, configId, run, statusOf } = await newScene()
    const id = await run(status, reason)
    await sync.pause(who, configId)
    assert.equal(await statusOf(id), status)
  }
})

test('a scheduled run that is cancelled before it began is not made again before the next is due', async () => {
  const { who, configId, run, state } = await newScene()
  const id = await run('queued', 'schedule')
  await sync.cancel(who, configId, id)
  assert.ok(Number((await state()).next_full_at) > Date.now())
})
