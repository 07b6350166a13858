/** How a run reads: lists side by side, memberships by the cheaper walk, from where it stood, and never round in circles. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { SourceError } from '../src/outbound/source-error.ts'
import { RunCancelled } from '../src/store/sync-stage.ts'
import { provedBy } from '../src/sync/completeness.ts'
import { SyncFailure } from '../src/sync/failures.ts'
import { defaultPace, type Pace } from '../src/sync/pace.ts'
import { newProgress, type Progress } from '../src/sync/progress.ts'
import { readAll } from '../src/sync/read-all.ts'
import type { AnyReader } from '../src/sync/session.ts'
import { type MemoryStage, memoryStage } from './memory-stage.ts'
import {
  createWorld,
  type Directory,
  directoryOf,
  openedConfig,
  quick,
  refusal,
  type World,
  type WorldOptions,
} from './sync-world.ts'

const row = { id: 'c', organization_id: 'o', domain: 'acme.example', revision: 1 } as never

interface Reading {
  readonly stage?: MemoryStage
  readonly mode?: 'full' | 'incremental'
  readonly marks?: Readonly<Record<string, unknown>>
  readonly pace?: Partial<Pace>
  readonly signal?: AbortSignal
}

const readerOf = (world: World) => world.source.reader as AnyReader

/** Reads the world into a stage, from where that stands. */
async function read(
  world: World,
  { stage = memoryStage(), mode = 'full', marks = {}, pace, signal }: Reading = {},
) {
  const stopping = new AbortController()
  const use = { calls: 0, throttled: 0 }
  const begin: Progress = stage.progress() ?? newProgress({ mode, revision: 1, beganAt: 'now', starts: 1 })
  const http = {
    async request() {
      use.calls += 1
      return {} as never
    },
  }
  const progress = await readAll({
    opened: openedConfig(world, row),
    reader: readerOf(world),
    session: {
      session: readerOf(world).open(
        { domain: '', credentials: {} },
        { http, signal: stopping.signal, now: () => new Date() },
      ),
      use,
      close: async () => undefined,
    },
    stage,
    progress: begin,
    totals: stage.totals() ?? { pages: 0, seen: 0, providerCalls: 0, throttled: 0 },
    owner: { organizationId: 'o', configId: 'c', source: 'acme' },
    knownMarks: marks,
    pace: { ...defaultPace, ...quick, ...pace },
    signal: AbortSignal.any([stopping.signal, ...(signal ? [signal] : [])]),
    stop: () => stopping.abort(),
    onProgress: () => undefined,
    onPage: () => undefined,
  })
  return { stage, progress, proved: provedBy(readerOf(world), progress) }
}

const contentOf = ({ entities, memberships, facts }: MemoryStage) => ({
  entities: [...entities.entries()].sort(([one], [other]) => (one < other ? -1 : 1)),
  memberships: [...memberships].sort(),
  facts: [...facts].sort(),
})

const membershipsIn = ({ groups }: Directory) =>
  [...groups]
    .flatMap(([group, { members }]) => [...members].map((member) => JSON.stringify([group, member, 'is'])))
    .sort()

const small = () => directoryOf({ users: 45, groups: 7 })
const worldOf = (options?: WorldOptions) => createWorld(small(), options)

const failsWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof SyncFailure, String(error))
  assert.equal(error.error.code, code)
  return true
}

test('reads every list to its end, and every membership', async () => {
  const world = worldOf()
  const { stage, progress, proved } = await read(world)
  assert.deepEqual(await stage.counts(), { identities: 45, groups: 7, devices: 12 })
  assert.deepEqual([...stage.memberships].sort(), membershipsIn(world.directory))
  assert.equal(stage.facts.size, 5)
  assert.deepEqual(proved, {
    completeKinds: ['identity', 'group', 'device'],
    provenKinds: ['identity', 'group', 'device'],
    areMembershipsComplete: true,
    completeFacts: ['roles'],
  })
  assert.deepEqual(progress.marks, { changes: 0 })
  assert.equal(progress.memberships?.isEnded, true)
})

test('counts every page and every row once, and every request', async () => {
  const world = worldOf()
  const { stage } = await read(world)
  const totals = stage.totals()
  assert.equal(totals?.pages, world.asked.length)
  assert.equal(totals?.providerCalls, world.asked.length)
  assert.equal(totals?.seen, 45 + 7 + 12 + 5 + stage.memberships.size)
})

