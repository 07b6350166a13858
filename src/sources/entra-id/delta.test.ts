/** Increments of Entra ID: after any changes, what they lead to is what a full run finds. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import fc from 'fast-check'
import { idOf } from '../../../sandbox/entra/directory-objects.ts'
import { createEntraSandbox, type EntraSandbox } from '../../../sandbox/entra/index.ts'
import { type Fault, type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import type { Change } from '../../../sandbox/living-directory.ts'
import {
  entraOutbound,
  type Known,
  keyOf,
  openRun,
  readAll,
  readChanges,
} from '../../../test/entra-reading.ts'
import type { Outbound } from '../../outbound/outbound.ts'
import { SourceError } from '../../outbound/source-error.ts'
import { type Json, MarkLost, type Page } from '../reading.ts'
import { reader } from './reader.ts'
import type { ReadingSession } from './reading-session.ts'

let entra: EntraSandbox
let sandbox: RunningSandbox
let outbound: Outbound
let providerTime = () => new Date()

before(async () => {
  entra = await createEntraSandbox({ users: 60, groups: 9, devices: 12, seed: 'entra delta' })
  sandbox = await startSandbox({ providers: [entra], now: () => providerTime() })
  outbound = entraOutbound(sandbox)
})
afterEach(() => {
  providerTime = () => new Date()
  sandbox.setFaults([])
})
after(() => sandbox.close())

async function withRun<T>(work: (session: ReadingSession) => Promise<T>): Promise<T> {
  const run = openRun(outbound, entra.apps.full)
  try {
    return await work(run.session)
  } finally {
    await run.close()
  }
}

const wholeDirectory = ['users', 'groups', 'devices']
const list = (name: string) => reader.increments.find((candidate) => candidate.name === name) ?? assert.fail()

/** What an increment can be held to: entities without what changes by itself, and memberships. */
const comparable = ({ entities, memberships }: Known) => ({
  entities: [...entities]
    .map(([key, { attributes, raw }]) => [key, attributes, raw])
    .sort(([one], [other]) => (String(one) < String(other) ? -1 : 1)),
  memberships: [...memberships].sort(),
})

/** A change that is possible now, made of arbitrary numbers. */
function changeOf([kind, one, two]: readonly [number, number, number]): Change | undefined {
  const { directory } = entra
  // Who leads everybody stays, so that there is always somebody.
  const people = Array.from({ length: directory.userCount }, (_, index) => index).slice(1)
  const there = people.filter(directory.hasPerson)
  const gone = people.filter((index) => !directory.hasPerson(index))
  const groups = Array.from({ length: directory.groupCount }, (_, index) => index).filter(directory.hasGroup)
  const pick = (from: readonly number[], number: number) => from[number % from.length]
  const person = pick(there, one)
  const group = pick(groups, two)
  switch (kind) {
    case 0:
      return { what: 'hire', edit: { title: `Title ${two}` } }
    case 1:
      return person === undefined
        ? undefined
        : { what: 'edit', person, edit: { department: `Department ${two}` } }
    case 2:
      return person === undefined ? undefined : { what: 'edit', person, edit: { managerIndex: two % 7 } }
    case 3:
      return person === undefined
        ? undefined
        : { what: 'edit', person, edit: { status: two % 2 === 0 ? 'suspended' : 'active' } }
    case 4:
      return there.length < 20 || person === undefined ? undefined : { what: 'leave', person }
    case 5: {
      const returning = pick(gone, one)
      return returning === undefined ? undefined : { what: 'return', person: returning }
    }
    case 6:
      return { what: 'found', name: `Group ${two}` }
    case 7:
      return group === undefined ? undefined : { what: 'rename', group, name: `Renamed ${one}` }
    case 8:
      return groups.length < 4 || group === undefined || group === 0 ? undefined : { what: 'dissolve', group }
    case 9:
      return person === undefined ? undefined : { what: 'sign_in', person, ip: '192.0.2.1' }
    default:
      if (person === undefined || group === undefined) return undefined
      return { what: directory.isMember(group, person) ? 'quit' : 'join', group, person }
  }
}

