/** Turns what Node, undici and zlib throw into the codes of SourceError, and drops everything else about it. */
import { errors } from 'undici'
import { ConnectFailure, networkCode } from './connect.ts'
import type { SourceErrorCode } from './source-error.ts'

/** We ended the request ourselves: its time was up, or the client was closed. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** The reason of every interruption. One for all, as errors are costly to make. */
export const outOfTime = new Interrupted('out of time')

/** The answer breaks a rule of ours: it redirects, is over a limit, or is in a form that is not accepted. */
export class AnswerRefused extends Error {
  override readonly name = 'AnswerRefused'
  readonly code: 'redirected' | 'too_large' | 'unexpected_response'
  readonly status: number | undefined

  constructor(code: AnswerRefused['code'], why: string, status?: number) {
    super(why)
    this.code = code
    this.status = status
  }
}

/** The connection broke before the answer's headers were complete. `network` is the code that said so. */
export class BrokenOff extends Error {
  override readonly name = 'BrokenOff'
  readonly network: string

  constructor(network: string) {
    super(network)
    this.network = network
  }
}

export interface Failure {
  readonly code: SourceErrorCode
  /** The code of the system, of TLS or of undici: `ECONNREFUSED`. Never text. */
  readonly network?: string
  /** HTTP status of an answer that was refused for it. */
  readonly status?: number
}

/** Codes of undici that do not simply mean that the connection broke. */
const byCode: ReadonlyMap<string, SourceErrorCode> = new Map([
  ['UND_ERR_HEADERS_TIMEOUT', 'timed_out'],
  ['UND_ERR_BODY_TIMEOUT', 'timed_out'],
  ['UND_ERR_HEADERS_OVERFLOW', 'too_large'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'unexpected_response'],
])

/** What zlib says of bytes that are not in the coding they are said to be in: its own codes, and Brotli's. */
const codingBroken = /^(?:Z_|ERR_BROTLI_|ERR__ERROR_|ERR_ZLIB_)/

/** Codes by which Node and undici say that they were called wrongly, or that somebody aborted: none of the network's. */
const ourOwn = /^(?:ABORT_ERR|UND_ERR_INVALID_ARG|UND_ERR_NOT_SUPPORTED|ERR_(?!SSL_|TLS_|STREAM_|SOCKET_))/

/** The failure behind a thrown value, or undefined when it is none of the network's: a bug. */
export function failureOf(thrown: unknown): Failure | undefined {
  if (thrown instanceof ConnectFailure) return { code: thrown.code, network: thrown.network }
  if (thrown instanceof BrokenOff) return { code: 'unreachable', network: thrown.network }
  if (thrown instanceof AnswerRefused)
    return { code: thrown.code, ...(thrown.status !== undefined && { status: thrown.status }) }
  if (thrown instanceof Interrupted) return { code: 'timed_out' }
  // Its code is the parser's, or none; its `data` is what was received.
  if (thrown instanceof errors.HTTPParserError) return { code: 'unexpected_response', network: 'HTTP_PARSER' }
  const network = networkCode(thrown)
  if (network === undefined) return undefined
  if (codingBroken.test(network)) return { code: 'unexpected_response', network }
  if (ourOwn.test(network)) return undefined
  return { code: byCode.get(network) ?? 'unreachable', network }
}

/** Codes of a connection that the other side, or something between, closed on us. */
const closings = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/** `thrown`, or a BrokenOff where it says that the connection was closed; for what is thrown before there are headers. */
export function asBrokenOff(thrown: unknown): unknown {
  const network = thrown instanceof ConnectFailure ? undefined : networkCode(thrown)
  return network !== undefined && closings.has(network) ? new BrokenOff(network) : thrown
}