test('commits several pages together when they come fast', async () => {
  const world = createWorld(directoryOf({ users: 200, groups: 20 }))
  const { stage } = await read(world, { pace: { rowsAtOnce: 1_000, lingerMs: 200 } })
  assert.ok(stage.commits.length * 4 < world.asked.length, `${stage.commits.length} commits`)
})

test('keeps few pages in memory while commits are slow', async () => {
  const world = createWorld(directoryOf({ users: 400, groups: 5 }))
  const stage = memoryStage()
  let committed = 0
  let most = 0
  stage.onCommit = async (pages) => {
    await wait(2)
    committed += pages.length
    most = Math.max(most, world.asked.length - committed)
  }
  await read(world, { stage, pace: { rowsWaiting: 30, rowsAtOnce: 10 } })
  // Three pages that wait, those of one commit, and for each list or owner one in hand and one that is asked for.
  assert.ok(most <= 3 + 3 + 2 * 11, `${most} pages`)
})

test('goes on after a crash at any commit where it stood, and ends as if there had been none', async () => {
  const undisturbed = await read(worldOf())
  let crashes = 0
  for (let at = 0; ; at += 1) {
    const stage = memoryStage()
    let commits = 0
    stage.onCommit = () => {
      commits += 1
      if (commits > at) throw new Error('the process ends here')
    }
    const isUndisturbed = await read(worldOf(), { stage }).then(
      () => true,
      () => false,
    )
    if (isUndisturbed) break
    crashes += 1
    stage.onCommit = () => undefined
    const { progress, proved } = await read(worldOf(), { stage })
    assert.deepEqual(contentOf(stage), contentOf(undisturbed.stage), `after commit ${at}`)
    assert.deepEqual(proved, undisturbed.proved)
    assert.deepEqual(
      Object.values(progress.lists).map(({ pages, seen }) => [pages, seen]),
      Object.values(undisturbed.progress.lists).map(({ pages, seen }) => [pages, seen]),
    )
    assert.equal(progress.memberships?.pages, undisturbed.progress.memberships?.pages)
    assert.equal(stage.totals()?.seen, undisturbed.stage.totals()?.seen)
  }
  assert.ok(crashes > 5, `${crashes} crashes`)
})

test('asks for no page again that was committed before a crash', async () => {
  const world = createWorld(directoryOf({ users: 100, groups: 1 }), { hasIncrements: false })
  const stage = memoryStage()
  stage.onCommit = () => {
    if (Number(stage.progress()?.lists.users?.pages) >= 5) throw new Error('the process ends here')
  }
  await assert.rejects(read(world, { stage }), /ends here/)
  stage.onCommit = () => undefined
  const committed = Number(stage.progress()?.lists.users?.pages)
  const before = world.asked.length
  await read(world, { stage })
  const again = world.asked.slice(before).filter(({ list }) => list === 'users')
  assert.deepEqual(
    again.map((page) => page.cursor),
    [50, 60, 70, 80, 90].filter((cursor) => cursor >= committed * 10),
  )
  assert.ok(committed < 10)
})

test('begins a list only after those that come before it have ended', async () => {
  const world = worldOf()
  await read(world)
  const lists = world.asked.map(({ list }) => list)
  assert.ok(lists.indexOf('roles') > lists.lastIndexOf('users'))
})

test('takes the walk that costs fewer requests', async () => {
  const many = createWorld(directoryOf({ users: 20, groups: 60 }), { hasUserWalk: true })
  for (const { members } of many.directory.groups.values()) members.add('u1')
  const byUser = await read(many)
  assert.equal(byUser.progress.memberships?.by, 'identity')
  assert.deepEqual(byUser.progress.memberships?.calls, { group: 61, identity: 20 })
  assert.deepEqual([...byUser.stage.memberships].sort(), membershipsIn(many.directory))
  const few = createWorld(directoryOf({ users: 45, groups: 3 }), { hasUserWalk: true })
  const byGroup = await read(few)
  assert.equal(byGroup.progress.memberships?.by, 'group')
  assert.deepEqual([...byGroup.stage.memberships].sort(), membershipsIn(few.directory))
})

