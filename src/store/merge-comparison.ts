/** Compares what a run has staged with what is open. */
import { type RawBuilder, sql } from 'kysely'
import { factNames, kindNumbers } from '../entities/model.ts'
import { regroup } from './merge-memberships.ts'
import {
  type Comparing,
  createMergeTables,
  isWhole,
  keptIn,
  stageOf,
  toldOf,
  toldSince,
} from './merge-tables.ts'
import { membersOf } from './merge-terms.ts'
import { renewedGroups, unreadGroups, unreadTag } from './renewed-groups.ts'
import { stageTablesOf } from './stage-tables.ts'

const groupKind = sql.lit(kindNumbers.group)
const allKinds = Object.values(kindNumbers)

/** Whether there is anything to compare. */
export async function hasNews(comparing: Comparing): Promise<boolean> {
  if (isWhole(comparing.merge)) return true
  const { entities, memberships, facts } = stageOf(comparing)
  const { rows } = await sql<{ is_any: boolean }>`
    select exists (select from ${entities}) or exists (select from ${memberships})
      or exists (select from ${facts}) as is_any`.execute(comparing.transaction)
  return rows[0]?.is_any === true
}

/** Fills `merge_changes`. */
export async function compare(comparing: Comparing): Promise<void> {
  const { transaction, merge } = comparing
  const { entities, memberships, facts } = stageOf(comparing)
  const run = (statement: RawBuilder<unknown>) => statement.execute(transaction)

  // What was told last counts.
  await run(sql`
    delete from ${entities} as staged using (
      select entity_id, max(n) as n from ${entities} group by entity_id having count(*) > 1
    ) as last where staged.entity_id = last.entity_id and staged.n < last.n`)
  if (merge.fuse === 'approved') await freeze(comparing)
  await run(sql`analyze ${entities} (kind, entity_id)`)
  await run(sql`analyze ${memberships} (group_uid, member_uid)`)
  await run(sql`analyze ${facts} (entity_id, name)`)

  await createMergeTables(comparing)
  await run(isWhole(merge) ? insertAll(comparing) : insertTouched(comparing))
  await run(sql`analyze merge_entities (no, kind, entity_id, uid, opened_at)`)
  const grouped = await regroup(comparing)
  await run(insertChanges(comparing, grouped))
  await run(sql`analyze merge_changes (no, change)`)
}

/** Puts aside what other runs were told of or have changed since the run began: they know better. */
async function freeze(comparing: Comparing): Promise<void> {
  const { transaction, merge } = comparing
  const { organizationId, configId, id } = merge.run
  const { entities, facts } = stageOf(comparing)
  await sql`create temporary table merge_frozen (entity_id uuid primary key) on commit drop`.execute(
    transaction,
  )
  const since = sql`(select since from sync_stage.runs where run_id = ${id})`
  await sql`
    insert into merge_frozen
    select entity_id from entity_revisions
    where organization_id = ${organizationId} and opened_in > ${since} and config_id = ${configId}
    union
    select entity_id from entity_revisions
    where organization_id = ${organizationId} and closed_in > ${since} and config_id = ${configId}
    union
    select entity_id from ${facts} where name = ${toldSince}
  `.execute(transaction)
  await sql`delete from ${entities} where entity_id in (select entity_id from merge_frozen)`.execute(
    transaction,
  )
  await sql`
    delete from ${facts} where entity_id in (select entity_id from merge_frozen) and name <> 'kept'`.execute(
    transaction,
  )
}

