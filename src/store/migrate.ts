/** Brings the schema up to date, while any number of nodes start and older ones go on. */
import { setTimeout as wait } from 'node:timers/promises'
import { type Kysely, sql, type Transaction } from 'kysely'
import * as configurations from './migrations/0001-configurations.ts'
import * as jobs from './migrations/0002-jobs.ts'
import * as entities from './migrations/0003-entities.ts'
import {
  DatabaseUnavailable,
  databaseCode,
  isConflict,
  isLost,
  isUnavailable,
  unavailable,
} from './unavailable.ts'

export interface Migration {
  up(database: Kysely<unknown>): Promise<void>
}

/** By name, in order. Forward only; each is safe while the previous release still runs. */
export type Migrations = Readonly<Record<string, Migration>>

export const migrations: Migrations = {
  '0001-configurations': configurations,
  '0002-jobs': jobs,
  '0003-entities': entities,
}

/**
 * Longest wait of a migration for a lock that others hold, in milliseconds. Whoever comes after it waits too: then it
 * gives up, lets them pass and tries again.
 */
const lockTimeoutMs = 2_000
const pauseMs = 500
/** How long it is tried, in milliseconds: a reader's transaction may be open for a minute. */
const defaultPatienceMs = 180_000
/** A database that restarts is back by then; one whose every connection is lost is none. In milliseconds. */
const lostPatienceMs = 10_000
const isLostBriefly = (since: number | undefined) =>
  since !== undefined && performance.now() - since < lostPatienceMs
/** Any number, the same for all nodes. */
const lockNumber = 7_310_579_612_043

/** @throws DatabaseUnavailable */
export async function migrate<T>(
  query: Kysely<T>,
  known: Migrations = migrations,
  patienceMs: number = defaultPatienceMs,
): Promise<void> {
  const givesUpAt = performance.now() + patienceMs
  let lostSince: number | undefined
  for (;;) {
    try {
      const applied = await appliedMigrations(query)
      refuseNewer(applied, known)
      if (applied.length === Object.keys(known).length) return
      await query.transaction().execute((transaction) => applyMigrations(transaction, known))
      return
    } catch (error) {
      const code = databaseCode(error)
      lostSince = isLost(code) ? (lostSince ?? performance.now()) : undefined
      const isPassing = code === '55P03' || isConflict(code) || isLostBriefly(lostSince)
      if (!isPassing || performance.now() > givesUpAt) {
        throw isUnavailable(error) ? unavailable(error) : error
      }
      await wait(pauseMs)
    }
  }
}

/**
 * Applies what is missing of `known`, in the transaction it is given: all of it or nothing. Holds no state beyond the
 * transaction, so that a pooler between us and the database may give each transaction another session.
 */
export async function applyMigrations<T>(transaction: Transaction<T>, known: Migrations): Promise<void> {
  await sql`select set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`.execute(transaction)
  await sql`select pg_advisory_xact_lock(${lockNumber}::bigint)`.execute(transaction)
  // Made under the lock, not by the first of several at once.
  await sql`create table if not exists schema_migrations (
    name text primary key,
    applied_at timestamptz not null default now()
  )`.execute(transaction)
  const applied = await appliedMigrations(transaction)
  refuseNewer(applied, known)
  for (const [name, migration] of Object.entries(known)) {
    if (applied.includes(name)) continue
    try {
      await migration.up(transaction as unknown as Kysely<unknown>)
    } catch (error) {
      if (isUnavailable(error)) throw error
      const code = databaseCode(error) ?? 'no code'
      throw new DatabaseUnavailable(
        `the step ${name} to this release's tables failed (${code}); nothing was changed, and the release before goes on`,
        code,
      )
    }
    await sql`insert into schema_migrations (name) values (${name})`.execute(transaction)
  }
}

export async function appliedMigrations<T>(query: Kysely<T>): Promise<string[]> {
  const { rows: found } = await sql<{ isThere: boolean }>`
    select to_regclass('schema_migrations') is not null as "isThere"`.execute(query)
  if (found[0]?.isThere !== true) return []
  const { rows } = await sql<{ name: string }>`select name from schema_migrations order by name`.execute(
    query,
  )
  return rows.map(({ name }) => name)
}

function refuseNewer(applied: readonly string[], known: Migrations): void {
  const newer = applied.filter((name) => !Object.hasOwn(known, name))
  if (newer.length === 0) return
  throw new DatabaseUnavailable(
    `the database belongs to a newer release: it has ${newer.join(', ')}, which this release does not know; start the newer release, or restore a backup made with this one`,
    'newer_release',
  )
}
