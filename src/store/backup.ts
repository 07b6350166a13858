/** Writes all that is stored into one file, and makes an empty database of it again. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { access, rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { type Kysely, sql, type Transaction } from 'kysely'
import { z } from 'zod'
import { connect, type Database, type DatabaseOptions, withLongStatements } from './database.ts'
import { appliedMigrations, applyMigrations, migrations } from './migrate.ts'
import type { Schema } from './schema.ts'
import { DatabaseUnavailable, databaseCode, isUnavailable, unavailable } from './unavailable.ts'

/*
 * The file is NDJSON under gzip: a header; for each table a line that names it, then a line for each row, an array of
 * PostgreSQL's own text for each column, so that every type comes back as it was; at the end the SHA-256 of all lines
 * before. Secrets are in it as they are stored: sealed, under keys that are not in it.
 */

/** The backup cannot be written or restored; the message says why, and what to do. */
export class BackupError extends Error {
  override readonly name = 'BackupError'
}

const headerSchema = z.object({
  format: z.literal('credence-backup'),
  version: z.literal(1),
  /** Of Credence, which wrote it. */
  release: z.string(),
  taken_at: z.iso.datetime(),
  migrations: z.array(z.string()).min(1),
  /** Without these vault keys the secrets do not open. */
  vault_key_ids: z.array(z.string()),
  tables: z.array(z.object({ name: z.string(), columns: z.array(z.string()), rows: z.int() })),
  /** Last numbers given, so that none is given twice. */
  sequences: z.array(z.object({ table: z.string(), column: z.string(), last: z.int() })),
})
type Header = z.infer<typeof headerSchema>
type Table = Header['tables'][number]

export interface BackupSummary {
  readonly takenAt: string
  readonly rows: number
  readonly vaultKeyIds: readonly string[]
}

/** What a backup may bring back as active. Without a word of the operator it brings back none of it. */
export const keepable = ['keys', 'configurations', 'webhooks', 'bindings'] as const
export type Keepable = (typeof keepable)[number]

export interface RestoreOptions {
  /** What the operator confirms to be as it should be now. */
  readonly keep?: readonly Keepable[]
  /** Vault keys that are configured here. */
  readonly vaultKeyIds?: readonly string[]
}

export interface RestoreSummary {
  readonly takenAt: string
  /** The release that wrote the backup. */
  readonly release: string
  readonly rows: number
  /** What was active in the backup, and is now only where it was kept. */
  readonly active: Readonly<Record<Keepable, number>>
  readonly kept: readonly Keepable[]
  readonly vaultKeyIds: readonly string[]
  /** Those of them that are not configured here: without them the server does not start. */
  readonly missingVaultKeyIds: readonly string[]
}

/** Rows asked for, and inserted, at a time. */
const rowsAtATime = 200
/** A longer line is not ours, in characters. */
const longestLine = 64 * 1024 * 1024

/**
 * Writes what is stored at this moment to a new `file`, for its owner's eyes alone. Others go on meanwhile.
 *
 * @throws BackupError, DatabaseUnavailable
 */
export async function backup(database: Database, file: string, release: string): Promise<BackupSummary> {
  const isThere = await access(file).then(
    () => true,
    () => false,
  )
  if (isThere) throw new BackupError(`${file} is there already; choose another name`)
  const half = `${file}.partial-${randomBytes(4).toString('hex')}`
  try {
    const header = await withLongStatements(database, (query) => writeAll(query, half, release))
    await rename(half, file)
    return {
      takenAt: header.taken_at,
      rows: header.tables.reduce((sum, { rows }) => sum + rows, 0),
      vaultKeyIds: header.vault_key_ids,
    }
  } catch (error) {
    await rm(half, { force: true })
    throw told(error, file)
  }
}

async function writeAll(query: Kysely<Schema>, file: string, release: string): Promise<Header> {
  return query
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (snapshot) => {
      const header = await readHeader(snapshot, release)
      await pipeline(
        Readable.from(hashed(linesOf(snapshot, header))),
        createGzip(),
        createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true }),
      )
      return header
    })
}

