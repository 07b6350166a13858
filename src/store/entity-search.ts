/** Finds entities by the terms of their revisions, in a stretch of time, page by page in the order of their ids. */
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
import type { Schema } from './schema.ts'

type Query = Kysely<Schema>

/** What revisions have to be like. */
export interface Alternative {
  /** Of these configurations alone. */
  readonly configIds?: readonly string[]
  /** A tsquery; absent: whatever their terms are. */
  readonly terms?: string
  /** Those alone that were there at some moment of this stretch. */
  readonly within?: Stretch
}

/** From one moment until before another, RFC 3339; open where there is none. */
export interface Stretch {
  readonly from?: string
  readonly until?: string
}

/** Any of the alternatives will do; without one there is nothing. */
export interface Match {
  readonly alternatives: readonly Alternative[]
  /** Whether the index of terms finds all that match. */
  readonly isIndexed: boolean
}

/** These moments and what is between. Both are RFC 3339; the same one twice for what was at a moment. */
export interface Span {
  readonly from: string
  readonly to: string
}

export interface Scope {
  readonly organizationId: string
  readonly kind: number
  readonly span: Span
}

/** Before the first entity: no id is this one. */
export const beforeAll = '00000000-0000-0000-0000-000000000000'

export interface PageScope extends Scope {
  readonly afterId: string
  readonly limit: number
  readonly withRaw: boolean
}

export interface ConfigsThen {
  readonly configs: readonly { readonly id: string; readonly domain: string }[]
  /**
   * The span with what is later than the organisation's last merge taken for that: merges to come are later still, so
   * that what is found in it before one is found after it too. Absent where nothing was ever merged.
   */
  readonly span: Span | undefined
}

/** The organisation's configurations, and what of a span is final. */
export async function configsOf(query: Query, organizationId: string, span: Span): Promise<ConfigsThen> {
  const rows = await rowsOf<{ id: string; domain: string; low: string | null; high: string | null }>(
    query,
    `select c.id, c.domain, ${exactTimeText('least($2::timestamptz, k.at)')} as low, ${exactTimeText('least($3::timestamptz, k.at)')} as high
    from integration_configs c left join entity_clocks k on k.organization_id = c.organization_id and k.at > '-infinity'
    where c.organization_id = $1 order by c.id`,
    [organizationId, span.from, span.to],
  )
  const { low = null, high = null } = rows[0] ?? {}
  return { configs: rows, span: low === null || high === null ? undefined : { from: low, to: high } }
}

/** Whether a revision was there in the span, `$3` to `$4`. */
const isWithin = (revision: string) =>
  `${revision}.first_seen_at <= $4::timestamptz and ${revision}.ended_at > $3::timestamptz`

/** The condition that one of the alternatives is met. */
export function matches(
  revision: string,
  alternatives: readonly Alternative[],
  parameters: Parameters,
): string {
  if (alternatives.length === 0) return 'false'
  const conditions = alternatives.map(({ configIds, terms, within: { from, until } = {} }) =>
    [
      ...(configIds === undefined
        ? []
        : [`${revision}.config_id = any(${parameters.add(configIds)}::uuid[])`]),
      ...(terms === undefined ? [] : [`${revision}.terms @@ ${parameters.add(terms)}::tsquery`]),
      ...(from === undefined ? [] : [`${revision}.ended_at > ${parameters.add(from)}::timestamptz`]),
      ...(until === undefined ? [] : [`${revision}.first_seen_at < ${parameters.add(until)}::timestamptz`]),
    ].join(' and '),
  )
  return conditions.includes('') ? 'true' : `(${conditions.map((one) => `(${one})`).join(' or ')})`
}

const revisionsOfPage = (withRaw: boolean) => `select ${columns(withRaw)}
  from page p
  join entity_revisions r on r.organization_id = $1 and r.kind = $2 and r.entity_id = p.entity_id and ${isWithin('r')}
  order by r.entity_id, r.first_seen_at`

export interface Found {
  readonly rows: readonly RevisionRow[]
  /** Entities in all; 0 where there are no rows. */
  readonly total: number
}

/** A page of what the index of terms finds; all matches are counted on the way. One entity more than asked for tells of another page. */
export async function findByTerms(query: Query, scope: PageScope, match: Match): Promise<Found> {
  const { organizationId, kind, span, afterId, limit, withRaw } = scope
  const parameters = new Parameters(organizationId, kind, span.from, span.to, afterId, limit + 1)
  // `is true` keeps the other indexes out: they begin with the organisation, and would be walked from end to end.
  const rows = await revisionsOf<RevisionRow & { readonly total: number }>(
    query,
    `with matched as materialized (
      select distinct r.entity_id from entity_revisions r
      where ${matches('r', match.alternatives, parameters)}
        and (r.organization_id = $1 and r.kind = $2 and ${isWithin('r')} and ${ofLivingConfig('r')}) is true),
    page as materialized (
      select entity_id, (select count(*) from matched) as total from matched
      where entity_id > $5 order by entity_id limit $6)
    ${revisionsOfPage(withRaw).replace('select ', 'select p.total, ')}`,
    parameters.values,
  )
  return { rows, total: rows[0]?.total ?? 0 }
}

