/** Lets a client find out whether its keys are good, as Datadog's clients do. */
import { z } from 'zod'
import { errorSchema, forbidden, sendJson } from '../errors.ts'
import type { Server } from '../server.ts'

const validSchema = z.object({ valid: z.literal(true) })

const validateV2Schema = z.object({
  data: z.object({
    id: z.uuid().describe('The organisation.'),
    type: z.literal('validate_v2'),
    attributes: z.object({
      api_key_id: z.uuid(),
      api_key_scopes: z.array(z.string()),
      valid: z.literal(true),
    }),
  }),
})

const jsonApiErrorsSchema = z
  .object({
    errors: z.array(z.object({ status: z.string(), title: z.string(), detail: z.string().optional() })),
  })
  .meta({ id: 'JSONAPIErrorResponse' })

const okSchema = z.object({ status: z.literal('ok') })

const apiKeyOnly = [{ apiKeyAuth: [] }]
const refusals = { 403: errorSchema, 429: errorSchema }

export function keyCheckRoutes(server: Server): void {
  server.get(
    '/api/v1/validate',
    {
      config: { access: 'api_key' },
      schema: {
        tags: ['Keys'],
        operationId: 'validate',
        summary: 'Whether an API key is valid',
        security: apiKeyOnly,
        response: { 200: validSchema, ...refusals },
      },
    },
    (_, reply) => {
      sendJson(reply, json<typeof validSchema>({ valid: true }))
    },
  )
  server.get(
    '/api/v2/validate',
    {
      config: { access: 'api_key', errorForm: 'json_api' },
      schema: {
        tags: ['Keys'],
        operationId: 'validateAPIKey',
        summary: 'Whether an API key is valid, and whose it is',
        security: apiKeyOnly,
        response: { 200: validateV2Schema, 403: jsonApiErrorsSchema, 429: errorSchema },
      },
    },
    ({ caller }, reply) => {
      if (caller?.key === undefined) throw forbidden()
      sendJson(
        reply,
        json<typeof validateV2Schema>({
          data: {
            id: caller.organization.id,
            type: 'validate_v2',
            attributes: { api_key_id: caller.key.id, api_key_scopes: [...caller.permissions], valid: true },
          },
        }),
      )
    },
  )
  server.get(
    '/api/v2/validate_keys',
    {
      config: { access: 'authenticated' },
      schema: {
        tags: ['Keys'],
        summary: 'Whether an API key and an application key are valid together',
        response: { 200: okSchema, ...refusals },
      },
    },
    (_, reply) => {
      sendJson(reply, json<typeof okSchema>({ status: 'ok' }))
    },
  )
}

const json = <S extends z.ZodType>(document: z.infer<S>) => JSON.stringify(document)
