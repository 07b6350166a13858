/** A run that is interrupted at any page or commit, and performed again, ends as one that was not. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Database } from '../src/store/database.ts'
import type { SyncMode } from '../src/store/schema.ts'
import { performRun } from '../src/sync/perform.ts'
import { readProgress } from '../src/sync/progress.ts'
import { newWay } from './database-way.ts'
import { freshDatabase, freshDatabaseUrl, openedDatabase } from './fresh-database.ts'
import {
  contentOf,
  createWorld,
  type Directory,
  directoryOf,
  newRun,
  newTenant,
  partsOf,
  type Tenant,
  type World,
} from './sync-world.ts'

const run = promisify(execFile)
const options = () => ({ signal: new AbortController().signal, attemptsBefore: 0 })

const directory = () => directoryOf({ users: 24, groups: 4 })

/** What happens to the directory between two runs. */
function change({ users, groups, devices, roles, changes }: Directory): void {
  users.set('new', { uid: 'new' })
  users.set('u1', { uid: 'u1', title: 'Changed' })
  users.delete('u7')
  groups.get('g1')?.members.add('new')
  groups.get('g2')?.members.delete('u2')
  devices.delete('d3')
  roles.set('u3', 'Auditor')
  for (const uid of ['new', 'u1', 'u7']) changes.push({ kind: 'user', uid })
  for (const group of ['g1', 'g2']) changes.push({ kind: 'members', group })
}

const changedDirectory = () => {
  const changed = directory()
  change(changed)
  return changed
}

const statusOf = async ({ query }: Database, id: string) =>
  (await query.selectFrom('sync_runs').select('status').where('id', '=', id).executeTakeFirst())?.status

/** Pages of the list of users that are committed. */
const usersKept = async ({ query }: Database, id: string) => {
  const { progress } = await query
    .selectFrom('sync_runs')
    .select('progress')
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  return readProgress(progress)?.lists.users?.pages ?? 0
}

/** Small pages, so that there are many. */
const worldOf = (what: Directory) => createWorld(what, { pageSize: 4 })

const perform = async (database: Database, world: World, id: string) => {
  const { kind } = await performRun(partsOf(database, world), id, options())
  assert.equal(kind, 'succeeded')
}

/** A tenant whose directory was read once, and the run that is to come. */
async function prepared(
  database: Database,
  mode: SyncMode | 'first',
): Promise<{ readonly tenant: Tenant; readonly id: string; world(): World }> {
  const tenant = await newTenant(database)
  if (mode === 'first')
    return { tenant, id: await newRun(database, tenant), world: () => worldOf(directory()) }
  await perform(database, worldOf(directory()), await newRun(database, tenant))
  return { tenant, id: await newRun(database, tenant, { mode }), world: () => worldOf(changedDirectory()) }
}

/** What is stored when nothing disturbs the run, and how many pages it asks for. */
async function undisturbed(database: Database, mode: SyncMode | 'first') {
  const { tenant, id, world } = await prepared(database, mode)
  const read = world()
  await perform(database, read, id)
  return { content: await contentOf(database, tenant), pages: read.asked.length }
}

/** Begins a run that from one page on never hears from the provider again; resolves when it is there. */
async function abandoned(database: Database, world: World, id: string, atPage: number) {
  const reached = Promise.withResolvers<void>()
  world.faults.push(({ before }) => {
    if (before < atPage) return undefined
    reached.resolve()
    return new Promise<never>(() => {})
  })
  const end = performRun(partsOf(database, world), id, options())
  await Promise.race([reached.promise, end])
  return { end }
}

for (const [mode, title] of [
  ['first', 'a first run'],
  ['full', 'a later full run'],
  ['incremental', 'an increment'],
] as const)
  test(`${title} that is left for dead at any page ends as an undisturbed one`, async (t) => {
    const database = await freshDatabase(t)
    const { content, pages } = await undisturbed(database, mode)
    // Several pages are on their way at a time, so that not each place is one of its own.
    for (let page = 0; page < pages; page += mode === 'incremental' ? 1 : 3) {
      const { tenant, id, world } = await prepared(database, mode)
      const { end } = await abandoned(database, world(), id, page)
      await perform(database, world(), id)
      assert.deepEqual(await contentOf(database, tenant), content, `after page ${page}`)
      // Whoever was left for dead hears of it, and writes nothing more.
      assert.deepEqual(await end, { kind: 'lost' })
    }
  })

test('a run whose process is killed at a page or after a commit ends as an undisturbed one', async (t) => {
  const database = await freshDatabase(t)
  const { content, pages } = await undisturbed(database, 'first')
  const child = join(import.meta.dirname, 'sync-kill-process.ts')
  const kills = [
    ...[Math.floor(pages / 2), pages - 1].map((at) => ['page', at] as const),
    ...[2, 4, 6].map((at) => ['commit', at] as const),
  ]
  let killedAt = 0
  for (const [what, at] of kills) {
    const { tenant, id, world } = await prepared(database, 'first')
    const killed = await run(process.execPath, [child, database.url, id, what, String(at)]).then(
      ({ stdout }) => stdout,
      (error: { readonly signal?: string; readonly stderr: string }) => error.signal ?? error.stderr,
    )
    if (killed !== 'succeeded') {
      assert.equal(killed, 'SIGKILL')
      killedAt += 1
      // It may have been killed when all was done, and only its pages were to be dropped.
      if ((await statusOf(database, id)) === 'running') await perform(database, world(), id)
    }
    assert.deepEqual(await contentOf(database, tenant), content, `killed at ${what} ${at}`)
  }
  assert.equal(killedAt, kills.length)
})

test('a run whose database goes away is given back, and goes on where it stood', async (t) => {
  const way = await newWay(t)
  const database = await openedDatabase(t, way.through(await freshDatabaseUrl()))
  const { content } = await undisturbed(database, 'first')
  const { tenant, id, world } = await prepared(database, 'first')
  const cut = world()
  cut.faults.push(async ({ list, cursor }) => {
    if (list !== 'users' || cursor !== 16) return undefined
    // Pages that were read before are committed meanwhile.
    while ((await usersKept(database, id)) < 3) await wait(5)
    await way.close()
    return undefined
  })
  await assert.rejects(performRun(partsOf(database, cut), id, options()), { name: 'DatabaseUnavailable' })
  await way.reopen()
  const after = world()
  await perform(database, after, id)
  assert.deepEqual(await contentOf(database, tenant), content)
  assert.ok(after.asked.filter(({ list }) => list === 'users').every(({ cursor }) => cursor !== undefined))
})
