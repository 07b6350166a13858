/** Tables of a merge's transaction, in which it works out what has changed. */
import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Merge } from './merge.ts'
import type { Schema } from './schema.ts'
import { stageTablesOf } from './stage-tables.ts'

export interface Comparing {
  readonly transaction: Transaction<Schema>
  readonly merge: Merge
}

export async function createMergeTables({ transaction }: Comparing): Promise<void> {
  for (const statement of [
    // Entities that could change. What is `known` is of the open revision; `staged_at` is where it stands in the stage.
    sql`create temporary table merge_entities (
      no integer not null,
      kind smallint not null,
      entity_id uuid not null,
      uid text collate "C" not null,
      label text not null,
      is_gone boolean not null,
      is_frozen boolean not null,
      is_renamed boolean not null,
      staged_at tid,
      document_hash uuid,
      staged_activity text,
      members_tag text,
      opened_at timestamptz,
      opened_in bigint,
      content_hash uuid,
      known_document_hash uuid,
      facts text,
      activity text,
      known_members_tag text,
      known_members_print text,
      group_uids text[]
    ) on commit drop`,
    // Groups that there are afterwards, with what their members' documents say of them.
    sql`create temporary table merge_groups (
      no integer,
      rank integer not null,
      uid text collate "C" not null,
      named text not null,
      is_renewed boolean not null,
      is_kept boolean not null,
      is_changed boolean not null,
      members_print text
    ) on commit drop`,
    // Those whose groups may be others than before.
    sql`create temporary table merge_regrouped (no integer primary key) on commit drop`,
    // Changes. Without groups they stay as they are.
    sql`create temporary table merge_changes (
      no integer not null,
      change text not null,
      facts text not null,
      activity text not null,
      group_uids text[],
      groups text,
      members_print text,
      role_terms text[],
      has_roles boolean not null
    ) on commit drop`,
  ])
    await statement.execute(transaction)
}

/** Whether everything that is open could change, and not only what was told of. */
export const isWhole = ({ mode, completeKinds, areMembershipsComplete, completeFacts }: Merge): boolean =>
  mode === 'full' || completeKinds.length > 0 || areMembershipsComplete || completeFacts.length > 0

/** The tables of the run, as SQL. */
export function stageOf({ merge }: Comparing) {
  const { entities, memberships, facts } = stageTablesOf(merge.run.id)
  return { entities: sql.raw(entities), memberships: sql.raw(memberships), facts: sql.raw(facts) }
}

/** Whom the run met and could not read: a query of their `entity_id`. */
export const keptIn = (comparing: Comparing): RawBuilder<unknown> =>
  sql`select entity_id from ${stageOf(comparing).facts} where name = 'kept'`

/** Of whom the run told, by its entities, its memberships and those of its facts: a query of their `entity_id`. */
export function toldOf(comparing: Comparing, isFactMeant: RawBuilder<unknown>): RawBuilder<unknown> {
  const { entities, memberships, facts } = stageOf(comparing)
  return sql`
    select entity_id from ${entities}
    union select entity_id from ${facts} where ${isFactMeant}
    union select unnest(told_ids) from ${memberships}`
}

/** In the facts of a run that waits for approval: an increment told of this entity since. */
export const toldSince = 'told_since'

/** The open revision of a row of `merge_entities` called `one`, as `known`. */
export const isKnown = ({ merge: { run } }: Comparing): RawBuilder<unknown> => sql`
  known.organization_id = ${run.organizationId} and known.kind = one.kind
  and known.entity_id = one.entity_id and known.first_seen_at = one.opened_at`
