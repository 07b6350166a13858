/** How far the budgets of provider accounts are spent, for all nodes together: each takes its turns in one statement. */
import { hash } from 'node:crypto'
import type pg from 'pg'
import type { Database } from './database.ts'
import { unavailable } from './unavailable.ts'

export interface TakenTurns {
  /** When the first of them may be used, in milliseconds from now; negative where the schedule catches up. */
  readonly startsInMs: number
}

export interface ProviderBudgets {
  /**
   * Takes the next `points` of a schedule on which a point follows another after `msPerPoint`.
   *
   * @param toleranceMs how far behind the present the schedule may be, so that what was lost is made up for
   */
  take(key: string, points: number, msPerPoint: number, toleranceMs: number): Promise<TakenTurns>
  /** Nobody takes a turn before so long from now. */
  block(key: string, forMs: number): Promise<void>
  /** Forgets schedules that nobody has used for an hour, some thousands at most. */
  deleteOld(): Promise<void>
}

const ms = (value: string) => `(${value} * interval '1 millisecond')`

const takeText = `
  insert into provider_budgets as held (key, free_at)
  values ($1, clock_timestamp() + ${ms('$2::float8')})
  on conflict (key) do update set
    free_at = greatest(held.free_at, clock_timestamp() - ${ms('$3::float8')}) + ${ms('$2::float8')}
  returning (extract(epoch from free_at - clock_timestamp()) * 1000)::float8 - $2::float8 as "startsInMs"`

const blockText = `
  insert into provider_budgets as held (key, free_at)
  values ($1, clock_timestamp() + ${ms('$2::float8')})
  on conflict (key) do update set free_at = greatest(held.free_at, excluded.free_at)`

const deleteText = `
  delete from provider_budgets where key in (
    select key from provider_budgets where free_at < now() - interval '1 hour' limit 5000 for update skip locked)`

export function createProviderBudgets({ pool }: Pick<Database, 'pool'>): ProviderBudgets {
  const run = async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[]) => {
    try {
      return await pool.query<Row>(text, [...values])
    } catch (error) {
      throw unavailable(error)
    }
  }
  return {
    async take(key, points, msPerPoint, toleranceMs) {
      const { rows } = await run<TakenTurns>(takeText, [rowKey(key), points * msPerPoint, toleranceMs])
      const [row] = rows
      if (row === undefined) throw new Error('an upsert returned no row')
      return row
    },
    async block(key, forMs) {
      await run(blockText, [rowKey(key), forMs])
    },
    async deleteOld() {
      await run(deleteText, [])
    },
  }
}

/** As long for every key; what it is made of stays out of the table. */
const rowKey = (key: string) => hash('sha256', key, 'base64url')
