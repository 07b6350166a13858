import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import {
  commitAll,
  mergeRun,
  newConfig,
  newRun,
  noTotals,
  revisionsOf,
  staged,
  takeOver,
} from '../../test/entity-runs.ts'
import { freshDatabase } from '../../test/fresh-database.ts'
import type { Page } from '../sources/reading.ts'
import { openStage, RunCancelled, RunLost, StageLost } from './sync-stage.ts'

const user = (uid: string, title = 'Analyst') =>
  ({
    kind: 'identity',
    attributes: { uid, name: `${uid}@acme.com`, status: 'active', job_title: title },
  }) as const
const group = (uid: string, memberCount?: number, membersTag?: string) =>
  ({
    kind: 'group',
    attributes: { uid, name: uid },
    ...(memberCount !== undefined && { memberCount }),
    ...(membersTag !== undefined && { membersTag }),
  }) as const

const begin = async (t: Parameters<typeof freshDatabase>[0], mode: 'full' | 'incremental' = 'full') => {
  const database = await freshDatabase(t)
  const owner = await newConfig(database)
  const run = await newRun(database, owner, mode)
  return { database, owner, run, stage: await openStage(database, run) }
}

test('pages, progress and totals are kept together', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  assert.equal(stage.isEmpty, true)
  const totals = { pages: 2, seen: 3, providerCalls: 4, throttled: 1 }
  await stage.commit(
    [await staged(owner, { entities: [user('u1')] }), await staged(owner, { entities: [user('u2')] })],
    { at: 2 },
    totals,
  )
  const row = await database.query
    .selectFrom('sync_runs')
    .selectAll()
    .where('id', '=', run.id)
    .executeTakeFirstOrThrow()
  assert.deepEqual(
    [row.progress, row.pages, row.seen, row.provider_calls, row.throttled],
    [{ at: 2 }, 2, 3, 4, 1],
  )
  assert.deepEqual(await stage.counts(), { identities: 2, groups: 0, devices: 0 })
  assert.equal((await openStage(database, run)).isEmpty, false)
})

test('a page that comes twice counts once, and what was told last counts', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const page: Page = { entities: [user('u1', 'Clerk'), user('u2'), user('u1', 'Chief')] }
  await commitAll(stage, owner, [page, page, { entities: [user('u2', 'Queen')] }])
  assert.equal((await stage.counts()).identities, 2)
  await mergeRun(database, run)
  assert.deepEqual(
    (await revisionsOf(database, owner)).map(({ attributes: { job_title } }) => job_title),
    ['Chief', 'Queen'],
  )
})

test('a document that is known is staged as its hash, and what it is part of is still found', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const everybody: Page = { entities: [user('u1'), user('u2'), group('g1', 1, 'a')] }
  await commitAll(stage, owner, [everybody])
  await mergeRun(database, run)

  const later = await newRun(database, owner, 'incremental')
  const next = await openStage(database, later)
  const told = await staged(owner, { entities: [user('u1'), user('u2', 'Chief'), group('g1', 2, 'b')] }, next)
  assert.deepEqual(
    told.entities.map(({ uid, document }) => [uid, document !== undefined]),
    [
      ['u1', false],
      ['u2', true],
      ['g1', false],
    ],
  )
  await next.commit([told], {}, noTotals)
  assert.deepEqual(await next.counts(), { identities: 2, groups: 1, devices: 0 })
  assert.deepEqual(await next.owners('identity', '', 9), [{ uid: 'u1' }, { uid: 'u2' }])
  assert.deepEqual(await next.changedGroups('', 9), [{ uid: 'g1', memberCount: 2 }])
  await next.commit(
    [await staged(owner, { memberships: [{ group: 'g1', member: 'u1' }] }, next)],
    {},
    noTotals,
  )
  const { counts } = await mergeRun(database, later)
  assert.deepEqual(counts.identity, { seen: 2, added: 0, changed: 2, removed: 0, open: 2 })
  // Who came into a group has the document of before, and is found by it as before.
  const [before, after] = (await revisionsOf(database, owner)).filter(({ uid }) => uid === 'u1')
  assert.deepEqual([after?.attributes, after?.groups], [before?.attributes, [{ uid: 'g1', name: 'g1' }]])
  assert.deepEqual(new Set(after?.terms), new Set([...(before?.terms ?? []), 'group:g1']))
})

