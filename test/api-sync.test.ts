/** The routes of syncs: who may ask, what is answered, and what becomes of a run that was asked for. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { createKey, revokeKey } from '../src/store/keys.ts'
import type { Permission } from '../src/store/permissions.ts'
import { type Answer, type Api, startApi } from './api-server.ts'
import { freshDatabase } from './fresh-database.ts'
import { idleSync } from './idle-sync.ts'
import type { Lasting } from './running-command.ts'
import { createWorld, directoryOf, type Fault, newTenant, refusal, type World } from './sync-world.ts'
import { answering, createWorlds } from './sync-worlds.ts'

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'
const syncPath = '/api/v2/credence/sync'

interface Keys {
  readonly api_key: string
  readonly application_key: string
}

interface Client {
  call(
    method: string,
    path: string,
    attributes?: object,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>
  // biome-ignore lint/suspicious/noExplicitAny: tests look into documents whose form they assert.
  data(method: string, path: string, attributes?: object): Promise<any>
}

const holderOf = async (api: Api, permissions: readonly Permission[]) =>
  clientOf(api, await createKey({ database: api.database, permissions }))

const clientOf = (api: Api, keys: Keys): Client => {
  const call: Client['call'] = (method, path, attributes, headers) =>
    api.call({
      method,
      path,
      headers: {
        'dd-api-key': keys.api_key,
        'dd-application-key': keys.application_key,
        ...(attributes && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(attributes && {
        body: JSON.stringify({
          data: {
            type: path.startsWith(configsPath) ? 'integration_config' : 'sync_run',
            attributes,
          },
        }),
      }),
    })
  return {
    call,
    async data(...asked) {
      const answer = await call(...asked)
      assert.equal(answer.status, 200, answer.text)
      return (answer.json() as { data: unknown }).data
    },
  }
}

/** Lets nobody through who reads `list`, until it is opened. */
function gateOn(list: string): { readonly fault: Fault; open(): void } {
  const gate = Promise.withResolvers<void>()
  return {
    async fault(asked) {
      if (asked.list === list) await gate.promise
      return undefined
    },
    open: gate.resolve,
  }
}

