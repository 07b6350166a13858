/** `credence sync` against a running server: what it prints, and what its exit status says. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createKey } from '../src/store/keys.ts'
import { type Api, headersOf, startApi } from './api-server.ts'
import { type Ended, type Lasting, runCommand, startCommand } from './running-command.ts'
import { createWorld, directoryOf, type Fault, refusal, type World } from './sync-world.ts'
import { answering, createWorlds } from './sync-worlds.ts'

const worlds = createWorlds()
const ends: (() => unknown)[] = []
let api: Api
before(async () => {
  api = await startApi(
    { after: (end) => ends.push(end) },
    {
      sources: [worlds.source],
      outbound: answering,
      permissions: ['admin'],
      config: { syncsAtOnce: 16 },
    },
  )
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const environment = () => ({
  CREDENCE_URL: api.url,
  DD_API_KEY: api.keys.api_key,
  DD_APP_KEY: api.keys.application_key,
})

const sync = (t: Lasting, id: string, ...args: readonly string[]): Promise<Ended> =>
  syncAs(t, environment(), id, ...args)

async function syncAs(
  t: Lasting,
  keys: ReturnType<typeof environment>,
  id: string,
  ...args: readonly string[]
): Promise<Ended> {
  const [command = '', ...more] = args
  const ended = await runCommand(t, ['sync', command, '--config', id, ...more], keys)
  for (const secret of [api.keys.api_key, api.keys.application_key])
    assert.equal(`${ended.stdout}${ended.stderr}`.includes(secret), false, 'a secret is shown')
  assert.doesNotMatch(ended.stderr, /internal error/)
  return ended
}

/** Asks the server itself: a process for each question would take a second. */
async function ask(path: string, attributes?: object): Promise<unknown> {
  const answer = await api.call({
    method: attributes === undefined ? 'GET' : 'POST',
    path,
    headers: headersOf(api),
    ...(attributes && { body: JSON.stringify({ data: { type: 'integration_config', attributes } }) }),
  })
  assert.equal(answer.status, 200, answer.text)
  return answer.json()
}

/** A configuration of the world whose first sync is over. */
async function made(world: World): Promise<string> {
  const id = await created(world)
  const isComplete = async () => {
    const { data } = (await ask(`/api/v2/credence/sync/${id}`)) as {
      data: { attributes: { complete_at?: string } }
    }
    return data.attributes.complete_at !== undefined
  }
  while (!(await isComplete())) await new Promise((resolve) => setTimeout(resolve, 50))
  return id
}

async function created(world: World): Promise<string> {
  const document = await ask('/api/v2/security_monitoring/configuration/integration_config', {
    domain: worlds.add(world),
    integration_type: 'ACME',
    name: 'Acme',
    secrets: {},
  })
  return (document as { data: { id: string } }).data.id
}

const membersOfSummary = [
  'status',
  'mode',
  'pages',
  'seen',
  'changed',
  'removed',
  'provider_calls',
  'duration_ms',
]

test('a sync is waited for and told in one object of fixed members', async (t) => {
  const world = createWorld(directoryOf({ users: 25, groups: 3 }))
  const id = await created(world)
  // It may be the one that has begun by itself.
  const first = await sync(t, id, 'run', '--full', '--json')
  assert.equal(first.code, 0, first.stderr)
  const summary = JSON.parse(first.stdout)
  assert.deepEqual(Object.keys(summary), membersOfSummary)
  assert.partialDeepStrictEqual(summary, { status: 'succeeded', mode: 'full', removed: 0 })

  world.directory.users.set('new', { uid: 'new' })
  world.directory.changes.push({ kind: 'user', uid: 'new' })
  const second = await sync(t, id, 'run', '--json')
  assert.partialDeepStrictEqual(JSON.parse(second.stdout), {
    status: 'succeeded',
    mode: 'incremental',
    changed: 1,
  })

  const dry = await sync(t, id, 'run', '--full', '--dry-run')
  assert.equal(dry.code, 0)
  assert.match(dry.stdout, /^✓ succeeded {2}Full sync, dry run in \S+ s\n/)
  assert.match(dry.stdout, /^ {2}\d+ requests to the provider, \d+ planned$/m)

  const listed = await sync(t, id, 'runs')
  assert.match(
    listed.stdout,
    /full \(dry\) +✓ succeeded.*\n.*incremental +✓ succeeded.*\n.*full +✓ succeeded/,
  )
  const json = JSON.parse((await sync(t, id, 'runs', '--json', '--limit', '2')).stdout)
  assert.equal(json.data.length, 2)
})

test('how syncs stand is told for people, and as the document of the server', async (t) => {
  const id = await made(createWorld(directoryOf({ users: 25, groups: 3 })))
  const { stdout } = await sync(t, id, 'status')
  assert.match(
    stdout,
    new RegExp(
      `^Syncs of ${id}\n {2}sync +on\n {2}schedule +full daily at \\d\\d:\\d\\d UTC, increments every 15 min\n`,
    ),
  )
  assert.match(stdout, /siem_entity_identity {2}25, seen 20/)

  const plan = await sync(t, id, 'plan')
  assert.match(plan.stdout, /Users +3\n/)
  assert.match(plan.stdout, /Memberships, asking each group +\d+\n/)
  assert.match(plan.stdout, /In all +\d+\n/)

  assert.match((await sync(t, id, 'pause')).stdout, /sync +paused/)
  const resumed = await sync(t, id, 'resume', '--json')
  const { data } = JSON.parse(resumed.stdout)
  assert.deepEqual([data.type, data.id, data.attributes.paused], ['sync_status', id, false])
})