test('a document that is known elsewhere, or was once, is staged whole', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  await commitAll(stage, owner, [{ entities: [user('u1'), user('u2')] }])
  await mergeRun(database, run)
  const sibling = await newConfig(database, owner.organizationId)
  const changed = await newRun(database, owner)
  await commitAll(await openStage(database, changed), owner, [{ entities: [user('u1', 'Chief')] }])
  await mergeRun(database, changed)

  const wholeOf = async (one: typeof owner) => {
    const next = await openStage(database, await newRun(database, one))
    const { entities } = await staged(one, { entities: [user('u1'), user('u2')] }, next)
    return entities.filter(({ document }) => document !== undefined).map(({ uid }) => uid)
  }
  assert.deepEqual(await wholeOf(owner), ['u1', 'u2'])
  assert.deepEqual(await wholeOf(sibling), ['u1', 'u2'])
})

test('what was told gone and then told again is there, and the other way round', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const removed = [{ kind: 'identity', uid: 'u1' }] as const
  await commitAll(stage, owner, [
    { entities: [user('u1'), user('u2')] },
    { removed },
    { entities: [user('u1')] },
  ])
  await commitAll(stage, owner, [{ removed: [{ kind: 'identity', uid: 'u2' }] }])
  assert.deepEqual(await stage.owners('identity', '', 10), [{ uid: 'u1' }])
  await mergeRun(database, run)
  assert.deepEqual(
    (await revisionsOf(database, owner)).map(({ uid }) => uid),
    ['u1'],
  )
})

test('text of every sort comes back as it was', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const odd = 'tab\t line\n return\r back\\slash \\N "quotes" \'single\' {braces} , ✓ 𝒳 \u0001'
  await commitAll(stage, owner, [
    {
      entities: [{ ...user('u1', odd), raw: { [odd]: odd } }, user(odd.replaceAll(/\s/g, '_'))],
      facts: [{ kind: 'identity', uid: 'u1', name: 'roles', value: odd }],
    },
  ])
  await mergeRun(database, run)
  const [first] = (await revisionsOf(database, owner)).filter(({ uid }) => uid === 'u1')
  assert.deepEqual(first?.attributes, user('u1', odd).attributes)
  assert.deepEqual(first?.raw, { [odd]: odd })
  assert.deepEqual(first?.facts, { roles: [odd] })
})

test('NUL, which the database cannot keep, is replaced', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const page = await staged(owner, { entities: [user('u1')] })
  await stage.commit(
    [{ ...page, entities: page.entities.map((one) => ({ ...one, label: 'a\0b' })) }],
    {},
    noTotals,
  )
  await mergeRun(database, run)
  assert.equal((await revisionsOf(database, owner))[0]?.label, 'a\uFFFDb')
})

test('whoever lost the run to another node writes nothing', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const next = await takeOver(database, run)
  await assert.rejects(
    stage.commit([await staged(owner, { entities: [user('u1')] })], { late: true }, noTotals),
    RunLost,
  )
  await assert.rejects(openStage(database, run), RunLost)
  // Nor does it take the stage away.
  const resumed = await openStage(database, next)
  await resumed.commit([await staged(owner, { entities: [user('u2')] })], {}, noTotals)
  await stage.drop()
  assert.deepEqual(await resumed.owners('identity', '', 10), [{ uid: 'u2' }])
})

