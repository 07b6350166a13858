/** The database: ours by default, the operator's by DATABASE_URL; migrated when it is opened. */
import { Kysely, PostgresDialect, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import pg from 'pg'
import { type Connection, openEmbeddedPostgres } from './embedded-postgres.ts'
import * as configurations from './migrations/0001-configurations.ts'
import type { Schema } from './schema.ts'

/** Every migration, in order. Forward only; each is safe while the previous release still runs. */
const migrations: Readonly<Record<string, Pick<Migration, 'up'>>> = {
  '0001-configurations': configurations,
}

export interface DatabaseOptions {
  /** The operator's own PostgreSQL; the embedded one in `dataDirectory` when absent. */
  readonly url?: string
  readonly dataDirectory: string
  /** Connections of this process at most. */
  readonly poolSize?: number
}

export interface Database {
  readonly kind: 'embedded' | 'external'
  readonly query: Kysely<Schema>
  readonly pool: pg.Pool
  /** For a library that opens connections of its own. */
  readonly connection: pg.PoolConfig
  /** Resolves when the database answers; rejects with what is wrong, in words without secrets. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** The database cannot be used now; the message names what is wrong and never the address's password. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable'
}

// Counts and ids of bigint columns are within 2^53 by construction; as strings they would compare as text.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? Number
      : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser'],
}

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const embedded = options.url === undefined ? await openEmbeddedPostgres(options.dataDirectory) : undefined
  const connection: pg.PoolConfig = {
    ...(embedded === undefined
      ? urlConnection(options.url ?? '')
      : (embedded.connection satisfies Connection)),
    application_name: 'credence',
    connectionTimeoutMillis: 5_000,
    // A half-open socket must not hold a request for as long as TCP would.
    query_timeout: 15_000,
    keepAlive: true,
    types,
  }
  const pool = new pg.Pool({ ...connection, max: options.poolSize ?? 10, idleTimeoutMillis: 30_000 })
  // An idle connection that breaks is replaced when it is needed; without a listener it would end the process.
  pool.on('error', () => undefined)
  const query = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  const close = async () => {
    await query.destroy()
    await embedded?.stop()
  }
  try {
    await migrate(query)
  } catch (error) {
    await close()
    throw error
  }
  return {
    kind: embedded === undefined ? 'external' : 'embedded',
    query,
    pool,
    connection,
    ping: async () => {
      await sql`select 1`.execute(query).catch((error) => {
        throw unavailable(error)
      })
    },
    close,
  }
}

function urlConnection(url: string): pg.PoolConfig {
  // `new URL` and pg quote the whole address, password included, in their errors.
  if (!/^postgres(?:ql)?:\/\/./.test(url) || !URL.canParse(url)) {
    throw new DatabaseUnavailable(
      'DATABASE_URL: expected an address such as postgres://user:password@host:5432/database',
    )
  }
  return { connectionString: url }
}

/** Longest wait of a migration for a lock that others hold: then it yields and tries again, so that they go on. */
const lockTimeout = '2s'
const migrationPatienceMs = 60_000

/** Brings the schema up to date. Any number of nodes may start at once: one migrates, the others wait. */
async function migrate(query: Kysely<Schema>): Promise<void> {
  const deadline = performance.now() + migrationPatienceMs
  for (;;) {
    const { error } = await query
      .connection()
      .execute(async (one) => {
        await sql`select set_config('lock_timeout', ${lockTimeout}, false)`.execute(one)
        const migrator = new Migrator({
          db: one,
          provider: { getMigrations: async () => ({ ...migrations }) },
        })
        const result = await migrator.migrateToLatest().catch((thrown: unknown) => ({ error: thrown }))
        await sql`select set_config('lock_timeout', '0', false)`.execute(one).catch(() => undefined)
        return result
      })
      .catch((thrown: unknown) => ({ error: thrown }))
    if (error === undefined) return
    if (!isPassing(error) || performance.now() > deadline) throw unavailable(error)
  }
}

/** 55P03: the lock was not had in time; 40P01 and 40001: the transaction met another. */
const isPassing = (error: unknown) => ['55P03', '40P01', '40001'].includes(codeOf(error) ?? '')

/** What an administrator is told of a database that cannot be used. */
export function unavailable(error: unknown): DatabaseUnavailable {
  if (error instanceof DatabaseUnavailable) return error
  const code = codeOf(error)
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens at the address of the database',
    ENOTFOUND: "the database's host name is not known",
    ETIMEDOUT: 'the database does not answer',
    '28P01': 'the database refuses the password',
    '28000': 'the database refuses the user',
    '3D000': 'the database of that name does not exist',
    '42501': 'the database user lacks a permission',
    '53100': 'the disk of the database is full',
    '53300': 'the database has no connection left',
    '57P03': 'the database is starting or recovering',
  }
  return new DatabaseUnavailable(
    `${words[code ?? ''] ?? 'the database cannot be used'} (${code ?? 'no code'})`,
    { cause: new Error(code) },
  )
}

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined
