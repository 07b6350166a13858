/** What is different of entities between two moments. */
import type { Kysely } from 'kysely'
import {
  columns,
  exactTimeText,
  isThere,
  ofLivingConfig,
  Parameters,
  type RevisionRow,
  revisionsOf,
  rowsOf,
} from './entity-rows.ts'
import { type Match, matches, type Scope } from './entity-search.ts'
import type { Schema } from './schema.ts'

type Query = Kysely<Schema>

/** When an entity was changed first between two moments, exactly. */
export interface Touch {
  readonly at: string
  readonly entity_id: string
}

/**
 * Entities of which something began or ended between two moments, the span, in the order of their first change in it.
 *
 * @param after where the part before ended
 */
export async function findTouched(
  query: Query,
  { organizationId, kind, span }: Scope,
  after: Touch | undefined,
  limit: number,
): Promise<Touch[]> {
  const parameters = new Parameters(organizationId, kind, span.from, span.to, limit)
  const place =
    after === undefined
      ? undefined
      : `(${parameters.add(after.at)}::timestamptz, ${parameters.add(after.entity_id)}::uuid)`
  const touchedAt = (time: string, condition = 'true') => {
    const isBefore = (other: string) => `(${other} > $3::timestamptz and ${other} < ${time})`
    return `
    select ${time} as at, r.entity_id from entity_revisions r
    where r.organization_id = $1 and r.kind = $2 and ${condition} and ${time} > $3::timestamptz and ${time} <= $4::timestamptz
      ${place === undefined ? '' : `and (${time}, r.entity_id) > ${place}`} and (${ofLivingConfig('r')}) is true
      and ${isThere('p', `(${isBefore('p.first_seen_at')} or ${isBefore('p.ended_at')})`)} is null
    order by ${time}, r.entity_id limit $5`
  }
  return await rowsOf<Touch>(
    query,
    `select distinct ${exactTimeText('at')} as at, entity_id from (
      (${touchedAt('r.first_seen_at')}) union all (${touchedAt('r.ended_at', "r.ended_at < 'infinity'")})
    ) as touched
    order by at, entity_id limit $5`,
    parameters.values,
  )
}

export interface DifferenceRow extends RevisionRow {
  /** Whether the row is what was known at the first moment, or at the second. */
  readonly is_before: boolean
}

/** Of these entities those that are not at the second moment what they were at the first: a row for each at which there was something. */
export async function findDifferences(
  query: Query,
  { organizationId, kind, span }: Scope,
  ids: readonly string[],
  match: Match,
): Promise<DifferenceRow[]> {
  const parameters = new Parameters(organizationId, kind, span.from, span.to, ids)
  const at = (moment: string) => `
    select v.* from entity_revisions v
    where v.organization_id = $1 and v.kind = $2 and v.entity_id = t.entity_id and v.first_seen_at <= ${moment}
    order by v.first_seen_at desc limit 1`
  const matching = ['a', 'b'].map((revision) => matches(revision, match.alternatives, parameters))
  return await revisionsOf<DifferenceRow>(
    query,
    `with different as materialized (
      select t.entity_id, a.first_seen_at as before_at, b.first_seen_at as after_at
      from unnest($5::uuid[]) as t (entity_id)
      left join lateral (select * from (${at('$3::timestamptz')}) as v where v.ended_at > $3::timestamptz) as a on true
      left join lateral (select * from (${at('$4::timestamptz')}) as v where v.ended_at > $4::timestamptz) as b on true
      where a.content_hash is distinct from b.content_hash and (${matching.join(' or ')}) is true)
    select (r.first_seen_at is not distinct from d.before_at) as is_before, ${columns(false)}
    from different d
    join entity_revisions r on r.organization_id = $1 and r.kind = $2 and r.entity_id = d.entity_id
      and r.first_seen_at in (d.before_at, d.after_at)
    order by r.entity_id, r.first_seen_at`,
    parameters.values,
  )
}
