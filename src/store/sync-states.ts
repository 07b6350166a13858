/** Where the syncs of configurations stand, and when they go on. Due times are columns, so that nothing is forgotten when a node or a queue is lost. */
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { ConfigRow } from './configs.ts'
import type { DueOfTypes, ScheduledConfig } from './due-configs.ts'
import type { Schema, SyncMode, SyncStateTable } from './schema.ts'

export type SyncStateRow = Selectable<SyncStateTable>

/** A configuration is synchronised from now on. One that is known already stays as it is. */
export async function beginSyncs(
  transaction: Transaction<Schema>,
  { id, organization_id }: { readonly id: string; readonly organization_id: string },
  at: Date,
): Promise<void> {
  await transaction
    .insertInto('sync_states')
    .values({ config_id: id, organization_id, next_full_at: at })
    .onConflict((conflict) => conflict.column('config_id').doNothing())
    .execute()
}

/** Has the first run begin at once, where none has come to its end yet. */
export async function hastenFirst(
  transaction: Transaction<Schema>,
  configId: string,
  at: Date,
): Promise<void> {
  await hastenFull(transaction, configId, at).where('complete_at', 'is', null).execute()
}

/** Has everything read anew soon: what was known was read with other credentials, or elsewhere. */
export async function syncWhollyAt(
  transaction: Transaction<Schema>,
  configId: string,
  at: Date,
): Promise<void> {
  await hastenFull(transaction, configId, at).execute()
}

/** A full run that is due later is due then. */
const hastenFull = (transaction: Transaction<Schema>, configId: string, at: Date) =>
  transaction
    .updateTable('sync_states')
    .set({ next_full_at: sql<Date>`least(next_full_at, ${at})` })
    .where('config_id', '=', configId)

/** Times that another schedule gives; where none was planned, none is. */
export async function reschedule(
  transaction: Transaction<Schema>,
  configId: string,
  { nextFullAt, nextIncrementalAt }: { readonly nextFullAt: Date; readonly nextIncrementalAt: Date | null },
): Promise<void> {
  await transaction
    .updateTable('sync_states')
    .set({
      // What is overdue, or was put off after a failure, stays due then.
      next_full_at: sql<Date>`case when complete_at is null or failures > 0 then next_full_at else ${nextFullAt} end`,
      next_incremental_at: sql<Date>`case when marks is null then null else ${nextIncrementalAt}::timestamptz end`,
    })
    .where('config_id', '=', configId)
    .execute()
}

export const findSyncState = (
  query: Kysely<Schema> | Transaction<Schema>,
  organizationId: string,
  configId: string,
): Promise<SyncStateRow | undefined> =>
  query
    .selectFrom('sync_states')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('config_id', '=', configId)
    .executeTakeFirst()

