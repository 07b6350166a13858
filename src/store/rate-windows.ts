/** Rate limits that hold for all nodes together: each takes a share of a window's points from the database, in one statement. */
import { hash } from 'node:crypto'
import type pg from 'pg'
import type { Database } from './database.ts'

/** Length of a window. Windows start at whole multiples of it since 1970, by the database's clock. */
export const windowMs = 60_000

export interface TakenPoints {
  /** Points that all nodes had taken before. */
  readonly before: number
  /** Until the window ends, in milliseconds. */
  readonly remainingMs: number
}

export interface RateWindows {
  /** Takes points of the current window, whether or not there are so many left: that is for the caller to judge. */
  take(key: string, points: number): Promise<TakenPoints>
  /** Forgets windows that are over, some thousands at most. */
  deleteOld(): Promise<void>
}

/** Longest wait for a statement, in milliseconds: whoever waits longer goes on without. */
const statementTimeoutMs = 1_000
const maxDeleted = 5_000

/** Number of the current window since 1970, with its fraction that is over. Not the transaction's time: waiting for a row counts. */
const nowInWindows = `extract(epoch from clock_timestamp()) * 1000 / ${windowMs}`

const takeText = `
  insert into rate_windows as held (key, window_start, taken)
  values ($1, to_timestamp(floor(${nowInWindows}) * ${windowMs / 1000}), $2)
  on conflict (key) do update set
    window_start = greatest(held.window_start, excluded.window_start),
    -- Never beyond what the column holds, however often it is asked for.
    taken = case when held.window_start < excluded.window_start then excluded.taken
      else least(held.taken::bigint + excluded.taken, 2147483647)::integer end
  returning taken::integer - $2::integer as before,
    (extract(epoch from window_start) * 1000 + ${windowMs} - extract(epoch from clock_timestamp()) * 1000)::float8
      as remaining_ms`

// Rows that somebody is about to use again are left to them.
const deleteText = `
  delete from rate_windows where key in (
    select key from rate_windows where window_start < now() - interval '${(2 * windowMs) / 1000} seconds'
    limit ${maxDeleted} for update skip locked)`

export function createRateWindows({ pool }: Pick<Database, 'pool'>): RateWindows {
  const run = <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[]) => {
    const statement: pg.QueryConfig & { readonly query_timeout: number } = {
      text,
      values: [...values],
      query_timeout: statementTimeoutMs,
    }
    return pool.query<Row>(statement)
  }
  return {
    async take(key, points) {
      const { rows } = await run<{ before: number; remaining_ms: number }>(takeText, [rowKey(key), points])
      const [row] = rows
      if (row === undefined) throw new Error('an upsert returned no row')
      return { before: row.before, remainingMs: row.remaining_ms }
    },
    async deleteOld() {
      await run(deleteText, [])
    },
  }
}

/** As long for every key; what it is made of stays out of the table. */
const rowKey = (key: string) => hash('sha256', key, 'base64url')
