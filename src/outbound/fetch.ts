/** Lets libraries that want a `fetch` (oauth4webapi's customFetch) go out through an HttpClient. */
import { isTooDeep, maxJsonDepth } from './bounded-json.ts'
import type { HttpClient } from './http.ts'
import { SourceError } from './source-error.ts'

/** What is used of the arguments of `fetch`. Redirect mode and signal are the client's own. */
export interface FetchInit {
  readonly method?: string
  readonly headers?: ConstructorParameters<typeof Headers>[0]
  readonly body?: unknown
}

/** Statuses whose Response may have no body. */
const withoutBody = new Set([204, 205, 304])

/**
 * A `fetch` over `http`, whose requests are called `operation`. What it throws are the SourceErrors of `http`, and a
 * TypeError for what an HttpClient cannot send (methods other than GET and POST, bodies that are not text).
 */
export function fetchThrough(http: HttpClient, operation: string) {
  return async (url: string | URL, init: FetchInit = {}): Promise<Response> => {
    const method = init.method?.toUpperCase() ?? 'GET'
    if (method !== 'GET' && method !== 'POST') throw new TypeError(`cannot send ${method}`)
    const headers = new Headers(init.headers)
    const body = readBody(init.body)
    if (init.body instanceof URLSearchParams && !headers.has('content-type'))
      headers.set('content-type', 'application/x-www-form-urlencoded;charset=UTF-8')

    const answer = await http.request({
      operation,
      method,
      url: String(url),
      headers: Object.fromEntries(headers),
      ...(body !== undefined && { body }),
    })
    // Libraries parse the body themselves, without a bound.
    if (isTooDeep(answer.text))
      throw new SourceError({
        code: 'unexpected_response',
        operation,
        status: answer.status,
        cause: new Error(`the body is nested deeper than ${maxJsonDepth}`),
      })
    const answered = new Headers(answer.headers)
    // They describe the body as it was on the wire.
    answered.delete('content-encoding')
    answered.delete('content-length')
    // Bytes, as a string would be given a content type that the answer did not have.
    const bytes = new TextEncoder().encode(answer.text)
    return new Response(withoutBody.has(answer.status) ? null : bytes, {
      status: answer.status,
      headers: answered,
    })
  }
}

function readBody(body: unknown): string | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body === 'string') return body
  if (body instanceof URLSearchParams) return body.toString()
  throw new TypeError('cannot send a body that is not text')
}