/** Whether it was otherwise before. */
export async function setPaused(
  transaction: Transaction<Schema>,
  organizationId: string,
  configId: string,
  paused: boolean,
): Promise<boolean> {
  const { numUpdatedRows } = await transaction
    .updateTable('sync_states')
    .set({ paused })
    .where('organization_id', '=', organizationId)
    .where('config_id', '=', configId)
    .where('paused', '<>', paused)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** A run that has just been made for a configuration that was due. */
export interface DueSync {
  readonly runId: string
  readonly integrationType: string
  readonly mode: SyncMode
  readonly dueAt: Date
}

/**
 * Makes a run of what is due and has none, the longest overdue first, and puts its due time off until `until`: the
 * run's end sets the next one. Several nodes never take the same.
 */
export async function takeDueSyncs(
  transaction: Transaction<Schema>,
  { at, until, types, limit }: DueOfTypes,
): Promise<DueSync[]> {
  const { rows } = await sql<DueSync>`
    with due as (
      select s.config_id, s.organization_id, c.integration_type, s.complete_at, s.next_full_at, s.next_incremental_at,
        -- Marks that are of other credentials tell nothing.
        s.next_full_at <= ${at} or s.marks is null or s.marks_revision is distinct from c.revision as is_full
      from sync_states s join integration_configs c on c.id = s.config_id
      where (s.next_full_at <= ${at} or s.next_incremental_at <= ${at}) and not s.paused
        and c.enabled and c.state <> 'invalid' and c.integration_type = any(${[...types]}::text[])
        and (c.settings -> 'sync' -> 'enabled') is distinct from 'false'::jsonb
        and not exists (
          select from sync_runs r where r.config_id = s.config_id and r.status in ('queued', 'running'))
      order by least(s.next_full_at, s.next_incremental_at) limit ${limit}
      -- Shared, so that none is taken that somebody is switching off.
      for update of s skip locked for share of c skip locked
    ), put_off as (
      update sync_states s set
        next_full_at = case when s.next_full_at <= ${at} then ${until} else s.next_full_at end,
        next_incremental_at = case when s.next_incremental_at <= ${at} then ${until} else s.next_incremental_at end
      from due where s.config_id = due.config_id
    ), made as (
      insert into sync_runs (organization_id, config_id, mode, requested_by, reason)
      select organization_id, config_id, case when is_full then 'full' else 'incremental' end, 'system',
        case when complete_at is null then 'first' else 'schedule' end
      from due on conflict do nothing
      returning id, config_id, mode
    )
    select made.id as "runId", made.mode, due.integration_type as "integrationType",
      least(due.next_full_at, due.next_incremental_at) as "dueAt"
    from made join due using (config_id)
  `.execute(transaction)
  return rows
}

/** How syncs stand over all organisations, for metrics. */
export interface SyncStanding {
  readonly integrationType: string
  /** Since the longest ago that the people of an enabled configuration were seen, or since it was made, in seconds. */
  readonly lagSeconds: number
  /** Runs that wait for approval. */
  readonly quarantined: number
}

export async function readSyncStandings(query: Kysely<Schema>, at: Date): Promise<SyncStanding[]> {
  const { rows } = await sql<SyncStanding>`
    select c.integration_type as "integrationType",
      coalesce(max(greatest(0, extract(epoch from ${at}::timestamptz - coalesce(g.seen_at, c.created_at))))
        filter (where c.enabled and not s.paused
          and (c.settings -> 'sync' -> 'enabled') is distinct from 'false'::jsonb), 0)::float8 as "lagSeconds",
      count(r.id) as quarantined
    from integration_configs c
    join sync_states s on s.config_id = c.id
    left join entity_sightings g on g.config_id = c.id and g.kind = 1
    left join sync_runs r on r.config_id = c.id and r.status = 'quarantined'
    group by c.integration_type`.execute(query)
  return rows
}

/** What follows from a run's end for its configuration. */
export interface SyncEnd {
  /** Absent: it stays. */
  readonly nextFullAt?: Date
  readonly nextIncrementalAt?: Date | null
}

export async function recordSyncEnd(
  transaction: Transaction<Schema>,
  configId: string,
  { nextFullAt, nextIncrementalAt }: SyncEnd,
): Promise<void> {
  const changes = {
    ...(nextFullAt !== undefined && { next_full_at: nextFullAt }),
    ...(nextIncrementalAt !== undefined && { next_incremental_at: nextIncrementalAt }),
  }
  if (Object.keys(changes).length === 0) return
  await transaction.updateTable('sync_states').set(changes).where('config_id', '=', configId).execute()
}

/** Most failures in a row that are counted. */
const maxCounted = 50

/** How many runs in a row failed before this one; one that was only for want of a mark is no failure. */
async function countFailuresBefore(
  transaction: Transaction<Schema>,
  { id, configId }: { readonly id: string; readonly configId: string },
): Promise<number> {
  const before = await transaction
    .selectFrom('sync_runs')
    .select('status')
    .where('config_id', '=', configId)
    .where('id', '<>', id)
    .where('dry_run', '=', false)
    .where('status', 'in', ['succeeded', 'failed', 'quarantined', 'superseded'])
    .where(sql<boolean>`error ->> 'code' is distinct from 'sync_mark_lost'`)
    .orderBy('requested_at', 'desc')
    .limit(maxCounted)
    .execute()
  const wentWell = before.findIndex(({ status }) => status !== 'failed')
  return wentWell === -1 ? before.length : wentWell
}

/** A run with what it is about, for the scheduler alone: it works on those of all organisations. */
export interface RunSubject {
  readonly id: string
  readonly mode: SyncMode
  readonly isDryRun: boolean
  readonly providerCalls: number
  readonly throttled: number
  /** Of its configuration, in a row, before this one. */
  readonly failuresBefore: number
  readonly config: ScheduledConfig & Pick<ConfigRow, 'settings'>
}

export async function findRunSubject(
  transaction: Transaction<Schema>,
  runId: string,
): Promise<RunSubject | undefined> {
  const row = await transaction
    .selectFrom('sync_runs as run')
    .innerJoin('integration_configs as config', 'config.id', 'run.config_id')
    .select(['run.mode', 'run.dry_run', 'run.provider_calls', 'run.throttled'])
    .select(['config.id', 'config.organization_id', 'config.integration_type', 'config.domain'])
    .select(['config.name', 'config.enabled', 'config.state', 'config.settings'])
    .where('run.id', '=', runId)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { mode, dry_run, provider_calls, throttled, ...config } = row
  return {
    id: runId,
    mode,
    isDryRun: dry_run,
    providerCalls: provider_calls,
    throttled,
    failuresBefore: await countFailuresBefore(transaction, { id: runId, configId: config.id }),
    config,
  }
}
