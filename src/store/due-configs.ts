/**
 * When configurations are validated again, for the scheduler alone: it works through those of all organisations. The
 * due time is a column of the configuration, so that nothing is forgotten when a node or a queue is lost.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ConfigRow } from './configs.ts'
import type { ConfigState, Schema } from './schema.ts'

/** What is taken of what is due. */
export interface Due {
  readonly at: Date
  /** When it is due again should whoever takes it never come to it. */
  readonly until: Date
  readonly limit: number
}

/** The same, of these integration types alone. */
export interface DueOfTypes extends Due {
  readonly types: readonly string[]
}

export interface DueConfig {
  readonly id: string
  readonly integrationType: string
  readonly dueAt: Date
}

/**
 * Takes what is due, the longest overdue first, and puts its due time off until `until`: should whoever takes it never
 * come to it, it is due again then. Several nodes never take the same.
 */
export async function takeDueConfigs(
  transaction: Transaction<Schema>,
  { at, until, types, limit }: DueOfTypes,
): Promise<DueConfig[]> {
  const { rows } = await sql<DueConfig>`
    with due as (
      select id, next_validation_at from integration_configs
      where next_validation_at <= ${at} and enabled and integration_type = any(${[...types]}::text[])
      order by next_validation_at limit ${limit} for update skip locked
    )
    update integration_configs as config set next_validation_at = ${until} from due where config.id = due.id
    returning config.id, config.integration_type as "integrationType", due.next_validation_at as "dueAt"
  `.execute(transaction)
  return rows
}

/** What the scheduler says about a configuration. */
export type ScheduledConfig = Pick<
  ConfigRow,
  'id' | 'organization_id' | 'integration_type' | 'domain' | 'name' | 'enabled' | 'state'
>

/** Holds the row until the transaction ends. */
export const lockScheduledConfig = (
  transaction: Transaction<Schema>,
  id: string,
): Promise<ScheduledConfig | undefined> =>
  transaction
    .selectFrom('integration_configs')
    .select(['id', 'organization_id', 'integration_type', 'domain', 'name', 'enabled', 'state'])
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()

/** @param at null: not before somebody validates or changes it */
export async function setNextValidation(
  transaction: Transaction<Schema>,
  { id, organization_id }: Pick<ScheduledConfig, 'id' | 'organization_id'>,
  at: Date | null,
): Promise<void> {
  await transaction
    .updateTable('integration_configs')
    .set({ next_validation_at: at })
    .where('organization_id', '=', organization_id)
    .where('id', '=', id)
    .where('enabled', '=', true)
    .execute()
}

/** Counts a validation that settled nothing: how many there were in a row, and since when. */
export async function countUnclear(
  transaction: Transaction<Schema>,
  configId: string,
  at: Date,
): Promise<{ readonly count: number; readonly since: Date }> {
  return transaction
    .insertInto('unclear_validations')
    .values({ config_id: configId, count: 1, since: at })
    .onConflict((conflict) =>
      conflict.column('config_id').doUpdateSet(({ eb, ref }) => ({
        count: eb(ref('unclear_validations.count'), '+', 1),
      })),
    )
    .returning(['count', 'since'])
    .executeTakeFirstOrThrow()
}

export async function endUnclear(transaction: Transaction<Schema>, configId: string): Promise<void> {
  await transaction.deleteFrom('unclear_validations').where('config_id', '=', configId).execute()
}

/** Remembers that it is told that the credentials end on this day; returns which of `days` had not been told before. */
export async function noteExpiry(
  transaction: Transaction<Schema>,
  configId: string,
  expiresAt: Date,
  days: readonly number[],
): Promise<number[]> {
  if (days.length === 0) return []
  const rows = await transaction
    .insertInto('expiry_notices')
    .values(
      days.map((one) => ({
        config_id: configId,
        expires_on: expiresAt.toISOString().slice(0, 10),
        days: one,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .returning('days')
    .execute()
  return rows.map((row) => row.days)
}

export interface ConfigCount {
  readonly integrationType: string
  readonly state: ConfigState
  readonly enabled: boolean
  readonly count: number
}

/** How many configurations there are of each kind and state, over all organisations. */
export async function countConfigs(query: Kysely<Schema>): Promise<ConfigCount[]> {
  return query
    .selectFrom('integration_configs')
    .select(({ fn }) => [
      'integration_type as integrationType',
      'state',
      'enabled',
      fn.countAll<number>().as('count'),
    ])
    .groupBy(['integration_type', 'state', 'enabled'])
    .execute()
}
