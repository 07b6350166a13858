/**
 * Who is in which group afterwards. Where a full run knows it all, groups of which it was told the same as the last
 * one are passed over, and only those are looked at anew whose groups may be others than before.
 */
import { type RawBuilder, sql } from 'kysely'
import { kindNumbers } from '../entities/model.ts'
import { type Comparing, isWhole, keptIn, stageOf } from './merge-tables.ts'
import { membersOf } from './merge-terms.ts'
import { renewedGroups } from './renewed-groups.ts'
import { stageTablesOf } from './stage-tables.ts'

const groupKind = sql.lit(kindNumbers.group)

/** When more groups than one in so many have changed, everybody is looked at. */
const oneIn = 10

/**
 * Fills `merge_groups` and, where not everybody is looked at, `merge_regrouped`.
 *
 * @returns a query of groups by number of their member: `no`, `group_uids`, `groups`
 */
export async function regroup(comparing: Comparing): Promise<RawBuilder<unknown>> {
  const { transaction, merge } = comparing
  await insertGroups(comparing).execute(transaction)
  await sql`analyze merge_groups`.execute(transaction)
  const isAnyKept = await hasKept(comparing)
  const regrouped = merge.fuse === 'approved' ? undefined : await whoseGroupsMayBeOthers(comparing)
  if (regrouped === undefined || (await isMuchChanged(comparing)))
    return grouped(comparing, sql`merge_entities`, isAnyKept)
  await regrouped.execute(transaction)
  await sql`analyze merge_regrouped`.execute(transaction)
  return grouped(
    comparing,
    sql`(select one.* from merge_entities as one join merge_regrouped as regrouped on regrouped.no = one.no)`,
    isAnyKept,
  )
}

async function hasKept({ transaction }: Comparing): Promise<boolean> {
  const { rows } = await sql<{ is_any: boolean }>`
    select exists (select from merge_groups where is_kept) as is_any`.execute(transaction)
  return rows[0]?.is_any === true
}

/** Number of the merge that last knew every membership. */
async function knownIn({ transaction, merge }: Comparing): Promise<number | null> {
  const row = await transaction
    .selectFrom('entity_sightings')
    .select('memberships_in')
    .where('config_id', '=', merge.run.configId)
    .where('kind', '=', kindNumbers.group)
    .executeTakeFirst()
  return row?.memberships_in ?? null
}

async function isMuchChanged({ transaction }: Comparing): Promise<boolean> {
  const { rows } = await sql<{ changed: number; all: number }>`
    select (select count(*) from merge_groups where is_changed)
        + (select count(*) from merge_entities where kind = ${groupKind} and is_gone) as changed,
      (select count(*) from merge_groups) as all`.execute(transaction)
  const [{ changed, all } = { changed: 0, all: 0 }] = rows
  return changed * oneIn > all
}

/** What a run was told of a group's members, in whatever order: how many, and two sums over their ids. */
const membersPrint = sql`
  count(*) || ' ' || sum(hashtextextended(member_uid, 0)) || ' ' || sum(hashtextextended(member_uid, 1))`

function insertGroups(comparing: Comparing) {
  const { merge } = comparing
  const { memberships } = stageOf(comparing)
  const { configId } = merge.run
  const afterwards = sql`
    select no, entity_id, uid, label, is_renamed, opened_at, known_members_print
    from merge_entities where kind = ${groupKind} and not is_gone`
  // An increment looks at few of them.
  const others = sql`
    union all
    select null::integer, entity_id, uid, label, false, first_seen_at, members_print
    from entity_revisions as known
    where config_id = ${configId} and ended_at = 'infinity' and kind = ${groupKind}
      and not exists (select from merge_entities as one where one.entity_id = known.entity_id)`
  const prints = merge.areMembershipsComplete
    ? sql`
      select group_uid, ${membersPrint} as print from ${memberships}
      where member_uid is not null and not is_removed group by group_uid`
    : sql`select distinct group_uid, null::text as print from ${memberships}`
  const print = merge.areMembershipsComplete
    ? // What is known besides makes it another one than was told.
      sql`case when not kept.is_kept then coalesce(told.print, '0') end`
    : sql`case when told.group_uid is null then afterwards.known_members_print end`
  return sql`
    insert into merge_groups
    select afterwards.no, row_number() over (order by afterwards.uid), afterwards.uid,
      '{"uid":' || to_json(afterwards.uid::text) || ',"name":' || to_json(afterwards.label) || '}',
      not kept.is_kept and afterwards.uid in (${renewedGroups(stageTablesOf(merge.run.id), merge.run, merge.mode)}),
      kept.is_kept,
      afterwards.opened_at is null or afterwards.is_renamed
        or ${print} is distinct from afterwards.known_members_print,
      ${print}
    from (${afterwards} ${isWhole(merge) ? sql`` : others}) as afterwards
    left join (${prints}) as told on told.group_uid = afterwards.uid
    cross join lateral (select afterwards.entity_id in (${keptIn(comparing)}) as is_kept) as kept`
}

