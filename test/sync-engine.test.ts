/** Runs from claim to end on a real database: what is stored, resumed, refused, approved and told. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql, type Updateable } from 'kysely'
import { ConfigRefusal } from '../src/configs/refusal.ts'
import type { Database } from '../src/store/database.ts'
import type { SyncRunTable } from '../src/store/schema.ts'
import { sweepStages } from '../src/store/stage-sweep.ts'
import type { RunOptions, RunParts } from '../src/sync/parts.ts'
import { performRun } from '../src/sync/perform.ts'
import { planRun } from '../src/sync/plan.ts'
import { freshDatabase } from './fresh-database.ts'
import {
  contentOf,
  createWorld,
  directoryOf,
  newRun,
  newTenant,
  type PartsOfWorld,
  partsOf,
  refusal,
  type Tenant,
  type World,
  type WorldOptions,
} from './sync-world.ts'

interface Scene {
  readonly database: Database
  readonly tenant: Tenant
  readonly world: World
  readonly parts: PartsOfWorld
  /** Asks for a run and performs it. */
  sync(what?: Parameters<typeof newRun>[2], options?: Partial<RunOptions>): ReturnType<typeof performRun>
}

const options = (more: Partial<RunOptions> = {}): RunOptions => ({
  signal: new AbortController().signal,
  attemptsBefore: 0,
  ...more,
})

/** One for all: each test has a tenant of its own. */
const database = await freshDatabase({ after })

async function sceneOf({
  counts = { users: 40, groups: 5 },
  world: given,
  parts: more,
}: {
  readonly counts?: { readonly users: number; readonly groups: number }
  readonly world?: WorldOptions
  readonly parts?: Partial<Pick<RunParts, 'settingsOf' | 'now' | 'pace'>>
} = {}): Promise<Scene> {
  const tenant = await newTenant(database)
  const world = createWorld(directoryOf(counts), given)
  const parts = partsOf(database, world, more)
  return {
    database,
    tenant,
    world,
    parts,
    sync: async (what, given) => performRun(parts, await newRun(database, tenant, what), options(given)),
  }
}

const runsOf = ({ database, tenant }: Scene) =>
  database.query
    .selectFrom('sync_runs')
    .selectAll()
    .where('config_id', '=', tenant.configId)
    .orderBy('requested_at')
    .execute()

const lastRun = async (scene: Scene) => {
  const run = (await runsOf(scene)).at(-1)
  assert.ok(run)
  return run
}

const stateOf = ({ database, tenant }: Scene) =>
  database.query
    .selectFrom('sync_states')
    .selectAll()
    .where('config_id', '=', tenant.configId)
    .executeTakeFirstOrThrow()

const openUids = async ({ database, tenant }: Scene, kind = 1) =>
  (
    await database.query
      .selectFrom('entity_revisions')
      .select('uid')
      .where('config_id', '=', tenant.configId)
      .where('kind', '=', kind)
      .where('closed_in', 'is', null)
      .orderBy('uid')
      .execute()
  ).map(({ uid }) => uid)

/** Runs of the tenant that have tables of what they read. */
const stages = async (scene: Scene) => {
  const { rows } = await sql<{ run_id: string }>`select run_id from sync_stage.runs`.execute(
    scene.database.query,
  )
  const staged = new Set(rows.map(({ run_id }) => run_id))
  return (await runsOf(scene)).filter(({ id }) => staged.has(id)).length
}

const loseStage = (scene: Scene) =>
  sql`delete from sync_stage.runs where run_id in (
    select id from sync_runs where config_id = ${scene.tenant.configId})`.execute(scene.database.query)

/** Changes the tenant's runs that are not over. */
const changeRun = ({ database, tenant }: Scene, change: Updateable<SyncRunTable>) =>
  database.query
    .updateTable('sync_runs')
    .set(change)
    .where('config_id', '=', tenant.configId)
    .where('status', 'in', ['queued', 'running', 'quarantined'])
    .execute()
const changeConfig = ({ database, tenant }: Scene, revision: number) =>
  database.query
    .updateTable('integration_configs')
    .set({ revision })
    .where('id', '=', tenant.configId)
    .execute()

const approval = { status: 'queued', approved_by: 'key:1', ended_at: null } as const

