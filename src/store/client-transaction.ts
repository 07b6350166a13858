/** A transaction on a client of the pool itself, for what Kysely has no words for. */
import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'
import { StoreClient } from './client.ts'
import type { Database } from './database.ts'
import { databaseCode, isConflict, isLost, isUnavailable, unavailable, unavailableBy } from './unavailable.ts'

/** How long it is repeated before its caller is told, in milliseconds. */
const repeatForMs = 5_000
const longestPauseMs = 250

/**
 * Runs `work`, and runs it again when it met another transaction or the connection was lost, even while it was
 * committed: what is done twice must be as if it was done once.
 *
 * @param settings of the transaction alone, as SQL: `set local synchronous_commit = off`
 * @throws DatabaseUnavailable
 */
export async function inRepeatableTransaction<T>(
  { pool }: Pick<Database, 'pool'>,
  settings: string,
  work: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  const givesUpAt = performance.now() + repeatForMs
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(pool, settings, work)
    } catch (error) {
      const code = databaseCode(error)
      if (!(isConflict(code) || isLost(code)) || performance.now() > givesUpAt) throw told(error)
      // Not in step with whom it met.
      await wait(Math.min(longestPauseMs, 5 * 2 ** attempt) * Math.random())
    }
  }
}

async function once<T>(
  pool: pg.Pool,
  settings: string,
  work: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let isBroken = true
  try {
    await client.query(`begin; ${settings}`)
    const result = await work(client)
    await client.query('commit')
    isBroken = false
    return result
  } catch (error) {
    const code = databaseCode(error)
    if (code === 'query_timeout' && client instanceof StoreClient) client.hangUp(unavailableBy(code))
    else if (!isLost(code))
      isBroken = await client.query('rollback').then(
        () => false,
        () => true,
      )
    throw error
  } finally {
    client.release(isBroken)
  }
}

/** What the database says of a failure may quote rows: its code alone is told. */
export function told(error: unknown): unknown {
  if (isUnavailable(error)) return unavailable(error)
  const code = databaseCode(error)
  return code === undefined ? error : new Error(`the database refuses a statement (SQLSTATE ${code})`)
}
