import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import {
  commitAll,
  idOf,
  mergeRun,
  newConfig,
  newRun,
  type Owner,
  type Revision,
  revisionsOf,
  staged,
  sync,
  takeOver,
} from '../../test/entity-runs.ts'
import { freshDatabase } from '../../test/fresh-database.ts'
import type { Activity, Identity } from '../entities/model.ts'
import type { Page } from '../sources/reading.ts'
import type { Merge } from './merge.ts'
import { purgeBatch } from './purge.ts'
import { sweepStages } from './stage-sweep.ts'
import { dropStage, openStage, RunCancelled, RunLost, type StagedPage } from './sync-stage.ts'

const user = (uid: string, title = 'Analyst', more: Partial<Identity> = {}) =>
  ({
    kind: 'identity',
    attributes: { uid, name: `${uid}@acme.com`, status: 'active', job_title: title },
    ...more,
  }) as const
const group = (uid: string, name = uid) => ({ kind: 'group', attributes: { uid, name } }) as const
const device = (uid: string) => ({ kind: 'device', attributes: { uid } }) as const
const member = (group: string, member: string, change?: 'added' | 'removed') => ({
  group,
  member,
  ...(change !== undefined && { change }),
})
const role = (uid: string, value: string) => ({ kind: 'identity', uid, name: 'roles', value }) as const

const database = await freshDatabase({ after })

/** A configuration that has had a full run. */
async function synced(page: Page): Promise<Owner> {
  const owner = await newConfig(database)
  await sync(database, owner, 'full', [page])
  return owner
}

/** Revisions in few words: who, title, groups, and merges that opened and ended it. */
const lines = async (owner: Owner) =>
  (await revisionsOf(database, owner)).map(
    ({ uid, attributes: { job_title }, groups, opened_in, closed_in }) =>
      [uid, job_title, groups.map(({ name }) => name).join('+'), opened_in, closed_in].join(' ').trimEnd(),
  )

const latest = async (owner: Owner, uid: string): Promise<Revision> => {
  const found = (await revisionsOf(database, owner)).filter((one) => one.uid === uid).at(-1)
  assert.ok(found !== undefined)
  return found
}

const sightingsOf = (owner: Owner) =>
  database.query
    .selectFrom('entity_sightings')
    .select(['kind', 'seen_at', 'open_count', 'membership_count'])
    .where('config_id', '=', owner.configId)
    .orderBy('kind')
    .execute()

const everything: Page = {
  entities: [user('u1'), user('u2'), group('g1', 'One'), group('g2', 'Two'), device('d1')],
  memberships: [member('g1', 'u1'), member('g2', 'u1'), member('g2', 'u2')],
  facts: [role('u1', 'Super Admin'), { kind: 'identity', uid: 'u1', name: 'has_mfa', value: true }],
}

test('a sync without changes writes no revision and moves the sightings', async () => {
  const owner = await synced(everything)
  const [first] = await sightingsOf(owner)
  const result = await sync(database, owner, 'full', [everything])
  assert.equal(result.counts.identity.changed, 0)
  assert.deepEqual(await lines(owner), [
    'u1 Analyst One+Two 1',
    'u2 Analyst Two 1',
    'g1   1',
    'g2   1',
    'd1   1',
  ])
  const [second] = await sightingsOf(owner)
  assert.deepEqual(second?.seen_at, result.at)
  assert.ok(result.at > (first?.seen_at ?? result.at))
})

test('after a merge nothing waits to be sorted into the index of terms', async () => {
  await synced(everything)
  const { rows } = await sql<{ pages: number }>`
    select gin_clean_pending_list('entity_revisions_terms')::int as pages`.execute(database.query)
  assert.deepEqual(rows, [{ pages: 0 }])
})

