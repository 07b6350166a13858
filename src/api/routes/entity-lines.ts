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
/** Feeds that a node lets be followed at a time: each asks the database whenever it looks. */
const mostFollowed = 200

const tags = ['Credence']

const formatSchema = z
  .enum(lineFormats, expecting(`one of ${lineFormats.join(', ')}`))
  .optional()
  .meta({ description: 'Form of the lines; `credence` unless given.' })

const linesAnswer = {
  200: {
    description: 'One JSON document a line. A stream that breaks off is not whole.',
    content: { 'application/x-ndjson': { schema: z.string() } },
  },
  ...refusals,
}

export function entityLineRoutes(server: Server, parts: ServerParts): void {
  const { query: db } = parts.database
  const { now } = parts.validation.tools
  const followers = { count: 0 }

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
      return sendLines(request, reply, parts, exportedLines(db, feed, moment))
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
      if (follow !== 'true') return sendLines(request, reply, parts, untilQuiet(changes))
      if (followers.count >= mostFollowed)
        throw new RequestError(
          'unavailable',
          'As many feeds are followed as the server allows. Try again, or ask without follow.',
        )
      return sendLines(request, reply, parts, following(changes, parts, followers))
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
  followers: { count: number },
): AsyncGenerator<string, undefined> {
  followers.count += 1
  try {
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
      await delay(followEveryMs)
    }
    return undefined
  } finally {
    followers.count -= 1
  }
}

/** Sends pieces as fast as they are read. The first one decides the status: what fails later can only cut the stream off. */
async function sendLines(
  request: FastifyRequest,
  reply: FastifyReply,
  { log, lifecycle }: ServerParts,
  pieces: AsyncGenerator<string, undefined>,
): Promise<FastifyReply> {
  const first = await pieces.next()
  const lines = Readable.from(withFirst(first, pieces), { objectMode: false })
  const stop = () => lines.destroy()
  const forget = lifecycle.whenImpatient(stop)
  // Whoever asks for the head alone has his answer, and reads no further.
  reply.raw.on('close', stop)
  lines.on('close', () => {
    forget()
    // A stream that nobody has begun to read does not end them itself.
    void pieces.return(undefined)
  })
  lines.on('error', (error) =>
    log.error({ request_id: request.id, error: errorLine(error) }, 'a stream of entities was cut off'),
  )
  reply.header('content-type', 'application/x-ndjson').send(lines)
  return reply
}

async function* withFirst(
  first: IteratorResult<string, undefined>,
  rest: AsyncGenerator<string, undefined>,
): AsyncGenerator<string, undefined> {
  if (first.done) return undefined
  yield first.value
  yield* rest
  return undefined
}
