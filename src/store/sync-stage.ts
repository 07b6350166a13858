/** What a run has read and not merged yet: tables of its own, filled page by page together with its progress. */
import { hash } from 'node:crypto'
import { type RawBuilder, type Selectable, sql, type Transaction } from 'kysely'
import { type EntityKind, type Fact, type FactName, kindNumbers, type Membership } from '../entities/model.ts'
import { inRepeatableTransaction, told } from './client-transaction.ts'
import { copyInto } from './copy.ts'
import { type Database, inTransaction } from './database.ts'
import { renewedGroups } from './renewed-groups.ts'
import type { Schema, SyncRunTable } from './schema.ts'
import { stageRows } from './stage-rows.ts'
import { createStageTables, dropStageTables, stageTablesOf } from './stage-tables.ts'

/** A run as the node that works on it holds it. */
export interface RunHandle {
  readonly id: string
  readonly organizationId: string
  readonly configId: string
  /** The number that this node took the run over with; with another one in the row, nothing is written. */
  readonly fence: number
}

/** Another node has taken the run over, or it is gone with its configuration: nothing was written. */
export class RunLost extends Error {
  override readonly name = 'RunLost'
}

/** Somebody asked for the run to be cancelled: nothing was written. */
export class RunCancelled extends Error {
  override readonly name = 'RunCancelled'
}

/** A crash of the database has emptied the run's tables: everything has to be read anew. Nothing was written. */
export class StageLost extends Error {
  override readonly name = 'StageLost'
}

/** What makes a revision of an entity, as JSON text, and what it is found by, as src/entities/terms.ts makes it. */
export interface StagedDocument {
  readonly attributes: string
  readonly raw: string
  readonly terms: readonly string[]
  readonly keys: readonly string[]
}

/** An entity as it is staged. */
export interface StagedEntity {
  readonly kind: EntityKind
  readonly uid: string
  readonly entityId: string
  /** Of its document, whether that is staged or not: see `documentHash`. */
  readonly documentHash: string
  /** Absent where the open revision has the same. */
  readonly document?: StagedDocument
  readonly activity: string
  /** For people: user name, group's or device's name. */
  readonly label: string
  readonly memberCount?: number
  readonly membersTag?: string
}

export interface StagedPage {
  readonly entities: readonly StagedEntity[]
  readonly memberships: readonly Membership[]
  readonly facts: readonly Fact[]
  /** In increments: facts of these names are told whole, by this page. */
  readonly wholeFacts?: readonly {
    readonly kind: EntityKind
    readonly uid: string
    readonly names: readonly FactName[]
  }[]
  readonly activities: readonly {
    readonly kind: EntityKind
    readonly uid: string
    readonly activity: string
  }[]
  readonly removed: readonly { readonly kind: EntityKind; readonly uid: string }[]
  /** In increments: groups whose members this run reads anew, whole. Named before their members come. */
  readonly changedGroups: readonly { readonly uid: string; readonly memberCount?: number }[]
  /** Seen, and could not be read: they stay as they are known, and so do the members of such a group. */
  readonly kept?: readonly { readonly kind: EntityKind; readonly uid: string }[]
}

export interface StageCounts {
  readonly identities: number
  readonly groups: number
  readonly devices: number
}

/** MD5 in hexadecimal digits, which PostgreSQL takes for a UUID. */
export const documentHash = ({ attributes, raw }: Pick<StagedDocument, 'attributes' | 'raw'>): string =>
  hash('md5', `${attributes}\n${raw}`)

export interface Stage {
  /** Whether nothing is staged: at the start, and after a crash of the database that took the pages with it. Progress then starts anew. */
  readonly isEmpty: boolean
  /**
   * Keeps pages and the progress that counts them, in one transaction: all of it or nothing.
   *
   * @throws RunLost, RunCancelled, StageLost, DatabaseUnavailable
   */
  commit(
    pages: readonly StagedPage[],
    progress: object,
    totals: {
      readonly pages: number
      readonly seen: number
      readonly providerCalls: number
      readonly throttled: number
    },
  ): Promise<void>
  /**
   * Ids of those of which the open revision has the document of this hash: it need not be staged. Until the run is
   * merged nobody else changes that, or the merge passes them over.
   */
  unchanged(
    entities: readonly Pick<StagedEntity, 'kind' | 'entityId' | 'documentHash'>[],
  ): Promise<ReadonlySet<string>>
  counts(): Promise<StageCounts>
  /** Requests that a walk takes in all, by what was staged: `calls(memberCount)` summed over its owners. */
  sumCalls(
    by: 'group' | 'identity',
    calls: (owner: { readonly memberCount?: number }) => number,
  ): Promise<number>
  /** Those whose members or groups a full run has to ask for, in the order of their ids. */
  owners(
    by: 'group' | 'identity',
    afterUid: string,
    limit: number,
  ): Promise<readonly { readonly uid: string; readonly memberCount?: number }[]>
  /** Ids of people who were told of and of whom nothing is open, at most so many. */
  newcomers(limit: number): Promise<readonly string[]>
  /** Groups whose members an increment has to read anew: named as changed, or with another `membersTag` than before. */
  changedGroups(
    afterUid: string,
    limit: number,
  ): Promise<readonly { readonly uid: string; readonly memberCount?: number }[]>
  /** Removes the tables. */
  drop(): Promise<void>
}

