/** /api/v2/credence/entities: look-ups in bulk, what belongs together, what is different. */
import { z } from 'zod'
import { differentEntities } from '../../entities/differences.ts'
import { lookUpPrincipals, relatedEntities } from '../../entities/lookup.ts'
import { entityTypes, kindNumbers } from '../../entities/model.ts'
import { pageToken } from '../../entities/page-token.ts'
import { entityText, kindOfNumber, revisionText } from '../../entities/rendering.ts'
import { resolve } from '../../entities/search.ts'
import { findById } from '../../store/entity-keys.ts'
import type { RevisionRow } from '../../store/entity-rows.ts'
import { createSightings } from '../../store/sightings.ts'
import { errorSchema, sendJson } from '../errors.ts'
import { sendJsonPieces } from '../json-pieces.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'
import { entityNotFound, entitySchema, readEntityId } from './entity-context.ts'
import { entityLineRoutes } from './entity-lines.ts'
import {
  access,
  asOfSchema,
  entitiesPath,
  includeRawSchema,
  kindOf,
  kindsOf,
  limitSchema,
  organizationOf,
  pageTokenSchema,
  querySchema,
  readAt,
  readingLate,
  readPlace,
  readQuery,
  readStretch,
  refusals,
  typeSchema,
  wantsRaw,
} from './entity-requests.ts'
import { expecting } from './validate.ts'

const mostPrincipals = 1_000
const longestPrincipal = 400
/** Of a look-up, in bytes: its principals with room to spare. */
const maxLookUpBytes = 1024 * 1024

const defaultDifferences = 100
const maxDifferences = 1_000

const tags = ['Credence']

const principalSchema = z
  .string(expecting('a text'))
  .min(1, 'expected a text')
  .max(longestPrincipal, `expected at most ${longestPrincipal} characters`)

const lookUpBody = z.object(
  {
    data: z.object(
      {
        type: z.literal('entity_lookup', expecting('"entity_lookup"')),
        attributes: z.object(
          {
            principals: z
              .array(principalSchema, expecting('a list of texts'))
              .min(1, 'expected at least one')
              .max(mostPrincipals, `expected at most ${mostPrincipals}`)
              .meta({ description: 'E-mail addresses, user names or ids at the source, each as a whole.' }),
            as_of: asOfSchema,
            entity_type: typeSchema,
          },
          expecting('an object with principals'),
        ),
      },
      expecting('an object with type and attributes'),
    ),
  },
  expecting('a JSON object with the member data'),
)

const lookUpSchema = z
  .object({
    data: z.array(
      z.object({
        type: z.literal('entity_lookup_result'),
        attributes: z.object({
          principal: z.string(),
          entities: z
            .array(entitySchema)
            .describe('Of several sources where several know the name; none is chosen.'),
        }),
      }),
    ),
    meta: z.object({ as_of: z.iso.datetime(), unknown: z.array(z.string()) }),
  })
  .meta({ id: 'EntityLookupResponse' })

const differenceSchema = z
  .object({
    id: z.uuid(),
    type: z.string(),
    attributes: z.object({
      change: z.enum(['added', 'removed', 'changed']),
      label: z.string().describe('For people.'),
      before: z.record(z.string(), z.unknown()).optional(),
      after: z.record(z.string(), z.unknown()).optional(),
      fields: z
        .array(z.object({ field: z.string(), before: z.unknown().optional(), after: z.unknown().optional() }))
        .optional()
        .describe('Of what was changed: each field that is another, as it was and as it is.'),
    }),
  })
  .meta({ id: 'EntityDifference' })

const differencesSchema = z
  .object({
    data: z.array(differenceSchema),
    meta: z.object({ page: z.object({ next_token: z.string() }) }),
  })
  .meta({ id: 'EntityDifferencesResponse' })

/** The answer to a look-up in pieces: what was found of each principal, in their order. */
function lookUpPieces(
  principals: readonly string[],
  found: readonly (readonly RevisionRow[])[],
  { at, ms }: { readonly at: string; readonly ms: number },
): readonly string[] {
  const results = principals.map((principal, place) => {
    const entities = (found[place] ?? []).map((row) => entityText([row], ms)).join(',')
    return `${place === 0 ? '' : ','}{"type":"entity_lookup_result","attributes":{"principal":${JSON.stringify(principal)},"entities":[${entities}]}}`
  })
  const unknown = principals.filter((_, place) => found[place]?.length === 0)
  return ['{"data":[', ...results, `],"meta":{"as_of":"${at}","unknown":${JSON.stringify(unknown)}}}`]
}