test('after any changes, increments lead to what a full run finds, replays and all', async () => {
  await withRun(async (session) => {
    const known = await readAll(session, wholeDirectory)
    const change = fc.tuple(fc.integer({ min: 0, max: 14 }), fc.nat(10_000), fc.nat(10_000))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { maxLength: 12 }), { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        async (rounds, isReplaying) => {
          sandbox.setFaults(
            isReplaying ? [{ provider: 'entra', path: '/delta$', kind: 'delta_replays' }] : [],
          )
          for (const round of rounds) {
            for (const numbers of round) {
              const next = changeOf(numbers)
              if (next !== undefined) entra.directory.change(next)
            }
            await readChanges(session, known)
          }
          assert.deepEqual(comparable(known), comparable(await readAll(session, wholeDirectory)))
        },
      ),
      { numRuns: 40 },
    )
    assert.deepEqual(known.unreadable, [])
  })
})

test('changes during a full run are told by the increment that follows', async () => {
  await withRun(async (session) => {
    const known = await readAll(session, wholeDirectory)
    const marks = { ...known.marks }
    // Who leads everybody stays, whatever changed before.
    const person = 0
    entra.directory.change({ what: 'edit', person, edit: { title: 'Changed meanwhile' } })
    const mark = marks.users
    assert.ok(mark !== undefined)
    const page = await list('users').read(session, mark, undefined)
    assert.deepEqual(
      page.entities?.map(({ attributes }) => attributes.uid),
      [idOf(entra.directory.person(person).key)],
    )
    assert.notEqual(page.mark, undefined)
  })
})

test('a change of many is told in pages, and each object whole', async () => {
  await withRun(async (session) => {
    const known = await readAll(session, wholeDirectory)
    for (let count = 0; count < 230; count++) entra.directory.change({ what: 'hire' })
    await readChanges(session, known)
    assert.deepEqual(comparable(known), comparable(await readAll(session, wholeDirectory)))
  })
})

test('nothing changed: nothing is told, and the mark goes on', async () => {
  await withRun(async (session) => {
    for (const increment of reader.increments) {
      const mark = await increment.begin(session)
      const {
        mark: next,
        entities,
        removed,
        memberships,
        changedGroups,
      } = await increment.read(session, mark, undefined)
      assert.deepEqual([entities, removed, memberships, changedGroups], [[], undefined, undefined, undefined])
      assert.equal(typeof next, 'string')
      assert.deepEqual((await increment.read(session, next ?? null, undefined)).entities, [])
    }
  })
})

const lost: readonly (readonly [string, Omit<Fault, 'provider' | 'path'>])[] = [
  ['410 with a location', { kind: 'lost_delta_token' }],
  ['410 without a word', { kind: 'status', status: 410, body: {} }],
  ...['syncStateNotFound', 'resyncRequired', 'SyncStateNotFound', 'Directory_ExpiredPageToken'].map(
    (code) =>
      [
        `400 ${code}`,
        { kind: 'status', status: 400, body: { error: { code, message: 'no' } } },
      ] as const satisfies readonly [string, Omit<Fault, 'provider' | 'path'>],
  ),
]
for (const [title, fault] of lost)
  test(`${title} means that the mark is lost`, async () => {
    await withRun(async (session) => {
      const mark = await list('users').begin(session)
      sandbox.setFaults([{ provider: 'entra', path: '/delta$', ...fault }])
      sandbox.forgetRequests()
      await assert.rejects(list('users').read(session, mark, undefined), MarkLost)
      // The location is not followed.
      assert.equal(sandbox.requests().length, 1)
    })
  })

test('a page token that has expired within a round is no lost mark', async () => {
  await withRun(async (session) => {
    const mark = await list('users').begin(session)
    const body = { error: { code: 'Directory_ExpiredPageToken', message: 'no' } }
    sandbox.setFaults([{ provider: 'entra', path: '/delta$', kind: 'status', status: 400, body }])
    await assert.rejects(
      list('users').read(session, mark, '/users/delta?$skiptoken=x'),
      (error: unknown) => error instanceof SourceError && error.status === 400,
    )
  })
})

test('a mark older than seven days is lost', async () => {
  const run = openRun(outbound, entra.apps.full, { now: () => providerTime() })
  const mark = await list('groups').begin(run.session)
  providerTime = () => new Date(Date.now() + 8 * 86_400_000)
  await assert.rejects(list('groups').read(run.session, mark, undefined), MarkLost)
  await run.close()
})