/**
 * Opens the stage of a run, making its tables when it has none.
 *
 * @throws RunLost, DatabaseUnavailable
 */
export async function openStage(database: Database, run: RunHandle): Promise<Stage> {
  const tables = stageTablesOf(run.id)
  const [entities, memberships] = [sql.raw(tables.entities), sql.raw(tables.memberships)]
  const { mode, isEmpty, isAnyKnown } = await inTransaction(database, (transaction) =>
    prepare(transaction, run),
  ).catch(rethrown)

  /** The last that was told of each entity of a kind, of those that are not gone. */
  const latest = (kind: EntityKind): RawBuilder<unknown> => sql`(
    select * from (
      select distinct on (uid) uid, member_count, label is null as is_gone
      from ${entities} where kind = ${kindNumbers[kind]} order by uid, n desc
    ) as told where not is_gone
  )`

  const rowsOf = async <R>(query: RawBuilder<R>): Promise<R[]> =>
    (await query.execute(database.query).catch(rethrown)).rows

  return {
    isEmpty,
    async commit(pages, progress, totals) {
      await inRepeatableTransaction(database, 'set local synchronous_commit = off', async (client) => {
        const { rowCount } = await client.query(
          `update sync_runs set progress = $1, pages = $2, seen = $3, provider_calls = $4, throttled = $5
           where id = $6 and config_id = $7 and organization_id = $8
             and fence = $9 and status = 'running' and not cancel_requested`,
          [
            JSON.stringify(progress),
            totals.pages,
            totals.seen,
            totals.providerCalls,
            totals.throttled,
            run.id,
            run.configId,
            run.organizationId,
            run.fence,
          ],
        )
        if (rowCount !== 1) {
          const { rows } = await client.query<RunStanding>(
            `select fence, status, cancel_requested, mode from sync_runs
             where id = $1 and config_id = $2 and organization_id = $3`,
            [run.id, run.configId, run.organizationId],
          )
          assertHeld(run, rows[0])
          // Its row was another one a moment ago.
          throw new RunLost('the run has changed hands')
        }
        const { rows } = await client.query<{ commits: number }>(
          'update sync_stage.runs set commits = commits + 1 where run_id = $1 returning commits',
          [run.id],
        )
        const [counted] = rows
        if (counted === undefined) throw new StageLost(stageLost)
        for (const { into, rows } of stageRows(tables, { ...run, mode }, counted.commits, pages))
          await copyInto(client, into, rows)
      })
    },
    async unchanged(told) {
      if (!isAnyKnown || told.length === 0) return new Set()
      const rows = await rowsOf(sql<{ entity_id: string }>`
        select told.entity_id
        from unnest(
          ${told.map(({ kind }) => kindNumbers[kind])}::smallint[],
          ${told.map(({ entityId }) => entityId)}::uuid[],
          ${told.map((one) => one.documentHash)}::uuid[]
        ) as told(kind, entity_id, document_hash)
        cross join lateral (
          select document_hash from entity_revisions as known
          where known.config_id = ${run.configId} and known.kind = told.kind
            and known.entity_id = told.entity_id and known.ended_at = 'infinity'
          offset 0
        ) as known
        where known.document_hash = told.document_hash`)
      return new Set(rows.map(({ entity_id }) => entity_id))
    },
    async counts() {
      const rows = await rowsOf(sql<{ kind: number; count: number }>`
        select kind, count(distinct uid) as count from ${entities} group by kind`)
      const countOf = (kind: EntityKind) => rows.find((row) => row.kind === kindNumbers[kind])?.count ?? 0
      return { identities: countOf('identity'), groups: countOf('group'), devices: countOf('device') }
    },
    async sumCalls(by, calls) {
      const rows = await rowsOf(sql<{ member_count: number | null; count: number }>`
        select member_count, count(*) as count from ${latest(by)} as owners group by member_count`)
      return rows.reduce((sum, { member_count, count }) => sum + count * calls(ownerWith(member_count)), 0)
    },
    async owners(by, afterUid, limit) {
      const rows = await rowsOf(sql<OwnerRow>`
        select uid, member_count from (
          select distinct on (uid) uid, member_count, label is null as is_gone
          from ${entities} where kind = ${kindNumbers[by]} and uid > ${afterUid} order by uid, n desc
        ) as told where not is_gone order by uid limit ${limit}`)
      return rows.map(({ uid, member_count }) => ({ uid, ...ownerWith(member_count) }))
    },
    async newcomers(limit) {
      const rows = await rowsOf(sql<{ uid: string }>`
        select distinct told.uid from ${entities} as told
        where told.kind = ${kindNumbers.identity} and told.label is not null and not exists (
          select from entity_revisions as known
          where known.config_id = ${run.configId} and known.kind = told.kind
            and known.entity_id = told.entity_id and known.ended_at = 'infinity'
        )
        order by told.uid limit ${limit}`)
      return rows.map(({ uid }) => uid)
    },
    async changedGroups(afterUid, limit) {
      const rows = await rowsOf(sql<OwnerRow>`
        select renewed.uid, coalesce(named.member_count, owner.member_count) as member_count
        from (${renewedGroups(tables, run, mode)}) as renewed
        left join ${latest('group')} as owner on owner.uid = renewed.uid
        left join lateral (
          select member_count from ${memberships}
          where group_uid = renewed.uid and member_uid is null order by n desc limit 1
        ) as named on true
        where renewed.uid > ${afterUid} order by renewed.uid limit ${limit}`)
      return rows.map(({ uid, member_count }) => ({ uid, ...ownerWith(member_count) }))
    },
    async drop() {
      await inTransaction(database, async (transaction) => {
        const standing = await lockRun(transaction, run)
        // Whoever has taken the run over goes on with them.
        if (standing !== undefined && standing.fence !== run.fence) return
        await dropStage(transaction, run.id)
      }).catch(rethrown)
    },
  }
}