test('after a large merge, plans know how much there is', async () => {
  const counted = async () => {
    const { rows } = await sql<{ rows: number }>`
      select reltuples::int as rows from pg_class where oid = 'entity_keys'::regclass`.execute(database.query)
    return rows[0]?.rows ?? 0
  }
  const before = await counted()
  await synced({ entities: Array.from({ length: 5_000 }, (_, at) => user(`many${at}`)) })
  assert.ok((await counted()) >= Math.max(before, 0) + 10_000, 'an id and a user name each')
})

test('a change ends the revision and begins another at the same moment', async () => {
  const owner = await synced({ entities: [user('u1'), user('u2')] })
  const [sighting] = await sightingsOf(owner)
  const { at } = await sync(database, owner, 'full', [{ entities: [user('u1', 'Chief'), user('u2')] }])
  const [old, now] = await revisionsOf(database, owner)
  assert.deepEqual([old?.ended_at, old?.closed_in, old?.last_seen_at], [at, 2, sighting?.seen_at])
  assert.deepEqual([now?.first_seen_at, now?.opened_in, now?.ended_at], [at, 2, Infinity])
  assert.deepEqual(await lines(owner), ['u1 Analyst  1 2', 'u1 Chief  2', 'u2 Analyst  1'])
})

test('whoever leaves and returns has two stays, even as the same', async () => {
  const owner = await synced({ entities: [user('u1'), user('u2')] })
  await sync(database, owner, 'full', [{ entities: [user('u1')] }])
  await sync(database, owner, 'full', [{ entities: [user('u1'), user('u2')] }])
  assert.deepEqual(await lines(owner), ['u1 Analyst  1', 'u2 Analyst  1 2', 'u2 Analyst  3'])
})

test('merges of an organisation have rising numbers and times, whatever the clocks say', async () => {
  const owner = await newConfig(database)
  const other = await newConfig(database, owner.organizationId)
  const now = new Date('2026-01-01T00:00:00Z')
  const results = []
  for (const one of [owner, other, owner]) results.push(await sync(database, one, 'full', [{}], { now }))
  results.push(await sync(database, other, 'full', [{}], { now: new Date(0) }))
  assert.deepEqual(
    results.map(({ sequence, at }) => [sequence, at.getTime() - now.getTime()]),
    [
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 3],
    ],
  )
})

test('members may be people, groups and devices; unknown ones are ignored, unknown groups kept out', async () => {
  const owner = await synced({
    entities: [user('u1'), group('g1'), group('g2'), device('d1')],
    memberships: [
      member('g1', 'u1'),
      member('g1', 'g2'),
      member('g1', 'd1'),
      member('g1', 'nobody'),
      member('nowhere', 'u1'),
    ],
  })
  assert.deepEqual(await lines(owner), ['u1 Analyst g1 1', 'g1   1', 'g2  g1 1', 'd1  g1 1'])
})

test('groups of an entity are told by id, in order', async () => {
  const owner = await synced(everything)
  const { groups, group_uids } = await latest(owner, 'u1')
  assert.deepEqual(groups, [
    { uid: 'g1', name: 'One' },
    { uid: 'g2', name: 'Two' },
  ])
  assert.deepEqual(group_uids, ['g1', 'g2'])
})

test('activity changes in place and makes no revision', async () => {
  const at = (activity: Activity): Page => ({ entities: [user('u1', 'Analyst', { activity })] })
  const owner = await synced(at({ last_login_ip: '192.0.2.1', last_login_time: '2026-01-01T00:00:00Z' }))
  const { content_hash } = await latest(owner, 'u1')
  await sync(database, owner, 'full', [at({ last_login_time: '2026-01-02T00:00:00Z' })])
  await sync(database, owner, 'incremental', [
    { activities: [{ kind: 'identity', uid: 'u1', activity: { last_login_ip: '192.0.2.2' } }] },
  ])
  const now = await latest(owner, 'u1')
  assert.deepEqual(now.activity, { last_login_ip: '192.0.2.2', last_login_time: '2026-01-02T00:00:00Z' })
  assert.deepEqual([now.opened_in, now.content_hash], [1, content_hash])
  assert.ok(now.terms.includes('ip:192.0.2.2') && !now.terms.includes('ip:192.0.2.1'))
})

