/** Answers queries: which entities, and what was known of them in a stretch of time. */
import type { Kysely } from 'kysely'
import { findByKey } from '../store/entity-keys.ts'
import type { RevisionRow } from '../store/entity-rows.ts'
import {
  beforeAll,
  configsOf,
  countByChanges,
  countByWalking,
  findByTerms,
  findByWalking,
  findGroups,
  type Match,
  type NamedGroup,
  type Span,
} from '../store/entity-search.ts'
import type { Schema } from '../store/schema.ts'
import type { Sightings } from '../store/sightings.ts'
import {
  dependsOnConfig,
  formulaOf,
  groupNamed,
  groupTermsIn,
  matchByConfig,
  matchOf,
  type NamesOfGroups,
} from './matching.ts'
import { type EntityKind, kindNumbers } from './model.ts'
import { QueryFault } from './query-parser.ts'
import type { QueryTerm, QueryTree } from './query-tree.ts'
import { byEntity } from './rendering.ts'
import { tsqueryOf } from './term-formula.ts'
import { fold, termPrefix } from './terms.ts'

type Query = Kysely<Schema>
type Revisions = readonly [RevisionRow, ...RevisionRow[]]

/** Groups that a word may name. */
const mostGroups = 1_000
/** With more matches than this, walking from where a page ended is cheaper than finding all of them again. */
const mostByTerms = 10_000
/** Of the entities that an exact name leads to. With more, the search goes its usual way. */
const mostRowsByKey = 2_000

export interface Search {
  readonly organizationId: string
  readonly kind: EntityKind
  /** Absent: all there are. */
  readonly tree?: QueryTree
  readonly span: Span
  readonly limit: number
  readonly withRaw: boolean
  /** Where the page before ended, and how many there are in all. `span` is then the one that it was told. */
  readonly after?: { readonly id: string; readonly total: number }
}

export interface Page {
  /** In the order of their ids. */
  readonly entities: readonly Revisions[]
  readonly total: number
  /** Where another page begins, and the span to ask with. */
  readonly next?: { readonly afterId: string; readonly span: Span }
}

/** @throws QueryFault for a word that names too many groups */
export async function searchEntities(query: Query, sightings: Sightings, search: Search): Promise<Page> {
  const { organizationId, kind, tree, limit, withRaw, after } = search
  const quick =
    tree === undefined || after !== undefined
      ? undefined
      : await findExactName(query, sightings, search, tree)
  if (quick !== undefined) return quick
  const { match, span } = await resolve(query, search)
  if (span === undefined || match.alternatives.length === 0) return { entities: [], total: after?.total ?? 0 }
  const scope = {
    organizationId,
    kind: kindNumbers[kind],
    span,
    afterId: after?.id ?? beforeAll,
    limit,
    withRaw,
  }
  if (match.isIndexed && (after === undefined || after.total <= mostByTerms)) {
    const { rows, total } = await findByTerms(query, scope, match)
    return pageOf(rows, limit, after?.total ?? total, span)
  }
  const total = after?.total ?? (await count(query, scope, match))
  return total === 0
    ? { entities: [], total }
    : pageOf(await findByWalking(query, scope, match), limit, total, span)
}

function pageOf(rows: readonly RevisionRow[], limit: number, total: number, span: Span): Page {
  const found = byEntity(rows)
  const entities = found.slice(0, limit)
  const last = entities.at(-1)
  return {
    entities,
    total,
    ...(found.length > limit && last && { next: { afterId: last[0].entity_id, span } }),
  }
}

function count(query: Query, scope: Parameters<typeof countByWalking>[1], match: Match) {
  const [only] = match.alternatives
  // Whatever a configuration has is counted without looking at it.
  return match.alternatives.length === 1 && only?.terms === undefined && only?.within === undefined
    ? countByChanges(query, scope, only?.configIds)
    : countByWalking(query, scope, match)
}

