/** Finds entities by what identifies them: their id, or an exact name. */
import type { Kysely } from 'kysely'
import {
  columnsUnseen,
  momentText,
  packedUnseen,
  type RevisionRow,
  revisionsOf,
  rowsOf,
  seen,
  type Unseen,
  unpack,
} from './entity-rows.ts'
import type { Span } from './entity-search.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'
import type { Sightings } from './sightings.ts'

type Query = Kysely<Schema>

/** Of the name of a statement, which differs with its columns. */
const rawOf = (withRaw: boolean) => (withRaw ? '_with_raw' : '')

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
      // Kind by kind, which `offset 0` keeps apart, and `is true`: for several kinds or by time, the planner would walk other
      // indexes than the primary key's. `limit`, as it takes a list of unknown length for a long one.
      prepared(
        `entity_by_id${rawOf(withRaw)}`,
        `select ${columnsUnseen(withRaw)} from (
          select kind from unnest($2::smallint[]) as kind limit 3) as asked
        cross join lateral (
          select * from entity_revisions v
          where v.organization_id = $1 and v.kind = asked.kind and v.entity_id = $3
            and (v.first_seen_at <= $5::timestamptz and v.ended_at > $4::timestamptz) is true
          offset 0) as r
        order by r.kind, r.first_seen_at`,
      ),
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
    // `is true`: the indexes of terms and of times have no part in this.
    revisionsOf<Unseen<KeyedRow>>(
      query,
      prepared(
        `entities_by_key${rawOf(withRaw)}`,
        `select ${columnsUnseen(withRaw)}, (r.terms @@ $4::tsquery) is true as is_match
        from entity_keys k
        join entity_revisions r on r.organization_id = $1 and r.kind = $2 and r.entity_id = k.entity_id
        where k.organization_id = $1 and k.key = $3 and k.kind = $2
          and (r.first_seen_at <= $6::timestamptz and r.ended_at > $5::timestamptz) is true
        order by r.entity_id, r.first_seen_at limit $7`,
      ),
      [organizationId, kind, key, terms, span.from, span.to, limit],
    ),
    sightings.of(organizationId),
  ])
  return rows.map((row) => seen(row, seenAt(row.config_id, row.kind)))
}

export interface PrincipalRow extends RevisionRow {
  /** Place of the key in what was asked, from 0. */
  readonly place: number
  /** Whether the key is the label as it is: then it is a whole name. */
  readonly is_label: boolean
}

/**
 * What was known at a moment of the entities that had each of the keys then: of each entity the one revision that held,
 * in no order. Its label or its terms prove that the name was its own at that moment.
 */
export async function findByKeys(
  query: Query,
  wanted: {
    readonly organizationId: string
    readonly kind: number
    readonly keys: readonly string[]
    /** A tsquery of the terms that a key stands in, which is written `%1$s`. */
    readonly plainTerms: string
    /** The tsquery of a key that does not fit there; null for one that does. */
    readonly terms: readonly (string | null)[]
    readonly at: string
    /** Entities of each key. */
    readonly limit: number
    readonly withRaw: boolean
  },
): Promise<PrincipalRow[]> {
  const { organizationId, kind, keys, plainTerms, terms, at, limit, withRaw } = wanted
  // Thousands of revisions share a few configurations, which are read beside them.
  const [rows, configs] = await Promise.all([
    rowsOf<Pick<PrincipalRow, 'place' | 'is_label'> & { readonly packed: string }>(
      query,
      prepared(
        `entities_by_keys${rawOf(withRaw)}`,
        // In the order of keys, so that those beside each other find their pages of the index read. Most are the label as it
        // is, and reading a tsquery takes longer than that comparison.
        `select (asked.place - 1)::integer as place, r.label = asked.key as is_label, ${packedUnseen(withRaw)} as packed
        from (
          select * from unnest($3::text[], $4::text[]) with ordinality as asked (key, terms, place)
          order by key collate "C") as asked
        cross join lateral (
          select k.entity_id from entity_keys k
          where k.organization_id = $1 and k.kind = $2 and k.key = asked.key
          order by k.entity_id limit $6) as k
        cross join lateral (
          select * from entity_revisions v
          where v.organization_id = $1 and v.kind = $2 and v.entity_id = k.entity_id and v.first_seen_at <= $5::timestamptz
          order by v.first_seen_at desc limit 1) as r
        where r.ended_at > $5::timestamptz
          and (r.label = asked.key or r.terms @@ coalesce(asked.terms, format($7::text, asked.key))::tsquery)`,
      ),
      [organizationId, kind, keys, terms, at, limit, plainTerms],
    ),
    rowsOf<{ readonly id: string; readonly config: string; readonly seen_at: string | null }>(
      query,
      `select c.id, c.integration_type || ' ' || c.domain as config, ${momentText('s.seen_at')} as seen_at
      from integration_configs c left join entity_sightings s on s.config_id = c.id and s.kind = $2
      where c.organization_id = $1`,
      [organizationId, kind],
    ),
  ])
  const known = new Map(configs.map((one) => [one.id, one]))
  return rows.flatMap(({ place, is_label, packed }) => {
    const row = unpack(packed)
    const found = known.get(row.config_id)
    if (found === undefined) return []
    return [seen<PrincipalRow>({ ...row, place, is_label, kind, config: found.config }, found.seen_at)]
  })
}