test('the address of a sign-in stands beside no other time, and an earlier sign-in sets nothing back', async () => {
  const [early, noon, late] = ['2026-01-01T08:00:00Z', '2026-01-01T12:00:00Z', '2026-01-01T18:00:00Z']
  const signIn = (last_login_time: string, last_login_ip?: string): Activity => ({
    last_login_time,
    ...(last_login_ip !== undefined && { last_login_ip }),
  })
  const listed = (activity: Activity): Page => ({ entities: [user('u1', 'Analyst', { activity })] })
  const logged = (activity: Activity): Page => ({ activities: [{ kind: 'identity', uid: 'u1', activity }] })
  const owner = await synced(listed(signIn(early, '192.0.2.1')))
  const after = async (mode: 'full' | 'incremental', ...pages: Page[]) => {
    await sync(database, owner, mode, pages)
    const { activity, terms } = await latest(owner, 'u1')
    const address = terms.filter((term) => term.startsWith('ip:'))
    assert.deepEqual(address, activity.last_login_ip === undefined ? [] : [`ip:${activity.last_login_ip}`])
    return activity
  }
  assert.deepEqual(await after('full', listed(signIn(noon))), signIn(noon))
  assert.deepEqual(await after('incremental', logged(signIn(noon, '192.0.2.2'))), signIn(noon, '192.0.2.2'))
  // A list that tells no addresses leaves the one of the same sign-in.
  assert.deepEqual(await after('full', listed(signIn(noon))), signIn(noon, '192.0.2.2'))
  assert.deepEqual(await after('incremental', logged(signIn(early, '192.0.2.1'))), signIn(noon, '192.0.2.2'))
  assert.deepEqual(
    await after('incremental', logged(signIn(late, '192.0.2.3')), logged(signIn(early, '192.0.2.1'))),
    signIn(late, '192.0.2.3'),
  )
  assert.deepEqual(
    await after('incremental', listed(signIn('2026-01-02T00:00:00Z')), logged(signIn(late, '192.0.2.3'))),
    signIn('2026-01-02T00:00:00Z'),
  )
})

test('an increment keeps facts and groups of what it tells of otherwise', async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'incremental', [{ entities: [user('u1', 'Chief')] }])
  const { attributes, facts, group_uids, terms } = await latest(owner, 'u1')
  assert.equal((attributes as { job_title?: string }).job_title, 'Chief')
  assert.deepEqual(facts, { roles: ['Super Admin'], has_mfa: true })
  assert.deepEqual(group_uids, ['g1', 'g2'])
  for (const term of [
    'title:chief',
    'group:g1',
    'role:super admin',
    'role:super',
    'privileged:true',
    'mfa:true',
  ])
    assert.ok(terms.includes(term), term)
  assert.ok(!terms.includes('title:analyst'))
})

test('facts that an increment tells whole take the place of those that were, if only none', async () => {
  const owner = await synced(everything)
  const whole = (kind: 'identity' | 'device', uid: string, name: 'roles' | 'owners') => ({
    kind,
    uid,
    names: [name],
  })
  const owns = (value: string) => ({ kind: 'device', uid: 'd1', name: 'owners', value }) as const
  await sync(database, owner, 'incremental', [
    { wholeFacts: [whole('device', 'd1', 'owners')], facts: [owns('u1')] },
    // Told once more, of later.
    { wholeFacts: [whole('device', 'd1', 'owners')], facts: [owns('u2')] },
  ])
  assert.deepEqual((await latest(owner, 'd1')).facts, { owners: ['u2'] })
  await sync(database, owner, 'incremental', [{ entities: [device('d1')] }])
  assert.deepEqual((await latest(owner, 'd1')).facts, { owners: ['u2'] })
  await sync(database, owner, 'incremental', [
    { wholeFacts: [whole('device', 'd1', 'owners'), whole('identity', 'u1', 'roles')] },
  ])
  assert.deepEqual((await latest(owner, 'd1')).facts, {})
  const { facts, terms } = await latest(owner, 'u1')
  assert.deepEqual(facts, { has_mfa: true })
  assert.ok(!terms.some((term) => term.startsWith('role:') || term === 'privileged:true'))
  assert.ok(terms.includes('mfa:true'))
})