/** One server for most of what is specified here: each world has a domain of its own. */
const worlds = createWorlds()
const ends: (() => unknown)[] = []
let shared: Api
before(async () => {
  shared = await startServer({ after: (end) => ends.push(end) })
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

function startServer(lasting: Lasting): Promise<Api> {
  return startApi(lasting, {
    sources: [worlds.source],
    outbound: answering,
    permissions: ['admin'],
    config: { syncsAtOnce: 16 },
  })
}

/** A configuration of the world, which is synchronised as soon as it is made. */
async function start(world: World, api = shared) {
  const client = clientOf(api, api.keys)
  const created = await client.data('POST', configsPath, {
    domain: worlds.add(world),
    integration_type: 'ACME',
    name: 'Acme',
    secrets: {},
  })
  const of = `${syncPath}/${created.id}`
  /** Asks again until the status fits. */
  const until = async (fits: (attributes: Readonly<Record<string, unknown>>) => unknown) => {
    for (;;) {
      const { attributes } = await client.data('GET', of)
      if (fits(attributes)) return attributes
      await wait(50)
    }
  }
  const ended = async (runId: string) => {
    for (;;) {
      const run = await client.data('GET', `${of}/runs/${runId}`)
      if (!['queued', 'running'].includes(run.attributes.status)) return run
      await wait(50)
    }
  }
  const audited = async (): Promise<string[]> => {
    const events = await api.database.query
      .selectFrom('audit_events')
      .select('action')
      .where('target', '=', created.id)
      .where('action', 'like', 'sync.%')
      .orderBy('id')
      .execute()
    return events.map(({ action }) => action)
  }
  return { api, client, id: created.id as string, of, until, ended, audited }
}

const paths = (of: string, run: string = randomUUID()) =>
  [
    ['GET', of, ['integrations_read']],
    ['GET', `${of}/plan`, ['integrations_read']],
    ['GET', `${of}/runs`, ['integrations_read']],
    ['GET', `${of}/runs/${run}`, ['integrations_read']],
    ['GET', `${of}/runs/${run}/removals`, ['siem_entities_read']],
    ['POST', `${of}/runs`, ['manage_integrations']],
    ['POST', `${of}/runs/${run}/cancel`, ['manage_integrations']],
    ['POST', `${of}/runs/${run}/approve`, ['manage_integrations', 'siem_entities_read']],
    ['POST', `${of}/runs/${run}/reject`, ['manage_integrations']],
    ['POST', `${of}/pause`, ['manage_integrations']],
    ['POST', `${of}/resume`, ['manage_integrations']],
  ] as const satisfies readonly (readonly [string, string, readonly Permission[]])[]

test('every route refuses a stranger, and whoever lacks a permission that it needs', async () => {
  const { api, of } = await start(createWorld(directoryOf({ users: 1, groups: 1 })))
  const holders: (readonly [ReadonlySet<Permission>, Client])[] = []
  for (const held of [
    ['integrations_read'],
    ['manage_integrations'],
    ['siem_entities_read'],
    ['integrations_read', 'manage_integrations'],
    ['manage_integrations', 'siem_entities_read'],
  ] as const)
    holders.push([new Set(held), await holderOf(api, held)])
  for (const [method, path, needed] of paths(of)) {
    const stranger = await api.call({ method, path })
    assert.deepEqual([stranger.status, stranger.text], [403, '{"errors":["Forbidden"]}'], path)
    for (const [held, holder] of holders) {
      const { status, text } = await holder.call(method, path)
      const isLetIn = needed.every((permission) => held.has(permission))
      assert.equal(status !== 403, isLetIn, `${method} ${path} with ${[...held]}: ${status}`)
      if (!isLetIn) assert.equal(text, '{"errors":["Forbidden","Failed permission authorization checks"]}')
    }
  }
})

test('whoever may not see entities is told how many would change, and nobody by name or id', async () => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 60 })
  const { api, client, of, until, ended } = await start(world)
  await until(({ complete_at }) => complete_at)
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  world.faults.push(({ list, cursor }, page) =>
    list === 'users' && cursor === undefined
      ? { ...page(), unreadable: [{ kind: 'identity', uid: 'u119', reason: 'no name' }] }
      : undefined,
  )
  const dry = await client.data('POST', `${of}/runs`, { mode: 'full', dry_run: true })
  await ended(dry.id)
  const held = await client.data('POST', `${of}/runs`, { mode: 'full' })
  assert.equal((await ended(held.id)).attributes.status, 'quarantined')

  const isSomebody = /"u\d+"|@acme\.example/
  const documents = [of, `${of}/runs`, `${of}/runs/${dry.id}`, `${of}/runs/${held.id}`]
  const blind = await holderOf(api, ['integrations_read', 'manage_integrations'])
  const seeing = await holderOf(api, ['integrations_read', 'siem_entities_read'])
  for (const path of documents) {
    assert.match((await seeing.call('GET', path)).text, isSomebody, path)
    const { status, text } = await blind.call('GET', path)
    assert.equal(status, 200)
    assert.doesNotMatch(text, isSomebody, path)
  }
  for (const id of [dry.id, held.id]) {
    const { result } = (await blind.data('GET', `${of}/runs/${id}`)).attributes
    assert.equal(result.counts[0].removed, 60)
    assert.equal(result.sample, undefined)
    assert.deepEqual(result.unreadable, {
      count: 1,
      named: [{ list: 'users', kind: 'identity', reason: 'no name' }],
    })
    const watched = await blind.call('GET', `${of}/runs/${id}`, undefined, { accept: 'text/event-stream' })
    assert.match(watched.text, /event: end/)
    assert.doesNotMatch(watched.text, isSomebody)
  }
  const rejected = await blind.call('POST', `${of}/runs/${held.id}/reject`)
  assert.equal(rejected.status, 200)
  assert.doesNotMatch(rejected.text, isSomebody)
})

