/** Runs of syncs as people and schedules see them: asked for, listed, cancelled, approved. Every query names the organisation. */
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { Schema, SyncMode, SyncRemovalTable, SyncRunTable } from './schema.ts'

export type SyncRunRow = Selectable<SyncRunTable>
export type SyncRemovalRow = Selectable<SyncRemovalTable>

export interface NewRun {
  readonly configId: string
  readonly mode: SyncMode
  readonly isDryRun: boolean
  /** As an actor in the audit trail. */
  readonly requestedBy: string
  readonly reason: string
}

const active = ['queued', 'running'] as const

/** Longest wait for a row that others hold, in milliseconds: whoever commits pages is soon done. */
const lockTimeoutMs = 2_000

/** Those that are over for good: nothing is done with them any more. */
const over = ['succeeded', 'failed', 'cancelled', 'superseded'] as const

/** Runs as a connection or a transaction sees them. */
export function syncRunsIn(query: Kysely<Schema> | Transaction<Schema>) {
  const own = (organizationId: string) =>
    query.selectFrom('sync_runs').selectAll().where('organization_id', '=', organizationId)
  const change = (organizationId: string, id: string) =>
    query.updateTable('sync_runs').where('organization_id', '=', organizationId).where('id', '=', id)

  return {
    /** The new run, or undefined when one is queued or under way. */
    insert: (
      organizationId: string,
      { configId, mode, isDryRun, requestedBy, reason }: NewRun,
    ): Promise<SyncRunRow | undefined> =>
      query
        .insertInto('sync_runs')
        .values({
          organization_id: organizationId,
          config_id: configId,
          mode,
          dry_run: isDryRun,
          requested_by: requestedBy,
          reason,
          progress: '{}',
        })
        .onConflict((conflict) => conflict.doNothing())
        .returningAll()
        .executeTakeFirst(),

    find: (organizationId: string, configId: string, id: string): Promise<SyncRunRow | undefined> =>
      own(organizationId).where('config_id', '=', configId).where('id', '=', id).executeTakeFirst(),

    /** Holds the row until the transaction ends. @throws DatabaseUnavailable `55P03` when a merge holds it, for minutes */
    async lock(organizationId: string, configId: string, id: string): Promise<SyncRunRow | undefined> {
      await sql`select set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`.execute(query)
      return own(organizationId)
        .where('config_id', '=', configId)
        .where('id', '=', id)
        .forUpdate()
        .executeTakeFirst()
    },

    findActive: (organizationId: string, configId: string): Promise<SyncRunRow | undefined> =>
      own(organizationId).where('config_id', '=', configId).where('status', 'in', active).executeTakeFirst(),

    findQuarantined: (organizationId: string, configId: string): Promise<SyncRunRow | undefined> =>
      own(organizationId)
        .where('config_id', '=', configId)
        .where('status', '=', 'quarantined')
        .executeTakeFirst(),

    /** The newest first. @param beforeId only those that are older than this one */
    list(
      organizationId: string,
      configId: string,
      { beforeId, limit }: { readonly beforeId?: string; readonly limit: number },
    ): Promise<SyncRunRow[]> {
      const all = own(organizationId).where('config_id', '=', configId)
      const page =
        beforeId === undefined
          ? all
          : all.where(
              sql<boolean>`(requested_at, id) < (
                select requested_at, id from sync_runs where id = ${beforeId} and config_id = ${configId})`,
            )
      return page.orderBy('requested_at', 'desc').orderBy('id', 'desc').limit(limit).execute()
    },

    /** Asks whoever works on it to stop. */
    requestCancel: (organizationId: string, id: string): Promise<SyncRunRow> =>
      change(organizationId, id).set({ cancel_requested: true }).returningAll().executeTakeFirstOrThrow(),

    /** Ends what nobody works on. */
    cancel: (organizationId: string, id: string, at: Date): Promise<SyncRunRow> =>
      change(organizationId, id)
        .set({ status: 'cancelled', cancel_requested: true, ended_at: at })
        .returningAll()
        .executeTakeFirstOrThrow(),

    /** Queues a quarantined run again, to be applied as it stands. How long it waited is no part of how long it takes. */
    approve: (organizationId: string, id: string, approvedBy: string): Promise<SyncRunRow> =>
      change(organizationId, id)
        .set({
          status: 'queued',
          approved_by: approvedBy,
          started_at: null,
          ended_at: null,
          cancel_requested: false,
        })
        .returningAll()
        .executeTakeFirstOrThrow(),

    /** What a quarantined run would remove, in a fixed order. */
    removals(
      runId: string,
      {
        after,
        limit,
      }: { readonly after?: Pick<SyncRemovalRow, 'kind' | 'entity_id'>; readonly limit: number },
    ): Promise<SyncRemovalRow[]> {
      const all = query.selectFrom('sync_removals').selectAll().where('run_id', '=', runId)
      const page =
        after === undefined
          ? all
          : all.where(sql<boolean>`(kind, entity_id) > (${after.kind}::smallint, ${after.entity_id}::uuid)`)
      return page.orderBy('kind').orderBy('entity_id').limit(limit).execute()
    },

    async countRemovals(runId: string): Promise<number> {
      const { count } = await query
        .selectFrom('sync_removals')
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .where('run_id', '=', runId)
        .executeTakeFirstOrThrow()
      return count
    },
  }
}

