/** What merges changed, one after the other. */
import type { Kysely } from 'kysely'
import { columns, isThere, ofLivingConfig, type RevisionRow, revisionsOf, rowsOf } from './entity-rows.ts'
import type { Schema } from './schema.ts'

type Query = Kysely<Schema>

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
