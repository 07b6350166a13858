/** Who was changed last. */
import type { Kysely } from 'kysely'
import { findAllOf, findRecent, isRare } from '../store/entity-recent.ts'
import type { RevisionRow } from '../store/entity-rows.ts'
import type { Schema } from '../store/schema.ts'
import { kindNumbers } from './model.ts'
import { byEntity } from './rendering.ts'
import { resolve, type Search } from './search.ts'

/** With fewer matching revisions it is cheaper to find them all than to look for one in the order of time. */
const mostByTerms = 10_000

/**
 * Entities whose last revision of the span began in it and matches, that with the latest beginning first.
 *
 * @param revisions `latest`: that revision alone; `all`: all that there are in the span
 */
export async function recentEntities(
  query: Kysely<Schema>,
  search: Omit<Search, 'after'> & { readonly revisions: 'latest' | 'all' },
): Promise<readonly (readonly [RevisionRow, ...RevisionRow[]])[]> {
  const { organizationId, kind, span, limit, withRaw } = search
  const { match, span: taken } = await resolve(query, search)
  if (taken === undefined || match.alternatives.length === 0) return []
  const scope = { organizationId, kind: kindNumbers[kind], span }
  const by = (await isRare(query, scope, match, mostByTerms)) ? 'terms' : 'time'
  const latest = await findRecent(query, { ...scope, limit, withRaw }, match, by)
  if (search.revisions === 'latest') return latest.map((row) => [row])
  const ids = latest.map(({ entity_id }) => entity_id)
  const entities = byEntity(await findAllOf(query, { ...scope, withRaw }, ids))
  const known = new Map(entities.map((entity) => [entity[0].entity_id, entity]))
  return ids.map((id) => known.get(id)).filter((entity) => entity !== undefined)
}