test('asks no group that is empty', async () => {
  const world = worldOf()
  for (const { members } of world.directory.groups.values()) members.clear()
  const { progress, proved } = await read(world)
  assert.deepEqual(
    world.asked.filter(({ list }) => list === 'members'),
    [],
  )
  assert.equal(progress.memberships?.owners, 7)
  assert.equal(proved.areMembershipsComplete, true)
})

test('passes over a group that has gone since it was listed', async () => {
  const world = worldOf({
    faults: [
      ({ list, owner }) => {
        if (list === 'members' && owner === 'g3') throw refusal(404)
        return undefined
      },
    ],
  })
  const { stage, proved } = await read(world)
  assert.equal(
    [...stage.memberships].some((told) => told.includes('"g3"')),
    false,
  )
  assert.equal(proved.areMembershipsComplete, true)
})

test('ends a run whose pages lead back to one that was read before', async () => {
  for (const length of [1, 2, 3, 7, 50]) {
    const world = worldOf({
      faults: [
        ({ list, cursor }, page) => {
          if (list !== 'users') return undefined
          const at = typeof cursor === 'number' ? cursor : 0
          return { ...page(), next: at >= 20 + length ? 21 : at + 1 }
        },
      ],
    })
    await assert.rejects(read(world), failsWith('sync_list_loops'))
    const pages = world.asked.filter(({ list }) => list === 'users').length
    assert.ok(pages < 3 * (21 + length) + 3, `${pages} pages for a loop of ${length}`)
  }
})

test('sees a loop also when the run was resumed within it', async () => {
  const world = worldOf({
    faults: [({ list }, page) => (list === 'users' ? { ...page(), next: 10 } : undefined)],
  })
  const stage = memoryStage()
  stage.onCommit = () => {
    if (stage.progress()?.lists.users?.cursor === 10) throw new Error('the process ends here')
  }
  await assert.rejects(read(world, { stage }), /ends here|sync_list_loops/)
  stage.onCommit = () => undefined
  await assert.rejects(read(world, { stage }), failsWith('sync_list_loops'))
})

test('ends a run whose list brings empty pages without end, and not one that brings some', async () => {
  const endless = worldOf({
    faults: [({ list, before }) => (list === 'users' ? { next: `more ${before}` } : undefined)],
  })
  await assert.rejects(read(endless), failsWith('sync_list_endless'))
  let empty = 0
  const some = worldOf({
    faults: [
      ({ list, cursor }) => {
        if (list !== 'users' || typeof cursor === 'number' || empty++ >= 60) return undefined
        return { next: empty < 60 ? `empty ${empty}` : 0 }
      },
    ],
  })
  const { stage } = await read(some)
  assert.equal((await stage.counts()).identities, 45)
})

test('an optional list that does not end is left out, and increments go on from its mark as it was', async () => {
  const world = worldOf({ hasLog: true })
  let isEndless = true
  world.faults.push(({ list, before }) =>
    list === 'log' ? (isEndless ? { next: `more ${before}` } : { mark: 7 }) : undefined,
  )
  const increment = { mode: 'incremental', marks: { changes: 0, log: 3 } } as const
  const { progress } = await read(world, increment)
  assert.partialDeepStrictEqual(progress.lists.log, {
    state: 'left_out',
    error: { code: 'sync_list_endless', list: 'log' },
  })
  assert.deepEqual(progress.marks, { changes: 0 })
  isEndless = false
  assert.deepEqual((await read(world, increment)).progress.marks, { changes: 0, log: 7 })
})

test('a list goes on over pages of which no record was of interest', async () => {
  const world = worldOf({ hasLog: true })
  let pages = 0
  world.faults.push(({ list }) => {
    if (list !== 'log') return undefined
    pages += 1
    return pages <= 250 ? { records: 1_000, next: `more ${pages}` } : { mark: 7 }
  })
  const { progress } = await read(world, { mode: 'incremental', marks: { changes: 0, log: 0 } })
  assert.deepEqual(progress.marks, { changes: 0, log: 7 })
  assert.equal(progress.lists.log?.pages, 251)
})

test('follows no cursor that grows beyond measure, nor one that is no text', async () => {
  const growing = worldOf({
    faults: [
      ({ list, before }, page) =>
        list === 'users' ? { ...page(), next: 'x'.repeat(4_000 * before) } : undefined,
    ],
  })
  await assert.rejects(read(growing), failsWith('sync_cursor_unusable'))
  for (const next of ['a\0b', '\ud800']) {
    const broken = worldOf({ faults: [({ list }) => (list === 'users' ? { next } : undefined)] })
    await assert.rejects(read(broken), failsWith('sync_cursor_unusable'))
  }
})

