/** One page of a list, and where the list goes on: a link of Okta's that is followed only within the list itself. */
import { SourceError } from '../../outbound/source-error.ts'
import { isRecord, isText, unexpected } from './answers.ts'
import { askedOf, type Got, type OktaReading, type ReadingRequest } from './reading-session.ts'

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
  const link = nextLinkIn(got.answer.headers.get('link') ?? '')
  if (link === undefined) return { records: got.body, got }
  return { records: got.body, next: targetOf(link, request, got.host, isEndless), got }
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

/** The target of `<https://…>; rel="next"` among the links of a header. */
function nextLinkIn(header: string): string | undefined {
  // One pattern for a whole link: a comma or semicolon within its target ends nothing.
  for (const [, target, parameters] of header.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+="?[^",;]*"?)*)/g))
    if (/;\s*rel="?next"?/i.test(parameters ?? '')) return target
  return undefined
}

/** Cursors of Okta are some dozens of characters; what grows beyond this would never end. In characters. */
const longestTarget = 4096

function targetOf(
  link: string,
  { operation, target }: ReadingRequest,
  host: string,
  isEndless = false,
): string {
  const refuse = (problem: string) =>
    new SourceError({
      code: 'unexpected_response',
      operation,
      asked: askedOf(target),
      status: 200,
      hints: { next_link: problem },
    })
  const url = URL.parse(link)
  if (url === null) throw refuse('is no URL')
  if (url.origin !== `https://${host}` || url.username !== '' || url.password !== '')
    throw refuse('leads to another host')
  if (url.pathname !== target.split('?')[0]) throw refuse('leads to another list')
  const next = `${url.pathname}${url.search}`
  if (next === target && !isEndless) throw refuse('leads to its own page')
  if (next.length > longestTarget) throw refuse(`is longer than ${longestTarget} characters`)
  return next
}
