/** What a source may ask of the outside world, and what it hears back. */
import type { SourceErrorCode } from './source-error.ts'

/**
 * A host that a request may go to. `chosenBy` says who named it: a host under the provider's own suffix may be
 * described in detail when it fails; one that the customer named freely is answered with one text and one time
 * band for every failure, so that the service is no port scanner.
 */
export type EgressRule =
  | { readonly host: string; readonly chosenBy: 'provider' | 'customer' }
  /** Exactly one label under `suffix` (given with its leading dot, as `.okta.com`). */
  | { readonly labelUnder: string; readonly chosenBy: 'provider' }

export interface HttpRequest {
  /** What the request is for, in a few words; occurs in reports, logs and errors: `read users`. */
  readonly operation: string
  readonly method: 'GET' | 'POST'
  /** Absolute https URL. */
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Largest answer accepted, in bytes after decompression; default and ceiling 1 MiB for a validation, 4 MiB for a sync. */
  readonly maxBodyBytes?: number
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  /** The body, decoded as UTF-8. */
  readonly text: string
  /**
   * The body as JSON of bounded depth.
   *
   * @throws SourceError `unexpected_response` when the body is no JSON (an HTML page, a truncated document, too deep)
   */
  json(): unknown
  /** Our clock when the answer's headers arrived: compare it with the `Date` header to see clock skew. */
  readonly receivedAt: Date
}

/**
 * The only way out for a source. Answers of every status are returned, so that a source judges them itself; what
 * never became an answer is thrown.
 */
export interface HttpClient {
  /**
   * @throws SourceError `timed_out`, `dns_failed`, `unreachable`, `tls_failed`, `forbidden_host`, `redirected`,
   *   `too_large`, `unexpected_response`, with the system's code as the hint `network` where there is one; and
   *   `not_configured`, with the hint `unsendable_header`, when a header value holds what no header may
   */
  request(request: HttpRequest): Promise<HttpAnswer>
}

export type { SourceErrorCode }