test('an increment never removes what it does not tell of', async () => {
  const owner = await synced(everything)
  const { counts } = await sync(database, owner, 'incremental', [{ entities: [user('u3')] }])
  assert.deepEqual([counts.identity.removed, counts.identity.open], [0, 3])
})

test('an increment ends what was told gone, and takes a gone group from its members', async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'incremental', [
    {
      removed: [
        { kind: 'identity', uid: 'u2' },
        { kind: 'group', uid: 'g2' },
        { kind: 'device', uid: 'nothing' },
      ],
    },
  ])
  assert.deepEqual(await lines(owner), [
    'u1 Analyst One+Two 1 2',
    'u1 Analyst One 2',
    'u2 Analyst Two 1 2',
    'g1   1',
    'g2   1 2',
    'd1   1',
  ])
})

test('an increment adds and removes members', async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'incremental', [
    {
      memberships: [
        member('g1', 'u1', 'removed'),
        member('g1', 'd1', 'added'),
        member('g1', 'u2', 'removed'),
      ],
    },
  ])
  assert.deepEqual((await latest(owner, 'u1')).group_uids, ['g2'])
  assert.deepEqual((await latest(owner, 'd1')).group_uids, ['g1'])
  assert.equal((await latest(owner, 'u2')).opened_in, 1)
})

test('members of a group that is read anew take the place of those that were', async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'incremental', [
    { changedGroups: [{ uid: 'g2' }] },
    { memberships: [member('g2', 'u2'), member('g2', 'd1')] },
  ])
  assert.deepEqual((await latest(owner, 'u1')).group_uids, ['g1'])
  assert.equal((await latest(owner, 'u2')).opened_in, 1)
  assert.deepEqual((await latest(owner, 'd1')).group_uids, ['g2'])
})

test('a group that could not be read keeps its members', async () => {
  const owner = await synced(everything)
  const run = await newRun(database, owner, 'incremental')
  const stage = await openStage(database, run)
  await stage.commit(
    [
      {
        entities: [],
        memberships: [],
        facts: [],
        activities: [],
        removed: [],
        changedGroups: [{ uid: 'g2' }],
        kept: [{ kind: 'group', uid: 'g2' }],
      },
    ],
    {},
    { pages: 1, seen: 0, providerCalls: 1, throttled: 0 },
  )
  await mergeRun(database, run)
  assert.equal((await latest(owner, 'u1')).opened_in, 1)
})

test('a group that a full run could not read keeps its members, though its tag is another', async () => {
  const tagged = (uid: string, tag: string) => ({ ...group(uid), membersTag: tag })
  const before: Page = {
    entities: [user('u1'), user('u2'), user('u3'), tagged('g1', '1'), tagged('g2', '1')],
    memberships: [member('g1', 'u1'), member('g1', 'u2'), member('g2', 'u1'), member('g2', 'u3')],
  }
  const now: Page & Pick<StagedPage, 'kept'> = {
    entities: [user('u1'), user('u2'), user('u3'), tagged('g1', '2'), tagged('g2', '2')],
    memberships: [member('g1', 'u3'), member('g2', 'u3')],
    kept: [{ kind: 'group', uid: 'g1' }],
  }
  for (const areMembershipsComplete of [false, true]) {
    const owner = await synced(before)
    await sync(database, owner, 'full', [now], { areMembershipsComplete })
    const groupsOf = async (uid: string) => (await latest(owner, uid)).group_uids
    assert.deepEqual(await groupsOf('u1'), ['g1'])
    assert.deepEqual(await groupsOf('u2'), ['g1'])
    assert.deepEqual(await groupsOf('u3'), ['g1', 'g2'])
    // Read again, it is as it is told.
    await sync(database, owner, 'full', [before])
    assert.deepEqual(await groupsOf('u1'), ['g1', 'g2'])
    assert.deepEqual(await groupsOf('u3'), ['g2'])
  }
})