test('a run that ended, was cancelled or went with its configuration takes no page', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  const commit = async () => stage.commit([await staged(owner, { entities: [user('u1')] })], {}, noTotals)
  const set = (values: object) =>
    database.query.updateTable('sync_runs').set(values).where('id', '=', run.id).execute()
  await set({ cancel_requested: true })
  await assert.rejects(commit(), RunCancelled)
  await set({ cancel_requested: false, status: 'failed' })
  await assert.rejects(commit(), RunLost)
  await database.query.deleteFrom('integration_configs').where('id', '=', owner.configId).execute()
  await assert.rejects(commit(), RunLost)
  assert.deepEqual(await stage.counts(), { identities: 0, groups: 0, devices: 0 })
})

test('pages that a crash of the database took are missed, not taken for an empty list', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  await commitAll(stage, owner, [{ entities: [user('u1')] }])
  // Tables that are not logged are empty after a crash, all of them.
  await sql`truncate sync_stage.runs`.execute(database.query)
  await assert.rejects(commitAll(stage, owner, [{ entities: [user('u2')] }]), StageLost)
  await assert.rejects(mergeRun(database, run), StageLost)
  const anew = await openStage(database, run)
  assert.equal(anew.isEmpty, true)
  assert.deepEqual(await anew.counts(), { identities: 0, groups: 0, devices: 0 })
  await assert.rejects(mergeRun(database, run), StageLost)
})

test('owners come in the order of their ids, each once, with the count of their members', async (t) => {
  const { owner, stage } = await begin(t)
  await commitAll(stage, owner, [
    { entities: [group('b', 2), group('a', 1)] },
    { entities: [group('c'), group('b', 5)] },
  ])
  assert.deepEqual(await stage.owners('group', '', 2), [
    { uid: 'a', memberCount: 1 },
    { uid: 'b', memberCount: 5 },
  ])
  assert.deepEqual(await stage.owners('group', 'b', 2), [{ uid: 'c' }])
  assert.equal(await stage.sumCalls('group', ({ memberCount = 100 }) => memberCount), 106)
  assert.equal(await stage.sumCalls('identity', () => 1), 0)
})

test('an increment reads anew the members of groups that are named, new or tagged otherwise', async (t) => {
  const { database, owner, run, stage } = await begin(t)
  await commitAll(stage, owner, [
    { entities: [group('same', 1, 'x'), group('other', 1, 'x'), group('named', 1)] },
  ])
  await mergeRun(database, run)
  const later = await newRun(database, owner, 'incremental')
  const increment = await openStage(database, later)
  await commitAll(increment, owner, [
    { entities: [group('same', 1, 'x'), group('other', 2, 'y'), group('new', 3, 'z')] },
    { changedGroups: [{ uid: 'named', memberCount: 7 }] },
  ])
  assert.deepEqual(await increment.changedGroups('', 10), [
    { uid: 'named', memberCount: 7 },
    { uid: 'new', memberCount: 3 },
    { uid: 'other', memberCount: 2 },
  ])
  assert.deepEqual(await increment.changedGroups('named', 1), [{ uid: 'new', memberCount: 3 }])
})

test('a run leaves no tables', async (t) => {
  const { database, owner, stage } = await begin(t)
  await commitAll(stage, owner, [{ entities: [user('u1')] }])
  await stage.drop()
  const { rows } = await sql`
    select relname from pg_class where relnamespace = 'sync_stage'::regnamespace and relname ~ '[0-9a-f]{32}'
  `.execute(database.query)
  assert.deepEqual(rows, [])
})

test('what the database refuses is told without a word of the rows', async (t) => {
  const { owner, stage } = await begin(t)
  const page = await staged(owner, { entities: [user('canary-secret')] })
  const broken = { ...page, entities: page.entities.map((one) => ({ ...one, entityId: 'canary-secret' })) }
  await assert.rejects(stage.commit([broken], {}, noTotals), (error: Error) => {
    assert.match(error.message, /SQLSTATE 22P02/)
    assert.ok(!JSON.stringify([error.message, error.stack, error.cause]).includes('canary'))
    return true
  })
})
