/** What is different of entities between two moments, field by field. */
import { isDeepStrictEqual } from 'node:util'
import type { Kysely } from 'kysely'
import { type DifferenceRow, findDifferences, findTouched, type Touch } from '../store/entity-differences.ts'
import type { Match, Scope } from '../store/entity-search.ts'
import type { Schema } from '../store/schema.ts'
import { attributesText, byEntity } from './rendering.ts'

export interface DifferentEntity {
  readonly id: string
  readonly difference: Difference
}

/** Entities looked at together, at least. */
const leastLookedAt = 100

/**
 * Entities that are not at the second moment what they were at the first, in the order of their first change in
 * between; the span is the two moments. What came and went is not there, nor what is the same again.
 *
 * @param after where the page before ended
 */
export async function differentEntities(
  query: Kysely<Schema>,
  scope: Scope,
  match: Match,
  after: Touch | undefined,
  limit: number,
): Promise<{ readonly entities: readonly DifferentEntity[]; readonly next?: Touch }> {
  const entities: DifferentEntity[] = []
  const size = Math.max(limit, leastLookedAt)
  for (let place = after; ; ) {
    const touched = await findTouched(query, scope, place, size)
    const ids = touched.map(({ entity_id }) => entity_id)
    const rows = byEntity(await findDifferences(query, scope, ids, match))
    const known = new Map(rows.map((both) => [both[0].entity_id, both]))
    for (const [at, touch] of touched.entries()) {
      const both = known.get(touch.entity_id)
      if (both !== undefined) entities.push({ id: touch.entity_id, difference: differenceOf(both) })
      // Whether there is more is known once all of them were looked at.
      if (entities.length === limit && (at < touched.length - 1 || touched.length === size))
        return { entities, next: touch }
    }
    place = touched.at(-1)
    if (touched.length < size) return { entities }
  }
}

export interface FieldChange {
  readonly field: string
  /** Absent: it had none. */
  readonly before?: unknown
  readonly after?: unknown
}

export interface Difference {
  readonly change: 'added' | 'removed' | 'changed'
  /** For people: its name, as it is or was last. */
  readonly label: string
  readonly before?: Attributes
  readonly after?: Attributes
  /** Of what was changed, by name. */
  readonly fields?: readonly FieldChange[]
}

type Attributes = Readonly<Record<string, unknown>>

/** Of one entity: a row for each moment at which there was something. */
function differenceOf(rows: readonly DifferenceRow[]): Difference {
  const [before, after] = [true, false].map((isBefore) => {
    const row = rows.find((one) => one.is_before === isBefore)
    return row && attributesOf(row)
  })
  const label = labelIn(after ?? before ?? {})
  if (before === undefined) return { change: 'added', label, ...(after && { after }) }
  if (after === undefined) return { change: 'removed', label, before }
  return { change: 'changed', label, fields: changedFields(before, after) }
}

const labelIn = ({ name, hostname, uid }: Attributes) => String(name ?? hostname ?? uid)

/** Without what changes by itself. */
const attributesOf = (row: DifferenceRow): Attributes =>
  JSON.parse(attributesText({ ...row, activity: '{}' }, Number.POSITIVE_INFINITY))

function changedFields(before: Attributes, after: Attributes): readonly FieldChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names
    .filter((field) => !isDeepStrictEqual(before[field], after[field]))
    .map((field) => ({
      field,
      ...(field in before && { before: before[field] }),
      ...(field in after && { after: after[field] }),
    }))
}
