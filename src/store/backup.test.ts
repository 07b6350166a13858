import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { sql } from 'kysely'
import pg from 'pg'
import { emptyDatabaseUrl, freshDatabaseUrl } from '../../test/fresh-database.ts'
import { createVault } from '../vault/vault.ts'
import { backup, keepable, restore } from './backup.ts'
import { connect, type Database, openDatabase } from './database.ts'
import { migrate, migrations } from './migrate.ts'

const open: Database[] = []
const folder = await mkdtemp(join(tmpdir(), 'credence-backup-'))
after(async () => {
  await Promise.all(open.map((database) => database.close()))
  await rm(folder, { recursive: true, force: true })
})

const nowhere = '/nowhere'
let files = 0
const newFile = () => join(folder, `${++files}.backup`)

async function openOn(url: string): Promise<Database> {
  const database = await openDatabase({ url, dataDirectory: nowhere })
  open.push(database)
  return database
}

/** Values that a careless format would change. */
const awkward = `quote ' double " back\\slash tab\t line\nfeed {a,"b"} NULL é 漢 😀 \u2028 \u0001`

const place = {
  organization: '00000000-0000-0000-0000-000000000001',
  owner: '00000000-0000-0000-0000-000000000002',
  type: 'OKTA',
  domain: 'acme.okta.com',
}
const vault = createVault([{ id: 'key-7', key: Buffer.alloc(32, 7) }])

/** An organisation with a key in force and one revoked, a configuration with secrets, a webhook, a binding, events. */
async function fill({ query }: Database): Promise<void> {
  await query.insertInto('organizations').values({ id: place.organization, name: awkward }).execute()
  await query
    .insertInto('keys')
    .values([
      {
        organization_id: place.organization,
        name: null,
        prefix: 'abc',
        api_key_hash: Buffer.from([0, 1, 255]),
        application_key_hash: Buffer.from('one'),
        permissions: ['integrations_read', awkward],
        revoked_at: null,
      },
      {
        organization_id: place.organization,
        name: 'old',
        prefix: 'def',
        api_key_hash: null,
        application_key_hash: Buffer.from('two'),
        permissions: [],
        revoked_at: new Date('2026-01-02T03:04:05.678Z'),
      },
    ])
    .execute()
  await query
    .insertInto('integration_configs')
    .values({
      id: place.owner,
      organization_id: place.organization,
      integration_type: place.type,
      domain: place.domain,
      name: 'acme',
      state: 'valid',
      settings: JSON.stringify({ [awkward]: [1.5, null, { a: 1e300 }] }),
    })
    .execute()
  const { keyId, wrappedKey, sealed } = vault.seal(place, { api_token: 'canary-secret' })
  await query
    .insertInto('envelopes')
    .values({
      owner_id: place.owner,
      organization_id: place.organization,
      key_id: keyId,
      wrapped_key: wrappedKey,
      sealed,
    })
    .execute()
  await query
    .insertInto('webhooks')
    .values({ organization_id: place.organization, url: 'https://example.com', events: ['a'] })
    .execute()
  const { id } = await query
    .insertInto('registrations')
    .values({ source: 'entra-id', name: 'ours', attributes: '{}' })
    .returning('id')
    .executeTakeFirstOrThrow()
  await query
    .insertInto('registration_bindings')
    .values({
      registration_id: id,
      organization_id: place.organization,
      source: 'entra-id',
      domain: 'acme.com',
    })
    .execute()
  await addEvents({ query }, 450)
  await query.insertInto('rate_windows').values({ key: 'k', window_start: new Date(), taken: 1 }).execute()
}

const addEvents = ({ query }: Pick<Database, 'query'>, count: number) =>
  query
    .insertInto('audit_events')
    .values(
      Array.from({ length: count }, (_, index) => ({
        organization_id: place.organization,
        actor: 'cli',
        action: 'test',
        target: String(index),
        outcome: 'succeeded' as const,
        details: JSON.stringify({ awkward }),
      })),
    )
    .execute()

