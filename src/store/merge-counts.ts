/** What a comparison found, in numbers and by example. */
import { sql } from 'kysely'
import { type EntityKind, entityKinds, kindNumbers } from '../entities/model.ts'
import { byKind } from './by-kind.ts'
import type { KindCounts, MergeResult, Sample } from './merge.ts'
import { type Comparing, isKnown, stageOf } from './merge-tables.ts'

/** Changes that are shown at most. */
const mostSamples = 20

export interface ChangeCounts extends Pick<MergeResult, 'counts' | 'memberships'> {
  /** Open before. */
  readonly before: Readonly<Record<EntityKind, number>>
  /** Memberships that each kind has more than before. */
  readonly membershipGrowth: Readonly<Record<EntityKind, number>>
  /** Memberships lost by those that stay. */
  readonly stayersLost: number
  /** Memberships that were staged. */
  readonly membershipsTold: number
}

/** @param isCompared whether there was anything to compare */
export async function countChanges(comparing: Comparing, isCompared: boolean): Promise<ChangeCounts> {
  const { transaction, merge } = comparing
  const known = await transaction
    .selectFrom('entity_sightings')
    .select(['kind', 'open_count', 'membership_count'])
    .where('config_id', '=', merge.run.configId)
    .execute()
  const found = isCompared ? await countByKind(comparing) : []
  const moved = isCompared ? await countMemberships(comparing) : []
  const rowOf = <R extends { readonly kind: number }>(rows: readonly R[], kind: EntityKind) =>
    rows.find((row) => row.kind === kindNumbers[kind])
  const sum = (of: keyof Omit<MovedMemberships, 'kind'>) => moved.reduce((total, row) => total + row[of], 0)
  const before = byKind((kind) => rowOf(known, kind)?.open_count ?? 0)
  return {
    before,
    counts: byKind((kind): KindCounts => {
      const { seen = 0, added = 0, changed = 0, removed = 0 } = rowOf(found, kind) ?? {}
      return { seen, added, changed, removed, open: before[kind] + added - removed }
    }),
    memberships: {
      before: known.reduce((total, row) => total + row.membership_count, 0),
      lost: sum('lost'),
      gained: sum('gained'),
    },
    membershipGrowth: byKind((kind) => {
      const { gained = 0, lost = 0 } = rowOf(moved, kind) ?? {}
      return gained - lost
    }),
    stayersLost: sum('stayers_lost'),
    membershipsTold: isCompared ? await countTold(comparing) : 0,
  }
}

type FoundOfKind = Omit<KindCounts, 'open'> & { readonly kind: number }

async function countByKind({ transaction }: Comparing): Promise<FoundOfKind[]> {
  const { rows } = await sql<FoundOfKind>`
    select one.kind, count(one.staged_at) as seen,
      count(*) filter (where change.change = 'added') as added,
      count(*) filter (where change.change = 'changed') as changed,
      count(*) filter (where change.change = 'removed') as removed
    from merge_entities as one left join merge_changes as change on change.no = one.no
    group by one.kind`.execute(transaction)
  return rows
}

interface MovedMemberships {
  readonly kind: number
  readonly lost: number
  readonly stayers_lost: number
  readonly gained: number
}

async function countMemberships(comparing: Comparing): Promise<MovedMemberships[]> {
  const { rows } = await sql<MovedMemberships>`
    with moved as (
      select one.kind, 0 as before, cardinality(change.group_uids) as afterwards, 0 as kept, false as is_removed
      from merge_changes as change join merge_entities as one on one.no = change.no
      where change.change = 'added'
      union all
      select one.kind, cardinality(known.group_uids), cardinality(now_in.uids),
        case when known.group_uids = now_in.uids then cardinality(now_in.uids) else (
          select count(*) from (select unnest(known.group_uids) intersect select unnest(now_in.uids)) as shared
        ) end, change.change = 'removed'
      from merge_changes as change
      join merge_entities as one on one.no = change.no
      join entity_revisions as known on ${isKnown(comparing)}
      cross join lateral (
        select case when change.change = 'removed' then '{}' else coalesce(change.group_uids, known.group_uids) end as uids
      ) as now_in
      where change.change in ('changed', 'removed')
    )
    select kind, sum(before - kept) as lost, coalesce(sum(before - kept) filter (where not is_removed), 0) as stayers_lost,
      sum(afterwards - kept) as gained
    from moved group by kind`.execute(comparing.transaction)
  return rows.map((row) => ({
    kind: row.kind,
    lost: Number(row.lost),
    stayers_lost: Number(row.stayers_lost),
    gained: Number(row.gained),
  }))
}

async function countTold(comparing: Comparing): Promise<number> {
  const { rows } = await sql<{ told: number }>`
    select count(*) as told from ${stageOf(comparing).memberships} where member_uid is not null`.execute(
    comparing.transaction,
  )
  return rows[0]?.told ?? 0
}

/** A few of each sort: removals first, then in the order of their names. */
export async function sampleChanges(
  { transaction }: Comparing,
  changes: readonly Sample['change'][] = ['removed', 'changed', 'added'],
): Promise<Sample[]> {
  const { rows } = await sql<Omit<Sample, 'kind'> & { readonly kind: number }>`
    select one.kind, one.entity_id as "entityId", one.uid, one.label, change.change
    from merge_changes as change join merge_entities as one on one.no = change.no
    where change.change = any(${[...changes]}::text[])
    order by row_number() over (partition by change.change, one.kind order by one.label, one.uid),
      array_position(${[...changes]}::text[], change.change), one.kind
    limit ${mostSamples}`.execute(transaction)
  return rows.map(({ kind, ...sample }) => ({ ...sample, kind: kindOf(kind) }))
}

const kindOf = (number: number): EntityKind =>
  entityKinds.find((kind) => kindNumbers[kind] === number) ?? 'identity'

/** Writes down what the run would remove. */
export async function listRemovals({ transaction, merge }: Comparing): Promise<void> {
  await transaction.deleteFrom('sync_removals').where('run_id', '=', merge.run.id).execute()
  await sql`
    insert into sync_removals (run_id, kind, entity_id, uid, label)
    select ${merge.run.id}, one.kind, one.entity_id, one.uid, one.label
    from merge_changes as change join merge_entities as one on one.no = change.no
    where change.change = 'removed'`.execute(transaction)
}