test("another organisation's configuration is answered as one that nobody has", async () => {
  const { api, client, id, of, until } = await start(createWorld(directoryOf({ users: 3, groups: 1 })))
  await until(({ complete_at }) => complete_at)
  const [run] = await client.data('GET', `${of}/runs`)
  const other = clientOf(
    api,
    await createKey({ database: api.database, permissions: ['admin'], organization: 'other' }),
  )
  for (const [method, path] of paths(of, run.id)) {
    const nobody = randomUUID()
    const theirs = await other.call(method, path)
    const random = await other.call(method, path.replace(id, nobody))
    assert.equal(theirs.status, 404)
    assert.deepEqual(theirs.text.replaceAll(id, ''), random.text.replaceAll(nobody, ''))
    assert.equal(theirs.text, `{"errors":["not_found(Integration config with ID ${id} not found)"]}`)
  }
  const missing = randomUUID()
  assert.equal(
    (await client.call('GET', `${of}/runs/${missing}`)).text,
    `{"errors":["not_found(Sync run with ID ${missing} not found)"]}`,
  )
  assert.equal((await client.call('GET', `${syncPath}/nonsense`)).status, 404)
})

test('a configuration that is made is synchronised at once, and followed by increments', async () => {
  const world = createWorld(directoryOf({ users: 25, groups: 3 }))
  const { client, of, until } = await start(world)
  const status = await until(({ complete_at }) => complete_at)
  assert.deepEqual(
    (status.entities as { entity_type: string; count: number }[]).map(({ entity_type, count }) => [
      entity_type,
      count,
    ]),
    [
      ['siem_entity_identity', 25],
      ['siem_entity_group', 3],
      ['siem_entity_device', 7],
    ],
  )
  assert.deepEqual([status.enabled, status.paused, status.failures], [true, false, 0])
  assert.ok(Date.parse(String(status.next_full_at)) > Date.now())
  const nextMinutes = (Date.parse(String(status.next_incremental_at)) - Date.now()) / 60_000
  assert.ok(nextMinutes > 13 && nextMinutes <= 15, String(nextMinutes))
  assert.ok(status.incremental_since)
  const runs = await client.data('GET', `${of}/runs`)
  assert.equal(runs.length, 1)
  const { attributes } = runs[0]
  assert.partialDeepStrictEqual(attributes, {
    mode: 'full',
    status: 'succeeded',
    reason: 'first',
    requested_by: 'system',
    changed: 35,
    removed: 0,
    dry_run: false,
    lists: { users: { state: 'ended', pages: 3, seen: 25 }, memberships: { state: 'ended' } },
  })
  assert.equal(attributes.result.counts[0].added, 25)
  assert.partialDeepStrictEqual(attributes.result.memberships, { by: 'group', before: 0, lost: 0 })
  assert.ok(attributes.result.memberships.gained >= 25)

  world.directory.users.set('new', { uid: 'new' })
  world.directory.changes.push({ kind: 'user', uid: 'new' })
  const asked = await client.data('POST', `${of}/runs`)
  assert.equal(asked.attributes.mode, 'incremental')
  await until(({ active_run }) => active_run === undefined)
  const incremental = await client.data('GET', `${of}/runs/${asked.id}`)
  assert.partialDeepStrictEqual(incremental.attributes, { status: 'succeeded', changed: 1, seen: 1 })
})

test('the same run is not asked for twice, and another one is told which stands in its way', async () => {
  const gate = gateOn('groups')
  const world = createWorld(directoryOf({ users: 5, groups: 2 }), { faults: [gate.fault] })
  const { client, of, until, ended } = await start(world)
  const status = await until(
    ({ active_run }) => (active_run as { attributes?: { seen: number } })?.attributes?.seen,
  )
  const active = status.active_run as { id: string }
  const same = await client.data('POST', `${of}/runs`, { mode: 'full' })
  assert.equal(same.id, active.id)
  const other = await client.call('POST', `${of}/runs`, { mode: 'full', dry_run: true })
  assert.deepEqual(
    [other.status, other.text],
    [
      400,
      `{"errors":["The run ${active.id} (full) is queued or under way. Wait for its end, or cancel it."]}`,
    ],
  )
  const early = await client.call('POST', `${of}/runs`, { mode: 'incremental' })
  assert.match(early.text, /data\.attributes\.mode: expected full, as no full sync has been completed yet/)
  gate.open()
  assert.equal((await ended(active.id)).attributes.status, 'succeeded')
})