test('a refusal or an outage is no lost mark', async () => {
  for (const fault of [
    { kind: 'unavailable' },
    { kind: 'html' },
    { kind: 'status', status: 400, body: { error: { code: 'BadRequest', message: 'no' } } },
    { kind: 'status', status: 403, body: { error: { code: 'Authorization_RequestDenied', message: 'no' } } },
  ] as const)
    await withRun(async (session) => {
      const mark = await list('users').begin(session)
      sandbox.setFaults([{ provider: 'entra', path: '/delta$', ...fault }])
      await assert.rejects(
        list('users').read(session, mark, undefined),
        (error: unknown) => error instanceof SourceError,
      )
      sandbox.setFaults([])
    })
})

test('a stored mark that leads elsewhere is lost, and nothing is asked', async () => {
  const marks: Json[] = [
    '/groups/delta?$deltatoken=x',
    '/users/delta/../../groups?$deltatoken=x',
    'https://evil.example/v1.0/users/delta?$deltatoken=x',
    '@evil.example/users/delta?$deltatoken=x',
    '/users?$deltatoken=x',
    '',
    null,
    7,
    { link: '/groups/delta?$deltatoken=x' },
    { link: '/users/delta?$deltatoken=x', there: ['x'] },
    { link: '/users/delta?$deltatoken=x', gone: 'x' },
    { link: '/users/delta?$deltatoken=x', removed: 'xyz' },
  ]
  await withRun(async (session) => {
    sandbox.forgetRequests()
    for (const mark of marks) await assert.rejects(list('users').read(session, mark, undefined), MarkLost)
    assert.deepEqual(sandbox.requests(), [])
  })
})

const answers = (path: string, body: unknown, times?: number): Fault => ({
  provider: 'entra',
  path,
  kind: 'status',
  status: 200,
  body,
  ...(times !== undefined && { times }),
})

/**
 * An increment of `name` whose delta query answers `body`.
 *
 * @param listed what its list answers, one after the other
 */
async function hostile(name: string, body: unknown, ...listed: readonly unknown[]): Promise<Page> {
  return withRun(async (session) => {
    const mark = await list(name).begin(session)
    sandbox.setFaults([answers('/delta$', body, 1), ...listed.map((one) => answers(`/${name}$`, one, 1))])
    return await list(name).read(session, mark, undefined)
  })
}

const deltaLink = 'https://graph.microsoft.com/v1.0/users/delta?$deltatoken=next'

for (const [title, links, hint] of [
  ['no link at all', {}, 'missing'],
  [
    'a delta link to another host',
    { '@odata.deltaLink': deltaLink.replace('.com', '.com.evil.example') },
    'other_host',
  ],
  [
    'a delta link to another list',
    { '@odata.deltaLink': deltaLink.replace('/users', '/groups') },
    'other_path',
  ],
  ['a delta link to the list itself', { '@odata.deltaLink': deltaLink.replace('/delta', '') }, 'other_path'],
  ['a next link to another host', { '@odata.nextLink': deltaLink.replace('graph', 'graph2') }, 'other_host'],
  ['a next link that is none', { '@odata.nextLink': [] }, 'malformed'],
] as const)
  test(`a delta query with ${title} is an error`, async () => {
    await assert.rejects(
      hostile('users', { value: [], ...links }),
      (error: unknown) =>
        error instanceof SourceError && error.code === 'unexpected_response' && error.hints.link === hint,
    )
  })

test("Graph's own spelling of a delta link is followed", async () => {
  const link = 'https://graph.microsoft.com/v1.0/users/microsoft.graph.delta()?$deltatoken=next'
  const page = await hostile('users', { value: [], '@odata.deltaLink': link })
  assert.equal(page.mark, '/users/microsoft.graph.delta()?$deltatoken=next')
})