/** The lines in pieces, and the line that proves them. */
async function* hashed(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  const hash = createHash('sha256')
  for await (const piece of pieces) {
    hash.update(piece)
    yield piece
  }
  yield `${JSON.stringify({ sha256: hash.digest('hex') })}\n`
}

async function* linesOf(snapshot: Transaction<Schema>, header: Header): AsyncGenerator<string> {
  // How PostgreSQL writes values depends on these.
  for (const [name, value] of [
    ['TimeZone', 'UTC'],
    ['DateStyle', 'ISO, YMD'],
    ['IntervalStyle', 'postgres'],
    ['bytea_output', 'hex'],
    ['extra_float_digits', '3'],
  ]) {
    await sql`select set_config(${name}, ${value}, true)`.execute(snapshot)
  }
  yield `${JSON.stringify(header)}\n`
  for (const { name, columns } of header.tables) {
    yield `${JSON.stringify({ table: name })}\n`
    const values = sql.join(columns.map((column) => sql`${sql.ref(column)}::text`))
    await sql`declare table_rows no scroll cursor for
      select to_json(array[${values}])::text as line from ${sql.table(name)}`.execute(snapshot)
    for (;;) {
      const { rows } = await sql<{ line: string }>`
        fetch ${sql.lit(rowsAtATime)} from table_rows`.execute(snapshot)
      if (rows.length === 0) break
      yield rows.map(({ line }) => `${line}\n`).join('')
    }
    await sql`close table_rows`.execute(snapshot)
  }
}

