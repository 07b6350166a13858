/** One page of a list. Its cursor is the link to the page, as Graph gave it, without the host. */
import type { Json, Page } from '../reading.ts'
import { badLink, type GraphPage, type Place } from './graph-page.ts'
import type { ReadingSession } from './reading-session.ts'

/**
 * Reads a page and has `turn` make a page of ours of it.
 *
 * @param first path and query of the first page
 */
export async function readListPage(
  session: ReadingSession,
  place: Place,
  first: string,
  cursor: Json | undefined,
  turn: (records: GraphPage['value']) => Page,
): Promise<Page> {
  if (cursor !== undefined && typeof cursor !== 'string') throw badLink(place, 'malformed')
  const { value, next } = await session.page(place, cursor ?? first)
  return { ...turn(value), records: value.length, ...(next !== undefined && { next }) }
}
