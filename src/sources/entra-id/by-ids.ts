/** Objects of a collection, looked up by their ids. */
import type { GraphObject } from './client.ts'
import type { Place } from './graph-page.ts'
import type { ReadingSession } from './reading-session.ts'
import { idOf } from './values.ts'
import { readWhole } from './whole-list.ts'

/**
 * Most ids in one filter: Graph allows 15 expressions. A page of less than 20 costs less, too.
 *
 * @see https://learn.microsoft.com/graph/filter-query-parameter#operators-and-functions-supported-in-filter-expressions
 */
export const mostIds = 15
/** A page may have one object, or none. */
const mostPages = 2 * mostIds
/** Look-ups under way at a time. */
const sideBySide = 4

/** Those that are there, by id. @param ids in lower case */
export async function readByIds(
  session: Pick<ReadingSession, 'page'>,
  place: Place,
  shape: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, GraphObject>> {
  const parts: (readonly string[])[] = []
  for (let from = 0; from < ids.length; from += mostIds) parts.push(ids.slice(from, from + mostIds))
  const found = new Map<string, GraphObject>()
  const read = async (part: readonly string[]) => {
    const filter = encodeURIComponent(`id in ('${part.join("','")}')`).replaceAll("'", '%27')
    const first = `${place.path}?$top=${mostIds}&$filter=${filter}&${shape}`
    for (const object of await readWhole(session, place, first, mostPages)) {
      const id = idOf(object.id)
      // What was not asked for is no answer.
      if (id !== undefined && part.includes(id)) found.set(id, object)
    }
  }
  const workers = Array.from({ length: sideBySide }, async (_, worker) => {
    for (let at = worker; at < parts.length; at += sideBySide) await read(parts[at] ?? [])
  })
  await Promise.all(workers)
  return found
}