test('a full run stores everything, ends as succeeded, and leaves nothing behind', async () => {
  const scene = await sceneOf()
  const end = await scene.sync()
  assert.equal(end.kind, 'succeeded')
  const run = await lastRun(scene)
  assert.equal(run.status, 'succeeded')
  assert.equal(run.provider_calls, scene.world.asked.length)
  assert.equal(run.pages, scene.world.asked.length)
  assert.equal(run.changed, 40 + 5 + 10)
  assert.equal(run.removed, 0)
  assert.equal((await openUids(scene)).length, 40)
  assert.equal(await stages(scene), 0)
  const state = await stateOf(scene)
  assert.deepEqual(state.marks, { changes: 0 })
  assert.equal(state.marks_revision, 1)
  assert.ok(state.complete_at && state.incremental_since && state.incremental_since <= state.complete_at)
  assert.deepEqual(scene.parts.troubles, [])
})

test('a second run of the same directory writes no revision', async () => {
  const scene = await sceneOf()
  await scene.sync()
  const before = await contentOf(scene.database, scene.tenant)
  await scene.sync()
  assert.deepEqual(await contentOf(scene.database, scene.tenant), before)
  assert.equal((await lastRun(scene)).changed, 0)
})

test('what costs a request for each person is read where the configuration requires it, and known no longer when it does not', async () => {
  const scene = await sceneOf({ world: { areRolesOnRequest: true } })
  const require = (capabilities: readonly string[]) =>
    scene.database.query
      .updateTable('integration_configs')
      .set({ settings: JSON.stringify({ require: capabilities }) })
      .where('id', '=', scene.tenant.configId)
      .execute()
  const holders = async () =>
    (await contentOf(scene.database, scene.tenant))
      .map((text) => JSON.parse(text) as { readonly facts: string; readonly isOpen: boolean })
      .filter(({ facts, isOpen }) => isOpen && facts.includes('"roles"')).length
  const planned = async () => (await lastRun(scene)).plan
  await scene.sync()
  assert.equal(await holders(), 0)
  assert.ok(scene.world.asked.every(({ list }) => list !== 'roles'))
  assert.ok(!JSON.stringify(await planned()).includes('"roles"'))
  await require(['roles'])
  await scene.sync()
  assert.equal(await holders(), scene.world.directory.roles.size)
  assert.ok(JSON.stringify(await planned()).includes('"roles"'))
  await require([])
  await scene.sync()
  assert.equal(await holders(), 0)
})

test('an increment stores what has changed, and removes only whom it was told to be gone', async () => {
  const scene = await sceneOf()
  const { directory } = scene.world
  await scene.sync()
  directory.users.set('new', { uid: 'new' })
  directory.users.delete('u3')
  directory.users.delete('u4')
  directory.groups.get('g1')?.members.add('new')
  directory.changes.push(
    { kind: 'user', uid: 'new' },
    { kind: 'user', uid: 'u3' },
    { kind: 'members', group: 'g1' },
  )
  const end = await scene.sync({ mode: 'incremental' })
  assert.equal(end.kind, 'succeeded')
  const uids = await openUids(scene)
  assert.ok(uids.includes('new') && uids.includes('u4') && !uids.includes('u3'))
  const state = await stateOf(scene)
  assert.deepEqual(state.marks, { changes: 3 })
  // The next full run finds who was never told to be gone.
  await scene.sync()
  assert.ok(!(await openUids(scene)).includes('u4'))
})

test('whom an increment meets for the first time is asked for their groups, which nothing else tells of', async () => {
  const scene = await sceneOf({ world: { hasNewcomers: true, hasMemberTags: true } })
  const { directory, faults, asked } = scene.world
  // A list that is no snapshot passes one over, who is a member of two groups.
  faults.push(({ list, cursor }, page) => {
    if (list !== 'users' || cursor !== undefined) return undefined
    const { entities = [], ...rest } = page()
    return { ...rest, entities: entities.filter(({ attributes }) => attributes.uid !== 'u6') }
  })
  await scene.sync()
  faults.length = 0
  assert.equal((await openUids(scene)).includes('u6'), false)
  const before = asked.length
  directory.changes.push({ kind: 'user', uid: 'u6' }, { kind: 'user', uid: 'u7' })
  assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'succeeded')
  const questions = asked.slice(before).filter(({ list }) => list === 'member_of' || list === 'members')
  assert.deepEqual(
    questions.map(({ list, owner }) => [list, owner]),
    [['member_of', 'u6']],
  )
  const content = await contentOf(scene.database, scene.tenant)
  await scene.sync()
  assert.equal((await lastRun(scene)).changed, 0)
  assert.deepEqual(await contentOf(scene.database, scene.tenant), content)
})

