/** Writes the changes that a comparison found: revisions, keys and sightings. */
import { sql } from 'kysely'
import { type EntityKind, entityKinds, factNames, kindNumbers } from '../entities/model.ts'
import { contentHash } from './merge-comparison.ts'
import { type Comparing, isKnown, stageOf, toldOf, toldSince } from './merge-tables.ts'
import { allTerms, termsWithActivity } from './merge-terms.ts'
import { stageTablesOf } from './stage-tables.ts'

/** Time and number of a merge. */
export interface MergeMoment {
  readonly at: Date
  readonly sequence: number
}

/** How many more there are of a kind than before. */
export interface Growth {
  readonly open: number
  readonly memberships: number
}

/** Takes the organisation's next moment: until the transaction ends, nobody else merges there. */
export async function nextMoment({ transaction, merge }: Comparing): Promise<MergeMoment> {
  const { rows } = await sql<MergeMoment>`
    insert into entity_clocks (organization_id, sequence, at) values (${merge.run.organizationId}, 1, ${merge.now})
    on conflict (organization_id) do update set
      sequence = entity_clocks.sequence + 1,
      at = greatest(excluded.at, entity_clocks.at + interval '1 millisecond')
    returning sequence, at`.execute(transaction)
  const [moment] = rows
  if (moment === undefined) throw new Error('a row that is inserted or updated is returned')
  return moment
}

export async function writeChanges(comparing: Comparing, moment: MergeMoment): Promise<void> {
  for (const statement of [
    endRevisions(comparing, moment),
    orderRevisions,
    // Rows of the stage are fetched where they stand: nothing is sorted or hashed together with its documents.
    sql`set local enable_hashjoin = off`,
    sql`set local enable_mergejoin = off`,
    insertRevisions(comparing, moment),
    sql`set local enable_hashjoin = on`,
    sql`set local enable_mergejoin = on`,
    refreshRevisions(comparing),
    insertKeys(comparing),
  ])
    await statement.execute(comparing.transaction)
}

const endRevisions = (comparing: Comparing, { at, sequence }: MergeMoment) => sql`
  update entity_revisions as known set
    ended_at = ${at}, closed_in = ${sequence}, last_seen_at = greatest(known.first_seen_at, sighting.seen_at)
  from merge_changes as change
  join merge_entities as one on one.no = change.no
  left join entity_sightings as sighting
    on sighting.config_id = ${comparing.merge.run.configId} and sighting.kind = one.kind
  where change.change in ('changed', 'removed') and ${isKnown(comparing)}`

/** New revisions without their documents, in the order of the ids, which most indexes have too. */
const orderRevisions = sql`
  create temporary table merge_revisions on commit drop as
  select one.kind, one.entity_id, one.uid, one.label, one.staged_at, one.opened_at, one.members_tag,
    coalesce(one.document_hash, one.known_document_hash) as document_hash,
    change.facts, change.group_uids, change.groups, change.activity as activity_after, change.members_print,
    change.role_terms, change.has_roles
  from merge_changes as change join merge_entities as one on one.no = change.no
  where change.change in ('added', 'changed')
  order by one.entity_id`

function insertRevisions(comparing: Comparing, { at, sequence }: MergeMoment) {
  const { organizationId, configId } = comparing.merge.run
  const terms = allTerms({
    organizationId,
    kind: sql`one.kind`,
    staged: sql`told.terms`,
    known: sql`known.terms`,
    attributes: sql`document.attributes`,
    facts: sql`fact.facts`,
    groupUids: sql`document.group_uids`,
    activity: sql`one.activity_after`,
    roleTerms: sql`one.role_terms`,
    hasRoles: sql`one.has_roles`,
  })
  return sql`
    insert into entity_revisions (
      organization_id, kind, entity_id, first_seen_at, config_id, opened_in, content_hash, document_hash, uid, label,
      attributes, facts, group_uids, groups, activity, raw, members_tag, members_print, terms
    )
    select ${organizationId}, one.kind, one.entity_id, ${at}, ${configId}, ${sequence},
      ${contentHash(sql`one.document_hash`, sql`one.facts`, sql`document.groups`)}, one.document_hash,
      one.uid, one.label, document.attributes, one.facts, document.group_uids, document.groups, one.activity_after,
      document.raw, one.members_tag, one.members_print, ${terms}
    from merge_revisions as one
    left join ${stageOf(comparing).entities} as told on told.ctid = one.staged_at
    left join entity_revisions as known on ${isKnown(comparing)}
    cross join lateral (
      -- What was not staged was known: with other attributes than it has the hash of, no revision can be written.
      select coalesce(told.attributes, case when one.document_hash is not distinct from known.document_hash then known.attributes end) as attributes,
        coalesce(told.raw, known.raw) as raw,
        coalesce(one.group_uids, known.group_uids) as group_uids, coalesce(one.groups, known.groups) as groups
    ) as document
    cross join lateral (
      select case when one.facts <> '{}' then one.facts::jsonb end as facts offset 0
    ) as fact`
}

