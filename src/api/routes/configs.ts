/** The configurations of an organisation: made, listed, changed, removed, validated, activated and deactivated. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Configs } from '../../configs/configs.ts'
import { ConfigRefusal, type Refusal } from '../../configs/refusal.ts'
import type { Requester } from '../../configs/requester.ts'
import type { AnySource } from '../../sources/registry.ts'
import type { ConfigRow } from '../../store/configs.ts'
import { answerTo } from '../../validation/answer.ts'
import { type Report, reportSchema } from '../../validation/report.ts'
import { errorSchema, forbidden, RequestError, sendErrors, sendJson, tooManyRequests } from '../errors.ts'
import { echo, notFound, uuidIn } from '../not-found.ts'
import type { ServerParts } from '../parts.ts'
import { periodSeconds, sendStanding } from '../rate-limits.ts'
import type { Server } from '../server.ts'
import { registrationRoutes } from './registrations.ts'
import { expecting, includeSchema, noPlace, secretsSchemaFor, wantsReport } from './validate.ts'

export const configsPath = '/api/v2/security_monitoring/configuration/integration_config'

const longestName = 255

const nameSchema = z
  .string(expecting(`a text of 1 to ${longestName} characters`))
  .max(longestName, `expected a text of 1 to ${longestName} characters`)
  .regex(/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u, `expected a text of 1 to ${longestName} characters`)
  // Those that turn the direction of what follows are kept out too: a list of names must not read as another.
  .regex(/^[^\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]*$/u, 'expected a text without control characters')
  .meta({ description: 'What people call it.', examples: ['Acme, production'] })

const settingsSchema = z.record(z.string(), z.unknown(), expecting('an object without secrets')).meta({
  description:
    'Free, not secret. `instance` tells several configurations of one domain and type apart; `require` lists capabilities without which the credentials count as invalid; `sync` says when it is synchronised, and within which bounds: `enabled`, `incremental_minutes`, `full_at` or `full_hours`, `fuse_percent`, `fuse_at_least`, `budget_percent`, `limits`.',
  examples: [{ instance: 'second', require: ['roles'], sync: { full_at: '02:00' } }],
})

const domainSchema = z
  .string(expecting('a string, the domain of the organisation at the provider'))
  .meta({ description: 'The domain associated with the source.', examples: ['acme.okta.com'] })

const configSchema = z
  .object({
    id: z.uuid(),
    type: z.literal('integration_config'),
    attributes: z.object({
      created_at: z.iso.datetime(),
      domain: z.string(),
      enabled: z.boolean(),
      integration_type: z.string(),
      modified_at: z.iso.datetime(),
      name: z.string(),
      settings: z.record(z.string(), z.unknown()),
      state: z.enum(['valid', 'invalid', 'initializing']).describe('The state of the credentials.'),
    }),
  })
  .meta({ id: 'IntegrationConfig' })

const answerSchema = z.object({
  data: configSchema,
  meta: z
    .object({ report: reportSchema })
    .optional()
    .describe('The last report, where it was asked for and there is one.'),
})

const refusals = { 403: errorSchema, 429: errorSchema, 503: errorSchema }

const idParams = z.object({ integration_config_id: z.string() })
const typeParams = z.object({
  integration_type: z.string().meta({ description: 'In lower case.', examples: ['entra_id'] }),
})
const queryOfReport = z.object({ include: includeSchema })

/** An attribute object around `attributes`, as all of the family's requests have it. */
const requestOf = <S extends z.ZodType>(attributes: S) =>
  z.object(
    {
      data: z.object(
        { type: z.literal('integration_config', expecting('"integration_config"')), attributes },
        expecting('an object with type and attributes'),
      ),
    },
    expecting('a JSON object with the member data'),
  )

/** Every member may be left out, and the body too. */
const activationBody = z
  .object(
    {
      data: z
        .object(
          {
            attributes: z
              .object(
                {
                  domain: domainSchema.nullish(),
                  name: nameSchema.nullish(),
                  settings: settingsSchema.nullish(),
                },
                expecting('an object with domain, name and settings'),
              )
              .nullish(),
          },
          expecting('an object with type and attributes'),
        )
        .nullish(),
    },
    expecting('a JSON object with the member data'),
  )
  .nullish()

