/** Runs as the node that works on one holds it: taken over by number, and ended once, whole or not at all. */
import { type Kysely, sql, type Transaction } from 'kysely'
import { type Database, inTransaction } from './database.ts'
import type { Schema, SyncMode } from './schema.ts'
import { stageTablesOf } from './stage-tables.ts'
import { type RunHandle, RunLost } from './sync-stage.ts'

/** Requests to the provider, of everybody who worked on the run. */
export interface Spent {
  readonly providerCalls: number
  readonly throttled: number
}

export interface ClaimedRun extends RunHandle, Spent {
  readonly mode: SyncMode
  readonly isDryRun: boolean
  readonly isCancelRequested: boolean
  /** Whoever let it be applied, after it was quarantined. */
  readonly approvedBy: string | undefined
  readonly startedAt: Date
  /** As it was written; see src/sync/progress.ts. */
  readonly progress: Readonly<Record<string, unknown>>
  readonly pages: number
  readonly seen: number
  /** Where increments go on, and the revision of the configuration that this belongs to. */
  readonly marks: Readonly<Record<string, unknown>> | null
  readonly marksRevision: number | null
}

/**
 * Takes a run over from whoever had it, who from then on writes nothing; undefined when there is nothing to do for it.
 * `progress.starts` counts how often it was taken over since a page was kept last.
 */
export async function claimRun(
  database: Pick<Database, 'query'>,
  id: string,
  at: Date,
): Promise<ClaimedRun | undefined> {
  return inTransaction(database, async (transaction) => {
    const run = await transaction
      .updateTable('sync_runs')
      .set({
        status: 'running',
        fence: sql<number>`fence + 1`,
        started_at: sql<Date>`coalesce(started_at, ${at})`,
        progress: sql`jsonb_set(progress, '{starts}', to_jsonb(coalesce((progress ->> 'starts')::int, 0) + 1))`,
      })
      .where('id', '=', id)
      .where('status', 'in', ['queued', 'running'])
      .returningAll()
      .executeTakeFirst()
    if (run === undefined) return undefined
    const state = await transaction
      .selectFrom('sync_states')
      .select(['marks', 'marks_revision'])
      .where('config_id', '=', run.config_id)
      .executeTakeFirst()
    return {
      id,
      organizationId: run.organization_id,
      configId: run.config_id,
      fence: run.fence,
      mode: run.mode,
      isDryRun: run.dry_run,
      isCancelRequested: run.cancel_requested,
      approvedBy: run.approved_by ?? undefined,
      startedAt: run.started_at ?? at,
      progress: run.progress,
      pages: run.pages,
      seen: run.seen,
      providerCalls: run.provider_calls,
      throttled: run.throttled,
      marks: state?.marks ?? null,
      marksRevision: state?.marks_revision ?? null,
    }
  })
}

const spentColumns = ({ providerCalls, throttled }: Spent) => ({
  provider_calls: providerCalls,
  throttled,
})

const held = (query: Kysely<Schema> | Transaction<Schema>, { id, fence }: RunHandle) =>
  query
    .updateTable('sync_runs')
    .where('id', '=', id)
    .where('fence', '=', fence)
    .where('status', '=', 'running')

/** Whoever works on the run gives it back, having met nothing that would end a process. */
export async function giveBackRun(
  { query }: Pick<Database, 'query'>,
  run: RunHandle,
  spent: Spent,
): Promise<void> {
  await held(query, run)
    .set({ progress: sql`jsonb_set(progress, '{starts}', '0')`, ...spentColumns(spent) })
    .execute()
}

/** What was asked for as an increment reads everything, as there is nothing that it could go on from. @throws RunLost */
export async function turnIntoFull({ query }: Pick<Database, 'query'>, run: RunHandle): Promise<void> {
  const { numUpdatedRows } = await held(query, run).set({ mode: 'full' }).executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new RunLost()
}

/** Keeps how many requests the run is thought to take. @throws RunLost */
export async function keepPlan(
  { query }: Pick<Database, 'query'>,
  run: RunHandle,
  plan: object,
): Promise<void> {
  const { numUpdatedRows } = await held(query, run)
    .set({ plan: JSON.stringify(plan) })
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new RunLost()
}

export interface MergedRun extends Spent {
  readonly status: 'succeeded' | 'quarantined'
  readonly at: Date
  readonly result: object
  readonly changed: number
  readonly removed: number
  /** What later runs go on from; absent when nothing was applied. */
  readonly knowledge?: {
    /** Time of the merge, of a full run whose every required list was read. */
    readonly completeAt?: Date
    /** Where each list of an increment goes on, and since when it has been read up to there. */
    readonly marks: Readonly<Record<string, unknown>>
    readonly marksRevision: number
    readonly readSince: Date
  }
}

/**
 * Ends a run in the transaction of its merge.
 *
 * @returns runs that waited for approval and are superseded by this one
 * @throws RunLost
 */