test('a body that is not understood is answered by the field', async () => {
  const { client, of } = await start(createWorld(directoryOf({ users: 1, groups: 1 })))
  const answer = await client.call('POST', `${of}/runs`, { mode: 'all', dry_run: 1 })
  assert.equal(answer.status, 400)
  assert.deepEqual((answer.json() as { errors: string[] }).errors, [
    'data.attributes.mode: expected full or incremental',
    'data.attributes.dry_run: expected true or false',
  ])
  for (const query of ['limit=0', 'limit=1001', 'page_token=x', 'page_token=cnVuIDE'])
    assert.equal((await client.call('GET', `${of}/runs?${query}`)).status, 400, query)
})

test('a dry run counts what would change, with a sample, and changes nothing', async () => {
  const world = createWorld(directoryOf({ users: 12, groups: 1 }))
  const { client, of, until, ended } = await start(world)
  const before = await until(({ complete_at }) => complete_at)
  world.directory.users.delete('u3')
  world.directory.users.set('u4', { uid: 'u4', title: 'Another' })
  const { id } = await client.data('POST', `${of}/runs`, { mode: 'full', dry_run: true })
  const run = await ended(id)
  assert.partialDeepStrictEqual(run.attributes, { status: 'succeeded', dry_run: true })
  const sample = run.attributes.result.sample as { change: string; uid: string }[]
  assert.ok(sample.some(({ change, uid }) => change === 'removed' && uid === 'u3'))
  assert.ok(sample.some(({ change, uid }) => change === 'changed' && uid === 'u4'))
  const after = await client.data('GET', of)
  assert.deepEqual(after.attributes, before)
})

test('a run is cancelled: queued at once, under way as soon as it hears of it, and over never', async () => {
  const gate = gateOn('groups')
  const world = createWorld(directoryOf({ users: 5, groups: 2 }), { faults: [gate.fault] })
  const { client, of, until, ended } = await start(world)
  const { active_run: active } = await until(
    ({ active_run }) => (active_run as { attributes?: { seen: number } })?.attributes?.seen,
  )
  const { id } = active as { id: string }
  assert.equal((await client.data('POST', `${of}/runs/${id}/cancel`)).attributes.cancel_requested, true)
  assert.equal((await ended(id)).attributes.status, 'cancelled')
  gate.open()
  const again = await client.call('POST', `${of}/runs/${id}/cancel`)
  assert.deepEqual(
    [again.status, again.text],
    [400, `{"errors":["The run ${id} is cancelled; this takes one that is queued or running."]}`],
  )
  assert.equal((await client.data('GET', of)).attributes.entities.length, 0)
})

test('a run that nobody works on yet is cancelled at once', async (t) => {
  const database = await freshDatabase(t)
  const { organizationId, configId } = await newTenant(database)
  const sync = idleSync({ database, sources: [worlds.source], now: () => new Date() })
  const who = {
    organization: { id: organizationId, name: 'Acme' },
    actor: { id: 'key:1', organizationId },
  }
  const run = await sync.request(who, configId, { isDryRun: false })
  assert.deepEqual([run.mode, run.status], ['full', 'queued'])
  const cancelled = await sync.cancel(who, configId, run.id)
  assert.equal(cancelled.status, 'cancelled')
  assert.ok(cancelled.ended_at)
})

