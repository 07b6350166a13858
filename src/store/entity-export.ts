/** Everything that there was at a moment. */
import type { Kysely } from 'kysely'
import {
  columns,
  exactTimeText,
  ofLivingConfig,
  type RevisionRow,
  revisionsOf,
  rowsOf,
} from './entity-rows.ts'
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