async function readHeader(snapshot: Transaction<Schema>, release: string): Promise<Header> {
  const applied = await appliedMigrations(snapshot)
  if (applied.length === 0)
    throw new BackupError('there is nothing to back up: the database has no tables yet')
  const tables = await listTables(snapshot)
  const counted: Table[] = []
  for (const { name, columns } of tables) {
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from ${sql.table(name)}`.execute(snapshot)
    counted.push({ name, columns: columns.map((column) => column.name), rows: rows[0]?.count ?? 0 })
  }
  const { rows: keys } = await sql<{ id: string }>`
    select distinct key_id as id from envelopes order by id`.execute(snapshot)
  const { rows: now } = await sql<{ at: Date }>`select now() as at`.execute(snapshot)
  return {
    format: 'credence-backup',
    version: 1,
    release,
    taken_at: (now[0]?.at ?? new Date()).toISOString(),
    migrations: applied,
    vault_key_ids: keys.map(({ id }) => id),
    tables: counted,
    sequences: await listSequences(snapshot),
  }
}

interface TableOfSchema {
  readonly name: string
  readonly columns: readonly { readonly name: string; readonly type: string }[]
}

/** What is kept: not unlogged tables, which a crash may empty, nor the jobs, which are made anew and have a schema of their own. */
async function listTables<T>(query: Kysely<T>): Promise<TableOfSchema[]> {
  const { rows } = await sql<TableOfSchema>`
    select c.relname as name,
      json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
        order by a.attnum) as columns
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    where c.relnamespace = current_schema()::regnamespace
      and c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
      and c.relname <> 'schema_migrations'
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    group by c.relname order by c.relname`.execute(query)
  return rows
}

async function listSequences<T>(query: Kysely<T>): Promise<Header['sequences']> {
  const { rows } = await sql<Header['sequences'][number]>`
    select c.relname as table, a.attname as column, s.last_value as last
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_sequences s on format('%I.%I', s.schemaname, s.sequencename) =
      pg_get_serial_sequence(format('%I.%I', current_schema(), c.relname), a.attname)
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and s.last_value is not null
    order by 1, 2`.execute(query)
  return rows
}

/**
 * Fills an empty database from `file`, wholly or not at all. What could act in the outside world comes back switched
 * off unless it is kept: keys that were in force are revoked, configurations and webhooks are disabled, the operator's
 * registrations are bound to nobody. What was revoked or deleted since the backup was taken does not revive unseen.
 *
 * @throws BackupError, DatabaseUnavailable, EmbeddedPostgresError
 */
export async function restore(
  target: Pick<DatabaseOptions, 'url' | 'dataDirectory'>,
  file: string,
  options: RestoreOptions = {},
): Promise<RestoreSummary> {
  // Read to its end before anything is touched: a damaged file makes no database.
  const header = await verify(file)
  const newer = header.migrations.filter((name) => !Object.hasOwn(migrations, name))
  if (newer.length > 0) {
    throw new BackupError(
      `${file} was written by a newer release (${header.release}): it has ${newer.join(', ')}; restore it with that release or a later one`,
    )
  }
  const database = await connect(target)
  try {
    return await withLongStatements(database, (query) =>
      query.transaction().execute((transaction) => fill(transaction, file, header, options)),
    )
  } catch (error) {
    throw told(error, file)
  } finally {
    await database.close()
  }
}

async function verify(file: string): Promise<Header> {
  try {
    const reading = readBackup(file)
    const { value: header } = await reading.next()
    for await (const _ of reading);
    return headerSchema.parse(header)
  } catch (error) {
    throw told(error, file)
  }
}

/** The header, then each table's name and rows; all of it proved when the last one was given. */
async function* readBackup(file: string): AsyncGenerator<unknown> {
  const hash = createHash('sha256')
  let proof: string | undefined
  for await (const line of readLines(file)) {
    if (proof !== undefined) throw damaged(file)
    const value: unknown = JSON.parse(line)
    if (isProof(value)) {
      proof = value.sha256
      continue
    }
    hash.update(line).update('\n')
    yield value
  }
  if (proof === undefined) throw new BackupError(`${file} is cut off; restore another backup`)
  if (proof !== hash.digest('hex')) throw damaged(file)
}

const isProof = (value: unknown): value is { sha256: string } =>
  typeof value === 'object' && value !== null && 'sha256' in value && typeof value.sha256 === 'string'

async function* readLines(file: string): AsyncGenerator<string> {
  const input = createReadStream(file)
  const text = createGunzip()
  input.on('error', (error) => text.destroy(error))
  try {
    let rest = ''
    for await (const piece of input.pipe(text).setEncoding('utf8') as AsyncIterable<string>) {
      const lines = (rest + piece).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > longestLine) throw damaged(file)
      yield* lines
    }
    if (rest !== '') throw new BackupError(`${file} is cut off; restore another backup`)
  } finally {
    input.destroy()
    text.destroy()
  }
}

const damaged = (file: string) =>
  new BackupError(`${file} is damaged or not a backup of Credence; restore another one`)

async function fill(
  transaction: Transaction<Schema>,
  file: string,
  header: Header,
  { keep = [], vaultKeyIds = [] }: RestoreOptions,
): Promise<RestoreSummary> {
  await makeTables(transaction, header)
  const foreignKeys = await dropForeignKeys(transaction)
  const rows = await load(transaction, file, header)
  for (const { table, name, definition } of foreignKeys) {
    await sql`alter table ${sql.table(table)} add constraint ${sql.ref(name)} ${sql.raw(definition)}`.execute(
      transaction,
    )
  }
  for (const { table, column, last } of header.sequences) {
    await sql`select setval(pg_get_serial_sequence(format('%I', ${table}::text), ${column}), ${last}::bigint)`.execute(
      transaction,
    )
  }
  await applyMigrations(transaction, migrations)
  await endRuns(transaction)
  const active = await holdBack(transaction, keep)
  const summary = {
    takenAt: header.taken_at,
    release: header.release,
    rows,
    active,
    kept: [...keep],
    vaultKeyIds: header.vault_key_ids,
    missingVaultKeyIds: header.vault_key_ids.filter((id) => !vaultKeyIds.includes(id)),
  }
  const { takenAt, release, kept } = summary
  await transaction
    .insertInto('audit_events')
    .values({
      actor: 'cli',
      action: 'database.restore',
      outcome: 'succeeded',
      details: JSON.stringify({ taken_at: takenAt, release, rows, active, kept }),
    })
    .execute()
  return summary
}

/** The tables as they were when the backup was taken; refuses those that hold anything. */
async function makeTables(transaction: Transaction<Schema>, header: Header): Promise<void> {
  const before = await appliedMigrations(transaction)
  if (before.length > 0 && before.join() !== header.migrations.join()) {
    throw new BackupError(
      'the database has the tables of another release than the backup; restore into a database that holds nothing',
    )
  }
  const found = (await listTables(transaction)).map(({ name }) => name)
  const wanted = Object.entries(migrations).filter(([name]) => header.migrations.includes(name))
  await applyMigrations(transaction, Object.fromEntries(wanted))
  const tables = (await listTables(transaction)).map(({ name }) => name)
  await sql`lock table ${sql.join(tables.map((name) => sql.table(name)))} in access exclusive mode`.execute(
    transaction,
  )
  for (const name of tables) {
    const { rows } = await sql`select from ${sql.table(name)} limit 1`.execute(transaction)
    if (rows.length === 0) continue
    // What a migration has put there just now is in the backup too.
    if (!found.includes(name)) await sql`delete from ${sql.table(name)}`.execute(transaction)
    else {
      throw new BackupError(
        `the database is not empty (there are rows in ${name}); restore into one that holds nothing`,
      )
    }
  }
}

interface ForeignKey {
  readonly table: string
  readonly name: string
  readonly definition: string
}

/** Rows come in any order: what refers to what is checked once, when all are there. */
async function dropForeignKeys(transaction: Transaction<Schema>): Promise<ForeignKey[]> {
  const { rows } = await sql<ForeignKey>`
    select c.relname as table, k.conname as name, pg_get_constraintdef(k.oid) as definition
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and k.conparentid = 0 and c.relnamespace = current_schema()::regnamespace`.execute(
    transaction,
  )
  for (const { table, name } of rows) {
    await sql`alter table ${sql.table(table)} drop constraint ${sql.ref(name)}`.execute(transaction)
  }
  return rows
}

async function load(transaction: Transaction<Schema>, file: string, header: Header): Promise<number> {
  const tables = await listTables(transaction)
  let total = 0
  let insert: ((rows: unknown[]) => Promise<void>) | undefined
  let waiting: unknown[] = []
  const flush = async () => {
    if (waiting.length > 0) await insert?.(waiting)
    waiting = []
  }
  const reading = readBackup(file)
  await reading.next()
  for await (const value of reading) {
    if (Array.isArray(value)) {
      waiting.push(value)
      total += 1
      if (waiting.length >= rowsAtATime) await flush()
      continue
    }
    await flush()
    const { table } = z.object({ table: z.string() }).parse(value)
    insert = inserter(transaction, file, tables, header, table)
  }
  await flush()
  const expected = header.tables.reduce((sum, { rows }) => sum + rows, 0)
  if (total !== expected) throw damaged(file)
  return total
}

function inserter(
  transaction: Transaction<Schema>,
  file: string,
  tables: readonly TableOfSchema[],
  header: Header,
  name: string,
): (rows: unknown[]) => Promise<void> {
  const there = tables.find((table) => table.name === name)
  // Names and types are taken from the database, so that a file can say nothing in SQL.
  const columns = header.tables
    .find((table) => table.name === name)
    ?.columns.map((column) => there?.columns.find((own) => own.name === column))
  if (there === undefined || columns === undefined || columns.includes(undefined)) {
    throw new BackupError(`${file} holds a table or column that this release does not know: ${clean(name)}`)
  }
  const known = columns.filter((column) => column !== undefined)
  const names = sql.join(known.map((column) => sql.ref(column.name)))
  const values = sql.join(known.map(({ type }, index) => sql`(line->>${sql.lit(index)})::${sql.raw(type)}`))
  return async (rows) => {
    await sql`insert into ${sql.table(there.name)} (${names}) overriding system value
      select ${values} from jsonb_array_elements(${JSON.stringify(rows)}::jsonb) as line`.execute(transaction)
  }
}

const clean = (name: string) => name.replace(/[^\w.-]/g, '?').slice(0, 63)

/** What runs had read and not applied is in no backup: those that were not over begin anew, as whole runs. */
async function endRuns(transaction: Transaction<Schema>): Promise<void> {
  const ended = await transaction
    .updateTable('sync_runs')
    .set({
      status: 'failed',
      ended_at: sql<Date>`now()`,
      progress: '{}',
      error: JSON.stringify({
        code: 'sync_restored',
        title: 'The database was restored from a backup',
        explanation: 'The run was not over when the backup was taken. Nothing of it was applied.',
        remedy: 'Nothing is to be done: a full run is due.',
      }),
    })
    .where('status', 'in', ['queued', 'running', 'quarantined'])
    .returning('config_id')
    .execute()
  if (ended.length === 0) return
  await transaction
    .updateTable('sync_states')
    .set({ next_full_at: sql<Date>`now()` })
    .where(
      'config_id',
      'in',
      ended.map(({ config_id }) => config_id),
    )
    .execute()
}

/** Counts what is active, and switches it off unless it is kept. */
async function holdBack(
  transaction: Transaction<Schema>,
  keep: readonly Keepable[],
): Promise<Record<Keepable, number>> {
  const isKept = (what: Keepable) => keep.includes(what)
  const { rows } = await sql<Record<Keepable, number>>`select
    (select count(*) from keys where revoked_at is null) as keys,
    (select count(*) from integration_configs where enabled) as configurations,
    (select count(*) from webhooks where enabled) as webhooks,
    (select count(*) from registration_bindings) as bindings`.execute(transaction)
  const active = rows[0] ?? { keys: 0, configurations: 0, webhooks: 0, bindings: 0 }
  if (!isKept('keys')) {
    await transaction
      .updateTable('keys')
      .set({ revoked_at: sql<Date>`now()` })
      .where('revoked_at', 'is', null)
      .execute()
  }
  if (!isKept('configurations')) {
    await transaction.updateTable('integration_configs').set({ enabled: false }).execute()
  }
  if (!isKept('webhooks')) {
    await transaction.updateTable('webhooks').set({ enabled: false }).execute()
    // Of the past too: most of them were delivered since.
    await transaction
      .updateTable('webhook_deliveries')
      .set({
        state: 'dead',
        next_attempt_at: null,
        ended_at: sql<Date>`now()`,
        last_fault: 'the database was restored from a backup',
      })
      .where('state', '=', 'waiting')
      .execute()
  }
  if (!isKept('bindings')) await transaction.deleteFrom('registration_bindings').execute()
  return active
}

const fileReasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'this user may not use it',
  EPERM: 'this user may not use it',
  EISDIR: 'it is a folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'it grows larger than this user may make a file',
  EROFS: 'it is on a read-only file system',
}

/** In words without a row's values. */
function told(error: unknown, file: string): unknown {
  if (error instanceof BackupError || error instanceof DatabaseUnavailable) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = fileReasons[code]
  if (reason !== undefined) return new BackupError(`${file} cannot be used: ${reason} (${code})`)
  if (code === 'Z_BUF_ERROR') return new BackupError(`${file} is cut off; restore another backup`)
  if (code.startsWith('Z_') || error instanceof SyntaxError || error instanceof z.ZodError)
    return damaged(file)
  if (isUnavailable(error)) return unavailable(error)
  const sqlState = databaseCode(error)
  return sqlState === undefined
    ? error
    : new BackupError(`the rows of ${file} do not fit this database (${sqlState}); nothing was restored`)
}