export function entityRoutes(server: Server, parts: ServerParts): void {
  const { query: db } = parts.database
  const { now } = parts.validation.tools
  const sightings = createSightings(db)

  server.post(
    `${entitiesPath}/lookup`,
    {
      config: { access, maxBodyBytes: maxLookUpBytes },
      schema: {
        tags,
        operationId: 'lookUpEntities',
        summary: `Who up to ${mostPrincipals} principals are, or were at a moment`,
        body: lookUpBody,
        querystring: z.object({ include: includeRawSchema }),
        response: { 200: lookUpSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { principals, as_of = 'now', entity_type } = request.body.data.attributes
      const { at, ms } = readAt('data.attributes.as_of', as_of, now())
      const found = await lookUpPrincipals(db, {
        organizationId,
        kind: kindOf(entity_type),
        principals,
        at,
        withRaw: wantsRaw(request.query.include),
      })
      sendJsonPieces(reply, lookUpPieces(principals, found, { at, ms }))
      return reply
    },
  )

  server.get(
    `${entitiesPath}/:id/related`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'listRelatedEntities',
        summary:
          'Other entities with one of its e-mail addresses, in any source; whether it is the same person is not said',
        params: z.object({ id: z.string() }),
        querystring: z.object({ as_of: asOfSchema, include: includeRawSchema }),
        response: {
          200: z.object({
            data: z.array(
              entitySchema.extend({
                meta: z.object({ shared_addresses: z.array(z.string()) }),
              }),
            ),
          }),
          404: errorSchema,
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { as_of = 'now', include } = request.query
      const { at, ms } = readAt('as_of', as_of, now())
      const id = readEntityId(request.params.id)
      const [revision] = await findById(db, sightings, {
        organizationId,
        kinds: kindsOf(undefined).map((kind) => kindNumbers[kind]),
        id,
        span: { from: at, to: at },
        withRaw: false,
      })
      if (revision === undefined) throw entityNotFound(id)
      const kind = kindOfNumber.get(revision.kind) ?? 'identity'
      const related = await relatedEntities(
        db,
        { organizationId, kind, at, withRaw: wantsRaw(include) },
        revision,
      )
      const data = related.map(
        ({ row, sharedAddresses }) =>
          `{"id":"${row.entity_id}","type":"${entityTypes[kind]}","attributes":{"revisions":[${revisionText(row, ms)}]},"meta":{"shared_addresses":${JSON.stringify(sharedAddresses)}}}`,
      )
      sendJson(reply, `{"data":[${data.join(',')}]}`)
      return reply
    },
  )

  server.get(
    `${entitiesPath}/diff`,
    {
      config: { access },
      schema: {
        tags,
        operationId: 'diffEntities',
        summary:
          'What is different at a moment from what was at another: added, removed, changed field by field',
        querystring: z.object({
          from: z
            .string(expecting('a time'))
            .meta({ description: 'The first moment.', examples: ['now-1d'] }),
          to: z.string(expecting('a time')).optional().meta({ description: 'The second; now unless given.' }),
          query: querySchema,
          limit: limitSchema(maxDifferences, defaultDifferences, 'Entities of a page'),
          page_token: pageTokenSchema,
          entity_type: typeSchema,
        }),
        response: { 200: differencesSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const organizationId = organizationOf(request)
      const { from, to = 'now', query, limit = defaultDifferences, page_token, entity_type } = request.query
      const kind = kindOf(entity_type)
      const tree = readQuery(query)
      const asked = readStretch(from, to, now())
      const question = ['diff', organizationId, query, from, to, entity_type]
      const place = readPlace(question, ['time', 'time', 'time', 'id'], page_token)
      const [low = '', high = '', at = '', id = ''] = place ?? []
      const { match, span } = await readingLate(
        'query',
        resolve(db, {
          organizationId,
          ...(tree && { tree }),
          span: place === undefined ? asked.span : { from: low, to: high },
        }),
      )
      const { entities, next } =
        span === undefined
          ? { entities: [] }
          : await differentEntities(
              db,
              { organizationId, kind: kindNumbers[kind], span },
              match,
              place && { at, entity_id: id },
              limit,
            )
      const token =
        span === undefined || next === undefined
          ? ''
          : pageToken(question, [span.from, span.to, next.at, next.entity_id])
      const data = entities.map(({ id, difference }) => ({
        id,
        type: entityTypes[kind],
        attributes: difference,
      }))
      sendJson(reply, JSON.stringify({ data, meta: { page: { next_token: token } } }))
      return reply
    },
  )

  entityLineRoutes(server, parts)
}