test('objects that come twice, in any order, are read once, and who is found is there', async () => {
  const id = idOf(entra.directory.person(0).key)
  const gone = '11111111-2222-4333-8444-555555555555'
  const page = await hostile('users', {
    value: [
      { id, displayName: 'Old name' },
      { id, '@removed': { reason: 'changed' } },
      { id: id.toUpperCase() },
      { id: gone, displayName: 'Nobody' },
      { id: gone, '@removed': { reason: 'deleted' } },
      { id: 'no id', '@removed': { reason: 'deleted' } },
      'no object',
    ],
    '@odata.deltaLink': deltaLink,
  })
  assert.deepEqual(
    page.entities?.map(({ attributes }) => attributes.uid),
    [id],
  )
  assert.equal(
    page.entities?.[0]?.kind === 'identity' && page.entities[0].attributes.name,
    entra.directory.person(0).email,
  )
  assert.deepEqual(page.removed, [{ kind: 'identity', uid: gone }])
  assert.deepEqual(page.unreadable, [{ kind: 'identity', reason: 'it has no id' }])
})

test('changed objects that come back in short pages are all read', async () => {
  const ids = [2, 3, 4].map((person) => idOf(entra.directory.person(person).key))
  const next = 'https://graph.microsoft.com/v1.0/users?$skiptoken=x'
  const user = (id = '') => ({ id, userPrincipalName: `${id}@acme.com`, accountEnabled: true })
  const page = await hostile(
    'users',
    { value: ids.map((id) => ({ id })), '@odata.deltaLink': deltaLink },
    { value: [user(ids[0])], '@odata.nextLink': next },
    { value: [], '@odata.nextLink': `${next}y` },
    { value: ids.slice(1).map(user) },
  )
  assert.deepEqual(
    page.entities?.map(({ attributes }) => attributes.uid),
    ids,
  )
  assert.equal(page.unreadable, undefined)
  assert.equal(page.mark, '/users/delta?$deltatoken=next')
})

const newcomer = '11111111-2222-4333-8444-555555555555'

test('who is told and not to be found yet is told as the delta has them, and read by the next round', async () => {
  const page = await hostile('users', {
    value: [
      {
        id: newcomer,
        userPrincipalName: 'new@acme.com',
        accountEnabled: true,
        'manager@delta': [{ id: newcomer }],
      },
      { id: newcomer, displayName: 'Somebody New' },
    ],
    '@odata.deltaLink': deltaLink,
  })
  assert.deepEqual(
    page.entities?.map(({ attributes }) => attributes),
    [
      {
        uid: newcomer,
        name: 'new@acme.com',
        full_name: 'Somebody New',
        status: 'active',
        manager: { uid: newcomer },
      },
    ],
  )
  assert.deepEqual([page.unreadable, page.removed], [undefined, undefined])
  assert.deepEqual(page.mark, { link: '/users/delta?$deltatoken=next', there: [newcomer] })
})

test('who is told in part and not to be found counts as seen, and is not removed', async () => {
  const page = await hostile('users', {
    value: [{ id: newcomer, displayName: 'Nobody' }],
    '@odata.deltaLink': deltaLink,
  })
  assert.deepEqual(page.entities, [])
  assert.equal(page.removed, undefined)
  assert.deepEqual(page.unreadable, [
    { kind: 'identity', uid: newcomer, reason: 'it was told as changed, and is not to be found' },
  ])
  assert.deepEqual(page.mark, { link: '/users/delta?$deltatoken=next', there: [newcomer] })
})

test('what the delta told is laid over a list that lags behind, unless it was told in two ways', async () => {
  const listed = {
    id: newcomer,
    userPrincipalName: 'new@acme.com',
    accountEnabled: true,
    displayName: 'Old Name',
    jobTitle: 'Clerk',
    department: 'Sales',
    manager: { id: newcomer },
  }
  const page = await hostile(
    'users',
    {
      value: [
        { id: newcomer, displayName: 'New Name', accountEnabled: false, jobTitle: 'Chief' },
        {
          id: newcomer,
          jobTitle: 'Head',
          'manager@delta': [{ id: newcomer, '@removed': { reason: 'deleted' } }],
        },
      ],
      '@odata.deltaLink': deltaLink,
    },
    { value: [listed] },
  )
  assert.deepEqual(
    page.entities?.map(({ attributes }) => attributes),
    [
      {
        uid: newcomer,
        name: 'new@acme.com',
        full_name: 'New Name',
        status: 'suspended',
        job_title: 'Clerk',
        department: 'Sales',
      },
    ],
  )
  assert.deepEqual(page.mark, { link: '/users/delta?$deltatoken=next', there: [newcomer] })
})