test('newcomers who are refused, or gone by then, are stored all the same', async () => {
  const scene = await sceneOf({ world: { hasNewcomers: true } })
  const { directory, faults } = scene.world
  await scene.sync()
  for (const [uid, status] of [
    ['new1', 403],
    ['new2', 404],
  ] as const) {
    directory.users.set(uid, { uid })
    directory.changes.push({ kind: 'user', uid })
    faults.push(({ list, owner }) => {
      if (list === 'member_of' && owner === uid) throw refusal(status)
      return undefined
    })
  }
  assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'succeeded')
  const uids = await openUids(scene)
  assert.ok(uids.includes('new1') && uids.includes('new2'))
  const { memberships } = (await lastRun(scene)).result as { memberships: { refused: number } }
  assert.equal(memberships.refused, 1)
})

test('whoever leaves a group is seen to, though another group could not be asked', async () => {
  const scene = await sceneOf()
  const { directory, faults } = scene.world
  await scene.sync()
  faults.push(({ list, owner }) => {
    if (list === 'members' && owner === 'g2') throw refusal(403)
    return undefined
  })
  directory.groups.get('g0')?.members.delete('u3')
  directory.groups.get('g2')?.members.delete('u2')
  await scene.sync()
  faults.length = 0
  const groupsOf = async (uid: string) => {
    const { rows } = await sql<{ group_uids: string[] }>`
      select group_uids from entity_revisions
      where config_id = ${scene.tenant.configId} and uid = ${uid} and ended_at = 'infinity'`.execute(
      scene.database.query,
    )
    return rows[0]?.group_uids
  }
  assert.deepEqual(await groupsOf('u3'), ['g3'])
  assert.deepEqual(await groupsOf('u2'), ['g0', 'g2'])
  await scene.sync()
  assert.deepEqual(await groupsOf('u2'), ['g0'])
})

test('an increment whose mark is lost fails, removes nobody, and asks for a full run', async () => {
  const scene = await sceneOf()
  scene.world.directory.changes.push({ kind: 'user', uid: 'u1' })
  await scene.sync()
  scene.world.directory.changes.length = 0
  scene.world.directory.users.delete('u5')
  const end = await scene.sync({ mode: 'incremental' })
  assert.ok(end.kind === 'failed' && end.isFullWanted)
  assert.equal(end.error.code, 'sync_mark_lost')
  assert.ok((await openUids(scene)).includes('u5'))
  const state = await stateOf(scene)
  assert.equal(state.failures, 1)
  assert.equal(state.last_error?.code, 'sync_mark_lost')
  await scene.sync()
  assert.equal((await stateOf(scene)).failures, 0)
  assert.ok(!(await openUids(scene)).includes('u5'))
})

test('what was asked for as an increment reads everything when its marks are of other credentials', async () => {
  const scene = await sceneOf()
  await scene.sync()
  await changeConfig(scene, 7)
  scene.world.directory.users.delete('u5')
  const end = await scene.sync({ mode: 'incremental' })
  assert.equal(end.kind, 'succeeded')
  assert.equal((await lastRun(scene)).mode, 'full')
  assert.equal((await stateOf(scene)).marks_revision, 7)
  assert.ok(!(await openUids(scene)).includes('u5'))
})

test('a configuration that is changed while it is read is read anew', async () => {
  const scene = await sceneOf()
  let isChanged = false
  scene.world.faults.push(async ({ list }) => {
    if (list === 'groups' && !isChanged) {
      isChanged = true
      scene.world.directory.users.set('late', { uid: 'late' })
      await changeConfig(scene, 3)
    }
    return undefined
  })
  assert.equal((await scene.sync()).kind, 'succeeded')
  assert.equal((await stateOf(scene)).marks_revision, 3)
  const run = await lastRun(scene)
  assert.equal(scene.world.asked.filter(({ list }) => list === 'devices').length, 2)
  assert.equal(run.provider_calls, scene.world.asked.length)
})

