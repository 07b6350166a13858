/** One page of a list, and where the list goes on. */
import { askedOf, isRecord, isText, unexpected } from './answers.ts'
import { nextTargetIn, targetOf } from './links.ts'
import type { Got, OktaReading, ReadingRequest } from './reading-session.ts'

export interface ListPage {
  readonly records: readonly unknown[]
  /** Path and query of the next page; absent at the end of the list. */
  readonly next?: string
  readonly got: Got
}

/**
 * @param isEndless whether the list grows at its end, so that its last page may link to itself
 * @see https://developer.okta.com/docs/api/#pagination links are followed as they are, never made
 * @throws SourceError `unexpected_response`, with the hint `next_link` where the link is one that no list of Okta has
 */
export async function readPage(
  session: OktaReading,
  request: ReadingRequest,
  { isEndless = false } = {},
): Promise<ListPage> {
  const got = await session.get(request)
  if (!Array.isArray(got.body)) throw unexpected(request.operation, askedOf(request.target))
  const next = nextTargetIn(got.answer.headers, request, got.host, isEndless)
  return { records: got.body, ...(next !== undefined && { next }), got }
}

/** A page whose records and next link are members of a document, as lists under `/api/v1/iam` are. */
export async function readDocumentPage(session: OktaReading, request: ReadingRequest): Promise<ListPage> {
  const got = await session.get(request)
  const { body } = got
  if (!isRecord(body) || !Array.isArray(body.value))
    throw unexpected(request.operation, askedOf(request.target))
  const link = isRecord(body._links) && isRecord(body._links.next) ? body._links.next.href : undefined
  if (!isText(link)) return { records: body.value, got }
  return { records: body.value, next: targetOf(link, request, got.host), got }
}
