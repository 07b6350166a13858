/** `credence backup`, `restore` and `doctor`, on a database of their own. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { generateVaultKey } from '../src/vault/keys.ts'
import { listen } from './free-ports.ts'
import { emptyDatabaseUrl, freshDatabaseUrl } from './fresh-database.ts'
import { newFolder } from './new-folder.ts'
import { type Lasting, runCommand, startCommand } from './running-command.ts'

const ends: (() => unknown)[] = []
const file: Lasting = { after: (end) => ends.push(end) }
after(async () => {
  for (const end of ends.reverse()) await end()
})

const folder = newFolder(file)
const vaultKey = generateVaultKey()
const vaultKeyId = vaultKey.split(':')[0] ?? ''
const backupFile = join(folder, 'credence.backup')
/** Of the database that was backed up. */
let url: string
let applicationKey: string
before(async () => {
  url = await freshDatabaseUrl(file)
  const made = await runCommand(file, ['keys', 'create', '--permissions', 'admin', '--json'], {
    DATABASE_URL: url,
  })
  applicationKey = JSON.parse(made.stdout).application_key
})

const on = (database: string) => ({ DATABASE_URL: database, CREDENCE_VAULT_KEY: vaultKey })

test('what was written comes back into an empty database, keys revoked unless they are kept', async (t) => {
  const written = await runCommand(t, ['backup', backupFile, '--json'], on(url))
  assert.equal(written.code, 0, written.stderr)
  const document = JSON.parse(written.stdout)
  assert.deepEqual([document.file, document.vault_keys], [backupFile, []])
  assert.ok(document.rows > 0)
  assert.equal(statSync(backupFile).mode & 0o777, 0o600)
  assert.equal(readFileSync(backupFile).includes(applicationKey), false)

  const target = await emptyDatabaseUrl(t)
  const restored = await runCommand(t, ['restore', backupFile], on(target))
  assert.equal(restored.code, 0, restored.stderr)
  assert.match(restored.stdout, /\n1 keys: revoked; make new ones with credence keys create\n/)
  const listed = await runCommand(t, ['keys', 'list'], on(target))
  assert.match(listed.stdout, /revoked/)

  const kept = await emptyDatabaseUrl(t)
  const again = await runCommand(t, ['restore', backupFile, '--keep', 'keys', '--json'], on(kept))
  assert.deepEqual(JSON.parse(again.stdout).kept, ['keys'])
  assert.doesNotMatch((await runCommand(t, ['keys', 'list'], on(kept))).stdout, /revoked/)
})

test('nothing is overwritten, and what is no backup is told in one line', async (t) => {
  const refused = await runCommand(t, ['backup', backupFile], on(url))
  assert.deepEqual(
    [refused.code, refused.stderr],
    [1, `credence: ${backupFile} is there already; choose another name\n`],
  )
  const full = await runCommand(t, ['restore', backupFile], on(url))
  assert.equal(full.code, 1)
  assert.match(full.stderr, /^credence: the database is not empty/)
  const other = join(folder, 'other')
  writeFileSync(other, 'no backup')
  const target = await emptyDatabaseUrl(t)
  for (const file of [other, join(folder, 'missing'), folder]) {
    const { code, stderr } = await runCommand(t, ['restore', file], on(target))
    assert.equal(code, 1)
    assert.match(stderr, /^credence: .+\n$/)
    assert.doesNotMatch(stderr, /internal error/)
  }
  const nowhere = join(folder, 'nowhere')
  const none = await runCommand(t, ['backup', join(folder, 'none'), '--data-dir', nowhere])
  assert.deepEqual(
    [none.code, none.stderr],
    [1, `credence: there is no database in ${nowhere}; name its folder with --data-dir\n`],
  )
  assert.equal(existsSync(nowhere), false)
  const keep = await runCommand(t, ['restore', backupFile, '--keep', 'everything'])
  assert.equal(keep.code, 2)
  assert.match(keep.stderr, /There are keys, configurations, webhooks, bindings/)
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('partial')),
    [],
  )
})

interface Check {
  readonly id: string
  readonly status: string
  readonly detail: string
  readonly remedy?: string
}

async function doctor(t: Lasting, environment: Record<string, string>, ...args: readonly string[]) {
  const { code, stdout, stderr } = await runCommand(t, ['doctor', '--json', ...args], environment)
  assert.equal(stderr, '')
  const { verdict, checks } = JSON.parse(stdout) as { verdict: string; checks: Check[] }
  for (const { status, remedy } of checks)
    assert.equal(remedy !== undefined, ['warning', 'failed', 'unknown'].includes(status))
  return { code, verdict, check: (id: string) => checks.find((one) => one.id === id) }
}

const dataDir = ['--data-dir', join(folder, 'data')]

test('the doctor finds a server that could start well, and changes nothing', async (t) => {
  const well = await doctor(t, on(url), '--offline', ...dataDir)
  assert.deepEqual([well.code, well.verdict], [0, 'passed'])
  assert.match(well.check('vault_key')?.detail ?? '', new RegExp(`^${vaultKeyId} seals`))
  for (const id of ['database', 'database_version', 'schema', 'clock', 'processes', 'queue'])
    assert.equal(well.check(id)?.status, 'passed', id)
  assert.equal(well.check('provider_okta')?.status, 'skipped')
  assert.equal(existsSync(join(folder, 'data')), false)
})