test('whoever could not be asked for their groups stays in them, though their tags are others', async () => {
  const tagged = (tag: string) => ({ ...group('g1'), membersTag: tag })
  const owner = await synced({
    entities: [user('u1'), user('u2'), tagged('1')],
    memberships: [member('g1', 'u1'), member('g1', 'u2')],
  })
  const asked = { entities: [user('u1'), user('u2'), tagged('2')], kept: [{ kind: 'identity', uid: 'u1' }] }
  await sync(database, owner, 'full', [asked as Page], { areMembershipsComplete: false })
  assert.deepEqual((await latest(owner, 'u1')).group_uids, ['g1'])
  assert.deepEqual((await latest(owner, 'u2')).group_uids, [])
})

test("a renamed group changes its members' groups", async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'incremental', [{ entities: [group('g1', 'Uno')] }])
  assert.deepEqual(await lines(owner), [
    'u1 Analyst One+Two 1 2',
    'u1 Analyst Uno+Two 2',
    'u2 Analyst Two 1',
    'g1   1 2',
    'g1   2',
    'g2   1',
    'd1   1',
  ])
})

test('facts of a list that ended take the place of all; others stay as they are', async () => {
  const owner = await synced(everything)
  const told = { ...everything, facts: [role('u2', 'Help Desk')] }
  await sync(database, owner, 'full', [told], { completeFacts: ['roles'] })
  assert.deepEqual((await latest(owner, 'u1')).facts, { has_mfa: true })
  assert.deepEqual((await latest(owner, 'u2')).facts, { roles: ['Help Desk'] })
  await sync(database, owner, 'full', [{ ...everything, facts: [role('u1', 'Half Told')] }], {
    completeFacts: [],
  })
  assert.deepEqual((await latest(owner, 'u1')).facts, { has_mfa: true })
})

test('a kind whose lists were not read to their end loses nothing', async () => {
  const owner = await synced(everything)
  const { counts } = await sync(database, owner, 'full', [{ entities: [user('u1'), group('g1', 'One')] }], {
    completeKinds: ['group'],
    provenKinds: ['group'],
    areMembershipsComplete: false,
  })
  assert.deepEqual([counts.identity.removed, counts.device.removed, counts.group.removed], [0, 0, 1])
  assert.deepEqual((await latest(owner, 'u2')).group_uids, [])
  const [identities, groups] = await sightingsOf(owner)
  assert.ok((identities?.seen_at ?? 0) < (groups?.seen_at ?? 0))
})

test('memberships that were not read to their end are added to those that are known', async () => {
  const owner = await synced(everything)
  await sync(database, owner, 'full', [{ ...everything, memberships: [member('g1', 'u2')] }], {
    areMembershipsComplete: false,
  })
  assert.deepEqual((await latest(owner, 'u2')).group_uids, ['g1', 'g2'])
  assert.deepEqual((await latest(owner, 'u1')).group_uids, ['g1', 'g2'])
})

test('a full run finds a membership again that an increment could not know', async () => {
  const many = Array.from({ length: 30 }, (_, at) => group(`x${at}`))
  const all = (...users: string[]): Page => ({
    entities: [...users.map((uid) => user(uid)), ...many],
    memberships: [member('x1', 'u1'), member('x1', 'late')],
  })
  const owner = await synced(all('u1'))
  await sync(database, owner, 'incremental', [{ entities: [user('late')] }])
  assert.deepEqual((await latest(owner, 'late')).group_uids, [])
  await sync(database, owner, 'full', [all('u1', 'late')])
  assert.deepEqual((await latest(owner, 'late')).group_uids, ['x1'])
})