/** In place: what changes by itself makes no revision. */
const refreshRevisions = (comparing: Comparing) => sql`
  update entity_revisions as known set
    activity = change.activity, members_tag = one.members_tag, members_print = change.members_print,
    terms = ${termsWithActivity(
      comparing.merge.run.organizationId,
      sql`known.terms`,
      sql`known.activity`,
      sql`change.activity`,
    )}
  from merge_changes as change
  join merge_entities as one on one.no = change.no
  where change.change = 'refreshed' and ${isKnown(comparing)}`

function insertKeys(comparing: Comparing) {
  const { organizationId, configId } = comparing.merge.run
  // Nobody else writes keys of these entities meanwhile; looked up beforehand, those that are there cost less.
  return sql`
    insert into entity_keys (organization_id, key, kind, entity_id, config_id)
    select ${organizationId}, told.key, told.kind, told.entity_id, ${configId} from (
      select distinct told.key, one.kind, one.entity_id
      from merge_changes as change
      join merge_entities as one on one.no = change.no
      cross join lateral (
        select unnest(keys) as key from ${stageOf(comparing).entities} as staged where staged.ctid = one.staged_at
      ) as told
      where change.change in ('added', 'changed')
      order by told.key, one.kind, one.entity_id
    ) as told
    where not exists (
      select from entity_keys as known where known.organization_id = ${organizationId}
        and known.key = told.key and known.kind = told.kind and known.entity_id = told.entity_id
    )
    order by told.key`
}

/** Has a run that waits for approval know of whom an increment told more than their activity: what it has read is older. */
export async function tellHeldRun(comparing: Comparing): Promise<void> {
  const { transaction, merge } = comparing
  const held = await transaction
    .selectFrom('sync_runs')
    .select('id')
    .where('config_id', '=', merge.run.configId)
    .where('status', '=', 'quarantined')
    // A crash, or a backup that was restored, has left nothing of what it had read.
    .where(sql<boolean>`exists (select from sync_stage.runs where run_id = sync_runs.id)`)
    // Its tables stay until this is committed.
    .forShare()
    .executeTakeFirst()
  if (held === undefined) return
  await sql`
    insert into ${sql.raw(stageTablesOf(held.id).facts)} (n, entity_id, name)
    select 0, entity_id, ${toldSince}
    from (${toldOf(comparing, sql`name = any(${[...factNames, 'whole']}::text[])`)}) as told`.execute(
    transaction,
  )
}

/** Moves the sightings of what was proved, and keeps the counts. */
export async function recordSightings(
  { transaction, merge }: Comparing,
  { at, sequence }: MergeMoment,
  growth: Readonly<Record<EntityKind, Growth>>,
): Promise<void> {
  const { organizationId, configId } = merge.run
  const knowsMemberships = merge.areMembershipsComplete
  const kinds = entityKinds.filter(
    (kind) =>
      merge.provenKinds.includes(kind) ||
      growth[kind].open !== 0 ||
      growth[kind].memberships !== 0 ||
      (kind === 'group' && knowsMemberships),
  )
  for (const kind of kinds) {
    const isProven = merge.provenKinds.includes(kind)
    const { open, memberships } = growth[kind]
    const membershipsIn = merge.fuse === 'approved' ? null : sequence
    await sql`
      insert into entity_sightings as sighting
        (config_id, kind, organization_id, seen_at, open_count, membership_count, memberships_in)
      values (${configId}, ${kindNumbers[kind]}, ${organizationId}, ${at}, ${open}, ${memberships},
        ${kind === 'group' && knowsMemberships ? membershipsIn : null})
      on conflict (config_id, kind) do update set
        seen_at = ${isProven ? sql`excluded.seen_at` : sql`sighting.seen_at`},
        open_count = sighting.open_count + excluded.open_count,
        membership_count = sighting.membership_count + excluded.membership_count,
        memberships_in = ${kind === 'group' && knowsMemberships ? sql`excluded.memberships_in` : sql`sighting.memberships_in`}
    `.execute(transaction)
  }
}
