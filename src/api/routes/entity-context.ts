/** GET /api/v2/security_monitoring/entity_context: who somebody is, and was. */
import { z } from 'zod'
import { kindNumbers } from '../../entities/model.ts'
import { pageToken } from '../../entities/page-token.ts'
import { recentEntities } from '../../entities/recent.ts'
import { entityText } from '../../entities/rendering.ts'
import { searchEntities } from '../../entities/search.ts'
import { findById } from '../../store/entity-keys.ts'
import { createSightings } from '../../store/sightings.ts'
import { errorSchema, sendJson } from '../errors.ts'
import { echo, notFound, uuidIn } from '../not-found.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'
import {
  access,
  anyTypeSchema,
  asOfSchema,
  fromSchema,
  includeRawSchema,
  kindOf,
  kindsOf,
  limitSchema,
  organizationOf,
  pageTokenSchema,
  querySchema,
  readingLate,
  readPlace,
  readQuery,
  readTime,
  refusals,
  toSchema,
  typeSchema,
  wantsRaw,
} from './entity-requests.ts'
import { expecting } from './validate.ts'

export const entityContextPath = '/api/v2/security_monitoring/entity_context'

const defaultLimit = 100
const maxLimit = 1_000
const maxRecent = 100
/** Counts in answers are 32 bits wide. */
const mostCounted = 2 ** 31 - 1

export const entitySchema = z
  .object({
    id: z.uuid(),
    type: z.string().describe('`siem_entity_identity`, `siem_entity_group` or `siem_entity_device`.'),
    attributes: z.object({
      revisions: z
        .array(
          z.object({
            attributes: z
              .record(z.string(), z.unknown())
              .describe("What was known: the identity model's members, `domain`, `source`, `config_id`."),
            first_seen_at: z.iso.datetime(),
            last_seen_at: z.iso.datetime(),
          }),
        )
        .describe('In the order of time.'),
    }),
  })
  .meta({ id: 'EntityContextEntity' })

const pageSchema = z
  .object({
    data: z.array(entitySchema),
    meta: z.object({
      page: z.object({ next_token: z.string().describe('For `page_token`; empty at the end.') }),
      total_count: z.int().describe('Entities that match, on all pages.'),
    }),
  })
  .meta({ id: 'EntityContextResponse' })

const tags = ['Security Monitoring']

export function entityContextRoutes(
  server: Server,
  { database: { query: db }, validation }: ServerParts,
): void {
  const { now } = validation.tools
  const sightings = createSightings(db)

  server.get(
    entityContextPath,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'getEntityContext',
        summary:
          'Entities that match a query, with what was known of them in a stretch of time or at a moment',
        querystring: z.object({
          query: querySchema,
          from: fromSchema,
          to: toSchema,
          as_of: asOfSchema,
          limit: limitSchema(maxLimit, defaultLimit, 'Entities of a page'),
          page_token: pageTokenSchema,
          entity_type: typeSchema,
          include: includeRawSchema,
        }),
        response: { 200: pageSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { query, from, to, as_of, limit = defaultLimit, page_token, entity_type, include } = request.query
      const tree = readQuery(query)
      const asked = readTime({ from, to, as_of }, now())
      const question = ['entity_context', organizationId, query, from, to, as_of, entity_type]
      const place = readPlace(question, ['time', 'time', 'id', 'count', 'count'], page_token)
      const [low = '', high = '', id = '', total = '', moment = ''] = place ?? []
      const momentMs = place === undefined ? asked.momentMs : Number(moment)
      const page = await readingLate(
        'query',
        searchEntities(db, sightings, {
          organizationId,
          kind: kindOf(entity_type),
          ...(tree && { tree }),
          span: place === undefined ? asked.span : { from: low, to: high },
          limit,
          withRaw: wantsRaw(include),
          ...(place && { after: { id, total: Number(total) } }),
        }),
      )
      const { next } = page
      const token =
        next === undefined
          ? ''
          : pageToken(question, [next.span.from, next.span.to, next.afterId, page.total, momentMs])
      const data = page.entities.map((entity) => entityText(entity, momentMs)).join(',')
      sendJson(
        reply,
        `{"data":[${data}],"meta":{"page":{"next_token":"${token}"},"total_count":${Math.min(page.total, mostCounted)}}}`,
      )
      return reply
    },
  )

  server.get(
    `${entityContextPath}/recently_updated`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'getEntityContextRecentlyUpdated',
        summary: 'Entities that were revised in a stretch of time, the most recently revised first',
        querystring: z.object({
          query: querySchema,
          from: fromSchema,
          to: toSchema,
          limit: limitSchema(maxRecent, maxRecent, 'Entities'),
          revisions: z
            .enum(['latest', 'all'], expecting('latest or all'))
            .optional()
            .meta({ description: '`latest` unless given: the last revision alone, or all of that time.' }),
          entity_type: typeSchema,
          include: includeRawSchema,
        }),
        response: { 200: z.object({ data: z.array(entitySchema) }), ...refusals },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { query, from, to, limit = maxRecent, revisions = 'latest', entity_type, include } = request.query
      const tree = readQuery(query)
      const { span, momentMs } = readTime({ from, to }, now())
      const entities = await readingLate(
        'query',
        recentEntities(db, {
          organizationId,
          kind: kindOf(entity_type),
          ...(tree && { tree }),
          span,
          limit,
          revisions,
          withRaw: wantsRaw(include),
        }),
      )
      sendJson(reply, `{"data":[${entities.map((entity) => entityText(entity, momentMs)).join(',')}]}`)
      return reply
    },
  )

  server.get(
    `${entityContextPath}/:id`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'getSingleEntityContext',
        summary: 'An entity, with what was known of it in a stretch of time or at a moment',
        params: z.object({ id: z.string() }),
        querystring: z.object({
          from: fromSchema,
          to: toSchema,
          as_of: asOfSchema,
          entity_type: anyTypeSchema,
          include: includeRawSchema,
        }),
        response: { 200: z.object({ data: entitySchema }), 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { entity_type, include, ...time } = request.query
      const { span, momentMs } = readTime(time, now())
      const id = readEntityId(request.params.id)
      const [first, ...more] = await findById(db, sightings, {
        organizationId,
        kinds: kindsOf(entity_type).map((kind) => kindNumbers[kind]),
        id,
        span,
        withRaw: wantsRaw(include),
      })
      if (first === undefined) throw entityNotFound(id)
      sendJson(reply, `{"data":${entityText([first, ...more], momentMs)}}`)
      return reply
    },
  )
}

/** @throws RequestError for what cannot be the id of anything */
export function readEntityId(text: string): string {
  const id = uuidIn(text)
  if (id === undefined) throw entityNotFound(text)
  return id
}

export const entityNotFound = (id: string) => notFound(`Entity with ID${echo(id)} not found`)
