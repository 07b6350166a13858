/** Decides which header fields a request is sent with. */
import type { HttpRequest } from './http.ts'
import { SourceError } from './source-error.ts'

/** Fields that belong to the connection or are set here. A source that sets one has a bug. */
const reservedFields = new Set([
  'host',
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/**
 * The fields of a request as they are sent, with lower-case names.
 *
 * @throws SourceError `not_configured`, with the hint `unsendable_header`, when a value cannot be in a header at all
 */
export function sendableHeaders({ headers = {}, operation }: HttpRequest): Record<string, string> {
  const sendable: Record<string, string> = { 'user-agent': 'credence' }
  for (const [name, value] of Object.entries(headers)) {
    const field = name.toLowerCase()
    if (reservedFields.has(field)) throw new TypeError(`the header ${field} is not a source's to set`)
    // Values hold credentials as the customer typed them. The value stays out of the error.
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new SourceError({ code: 'not_configured', operation, hints: { unsendable_header: field } })
    sendable[field] = value
  }
  // Answers are small, and what is not compressed cannot be a bomb.
  sendable['accept-encoding'] = 'identity'
  return sendable
}
