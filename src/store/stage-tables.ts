/** The tables of a run: unlogged, so that they cost little, and empty after a crash of the database. */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Schema } from './schema.ts'

type Query = Kysely<Schema> | Transaction<Schema>

/** Names of a run's tables, as SQL. */
export interface StageTables {
  /**
   * A row for each time that an entity was told of. One without a label says that it is gone; one with a label and
   * without a document, that its document is the open revision's.
   */
  readonly entities: string
  /** A row without a member names a group whose members are read anew, whole. */
  readonly memberships: string
  /**
   * Facts by name; activity is told likewise, that an entity was seen and could not be read (`kept`), and in increments
   * the names of facts that are told whole by the rows after it (`whole`).
   */
  readonly facts: string
}

export function stageTablesOf(runId: string): StageTables {
  const id = runId.toLowerCase()
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) throw new Error('a run id is a UUID')
  const suffix = id.replaceAll('-', '')
  return {
    entities: `sync_stage.entities_${suffix}`,
    memberships: `sync_stage.memberships_${suffix}`,
    facts: `sync_stage.facts_${suffix}`,
  }
}

/** `n` orders the rows of a table: what was told later counts. */
export async function createStageTables(query: Query, runId: string): Promise<void> {
  const { entities, memberships, facts } = stageTablesOf(runId)
  await dropStageTables(query, runId)
  for (const statement of [
    // Rows are read whole, and soon: they are kept in one piece where they fit a page.
    `create unlogged table ${entities} (
      n bigint not null,
      kind smallint not null,
      entity_id uuid not null,
      uid text collate "C" not null,
      label text,
      member_count integer,
      members_tag text,
      activity text,
      document_hash uuid,
      attributes text,
      raw text,
      terms tsvector,
      keys text[]
    ) with (autovacuum_enabled = false, toast_tuple_target = 8160)`,
    `create index on ${entities} (kind, uid)`,
    `create unlogged table ${memberships} (
      n bigint not null,
      group_uid text collate "C" not null,
      member_uid text collate "C",
      is_removed boolean not null,
      member_count integer,
      told_ids uuid[]
    ) with (autovacuum_enabled = false)`,
    `create unlogged table ${facts} (
      n bigint not null,
      entity_id uuid not null,
      name text not null,
      value text collate "C",
      terms text[]
    ) with (autovacuum_enabled = false)`,
  ])
    await sql.raw(statement).execute(query)
}

export async function dropStageTables(query: Query, runId: string): Promise<void> {
  await sql.raw(`drop table if exists ${Object.values(stageTablesOf(runId)).join(', ')}`).execute(query)
}