test('what a round left open is looked up once more by the next one, and then counts as it is found', async () => {
  const there = idOf(entra.directory.person(0).key)
  const group = idOf(entra.directory.group(0).key)
  await withRun(async (session) => {
    const settle = async (name: string, doubts: { there?: readonly string[]; gone?: readonly string[] }) => {
      const link = await list(name).begin(session)
      return list(name).read(session, { link, ...doubts }, undefined)
    }
    const users = await settle('users', { there: [there, newcomer] })
    assert.deepEqual(
      users.entities?.map(({ attributes }) => attributes.uid),
      [there],
    )
    assert.deepEqual([users.removed, users.unreadable, typeof users.mark], [undefined, undefined, 'string'])
    const removed = await settle('users', { gone: [there, newcomer] })
    assert.deepEqual(
      removed.entities?.map(({ attributes }) => attributes.uid),
      [there],
    )
    assert.deepEqual(removed.removed, [{ kind: 'identity', uid: newcomer }])
    // Its members could not be asked for.
    assert.deepEqual((await settle('groups', { there: [group] })).changedGroups, [{ uid: group }])
  })
})

/** A round of `name` whose pages hold `pages`, taken in one after the other as a sync does. */
async function round(name: string, pages: readonly (readonly object[])[], known: Known): Promise<Page[]> {
  const told: Page[] = []
  await withRun(async (session) => {
    const mark = await list(name).begin(session)
    sandbox.setFaults(
      pages.map((value, at) => {
        const isLast = at === pages.length - 1
        const link = `https://graph.microsoft.com/v1.0/${name}/delta?$${isLast ? 'deltatoken' : 'skiptoken'}=${at}`
        return answers('/delta$', { value, [`@odata.${isLast ? 'delta' : 'next'}Link`]: link }, 1)
      }),
    )
    known.marks[name] = mark
    await readChanges(session, known, [list(name)], (page) => told.push(page))
    sandbox.setFaults([])
  })
  return told
}

test('who is listed is not removed, whatever pages say in whatever order, and is looked up once more', async () => {
  const uid = idOf(entra.directory.person(0).key)
  const present = { id: uid, jobTitle: entra.directory.person(0).title }
  const removed = { id: uid, '@removed': { reason: 'changed' } }
  for (const pages of [[[present], [removed]], [[removed], [present]], [[removed]]]) {
    const known = await withRun((session) => readAll(session, ['users']))
    await round('users', pages, known)
    assert.ok(known.entities.has(keyOf('identity', uid)))
    assert.deepEqual(known.marks.users, {
      link: `/users/delta?$deltatoken=${pages.length - 1}`,
      gone: [uid],
    })
  }
})

test('who is not listed is removed, whatever pages say in whatever order', async () => {
  const present = { id: newcomer, userPrincipalName: 'gone@acme.com', accountEnabled: true }
  const removed = { id: newcomer, '@removed': { reason: 'deleted' } }
  for (const pages of [[[present], [removed]], [[removed], [present]], [[removed, present]]]) {
    const known = await withRun((session) => readAll(session, ['users']))
    await round('users', pages, known)
    assert.ok(!known.entities.has(keyOf('identity', newcomer)))
  }
})

test('members are those whom the group has, whatever pages say in whatever order', async () => {
  const { directory } = entra
  const group = idOf(directory.group(0).key)
  const people = Array.from({ length: directory.userCount }, (_, index) => index).filter(directory.hasPerson)
  const member = people.find((index) => directory.isMember(0, index)) ?? assert.fail()
  const stranger = people.find((index) => !directory.isMember(0, index)) ?? assert.fail()
  const move = (person: number, isRemoved: boolean) => ({
    '@odata.type': '#microsoft.graph.user',
    id: idOf(directory.person(person).key),
    ...(isRemoved && { '@removed': { reason: 'deleted' } }),
  })
  const told = (...moves: readonly object[]) => ({ id: group, 'members@delta': moves })
  for (const person of [member, stranger])
    for (const first of [true, false]) {
      const known = await withRun((session) => readAll(session, wholeDirectory))
      const before = comparable(known).memberships
      const pages = await round(
        'groups',
        [[told(move(person, first))], [], [told(move(person, !first))], [told(move(person, first))]],
        known,
      )
      assert.deepEqual(comparable(known).memberships, before)
      // Pages that cannot contradict one another have nothing read anew.
      assert.deepEqual(
        pages.map(({ changedGroups }) => changedGroups?.length ?? 0),
        [0, 0, 1, 1],
      )
    }
})