/** Two stays of a person, and a run that has read what is not applied yet. */
async function addEntities({ query }: Pick<Database, 'query'>): Promise<void> {
  const [first, then] = [new Date('2026-11-01T00:00:00.123Z'), new Date('2026-11-02T00:00:00Z')]
  const at = { config_id: place.owner, organization_id: place.organization }
  await query
    .insertInto('sync_states')
    .values({ ...at, marks: JSON.stringify({ users: awkward }), marks_revision: 1, complete_at: then })
    .execute()
  await query
    .insertInto('sync_runs')
    .values([
      { ...at, mode: 'full', status: 'succeeded', requested_by: 'system', reason: 'first', progress: '{}' },
      { ...at, mode: 'full', status: 'running', requested_by: 'cli', reason: 'request', progress: '{"a":1}' },
    ])
    .execute()
  await query.insertInto('entity_clocks').values({ organization_id: place.organization, at: then }).execute()
  await query
    .insertInto('entity_sightings')
    .values({ ...at, kind: 1, seen_at: then, open_count: 1 })
    .execute()
  for (const [from, to] of [
    [first, then.toISOString()],
    [then, 'infinity'],
  ] as const)
    await query
      .insertInto('entity_revisions')
      .values({
        ...at,
        kind: 1,
        entity_id: place.owner,
        first_seen_at: from,
        ended_at: sql`${to}::timestamptz`,
        opened_in: 1,
        content_hash: place.owner,
        uid: awkward,
        attributes: JSON.stringify({ name: awkward }),
        facts: '{}',
        group_uids: [awkward, 'b'],
        groups: '[]',
        activity: '{}',
        raw: '{}',
        terms: sql`array_to_tsvector(array[${awkward}])`,
      })
      .execute()
}

/** Something that waits to be told to the webhook. */
const addDelivery = ({ query }: Pick<Database, 'query'>) =>
  query
    .insertInto('webhook_deliveries')
    .columns(['webhook_id', 'organization_id', 'event', 'body'])
    .expression((from) =>
      from
        .selectFrom('webhooks')
        .select((take) => ['id', 'organization_id', take.val('e').as('event'), take.val('b').as('body')]),
    )
    .execute()

const kept = [
  'organizations',
  'keys',
  'integration_configs',
  'envelopes',
  'vault_keys',
  'registrations',
  'registration_bindings',
  'webhooks',
  'webhook_deliveries',
  'audit_events',
  'sync_states',
  'entity_clocks',
  'entity_sightings',
  'entity_revisions',
] as const

/** Everything that is stored, as PostgreSQL writes it. */
async function contentOf({ pool }: Database): Promise<Record<string, unknown[]>> {
  const content: Record<string, unknown[]> = {}
  for (const table of kept) {
    const { rows } = await pool.query(
      `select t::text as row from ${table === 'sync_states' ? '(select config_id, marks, complete_at from sync_states)' : table} t ${table === 'audit_events' ? "where action <> 'database.restore'" : ''} order by 1`,
    )
    content[table] = rows.map(({ row }) => row)
  }
  return content
}

const filled = freshDatabaseUrl().then(async (url) => {
  const database = await openOn(url)
  await fill(database)
  await addDelivery(database)
  await addEntities(database)
  const file = newFile()
  const summary = await backup(database, file, '1.2.3')
  return { database, file, summary }
})

test('a restored database holds what the backed-up one held', async () => {
  const { database, file, summary } = await filled
  assert.deepEqual(summary.vaultKeyIds, ['key-7'])
  const url = await emptyDatabaseUrl()
  const restored = await restore({ url, dataDirectory: nowhere }, file, {
    keep: keepable,
    vaultKeyIds: ['key-7'],
  })
  const copy = await openOn(url)
  assert.deepEqual(await contentOf(copy), await contentOf(database))
  assert.equal(restored.rows, summary.rows)
  assert.deepEqual(restored.missingVaultKeyIds, [])
  assert.equal(restored.release, '1.2.3')
  // What refers to what is watched again, and numbers go on where they were.
  await assert.rejects(
    copy.pool.query(`insert into registration_bindings values (gen_random_uuid(), $1, 'okta', 'x')`, [
      place.organization,
    ]),
    { code: '23503' },
  )
  await addEvents(copy, 1)
  const {
    rows: [sealed],
  } = await copy.pool.query('select key_id, wrapped_key, sealed from envelopes')
  assert.deepEqual(
    vault.open(place, { keyId: sealed.key_id, wrappedKey: sealed.wrapped_key, sealed: sealed.sealed }),
    { api_token: 'canary-secret' },
  )
})

test('nothing comes back active that the operator did not confirm, and the audit trail tells of it', async () => {
  const { file } = await filled
  const url = await emptyDatabaseUrl()
  const summary = await restore({ url, dataDirectory: nowhere }, file)
  assert.deepEqual(summary.active, { keys: 1, configurations: 1, webhooks: 1, bindings: 1 })
  assert.deepEqual(summary.kept, [])
  assert.deepEqual(summary.missingVaultKeyIds, ['key-7'])
  const { pool } = await openOn(url)
  const { rows } = await pool.query(`select
    (select count(*) from keys where revoked_at is null) as keys,
    (select revoked_at from keys where name = 'old') as "revokedAt",
    (select count(*) from integration_configs where enabled) as configurations,
    (select count(*) from webhooks where enabled) as webhooks,
    (select count(*) from webhook_deliveries where state = 'waiting') as deliveries,
    (select count(*) from registration_bindings) as bindings,
    (select details - 'taken_at' from audit_events where action = 'database.restore') as event`)
  assert.deepEqual(rows, [
    {
      keys: 0,
      revokedAt: new Date('2026-01-02T03:04:05.678Z'),
      configurations: 0,
      webhooks: 0,
      deliveries: 0,
      bindings: 0,
      event: { release: '1.2.3', rows: summary.rows, active: summary.active, kept: [] },
    },
  ])
})

