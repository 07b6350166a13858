/** The one way in which talking to a provider fails. */
import { cleanText } from './clean-text.ts'

/**
 * - `refused`: the provider answered, and its answer is not what was asked for (any status; see `status`)
 * - `timed_out`, `dns_failed`, `unreachable`, `tls_failed`: no answer
 * - `forbidden_host`: our egress policy does not allow the host or its address
 * - `redirected`: the host answered with a redirect, which is never followed
 * - `too_large`: the answer exceeded its size limit
 * - `unexpected_response`: an answer that no such API gives (HTML, broken JSON, a missing member)
 * - `not_configured`: nothing was sent, since the credentials hold nothing to send
 * - `circuit_open`: nothing was sent, since the host has not answered lately, and is spared for a while
 */
export type SourceErrorCode =
  | 'refused'
  | 'timed_out'
  | 'dns_failed'
  | 'unreachable'
  | 'tls_failed'
  | 'forbidden_host'
  | 'redirected'
  | 'too_large'
  | 'unexpected_response'
  | 'not_configured'
  | 'circuit_open'

export interface SourceErrorDetails {
  readonly code: SourceErrorCode
  /** What was asked, in a few words: `read users`. */
  readonly operation: string
  /** Method and path without host and query: `GET /api/v1/users`. */
  readonly asked?: string
  /** HTTP status of the answer, if there was one. */
  readonly status?: number
  /** The provider's own code: `E0000011`, `unauthorized_client`, `AADSTS7000215`. */
  readonly providerCode?: string
  /** The provider's own words. Cleaned here: length-capped, no control characters, no HTML. */
  readonly providerMessage?: string
  /** Whole seconds the provider asked us to wait, within our ceiling. */
  readonly retryAfterSeconds?: number
  /** Further facts that a source needs for its diagnosis (a `WWW-Authenticate` error, a `Date` header). Never a secret. */
  readonly hints?: Readonly<Record<string, string | number | boolean>>
  readonly cause?: unknown
}

/** Talking to a provider failed, or the provider refused. Its message holds no secret and no raw body. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
  readonly code: SourceErrorCode
  readonly operation: string
  readonly asked: string | undefined
  readonly status: number | undefined
  readonly providerCode: string | undefined
  readonly providerMessage: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly hints: Readonly<Record<string, string | number | boolean>>

  constructor(details: SourceErrorDetails) {
    const providerCode = details.providerCode === undefined ? undefined : cleanText(details.providerCode, 80)
    // An answer, and no bug: it needs no stack, and capturing one costs more than anything else about it.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(
      [details.operation, details.code, details.status, providerCode]
        .filter((part) => part !== undefined)
        .join(' '),
      details.cause === undefined ? undefined : { cause: details.cause },
    )
    Error.stackTraceLimit = stackTraceLimit
    this.code = details.code
    this.operation = details.operation
    this.asked = details.asked
    this.status = details.status
    this.providerCode = providerCode
    this.providerMessage =
      details.providerMessage === undefined ? undefined : cleanText(details.providerMessage)
    this.retryAfterSeconds = details.retryAfterSeconds
    this.hints = Object.fromEntries(
      Object.entries(details.hints ?? {}).map(([name, hint]) => [
        name,
        typeof hint === 'string' ? cleanText(hint) : hint,
      ]),
    )
  }
}