test('what waits for approval ends with status 1 and says what to do; approved, it is applied', async (t) => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 60 })
  const id = await made(world)
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  const held = await sync(t, id, 'run', '--full')
  assert.equal(held.code, 1)
  assert.match(held.stdout, /^! quarantined {2}Full sync/)
  assert.match(held.stdout, /it would remove 60 of 120 people/)
  assert.match(held.stdout, new RegExp(`credence sync approve --config ${id}`))

  const removals = await sync(t, id, 'removals', '--limit', '100')
  assert.equal(removals.stdout.trimEnd().split('\n').length, 60)
  assert.match(removals.stdout, /^siem_entity_identity {2}\S+ \(u\d+\)$/m)

  const blind = await createKey({
    database: api.database,
    permissions: ['integrations_read', 'manage_integrations'],
  })
  const keys = { ...environment(), DD_API_KEY: blind.api_key, DD_APP_KEY: blind.application_key }
  const status = await syncAs(t, keys, id, 'status')
  assert.match(status.stdout, /it would remove 60 of 120 people/)
  assert.doesNotMatch(status.stdout, /\(u\d+\)/)
  for (const [command, missing] of [
    ['removals', 'siem_entities_read'],
    ['approve', 'manage_integrations, and siem_entities_read to see whom it would remove'],
  ] as const) {
    const refused = await syncAs(t, keys, id, command)
    assert.deepEqual(
      [refused.code, refused.stderr],
      [
        1,
        `credence: the server refuses (403): the keys are right, but lack the permission that this needs (${missing})\n`,
      ],
    )
  }

  const approved = await sync(t, id, 'approve', '--json')
  assert.equal(approved.code, 0, approved.stderr)
  assert.partialDeepStrictEqual(JSON.parse(approved.stdout), { status: 'succeeded', removed: 60 })
  const again = await sync(t, id, 'approve')
  assert.deepEqual(
    [again.code, again.stderr],
    [1, 'credence: no sync of this configuration waits for approval\n'],
  )
})

test('what waits for approval can be given up', async (t) => {
  const world = createWorld(directoryOf({ users: 120, groups: 1 }), { pageSize: 60 })
  const id = await made(world)
  for (let n = 0; n < 60; n += 1) world.directory.users.delete(`u${n}`)
  assert.equal((await sync(t, id, 'run', '--full', '--json')).code, 1)
  const removals = JSON.parse((await sync(t, id, 'removals', '--json')).stdout)
  assert.equal(removals.data.length, 20)
  assert.match((await sync(t, id, 'reject')).stdout, /^rejected: run [0-9a-f-]{36}\n$/)
})

test('a sync that fails ends with status 1, the cause and the remedy', async (t) => {
  const world = createWorld(directoryOf({ users: 5, groups: 1 }))
  world.faults.push(({ list }) => {
    if (list === 'users') throw refusal(403)
    return undefined
  })
  const id = await created(world)
  const failed = await sync(t, id, 'run', '--full')
  assert.equal(failed.code, 1)
  assert.match(failed.stdout, /^✗ failed {2}Full sync/)
  assert.match(failed.stdout, /Acme refuses\n {2}Grant it\./)
  assert.match((await sync(t, id, 'status')).stdout, /✗ \d runs? (?:in a row )?failed: Acme refuses/)
})

test('a sync is watched and cancelled from elsewhere', async (t) => {
  const gate = Promise.withResolvers<void>()
  const hold: Fault = async ({ list }) => {
    if (list === 'groups') await gate.promise
    return undefined
  }
  const world = createWorld(directoryOf({ users: 25, groups: 2 }), { faults: [hold] })
  const id = await created(world)
  const watching = startCommand(
    t,
    ['sync', 'run', '--config', id, '--full', '--watch', '--json'],
    environment(),
  )
  let told = ''
  watching.child.stderr.on('data', (text: string) => {
    told += text
  })
  // Long before the run ends, also where no terminal shows it.
  while (!/^[1-9]\d* seen, \d+ pages, \d+ requests/m.test(told))
    await new Promise((resolve) => setTimeout(resolve, 20))
  assert.match(told, /^(?:waits for its turn|\d+ seen, \d+ pages, \d+ requests)/)
  const cancelled = await sync(t, id, 'cancel')
  assert.match(cancelled.stdout, /^(?:cancelled|is being cancelled): run /)
  const { code, stdout } = await watching.ended
  gate.resolve()
  assert.equal(code, 1)
  assert.equal(JSON.parse(stdout).status, 'cancelled')
})

test('what cannot be asked for is told in a line, with the status that says so', async (t) => {
  const nobody = '00000000-0000-4000-8000-000000000000'
  for (const command of ['run', 'approve']) {
    const { code, stderr } = await sync(t, nobody, command)
    assert.deepEqual(
      [code, stderr],
      [1, `credence: Integration config with ID ${nobody} not found\n`],
      command,
    )
  }
  const json = await sync(t, nobody, 'run', '--json')
  assert.equal(json.code, 1)
  assert.deepEqual(Object.keys(JSON.parse(json.stdout)), ['errors'])
  const path = await runCommand(t, ['sync', 'status', '--config', '..'], environment())
  assert.equal(path.code, 2)
  const away = await runCommand(t, ['sync', 'status', '--config', nobody], {
    ...environment(),
    CREDENCE_URL: 'http://127.0.0.1:9',
  })
  assert.equal(away.code, 3)
})