const hundred = (from = 0): Page => ({
  entities: Array.from({ length: 100 - from }, (_, at) => user(`u${at + from}`)),
})
const fuse = { percent: 10, atLeast: 5 }

test('above the fuse nothing is applied, and what would go is listed', async () => {
  const owner = await synced(hundred())
  const before = await lines(owner)
  const changed = { entities: [...(hundred(11).entities ?? []), user('new')] }
  const result = await sync(database, owner, 'full', [changed], { fuse })
  assert.equal(result.kind, 'quarantined')
  assert.deepEqual(result.held, [{ kind: 'identity', why: 'removals', count: 11, of: 100 }])
  assert.deepEqual(result.counts.identity, { seen: 90, added: 1, changed: 0, removed: 11, open: 100 })
  assert.equal(result.sample.length, 11)
  assert.deepEqual(await lines(owner), before)
  const removals = await database.query
    .selectFrom('sync_removals')
    .innerJoin('sync_runs', 'sync_runs.id', 'run_id')
    .select(['uid', 'label', 'entity_id'])
    .where('config_id', '=', owner.configId)
    .orderBy('uid')
    .execute()
  assert.equal(removals.length, 11)
  assert.deepEqual(removals[0], { uid: 'u0', label: 'u0@acme.com', entity_id: idOf(owner, 'identity', 'u0') })
})

const removed = (count: number): Page => ({
  removed: Array.from({ length: count }, (_, at) => ({ kind: 'identity', uid: `u${at}` }) as const),
})

test('an increment that names too many as gone is held, and applied once it is approved', async () => {
  const owner = await synced(hundred())
  const run = await newRun(database, owner, 'incremental')
  const stage = await openStage(database, run)
  await commitAll(stage, owner, [{ ...removed(11), entities: [user('u50', 'Chief')] }])
  const held = await mergeRun(database, run, { fuse })
  assert.equal(held.kind, 'quarantined')
  assert.deepEqual(held.held, [{ kind: 'identity', why: 'removals', count: 11, of: 100 }])
  assert.equal((await lines(owner)).length, 100)
  const approved = await mergeRun(database, await takeOver(database, run), { fuse: 'approved' })
  assert.equal(approved.counts.identity.open, 89)
  assert.equal((await latest(owner, 'u50')).attributes.job_title, 'Chief')
})

test('members that an increment takes from a group are not held', async () => {
  const uids = Array.from({ length: 100 }, (_, at) => `u${at}`)
  const owner = await synced({
    entities: [...uids.map((uid) => user(uid)), group('g1')],
    memberships: uids.map((uid) => member('g1', uid)),
  })
  const emptied = { changedGroups: [{ uid: 'g1' }] }
  const result = await sync(database, owner, 'incremental', [emptied], { fuse })
  assert.deepEqual([result.kind, result.memberships.lost], ['merged', 100])
})

test('below the number or the share the fuse lets pass', async () => {
  const cases = [
    ['full', [hundred(10)], fuse],
    ['full', [hundred(50)], { percent: 1, atLeast: 51 }],
    ['incremental', [removed(10)], fuse],
  ] as const
  for (const [mode, pages, fuse] of cases)
    assert.equal((await sync(database, await synced(hundred()), mode, pages, { fuse })).kind, 'merged')
})

test('a complete list that is empty holds everything, however few there were', async () => {
  const owner = await synced({ entities: [user('u1'), group('g1')], memberships: [member('g1', 'u1')] })
  const kinds = await sync(database, owner, 'full', [{ entities: [user('u1')] }], {
    fuse: { percent: 50, atLeast: 50 },
  })
  assert.deepEqual(kinds.held, [
    { kind: 'group', why: 'empty_list', count: 1, of: 1 },
    { kind: 'membership', why: 'empty_list', count: 1, of: 1 },
  ])
})