const filterName = 'filter[integration_type]'

export function configRoutes(server: Server, parts: ServerParts & { readonly configs: Configs }): void {
  const { configs, sources } = parts
  const types = sources.map(({ integrationType }) => integrationType)
  const typeSchema = z.enum(types, expecting(`one of ${types.join(', ')}`))
  const secretsSchema = secretsSchemaFor(sources)
  const tags = ['Security Monitoring']

  server.post(
    configsPath,
    {
      config: { access: 'manage_integrations', limit: 'validations' },
      schema: {
        tags,
        operationId: 'createSecurityMonitoringIntegrationConfig',
        summary: 'Create an integration configuration',
        description:
          'Proves the credentials first: nothing is stored when they are not valid (400), nor when it cannot be told (429, 503).',
        body: requestOf(
          z.object(
            {
              domain: domainSchema,
              integration_type: typeSchema,
              name: nameSchema,
              secrets: secretsSchema.optional(),
              settings: settingsSchema.optional(),
            },
            expecting('an object with domain, integration_type, name and secrets'),
          ),
        ),
        response: { 200: answerSchema, 400: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        const { domain, integration_type, name, secrets, settings } = request.body.data.attributes
        const row = await configs.create(requester, {
          integrationType: integration_type,
          domain,
          name,
          ...(secrets && { secrets }),
          ...(settings && { settings }),
        })
        sendConfig(reply, row)
      })
      return reply
    },
  )

  server.get(
    configsPath,
    {
      config: { access: 'integrations_read' },
      schema: {
        tags,
        operationId: 'listSecurityMonitoringIntegrationConfigs',
        summary: 'List integration configurations',
        querystring: z.object({
          [filterName]: z
            .union([z.string(), z.array(z.string())])
            .optional()
            .meta({ description: 'Those of this type alone.', examples: types.slice(0, 1) }),
        }),
        response: { 200: z.object({ data: z.array(configSchema) }), ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async ({ organization }) => {
        const filter = request.query[filterName]
        const wanted = filter === undefined ? types : types.filter((type) => [filter].flat().includes(type))
        const [first, ...rest] = wanted
        const rows = first === undefined ? [] : await configs.list(organization.id, [first, ...rest])
        sendJson(reply, JSON.stringify({ data: rows.map(documentOf) }))
      })
      return reply
    },
  )

  server.get(
    `${configsPath}/:integration_config_id`,
    {
      config: { access: 'integrations_read' },
      schema: {
        tags,
        operationId: 'getSecurityMonitoringIntegrationConfig',
        summary: 'Get an integration configuration',
        params: idParams,
        querystring: queryOfReport,
        response: { 200: answerSchema, 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async ({ organization }) => {
        const id = configId(request.params)
        const row = await configs.get(organization.id, id)
        const report = wantsReport(request.query.include)
          ? await configs.report(organization.id, id)
          : undefined
        sendConfig(reply, row, report)
      })
      return reply
    },
  )

  server.patch(
    `${configsPath}/:integration_config_id`,
    {
      config: { access: 'manage_integrations', limit: 'validations' },
      schema: {
        tags,
        operationId: 'updateSecurityMonitoringIntegrationConfig',
        summary: 'Update an integration configuration',
        description:
          'What is absent stays as it is; `settings` are replaced as a whole. New secrets must be complete, and are proved before they replace the old ones. Another domain needs new secrets.',
        params: idParams,
        body: requestOf(
          z.object(
            {
              domain: domainSchema.optional(),
              enabled: z.boolean(expecting('true or false')).optional(),
              integration_type: typeSchema.optional(),
              name: nameSchema.optional(),
              secrets: secretsSchema.optional(),
              settings: settingsSchema.optional(),
            },
            expecting('an object with what is to change'),
          ),
        ),
        response: { 200: answerSchema, 400: errorSchema, 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        const { integration_type, domain, enabled, name, secrets, settings } = request.body.data.attributes
        const row = await configs.update(requester, configId(request.params), {
          ...(integration_type !== undefined && { integrationType: integration_type }),
          ...(domain !== undefined && { domain }),
          ...(enabled !== undefined && { enabled }),
          ...(name !== undefined && { name }),
          ...(secrets !== undefined && { secrets }),
          ...(settings !== undefined && { settings }),
        })
        sendConfig(reply, row)
      })
      return reply
    },
  )

  server.delete(
    `${configsPath}/:integration_config_id`,
    {
      config: { access: 'manage_integrations', isBodyOptional: true },
      schema: {
        tags,
        operationId: 'deleteSecurityMonitoringIntegrationConfig',
        summary: 'Delete an integration configuration',
        description: 'Its secrets are destroyed with it.',
        params: idParams,
        response: { 204: z.undefined().describe('Deleted.'), 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        await configs.remove(requester, configId(request.params))
        reply.code(204).send()
      })
      return reply
    },
  )

  server.post(
    `${configsPath}/:integration_config_id/validate`,
    {
      config: { access: 'integrations_read', limit: 'validations', isBodyOptional: true },
      schema: {
        tags,
        operationId: 'validateSecurityMonitoringIntegrationConfig',
        summary: 'Validate the stored credentials of an integration configuration',
        description:
          'Answers as the validation of given credentials does. `state` follows a verdict; where none could be reached it stays.',
        params: idParams,
        querystring: queryOfReport,
        response: {
          200: reportSchema.describe('The credentials are valid. Empty unless the report was asked for.'),
          400: errorSchema,
          404: errorSchema,
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        const report = await configs.validateStored(requester, configId(request.params))
        if (report.verdict === 'valid')
          sendJson(reply, wantsReport(request.query.include) ? JSON.stringify(report) : '')
        else sendUnproven(reply, report)
      })
      return reply
    },
  )

  server.post(
    `${configsPath}/:integration_type/activate`,
    {
      config: { access: 'manage_integrations', limit: 'validations', isBodyOptional: true },
      schema: {
        tags,
        operationId: 'activateIntegration',
        summary: 'Activate an integration',
        description:
          "Answers the configuration of the type, enabled. Where there is none, one is made from the operator's credentials.",
        params: typeParams,
        body: activationBody,
        response: { 200: answerSchema, 400: errorSchema, 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        const { domain, name, settings } = request.body?.data?.attributes ?? {}
        const row = await configs.activate(requester, request.params.integration_type, {
          ...(typeof domain === 'string' && { domain }),
          ...(typeof name === 'string' && { name }),
          ...(settings && { settings }),
        })
        sendConfig(reply, row)
      })
      return reply
    },
  )

  server.post(
    `${configsPath}/:integration_type/deactivate`,
    {
      config: { access: 'manage_integrations', isBodyOptional: true },
      schema: {
        tags,
        operationId: 'deactivateIntegration',
        summary: 'Deactivate an integration',
        description: 'Disables every configuration of the type, and answers the first.',
        params: typeParams,
        response: { 200: answerSchema, 404: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, reply, parts, async (requester) => {
        sendConfig(reply, await configs.deactivate(requester, request.params.integration_type))
      })
      return reply
    },
  )

  registrationRoutes(server, configs)
}

const documentOf = (row: ConfigRow): z.infer<typeof configSchema> => ({
  id: row.id,
  type: 'integration_config',
  attributes: {
    created_at: row.created_at.toISOString(),
    domain: row.domain,
    enabled: row.enabled,
    integration_type: row.integration_type,
    modified_at: row.modified_at.toISOString(),
    name: row.name,
    settings: row.settings,
    state: row.state,
  },
})

function sendConfig(reply: FastifyReply, row: ConfigRow, report?: Readonly<Record<string, unknown>>): void {
  sendJson(reply, JSON.stringify({ data: documentOf(row), ...(report && { meta: { report } }) }))
}

/** @throws ConfigRefusal for what cannot be the id of anything */
function configId({ integration_config_id: id }: z.infer<typeof idParams>): string {
  const uuid = uuidIn(id)
  if (uuid === undefined) throw new ConfigRefusal({ kind: 'config_not_found', id })
  return uuid
}

/** Does the work for the caller, while the answer is wanted, and answers what is refused. */
async function answering(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: ServerParts,
  work: (requester: Requester) => Promise<void>,
): Promise<void> {
  const { caller } = request
  if (caller === null) throw forbidden()
  const unwanted = new AbortController()
  const stop = () => unwanted.abort()
  reply.raw.once('close', stop)
  const forget = parts.lifecycle.whenImpatient(stop)
  try {
    await work({
      organization: caller.organization,
      actor: {
        id: caller.id,
        organizationId: caller.organization.id,
        address: request.ip,
        requestId: request.id,
      },
      signal: unwanted.signal,
      countTarget: (source, domain) => countTarget(reply, parts, caller.organization.id, source, domain),
      hide: (redact) => {
        request.redact = redact
      },
    })
  } catch (error) {
    if (!(error instanceof ConfigRefusal)) throw error
    sendRefusal(reply, parts, error.refusal)
  } finally {
    reply.raw.off('close', stop)
    forget()
  }
}

/** @throws RequestError when the target has been validated too often */
async function countTarget(
  reply: FastifyReply,
  { rateLimits }: ServerParts,
  organizationId: string,
  source: AnySource,
  domain: string,
): Promise<void> {
  const standing = await rateLimits.countTarget(organizationId, source.integrationType, domain)
  if (!standing.isExceeded) return
  sendStanding(reply, standing)
  throw tooManyRequests()
}

/** @throws RequestError for what has no answer of its own */
function sendRefusal(reply: FastifyReply, parts: ServerParts, refusal: Refusal): void {
  switch (refusal.kind) {
    case 'config_not_found':
      throw notFound(`Integration config with ID${echo(refusal.id)} not found`)
    case 'type_not_found':
      throw notFound(`Integration type${echo(refusal.type)} not found`)
    case 'none_of_type':
      throw notFound(`Integration config of type ${refusal.type} not found`)
    case 'nothing_to_activate':
      throw notFound(`Integration config of type ${refusal.type} not found`, refusal.remedy)
    case 'taken':
      throw new RequestError(
        'invalid_request',
        `data.attributes.domain: the configuration with ID ${refusal.by} is of type ${refusal.type} and for ${refusal.domain} already. Change that one, or tell this one apart by a name of its own in data.attributes.settings.instance.`,
      )
    case 'invalid_request':
      throw new RequestError('invalid_request', ...refusal.errors)
    case 'not_proven':
      sendUnproven(reply, refusal.report)
      return
    case 'attempts_spent':
      parts.metrics.countRefusedTrial(refusal.source)
      sendStanding(reply, {
        name: 'unproven_attempts',
        limit: parts.limits.unprovenAttempts,
        remaining: 0,
        resetSeconds: refusal.retryAfterSeconds,
        isExceeded: true,
      })
      throw tooManyRequests()
    case 'no_place':
      throw noPlace(reply, refusal)
    case 'contended':
      reply.header('retry-after', 1)
      throw new RequestError(
        'unavailable',
        'The configuration was changed by others again and again meanwhile. Nothing was stored; try again.',
      )
    case 'sealed':
      throw new RequestError(
        'unavailable',
        "The vault key that the secrets need is not at hand. Ask the operator of this server, whose log names it; or replace the configuration's secrets.",
      )
  }
}

function sendUnproven(reply: FastifyReply, report: Report): void {
  const { status, errors, retryAfterSeconds } = answerTo(report)
  if (retryAfterSeconds !== undefined)
    reply.headers({
      'retry-after': retryAfterSeconds,
      // Most clients wait by this header alone; it never names more than the period.
      'x-ratelimit-reset': Math.min(Math.max(1, retryAfterSeconds), periodSeconds),
    })
  sendErrors(reply, status, errors, { report })
}
