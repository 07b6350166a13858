/** Removes the entities that deleted configurations have left behind, a little at a time. */
import { setTimeout as wait } from 'node:timers/promises'
import { type RawBuilder, sql, type Transaction } from 'kysely'
import { told } from './client-transaction.ts'
import { type Database, inTransaction } from './database.ts'
import { lockEntities } from './merge.ts'
import type { Schema } from './schema.ts'

/** Rows of one transaction. */
const rowsAtOnce = 1_000
/** Between two batches it rests as long as the last one took, and never longer, in milliseconds. */
const longestRestMs = 1_000

/**
 * Removes the entities of all configurations that are gone, with everything that was ever known of them.
 *
 * @returns how many rows were removed
 * @throws DatabaseUnavailable
 */
export async function purgeEntities(database: Pick<Database, 'query'>, signal: AbortSignal): Promise<number> {
  let removed = 0
  while (!signal.aborted) {
    const begunAt = performance.now()
    const batch = await purgeBatch(database)
    if (batch === undefined) return removed
    removed += batch
    const restMs = Math.min(longestRestMs, performance.now() - begunAt)
    await wait(restMs, undefined, { signal }).catch(() => undefined)
  }
  return removed
}

/** How many rows were removed; undefined when there is nothing to remove, or others are at it. */
export async function purgeBatch(database: Pick<Database, 'query'>): Promise<number | undefined> {
  return await inTransaction(database, async (transaction) => {
    const purge = await transaction
      .selectFrom('entity_purges')
      .select('config_id')
      .orderBy('requested_at')
      .limit(1)
      .forUpdate()
      .skipLocked()
      .executeTakeFirst()
    if (purge === undefined) return undefined
    await lockEntities(transaction, purge.config_id)
    for (const [table, isOwn] of tablesOf(purge.config_id)) {
      const removed = await removeSome(transaction, table, isOwn)
      if (removed > 0) return removed
    }
    await transaction.deleteFrom('entity_purges').where('config_id', '=', purge.config_id).execute()
    return 0
  }).catch((error: unknown) => {
    throw told(error)
  })
}

/** Tables with conditions that each has an index for. */
const tablesOf = (configId: string): readonly (readonly [table: string, isOwn: RawBuilder<unknown>])[] => [
  ['entity_revisions', sql`config_id = ${configId} and ended_at = 'infinity'`],
  ['entity_revisions', sql`config_id = ${configId} and ended_at <> 'infinity'`],
  ['entity_keys', sql`config_id = ${configId}`],
]

async function removeSome(
  transaction: Transaction<Schema>,
  table: string,
  isOwn: RawBuilder<unknown>,
): Promise<number> {
  const { numAffectedRows = 0n } = await sql`
    delete from ${sql.table(table)} where ctid = any(array(
      select ctid from ${sql.table(table)} where ${isOwn} limit ${sql.lit(rowsAtOnce)}
    ))`.execute(transaction)
  return Number(numAffectedRows)
}
