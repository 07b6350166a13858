/** POST …/integration_config/validate: proves a set of credentials, or says what is wrong with it. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type AnySource, sourceByIntegrationType } from '../../sources/registry.ts'
import { answerTo } from '../../validation/answer.ts'
import {
  type AdmittedValidation,
  type RefusedValidation,
  readRequest,
} from '../../validation/guarded-validation.ts'
import { type CheckReport, type Report, reportSchema } from '../../validation/report.ts'
import { errorLine } from '../error-line.ts'
import { errorSchema, forbidden, RequestError, sendErrors, sendJson, tooManyRequests } from '../errors.ts'
import { openEventStream, wantsEvents } from '../event-stream.ts'
import type { ServerParts } from '../parts.ts'
import { periodSeconds, sendStanding } from '../rate-limits.ts'
import type { Server } from '../server.ts'

export const validatePath = '/api/v2/security_monitoring/configuration/integration_config/validate'

/** For a schema: what is said when the value is missing or something else. Never repeats the value. */
export const expecting = (what: string) => ({
  error: ({ input }: { input: unknown }) => `${input === undefined ? 'missing; ' : ''}expected ${what}`,
})

/** `secrets`, with what each source reads of it. */
export function secretsSchemaFor(sources: readonly AnySource[]) {
  const kinds = sources.flatMap(({ integrationType, credentialKinds }) =>
    credentialKinds.map(({ title, schema }) => ({
      title: `${integrationType}: ${title}`,
      ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
    })),
  )
  return z.record(z.string(), z.unknown(), expecting('an object with the credentials')).meta({
    description: 'The credentials; which keys are read depends on the source.',
    ...(kinds.length > 0 && {
      anyOf: [...kinds, { title: 'Anything else is judged', type: 'object' }],
    }),
  })
}

/** The request body. Unknown fields are ignored, wherever they are. */
export function bodySchemaFor(sources: readonly AnySource[]) {
  const types = sources.map(({ integrationType }) => integrationType)
  return z.object(
    {
      data: z.object(
        {
          type: z.literal('integration_config', expecting('"integration_config"')),
          attributes: z.object(
            {
              domain: z
                .string(expecting('a string, the domain of the organisation at the provider'))
                .meta({ description: 'The domain associated with the source.', examples: ['acme.okta.com'] }),
              integration_type: z.enum(types, expecting(`one of ${types.join(', ')}`)),
              secrets: secretsSchemaFor(sources).optional(),
            },
            expecting('an object with domain, integration_type and secrets'),
          ),
        },
        expecting('an object with type and attributes'),
      ),
    },
    expecting('a JSON object with the member data'),
  )
}

export const includeSchema = z
  .union([z.string(), z.array(z.string())])
  .optional()
  .meta({ description: '`report`: the answer holds the whole report.', examples: ['report'] })

const description = `Asks the provider, with the credentials of the request, everything that a sync requires, and changes nothing.

200 means that all of it was proved. 400 says what is wrong and what to do. 429 and 503 say that it could not be told; \`retry-after\` says when to ask again.

With \`Accept: text/event-stream\` the answer is a stream of server-sent events: \`check\` for each check as it ends, then \`report\`. The verdict is then in the report, not in the status.`

