import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import { inTransaction, openDatabase } from '../src/store/database.ts'
import { openSecrets, placeOfWebhook, sealSecrets } from '../src/store/envelopes.ts'
import { ensureOrganization } from '../src/store/organizations.ts'
import { openVault } from '../src/store/vault-keys.ts'
import { readVaultKeys } from '../src/vault/keys.ts'
import type { Vault } from '../src/vault/vault.ts'
import { freshDatabase } from './fresh-database.ts'
import { someoneWaits } from './lock-waits.ts'
import { type Ended, runCommand, startCommand } from './running-command.ts'

const newKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`
const keys = { old: newKey('old'), new: newKey('new') }
const both = `${keys.new},${keys.old}`

/** A database, what is sealed in it with `old`, and the commands that work on it. */
async function open(t: TestContext, { secrets }: { secrets: number }) {
  const database = await freshDatabase(t)
  const vault = await openVault(database, readVaultKeys(keys.old))
  await seal(secrets, vault)
  const environment = (vaultKey: string) => ({ DATABASE_URL: database.url, CREDENCE_VAULT_KEY: vaultKey })
  return {
    database,
    environment,
    seal: (count: number) => seal(count, vault),
    run: (vaultKey: string, ...args: string[]) => runCommand(t, args, environment(vaultKey)),
    async count(keyId: string) {
      const rows = await database.query
        .selectFrom('envelopes')
        .select('owner_id')
        .where('key_id', '=', keyId)
        .execute()
      return rows.length
    },
  }

  async function seal(count: number, sealing: Vault) {
    await inTransaction(database, async (trx) => {
      const { id } = await ensureOrganization(trx, 'acme', { id: 'cli' })
      const rows = Array.from({ length: count }, () => ({
        organization_id: id,
        url: 'https://hooks.example',
        events: [],
      }))
      if (rows.length === 0) return
      const webhooks = await trx
        .insertInto('webhooks')
        .values(rows)
        .returning(['id', 'organization_id'])
        .execute()
      for (const webhook of webhooks)
        await sealSecrets(trx, sealing, placeOfWebhook(webhook), { secret: 'planted-secret' })
    })
  }
}

const told = ({ code, stdout, stderr }: Ended) => ({ code, stdout, stderr })

test('a key is replaced: rotated, then retired, then unknown to every server', async (t) => {
  const { run, count } = await open(t, { secrets: 3 })
  const early = await run(both, 'rotate-key', '--retire', 'old')
  assert.deepEqual(told(early), {
    code: 1,
    stdout: '',
    stderr:
      'credence: the vault key old is still in use: 3 envelopes need it; run `credence rotate-key` first\n',
  })

  const rotated = await run(both, 'rotate-key', '--json')
  assert.equal(rotated.code, 0, rotated.stderr)
  assert.deepEqual(JSON.parse(rotated.stdout), { key: 'new', rewrapped: 3, broken: [], remaining: {} })
  assert.deepEqual([await count('new'), await count('old')], [3, 0])
  const again = await run(both, 'rotate-key')
  assert.deepEqual(told(again), {
    code: 0,
    stdout: '0 re-wrapped under the vault key new, each opened before and after\n',
    stderr: '',
  })

  assert.equal((await run(both, 'rotate-key', '--retire', 'new')).code, 2)
  const retired = await run(both, 'rotate-key', '--retire', 'old', '--json')
  assert.deepEqual(told(retired), { code: 0, stdout: '{"retired":"old"}\n', stderr: '' })
  const late = await run(both, 'rotate-key')
  assert.deepEqual(
    [late.code, late.stderr],
    [1, 'credence: the vault key old was retired: take it out of the configured keys\n'],
  )
  assert.equal((await run(keys.new, 'rotate-key')).code, 0)
})

test('wrong, missing and unreadable keys are named and never told', async (t) => {
  const { run, environment } = await open(t, { secrets: 1 })
  const wrong = newKey('old')
  for (const [vaultKey, code, stderr] of [
    [wrong, 1, /^credence: the vault key old is not the key that was used under this id\n$/],
    [keys.new, 1, /^credence: the vault key old is missing: stored secrets are sealed with it\n$/],
    ['', 2, /^credence: no vault key: set CREDENCE_VAULT_KEY, .*`credence vault generate-key`/],
    [wrong.slice(4), 2, /^credence: CREDENCE_VAULT_KEY: vault key 1: expected <id>:<base64 of 32 bytes>/],
  ] as const) {
    const ended = await run(vaultKey, 'rotate-key')
    assert.deepEqual([ended.code, ended.stdout], [code, ''])
    assert.match(ended.stderr, stderr)
    assert.ok(!ended.stderr.includes(wrong.slice(4)))
  }
  const both = await runCommand(t, ['rotate-key'], {
    ...environment(keys.old),
    CREDENCE_VAULT_KEY_COMMAND: 'true',
  })
  assert.equal(both.code, 2)
})

test('a rotation that is killed in the middle of a batch is simply run again', async (t) => {
  const { database, environment, run, count } = await open(t, { secrets: 450 })
  // The third batch waits in its transaction, after its envelopes are locked and before it is written.
  await database.pool.query(`
    create function wait_for_test() returns trigger language plpgsql as $$
    begin
      if (select count(*) from audit_events where action = 'vault.unseal') >= 2 then
        perform pg_advisory_xact_lock(1);
      end if;
      return new;
    end $$`)
  await database.pool.query(
    'create trigger waits before insert on audit_events for each row execute function wait_for_test()',
  )
  await database.query.connection().execute(async (held) => {
    await sql`select pg_advisory_lock(1)`.execute(held)
    const killed = startCommand(t, ['rotate-key'], environment(both))
    await Promise.race([someoneWaits(database), killed.ended.then(({ stderr }) => assert.fail(stderr))])
    assert.deepEqual([await count('new'), await count('old')], [200, 250])
    assert.equal((await killed.stop('SIGKILL')).signal, 'SIGKILL')
    await sql`select pg_advisory_unlock(1)`.execute(held)
  })
  await database.pool.query('drop trigger waits on audit_events')

  const rest = await run(both, 'rotate-key', '--json')
  assert.equal(rest.code, 0, rest.stderr)
  assert.equal(await count('new'), 450)
  assert.equal(await count('old'), 0)
  // Two batches of a hundred were committed by the one that was killed; its third is as if it had never been.
  assert.deepEqual(JSON.parse(rest.stdout), { key: 'new', rewrapped: 250, broken: [], remaining: {} })
})

test('two rotations as processes at once share the work while secrets are sealed with both keys', async (t) => {
  const { database, run, seal, count } = await open(t, { secrets: 300 })
  const newVault = await openVault(database, readVaultKeys(both))
  let isOver = false
  const server = (async () => {
    while (!isOver) {
      await seal(1)
      await inTransaction(database, async (trx) => {
        const webhook = await trx
          .selectFrom('webhooks')
          .select(['id', 'organization_id'])
          .limit(1)
          .executeTakeFirstOrThrow()
        await sealSecrets(trx, newVault, placeOfWebhook(webhook), { secret: 'changed' })
      })
    }
  })()
  const rotations = await Promise.all([run(both, 'rotate-key', '--json'), run(both, 'rotate-key', '--json')])
  isOver = true
  await server
  for (const { stdout, stderr } of rotations) {
    assert.equal(stderr === '' || stderr.startsWith('credence:'), true, stderr)
    assert.deepEqual(JSON.parse(stdout).broken, [])
  }
  const last = await run(both, 'rotate-key', '--json')
  assert.deepEqual([last.code, JSON.parse(last.stdout).remaining], [0, {}])
  assert.equal(await count('old'), 0)
})

test('what does not open is named, and the exit status is 1', async (t) => {
  const { database, run } = await open(t, { secrets: 2 })
  const row = await database.query.selectFrom('webhooks').select('id').limit(1).executeTakeFirstOrThrow()
  await database.query.deleteFrom('webhooks').where('id', '=', row.id).execute()
  const rotated = await run(both, 'rotate-key')
  assert.equal(rotated.code, 1)
  assert.match(rotated.stdout, new RegExp(`^broken: the secrets of ${row.id}, sealed with old, `, 'm'))
  assert.match(rotated.stdout, /^1 still under old$/m)
  const json = await run(both, 'rotate-key', '--json')
  assert.deepEqual(JSON.parse(json.stdout).broken, [{ id: row.id, key: 'old' }])
})

test('what was unsealed since a moment is listed', async (t) => {
  const { run } = await open(t, { secrets: 2 })
  await run(both, 'rotate-key')
  const listed = await run('', 'vault', 'unsealed', '--since', 'now-1h', '--json')
  assert.equal(listed.code, 0, listed.stderr)
  const lines = listed.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines.length, 2)
  for (const line of lines)
    assert.partialDeepStrictEqual(line, { actor: 'cli', reason: 'rotation', type: 'webhook' })
  const text = await run('', 'vault', 'unsealed', '--since', 'now-1h')
  assert.match(
    text.stdout,
    /^\S+Z {2}[0-9a-f-]{36} {2}webhook {2}of [0-9a-f-]{36} {2}by cli {2}for rotation$/m,
  )
  assert.deepEqual(told(await run('', 'vault', 'unsealed', '--since', '2999-01-01T00:00:00Z')), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  for (const since of ['yesterday', '2026-11-24T06:00', '2026-13-01', '1764000000'])
    assert.equal((await run('', 'vault', 'unsealed', '--since', since)).code, 2)
})

test('a generated key works, and needs no database', async (t) => {
  const { code, stdout } = await runCommand(t, ['vault', 'generate-key'])
  assert.equal(code, 0)
  assert.equal(readVaultKeys(stdout.trim()).length, 1)
})

test('registrations are added from files and standard input, bound, listed, unbound and removed', async (t) => {
  const { database, environment, run, seal } = await open(t, { secrets: 0 })
  await seal(0)
  const folder = await mkdtemp(join(tmpdir(), 'credence-registrations-'))
  t.after(() => rm(folder, { recursive: true }))
  const keyFile = join(folder, 'key.json')
  await writeFile(
    keyFile,
    JSON.stringify({ client_email: 'sync@ours.example', client_id: '1039', private_key: 'planted-key' }),
  )
  const app = [
    '--tenant-id',
    '7c9e6679-7425-40de-944b-e07fc1f90ae7',
    '--client-id',
    '3f0c9a5e-6f0b-4c0f-9d2f-1a3f2b7c9d10',
  ]
  const added = await runCommand(
    t,
    ['registrations', 'add', 'entra-id', '--name', 'ours', ...app, '--client-secret-stdin', '--json'],
    environment(keys.old),
    'planted-secret\n',
  )
  assert.equal(added.code, 0, added.stderr)
  const { id, ...rest } = JSON.parse(added.stdout)
  assert.deepEqual(rest, { attributes: { tenant_id: app[1], client_id: app[3] } })
  const google = await run(
    keys.old,
    ...['registrations', 'add', 'google-workspace', '--name', 'ours too', '--service-account-file', keyFile],
  )
  assert.match(google.stdout, /^[0-9a-f-]{36} {2}client_email=sync@ours\.example {2}client_id=1039\n$/)

  const refused = await run(
    keys.old,
    ...['registrations', 'add', 'entra-id', '--name', 'x', ...app, '--client-secret', 'planted-argument'],
  )
  assert.equal(refused.code, 2)
  assert.ok(!refused.stderr.includes('planted'))
  const without = await run(keys.old, 'registrations', 'add', 'entra-id', '--name', 'x', ...app)
  assert.deepEqual([without.code, /--client-secret-file/.test(without.stderr)], [2, true])

  const at = ['--organization', 'acme', '--domain', 'Acme.com']
  assert.deepEqual(told(await run('', 'registrations', 'bind', 'ours', ...at)), {
    code: 0,
    stdout: `${id} serves acme.com for acme\n`,
    stderr: '',
  })
  const stranger = await run(
    '',
    'registrations',
    'bind',
    'ours',
    '--organization',
    'nobody',
    '--domain',
    'a.com',
  )
  assert.deepEqual(
    [stranger.code, stranger.stderr],
    [1, 'credence: there is no organisation of this name or id\n'],
  )
  const listed = await run('', 'registrations', 'list', '--json')
  assert.partialDeepStrictEqual(JSON.parse(listed.stdout), {
    registrations: [
      { id, source: 'entra-id', name: 'ours', bindings: [{ organization: 'acme', domain: 'acme.com' }] },
      { source: 'google-workspace', name: 'ours too', bindings: [] },
    ],
  })
  assert.equal((await run('', 'registrations', 'remove', 'ours')).code, 1)
  assert.equal((await run('', 'registrations', 'unbind', 'ours', ...at)).code, 0)
  assert.deepEqual(JSON.parse((await run('', 'registrations', 'remove', id, '--json')).stdout), { id })
  assert.equal((await database.query.selectFrom('envelopes').select('owner_id').execute()).length, 1)
})

test('a data directory is worked on while another process uses its database', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'credence-vault-'))
  const server = await openDatabase({ dataDirectory: folder })
  t.after(async () => {
    await server.close()
    await rm(folder, { recursive: true })
  })
  const vault = await openVault(server, readVaultKeys(keys.old))
  const [webhook] = await inTransaction(server, async (trx) => {
    const { id } = await ensureOrganization(trx, 'acme', { id: 'cli' })
    const rows = { organization_id: id, url: 'https://hooks.example', events: [] }
    const made = await trx.insertInto('webhooks').values(rows).returning(['id', 'organization_id']).execute()
    for (const one of made) await sealSecrets(trx, vault, placeOfWebhook(one), { secret: 'planted-secret' })
    return made
  })
  assert.ok(webhook)
  const rotated = await runCommand(t, ['rotate-key', '--data-dir', folder, '--json'], {
    CREDENCE_VAULT_KEY: both,
  })
  assert.deepEqual(told(rotated), {
    code: 0,
    stdout: '{"key":"new","rewrapped":1,"broken":[],"remaining":{}}\n',
    stderr: '',
  })
  const newVault = await openVault(server, readVaultKeys(both))
  const opened = await inTransaction(server, (trx) =>
    openSecrets(trx, newVault, placeOfWebhook(webhook), { id: 'system' }, 'test'),
  )
  assert.deepEqual(opened, { secret: 'planted-secret' })
})