test('memberships lost are held like removals', async () => {
  const entities = [...(hundred().entities ?? []), group('g1')]
  const told = (from: number): Page => ({
    entities,
    memberships: Array.from({ length: 100 - from }, (_, at) => member('g1', `u${at + from}`)),
  })
  const owner = await synced(told(0))
  const result = await sync(database, owner, 'full', [told(11)], { fuse })
  assert.deepEqual(result.held, [{ kind: 'membership', why: 'memberships', count: 11, of: 100 }])
  assert.deepEqual(result.memberships, { before: 100, lost: 11, gained: 0 })
})

test('an approved run is applied as it stands, except to what increments told of meanwhile, changed or not', async () => {
  const owner = await synced({
    entities: [user('u1'), user('u2'), user('u3'), user('u4'), user('u5'), user('u6')],
  })
  const run = await newRun(database, owner)
  const stage = await openStage(database, run)
  const pages = [{ entities: [user('u4', 'Stale'), user('u5', 'Stale')] }]
  for (const page of pages)
    await stage.commit(
      [await staged(owner, page, stage)],
      {},
      { pages: 1, seen: 1, providerCalls: 1, throttled: 0 },
    )
  assert.equal((await mergeRun(database, run, { fuse: { percent: 10, atLeast: 1 } })).kind, 'quarantined')
  await sync(database, owner, 'incremental', [
    {
      entities: [user('u2', 'Chief'), user('u4', 'Newer'), user('u5'), user('u6')],
      removed: [{ kind: 'identity', uid: 'u3' }],
    },
  ])
  await mergeRun(database, await takeOver(database, run), { fuse: 'approved' })
  assert.deepEqual(await lines(owner), [
    'u1 Analyst  1 3',
    'u2 Analyst  1 2',
    'u2 Chief  2',
    'u3 Analyst  1 2',
    'u4 Analyst  1 2',
    'u4 Newer  2',
    'u5 Analyst  1',
    'u6 Analyst  1',
  ])
})

test('increments go on while a run waits of which a restored backup has left no tables', async () => {
  const owner = await synced({ entities: [user('u1'), user('u2')] })
  const run = await newRun(database, owner)
  const stage = await openStage(database, run)
  await commitAll(stage, owner, [{ entities: [user('u1')] }])
  assert.equal((await mergeRun(database, run, { fuse: { percent: 10, atLeast: 1 } })).kind, 'quarantined')
  await database.query.transaction().execute((transaction) => dropStage(transaction, run.id))
  const { kind } = await sync(database, owner, 'incremental', [{ entities: [user('u2', 'Chief')] }])
  assert.equal(kind, 'merged')
})

test('a dry run counts and shows, and writes nothing', async () => {
  const owner = await synced(hundred())
  const before = [await lines(owner), await sightingsOf(owner)]
  const page: Page = { entities: [user('u50', 'Chief'), user('new'), ...(hundred(51).entities ?? [])] }
  const result = await sync(database, owner, 'full', [page], { isDryRun: true, fuse })
  assert.equal(result.kind, 'dry')
  assert.deepEqual(result.counts.identity, { seen: 51, added: 1, changed: 1, removed: 50, open: 51 })
  assert.equal(result.held?.length, 1)
  assert.equal(result.sample.length, 20)
  assert.deepEqual(
    new Set(result.sample.map(({ change }) => change)),
    new Set(['added', 'changed', 'removed']),
  )
  assert.deepEqual([await lines(owner), await sightingsOf(owner)], before)
})

