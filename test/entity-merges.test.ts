/** What real merges write is what queries find: terms, facts, groups, activity, counts and times. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { beforeAllChanges, changeLines } from '../src/entities/feeds.ts'
import type { Identity } from '../src/entities/model.ts'
import { parseQuery } from '../src/entities/query-parser.ts'
import { entityText } from '../src/entities/rendering.ts'
import { searchEntities } from '../src/entities/search.ts'
import type { Database } from '../src/store/database.ts'
import { createSightings } from '../src/store/sightings.ts'
import { newConfig, type Owner, sync } from './entity-runs.ts'
import { freshDatabase } from './fresh-database.ts'

let database: Database
const ends: (() => unknown)[] = []
before(async () => {
  database = await freshDatabase({ after: (end) => ends.push(end) })
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const day = (n: number) => new Date(Date.UTC(2026, 0, n))
const user = (uid: string, job_title: string, activity?: Identity['activity']): Identity => ({
  kind: 'identity',
  attributes: { uid, name: `${uid}@acme.com`, full_name: `${uid} O'Neil`, status: 'active', job_title },
  ...(activity && { activity }),
})
const admins = { kind: 'group', attributes: { uid: "g'\\1", name: 'Domain Admins' } } as const

async function ask(owner: Owner, query: string, from: Date, to = from) {
  const tree = parseQuery(query)
  const { entities, total } = await searchEntities(database.query, createSightings(database.query), {
    organizationId: owner.organizationId,
    kind: 'identity',
    ...(tree && { tree }),
    span: { from: from.toISOString(), to: to.toISOString() },
    limit: 100,
    withRaw: false,
  })
  assert.equal(total, entities.length, query)
  return entities.map((entity) => JSON.parse(entityText(entity, to.getTime())))
}

const uids = async (...asked: Parameters<typeof ask>) =>
  (await ask(...asked)).map(({ attributes }) => attributes.revisions[0].attributes.uid).sort()

test('a directory that was synchronised day by day is answered for each of its days', async () => {
  const owner = await newConfig(database)
  const ada = user('ada', 'Analyst')
  const bob = user('bob', 'Engineer', { last_login_ip: '10.1.2.3', last_login_time: day(1).toISOString() })
  await sync(
    database,
    owner,
    'full',
    [
      {
        entities: [ada, bob, admins],
        memberships: [{ group: "g'\\1", member: 'ada' }],
        facts: [
          { kind: 'identity', uid: 'ada', name: 'roles', value: 'Super Administrator' },
          { kind: 'identity', uid: 'bob', name: 'mfa_methods', value: 'webauthn' },
        ],
      },
    ],
    { now: day(1) },
  )
  // Nothing new, then another title and somebody gone.
  const unchanged = { entities: [ada, bob, admins], memberships: [{ group: "g'\\1", member: 'ada' }] }
  const facts = [
    { kind: 'identity', uid: 'ada', name: 'roles', value: 'Super Administrator' },
    { kind: 'identity', uid: 'bob', name: 'mfa_methods', value: 'webauthn' },
  ] as const
  await sync(database, owner, 'full', [{ ...unchanged, facts }], { now: day(2) })
  await sync(
    database,
    owner,
    'full',
    [
      {
        entities: [user('ada', 'Director'), admins],
        memberships: unchanged.memberships,
        facts: facts.slice(0, 1),
      },
    ],
    { now: day(3) },
  )

  assert.deepEqual(await uids(owner, '', day(1)), ['ada', 'bob'])
  assert.deepEqual(await uids(owner, '', day(3)), ['ada'])
  assert.deepEqual(await uids(owner, '', day(1), day(9)), ['ada', 'bob'])
  for (const [query, ...expected] of [
    ['group:"domain admins"', 'ada'],
    ["group:g'\\1", 'ada'],
    ['role:super', 'ada'],
    ['privileged:true', 'ada'],
    ['privileged:false', 'bob'],
    ['mfa:true', 'bob'],
    ['10.1.2.3', 'bob'],
    ["o'neil", 'ada', 'bob'],
    ['BOB@acme.com', 'bob'],
    ['title:analyst', 'ada'],
    ['title:director'],
    ['source:okta -title:engineer', 'ada'],
  ] as const)
    assert.deepEqual(await uids(owner, query, day(2)), expected, query)

  const [shown] = await ask(owner, 'ada', day(1), day(9))
  assert.deepEqual(
    shown.attributes.revisions.map((revision: Record<string, unknown>) => [
      (revision.attributes as Record<string, unknown>).job_title,
      revision.first_seen_at,
      revision.last_seen_at,
    ]),
    [
      ['Analyst', day(1).toISOString(), day(2).toISOString()],
      ['Director', day(3).toISOString(), day(3).toISOString()],
    ],
  )
  const [revision] = shown.attributes.revisions
  assert.partialDeepStrictEqual(revision.attributes, {
    roles: ['Super Administrator'],
    is_privileged: true,
    groups: [{ uid: "g'\\1", name: 'Domain Admins' }],
  })
  const [other] = await ask(owner, 'bob', day(2))
  assert.partialDeepStrictEqual(other.attributes.revisions[0].attributes, {
    mfa_methods: ['webauthn'],
    has_mfa: true,
    last_login_ip: '10.1.2.3',
  })

  const feed = changeLines(
    database.query,
    {
      organizationId: owner.organizationId,
      kinds: ['identity', 'group', 'device'],
      format: 'credence',
      withRaw: false,
    },
    beforeAllChanges,
  )
  const { value } = await feed.next()
  const changes = value
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map(({ change, at, entity }) => [change, at.slice(0, 10), entity.attributes.revisions[0].attributes.uid])
  assert.deepEqual(changes.toSorted(), [
    ['created', '2026-01-01', 'ada'],
    ['created', '2026-01-01', 'bob'],
    ['created', '2026-01-01', "g'\\1"],
    ['removed', '2026-01-03', 'bob'],
    ['updated', '2026-01-03', 'ada'],
  ])
})