test('takes repeated and overlapping pages for what they are', async () => {
  const world = worldOf({
    faults: [
      ({ list, cursor }, page) =>
        list === 'users' && typeof cursor === 'number' && cursor % 10 === 0
          ? { ...page(), next: cursor + 5 }
          : undefined,
    ],
  })
  const { stage } = await read(world)
  assert.equal((await stage.counts()).identities, 45)
})

test('asks again while the provider is away, and waits as it asked', async () => {
  let away = 2
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'groups' && away-- > 0) throw refusal(503)
        return undefined
      },
    ],
  })
  const { stage } = await read(world)
  assert.equal((await stage.counts()).groups, 7)
})

test('ends a run whose required list stays away, with what the source makes of it', async () => {
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'groups') throw refusal(503)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), failsWith('acme_away'))
  assert.equal(world.asked.filter(({ list }) => list === 'groups').length, 3)
})

test('ends a run whose required list is refused, without asking again', async () => {
  const world = worldOf({
    faults: [
      ({ list, cursor }) => {
        if (list === 'users' && cursor === 20) throw refusal(403)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), failsWith('acme_forbidden'))
  assert.equal(world.asked.filter(({ list, cursor }) => list === 'users' && cursor === 20).length, 1)
})

test('goes without an optional list that is refused, and takes nothing of it to be complete', async () => {
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'devices' || list === 'roles') throw refusal(403)
        return undefined
      },
    ],
  })
  const { progress, proved } = await read(world)
  assert.deepEqual(proved.completeKinds, ['identity', 'group'])
  assert.deepEqual(proved.completeFacts, [])
  assert.equal(progress.lists.devices?.state, 'left_out')
  assert.equal(progress.lists.devices.error?.code, 'acme_forbidden')
  assert.equal(progress.lists.devices.error.provider?.status, 403)
})

test('begins a list again when the provider has forgotten where it stood', async () => {
  const world = worldOf()
  const stage = memoryStage()
  stage.onCommit = () => {
    if (Number(stage.progress()?.lists.users?.pages) > 0) throw new Error('the process ends here')
  }
  await assert.rejects(read(world, { stage }), /ends here/)
  stage.onCommit = () => undefined
  const stoodAt = stage.progress()?.lists.users?.cursor
  let forgotten = 0
  world.faults.push(({ list, cursor }) => {
    if (list === 'users' && cursor === stoodAt && forgotten++ === 0) throw refusal(410)
    return undefined
  })
  const { proved } = await read(world, { stage })
  assert.equal((await stage.counts()).identities, 45)
  assert.ok(proved.completeKinds.includes('identity'))
  assert.equal(forgotten > 0, true)
})

test('names records that cannot be read, keeps those that are known, and takes nobody for gone when one is not', async () => {
  const unreadable = (uid: string | undefined) =>
    worldOf({
      faults: [
        ({ list, cursor }, page) =>
          list === 'users' && cursor === undefined
            ? {
                ...page(),
                unreadable: [{ kind: 'identity' as const, ...(uid && { uid }), reason: 'no name' }],
              }
            : undefined,
      ],
    })
  const named = await read(unreadable('u99'))
  assert.deepEqual(named.progress.unreadable, {
    count: 1,
    named: [{ list: 'users', kind: 'identity', uid: 'u99', reason: 'no name' }],
  })
  assert.deepEqual(
    named.stage.commits.flat().flatMap(({ kept }) => kept ?? []),
    [{ kind: 'identity', uid: 'u99' }],
  )
  assert.ok(named.proved.completeKinds.includes('identity'))
  const unnamed = await read(unreadable(undefined))
  assert.deepEqual(unnamed.proved.completeKinds, ['group', 'device'])
})

test('takes an id that cannot be kept for a record that cannot be read', async () => {
  const directory = small()
  for (const uid of ['', 'a\0b', '\udc00', 'x'.repeat(600)]) directory.users.set(uid, { uid })
  const { progress, proved, stage } = await read(createWorld(directory))
  assert.equal(progress.unreadable.count, 4)
  assert.equal((await stage.counts()).identities, 45)
  assert.ok(!proved.completeKinds.includes('identity'))
})

