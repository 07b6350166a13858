/** Turns what a run has staged into revisions: exact, minimal, and all of it or nothing. */
import { sql, type Transaction } from 'kysely'
import { type EntityKind, entityKinds, type FactName } from '../entities/model.ts'
import { byKind } from './by-kind.ts'
import { told } from './client-transaction.ts'
import { type Database, inTransaction, withLongStatements } from './database.ts'
import { type Fuse, type Held, heldBy } from './fuse.ts'
import { compare, hasNews } from './merge-comparison.ts'
import { type ChangeCounts, countChanges, listRemovals, sampleChanges } from './merge-counts.ts'
import type { Comparing } from './merge-tables.ts'
import { nextMoment, recordSightings, tellHeldRun, writeChanges } from './merge-writing.ts'
import type { Schema } from './schema.ts'
import { assertHeld, commitsOf, lockRun, type RunHandle, StageLost } from './sync-stage.ts'

export type { Fuse, Held } from './fuse.ts'

export interface Merge {
  readonly run: RunHandle
  readonly mode: 'full' | 'incremental'
  /** Kinds of which every list was read to its end: those not seen are gone. None in increments. */
  readonly completeKinds: readonly EntityKind[]
  /** Kinds of which this run proves that everything open is as it is known: their sighting becomes the merge's time. */
  readonly provenKinds: readonly EntityKind[]
  /** Every group's (or user's) memberships were read: they take the place of all there are. */
  readonly areMembershipsComplete: boolean
  /** These facts take the place of all there are; others stay as they are. */
  readonly completeFacts: readonly FactName[]
  readonly fuse: Fuse | 'approved'
  /** The node's clock. The merge's time is later than that of every merge of the organisation before. */
  readonly now: Date
  /** Counts and shows what would change, and writes nothing. */
  readonly isDryRun?: boolean
  /**
   * Does what has to be done in the same transaction (the run's end, the state, the job): the run's row is locked.
   * What it throws undoes everything.
   */
  finish(transaction: Transaction<Schema>, result: MergeResult): Promise<void>
}

export interface KindCounts {
  readonly seen: number
  readonly added: number
  readonly changed: number
  readonly removed: number
  /** Open after it. */
  readonly open: number
}

/** A change that a dry run found, or a removal that a quarantine holds. */
export interface Sample {
  readonly kind: EntityKind
  readonly entityId: string
  readonly uid: string
  readonly label: string
  readonly change: 'added' | 'changed' | 'removed'
}

export interface MergeResult {
  /** `quarantined`: the fuse held everything back, and what would go is in `sync_removals`. */
  readonly kind: 'merged' | 'quarantined' | 'dry'
  /** Time and number of the merge; of no meaning when nothing was written. */
  readonly at: Date
  readonly sequence: number
  readonly counts: Readonly<Record<EntityKind, KindCounts>>
  /** Memberships that would go or went, and that there were. */
  readonly memberships: { readonly before: number; readonly lost: number; readonly gained: number }
  /** Why the fuse held: `removals`, `memberships`, `empty_list`. */
  readonly held?: readonly Held[]
  /** At most 20 in dry runs and quarantines. */
  readonly sample: readonly Sample[]
}

/**
 * Locks in this order: the configuration against its removal, the run, the configuration's entities, and once it is
 * known what to write, the organisation's clock.
 *
 * @throws RunLost, RunCancelled, StageLost, DatabaseUnavailable, and what `finish` throws
 */
export async function merge(database: Database, what: Merge): Promise<MergeResult> {
  return await withLongStatements(database, async (query) => {
    const result = await inTransaction({ query }, (transaction) => mergeWithin(transaction, what))
    // The run has ended with the merge: what is left to tidy must not fail it.
    if (result.kind === 'merged') {
      await tidyTerms.execute(query).catch(() => undefined)
      if (newRevisions(result) >= manyRevisions) await retakeStatistics.execute(query).catch(() => undefined)
    }
    return result
  }).catch((error: unknown) => {
    throw told(error)
  })
}