test('a sync that was under way when the backup was taken has failed, and everything is read anew', async () => {
  const { file } = await filled
  const url = await emptyDatabaseUrl()
  await restore({ url, dataDirectory: nowhere }, file, { keep: keepable })
  const { pool } = await openOn(url)
  const { rows: runs } = await pool.query(
    `select reason, status, progress, error ->> 'code' as code, ended_at is not null as "isOver" from sync_runs order by reason`,
  )
  assert.deepEqual(runs, [
    { reason: 'first', status: 'succeeded', progress: {}, code: null, isOver: false },
    { reason: 'request', status: 'failed', progress: {}, code: 'sync_restored', isOver: true },
  ])
  const { rows: states } = await pool.query(
    'select next_full_at is not null as "isDue", marks is not null as "isMarked" from sync_states',
  )
  assert.deepEqual(states, [{ isDue: true, isMarked: true }])
})

test('a backup goes into an empty data directory of the embedded database', async () => {
  const { file } = await filled
  const dataDirectory = await mkdtemp(join(tmpdir(), 'credence-backup-embedded-'))
  try {
    await restore({ dataDirectory }, file)
    const database = await openDatabase({ dataDirectory })
    const { rows } = await database.pool.query('select name from organizations')
    const again = await backup(database, newFile(), '1.2.3')
    await database.close()
    assert.deepEqual(rows, [{ name: awkward }])
    assert.deepEqual(again.vaultKeyIds, ['key-7'])
    await assert.rejects(restore({ dataDirectory }, file), /the database is not empty/)
  } finally {
    await rm(dataDirectory, { recursive: true, force: true })
  }
})

test('a backup is for its owner alone, replaces no file, and holds no secret in plain', async () => {
  const { database, file } = await filled
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const before = await readFile(file)
  await assert.rejects(backup(database, file, '1.2.3'), /is there already; choose another name/)
  assert.deepEqual(await readFile(file), before)
  const text = gunzipSync(before).toString()
  const secret = Buffer.from('canary-secret')
  for (const spelling of ['utf8', 'hex', 'base64'] as const) {
    assert.equal(text.includes(secret.toString(spelling)), false)
  }
  assert.doesNotMatch(text, /"rate_windows"/)
})

test('a backup taken while others write is of one moment', async () => {
  const url = await emptyDatabaseUrl()
  const database = await openOn(url)
  await fill(database)
  let isOver = false
  const writing = (async () => {
    for (let number = 0; !isOver; number++) {
      await database.query.transaction().execute(async (query) => {
        const { id } = await query
          .insertInto('organizations')
          .values({ name: `n${number}` })
          .returning('id')
          .executeTakeFirstOrThrow()
        await query
          .insertInto('webhooks')
          .values({ organization_id: id, url: 'https://example.com', events: [] })
          .execute()
      })
    }
  })()
  const file = newFile()
  await backup(database, file, '1.2.3')
  isOver = true
  await writing
  const copyUrl = await emptyDatabaseUrl()
  await restore({ url: copyUrl, dataDirectory: nowhere }, file)
  const { pool } = await openOn(copyUrl)
  const { rows } = await pool.query(
    'select (select count(*) from organizations) as organizations, (select count(*) from webhooks) as webhooks',
  )
  assert.equal(rows[0].organizations, rows[0].webhooks)
})

test('a backup of an older release is brought up to date on the way', async () => {
  const url = await emptyDatabaseUrl()
  const older = await connect({ url, dataDirectory: nowhere })
  open.push(older)
  const [[first, migration] = []] = Object.entries(migrations)
  assert.ok(first !== undefined && migration !== undefined)
  await migrate(older.query, { [first]: migration })
  await fill(older)
  const file = newFile()
  await backup(older, file, '1.0.0')

  const copyUrl = await emptyDatabaseUrl()
  const target = { url: copyUrl, dataDirectory: nowhere }
  assert.equal((await restore(target, file)).release, '1.0.0')
  const copy = await openOn(copyUrl)
  assert.deepEqual(await copy.query.selectFrom('organizations').select('name').execute(), [{ name: awkward }])
})