/** Values for `merge_entities`, from `told` and `known`. */
function sideBySide(comparing: Comparing) {
  const { merge } = comparing
  const kinds = merge.completeKinds.map((kind) => kindNumbers[kind])
  const frozen =
    merge.fuse === 'approved' ? sql`known.entity_id in (select entity_id from merge_frozen)` : sql`false`
  return sql`
    row_number() over (), coalesce(told.kind, known.kind), coalesce(told.entity_id, known.entity_id),
    coalesce(told.uid, known.uid), coalesce(told.label, known.label),
    known.entity_id is not null and case
      when told.entity_id is not null then told.label is null
      else known.kind = any(${kinds}::smallint[]) and not ${frozen}
        and known.entity_id not in (${keptIn(comparing)})
    end,
    known.entity_id is not null and ${frozen},
    coalesce(told.label <> known.label, false),
    case when told.label is not null then told.ctid end, told.document_hash, told.activity,
    case
      when ${frozen} then known.members_tag
      when coalesce(told.kind, known.kind) = ${groupKind}
        and coalesce(told.entity_id, known.entity_id) in (${keptIn(comparing)}) then ${unreadTag}
      else coalesce(told.members_tag, nullif(known.members_tag, ${unreadTag}))
    end,
    known.first_seen_at, known.opened_in, known.content_hash, known.document_hash, known.facts, known.activity,
    known.members_tag, known.members_print,
    case when ${merge.areMembershipsComplete ? sql`${frozen} or exists (${keptIn(comparing)})` : sql`true`} then known.group_uids end`
}

const insertAll = (comparing: Comparing) => sql`
  insert into merge_entities select ${sideBySide(comparing)}
  from ${stageOf(comparing).entities} as told
  full join (
    select * from entity_revisions where config_id = ${comparing.merge.run.configId} and ended_at = 'infinity'
  ) as known on known.entity_id = told.entity_id
  where told.label is not null or known.entity_id is not null`

function insertTouched(comparing: Comparing) {
  const { merge } = comparing
  const { organizationId, configId } = merge.run
  const { entities } = stageOf(comparing)
  const changedGroups = sql`
    ${renewedGroups(stageTablesOf(merge.run.id), merge.run, merge.mode)}
    union
    select told.uid from ${entities} as told
    join entity_revisions as known on known.organization_id = ${organizationId}
      and known.kind = told.kind and known.entity_id = told.entity_id and known.ended_at = 'infinity'
    where told.kind = ${groupKind} and told.label is distinct from known.label`
  return sql`
    insert into merge_entities
    with touched as (
      ${toldOf(comparing, sql`true`)}
      union select entity_id from ${unreadGroups(merge.run)}
      union select entity_id from (${membersOf(merge.run, changedGroups)}) as member
    )
    select ${sideBySide(comparing)}
    from touched
    left join ${entities} as told on told.entity_id = touched.entity_id
    left join (select * from entity_revisions) as known on known.config_id = ${configId}
      and known.ended_at = 'infinity' and known.kind = any(${allKinds}::smallint[])
      and known.entity_id = touched.entity_id
    where told.label is not null or known.entity_id is not null`
}

