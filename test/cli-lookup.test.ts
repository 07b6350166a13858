/** `credence lookup` and `credence entities`, against a server with a made-up history. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Api, organizationOf, startApi } from './api-server.ts'
import { makeConfig, person, writeHistory } from './entity-world.ts'
import { runCommand } from './running-command.ts'

const now = new Date()
const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000)

let api: Api
const ends: (() => unknown)[] = []
before(async () => {
  api = await startApi({ after: (end) => ends.push(end) }, { permissions: ['siem_entities_read'] })
  const organizationId = await organizationOf(api)
  const config = await makeConfig(api.database, organizationId, 'okta', 'acme.okta.com')
  const ada = (department: string) =>
    person('ada', { full_name: 'Ada \u202eLovelace', department, email_addr: 'ada@example.com' })
  await writeHistory(
    api.database,
    organizationId,
    [
      { config, entity: ada('Sales'), from: daysAgo(9), to: daysAgo(2), lastSeen: daysAgo(3) },
      { config, entity: ada('Research'), from: daysAgo(2), groups: [{ uid: 'g1', name: 'Domain Admins' }] },
      { config, entity: { kind: 'device', attributes: { uid: 'd1', hostname: 'lap-1' } }, from: daysAgo(9) },
    ],
    daysAgo(1),
  )
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const credence = (...args: readonly string[]) =>
  runCommand({ after: (end) => ends.push(end) }, args, {
    CREDENCE_URL: api.url,
    DD_API_KEY: api.keys.api_key,
    DD_APP_KEY: api.keys.application_key,
  })

test('says who somebody is, and what was otherwise before', async () => {
  const { code, stdout, stderr } = await credence('lookup', 'ada@example.com')
  assert.equal(code, 0, stderr)
  assert.match(
    stdout,
    /Ada {2}?Lovelace · ada@example\.com {2}\(okta acme\.okta\.com, id ada, entity [0-9a-f-]{36}\)/,
  )
  assert.match(stdout, /department +Research/)
  assert.match(stdout, /groups +Domain Admins/)
  assert.match(stdout, /before:\n.*department Sales; groups \(none\)/)
  assert.ok(!stdout.includes('\u202e'))
})

test('answers for a moment, and as JSON', async () => {
  const then = await credence('lookup', 'ada', '--as-of', 'now-4d', '--json')
  assert.equal(then.code, 0, then.stderr)
  const { data, meta } = JSON.parse(then.stdout)
  assert.deepEqual([meta.total_count, data[0].attributes.revisions.length], [1, 1])
  assert.equal(data[0].attributes.revisions[0].attributes.department, 'Sales')
})

test('ends with 1 for whom nobody knows, and for what cannot be understood', async () => {
  const nobody = await credence('lookup', 'nobody@example.com')
  assert.deepEqual([nobody.code, nobody.stdout], [1, 'nobody is known by this\n'])
  const fault = await credence('lookup', 'department:')
  assert.equal(fault.code, 1)
  assert.match(fault.stderr, /query: expected a value after "department:" at position 11/)
  const wrong = await credence('lookup', 'ada', '--type', 'robot')
  assert.equal(wrong.code, 2)
})

test('exports, feeds changes and tells differences', async () => {
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  const exported = await credence('entities', 'export')
  assert.equal(exported.code, 0, exported.stderr)
  assert.deepEqual(
    lines(exported.stdout).map(({ type }) => type),
    ['siem_entity_identity', 'siem_entity_device'],
  )
  assert.ok(!exported.stdout.includes('\u202e'))
  const events = await credence('entities', 'export', '--type', 'device', '--format', 'ocsf')
  assert.deepEqual(
    lines(events.stdout).map(({ class_uid }) => class_uid),
    [5001],
  )
  const changes = await credence('entities', 'changes', '--type', 'identity')
  assert.deepEqual(
    lines(changes.stdout).map(({ change }) => change),
    ['created', 'updated'],
  )
  const diff = await credence('entities', 'diff', '--from', 'now-4d')
  assert.equal(diff.code, 0, diff.stderr)
  assert.match(
    diff.stdout,
    /^changed {2}ada@example\.com {2}\(entity .*\)\n +department: Sales → Research\n +groups: \(none\) → Domain Admins\n$/,
  )
})

test('lines are printed as they were sent, also where the network cuts between one and its end', async (t) => {
  const server = createServer(async (_, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (const piece of ['\n{"id":1}', '\n{"id":2}\n', '\n', '{"id":3}', '\n']) {
      response.write(piece)
      await wait(30)
    }
    response.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { code, stdout, stderr } = await runCommand(t, ['entities', 'export'], {
    CREDENCE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    DD_API_KEY: api.keys.api_key,
    DD_APP_KEY: api.keys.application_key,
  })
  assert.deepEqual([code, stdout], [0, '{"id":1}\n{"id":2}\n{"id":3}\n'], stderr)
})

test('says so when there is no server, and when the keys do not permit it', async () => {
  const gone = await runCommand({ after: (end) => ends.push(end) }, ['entities', 'export'], {
    CREDENCE_URL: 'http://127.0.0.1:9',
    DD_API_KEY: api.keys.api_key,
    DD_APP_KEY: api.keys.application_key,
  })
  assert.equal(gone.code, 3)
  const refused = await runCommand({ after: (end) => ends.push(end) }, ['entities', 'export'], {
    CREDENCE_URL: api.url,
    DD_API_KEY: '0'.repeat(32),
    DD_APP_KEY: '0'.repeat(40),
  })
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /refuses the keys \(403\)/)
})