/** Stops the runs of configurations that are not to be synchronised any more, in the transaction that says so. */
export async function cancelRunsOf(
  transaction: Transaction<Schema>,
  configIds: readonly string[],
  at: Date,
): Promise<void> {
  if (configIds.length === 0) return
  await transaction
    .updateTable('sync_runs')
    .set({
      cancel_requested: true,
      status: sql`case when status = 'queued' then 'cancelled' else status end`,
      ended_at: sql`case when status = 'queued' then ${at}::timestamptz else ended_at end`,
    })
    .where('config_id', 'in', configIds)
    .where('status', 'in', active)
    .execute()
}

/** Ends the run that was made by itself, and that nobody has begun; its mode. */
export async function callOffScheduled(
  transaction: Transaction<Schema>,
  configId: string,
  at: Date,
): Promise<SyncMode | undefined> {
  const run = await transaction
    .updateTable('sync_runs')
    .set({ status: 'cancelled', cancel_requested: true, ended_at: at })
    .where('config_id', '=', configId)
    .where('status', '=', 'queued')
    .where('reason', '<>', 'request')
    .where('approved_by', 'is', null)
    .returning('mode')
    .executeTakeFirst()
  return run?.mode
}

/** A run that some node has to work on. */
export interface ActiveRun {
  readonly id: string
  readonly integrationType: string
  readonly requestedAt: Date
}

/**
 * Runs that are queued or under way, for the scheduler alone: it works through those of all organisations. None of them
 * ends before the transaction does.
 *
 * @param withinSeconds only those that are queued and were asked for, or approved, so recently
 */
export async function holdActiveRuns(
  transaction: Transaction<Schema>,
  { types, limit, withinSeconds }: ActiveRunsQuery,
): Promise<ActiveRun[]> {
  const which =
    withinSeconds === undefined
      ? sql`r.status in ('queued', 'running')`
      : sql`r.status = 'queued' and
          (r.approved_by is not null or r.requested_at > now() - make_interval(secs => ${withinSeconds}))`
  const { rows } = await sql<ActiveRun>`
    select r.id, c.integration_type as "integrationType", r.requested_at as "requestedAt"
    from sync_runs r join integration_configs c on c.id = r.config_id
    where ${which} and c.integration_type = any(${[...types]}::text[])
    order by r.requested_at limit ${limit} for share of r skip locked`.execute(transaction)
  return rows
}

export interface ActiveRunsQuery {
  readonly types: readonly string[]
  readonly limit: number
  readonly withinSeconds?: number
}

/** Forgets runs of a configuration that are over and were asked for before `before`. */
export async function deleteOldRuns(
  transaction: Transaction<Schema>,
  configId: string,
  before: Date,
): Promise<void> {
  await transaction
    .deleteFrom('sync_runs')
    .where('config_id', '=', configId)
    .where('requested_at', '<', before)
    .where('status', 'in', over)
    .execute()
}
