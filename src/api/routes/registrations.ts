/** GET …/entra_id/azure_app_registrations: the app registrations through which Entra ID can be activated. */
import { z } from 'zod'
import type { Configs } from '../../configs/configs.ts'
import { errorSchema, forbidden, sendJson } from '../errors.ts'
import type { Server } from '../server.ts'
import { configsPath } from './configs.ts'

const registrationsSchema = z
  .object({
    data: z.object({
      id: z.uuid().describe('The organisation.'),
      type: z.literal('entra_id_azure_app_registrations'),
      attributes: z.object({
        azure_app_registrations: z.array(
          z.object({
            client_id: z.string(),
            tenant_id: z.string(),
            error_count: z.int().describe('Configurations on its domains whose credentials are invalid.'),
            subscription_count: z.int().describe('Always 0: no Azure subscriptions are read.'),
            resource_collection_enabled: z.boolean(),
          }),
        ),
        has_valid_prerequisite: z.boolean().describe('Whether Entra ID can be activated.'),
        integration_id: z.uuid().optional().describe('The configuration in use.'),
        is_enabled: z.boolean().optional(),
        subscribed_at: z.iso.datetime().optional(),
      }),
    }),
  })
  .meta({ id: 'EntraIdAzureAppRegistrationsResponse' })

export function registrationRoutes(server: Server, configs: Configs): void {
  server.get(
    `${configsPath}/entra_id/azure_app_registrations`,
    {
      config: { access: 'integrations_read' },
      schema: {
        tags: ['Security Monitoring'],
        operationId: 'getEntraIdAzureAppRegistrations',
        summary: 'Get Azure app registrations for Entra ID',
        response: { 200: registrationsSchema, 403: errorSchema, 429: errorSchema, 503: errorSchema },
      },
    },
    async ({ caller }, reply) => {
      if (caller === null) throw forbidden()
      const { registrations, config } = await configs.entraRegistrations(caller.organization)
      const document: z.infer<typeof registrationsSchema> = {
        data: {
          id: caller.organization.id,
          type: 'entra_id_azure_app_registrations',
          attributes: {
            azure_app_registrations: registrations.map(({ clientId, tenantId, errorCount }) => ({
              client_id: clientId,
              tenant_id: tenantId,
              error_count: errorCount,
              subscription_count: 0,
              // One that serves the organisation serves it whole.
              resource_collection_enabled: true,
            })),
            has_valid_prerequisite: registrations.length > 0,
            ...(config && {
              integration_id: config.id,
              is_enabled: config.enabled,
              subscribed_at: config.created_at.toISOString(),
            }),
          },
        },
      }
      sendJson(reply, JSON.stringify(document))
      return reply
    },
  )
}
