/** What an operator has to know of a database, without changing it. */
import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import type { Database } from './database.ts'
import { findServer } from './embedded-postmaster.ts'
import { appliedMigrations, migrations } from './migrate.ts'

export interface Inspection {
  /** Such as 180004. */
  readonly versionNumber: number
  readonly version: string
  /** Theirs minus ours. */
  readonly clockAheadMs: number
  /** Steps of this release that are not made yet. */
  readonly missingMigrations: readonly string[]
  /** Steps that this release does not know. */
  readonly unknownMigrations: readonly string[]
  /** Sessions of other processes of Credence. */
  readonly otherSessions: number
  /** Undefined until a server has set the queue up. */
  readonly queue: { readonly waiting: number; readonly oldestSeconds: number } | undefined
}

/** @throws DatabaseUnavailable */
export async function inspect({ query }: Pick<Database, 'query'>): Promise<Inspection> {
  const { rows: servers } = await sql<{ number: string; version: string }>`
    select current_setting('server_version_num') as number, current_setting('server_version') as version`.execute(
    query,
  )
  const askedAt = Date.now()
  const { rows: clocks } = await sql<{ at: number }>`
    select extract(epoch from clock_timestamp()) * 1000 as at`.execute(query)
  const oursMs = (askedAt + Date.now()) / 2
  const applied = await appliedMigrations(query)
  const known = Object.keys(migrations)
  const { rows: sessions } = await sql<{ count: number }>`
    select count(*) as count from pg_stat_activity
    where application_name = 'credence' and datname = current_database() and pid <> pg_backend_pid()`.execute(
    query,
  )
  return {
    versionNumber: Number(servers[0]?.number),
    version: servers[0]?.version ?? 'unknown',
    clockAheadMs: Math.round(Number(clocks[0]?.at) - oursMs),
    missingMigrations: known.filter((name) => !applied.includes(name)),
    unknownMigrations: applied.filter((name) => !known.includes(name)),
    otherSessions: sessions[0]?.count ?? 0,
    queue: await inspectQueue({ query }),
  }
}

async function inspectQueue({ query }: Pick<Database, 'query'>): Promise<Inspection['queue']> {
  const { rows: found } = await sql<{ isThere: boolean }>`
    select to_regclass('pgboss.job') is not null as "isThere"`.execute(query)
  if (found[0]?.isThere !== true) return undefined
  const { rows } = await sql<{ waiting: number; seconds: number }>`
    select count(*) as waiting,
      coalesce(extract(epoch from now() - min(start_after)), 0)::float8 as seconds
    from pgboss.job where state in ('created', 'retry') and start_after <= now()`.execute(query)
  return { waiting: rows[0]?.waiting ?? 0, oldestSeconds: Math.round(rows[0]?.seconds ?? 0) }
}

/** The cluster, or a link to where it lies. */
const clusterIn = (dataDirectory: string) => join(dataDirectory, 'postgres', 'cluster')

/** Whether a data directory has an embedded database: opening one that has none would make it. */
export const hasEmbeddedDatabase = (dataDirectory: string): boolean => existsSync(clusterIn(dataDirectory))

/** Process of the embedded database that runs now, if one does. */
export async function embeddedProcess(dataDirectory: string): Promise<number | undefined> {
  const folder = await realpath(clusterIn(dataDirectory)).catch(() => undefined)
  return folder === undefined ? undefined : (await findServer(folder))?.pid
}
