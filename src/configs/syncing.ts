/** What the life of a configuration means for its syncs, in the transaction of each step. */
import { isDeepStrictEqual } from 'node:util'
import type { Transaction } from 'kysely'
import type { ConfigRow } from '../store/configs.ts'
import type { Schema } from '../store/schema.ts'
import { cancelRunsOf } from '../store/sync-runs.ts'
import { beginSyncs, hastenFirst, reschedule, syncWhollyAt } from '../store/sync-states.ts'
import { nextFullAfter, nextIncrementAfter, syncSettingsOf } from './sync-settings.ts'

type Subject = Pick<ConfigRow, 'id' | 'organization_id'>

/** Made, or switched on: the first run begins at once, also where it was begun and cancelled before. */
export async function beginSyncing(
  transaction: Transaction<Schema>,
  config: Subject,
  at: Date,
): Promise<void> {
  await beginSyncs(transaction, config, at)
  await hastenFirst(transaction, config.id, at)
}

/** Switched off: whatever is read for it now is wanted no more. */
export const stopSyncing = (
  transaction: Transaction<Schema>,
  configs: readonly Subject[],
  at: Date,
): Promise<void> =>
  cancelRunsOf(
    transaction,
    configs.map(({ id }) => id),
    at,
  )

export async function followChange(
  transaction: Transaction<Schema>,
  before: ConfigRow,
  after: ConfigRow,
  areSecretsNew: boolean,
  at: Date,
): Promise<void> {
  if (!after.enabled && before.enabled) await stopSyncing(transaction, [after], at)
  if (after.enabled && !before.enabled) await beginSyncing(transaction, after, at)
  if (!isDeepStrictEqual(before.settings.sync, after.settings.sync)) {
    const settings = syncSettingsOf(after.id, after.settings)
    await reschedule(transaction, after.id, {
      nextFullAt: nextFullAfter(settings, at),
      nextIncrementalAt: nextIncrementAfter(settings, at),
    })
  }
  if (areSecretsNew || before.domain !== after.domain) await syncWhollyAt(transaction, after.id, at)
}

/** Deleted: its entities go too, batch by batch. */
export async function endSyncing(
  transaction: Transaction<Schema>,
  { id, organization_id }: Subject,
): Promise<void> {
  await transaction
    .insertInto('entity_purges')
    .values({ config_id: id, organization_id })
    .onConflict((conflict) => conflict.column('config_id').doNothing())
    .execute()
}
