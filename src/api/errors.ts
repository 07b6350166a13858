/** The error form: one table of what went wrong → status, and the only place that writes an error body. */
import type { FastifyError, FastifyReply } from 'fastify'
import { z } from 'zod'
import { isUnavailable } from '../store/unavailable.ts'
import { reportSchema } from '../validation/report.ts'

/** What a caller did wrong, or what kept us from answering. Anything else that is thrown is a bug: 500. */
const statusOf = {
  invalid_request: 400,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timed_out: 408,
  too_large: 413,
  unsupported_media_type: 415,
  too_many_requests: 429,
  unavailable: 503,
} as const
export type RequestErrorCode = keyof typeof statusOf

/** An answer other than success. Its texts are shown to the caller as they are: never a secret, never a piece of the input. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  readonly code: RequestErrorCode
  readonly status: number
  readonly errors: readonly string[]

  constructor(code: RequestErrorCode, ...errors: readonly [string, ...string[]]) {
    // An expected answer needs no stack, and capturing one costs more than anything else about it.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(errors[0])
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.status = statusOf[code]
    this.errors = errors
  }
}

/** Missing or wrong keys. One text for both, so that nothing is learnt about a key. */
export const forbidden = () => new RequestError('forbidden', 'Forbidden')

/** A valid key or token without what the route needs. */
export const permissionMissing = () =>
  new RequestError('forbidden', 'Forbidden', 'Failed permission authorization checks')

export const tooManyRequests = () => new RequestError('too_many_requests', 'Too many requests')

/** The error form, as every client of the family reads it. */
export const errorSchema = z
  .object({
    errors: z.array(z.string()).min(1).describe('What was tried, what went wrong, and what to do about it.'),
    meta: z.object({ report: reportSchema }).optional().describe('The whole report, where there is one.'),
  })
  .meta({ id: 'APIErrorResponse' })

export type ErrorBody = z.infer<typeof errorSchema>

/** The error body as text. */
export const errorBody = (errors: readonly string[], meta?: ErrorBody['meta']) =>
  JSON.stringify(meta === undefined ? { errors } : { errors, meta })

/** Sends an error. */
export function sendErrors(
  reply: FastifyReply,
  status: number,
  errors: readonly string[],
  meta?: ErrorBody['meta'],
): void {
  sendJson(reply.code(status), errorBody(errors, meta))
}

/** Sends a document that is serialised already. */
export function sendJson(reply: FastifyReply, body: string): void {
  reply.header('content-type', 'application/json').send(body)
}

const databaseUnavailable = "This server's database cannot be used at the moment. Try again."

/** What is said of an error, or undefined when it is a bug of ours. */
export function describeRequestError(
  error: unknown,
): { status: number; errors: readonly string[] } | undefined {
  if (error instanceof RequestError) return error
  if (isUnavailable(error)) return { status: 503, errors: [databaseUnavailable] }
  const { statusCode, code } = error as Partial<FastifyError>
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return { status: 415, errors: [unsupportedMediaType] }
  // Fastify's own refusals. Its texts may repeat the input, so the status speaks for itself.
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return { status: statusCode, errors: [phraseOf(statusCode)] }
  return undefined
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-15 */
const phrases: Readonly<Record<number, string>> = {
  404: 'Not Found',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  431: 'Request Header Fields Too Large',
}

export const phraseOf = (status: number) => phrases[status] ?? 'Bad Request'

export const unsupportedMediaType =
  'Unsupported media type: send the body as Content-Type: application/json in UTF-8'

/**
 * What a schema found wrong, each field by its name: `data.attributes.domain: expected a string`.
 *
 * @param part what the schema was for: `body`, `querystring`
 */
export function schemaFault(issues: readonly z.core.$ZodIssue[], part: string): RequestError {
  const [first, ...rest] = issues.map(({ path, message }) => `${path.join('.') || part}: ${message}`)
  return new RequestError('invalid_request', first ?? `${part}: not understood`, ...rest)
}