test('what would remove too much waits for approval, with a list of it', async () => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 50 })
  const { api, client, of, until, ended, audited } = await start(world)
  await until(({ complete_at }) => complete_at)
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  const { id } = await client.data('POST', `${of}/runs`, { mode: 'full' })
  const held = await ended(id)
  assert.equal(held.attributes.status, 'quarantined')
  assert.equal(held.attributes.removed, 0)
  assert.ok((held.attributes.result.held as { kind: string }[]).some(({ kind }) => kind === 'identity'))
  const status = await client.data('GET', of)
  assert.equal(status.attributes.quarantined_run.id, id)
  assert.equal(status.attributes.entities[0].count, 120)

  const uids: string[] = []
  let token = ''
  do {
    const answer = await client.call(
      'GET',
      `${of}/runs/${id}/removals?limit=25${token === '' ? '' : `&page_token=${token}`}`,
    )
    const page = answer.json() as {
      data: { type: string; attributes: { entity_type: string; uid: string; name: string } }[]
      meta: { page: { next_token: string }; total_count: number }
    }
    assert.equal(page.meta.total_count, 60)
    uids.push(...page.data.map(({ attributes }) => attributes.uid))
    assert.partialDeepStrictEqual(page.data[0], {
      type: 'sync_removal',
      attributes: { entity_type: 'siem_entity_identity' },
    })
    token = page.meta.page.next_token
  } while (token !== '')
  assert.deepEqual(uids.sort(), Array.from({ length: 60 }, (_, n) => `u${n}`).sort())

  const hourMs = 3_600_000
  await api.database.pool.query(
    `update sync_runs set started_at = started_at - interval '1 hour', ended_at = ended_at - interval '1 hour'
     where id = $1`,
    [id],
  )
  const approved = await client.data('POST', `${of}/runs/${id}/approve`)
  assert.match(approved.attributes.approved_by, /^key:/)
  const run = await ended(id)
  assert.partialDeepStrictEqual(run.attributes, { status: 'succeeded', removed: 60 })
  assert.ok(run.attributes.duration_ms < hourMs, 'the wait for approval is counted')
  assert.equal((await client.data('GET', of)).attributes.entities[0].count, 60)
  assert.equal((await client.call('POST', `${of}/runs/${id}/approve`)).status, 400)
  assert.deepEqual(await audited(), ['sync.run.request', 'sync.run.quarantined', 'sync.run.approve'])
})

test('what waits for approval can be given up', async () => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 50 })
  const { client, of, until, ended } = await start(world)
  await until(({ complete_at }) => complete_at)
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  const { id } = await client.data('POST', `${of}/runs`, { mode: 'full' })
  await ended(id)
  assert.equal((await client.data('POST', `${of}/runs/${id}/reject`)).attributes.status, 'cancelled')
  assert.equal((await client.data('GET', of)).attributes.quarantined_run, undefined)
  assert.equal((await client.call('POST', `${of}/runs/${id}/reject`)).status, 400)
})

test('a run that fails says why and what to do, and the status with it', async () => {
  const world = createWorld(directoryOf({ users: 5, groups: 1 }))
  world.faults.push(({ list }) => {
    if (list === 'users') throw refusal(403)
    return undefined
  })
  const { client, of, until } = await start(world)
  const status = await until(({ failures }) => failures === 1)
  assert.partialDeepStrictEqual(status.last_error, { code: 'acme_forbidden', remedy: 'Grant it.' })
  const [run] = await client.data('GET', `${of}/runs`)
  assert.partialDeepStrictEqual(run.attributes, {
    status: 'failed',
    error: { code: 'acme_forbidden', list: 'users', provider: { status: 403 } },
  })
  const minutes = (Date.parse(String(status.next_full_at)) - Date.now()) / 60_000
  assert.ok(minutes > 3 && minutes <= 5, String(minutes))
})

test('a paused configuration is not synchronised by itself, and goes on when it is resumed', async () => {
  const { api, client, id, of, until, audited } = await start(
    createWorld(directoryOf({ users: 2, groups: 1 })),
  )
  const before = await until(({ complete_at }) => complete_at)
  assert.equal((await client.data('POST', `${of}/pause`)).attributes.paused, true)
  assert.equal((await client.data('POST', `${of}/pause`)).attributes.paused, true)
  await api.database.query
    .updateTable('sync_states')
    .set({ next_full_at: new Date() })
    .where('config_id', '=', id)
    .execute()
  // One that is asked for is done all the same; by then it was looked for what is due.
  await client.data('POST', `${of}/runs`, { mode: 'full' })
  await until(({ complete_at, active_run }) => complete_at !== before.complete_at && active_run === undefined)
  assert.equal((await client.data('GET', `${of}/runs`)).length, 2)
  await api.database.query
    .updateTable('sync_states')
    .set({ next_full_at: new Date() })
    .where('config_id', '=', id)
    .execute()
  assert.equal((await client.data('POST', `${of}/resume`)).attributes.paused, false)
  while ((await client.data('GET', `${of}/runs`)).length < 3) await wait(50)
  assert.deepEqual(
    (await audited()).filter((action) => !action.startsWith('sync.run.')),
    ['sync.pause', 'sync.resume'],
  )
})