test('leaves the memberships of a group as they are known when the provider refuses it alone', async () => {
  const world = worldOf({
    faults: [
      ({ list, owner }) => {
        if (list === 'members' && owner === 'g2') throw refusal(403)
        return undefined
      },
    ],
  })
  const { stage, progress, proved } = await read(world)
  // Those of all others are complete: whoever has left one of them is seen to have left.
  assert.equal(proved.areMembershipsComplete, true)
  assert.equal(progress.memberships?.refused, 1)
  assert.deepEqual(
    stage.commits.flat().flatMap(({ kept }) => kept),
    [{ kind: 'group', uid: 'g2' }],
  )
})

test('ends a run whose every group is not there when it is asked for its members', async () => {
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'members') throw refusal(404)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), (error) => error instanceof SyncFailure)
})

test('takes no group to be gone because something on the way knows no such address', async () => {
  let asked = 0
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list !== 'members' || asked++ >= 3) return undefined
        throw new SourceError({ code: 'unexpected_response', operation: 'read', status: 404 })
      },
    ],
  })
  const { stage, progress } = await read(world)
  assert.equal(progress.memberships?.gone, 0)
  assert.deepEqual([...stage.memberships].sort(), membershipsIn(world.directory))
})

test('begins a list, or a group, once more when the provider forgets within a run where it stood', async () => {
  const forgotten = new Map<string, number>()
  const world = createWorld(directoryOf({ users: 45, groups: 1 }), {
    faults: [
      ({ list, cursor }) => {
        const times = forgotten.get(list) ?? 0
        if (cursor !== 20 || times >= 1 || (list !== 'users' && list !== 'members')) return undefined
        forgotten.set(list, times + 1)
        throw refusal(list === 'users' ? 400 : 410)
      },
    ],
  })
  const { stage, progress, proved } = await read(world)
  assert.deepEqual(
    [...forgotten],
    [
      ['users', 1],
      ['members', 1],
    ],
  )
  assert.equal((await stage.counts()).identities, 45)
  assert.deepEqual([...stage.memberships].sort(), membershipsIn(world.directory))
  assert.equal(progress.memberships?.refused, 0)
  assert.ok(proved.completeKinds.includes('identity') && proved.areMembershipsComplete)
})