test('a run that would remove too many waits for approval, and is then applied as it was read', async () => {
  const scene = await sceneOf({
    counts: { users: 40, groups: 2 },
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  for (let n = 20; n < 40; n += 1) scene.world.directory.users.delete(`u${n}`)
  const { kind } = await scene.sync()
  assert.equal(kind, 'quarantined')
  const run = await lastRun(scene)
  assert.equal(run.status, 'quarantined')
  assert.equal((await openUids(scene)).length, 40)
  const before = await stateOf(scene)

  await changeRun(scene, approval)
  const asked = scene.world.asked.length
  assert.equal((await performRun(scene.parts, run.id, options())).kind, 'succeeded')
  assert.equal(scene.world.asked.length, asked)
  assert.equal((await openUids(scene)).length, 20)
  const approved = await lastRun(scene)
  assert.equal(approved.status, 'succeeded')
  assert.equal(approved.removed, 20)
  assert.ok(before.complete_at && (await stateOf(scene)).complete_at)
  assert.equal(await stages(scene), 0)
})

test('a later full run takes the place of one that waits for approval', async () => {
  const scene = await sceneOf({
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  const { users } = scene.world.directory
  const all = new Map(users)
  users.clear()
  assert.equal((await scene.sync()).kind, 'quarantined')
  assert.equal((await scene.sync()).kind, 'quarantined')
  for (const [uid, user] of all) users.set(uid, user)
  assert.equal((await scene.sync()).kind, 'succeeded')
  assert.deepEqual(
    (await runsOf(scene)).map(({ status }) => status),
    ['succeeded', 'superseded', 'superseded', 'succeeded'],
  )
  assert.equal(await stages(scene), 0)
})

const strict = {
  parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
}

/** Has the provider say of as many people that they are gone. */
const leave = ({ world: { directory } }: Scene, count: number) => {
  for (let n = 0; n < count; n += 1) {
    directory.users.delete(`u${n}`)
    directory.changes.push({ kind: 'user', uid: `u${n}` })
  }
}

test('an increment that would remove too many waits for approval, and its marks with it', async () => {
  const scene = await sceneOf(strict)
  await scene.sync()
  const before = await stateOf(scene)
  leave(scene, 20)
  assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'quarantined')
  const run = await lastRun(scene)
  assert.deepEqual([run.status, run.removed], ['quarantined', 0])
  assert.partialDeepStrictEqual(run.result, {
    held: [{ kind: 'identity', why: 'removals', count: 20, of: 40 }],
  })
  const listed = await database.query
    .selectFrom('sync_removals')
    .select('uid')
    .where('run_id', '=', run.id)
    .execute()
  assert.equal(listed.length, 20)
  assert.equal((await openUids(scene)).length, 40)
  assert.deepEqual(await stateOf(scene), before)

  const asked = scene.world.asked.length
  await changeRun(scene, approval)
  assert.equal((await performRun(scene.parts, run.id, options())).kind, 'succeeded')
  assert.equal(scene.world.asked.length, asked)
  assert.equal((await openUids(scene)).length, 20)
  assert.deepEqual((await stateOf(scene)).marks, { changes: 20 })
  assert.deepEqual((await stateOf(scene)).complete_at, before.complete_at)
  assert.equal(await stages(scene), 0)
})

for (const mode of ['full', 'incremental'] as const)
  test(`a later ${mode} run that is applied takes the place of an increment that waits`, async () => {
    const scene = await sceneOf(strict)
    await scene.sync()
    const people = new Map(scene.world.directory.users)
    leave(scene, 20)
    await scene.sync({ mode: 'incremental' })
    scene.world.directory.users = people
    assert.equal((await scene.sync({ mode })).kind, 'succeeded')
    assert.equal((await runsOf(scene))[1]?.status, 'superseded')
    assert.equal((await openUids(scene)).length, 40)
    assert.equal(await stages(scene), 0)
  })

test('an increment leaves a full run that waits for approval alone', async () => {
  const scene = await sceneOf(strict)
  await scene.sync()
  for (let n = 0; n < 20; n += 1) scene.world.directory.users.delete(`u${n}`)
  await scene.sync()
  await scene.sync({ mode: 'incremental' })
  assert.equal((await runsOf(scene))[1]?.status, 'quarantined')
})

test('a full run that waits is given up when an increment meets somebody whom it would remove', async () => {
  const scene = await sceneOf(strict)
  const { directory } = scene.world
  await scene.sync()
  const people = new Map(directory.users)
  for (let n = 0; n < 20; n += 1) directory.users.delete(`u${n}`)
  assert.equal((await scene.sync()).kind, 'quarantined')
  // Back again, as they were: no revision tells of it.
  directory.users = people
  directory.changes.push({ kind: 'user', uid: 'u7' })
  assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'succeeded')
  assert.equal((await lastRun(scene)).changed, 0)
  assert.equal((await runsOf(scene))[1]?.status, 'superseded')
  assert.equal(await stages(scene), 0)
})

test('an approved run whose pages are gone fails, and removes nobody', async () => {
  const scene = await sceneOf({
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  scene.world.directory.users.clear()
  await scene.sync()
  const run = await lastRun(scene)
  await loseStage(scene)
  await changeRun(scene, approval)
  const end = await performRun(scene.parts, run.id, options())
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'sync_stage_lost')
  assert.equal((await openUids(scene)).length, 40)
})

test('an approved run is not applied to a configuration that was changed since it was read', async () => {
  const scene = await sceneOf({
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  scene.world.directory.users.clear()
  await scene.sync()
  const run = await lastRun(scene)
  await changeConfig(scene, 9)
  await changeRun(scene, approval)
  const end = await performRun(scene.parts, run.id, options())
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'sync_approval_outdated')
  assert.equal((await openUids(scene)).length, 40)
})

test('a dry run tells what would change, and changes nothing', async () => {
  const scene = await sceneOf()
  await scene.sync()
  const state = await stateOf(scene)
  scene.world.directory.users.delete('u5')
  scene.world.directory.users.set('new', { uid: 'new' })
  const end = await scene.sync({ isDryRun: true })
  assert.ok(end.kind === 'dry')
  assert.equal(end.merge.counts.identity.removed, 1)
  assert.equal(end.merge.counts.identity.added, 1)
  assert.ok((await openUids(scene)).includes('u5'))
  const run = await lastRun(scene)
  assert.equal(run.status, 'succeeded')
  assert.ok(Array.isArray(run.result?.sample))
  assert.deepEqual(await stateOf(scene), state)
})

test('a cancelled run ends as such, and nothing of it is kept', async () => {
  const scene = await sceneOf()
  scene.world.faults.push(async ({ list, cursor }) => {
    if (list === 'users' && cursor === 20) await changeRun(scene, { cancel_requested: true })
    return undefined
  })
  assert.equal((await scene.sync()).kind, 'cancelled')
  assert.equal((await lastRun(scene)).status, 'cancelled')
  assert.deepEqual(await openUids(scene), [])
  assert.equal(await stages(scene), 0)
})

test('a run that another node has taken over writes nothing more, and the other one ends it', async () => {
  const scene = await sceneOf()
  const id = await newRun(scene.database, scene.tenant)
  const frozen = Promise.withResolvers<void>()
  let isFrozen = false
  scene.world.faults.push(async ({ list, cursor }) => {
    if (list === 'users' && cursor === 20 && !isFrozen) {
      isFrozen = true
      await frozen.promise
    }
    return undefined
  })
  const first = performRun(scene.parts, id, options())
  while (!isFrozen) await new Promise((resolve) => setTimeout(resolve, 5))
  const second = await performRun(scene.parts, id, options())
  const content = await contentOf(scene.database, scene.tenant)
  frozen.resolve()
  assert.equal((await first).kind, 'lost')
  assert.equal(second.kind, 'succeeded')
  assert.deepEqual(await contentOf(scene.database, scene.tenant), content)
  assert.equal((await lastRun(scene)).status, 'succeeded')
})

test('a run that is over, or gone with its configuration, is nothing to perform', async () => {
  const scene = await sceneOf()
  const id = await newRun(scene.database, scene.tenant)
  await performRun(scene.parts, id, options())
  assert.equal((await performRun(scene.parts, id, options())).kind, 'lost')
  scene.world.faults.push(async ({ list }) => {
    if (list === 'groups')
      await scene.database.query
        .deleteFrom('integration_configs')
        .where('id', '=', scene.tenant.configId)
        .execute()
    return undefined
  })
  assert.equal((await scene.sync()).kind, 'lost')
})

test('a run that is stopped goes on later where it stood', async () => {
  const scene = await sceneOf()
  const id = await newRun(scene.database, scene.tenant)
  const stopping = new AbortController()
  scene.world.faults.push(({ list, cursor }) => {
    if (list === 'users' && cursor === 30) stopping.abort()
    return undefined
  })
  assert.equal((await performRun(scene.parts, id, options({ signal: stopping.signal }))).kind, 'stopped')
  const stopped = await lastRun(scene)
  assert.equal(stopped.status, 'running')
  assert.equal(stopped.progress.starts, 0)
  scene.world.faults.length = 0
  const before = scene.world.asked.length
  assert.equal((await performRun(scene.parts, id, options())).kind, 'succeeded')
  const again = scene.world.asked.slice(before).filter(({ list }) => list === 'users')
  assert.ok(again.every(({ cursor }) => cursor !== undefined))
  assert.equal((await openUids(scene)).length, 40)
  assert.equal((await lastRun(scene)).provider_calls, scene.world.asked.length)
})

test('a run whose pages were lost with the database begins anew', async () => {
  const scene = await sceneOf()
  const id = await newRun(scene.database, scene.tenant)
  let isLost = false
  scene.world.faults.push(async ({ list, cursor }) => {
    if (list === 'users' && cursor === 20 && !isLost) {
      isLost = true
      await loseStage(scene)
    }
    return undefined
  })
  assert.equal((await performRun(scene.parts, id, options())).kind, 'succeeded')
  assert.equal((await openUids(scene)).length, 40)
})

test('a required list that is refused fails the run with its diagnosis, and applies nothing', async () => {
  const scene = await sceneOf()
  await scene.sync()
  scene.world.directory.users.set('new', { uid: 'new' })
  scene.world.faults.push(({ list }) => {
    if (list === 'groups') throw refusal(403)
    return undefined
  })
  const asked = scene.world.asked.length
  const end = await scene.sync()
  assert.ok(end.kind === 'failed')
  const run = await lastRun(scene)
  assert.equal(run.status, 'failed')
  assert.partialDeepStrictEqual(run.error, {
    code: 'acme_forbidden',
    list: 'groups',
    provider: { status: 403 },
  })
  assert.equal(run.provider_calls, scene.world.asked.length - asked)
  assert.ok(!(await openUids(scene)).includes('new'))
  assert.equal(await stages(scene), 0)
})

test('an optional list that is refused is named, and what it told before stays', async () => {
  const scene = await sceneOf()
  await scene.sync()
  assert.equal((await openUids(scene, 3)).length, 10)
  scene.world.faults.push(({ list }) => {
    if (list === 'devices') throw refusal(403)
    return undefined
  })
  assert.equal((await scene.sync()).kind, 'succeeded')
  assert.equal((await openUids(scene, 3)).length, 10)
  assert.partialDeepStrictEqual((await lastRun(scene)).result, {
    leftOut: [{ code: 'acme_forbidden', list: 'devices' }],
  })
})

for (const refused of ['log_mark', 'log'])
  test(`an optional list of increments whose ${refused} is refused is named in each run that goes without it`, async () => {
    const scene = await sceneOf({ world: { hasLog: true } })
    scene.world.faults.push(({ list }) => {
      if (list === refused) throw refusal(403)
      return undefined
    })
    const leftOut = async () => {
      const { result } = await lastRun(scene)
      const { leftOut: errors } = result as { leftOut: { code: string; list: string }[] }
      return errors.map(({ code, list }) => [code, list])
    }
    await scene.sync()
    assert.deepEqual(await leftOut(), refused === 'log_mark' ? [['acme_forbidden', 'log']] : [])
    assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'succeeded')
    assert.deepEqual(await leftOut(), [
      [refused === 'log_mark' ? 'sync_mark_missing' : 'acme_forbidden', 'log'],
    ])
  })

const membersOf = async ({ database, tenant }: Scene, uid: string) =>
  (
    await database.query
      .selectFrom('entity_revisions')
      .select('uid')
      .where('config_id', '=', tenant.configId)
      .where('kind', '=', 1)
      .where('closed_in', 'is', null)
      .where(sql<boolean>`group_uids @> array[${uid}]::text[]`)
      .execute()
  ).length

for (const status of [403, 404])
  test(`a changed group whose members are answered ${status} keeps them, and others lose theirs`, async () => {
    const scene = await sceneOf({ world: { hasMemberTags: true } })
    const { groups } = scene.world.directory
    await scene.sync()
    const before = await membersOf(scene, 'g1')
    assert.equal(before, 8)
    groups.get('g1')?.members.delete('u1')
    groups.get('g2')?.members.delete('u2')
    scene.world.faults.push(({ list, owner }) => {
      if (list === 'members' && owner === 'g1') throw refusal(status)
      return undefined
    })
    const asked = scene.world.asked.length
    assert.equal((await scene.sync()).kind, 'succeeded')
    assert.equal(await membersOf(scene, 'g1'), before)
    assert.equal(await membersOf(scene, 'g2'), 7)
    const run = await lastRun(scene)
    assert.equal(run.pages, scene.world.asked.length - asked - 1)
    assert.partialDeepStrictEqual(run.result, { memberships: { refused: status === 403 ? 1 : 0 } })
    scene.world.faults.length = 0
    await scene.sync()
    assert.equal(await membersOf(scene, 'g1'), 7)
  })

test('an increment goes on without the members of a group that is refused, names it, and proves nothing', async () => {
  const scene = await sceneOf({ world: { hasMemberTags: true } })
  const { directory, faults } = scene.world
  await scene.sync()
  const seenAt = () =>
    scene.database.query
      .selectFrom('entity_sightings')
      .select('seen_at')
      .where('config_id', '=', scene.tenant.configId)
      .execute()
  const seenBefore = await seenAt()
  faults.push(({ list, owner }) => {
    if (list === 'members' && owner === 'g1') throw refusal(403)
    return undefined
  })
  directory.groups.get('g1')?.members.delete('u1')
  directory.groups.get('g2')?.members.delete('u2')
  directory.users.set('new', { uid: 'new' })
  directory.changes.push(
    { kind: 'members', group: 'g1' },
    { kind: 'group', uid: 'g1' },
    { kind: 'group', uid: 'g2' },
    { kind: 'user', uid: 'new' },
  )
  for (const _run of [1, 2]) {
    assert.equal((await scene.sync({ mode: 'incremental' })).kind, 'succeeded')
    assert.partialDeepStrictEqual((await lastRun(scene)).result, {
      leftOut: [{ code: 'acme_forbidden', list: 'memberships' }],
      memberships: { refused: 1 },
    })
    assert.equal(await membersOf(scene, 'g1'), 8)
    assert.deepEqual(await seenAt(), seenBefore)
  }
  assert.equal(await membersOf(scene, 'g2'), 7)
  assert.ok((await openUids(scene)).includes('new'))
  faults.length = 0
  await scene.sync({ mode: 'incremental' })
  assert.equal(await membersOf(scene, 'g1'), 7)
  assert.notDeepEqual(await seenAt(), seenBefore)
})

test('a group that a full run could not ask for its members is asked by the increments that follow, until it tells them', async () => {
  const scene = await sceneOf({ world: { hasMemberTags: true } })
  const { faults, asked } = scene.world
  const refused: World['faults'][number] = ({ list, owner }) => {
    if (list === 'members' && owner === 'g1') throw refusal(403)
    return undefined
  }
  const ownersOf = async (sync: () => Promise<unknown>) => {
    const before = asked.length
    await sync()
    return asked.slice(before).flatMap(({ owner }) => owner ?? [])
  }
  faults.push(refused)
  await scene.sync()
  assert.equal(await membersOf(scene, 'g1'), 0)
  faults.length = 0
  // Nothing tells of the group: it has not changed.
  assert.deepEqual(await ownersOf(() => scene.sync({ mode: 'incremental' })), ['g1'])
  assert.equal(await membersOf(scene, 'g1'), 8)
  assert.deepEqual(await ownersOf(() => scene.sync({ mode: 'incremental' })), [])
})

test('a user whose groups are refused stays in those that changed', async () => {
  const scene = await sceneOf({
    counts: { users: 4, groups: 2 },
    world: { hasMemberTags: true, hasUserWalk: true, pageSize: 1 },
  })
  const { groups } = scene.world.directory
  await scene.sync()
  groups.get('g0')?.members.delete('u2')
  scene.world.faults.push(({ list, owner }) => {
    if (list === 'member_of' && owner === 'u1') throw refusal(403)
    return undefined
  })
  assert.equal((await scene.sync()).kind, 'succeeded')
  assert.partialDeepStrictEqual((await lastRun(scene)).result, {
    memberships: { by: 'identity', refused: 1 },
  })
  assert.equal(await membersOf(scene, 'g0'), 3)
  assert.equal(await membersOf(scene, 'g1'), 2)
})

test('a group of which a member cannot be read keeps those it had', async () => {
  const scene = await sceneOf({ world: { hasMemberTags: true } })
  await scene.sync()
  scene.world.directory.groups.get('g1')?.members.delete('u1')
  scene.world.faults.push(({ list, owner }, page) =>
    list === 'members' && owner === 'g1'
      ? { ...page(), unreadable: [{ kind: 'identity', reason: 'no id' }] }
      : undefined,
  )
  assert.equal((await scene.sync()).kind, 'succeeded')
  assert.equal(await membersOf(scene, 'g1'), 8)
})

test('a record that cannot be read removes nobody', async () => {
  const scene = await sceneOf()
  await scene.sync()
  scene.world.directory.users.delete('u5')
  scene.world.directory.users.delete('u6')
  scene.world.faults.push(({ list, cursor }, page) =>
    list === 'users' && cursor === undefined
      ? { ...page(), unreadable: [{ kind: 'identity', uid: 'u5', reason: 'no name' }] }
      : undefined,
  )
  assert.equal((await scene.sync()).kind, 'succeeded')
  const uids = await openUids(scene)
  assert.ok(uids.includes('u5') && !uids.includes('u6'))
  assert.partialDeepStrictEqual((await lastRun(scene)).result, { unreadable: { count: 1 } })
})

test('a shrinking or empty list removes nobody without approval', async () => {
  const scene = await sceneOf({
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  scene.world.faults.push(({ list }) => (list === 'users' ? {} : undefined))
  assert.equal((await scene.sync()).kind, 'quarantined')
  assert.equal((await openUids(scene)).length, 40)
})

test('a run that ended its process three times without a page is set aside', async () => {
  const scene = await sceneOf()
  const id = await newRun(scene.database, scene.tenant)
  await changeRun(scene, { progress: '{"starts": 3}' })
  const end = await performRun(scene.parts, id, options({ attemptsBefore: 3 }))
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'sync_process_ended')
  assert.equal((await lastRun(scene)).status, 'failed')
  assert.deepEqual(scene.world.asked, [])
})

test('what ends a run is settled in the transaction that ends it, and undone with it', async () => {
  const scene = await sceneOf()
  const taken = new Error('taken over')
  await assert.rejects(
    scene.sync({}, { settle: async () => Promise.reject(taken) }),
    (error) => error === taken,
  )
  assert.equal((await lastRun(scene)).status, 'running')
  assert.deepEqual(await openUids(scene), [])
  const id = (await lastRun(scene)).id
  let settled: string | undefined
  await performRun(
    scene.parts,
    id,
    options({
      async settle(transaction, end) {
        settled = end.kind
        await transaction
          .updateTable('sync_states')
          .set({ next_full_at: new Date(0) })
          .execute()
      },
    }),
  )
  assert.equal(settled, 'succeeded')
  assert.deepEqual((await stateOf(scene)).next_full_at, new Date(0))
})

test('secrets that do not open fail the run in words that say what to do', async () => {
  const scene = await sceneOf()
  const parts = {
    ...scene.parts,
    unseal: () => Promise.reject(new ConfigRefusal({ kind: 'sealed' })),
  }
  const end = await performRun(parts, await newRun(scene.database, scene.tenant), options())
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'sync_secrets_sealed')
})

test('a mistake of the program ends the run, is told, and applies nothing', async () => {
  const scene = await sceneOf()
  scene.world.faults.push(({ list }) => {
    if (list === 'roles') throw new TypeError('undefined is not a function')
    return undefined
  })
  const end = await scene.sync()
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'internal_error')
  assert.equal(scene.parts.troubles.length, 1)
  assert.deepEqual(await openUids(scene), [])
})

test('a plan tells how many requests each list and walk takes, once a run has counted them', async () => {
  const scene = await sceneOf({ world: { hasUserWalk: true } })
  const parts = { database: scene.database, sources: [scene.world.source] }
  const config = {
    id: scene.tenant.configId,
    organization_id: scene.tenant.organizationId,
    integration_type: 'ACME',
    settings: {},
  }
  const before = await planRun(parts, config)
  assert.equal(before?.full.calls, undefined)
  await scene.sync()
  const after = await planRun(parts, config)
  assert.deepEqual(after?.full.memberships, { by: 'group', calls: { group: 8, identity: 40 } })
  assert.equal(after?.full.calls, scene.world.asked.length)
  await scene.sync()
  assert.equal((await lastRun(scene)).plan?.calls, after?.full.calls)
})

test('what is left of runs that are over is found and dropped, and nothing else', async () => {
  const scene = await sceneOf({
    parts: { settingsOf: () => ({ fuse: { percent: 10, atLeast: 5 }, budgetShare: 50 }) },
  })
  await scene.sync()
  scene.world.directory.users.clear()
  await scene.sync()
  assert.equal(await stages(scene), 1)
  await sweepStages(database)
  assert.equal(await stages(scene), 1)
  await changeRun(scene, { status: 'cancelled' })
  assert.equal(await sweepStages(database), 1)
  assert.equal(await stages(scene), 0)
})