test('a configuration that is switched off is not read any more', async () => {
  const gate = gateOn('groups')
  const world = createWorld(directoryOf({ users: 5, groups: 2 }), { faults: [gate.fault] })
  const { client, id, of, until, ended } = await start(world)
  const { active_run: active } = await until(
    ({ active_run }) => (active_run as { attributes?: { seen: number } })?.attributes?.seen,
  )
  await client.data('PATCH', `${configsPath}/${id}`, { enabled: false })
  assert.equal((await ended((active as { id: string }).id)).attributes.status, 'cancelled')
  gate.open()
  const refused = await client.call('POST', `${of}/runs`)
  assert.match(refused.text, /The configuration is switched off/)
  assert.equal((await client.data('GET', of)).attributes.enabled, false)
  // Its first run was cancelled: switched on again, the next one does not wait for the night.
  await client.data('PATCH', `${configsPath}/${id}`, { enabled: true })
  await until(({ complete_at }) => complete_at)
})

test('another schedule holds at once, and what it may not be is told by the member', async () => {
  const { client, id, of, until } = await start(createWorld(directoryOf({ users: 2, groups: 1 })))
  await until(({ complete_at }) => complete_at)
  const change = (sync: unknown) => client.call('PATCH', `${configsPath}/${id}`, { settings: { sync } })
  assert.equal((await change({ full_hours: 3, incremental_minutes: 60 })).status, 200)
  const { attributes } = await client.data('GET', of)
  assert.deepEqual(attributes.schedule, { full_hours: 3, incremental_minutes: 60 })
  const minutesUntil = (time: string) => Math.round((Date.parse(time) - Date.now()) / 60_000)
  assert.equal(minutesUntil(attributes.next_full_at), 180)
  assert.equal(minutesUntil(attributes.next_incremental_at), 60)
  const wrong = await change({ full_at: '2 am', incremental_minutes: 1 })
  assert.deepEqual(
    [wrong.status, (wrong.json() as { errors: string[] }).errors],
    [
      400,
      [
        'data.attributes.settings.sync.incremental_minutes: expected 0, or a whole number of minutes from 5 to 1440',
        'data.attributes.settings.sync.full_at: expected a time of day in UTC, such as 02:00',
      ],
    ],
  )
  assert.equal((await change({ enabled: false })).status, 200)
  assert.equal((await client.data('GET', of)).attributes.enabled, false)
})

test('another domain is read anew at once, and an increment does not go on from what was before', async () => {
  const { client, id, of, until } = await start(createWorld(directoryOf({ users: 5, groups: 1 })))
  const before = await until(({ complete_at }) => complete_at)
  const elsewhere = worlds.add(createWorld(directoryOf({ users: 8, groups: 1 })))
  await client.data('PATCH', `${configsPath}/${id}`, { domain: elsewhere })
  const after = await until(({ complete_at }) => complete_at !== before.complete_at)
  assert.equal((after.entities as { count: number }[])[0]?.count, 8)
  const [run] = await client.data('GET', `${of}/runs`)
  assert.deepEqual([run.attributes.mode, run.attributes.reason], ['full', 'schedule'])
})

test('increments go on after a change of what is required, of the name and of the schedule', async () => {
  const { client, id, of, until, ended } = await start(createWorld(directoryOf({ users: 5, groups: 1 })))
  await until(({ complete_at }) => complete_at)
  const changes = [
    { settings: { require: ['devices', 'roles'] } },
    { settings: { require: ['devices'], sync: { full_hours: 12 } } },
    { name: 'Another' },
  ]
  for (const change of changes) {
    await client.data('PATCH', `${configsPath}/${id}`, change)
    const run = await client.data('POST', `${of}/runs`, { mode: 'incremental' })
    assert.partialDeepStrictEqual((await ended(run.id)).attributes, {
      status: 'succeeded',
      mode: 'incremental',
    })
  }
})