/**
 * Look-ups read what an index has not sorted in yet from end to end.
 *
 * @see https://www.postgresql.org/docs/current/gin.html#GIN-FAST-UPDATE
 */
const tidyTerms = sql`
  select gin_clean_pending_list(oid) from pg_class
  where oid = 'entity_revisions_terms'::regclass and pg_has_role(relowner, 'usage')`

/** From so many on, plans are made anew at once, and not when autovacuum comes by. */
const manyRevisions = 5_000

/** Of how many entities a merge found another revision. */
export const newRevisions = ({ counts }: Pick<MergeResult, 'counts'>): number =>
  entityKinds.reduce((sum, kind) => sum + counts[kind].added + counts[kind].changed, 0)

/** Of what plans are chosen by; documents and terms would take seconds. */
const retakeStatistics = sql`
  analyze entity_revisions (organization_id, kind, entity_id, first_seen_at, ended_at, config_id, opened_in, closed_in),
    entity_keys`

async function mergeWithin(transaction: Transaction<Schema>, what: Merge): Promise<MergeResult> {
  const { run } = what
  const comparing = { transaction, merge: what }
  await sql`set local jit = off`.execute(transaction)
  await sql`set local work_mem = '64MB'`.execute(transaction)
  // The index of the terms sorts in what is new once the merge is over, not while it holds its locks: see tidyTerms.
  await sql`set local gin_pending_list_limit = '64MB'`.execute(transaction)
  await transaction
    .selectFrom('integration_configs')
    .select('id')
    .where('id', '=', run.configId)
    .where('organization_id', '=', run.organizationId)
    .forKeyShare()
    .execute()
  assertHeld(run, await lockRun(transaction, run))
  if ((await commitsOf(transaction, run)) === 0) throw new StageLost('nothing was read that could be merged')
  await lockEntities(transaction, run.configId)

  const isNews = await hasNews(comparing)
  if (isNews) await compare(comparing)
  const found = await countChanges(comparing, isNews)
  const result = await settle(comparing, found, isNews)
  await what.finish(transaction, result)
  return result
}

/** Writes what was found, unless it is a trial or the fuse holds it back. */
async function settle(comparing: Comparing, found: ChangeCounts, isNews: boolean): Promise<MergeResult> {
  const { merge: what } = comparing
  const { counts, memberships, before } = found
  const held =
    what.fuse === 'approved'
      ? []
      : heldBy(
          what.fuse,
          byKind((kind) => ({
            ...counts[kind],
            open: before[kind],
            isComplete: what.completeKinds.includes(kind),
          })),
          {
            told: found.membershipsTold,
            lost: found.stayersLost,
            before: memberships.before,
            isComplete: what.areMembershipsComplete,
          },
          // Members that an increment takes from a group are those of groups that it read whole.
        ).filter(({ why }) => what.mode === 'full' || why === 'removals')
  const findings = { counts, memberships, ...(held.length > 0 && { held }) }
  const unwritten = { at: what.now, sequence: 0 }
  if (what.isDryRun === true)
    return { kind: 'dry', ...unwritten, ...findings, sample: isNews ? await sampleChanges(comparing) : [] }
  if (held.length > 0) {
    await listRemovals(comparing)
    return {
      kind: 'quarantined',
      ...unwritten,
      ...findings,
      counts: byKind((kind) => ({ ...counts[kind], open: before[kind] })),
      sample: await sampleChanges(comparing, ['removed']),
    }
  }
  const moment = await nextMoment(comparing)
  if (isNews) {
    await writeChanges(comparing, moment)
    if (what.mode === 'incremental') await tellHeldRun(comparing)
  }
  await recordSightings(
    comparing,
    moment,
    byKind((kind) => ({
      open: counts[kind].added - counts[kind].removed,
      memberships: found.membershipGrowth[kind],
    })),
  )
  return { kind: 'merged', ...moment, ...findings, sample: [] }
}

/** Nobody else merges or removes entities of the configuration until the transaction ends. */
export async function lockEntities(transaction: Transaction<Schema>, configId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`entities of ${configId}`}, 0))`.execute(
    transaction,
  )
}
