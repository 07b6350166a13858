/** Revisions as answers need them: documents as stored texts. */
import { CompiledQuery, type Kysely } from 'kysely'
import type { Schema } from './schema.ts'

export interface RevisionRow {
  readonly kind: number
  readonly entity_id: string
  readonly config_id: string
  /** Integration type and domain of the configuration, with a blank between. */
  readonly config: string
  /** `momentText`. */
  readonly first_seen_at: string
  readonly last_seen_at: string
  readonly attributes: string
  readonly facts: string
  readonly groups: string
  readonly activity: string
  /** Where it was asked for. */
  readonly raw?: string
}

/** To the microsecond, for what is given back to the database. */
export const exactTimeText = (time: string) =>
  `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

/**
 * A time in UTC as PostgreSQL writes it, `2026-11-24 09:00:00.25`; times compare as their texts do. Thousands of them are
 * only shown: as dates, they would take longer than all else that a revision needs.
 */
export const momentText = (time: string) => `(${time} at time zone 'UTC')::text`

/** What a revision itself holds. */
export const ownColumns = (withRaw: boolean) =>
  `r.kind, r.entity_id, r.config_id, ${momentText('r.first_seen_at')} as first_seen_at, r.attributes, r.facts, r.groups, r.activity${withRaw ? ', r.raw' : ''}`

// Subqueries and no joins: planning those takes longer than reading a revision does. `$1` is the organisation.
const config = `(select c.integration_type || ' ' || c.domain from integration_configs c
    where c.id = r.config_id and c.organization_id = $1) as config`

/** Of `r`, a revision. An open one was seen whenever its configuration's entities of the kind were. */
export const columns = (withRaw: boolean) => `${ownColumns(withRaw)}, ${config},
  ${momentText(`case when r.ended_at = 'infinity' then greatest(r.first_seen_at, (
    select s.seen_at from entity_sightings s where s.config_id = r.config_id and s.kind = r.kind
  )) else coalesce(r.last_seen_at, r.first_seen_at) end`)} as last_seen_at`

const lastSeenOfEnded = momentText(
  "case when r.ended_at <> 'infinity' then coalesce(r.last_seen_at, r.first_seen_at) end",
)

/** The same without the last sighting of what is open. */
export const columnsUnseen = (withRaw: boolean) =>
  `${ownColumns(withRaw)}, ${config}, ${lastSeenOfEnded} as last_seen_at`

/** No JSON text has it: within strings it would be escaped. */
const unitSeparator = '\x1f'

/**
 * The same without kind and configuration, as one text: of thousands of rows, the driver's work is by the field.
 * `unpack` takes it apart.
 */
export const packedUnseen = (withRaw: boolean) => `concat_ws(E'\\x1f', r.entity_id, r.config_id,
  ${momentText('r.first_seen_at')}, coalesce(${lastSeenOfEnded}, ''), r.attributes, r.facts, r.groups, r.activity${withRaw ? ', r.raw' : ''})`

export function unpack(packed: string): Omit<Unseen, 'kind' | 'config'> {
  const [
    entity_id = '',
    config_id = '',
    first_seen_at = '',
    last_seen_at = '',
    attributes = '',
    facts = '',
    groups = '',
    activity = '',
    raw,
  ] = packed.split(unitSeparator)
  const row = {
    entity_id,
    config_id,
    first_seen_at,
    last_seen_at: last_seen_at === '' ? null : last_seen_at,
    attributes,
    facts,
    groups,
    activity,
  }
  return raw === undefined ? row : { ...row, raw }
}

export type Unseen<Row extends RevisionRow = RevisionRow> = Omit<Row, 'last_seen_at'> & {
  readonly last_seen_at: string | null
}

/** Adds the sighting, to the row itself: there may be thousands. */
export function seen<Row extends RevisionRow>(row: Unseen<Row>, seenAt: string | null | undefined): Row {
  const { first_seen_at } = row
  const last_seen_at = row.last_seen_at ?? (seenAt && seenAt > first_seen_at ? seenAt : first_seen_at)
  return Object.assign(row, { last_seen_at }) as unknown as Row
}

/** What is left of a configuration that was deleted is nobody's any more. `$1` is the organisation. */
export const ofLivingConfig = (revision: string) =>
  `${revision}.config_id = any(array(select id from integration_configs where organization_id = $1))`

/**
 * Another revision of the entity that `r` is of; null when there is none. To be compared with null, and so asked for each
 * row: `exists` would be made a join over all of them.
 */
export const isThere = (revision: string, condition: string) =>
  `(select 1 from entity_revisions ${revision} where ${revision}.organization_id = r.organization_id
    and ${revision}.kind = r.kind and ${revision}.entity_id = r.entity_id and ${condition} limit 1)`

/** Runs SQL as it is written here: the builder would cost more than some of the statements do. */
export async function rowsOf<Row>(
  query: Kysely<Schema>,
  text: string,
  parameters: readonly unknown[],
): Promise<Row[]> {
  return (await query.executeQuery<Row>(CompiledQuery.raw(text, [...parameters]))).rows
}

/** The same for revisions with `columns`, without those of configurations that are gone. */
export async function revisionsOf<Row extends Unseen = RevisionRow>(
  query: Kysely<Schema>,
  text: string,
  parameters: readonly unknown[],
): Promise<Row[]> {
  const rows = await rowsOf<Row & { readonly config: string | null }>(query, text, parameters)
  return rows.some(({ config }) => config === null) ? rows.filter(({ config }) => config !== null) : rows
}

/** Collects parameters beside the text that names them. */
export class Parameters {
  readonly values: unknown[]

  constructor(...values: readonly unknown[]) {
    this.values = [...values]
  }

  /** `$n` */
  add(value: unknown): string {
    return `$${this.values.push(value)}`
  }
}