test('a group told over several pages is not read anew when nobody of it both came and went', async () => {
  const group = idOf(entra.directory.group(0).key)
  const join = (number: number) => ({
    id: group,
    'members@delta': [{ '@odata.type': '#microsoft.graph.user', id: newcomer.replace(/.$/, String(number)) }],
  })
  const known = await withRun((session) => readAll(session, ['groups']))
  const pages = await round('groups', [[join(1)], [join(2)], [join(3)]], known)
  assert.deepEqual(
    pages.map(({ changedGroups, memberships }) => [changedGroups, memberships?.length]),
    [
      [undefined, 1],
      [undefined, 1],
      [undefined, 1],
    ],
  )
})

test('more groups than can be remembered are read anew as soon as something could be contradicted', async () => {
  const id = (number: number) => newcomer.replace(/^.{8}/, (number * 65_536).toString(16).padStart(8, '0'))
  const group = idOf(entra.directory.group(0).key)
  const moved = (uid: string, isRemoved: boolean) => ({
    id: uid,
    'members@delta': [
      { '@odata.type': '#microsoft.graph.user', id: newcomer, ...(isRemoved && { '@removed': {} }) },
    ],
  })
  const many = Array.from({ length: 500 }, (_, number) => moved(id(number), false))
  const known = await withRun((session) => readAll(session, ['groups']))
  const pages = await round('groups', [many, [moved(group, true)]], known)
  assert.ok(JSON.stringify(pages[0]?.next).length < 16_384)
  assert.deepEqual(pages[1]?.changedGroups, [{ uid: group }])
})

test('a mark is never longer than what is kept of it', async () => {
  const value = Array.from({ length: 100 }, (_, number) => ({
    id: newcomer.replace(/.{3}$/, String(100 + number)),
  }))
  const link = `${deltaLink}${'x'.repeat(8_000)}`
  const { mark } = await hostile('users', { value, '@odata.deltaLink': link })
  assert.ok(JSON.stringify(mark).length < 16_384)
})

test('members who came and went are told; a group without them, or with both for one, is read anew', async () => {
  const user = (number: number, isRemoved = false) => ({
    '@odata.type': '#microsoft.graph.user',
    id: `00000000-0000-4000-8000-00000000000${number}`,
    ...(isRemoved && { '@removed': { reason: 'deleted' } }),
  })
  const { directory } = entra
  const groups = Array.from({ length: directory.groupCount }, (_, index) => index)
    .filter(directory.hasGroup)
    .slice(0, 3)
    .map((index) => idOf(directory.group(index).key))
  const [clear = '', unclear = '', renamed = ''] = groups
  const page = await hostile('groups', {
    value: [
      { id: clear, 'members@delta': [user(1), user(2, true)] },
      { id: unclear, 'members@delta': [user(1)] },
      { id: renamed, displayName: 'Renamed' },
      {
        id: clear,
        'members@delta': [user(3), { ...user(4), '@odata.type': '#microsoft.graph.servicePrincipal' }, null],
      },
      { id: unclear, 'members@delta': [user(1, true)] },
    ],
    '@odata.deltaLink': deltaLink.replace('/users', '/groups'),
  })
  assert.deepEqual(
    page.entities?.map(({ attributes }) => keyOf('group', attributes.uid)).sort(),
    groups.map((uid) => keyOf('group', uid)).sort(),
  )
  assert.deepEqual(page.memberships, [
    { group: clear, member: user(1).id, change: 'added' },
    { group: clear, member: user(2).id, change: 'removed' },
    { group: clear, member: user(3).id, change: 'added' },
  ])
  assert.deepEqual(page.changedGroups?.map(({ uid }) => uid).sort(), [unclear, renamed].sort())
})
