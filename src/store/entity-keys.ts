/** Finds entities by what identifies them: their id, or an exact name. */
import type { Kysely } from 'kysely'
import {
  columnsUnseen,
  ownColumns,
  type RevisionRow,
  revisionsOf,
  rowsOf,
  seen,
  type Unseen,
} from './entity-rows.ts'
import type { Span } from './entity-search.ts'
import type { Schema } from './schema.ts'
import type { Sightings } from './sightings.ts'

type Query = Kysely<Schema>

/** The revisions of an entity in a span. */
export async function findById(
  query: Query,
  sightings: Sightings,
  wanted: {
    readonly organizationId: string
    readonly kinds: readonly number[]
    readonly id: string
    readonly span: Span
    readonly withRaw: boolean
  },
): Promise<RevisionRow[]> {
  const { organizationId, kinds, id, span, withRaw } = wanted
  const [rows, seenAt] = await Promise.all([
    revisionsOf<Unseen>(
      query,
      `select ${columnsUnseen(withRaw)} from entity_revisions r
      where r.organization_id = $1 and r.kind = any($2::smallint[]) and r.entity_id = $3
        and r.first_seen_at <= $5::timestamptz and r.ended_at > $4::timestamptz
      order by r.kind, r.first_seen_at`,
      [organizationId, kinds, id, span.from, span.to],
    ),
    sightings.of(organizationId),
  ])
  return rows.map((row) => seen(row, seenAt(row.config_id, row.kind)))
}

export interface KeyedRow extends RevisionRow {
  readonly is_match: boolean
}

/** Revisions in a span of the entities that ever had an exact name; those that match are told. At most `limit`. */
export async function findByKey(
  query: Query,
  sightings: Sightings,
  wanted: {
    readonly organizationId: string
    readonly kind: number
    readonly key: string
    readonly terms: string
    readonly span: Span
    readonly limit: number
    readonly withRaw: boolean
  },
): Promise<KeyedRow[]> {
  const { organizationId, kind, key, terms, span, limit, withRaw } = wanted
  const [rows, seenAt] = await Promise.all([
    // `is true`: the index of terms has no part in this.
    revisionsOf<Unseen<KeyedRow>>(
      query,
      `select ${columnsUnseen(withRaw)}, (r.terms @@ $4::tsquery) is true as is_match
      from entity_keys k
      join entity_revisions r on r.organization_id = $1 and r.kind = $2 and r.entity_id = k.entity_id
      where k.organization_id = $1 and k.key = $3 and k.kind = $2
        and r.first_seen_at <= $6::timestamptz and r.ended_at > $5::timestamptz
      order by r.entity_id, r.first_seen_at limit $7`,
      [organizationId, kind, key, terms, span.from, span.to, limit],
    ),
    sightings.of(organizationId),
  ])
  return rows.map((row) => seen(row, seenAt(row.config_id, row.kind)))
}

export interface PrincipalRow extends RevisionRow {
  /** Place of the key in what was asked, from 0. */
  readonly place: number
}

/**
 * What was known at a moment of the entities that had each of the keys then: of each entity the one revision that held,
 * in no order. `terms` proves that the name was its own at that moment.
 */
export async function findByKeys(
  query: Query,
  wanted: {
    readonly organizationId: string
    readonly kind: number
    readonly keys: readonly string[]
    readonly terms: readonly string[]
    readonly at: string
    /** Entities of each key. */
    readonly limit: number
    readonly withRaw: boolean
  },
): Promise<PrincipalRow[]> {
  const { organizationId, kind, keys, terms, at, limit, withRaw } = wanted
  // Thousands of revisions share a few configurations, which are read beside them.
  const [rows, configs] = await Promise.all([
    rowsOf<Omit<Unseen<PrincipalRow>, 'config'>>(
      query,
      `select (asked.place - 1)::integer as place, ${ownColumns(withRaw)},
        case when r.ended_at <> 'infinity' then coalesce(r.last_seen_at, r.first_seen_at) end as last_seen_at
      from unnest($3::text[], $4::text[]) with ordinality as asked (key, terms, place)
      cross join lateral (
        select k.entity_id from entity_keys k
        where k.organization_id = $1 and k.kind = $2 and k.key = asked.key
        order by k.entity_id limit $6) as k
      cross join lateral (
        select * from entity_revisions v
        where v.organization_id = $1 and v.kind = $2 and v.entity_id = k.entity_id and v.first_seen_at <= $5::timestamptz
        order by v.first_seen_at desc limit 1) as r
      where r.ended_at > $5::timestamptz and r.terms @@ asked.terms::tsquery`,
      [organizationId, kind, keys, terms, at, limit],
    ),
    rowsOf<{ readonly id: string; readonly config: string; readonly seen_at: Date | null }>(
      query,
      `select c.id, c.integration_type || ' ' || c.domain as config, s.seen_at
      from integration_configs c left join entity_sightings s on s.config_id = c.id and s.kind = $2
      where c.organization_id = $1`,
      [organizationId, kind],
    ),
  ])
  const known = new Map(configs.map((one) => [one.id, one]))
  return rows.flatMap((row) => {
    const found = known.get(row.config_id)
    if (found === undefined) return []
    return [seen<PrincipalRow>(Object.assign(row, { config: found.config }), found.seen_at)]
  })
}