test('a change of what is required ends neither what is read nor what waits for approval', async () => {
  const gate = gateOn('groups')
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 60, faults: [gate.fault] })
  const { client, id, of, until, ended } = await start(world)
  const change = (capability: string) =>
    client.data('PATCH', `${configsPath}/${id}`, { settings: { require: [capability] } })
  await until(({ active_run }) => (active_run as { attributes?: { seen: number } })?.attributes?.seen)
  await change('devices')
  gate.open()
  await until(({ complete_at }) => complete_at)
  assert.equal(world.asked.filter(({ list }) => list === 'users').length, 2)

  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  const run = await client.data('POST', `${of}/runs`, { mode: 'full' })
  assert.equal((await ended(run.id)).attributes.status, 'quarantined')
  await change('roles')
  await client.data('POST', `${of}/runs/${run.id}/approve`)
  assert.partialDeepStrictEqual((await ended(run.id)).attributes, { status: 'succeeded', removed: 60 })
})

test('the entities of a configuration that is deleted go with it, and no others', async () => {
  const world = createWorld(directoryOf({ users: 12, groups: 1 }))
  const [gone, stays] = [await start(world), await start(world)]
  for (const { until } of [gone, stays]) await until(({ complete_at }) => complete_at)
  const count = async (id: string) => {
    const { rows } = await gone.api.database.pool.query(
      `select (select count(*) from entity_revisions where config_id = $1) +
        (select count(*) from entity_keys where config_id = $1) +
        (select count(*) from entity_purges where config_id = $1) as count`,
      [id],
    )
    return rows[0].count as number
  }
  const before = await count(stays.id)
  assert.ok((await count(gone.id)) > 12)
  assert.equal((await gone.client.call('DELETE', `${configsPath}/${gone.id}`)).status, 204)
  while ((await count(gone.id)) > 0) await wait(50)
  assert.equal(await count(stays.id), before)
  assert.equal((await gone.client.call('GET', gone.of)).status, 404)
})

test('the plan tells what a sync is thought to take, once one has told how much there is', async () => {
  const world = createWorld(directoryOf({ users: 25, groups: 12 }))
  const { client, of, until } = await start(world)
  await until(({ complete_at }) => complete_at)
  const { type, attributes } = await client.data('GET', `${of}/plan`)
  assert.equal(type, 'sync_plan')
  const lists = attributes.full.lists as { name: string; calls: number }[]
  assert.deepEqual(
    lists.map(({ name, calls }) => [name, calls]),
    [
      ['users', 3],
      ['groups', 2],
      ['devices', 1],
      ['roles', 1],
    ],
  )
  assert.equal(attributes.full.memberships.by, 'group')
  const [run] = await client.data('GET', `${of}/runs`)
  assert.equal(attributes.full.calls, 7 + attributes.full.memberships.calls.group)
  assert.equal(run.attributes.provider_calls, attributes.full.calls)
})

test('runs are listed page by page, the newest first', async () => {
  const { client, of, until } = await start(createWorld(directoryOf({ users: 1, groups: 1 })))
  await until(({ complete_at }) => complete_at)
  const made: string[] = [(await client.data('GET', `${of}/runs`))[0].id]
  for (let n = 0; n < 4; n += 1) {
    made.unshift((await client.data('POST', `${of}/runs`)).id)
    await until(({ active_run }) => active_run === undefined)
  }
  const seen: string[] = []
  let token = ''
  do {
    const answer = await client.call(
      'GET',
      `${of}/runs?limit=2${token === '' ? '' : `&page_token=${encodeURIComponent(token)}`}`,
    )
    const page = answer.json() as { data: { id: string }[]; meta: { page: { next_token: string } } }
    seen.push(...page.data.map(({ id }) => id))
    token = page.meta.page.next_token
  } while (token !== '')
  assert.deepEqual(seen, made)
})

