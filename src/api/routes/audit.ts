/** GET /api/v2/credence/audit: the audit trail of the caller's organisation, in pages or as a stream of lines. */
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import { type AuditQuery, findAuditEvents, type RecordedEvent } from '../../store/audit.ts'
import { errorLine } from '../error-line.ts'
import { errorSchema, forbidden, RequestError, sendJson } from '../errors.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'

export const auditPath = '/api/v2/credence/audit'

const defaultLimit = 100
const maxLimit = 1_000
/** Events read at a time for a stream. */
const batchSize = 500
/** Longest text that is compared with one of an event, in characters. */
const maxFilterLength = 300

/** Told apart only by being there: what an event does not have is left out. */
const eventSchema = z
  .object({
    id: z.string(),
    type: z.literal('audit_event'),
    attributes: z.object({
      at: z.iso.datetime(),
      actor: z.string().describe('`key:<id>`, `token:[issuer, subject]`, `cli` or `system`.'),
      action: z.string().describe('`<thing>.<verb>`, such as `integration_config.update`.'),
      target: z.string().optional().describe('Id of what was acted on.'),
      outcome: z.enum(['succeeded', 'refused', 'failed']),
      address: z.string().optional().describe('Where the request came from.'),
      request_id: z.string().optional(),
      details: z.record(z.string(), z.unknown()),
    }),
  })
  .meta({ id: 'AuditEvent' })

const pageSchema = z
  .object({
    data: z.array(eventSchema),
    meta: z.object({
      page: z.object({ next_token: z.string().describe('For `page_token`; empty at the end.') }),
    }),
  })
  .meta({ id: 'AuditEventsResponse' })

const expected = (what: string) => ({ error: () => `expected ${what}` })

const filterSchema = z
  .string(expected('a text'))
  .max(maxFilterLength, expected(`at most ${maxFilterLength} characters`))
  // PostgreSQL takes neither in a text.
  .refine((text) => text.isWellFormed() && !text.includes('\0'), expected('a text without NUL'))
  .optional()

const timeSchema = z.iso
  .datetime({ offset: true, ...expected('an RFC 3339 time, such as 2030-01-31T08:00:00Z') })
  .refine((text) => !Number.isNaN(Date.parse(text)), expected('a time that exists'))
  .optional()

const querySchema = z.object({
  from: timeSchema.describe('Events at this time and later.'),
  to: timeSchema.describe('Events before this time.'),
  action: filterSchema,
  target: filterSchema,
  actor: filterSchema,
  limit: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, expected(`a whole number from 1 to ${maxLimit}`))
    .transform(Number)
    .refine((limit) => limit <= maxLimit, expected(`a whole number from 1 to ${maxLimit}`))
    .optional()
    .meta({ description: `1 to ${maxLimit}; ${defaultLimit} unless given. A stream without it has no end.` }),
  page_token: z.string().max(100, expected('a token of an earlier answer')).optional(),
})

export function auditRoutes(server: Server, { database, log }: ServerParts): void {
  server.get(
    auditPath,
    {
      config: { access: 'manage_integrations' },
      schema: {
        tags: ['Credence'],
        operationId: 'listAuditEvents',
        summary: 'Who did what in the organisation, when, from where, with what outcome',
        description:
          'In the order in which it was recorded. With `Accept: application/x-ndjson` the answer is one event a line, of all that match.',
        querystring: querySchema,
        response: {
          200: {
            description: 'The events.',
            content: {
              'application/json': { schema: pageSchema },
              'application/x-ndjson': { schema: z.string() },
            },
          },
          400: errorSchema,
          403: errorSchema,
          429: errorSchema,
          503: errorSchema,
        },
      },
    },
    async (request, reply) => {
      const { caller, query } = request
      if (caller === null) throw forbidden()
      const { from, to, action, target, actor } = query
      const after = query.page_token === undefined ? undefined : readToken(query.page_token)
      const wanted: Omit<AuditQuery, 'limit'> = {
        organizationId: caller.organization.id,
        ...(from !== undefined && { from: new Date(from) }),
        ...(to !== undefined && { to: new Date(to) }),
        ...(action !== undefined && { action }),
        ...(target !== undefined && { target }),
        ...(actor !== undefined && { actor }),
        ...(after !== undefined && { after }),
      }
      if (wantsLines(request.headers.accept)) {
        const batches = batchesOf(wanted, query.limit)
        // The first one decides the status: an error later on can only cut the stream off.
        const first = await batches.next()
        const lines = Readable.from(linesOf(first.value ?? [], batches), { objectMode: false })
        lines.on('error', (error) =>
          log.error({ request_id: request.id, error: errorLine(error) }, 'the audit trail was cut off'),
        )
        sendLines(reply, lines)
        return reply
      }
      const limit = query.limit ?? defaultLimit
      const events = await findAuditEvents(database.query, { ...wanted, limit: limit + 1 })
      const page = events.slice(0, limit)
      const last = page.at(-1)
      const isMore = events.length > limit && last !== undefined
      const document: z.infer<typeof pageSchema> = {
        data: page.map(documentOf),
        meta: { page: { next_token: isMore ? tokenAfter(last.id) : '' } },
      }
      sendJson(reply, JSON.stringify(document))
      return reply
    },
  )

  async function* batchesOf(
    wanted: Omit<AuditQuery, 'limit'>,
    limit = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<RecordedEvent[], undefined> {
    let left = limit
    let { after } = wanted
    for (;;) {
      const size = Math.min(batchSize, left)
      const events = await findAuditEvents(database.query, {
        ...wanted,
        ...(after !== undefined && { after }),
        limit: size,
      })
      yield events
      left -= events.length
      after = events.at(-1)?.id
      if (events.length < size || left === 0) return undefined
    }
  }
}

function sendLines(reply: FastifyReply, lines: Readable): void {
  reply.header('content-type', 'application/x-ndjson').send(lines)
}

async function* linesOf(first: readonly RecordedEvent[], rest: AsyncIterable<readonly RecordedEvent[]>) {
  const text = (events: readonly RecordedEvent[]) =>
    events.map((event) => `${JSON.stringify(documentOf(event))}\n`).join('')
  if (first.length > 0) yield text(first)
  for await (const events of rest) if (events.length > 0) yield text(events)
}

const documentOf = (event: RecordedEvent): z.infer<typeof eventSchema> => ({
  id: String(event.id),
  type: 'audit_event',
  attributes: {
    at: event.at.toISOString(),
    actor: event.actor,
    action: event.action,
    ...(event.target !== null && { target: event.target }),
    outcome: event.outcome,
    ...(event.address !== null && { address: event.address }),
    ...(event.request_id !== null && { request_id: event.request_id }),
    details: event.details,
  },
})

/** Where a page ended; of no meaning to anybody else, and of no use against another organisation. */
const tokenAfter = (id: number) => Buffer.from(`audit ${id}`).toString('base64url')

function readToken(token: string): number {
  const [, id] = /^audit (\d{1,15})$/.exec(Buffer.from(token, 'base64url').toString('latin1')) ?? []
  if (id === undefined)
    throw new RequestError('invalid_request', 'page_token: expected a token of an earlier answer')
  return Number(id)
}

/** Whether lines are named, and JSON is not. */
const wantsLines = (accept: string | undefined) =>
  accept !== undefined &&
  /\bapplication\/(?:x-)?ndjson\b/i.test(accept) &&
  !/\bapplication\/json\b/i.test(accept)
