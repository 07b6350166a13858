/** Entities in the order of their last change. */
import type { Kysely } from 'kysely'
import { columns, ofLivingConfig, Parameters, type RevisionRow, revisionsOf, rowsOf } from './entity-rows.ts'
import { type Match, matches, type Scope } from './entity-search.ts'
import type { Schema } from './schema.ts'

type Query = Kysely<Schema>

/** Whether the index of terms finds at most so many revisions. */
export async function isRare(query: Query, scope: Scope, match: Match, most: number): Promise<boolean> {
  if (!match.isIndexed) return false
  const parameters = new Parameters(scope.organizationId, scope.kind, most + 1)
  const [row] = await rowsOf<{ n: number }>(
    query,
    `select count(*) as n from (
      select from entity_revisions r
      where ${matches('r', match.alternatives, parameters)} and (r.organization_id = $1 and r.kind = $2) is true
      limit $3) as found`,
    parameters.values,
  )
  return (row?.n ?? 0) <= most
}

/** The last revision of each entity that began in the span, the newest first. */
export async function findRecent(
  query: Query,
  scope: Scope & { readonly limit: number; readonly withRaw: boolean },
  match: Match,
  by: 'terms' | 'time',
): Promise<RevisionRow[]> {
  const { organizationId, kind, span, limit, withRaw } = scope
  const parameters = new Parameters(organizationId, kind, span.from, span.to, limit)
  const isBegun = 'r.first_seen_at >= $3::timestamptz and r.first_seen_at <= $4::timestamptz'
  // `is true` keeps the index out that is not meant.
  const matching = matches('r', match.alternatives, parameters)
  const condition =
    by === 'terms'
      ? `${matching} and (r.organization_id = $1 and r.kind = $2 and ${isBegun}) is true`
      : `r.organization_id = $1 and r.kind = $2 and ${isBegun} and (${matching}) is true`
  return await revisionsOf(
    query,
    `select ${columns(withRaw)} from (
      select r.* from entity_revisions r
      where ${condition} and ${ofLivingConfig('r')}
        and not exists (
          select from entity_revisions later
          where later.organization_id = $1 and later.kind = $2 and later.entity_id = r.entity_id
            and later.first_seen_at > r.first_seen_at and later.first_seen_at <= $4::timestamptz)
      order by r.first_seen_at desc, r.entity_id desc limit $5) as r
    order by r.first_seen_at desc, r.entity_id desc`,
    parameters.values,
  )
}

/** Every revision of the entities in the span. */
export async function findAllOf(
  query: Query,
  { organizationId, kind, span, withRaw }: Scope & { readonly withRaw: boolean },
  ids: readonly string[],
): Promise<RevisionRow[]> {
  return await revisionsOf(
    query,
    `select ${columns(withRaw)} from entity_revisions r
    where r.organization_id = $1 and r.kind = $2 and r.entity_id = any($5::uuid[])
      and r.first_seen_at <= $4::timestamptz and r.ended_at > $3::timestamptz
    order by r.entity_id, r.first_seen_at`,
    [organizationId, kind, span.from, span.to, ids],
  )
}