/** What an exact address or id leads to without a search. */
async function findExactName(
  query: Query,
  sightings: Sightings,
  search: Search,
  tree: QueryTree,
): Promise<Page | undefined> {
  const { organizationId, kind, span, limit, withRaw } = search
  if (!isExactName(tree, kind)) return undefined
  const rows = await findByKey(query, sightings, {
    organizationId,
    kind: kindNumbers[kind],
    key: fold(tree.value),
    terms: tsqueryOf(formulaOf(tree), termPrefix(organizationId)),
    span,
    limit: mostRowsByKey,
    withRaw,
  })
  if (rows.length === mostRowsByKey) return undefined
  const entities = byEntity(rows).filter((revisions) => revisions.some((row) => row.is_match))
  return entities.length > limit ? undefined : { entities, total: entities.length }
}

/**
 * Whether every entity with this term has it among its exact names. The part of a user name before its "@" is none, and
 * neither is the address of a device's owner.
 */
export function isExactName(tree: QueryTree, kind: EntityKind): tree is QueryTerm {
  if (tree.kind !== 'term' || tree.isPrefix) return false
  if (tree.field === 'id') return true
  const isName = tree.field === undefined || tree.field === 'email' || tree.field === 'user'
  return isName && kind !== 'device' && tree.value.includes('@')
}

/** What the query asks for, domains and names of groups turned into what revisions have, in what of the span is final. */
export async function resolve(
  query: Query,
  { organizationId, tree, span }: Pick<Search, 'organizationId' | 'tree' | 'span'>,
): Promise<{ readonly match: Match; readonly span: Span | undefined }> {
  const { configs, span: taken } = await configsOf(query, organizationId, span)
  if (tree === undefined || taken === undefined) return { match: everything, span: taken }
  if (!dependsOnConfig(tree)) return { match: matchOf(organizationId, formulaOf(tree)), span: taken }
  const groups = await groupsNamed(query, organizationId, tree, taken)
  return { match: matchByConfig(organizationId, tree, configs, groups), span: taken }
}

const everything: Match = { alternatives: [{}], isIndexed: false }

async function groupsNamed(
  query: Query,
  organizationId: string,
  tree: QueryTree,
  span: Span,
): Promise<NamesOfGroups> {
  const terms = groupTermsIn(tree)
  const found =
    terms.length === 0
      ? []
      : await findGroups(
          query,
          { organizationId, span },
          kindNumbers.group,
          terms.map((term) => groupNamed(term, organizationId)),
          mostGroups + 1,
        )
  const names = new Map<QueryTerm, Map<string, NamedGroup[]>>()
  for (const [place, term] of terms.entries()) {
    const named = found.filter(({ at }) => at === place)
    if (named.length > mostGroups)
      throw new QueryFault(
        `more than ${mostGroups} groups have this in their name: name a field, or more of the name,`,
        term.at,
      )
    names.set(
      term,
      Map.groupBy(named, ({ config_id }) => config_id),
    )
  }
  return {
    of: (term, configId, at) =>
      (names.get(term)?.get(configId) ?? [])
        .filter((group) => isNamedAt(group, at || span.from))
        .map(({ uid }) => uid),
    changesIn(configId) {
      const changes = changesOf(found.filter(({ config_id }) => config_id === configId)).filter(
        (moment) => moment > span.from && moment <= span.to,
      )
      if (changes.length > mostChanges)
        throw new QueryFault(
          'groups of this name were renamed too often in that time: ask for less of it,',
          terms[0]?.at ?? 0,
        )
      return changes
    },
  }
}

/** How often groups may get or lose a name that is asked for: what is between is asked for each time. */
const mostChanges = 100

/** When groups that had other names besides got a name or lost it, each moment once and in order. */
const changesOf = (groups: readonly NamedGroup[]): readonly string[] =>
  [...new Set(groups.flatMap(({ times }) => (times ?? []).flat()))].filter((moment) => moment !== null).sort()

/** Whether it has the name then, or all along. */
const isNamedAt = ({ times }: NamedGroup, at: string): boolean =>
  times === null || times.some(([from, until]) => from <= at && (until === null || until > at))
