/** A short list, read to its end at once. */
import type { GraphObject } from './client.ts'
import { badLink, objectsIn, type Place } from './graph-page.ts'
import type { ReadingSession } from './reading-session.ts'

/**
 * Follows the links of a list to its end: a server may make pages as small as it likes.
 *
 * @param first path and query of the first page
 * @param mostPages far more than the list takes
 * @throws SourceError `unexpected_response` with the hint `link` when it has not ended by then
 * @see https://learn.microsoft.com/graph/paging
 */
export async function readWhole(
  session: Pick<ReadingSession, 'page'>,
  place: Place,
  first: string,
  mostPages: number,
): Promise<readonly GraphObject[]> {
  const all: GraphObject[] = []
  let at: string | undefined = first
  for (let pages = 0; at !== undefined; pages++) {
    if (pages === mostPages) throw badLink(place, 'repeats')
    const { value, next } = await session.page(place, at)
    all.push(...objectsIn(value))
    at = next
  }
  return all
}
