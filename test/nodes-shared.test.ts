/** Three server processes on one database: started at once, they are one service. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findAuditEvents } from '../src/store/audit.ts'
import type { Database } from '../src/store/database.ts'
import { createKey, revokeKey } from '../src/store/keys.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { validatePath } from './api-server.ts'
import { emptyDatabaseUrl, openedDatabase } from './fresh-database.ts'
import { type RunningCommand, startCommand } from './running-command.ts'

interface Node {
  readonly command: RunningCommand
  readonly url: string
}

const validationLimit = 60
const ends: (() => unknown)[] = []
const file = { after: (end: () => unknown) => ends.push(end) }
let nodes: readonly Node[]
let database: Database
let start: () => Promise<Node>

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-nodes-'))
  file.after(() => rmSync(folder, { recursive: true, force: true }))
  const environment = {
    DATABASE_URL: await emptyDatabaseUrl(file),
    CREDENCE_VAULT_KEY: generateVaultKey(),
    CREDENCE_LIMIT_VALIDATIONS: String(validationLimit),
    CREDENCE_LIMIT_REQUESTS: '100000',
    CREDENCE_LOG_LEVEL: 'warn',
  }
  start = async () => {
    const command = startCommand(file, ['serve', '--port', '0', '--data-dir', folder, '--json'], environment)
    return { command, url: JSON.parse(await command.line()).url }
  }
  // Each finds an empty database: one migrates, and the others wait.
  nodes = await Promise.all([start(), start(), start()])
  database = await openedDatabase(file, environment.DATABASE_URL)
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const newKey = async () => {
  const { id, api_key, application_key } = await createKey({ database, permissions: ['admin'] })
  return { id, headers: { 'dd-api-key': api_key, 'dd-application-key': application_key } }
}

const check = (url: string, headers: Record<string, string>) =>
  fetch(`${url}/api/v2/validate_keys`, { headers })

test('a key works on every node as soon as it is made, and on none five seconds after it was revoked', async () => {
  const { id, headers } = await newKey()
  const statuses = async () => Promise.all(nodes.map(async ({ url }) => (await check(url, headers)).status))
  assert.deepEqual(await statuses(), [200, 200, 200])
  await revokeKey({ database, id })
  const revokedAt = performance.now()
  // In use all the time: nobody may live on what was known before.
  while ((await statuses()).some((status) => status === 200))
    assert.ok(performance.now() - revokedAt < 5_000, 'a revoked key still works')
  assert.deepEqual(await statuses(), [403, 403, 403])
})

test('a limit holds for all nodes together, and what remains is told in whole numbers that never rise', async () => {
  const minuteOf = () => Math.floor(Date.now() / 60_000)
  for (;;) {
    const minute = minuteOf()
    const { headers } = await newKey()
    const answers = await Promise.all(
      Array.from({ length: 3 * validationLimit }, async (_, at) => {
        const answer = await fetch(`${nodes[at % nodes.length]?.url}${validatePath}`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: '{}',
        })
        return { status: answer.status, remaining: answer.headers.get('x-ratelimit-remaining') ?? '' }
      }),
    )
    if (minuteOf() !== minute) continue
    const granted = answers.filter(({ status }) => status === 400).length
    assert.ok(granted <= validationLimit && granted >= validationLimit * 0.9, String(granted))
    assert.equal(answers.filter(({ status }) => status === 429).length, answers.length - granted)
    for (const { remaining } of answers) assert.match(remaining, /^\d+$/)
    return
  }
})

test('a node that is killed disturbs no other, and another takes its place', async () => {
  const [first, second, third] = nodes as [Node, Node, Node]
  const { headers } = await newKey()
  let failures = 0
  let asked = 0
  let isOver = false
  const asking = (async () => {
    while (!isOver) {
      const { status } = await check(asked % 2 === 0 ? first.url : second.url, headers)
      if (status !== 200) failures += 1
      asked += 1
    }
  })()
  assert.equal((await third.command.stop('SIGKILL')).signal, 'SIGKILL')
  const replacement = await start()
  const other = await newKey()
  assert.equal((await check(replacement.url, other.headers)).status, 200)
  isOver = true
  await asking
  assert.equal(failures, 0)
  assert.ok(asked > 0)
})

test('refused authentications of all nodes are in one audit trail, counted and without what was shown', async () => {
  const shown = 'a'.repeat(40)
  for (const { url } of nodes.slice(0, 2))
    for (let again = 0; again < 50; again += 1)
      assert.equal((await check(url, { 'dd-api-key': shown, 'dd-application-key': shown })).status, 403)
  // Written at the end at the latest.
  for (const { command } of nodes.slice(0, 2)) await command.stop()
  const events = await findAuditEvents(database.query, { action: 'authentication.refuse', limit: 100 })
  assert.ok(!JSON.stringify(events).includes(shown))
  assert.ok(events.length < 20)
  let counted = 0
  for (const { details, address, actor } of events) {
    assert.deepEqual([actor, address, details.shown], ['unknown', '127.0.0.1', 'keys'])
    counted += Number(details.count)
  }
  assert.ok(counted >= 100, String(counted))
})