/** Fills `merge_regrouped`. Absent where that can be anybody, or everybody who is compared at all. */
async function whoseGroupsMayBeOthers(comparing: Comparing): Promise<RawBuilder<unknown> | undefined> {
  const { merge } = comparing
  if (merge.areMembershipsComplete) {
    const since = await knownIn(comparing)
    if (since === null) return undefined
    return insertRegrouped(comparing, sql`opened_at is null or opened_in > ${since}`, sql`is_changed`)
  }
  if (merge.mode === 'full' || !isWhole(merge)) return undefined
  // An increment that compares everybody: what it was told of a group it says nothing else of is a change in itself.
  return insertRegrouped(comparing, sql`opened_at is null`, sql`is_changed or is_renewed`)
}

/** Whoever came, or is or was in a group that changed. */
function insertRegrouped(comparing: Comparing, isNew: RawBuilder<unknown>, isChanged: RawBuilder<unknown>) {
  const { merge } = comparing
  const { memberships } = stageOf(comparing)
  const changedGroups = sql`
    select uid from merge_groups where ${isChanged}
    union all
    select uid from merge_entities where kind = ${groupKind} and is_gone`
  return sql`
    insert into merge_regrouped
    select no from merge_entities where not is_gone and (${isNew})
    union
    select one.no from ${memberships} as told
    ${merge.areMembershipsComplete ? sql`join merge_groups as in_group on in_group.uid = told.group_uid and (${isChanged})` : sql``}
    join merge_entities as one on one.uid = told.member_uid and not one.is_gone
    union
    select one.no from (${membersOf(merge.run, changedGroups)}) as member
    join merge_entities as one on one.entity_id = member.entity_id and not one.is_gone`
}

/** Groups of each of the `members`, a table like `merge_entities`. */
function grouped(comparing: Comparing, members: RawBuilder<unknown>, isAnyKept: boolean) {
  return sql`
    select one.no, coalesce(of_member.group_uids, '{}') as group_uids, coalesce(of_member.groups, '[]') as groups
    from ${members} as one
    left join (
      select no, array_agg(uid order by rank) as group_uids, '[' || string_agg(named, ',' order by rank) || ']' as groups
      from (
        select distinct on (no, rank) * from (${membershipsOf(comparing, members, isAnyKept)}) as every order by no, rank
      ) as each
      group by no
    ) as of_member on of_member.no = one.no`
}

function membershipsOf(comparing: Comparing, members: RawBuilder<unknown>, isAnyKept: boolean) {
  const { merge } = comparing
  const { memberships } = stageOf(comparing)
  const told = (source: RawBuilder<unknown>) => sql`
    select one.no, in_group.rank, in_group.uid, in_group.named from ${source} as told
    join merge_groups as in_group on in_group.uid = told.group_uid
    join ${members} as one on one.uid = told.member_uid and not one.is_gone and not one.is_frozen`
  const known = (isLeft: RawBuilder<unknown>) => sql`
    select one.no, in_group.rank, in_group.uid, in_group.named from ${members} as one
    cross join unnest(one.group_uids) as member_of(uid)
    join merge_groups as in_group on in_group.uid = member_of.uid
    where not one.is_gone and (one.is_frozen or ${isLeft})`
  if (merge.areMembershipsComplete) {
    const all = told(sql`(select group_uid, member_uid from ${memberships} where not is_removed)`)
    return merge.fuse === 'approved' || isAnyKept
      ? sql`${all} union all ${known(sql`in_group.is_kept`)}`
      : all
  }
  const last = sql`(
    select distinct on (group_uid, member_uid) group_uid, member_uid, is_removed from ${memberships}
    where member_uid is not null order by group_uid, member_uid, n desc
  )`
  // Whom a full run asked for their groups, in vain.
  const isUnread = merge.mode === 'full' ? sql`one.entity_id in (${keptIn(comparing)})` : sql`false`
  return sql`
    ${told(sql`(select * from ${last} as last where not is_removed)`)}
    union all
    ${known(sql`(not in_group.is_renewed or ${isUnread}) and not exists (
      select from ${last} as last
      where last.is_removed and last.group_uid = in_group.uid and last.member_uid = one.uid
    )`)}`
}