test('a run can be watched: its progress, then its end', async () => {
  const gate = gateOn('groups')
  const world = createWorld(directoryOf({ users: 25, groups: 2 }), { faults: [gate.fault] })
  const { api, of, until } = await start(world)
  const { active_run: active } = await until(
    ({ active_run }) => (active_run as { attributes?: { seen: number } })?.attributes?.seen,
  )
  const { id } = active as { id: string }
  const watched = api.call({
    path: `${of}/runs/${id}`,
    headers: {
      'dd-api-key': api.keys.api_key,
      'dd-application-key': api.keys.application_key,
      accept: 'text/event-stream',
    },
  })
  gate.open()
  const { status, headers, text } = await watched
  assert.deepEqual([status, headers['content-type']], [200, 'text/event-stream'])
  const events = text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? []
      return { name, data: JSON.parse(data ?? '') }
    })
  assert.equal(events[0]?.name, 'progress')
  assert.partialDeepStrictEqual(events[0]?.data, { status: 'running', lists: { users: {} } })
  const end = events.at(-1)
  assert.equal(end?.name, 'end')
  assert.partialDeepStrictEqual(end?.data, { data: { id, attributes: { status: 'succeeded' } } })
  const missing = await api.call({
    path: `${of}/runs/${randomUUID()}`,
    headers: {
      'dd-api-key': api.keys.api_key,
      'dd-application-key': api.keys.application_key,
      accept: 'text/event-stream',
    },
  })
  assert.equal(missing.status, 404)
})

test('whoever watches a run is told to be forbidden when the key is revoked, and sees no end of it', async () => {
  const gate = gateOn('users')
  const world = createWorld(directoryOf({ users: 5, groups: 1 }), { faults: [gate.fault] })
  const { api, of, until } = await start(world)
  const { active_run: active } = await until(({ active_run }) => active_run)
  const keys = await createKey({ database: api.database, permissions: ['integrations_read'] })
  const watch = () =>
    clientOf(api, keys).call('GET', `${of}/runs/${(active as { id: string }).id}`, undefined, {
      accept: 'text/event-stream',
    })
  const watched = watch()
  await wait(500)
  await revokeKey({ database: api.database, id: keys.id })
  const revokedAt = performance.now()
  const { text } = await watched
  assert.ok(performance.now() - revokedAt < 5_000)
  assert.match(text, /^event: progress\n/)
  assert.match(text, /\n\nevent: error\ndata: \{"errors":\["Forbidden"\]\}\n\n$/)
  assert.doesNotMatch(text, /event: end/)
  assert.equal((await watch()).status, 403)
  gate.open()
})

test('whoever asks for the head of a stream is answered at once, and takes no place of those who watch', async () => {
  const gate = gateOn('users')
  const world = createWorld(directoryOf({ users: 5, groups: 1 }), { faults: [gate.fault] })
  const { client, of, until } = await start(world)
  const { active_run: active } = await until(({ active_run }) => active_run)
  const { id } = active as { id: string }
  const events = { accept: 'text/event-stream' }
  // More than a server lets watch at a time.
  for (let n = 0; n < 201; n += 1) {
    const { status, headers, text } = await client.call('HEAD', `${of}/runs/${id}`, undefined, events)
    assert.deepEqual([status, headers['content-type'], text], [200, 'text/event-stream', ''])
  }
  assert.equal((await client.call('HEAD', `${of}/runs/${randomUUID()}`, undefined, events)).status, 404)
  const watched = client.call('GET', `${of}/runs/${id}`, undefined, events)
  gate.open()
  assert.match((await watched).text, /event: end/)
})

test('a stream ends with its server, without an end of the run', async (t) => {
  const gate = gateOn('users')
  const world = createWorld(directoryOf({ users: 5, groups: 1 }), { faults: [gate.fault] })
  const { api, of, until } = await start(world, await startServer(t))
  const { active_run: active } = await until(({ active_run }) => active_run)
  const watched = api.call({
    path: `${of}/runs/${(active as { id: string }).id}`,
    headers: {
      'dd-api-key': api.keys.api_key,
      'dd-application-key': api.keys.application_key,
      accept: 'text/event-stream',
    },
  })
  await wait(100)
  const closed = api.close()
  assert.doesNotMatch((await watched).text, /event: end/)
  gate.open()
  await closed
})