function insertChanges(comparing: Comparing, grouped: RawBuilder<unknown>) {
  const { merge } = comparing
  const { facts } = stageOf(comparing)
  const complete = sql`${[...merge.completeFacts]}::text[]`
  // What a full run did not hear to its end, it does not believe.
  const believed = merge.mode === 'full' ? merge.completeFacts : factNames
  /** Of a row `fact`: it was not told before facts of its name were told whole. */
  const isLast = sql`not exists (
    select from whole where whole.entity_id = fact.entity_id and whole.name = fact.name and whole.n > fact.n
  )`
  const [known, staged, told] = ['one.activity', 'one.staged_activity', 'told_activity.activity'].map(
    (name) => sql.ref(name),
  ) as [RawBuilder<unknown>, RawBuilder<unknown>, RawBuilder<unknown>]
  return sql`
    insert into merge_changes
    with grouped as (${grouped}), whole as (
      select entity_id, value as name, max(n) as n from ${facts}
      where ${merge.mode === 'full' ? sql`false` : sql`name = 'whole'`} group by entity_id, value
    ), whole_names as (
      select entity_id, array_agg(name) as names from whole group by entity_id
    ), told_facts as (
      select entity_id, name,
        case name when 'has_mfa' then to_jsonb((array_agg(value order by n desc))[1] = 'true')
          else to_jsonb(array_agg(distinct value order by value)) end as value
      from ${facts} as fact where name = any(${[...believed]}::text[]) and ${isLast} group by entity_id, name
    ), told_roles as (
      select entity_id, array_agg(distinct term) as terms
      from ${facts} as fact, unnest(terms) as term where name = 'roles' and ${isLast} group by entity_id
    ), told as (
      select entity_id, jsonb_object_agg(name, value) as facts from told_facts group by entity_id
    ), told_activity as (
      select distinct on (entity_id) entity_id, value as activity
      from ${facts} where name = 'activity'
      order by entity_id, ${signInTime(sql`value`)} desc nulls last, n desc
    )
    select one.no, result.change, now_told.facts, now_told.activity,
      grouped.group_uids, grouped.groups, as_group.members_print, told_roles.terms,
      not one.is_frozen and ('roles' = any(${complete} || whole_names.names)
        or coalesce(told.facts -> 'roles' is not null, false))
    from merge_entities as one
    left join grouped on grouped.no = one.no
    left join merge_groups as as_group on as_group.no = one.no
    left join whole_names on whole_names.entity_id = one.entity_id
    left join told on told.entity_id = one.entity_id
    left join told_roles on told_roles.entity_id = one.entity_id
    left join told_activity on told_activity.entity_id = one.entity_id
    cross join lateral (
      select case
        when one.facts is null or one.facts = '{}' then '{}'
        when cardinality(${complete} || whole_names.names) = 0 or one.is_frozen then one.facts
        else (one.facts::jsonb - (${complete} || whole_names.names))::text
      end as facts, ${combined(staged, told)} as activity
      offset 0
    ) as told_now
    cross join lateral (
      select
        case when told.facts is null then told_now.facts else (told_now.facts::jsonb || told.facts)::text end as facts,
        ${combined(known, sql.ref('told_now.activity'))} as activity
      offset 0
    ) as now_told
    cross join lateral (
      select case
        when one.is_gone then 'removed'
        when one.opened_at is null then 'added'
        when one.document_hash <> one.known_document_hash or now_told.facts <> one.facts then 'changed'
        when grouped.no is not null and ${contentHash(
          sql`coalesce(one.document_hash, one.known_document_hash)`,
          sql`now_told.facts`,
          sql`grouped.groups`,
        )} <> one.content_hash then 'changed'
        when now_told.activity <> one.activity
          or one.members_tag is distinct from one.known_members_tag
          or as_group.members_print is distinct from one.known_members_print then 'refreshed'
      end as change
      offset 0
    ) as result
    where result.change is not null`
}

/** Of what makes a revision. */
export const contentHash = (
  documentHash: RawBuilder<unknown>,
  facts: RawBuilder<unknown>,
  groups: RawBuilder<unknown>,
): RawBuilder<unknown> => sql`md5(${documentHash}::text || ${facts} || ${groups})::uuid`

/** Of an activity; a source writes all of its times in one form, so that the text tells which is later. */
const signInTime = (activity: RawBuilder<unknown>): RawBuilder<unknown> =>
  sql`substring(${activity} from '"last_login_time":"([^"]+)"') collate "C"`

/**
 * What is known of an activity with what is told besides, written as it is staged: its members in their order. The
 * address is that of the sign-in whose time stands beside it, and a sign-in that is told late sets nothing back.
 */
const combined = (known: RawBuilder<unknown>, told: RawBuilder<unknown>): RawBuilder<unknown> => sql`
  case
    when ${told} is null or ${told} = '{}' or ${told} = ${known} then coalesce(${known}, '{}')
    when ${known} is null or ${known} = '{}' then ${told}
    else (
      select '{' || string_agg(to_json(name) || ':' || to_json(value), ',' order by name collate "C") || '}'
      from jsonb_each_text(case
        when ${signInTime(told)} is null or ${signInTime(told)} = ${signInTime(known)}
          then ${known}::jsonb || ${told}::jsonb
        when ${signInTime(told)} < ${signInTime(known)}
          then ${known}::jsonb || (${told}::jsonb - '{last_login_time,last_login_ip}'::text[])
        else (${known}::jsonb - 'last_login_ip') || ${told}::jsonb
      end) as each(name, value)
    )
  end`
