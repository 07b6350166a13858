/** The database: ours by default, the operator's by DATABASE_URL; migrated when it is opened. */
import { setTimeout as wait } from 'node:timers/promises'
import {
  type IsolationLevel,
  Kysely,
  PostgresDialect,
  type PostgresPool,
  sql,
  type Transaction,
} from 'kysely'
import pg from 'pg'
import { StoreClient } from './client.ts'
import { openEmbeddedPostgres } from './embedded-postgres.ts'
import { migrate } from './migrate.ts'
import { createPreparation } from './prepared.ts'
import type { Schema } from './schema.ts'
import {
  DatabaseUnavailable,
  databaseCode,
  isConflict,
  isLost,
  isUnavailable,
  unavailable,
  unavailableBy,
} from './unavailable.ts'

export { DatabaseUnavailable, isUnavailable, unavailable } from './unavailable.ts'

export interface DatabaseOptions {
  /** The operator's own PostgreSQL; the embedded one in `dataDirectory` when absent. */
  readonly url?: string
  readonly dataDirectory: string
  /** Connections of this process at most. */
  readonly poolSize?: number
  /** How long a statement may take, in milliseconds. */
  readonly statementTimeoutMs?: number
}

export interface Database {
  readonly kind: 'embedded' | 'external'
  /** Throws DatabaseUnavailable for what is the database's state, and pg's DatabaseError for what the statement did. */
  readonly query: Kysely<Schema>
  readonly pool: pg.Pool
  /** For a library that opens connections of its own. */
  readonly connection: pg.PoolConfig
  /** Resolves when the database answers; rejects with what is wrong, in words without secrets. */
  ping(): Promise<void>
  close(): Promise<void>
}

const connectTimeoutMs = 5_000
/** A half-open socket must not hold a request for as long as TCP would. */
const defaultStatementTimeoutMs = 15_000
/** Migrations, backups and restores work on whole tables. */
const longStatementTimeoutMs = 600_000
const closePatienceMs = 5_000

// Counts and ids of bigint columns are within 2^53 by construction; as strings they would compare as text.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? Number
      : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser'],
}

/** @throws DatabaseUnavailable, EmbeddedPostgresError */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const opened = await connect(options)
  try {
    await withLongStatements(opened, migrate)
  } catch (error) {
    await opened.close()
    throw error
  }
  return opened
}

/** The same without migrating. */
export async function connect(options: DatabaseOptions): Promise<Database> {
  const external = options.url === undefined ? undefined : urlConnection(options.url)
  const embedded = external === undefined ? await openEmbeddedPostgres(options.dataDirectory) : undefined
  // Nothing here becomes a parameter of the session: PgBouncer refuses those it does not know.
  const connection: pg.PoolConfig = {
    ...external,
    ...embedded?.connection,
    Client: embedded?.Client ?? StoreClient,
    application_name: 'credence',
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: options.statementTimeoutMs ?? defaultStatementTimeoutMs,
    keepAlive: true,
    types,
  }
  const pool = new pg.Pool({ ...connection, max: options.poolSize ?? 10, idleTimeoutMillis: 30_000 })
  // An idle connection that breaks is replaced when it is needed; without a listener it would end the process.
  pool.on('error', () => undefined)
  const open = new Set<pg.PoolClient>()
  pool.on('connect', (client) => open.add(client))
  pool.on('remove', (client) => open.delete(client))
  // What is prepared belongs to a session, and a pooler may stand before a database that is not ours.
  const query = kyselyOn(pool, embedded && createPreparation())
  let closing: Promise<void> | undefined
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
    close() {
      closing ??= (async () => {
        const patience = AbortSignal.timeout(closePatienceMs)
        patience.addEventListener('abort', () => {
          for (const client of open)
            if (client instanceof StoreClient) client.hangUp(unavailableBy('connection_lost'))
        })
        await query.destroy()
        await embedded?.stop()
      })()
      return closing
    },
  }
}