export function validateRoute(server: Server, parts: ServerParts): void {
  server.post(
    validatePath,
    {
      config: { access: 'integrations_read', limit: 'validations' },
      schema: {
        tags: ['Security Monitoring'],
        operationId: 'validateSecurityMonitoringIntegrationCredentials',
        summary: 'Validate entity context sync credentials',
        description,
        body: bodySchemaFor(parts.sources),
        querystring: z.object({ include: includeSchema }),
        response: {
          200: {
            description: 'The credentials are valid. Empty unless the report was asked for.',
            content: {
              'application/json': { schema: reportSchema },
              'text/event-stream': { schema: z.string() },
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
      const { caller, body, query } = request
      if (caller === null) throw forbidden()
      const { domain, integration_type, secrets } = body.data.attributes
      const source = sourceByIntegrationType(parts.sources, integration_type)
      if (source === undefined) throw new Error('the schema let an unknown integration type pass')

      await parts.validation.turn()
      const read = await readRequest(parts.validation, {
        organization: caller.organization,
        source,
        domain,
        secrets,
        actor: { id: caller.id, address: request.ip, requestId: request.id },
      })
      if ('faults' in read) throw faultyFields(read.faults)
      request.redact = read.request.redact
      const admission = await read.request.admit()
      if (!admission.isAdmitted && admission.reason === 'no_place') throw noPlace(reply, admission)
      if (!admission.isAdmitted) {
        parts.metrics.countRefusedTrial(source.name)
        sendStanding(reply, {
          name: 'unproven_attempts',
          limit: parts.limits.unprovenAttempts,
          remaining: 0,
          resetSeconds: admission.retryAfterSeconds,
          isExceeded: true,
        })
        throw tooManyRequests()
      }
      // After the guard: guesses that it refused reach nobody, and must not use up what good credentials need.
      try {
        await countTarget(reply, parts, caller.organization.id, source, domain)
      } catch (refusal) {
        admission.leave()
        throw refusal
      }

      const run = (onCheck?: (check: CheckReport) => void) =>
        runWhileWanted(admission, reply, parts, source, onCheck)
      if (wantsEvents(request.headers.accept)) streamReport(request, reply, parts, run)
      else answer(reply, await run(), wantsReport(query.include))
      return reply
    },
  )
}

/** @throws RequestError when the target has been validated too often */
async function countTarget(
  reply: FastifyReply,
  { rateLimits }: ServerParts,
  organizationId: string,
  source: AnySource,
  domain: string,
): Promise<void> {
  const reading = source.readDomain(domain)
  // Nothing can be asked about a malformed domain, so that there is nothing to limit.
  if (!reading.ok) return
  const standing = await rateLimits.countTarget(organizationId, source.integrationType, reading.domain)
  if (!standing.isExceeded) return
  sendStanding(reply, standing)
  throw tooManyRequests()
}

export function noPlace(
  reply: FastifyReply,
  { retryAfterSeconds }: Pick<RefusedValidation, 'retryAfterSeconds'>,
): RequestError {
  reply.headers({ 'retry-after': retryAfterSeconds, 'x-ratelimit-reset': retryAfterSeconds })
  return new RequestError(
    'unavailable',
    'As many validations of this source are under way as the server allows. Try again in a few seconds',
  )
}

function faultyFields(
  faults: readonly { readonly field: string; readonly expected: string }[],
): RequestError {
  const [first, ...rest] = faults.map(
    ({ field, expected }) => `data.attributes.${field}: expected ${expected}`,
  )
  return new RequestError('invalid_request', first ?? 'data.attributes.secrets: not understood', ...rest)
}

/** Runs until the end, or until the client has gone or the server cannot wait any longer. */
async function runWhileWanted(
  admission: AdmittedValidation,
  reply: FastifyReply,
  { lifecycle, metrics }: ServerParts,
  source: AnySource,
  onCheck: ((check: CheckReport) => void) | undefined,
): Promise<Report> {
  const unwanted = new AbortController()
  const stop = () => unwanted.abort()
  reply.raw.once('close', stop)
  const forget = lifecycle.whenImpatient(stop)
  const started = performance.now()
  try {
    const report = await admission.run({ signal: unwanted.signal, ...(onCheck && { onCheck }) })
    metrics.countValidation(source.name, report.verdict, (performance.now() - started) / 1000)
    return report
  } finally {
    reply.raw.off('close', stop)
    forget()
  }
}

function answer(reply: FastifyReply, report: Report, withReport: boolean): void {
  const { status, errors, retryAfterSeconds } = answerTo(report)
  if (status === 200) {
    sendJson(reply, withReport ? JSON.stringify(report) : '')
    return
  }
  if (retryAfterSeconds !== undefined)
    reply.headers({
      'retry-after': retryAfterSeconds,
      // Most clients wait by this header alone; it never names more than the period.
      'x-ratelimit-reset': Math.min(Math.max(1, retryAfterSeconds), periodSeconds),
    })
  sendErrors(reply, status, errors, { report })
}

/** Sends each check as it ends, then the report. What goes wrong from here on can only be told in the stream. */
function streamReport(
  request: FastifyRequest,
  reply: FastifyReply,
  { log }: ServerParts,
  run: (onCheck: (check: CheckReport) => void) => Promise<Report>,
): void {
  const events = openEventStream(reply)
  run((check) => events.send('check', check))
    .then((report) => events.send('report', report))
    .catch((error: unknown) => {
      log.error(
        { request_id: request.id, error: errorLine(error, request.redact ?? undefined) },
        'internal error',
      )
      events.send('error', {
        errors: [`Internal error. The log has the details under request id ${request.id}.`],
      })
    })
    .finally(() => events.end())
}

export const wantsReport = (include: string | readonly string[] | undefined) =>
  [include ?? []].flat().some((list) => list.split(',').includes('report'))
