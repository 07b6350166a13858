/** How entities changed: between two moments, from merge to merge, and as all there is at one. */
import type { Kysely } from 'kysely'
import {
  columns,
  exactTimeText,
  ofLivingConfig,
  Parameters,
  type RevisionRow,
  revisionsOf,
  rowsOf,
} from './entity-rows.ts'
import { type Match, matches, type Scope } from './entity-search.ts'
import type { Schema } from './schema.ts'

type Query = Kysely<Schema>

/** The moment up to which an answer is final: of the organisation's last merge, or `at` if that is earlier. Absent: nothing was merged yet. */
export async function finalMoment(
  query: Query,
  organizationId: string,
  at: string,
): Promise<string | undefined> {
  const [row] = await rowsOf<{ at: string }>(
    query,
    `select ${exactTimeText('least($2::timestamptz, at)')} as at from entity_clocks where organization_id = $1 and at > '-infinity'`,
    [organizationId, at],
  )
  return row?.at
}

/** What there was at a moment, in the order of ids. */
export async function findAt(
  query: Query,
  wanted: {
    readonly organizationId: string
    readonly kind: number
    readonly at: string
    readonly afterId: string
    readonly limit: number
    readonly withRaw: boolean
  },
): Promise<RevisionRow[]> {
  const { organizationId, kind, at, afterId, limit, withRaw } = wanted
  return await revisionsOf(
    query,
    `select ${columns(withRaw)} from entity_revisions r
    where r.organization_id = $1 and r.kind = $2 and r.entity_id > $4
      and (r.first_seen_at <= $3::timestamptz and r.ended_at > $3::timestamptz and ${ofLivingConfig('r')}) is true
    order by r.entity_id limit $5`,
    [organizationId, kind, at, afterId, limit],
  )
}

export interface EventRow extends RevisionRow {
  /** Number of the merge. */
  readonly sequence: number
  readonly change: 'created' | 'updated' | 'removed'
  /** Time of the merge. */
  readonly at: Date
}

/** After this entity's change in this merge. */
export interface EventPlace {
  readonly sequence: number
  readonly id: string
}

interface EventScope {
  readonly organizationId: string
  readonly kinds: readonly number[]
  readonly after: EventPlace
  /** The last that is looked at. */
  readonly until: EventPlace
  readonly limit: number
  readonly withRaw: boolean
}

/** Number of the organisation's last merge: those up to it are there as a whole. */
export async function lastSequence(query: Query, organizationId: string): Promise<number> {
  const [row] = await rowsOf<{ sequence: number }>(
    query,
    'select sequence from entity_clocks where organization_id = $1',
    [organizationId],
  )
  return row?.sequence ?? 0
}

// Subqueries whose answer is compared with null are asked for each row; `exists` would be made a join over all of them.
const isThere = (revision: string, condition: string) =>
  `(select 1 from entity_revisions ${revision} where ${revision}.organization_id = r.organization_id
    and ${revision}.kind = r.kind and ${revision}.entity_id = r.entity_id and ${condition} limit 1)`

/** Revisions that merges began, in their order. */
export async function findBegun(query: Query, scope: EventScope): Promise<EventRow[]> {
  return await findEvents(
    query,
    scope,
    'opened_in',
    `r.first_seen_at as at,
    case when ${isThere('earlier', 'earlier.ended_at = r.first_seen_at')} is null then 'created' else 'updated' end as change`,
    'true',
  )
}

/** Entities that merges found gone, in their order, with their last revisions. */
export async function findGone(query: Query, scope: EventScope): Promise<EventRow[]> {
  return await findEvents(
    query,
    scope,
    'closed_in',
    "r.ended_at as at, 'removed' as change",
    `r.closed_in is not null and ${isThere('next', 'next.first_seen_at = r.ended_at')} is null`,
  )
}

async function findEvents(
  query: Query,
  { organizationId, kinds, after, until, limit, withRaw }: EventScope,
  number: 'opened_in' | 'closed_in',
  more: string,
  condition: string,
): Promise<EventRow[]> {
  return await revisionsOf<EventRow>(
    query,
    `select r.${number} as sequence, ${more}, ${columns(withRaw)} from entity_revisions r
    where r.organization_id = $1 and (r.${number}, r.entity_id) > ($3::bigint, $4::uuid)
      and (r.${number}, r.entity_id) <= ($5::bigint, $6::uuid) and ${condition}
      and (r.kind = any($2::smallint[]) and ${ofLivingConfig('r')}) is true
    order by r.${number}, r.entity_id limit $7`,
    [organizationId, kinds, after.sequence, after.id, until.sequence, until.id, limit],
  )
}

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
      (${touchedAt('r.first_seen_at')}) union all (${touchedAt('r.ended_at', "r.ended_at <> 'infinity'")})
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