/** Removes what a run has staged. */
export async function dropStage(transaction: Transaction<Schema>, runId: string): Promise<void> {
  await dropStageTables(transaction, runId)
  await sql`delete from sync_stage.runs where run_id = ${runId}`.execute(transaction)
}

interface OwnerRow {
  readonly uid: string
  readonly member_count: number | null
}

const ownerWith = (memberCount: number | null) => (memberCount === null ? {} : { memberCount })

const stageLost = 'the database has lost what the run had read, in a crash or by hand: it has to be read anew'

export type RunStanding = Pick<Selectable<SyncRunTable>, 'fence' | 'status' | 'cancel_requested' | 'mode'>

/** Holds a run's row until the transaction ends. */
export const lockRun = (transaction: Transaction<Schema>, run: RunHandle): Promise<RunStanding | undefined> =>
  transaction
    .selectFrom('sync_runs')
    .select(['fence', 'status', 'cancel_requested', 'mode'])
    .where('id', '=', run.id)
    .where('config_id', '=', run.configId)
    .where('organization_id', '=', run.organizationId)
    .forNoKeyUpdate()
    .executeTakeFirst()

/** @throws RunLost */
function held(run: RunHandle, standing: RunStanding | undefined): RunStanding {
  if (standing === undefined) throw new RunLost('the run is gone')
  if (standing.fence !== run.fence) throw new RunLost('another node has taken the run over')
  if (standing.status !== 'running') throw new RunLost(`the run is ${standing.status}`)
  return standing
}

/** @throws RunLost, RunCancelled */
export function assertHeld(run: RunHandle, standing: RunStanding | undefined): void {
  if (held(run, standing).cancel_requested) throw new RunCancelled('the run is to be cancelled')
}

async function prepare(transaction: Transaction<Schema>, run: RunHandle) {
  const { mode } = held(run, await lockRun(transaction, run))
  const { rows: made } = await sql<{ commits: number }>`
    insert into sync_stage.runs (run_id, since)
    values (${run.id}, coalesce((select sequence from entity_clocks where organization_id = ${run.organizationId}), 0))
    on conflict (run_id) do nothing returning commits`.execute(transaction)
  if (made.length > 0) {
    await createStageTables(transaction, run.id)
  }
  return {
    mode,
    isEmpty: made.length > 0 || (await commitsOf(transaction, run)) === 0,
    isAnyKnown: await knowsAny(transaction, run.configId),
  }
}

/** Whether anything of the configuration is open: of a first run nothing is. */
async function knowsAny(transaction: Transaction<Schema>, configId: string): Promise<boolean> {
  const { rows } = await sql<{ is_any: boolean }>`
    select exists (select from entity_sightings where config_id = ${configId} and open_count > 0) as is_any`.execute(
    transaction,
  )
  return rows[0]?.is_any === true
}

/** How often pages were committed. @throws StageLost when there is nothing that could tell */
export async function commitsOf(transaction: Transaction<Schema>, run: RunHandle): Promise<number> {
  const { rows } = await sql<{ commits: number }>`
    select commits from sync_stage.runs where run_id = ${run.id}`.execute(transaction)
  if (rows[0] === undefined) throw new StageLost(stageLost)
  return rows[0].commits
}

const rethrown = (error: unknown): never => {
  throw told(error)
}
