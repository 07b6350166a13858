/**
 * Datadog's own client against Credence: lists the configurations and validates each.
 *
 *   CREDENCE_URL=… DD_API_KEY=… DD_APP_KEY=… node examples/datadog-client.ts
 */
import { client, v2 } from '@datadog/datadog-api-client'

const { CREDENCE_URL = 'http://127.0.0.1:8080', DD_API_KEY = '', DD_APP_KEY = '' } = process.env

const configuration = client.createConfiguration({
  baseServer: new client.BaseServerConfiguration(CREDENCE_URL, {}),
  authMethods: { apiKeyAuth: DD_API_KEY, appKeyAuth: DD_APP_KEY },
})
// The operations are in preview there; the client refuses them unless they are enabled by name.
for (const operation of [
  'listSecurityMonitoringIntegrationConfigs',
  'validateSecurityMonitoringIntegrationConfig',
])
  configuration.unstableOperations[`v2.${operation}`] = true
const api = new v2.SecurityMonitoringApi(configuration)

const { data = [] } = await api.listSecurityMonitoringIntegrationConfigs({})
for (const { id, attributes } of data) {
  const verdict = await api.validateSecurityMonitoringIntegrationConfig({ integrationConfigId: id }).then(
    () => 'valid',
    (error: unknown) => (error instanceof client.ApiException ? `not proven (${error.code})` : 'no answer'),
  )
  process.stdout.write(`${attributes.integrationType} ${attributes.domain}: ${verdict}\n`)
}
