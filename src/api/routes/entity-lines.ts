/** Entities as lines: everything at a moment, and what changes. */
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import {
  beforeAllChanges,
  changeLines,
  exportedLines,
  lineFormats,
  readCursor,
} from '../../entities/feeds.ts'
import { errorLine } from '../error-line.ts'
import { RequestError } from '../errors.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'
import {
  access,
  anyTypeSchema,
  asOfSchema,
  entitiesPath,
  includeRawSchema,
  kindsOf,
  organizationOf,
  readAt,
  refusals,
  wantsRaw,
} from './entity-requests.ts'
import { expecting } from './validate.ts'

/** How often a feed that is followed looks for changes, in milliseconds. */
const followEveryMs = 1_000
/** An empty line after so long without a change keeps the connection from being taken for a dead one. */
const quietMs = 15_000

const tags = ['Credence']

const formatSchema = z
  .enum(lineFormats, expecting(`one of ${lineFormats.join(', ')}`))
  .optional()
  .meta({ description: 'Form of the lines; `credence` unless given.' })

const linesAnswer = {
  200: {
    description:
      'One JSON document a line. A stream that breaks off is not whole: of a key that was revoked, or of a reader that took nothing for a minute.',
    content: { 'application/x-ndjson': { schema: z.string() } },
  },
  ...refusals,
}

export function entityLineRoutes(server: Server, parts: ServerParts): void {
  const { query: db } = parts.database
  const { now } = parts.validation.tools

  server.get(
    `${entitiesPath}/export`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'exportEntities',
        summary: 'Everything that there is, or was at a moment, one entity a line',
        querystring: z.object({
          as_of: asOfSchema,
          entity_type: anyTypeSchema,
          format: formatSchema,
          include: includeRawSchema,
        }),
        response: linesAnswer,
      },
    },
    async (request, reply) => {
      const { as_of = 'now', entity_type, format = 'credence', include } = request.query
      const moment = readAt('as_of', as_of, now())
      const feed = {
        organizationId: organizationOf(request),
        kinds: kindsOf(entity_type),
        format,
        withRaw: wantsRaw(include),
      }
      const signal = parts.streams.open('lines', request, reply)
      return sendLines(request, reply, parts, signal, exportedLines(db, feed, moment))
    },
  )

  server.get(
    `${entitiesPath}/changes`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'streamEntityChanges',
        summary:
          'What was created, updated and removed, one change a line, in the order in which it was found',
        querystring: z.object({
          after: z
            .string(expecting('a cursor of an earlier line'))
            .optional()
            .meta({ description: '`cursor` of the last line that was read; the beginning unless given.' }),
          follow: z
            .enum(['true', 'false'], expecting('true or false'))
            .optional()
            .meta({ description: '`true` goes on with what is found from now on; `false` unless given.' }),
          entity_type: anyTypeSchema,
          format: formatSchema,
          include: includeRawSchema,
        }),
        response: linesAnswer,
      },
    },
    async (request, reply) => {
      const { after, follow, entity_type, format = 'credence', include } = request.query
      const cursor = after === undefined ? beforeAllChanges : readCursor(after)
      if (cursor === undefined)
        throw new RequestError('invalid_request', 'after: expected a cursor of an earlier line')
      const feed = {
        organizationId: organizationOf(request),
        kinds: kindsOf(entity_type),
        format,
        withRaw: wantsRaw(include),
      }
      const changes = changeLines(db, feed, cursor)
      const isFollowed = follow === 'true'
      const signal = parts.streams.open(isFollowed ? 'followed_lines' : 'lines', request, reply)
      const pieces = isFollowed ? following(changes, parts, signal) : untilQuiet(changes)
      return sendLines(request, reply, parts, signal, pieces)
    },
  )
}

async function* untilQuiet(pieces: AsyncGenerator<string, never>): AsyncGenerator<string, undefined> {
  for await (const piece of pieces) {
    if (piece === '') return undefined
    yield piece
  }
  return undefined
}

/** Goes on until its reader leaves or the server ends. */
async function* following(
  pieces: AsyncGenerator<string, never>,
  { lifecycle }: ServerParts,
  signal: AbortSignal,
): AsyncGenerator<string, undefined> {
  // The first of them comes at once, so that its reader sees that it is heard.
  let quietSinceMs = Number.NEGATIVE_INFINITY
  for await (const piece of pieces) {
    if (piece !== '') {
      quietSinceMs = performance.now()
      yield piece
      continue
    }
    if (!lifecycle.isReady()) return undefined
    if (performance.now() - quietSinceMs >= quietMs) {
      quietSinceMs = performance.now()
      yield '\n'
    }
    await delay(followEveryMs, undefined, { signal })
  }
  return undefined
}

/** Sends pieces as fast as they are read. The first one decides the status: what fails later can only cut the stream off. */
async function sendLines(
  request: FastifyRequest,
  reply: FastifyReply,
  { log, lifecycle }: ServerParts,
  signal: AbortSignal,
  pieces: AsyncGenerator<string, undefined>,
): Promise<FastifyReply> {
  const first = await pieces.next()
  if (signal.aborted) {
    await pieces.return(undefined)
    throw signal.reason
  }
  // No more than a piece waits, besides the one that is being sent.
  const lines = Readable.from(pieces, { objectMode: false, highWaterMark: 1 })
  if (!first.done) lines.unshift(first.value)
  const forget = lifecycle.whenImpatient(() => lines.destroy())
  signal.addEventListener('abort', () => lines.destroy(signal.reason))
  lines.on('close', forget)
  lines.on('error', (error) => {
    // Of a reader that has left, or has to, there is nothing more to say.
    if (!(error instanceof RequestError))
      log.error({ request_id: request.id, error: errorLine(error) }, 'a stream of entities was cut off')
  })
  reply.header('content-type', 'application/x-ndjson').send(lines)
  return reply
}