test('a database that holds anything is not restored into', async () => {
  const { file } = await filled
  const url = await emptyDatabaseUrl()
  const database = await openOn(url)
  await database.query.insertInto('organizations').values({ name: 'here' }).execute()
  await assert.rejects(restore({ url, dataDirectory: nowhere }, file), {
    name: 'BackupError',
    message: /not empty \(there are rows in organizations\)/,
  })
  const { rows } = await database.pool.query('select name from organizations')
  assert.deepEqual(rows, [{ name: 'here' }])
})

test('a database with tables of someone else is not restored into, and keeps them', async () => {
  const { file } = await filled
  const url = await emptyDatabaseUrl()
  const client = new pg.Client(url)
  await client.connect()
  await client.query('create table theirs as select 1 as number')
  await assert.rejects(
    restore({ url, dataDirectory: nowhere }, file),
    /not empty \(there are rows in theirs\)/,
  )
  assert.deepEqual((await client.query('select number from theirs')).rows, [{ number: 1 }])
  assert.deepEqual((await client.query("select to_regclass('keys') as keys")).rows, [{ keys: null }])
  await client.end()
})

const changed: readonly (readonly [string, (file: Buffer) => Buffer, RegExp])[] = [
  ['cut off', (file) => file.subarray(0, file.length - 100), /is cut off/],
  ['without its end', (file) => gzipSync(gunzipSync(file).subarray(0, -90)), /is cut off|is damaged/],
  [
    'changed in a row',
    (file) => gzipSync(gunzipSync(file).toString().replace('integrations_read', 'manage_integrations')),
    /is damaged/,
  ],
  [
    'with a row more behind its proof',
    (file) => gzipSync(Buffer.concat([gunzipSync(file), Buffer.from('["x"]\n')])),
    /is damaged/,
  ],
  ['not compressed', (file) => gunzipSync(file), /is damaged or not a backup/],
  ['empty', () => Buffer.alloc(0), /is cut off/],
  ['of something else', () => gzipSync('{"format":"other"}\n'), /is cut off|is damaged/],
]
for (const [what, change, said] of changed) {
  test(`a backup that is ${what} is refused before anything is touched`, async () => {
    const { file } = await filled
    const bad = newFile()
    await writeFile(bad, change(await readFile(file)))
    const dataDirectory = join(folder, 'untouched')
    await assert.rejects(restore({ dataDirectory }, bad), { name: 'BackupError', message: said })
    assert.equal((await readdir(folder)).includes('untouched'), false)
  })
}

test('a backup of a newer release is named', async () => {
  const { file } = await filled
  const lines = gunzipSync(await readFile(file))
    .toString()
    .trimEnd()
    .split('\n')
    .slice(0, -1)
  const header = JSON.parse(lines[0] ?? '')
  lines[0] = JSON.stringify({ ...header, migrations: [...header.migrations, '9999-newer'] })
  const text = `${lines.join('\n')}\n`
  const sha256 = createHash('sha256').update(text).digest('hex')
  const newer = newFile()
  await writeFile(newer, gzipSync(`${text}${JSON.stringify({ sha256 })}\n`))
  await assert.rejects(restore({ dataDirectory: join(folder, 'untouched') }, newer), {
    name: 'BackupError',
    message: /newer release \(1\.2\.3\): it has 9999-newer/,
  })
})

test('a restore that fails in the middle leaves an empty database, which can be restored into', async () => {
  const { file } = await filled
  const url = await emptyDatabaseUrl()
  const lines = gunzipSync(await readFile(file))
    .toString()
    .trimEnd()
    .split('\n')
    .slice(0, -1)
  const webhook = lines.indexOf('{"table":"webhooks"}') + 1
  lines[webhook] = (lines[webhook] ?? '').replace(place.organization, place.owner)
  const text = `${lines.join('\n')}\n`
  const sha256 = createHash('sha256').update(text).digest('hex')
  const bad = newFile()
  await writeFile(bad, gzipSync(`${text}${JSON.stringify({ sha256 })}\n`))
  const target = { url, dataDirectory: nowhere }
  await assert.rejects(restore(target, bad), {
    name: 'BackupError',
    message: /do not fit this database \(\d{5}\); nothing was restored/,
  })
  await restore(target, file)
})

test('a file that is not there, and a folder that is not, are named', async () => {
  const { database } = await filled
  await assert.rejects(restore({ dataDirectory: nowhere }, join(folder, 'none')), /no such file or folder/)
  await assert.rejects(backup(database, join(folder, 'none', 'x'), '1'), /no such file or folder/)
})