test('the doctor names what is wrong, and ends with status 1', async (t) => {
  const noKey = await doctor(t, { DATABASE_URL: url }, '--offline', ...dataDir)
  assert.equal(noKey.code, 1)
  assert.equal(noKey.check('vault_key')?.status, 'failed')

  const other = await doctor(
    t,
    { ...on(url), CREDENCE_LOG_LEVEL: 'loud', DATABASE_URL: 'postgres://u:canary@127.0.0.1:9/x' },
    '--offline',
    ...dataDir,
  )
  assert.equal(other.code, 1)
  assert.match(other.check('settings')?.detail ?? '', /CREDENCE_LOG_LEVEL/)
  assert.match(other.check('database')?.detail ?? '', /nothing listens/)
  assert.equal(other.check('schema')?.status, 'skipped')
})

test('the doctor says which vault key is missing, and which is another under the same id', async (t) => {
  const database = await freshDatabaseUrl(t)
  const server = startCommand(t, ['serve', '--port', '0', '--json', ...dataDir], on(database))
  await server.line()
  const sameId = `${vaultKeyId}:${generateVaultKey().split(':')[1]}`
  const swapped = await doctor(
    t,
    { DATABASE_URL: database, CREDENCE_VAULT_KEY: sameId },
    '--offline',
    ...dataDir,
  )
  assert.equal(swapped.code, 1)
  assert.match(
    swapped.check('vault_keys_in_use')?.detail ?? '',
    new RegExp(`the vault key ${vaultKeyId} is not the key that was used`),
  )
  await server.stop()
})

test('the doctor finds the database that a killed server left behind, and ends it', async (t) => {
  const left = ['--data-dir', join(folder, 'left')]
  const environment = { CREDENCE_VAULT_KEY: vaultKey }
  const server = startCommand(t, ['serve', '--port', '0', '--json', ...left], environment)
  await server.line()
  assert.equal((await doctor(t, environment, '--offline', ...left)).check('processes')?.status, 'passed')
  await server.stop('SIGKILL')
  const found = await doctor(t, environment, '--offline', ...left)
  assert.equal(found.code, 0)
  assert.match(found.check('processes')?.detail ?? '', /no server uses it: a process of ours was killed/)
  assert.equal((await doctor(t, environment, '--offline', ...left)).check('processes')?.detail, 'none')
})

test('the doctor reaches providers, or stand-ins of this machine, and cannot tell when they are not there', async (t) => {
  const there = createServer((socket: Socket) => socket.destroy())
  await new Promise<void>((resolve) => there.listen(0, '127.0.0.1', resolve))
  t.after(() => there.close())
  const address = there.address()
  const port = typeof address === 'object' ? address?.port : 0
  const endpoints = join(folder, 'endpoints.json')
  const hosts = ['oauth2.googleapis.com', 'admin.googleapis.com']
  const standing = (origin: string) =>
    writeFileSync(
      endpoints,
      JSON.stringify({
        ...Object.fromEntries(hosts.map((host) => [host, origin])),
        'login.microsoftonline.com': 'http://127.0.0.1:9',
        'graph.microsoft.com': 'http://127.0.0.1:9',
      }),
    )
  standing(`http://127.0.0.1:${port}`)
  const seen = await doctor(t, { ...on(url), CREDENCE_ENDPOINTS: endpoints }, ...dataDir)
  assert.deepEqual([seen.code, seen.verdict], [3, 'unknown'])
  assert.equal(seen.check('endpoints')?.status, 'warning')
  assert.equal(seen.check('provider_google_workspace')?.detail, `reached ${hosts.join(', ')}`)
  assert.match(seen.check('provider_entra_id')?.detail ?? '', /not reached: .*unreachable, ECONNREFUSED/)
})

test('the doctor names too few descriptors', async (t) => {
  const { code, stdout } = await runLimited(t, 128)
  assert.equal(code, 1)
  const { checks } = JSON.parse(stdout) as { checks: Check[] }
  assert.deepEqual(
    checks.filter(({ id }) => id === 'descriptors').map(({ status, detail }) => [status, detail]),
    [['failed', '128 are allowed']],
  )
})

/** The doctor under a limit of open files. */
async function runLimited(t: Lasting, files: number) {
  const { execFile } = await import('node:child_process')
  const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')
  return new Promise<{ code: number | string | null | undefined; stdout: string }>((resolve) => {
    const child = execFile(
      '/bin/sh',
      [
        '-c',
        `ulimit -n ${files} && exec "$@"`,
        'sh',
        process.execPath,
        main,
        'doctor',
        '--offline',
        '--json',
        ...dataDir,
      ],
      { env: { PATH: process.env.PATH, ...on(url) } },
      (error, stdout) => resolve({ code: error === null ? 0 : error.code, stdout }),
    )
    t.after(() => child.kill())
  })
}

test('no command waits without end for a database that is silent', {
  // They wait for the same time.
  concurrency: true,
}, async (t) => {
  const silent = await listen(0)
  silent.on('connection', (socket: Socket) => t.after(() => socket.destroy()))
  t.after(() => silent.close())
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : 0
  const environment = on(`postgres://u:canary-password@127.0.0.1:${port}/x`)
  const commands = [
    ['keys', 'list'],
    ['orgs', 'list'],
    ['audit', 'list'],
    ['registrations', 'list'],
    ['webhooks', 'list'],
    ['vault', 'unsealed', '--since', 'now-1d'],
    ['rotate-key'],
    ['backup', join(folder, 'silent')],
    ['restore', backupFile],
    ['serve', '--port', '0'],
  ]
  await Promise.all(
    commands.map((args) =>
      t.test(args.slice(0, 2).join(' '), async (t) => {
        const { code, stderr } = await runCommand(t, args, environment)
        assert.equal(code, 1, stderr)
        assert.match(stderr, /credence: the database does not take a connection in time.*\n$/)
        assert.doesNotMatch(stderr, /canary-password/)
      }),
    ),
  )
})