export async function endRun(
  transaction: Transaction<Schema>,
  run: RunHandle,
  { status, at, result, changed, removed, knowledge, ...spent }: MergedRun,
): Promise<readonly string[]> {
  const takesPlaceOf = await placesTaken(transaction, run, { status, knowledge })
  // First, as one alone may wait.
  const superseded = await transaction
    .updateTable('sync_runs')
    .set({ status: 'superseded' })
    .where('config_id', '=', run.configId)
    .where('status', '=', 'quarantined')
    .where('mode', '=', sql<SyncMode>`any(${takesPlaceOf}::text[])`)
    .where('id', '<>', run.id)
    .returning('id')
    .execute()
  const { numUpdatedRows } = await held(transaction, run)
    .set({
      status,
      ended_at: at,
      result: jsonText(result),
      error: null,
      changed,
      removed,
      ...spentColumns(spent),
    })
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new RunLost()
  if (knowledge !== undefined) await keepKnowledge(transaction, run, knowledge)
  return superseded.map(({ id }) => id)
}

/** Kinds of runs that wait no longer once this one has ended. */
async function placesTaken(
  transaction: Transaction<Schema>,
  run: RunHandle,
  {
    status,
    knowledge,
  }: Pick<MergedRun, 'status'> & { readonly knowledge: MergedRun['knowledge'] | undefined },
): Promise<readonly SyncMode[]> {
  if (status === 'quarantined' || knowledge?.completeAt !== undefined) return ['full', 'incremental']
  if (knowledge === undefined) return []
  return (await isContradicted(transaction, run)) ? ['full', 'incremental'] : ['incremental']
}

/** Whether the run was told of somebody whom the one that waits for approval would remove. */
async function isContradicted(
  transaction: Transaction<Schema>,
  { id, configId }: RunHandle,
): Promise<boolean> {
  const { rows } = await sql<{ is_any: boolean }>`
    select exists (
      select from ${sql.raw(stageTablesOf(id).entities)} as told
      where told.label is not null and told.entity_id in (
        select removal.entity_id from sync_removals as removal
        join sync_runs as waiting on waiting.id = removal.run_id
        where waiting.config_id = ${configId} and waiting.status = 'quarantined'
      )
    ) as is_any`.execute(transaction)
  return rows[0]?.is_any === true
}

/** An approved run may be older than what increments have followed since: then their marks stay. */
async function keepKnowledge(
  transaction: Transaction<Schema>,
  run: RunHandle,
  { completeAt, marks, marksRevision, readSince }: NonNullable<MergedRun['knowledge']>,
): Promise<void> {
  const isNewer = sql<boolean>`(s.marks is null or s.marks_revision is distinct from ${marksRevision}::bigint
    or s.incremental_since is null or s.incremental_since < ${readSince})`
  await sql`
    insert into sync_states as s (config_id, organization_id, marks, marks_revision, incremental_since, complete_at)
    values (${run.configId}, ${run.organizationId}, ${jsonText(marks)}, ${marksRevision}, ${readSince},
      ${completeAt ?? null})
    on conflict (config_id) do update set
      marks = case when ${isNewer} then excluded.marks else s.marks end,
      marks_revision = case when ${isNewer} then excluded.marks_revision else s.marks_revision end,
      incremental_since = case when ${isNewer} then excluded.incremental_since else s.incremental_since end,
      complete_at = coalesce(excluded.complete_at, s.complete_at),
      failures = 0, last_error = null`.execute(transaction)
}

/** Ends a run as failed, in a transaction of the caller's. @throws RunLost */
export async function failRun(
  transaction: Transaction<Schema>,
  run: RunHandle & Pick<ClaimedRun, 'isDryRun'>,
  {
    error,
    result,
    at,
    ...spent
  }: { readonly error: object; readonly result: object; readonly at: Date } & Spent,
): Promise<void> {
  const { numUpdatedRows } = await held(transaction, run)
    .set({
      status: 'failed',
      ended_at: at,
      error: jsonText(error),
      result: jsonText(result),
      ...spentColumns(spent),
    })
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new RunLost()
  if (run.isDryRun) return
  await transaction
    .updateTable('sync_states')
    .set({ failures: sql<number>`failures + 1`, last_error: jsonText(error) })
    .where('config_id', '=', run.configId)
    .execute()
}

/** Ends a run that somebody asked to cancel. @throws RunLost */
export async function endCancelledRun(
  transaction: Transaction<Schema>,
  run: RunHandle,
  { at, ...spent }: { readonly at: Date } & Spent,
): Promise<void> {
  const { numUpdatedRows } = await held(transaction, run)
    .set({ status: 'cancelled', ended_at: at, ...spentColumns(spent) })
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new RunLost()
}

/** PostgreSQL takes neither NUL nor half a surrogate pair in a document, and a provider may have said either. */
const jsonText = (document: object) =>
  JSON.stringify(document, (_, value: unknown) =>
    typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '') : value,
  )