/** The same page by walking entities in the order of their ids: for what most of them match. */
export async function findByWalking(query: Query, scope: PageScope, match: Match): Promise<RevisionRow[]> {
  const { organizationId, kind, span, afterId, limit, withRaw } = scope
  const parameters = new Parameters(organizationId, kind, span.from, span.to, afterId, limit + 1)
  // `is true` keeps the indexes out that are not meant: of terms, which finds too much, and of times.
  return await revisionsOf<RevisionRow>(
    query,
    `with page as materialized (
      select r.entity_id from entity_revisions r
      where r.organization_id = $1 and r.kind = $2 and r.entity_id > $5
        and (${isWithin('r')} and ${ofLivingConfig('r')} and ${matches('r', match.alternatives, parameters)}) is true
      group by r.entity_id order by r.entity_id limit $6)
    ${revisionsOfPage(withRaw)}`,
    parameters.values,
  )
}

/** Counts by walking all that there is in the span. */
export async function countByWalking(query: Query, scope: Scope, match: Match): Promise<number> {
  const { organizationId, kind, span } = scope
  const parameters = new Parameters(organizationId, kind, span.from, span.to)
  return await counted(
    query,
    `select count(distinct r.entity_id) as total from entity_revisions r
    where r.organization_id = $1 and r.kind = $2 and ${isWithin('r')} and ${ofLivingConfig('r')}
      and (${matches('r', match.alternatives, parameters)}) is true`,
    parameters,
  )
}

/**
 * Counts the entities of configurations, of all by default, in a span: from how many there are now, by what has come
 * and gone since its end, and what went within it. What stayed is not looked at.
 */
export async function countByChanges(
  query: Query,
  { organizationId, kind, span }: Scope,
  configIds?: readonly string[],
): Promise<number> {
  const parameters = new Parameters(organizationId, kind, span.from, span.to)
  const only = configIds === undefined ? '' : ` and c.id = any(${parameters.add(configIds)}::uuid[])`
  const isOurs = (revision: string) =>
    `${revision}.organization_id = $1 and ${revision}.kind = $2 and (${revision}.config_id = any(array(select id from configs))) is true`
  // `< 'infinity'` and not `<>`: two ends of a range are estimated together, and few are found between them.
  return await counted(
    query,
    `with configs as materialized (select c.id from integration_configs c where c.organization_id = $1${only})
    select (
      select coalesce(sum(s.open_count), 0) from configs join entity_sightings s on s.config_id = configs.id and s.kind = $2
    ) - (
      select count(*) from entity_revisions r
      where ${isOurs('r')} and r.first_seen_at > $4::timestamptz and r.ended_at = 'infinity'
    ) + (
      select count(*) from entity_revisions r
      where ${isOurs('r')} and r.ended_at > $4::timestamptz and r.ended_at < 'infinity'
        and (r.first_seen_at <= $4::timestamptz) is true
    ) + (
      select count(distinct r.entity_id) from entity_revisions r
      where ${isOurs('r')} and r.ended_at > $3::timestamptz and r.ended_at <= $4::timestamptz and r.ended_at < 'infinity'
        and not exists (
          select from entity_revisions later
          where later.organization_id = $1 and later.kind = $2 and later.entity_id = r.entity_id
            and later.first_seen_at <= $4::timestamptz and later.ended_at > $4::timestamptz)
    ) as total`,
    parameters,
  )
}

async function counted(query: Query, text: string, { values }: Parameters): Promise<number> {
  const [row] = await rowsOf<{ total: number | string }>(query, text, values)
  return Number(row?.total ?? 0)
}

export interface NamedGroup {
  /** Which of the names, from 0. */
  readonly at: number
  readonly config_id: string
  readonly uid: string
  /** When it had the name, where it had another one besides in the span: `exactTimeText`, and when that ended if it did. */
  readonly times: readonly (readonly [from: string, until: string | null])[] | null
}

/** Groups that had a name, a tsquery, at some moment of the span, at most `limit` for each. */
export async function findGroups(
  query: Query,
  { organizationId, span }: Omit<Scope, 'kind'>,
  groupKind: number,
  names: readonly string[],
  limit: number,
): Promise<NamedGroup[]> {
  return await rowsOf(
    query,
    `select (named.place - 1)::integer as at, found.config_id, found.uid, found.times
    from unnest($5::text[]) with ordinality as named (terms, place)
    cross join lateral (
      select r.config_id, r.uid, case when exists (
        select from entity_revisions other
        where other.organization_id = $1 and other.kind = $2 and other.entity_id = r.entity_id and ${isWithin('other')}
          and (other.terms @@ named.terms::tsquery) is not true
      ) then json_agg(json_build_array(
        ${exactTimeText('r.first_seen_at')}, case when r.ended_at < 'infinity' then ${exactTimeText('r.ended_at')} end
      )) end as times
      from entity_revisions r
      where r.terms @@ named.terms::tsquery
        and (r.organization_id = $1 and r.kind = $2 and ${isWithin('r')} and ${ofLivingConfig('r')}) is true
      group by r.config_id, r.uid, r.entity_id
      limit $6) as found`,
    [organizationId, groupKind, span.from, span.to, names, limit],
  )
}