function urlConnection(url: string): pg.PoolConfig {
  // `new URL` and pg quote the whole address, password included, in their errors.
  if (!/^postgres(?:ql)?:\/\/./.test(url) || !URL.canParse(url)) {
    throw new DatabaseUnavailable(
      'DATABASE_URL: expected an address such as postgres://user:password@host:5432/database',
      'no_address',
    )
  }
  return { connectionString: url }
}

/** Runs `work` on a connection of its own, whose statements may take ten minutes each. */
export async function withLongStatements<T>(
  { connection }: Database,
  work: (query: Kysely<Schema>) => Promise<T>,
): Promise<T> {
  const pool = new pg.Pool({ ...connection, query_timeout: longStatementTimeoutMs, max: 1 })
  pool.on('error', () => undefined)
  const query = kyselyOn(pool)
  try {
    return await work(query)
  } finally {
    await query.destroy()
  }
}

const kyselyOn = (pool: pg.Pool, nameOf?: ReturnType<typeof createPreparation>) =>
  new Kysely<Schema>({ dialect: new PostgresDialect({ pool: honest(pool, nameOf) }) })

/**
 * The pool as Kysely sees it: errors are told apart, and a connection that failed once is not used again.
 *
 * @param nameOf under which name a statement is prepared; none is without it
 */
function honest(pool: pg.Pool, nameOf?: ReturnType<typeof createPreparation>): PostgresPool {
  return {
    options: pool.options,
    async connect() {
      const client = await pool.connect().catch((error: unknown) => {
        throw unavailable(error)
      })
      let broken: unknown
      return {
        query: (async (text: string, values: unknown[]) => {
          // What is asked of it after a failure, a rollback, would wait for what does not come.
          if (broken !== undefined) throw broken
          try {
            const name = await nameOf?.(text, (asked) => client.query(asked))
            return await client.query(name === undefined ? { text, values } : { name, text, values })
          } catch (error) {
            const code = databaseCode(error)
            const told = isUnavailable(error) && !isConflict(code) ? unavailable(error) : error
            if (code === 'query_timeout' || isLost(code)) broken = told
            if (code === 'query_timeout' && client instanceof StoreClient) client.hangUp(unavailableBy(code))
            throw told
          }
        }) as unknown as Awaited<ReturnType<PostgresPool['connect']>>['query'],
        release: (isDiscarded) => client.release(isDiscarded === true || broken !== undefined),
      }
    },
    end: () => pool.end(),
  }
}

/** How long a transaction is repeated before its caller is told, in milliseconds. */
const repeatForMs = 5_000
const longestPauseMs = 250

export interface TransactionOptions {
  readonly isolation?: IsolationLevel
}

/**
 * Runs `work` in a transaction. It runs again from its beginning when it met another transaction or the connection was
 * lost, unless the commit was already sent: `work` must have no effect outside the transaction.
 *
 * @throws DatabaseUnavailable with code `commit_unknown` when the connection was lost while it was committed
 */
export async function inTransaction<T>(
  { query }: Pick<Database, 'query'>,
  work: (transaction: Transaction<Schema>) => Promise<T>,
  { isolation = 'read committed' }: TransactionOptions = {},
): Promise<T> {
  const givesUpAt = performance.now() + repeatForMs
  for (let attempt = 1; ; attempt++) {
    let isCommitting = false
    try {
      return await query
        .transaction()
        .setIsolationLevel(isolation)
        .execute(async (transaction) => {
          const result = await work(transaction)
          isCommitting = true
          return result
        })
    } catch (error) {
      const code = databaseCode(error)
      if (isCommitting && (isLost(code) || code === 'query_timeout')) {
        throw unavailableBy('commit_unknown')
      }
      if (!(isConflict(code) || isLost(code)) || performance.now() > givesUpAt) {
        throw isUnavailable(error) ? unavailable(error) : error
      }
      // Not in step with whom it met.
      await wait(Math.min(longestPauseMs, 5 * 2 ** attempt) * Math.random())
    }
  }
}