test('exact names stay known of what has gone or changed', async () => {
  const owner = await synced({ entities: [user('u1')] })
  await sync(database, owner, 'incremental', [
    { entities: [{ kind: 'identity', attributes: { uid: 'u1', name: 'ADA@acme.com', status: 'active' } }] },
  ])
  await sync(database, owner, 'incremental', [{ removed: [{ kind: 'identity', uid: 'u1' }] }])
  await sync(database, owner, 'incremental', [{ entities: [user('u1')] }])
  const keys = await database.query
    .selectFrom('entity_keys')
    .select(['key', 'entity_id'])
    .where('config_id', '=', owner.configId)
    .orderBy('key')
    .execute()
  assert.deepEqual(
    keys,
    ['ada@acme.com', 'u1', 'u1@acme.com'].map((key) => ({ key, entity_id: idOf(owner, 'identity', 'u1') })),
  )
})

test('what the end of a run throws undoes the merge', async () => {
  const owner = await synced({ entities: [user('u1')] })
  const finish: Merge['finish'] = async () => {
    throw new Error('no end')
  }
  await assert.rejects(
    sync(database, owner, 'full', [{ entities: [user('u1', 'Chief')] }], { finish }),
    /no end/,
  )
  assert.deepEqual(await lines(owner), ['u1 Analyst  1'])
})

test('a node that lost the run, or is to cancel it, merges nothing', async () => {
  const owner = await synced({ entities: [user('u1')] })
  const run = await newRun(database, owner)
  const stage = await openStage(database, run)
  await stage.commit(
    [await staged(owner, { entities: [user('u2')] })],
    {},
    { pages: 1, seen: 1, providerCalls: 1, throttled: 0 },
  )
  await assert.rejects(mergeRun(database, { ...run, fence: 0 }), RunLost)
  await database.query
    .updateTable('sync_runs')
    .set({ cancel_requested: true })
    .where('id', '=', run.id)
    .execute()
  await assert.rejects(mergeRun(database, run), RunCancelled)
  assert.deepEqual(await lines(owner), ['u1 Analyst  1'])
})

test('two merges of a configuration at a time come one after the other', async () => {
  const owner = await synced({ entities: [user('u1')] })
  const other = await newConfig(database, owner.organizationId)
  const results = await Promise.all([
    sync(database, owner, 'full', [{ entities: [user('u1', 'Chief')] }]),
    sync(database, other, 'full', [{ entities: [user('u1')] }]),
  ])
  assert.deepEqual(results.map(({ sequence }) => sequence).sort(), [2, 3])
  assert.notEqual((await latest(owner, 'u1')).opened_in, (await latest(other, 'u1')).opened_in)
})

test('entities of a configuration that is gone go batch by batch, and no sibling with them', async () => {
  const owner = await synced(hundred())
  const sibling = await newConfig(database, owner.organizationId)
  await sync(database, sibling, 'full', [hundred()])
  await sync(database, owner, 'full', [hundred(50)])
  await database.query.deleteFrom('integration_configs').where('id', '=', owner.configId).execute()
  await database.query
    .insertInto('entity_purges')
    .values({ config_id: owner.configId, organization_id: owner.organizationId })
    .execute()
  while ((await purgeBatch(database)) !== undefined);
  const { rows } = await sql<{ count: number }>`
    select (select count(*) from entity_revisions where config_id = ${owner.configId})
      + (select count(*) from entity_keys where config_id = ${owner.configId}) as count`.execute(
    database.query,
  )
  assert.equal(rows[0]?.count, 0)
  assert.equal((await lines(sibling)).length, 100)
})

test('tables of runs that are over are dropped, others stay', async () => {
  const owner = await newConfig(database)
  const over = await newRun(database, owner)
  await openStage(database, over)
  await database.query.updateTable('sync_runs').set({ status: 'failed' }).where('id', '=', over.id).execute()
  const active = await newRun(database, owner)
  await openStage(database, active)
  await sweepStages(database)
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_class where relnamespace = 'sync_stage'::regnamespace and relkind = 'r'
  `.execute(database.query)
  const names = rows.map(({ name }) => name)
  assert.ok(names.includes(`entities_${active.id.replaceAll('-', '')}`))
  assert.ok(!names.includes(`entities_${over.id.replaceAll('-', '')}`))
})