test('gives a list up that the provider forgets again and again', async () => {
  const world = worldOf({
    faults: [
      ({ list, cursor }) => {
        if (list === 'users' && cursor === 20) throw refusal(400)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), (error) => error instanceof SyncFailure)
  assert.equal(world.asked.filter(({ list, cursor }) => list === 'users' && cursor === 20).length, 2)
})

test('ends a run whose every group is refused, soon', async () => {
  const world = createWorld(directoryOf({ users: 30, groups: 200 }), {
    faults: [
      ({ list }) => {
        if (list === 'members') throw refusal(403)
        return undefined
      },
    ],
  })
  for (const { members } of world.directory.groups.values()) members.add('u1')
  await assert.rejects(read(world), failsWith('acme_forbidden'))
  assert.ok(world.asked.filter(({ list }) => list === 'members').length < 40)
})

test('ends a run whose credentials are refused while members are read, at once and however few groups are left', async () => {
  const world = worldOf({
    faults: [
      ({ list, owner }) => {
        if (list === 'members' && owner !== 'g0') throw refusal(401)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), failsWith('acme_token_revoked'))
})

test('ends a run whose credentials are refused while an optional list is read', async () => {
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'roles') throw refusal(401)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), failsWith('acme_token_revoked'))
})

test('ends a run of which several groups were asked and none told its members', async () => {
  const world = worldOf({
    faults: [
      ({ list }) => {
        if (list === 'members') throw refusal(403)
        return undefined
      },
    ],
  })
  await assert.rejects(read(world), failsWith('acme_forbidden'))
  assert.ok(world.asked.filter(({ list }) => list === 'members').length < 20)
})

test('reads what has changed since the mark, and the members of groups that have changed', async () => {
  const world = worldOf()
  const { directory } = world
  directory.users.set('new', { uid: 'new' })
  directory.users.delete('u7')
  directory.groups.get('g1')?.members.add('new')
  directory.changes.push(
    { kind: 'user', uid: 'new' },
    { kind: 'user', uid: 'u7' },
    { kind: 'members', group: 'g1' },
  )
  const { stage, progress, proved } = await read(world, { mode: 'incremental', marks: { changes: 0 } })
  assert.deepEqual([...stage.entities.keys()], ['identity new'])
  assert.deepEqual(
    stage.commits.flat().flatMap(({ removed }) => removed),
    [{ kind: 'identity', uid: 'u7' }],
  )
  assert.deepEqual(progress.marks, { changes: 3 })
  assert.deepEqual(new Set(world.asked.flatMap(({ owner }) => owner ?? [])), new Set(['g1']))
  assert.deepEqual(proved, {
    completeKinds: [],
    provenKinds: ['identity', 'group'],
    areMembershipsComplete: false,
    completeFacts: [],
  })
})

test('hears who is gone after whoever was listed meanwhile, and goes on so after a crash', async () => {
  const world = worldOf({ hasLog: true })
  const { directory } = world
  for (let n = 0; n < 25; n += 1) directory.changes.push({ kind: 'user', uid: `u${n}` })
  let isDown = true
  world.faults.push(async ({ list, cursor }, page) => {
    if (list === 'log') return { removed: [{ kind: 'identity', uid: 'u22' }], mark: 1 }
    if (list !== 'changes' || cursor === undefined) return undefined
    const told = page()
    await wait(20)
    if (isDown && cursor === 20) throw new Error('the process ends here')
    return told
  })
  const stage = memoryStage()
  const increment = { stage, mode: 'incremental', marks: { changes: 0, log: 0 } } as const
  await assert.rejects(read(world, increment), /ends here/)
  isDown = false
  const { progress } = await read(world, increment)
  const told = stage.commits.flat()
  const listedAt = told.findLastIndex(({ entities }) => entities.some(({ uid }) => uid === 'u22'))
  assert.ok(listedAt >= 0)
  assert.ok(told.findIndex(({ removed }) => removed.some(({ uid }) => uid === 'u22')) > listedAt)
  assert.deepEqual(progress.marks, { changes: 25, log: 1 })
})

test('facts of a list that an increment reads whole take the place of those known once it ended', async () => {
  const world = worldOf({ hasLog: true })
  const increment = { mode: 'incremental', marks: { changes: 0, log: 0 } } as const
  assert.deepEqual((await read(world, increment)).proved.completeFacts, ['roles'])
  assert.deepEqual((await read(world, { ...increment, marks: { changes: 0 } })).proved.completeFacts, [])
  world.faults.push(({ list }) => {
    if (list === 'log') throw refusal(403)
    return undefined
  })
  assert.deepEqual((await read(world, increment)).proved.completeFacts, [])
})

test('hears who is gone also when what comes before was left out', async () => {
  const world = worldOf({ hasLog: true, areChangesOptional: true })
  world.faults.push(({ list }) => {
    if (list === 'changes') throw refusal(403)
    return list === 'log' ? { removed: [{ kind: 'identity', uid: 'u2' }], mark: 1 } : undefined
  })
  const { progress } = await read(world, { mode: 'incremental', marks: { changes: 0, log: 0 } })
  assert.deepEqual(
    Object.entries(progress.lists).map(([name, { state }]) => [name, state]),
    [
      ['changes', 'left_out'],
      ['log', 'ended'],
    ],
  )
  assert.deepEqual(progress.marks, { log: 1 })
})

test('stops at once when it is told to, and keeps what was read', async () => {
  const stopping = new AbortController()
  const world = createWorld(directoryOf({ users: 100, groups: 2 }))
  const stage = memoryStage()
  stage.onCommit = () => {
    if ((stage.progress()?.lists.users?.pages ?? 0) >= 4) stopping.abort()
  }
  await assert.rejects(read(world, { stage, signal: stopping.signal }), { name: 'ReadingStopped' })
  assert.ok((stage.progress()?.lists.users?.pages ?? 0) >= 4)
  await read(world, { stage })
  assert.equal((await stage.counts()).identities, 100)
})

test('hears that it is cancelled while the provider lets it wait', async () => {
  const world = worldOf({
    faults: [({ list }) => (list === 'users' ? new Promise<never>(() => {}) : undefined)],
  })
  const stage = memoryStage()
  let commits = 0
  stage.onCommit = (pages) => {
    if (pages.length === 0 && commits++ > 1) throw new RunCancelled()
  }
  await assert.rejects(Promise.race([read(world, { stage, pace: { lookMs: 5 } }), wait(5_000)]), RunCancelled)
})
