/** Pages that Okta needs too long for, or that are larger than is read: they are asked for with a smaller limit. */
import { SourceError } from '../../outbound/source-error.ts'
import { type ListPage, readPage } from './pages.ts'
import type { OktaReading, ReadingRequest } from './reading-session.ts'

/**
 * A page, or a smaller one in its place where it is too much. Links go on with the limit of the page that they are in.
 *
 * @param smaller the limit to try then
 * @param onTooMuch told before it is tried
 */
export async function readPageOrSmaller(
  session: OktaReading,
  request: ReadingRequest,
  smaller: number,
  onTooMuch = () => {},
): Promise<ListPage> {
  try {
    return await readPage(session, request)
  } catch (error) {
    const target = withLimit(request.target, smaller)
    if (!isTooMuch(error) || target === request.target) throw error
    onTooMuch()
    return readPage(session, { ...request, target })
  }
}

/** Path and query with a limit of at most so many. */
export function withLimit(target: string, most: number): string {
  const [path, query] = target.split('?')
  const parameters = new URLSearchParams(query)
  if (Number(parameters.get('limit') ?? Number.POSITIVE_INFINITY) <= most) return target
  parameters.set('limit', String(most))
  return `${path}?${parameters}`
}

/**
 * "If you receive an HTTP 500 status code, you more than likely have exceeded the request timeout. Retry your request
 * with a smaller `limit`": so Okta's reference had it for the lists of users and of members of groups. Today's says
 * "if your request times out" for the list of groups, and of the System Log that a timeout is answered with 500. 502
 * and 504 are how what stands before the API says the same.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group/other/listgroups
 * @see https://developer.okta.com/docs/reference/system-log-query/#errors
 */
const isTooMuch = (error: unknown) =>
  error instanceof SourceError &&
  (error.code === 'too_large' || error.code === 'timed_out' || [500, 502, 504].includes(error.status ?? 0))
