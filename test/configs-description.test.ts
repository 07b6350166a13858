/** The API's description of configurations: operations, permissions and answers as the official clients know them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { request } from 'undici'
import { createAcme } from './acme-source.ts'
import { configsPath, startConfigsServer } from './configs-server.ts'

test('every operation on configurations is described under the name that clients know it by', async (t) => {
  const acme = createAcme()
  const { origin } = await startConfigsServer(t, { outbound: acme.outbound, sources: [acme.source] })
  const answer = await request(`${origin}/openapi.json`)
  const { paths } = (await answer.body.json()) as {
    paths: Record<string, Record<string, { operationId?: string; responses: object }>>
  }
  const described = Object.entries(paths)
    .filter(([path]) => path.startsWith(configsPath))
    .flatMap(([, methods]) => Object.values(methods))
    .map(({ operationId, responses }) => [operationId, Object.keys(responses).join(' ')])
  assert.deepEqual(
    described.sort(([one = ''], [other = '']) => (one < other ? -1 : 1)),
    [
      ['activateIntegration', '200 400 403 404 429 503'],
      ['createSecurityMonitoringIntegrationConfig', '200 400 403 429 503'],
      ['deactivateIntegration', '200 403 404 429 503'],
      ['deleteSecurityMonitoringIntegrationConfig', '204 403 404 429 503'],
      ['getEntraIdAzureAppRegistrations', '200 403 429 503'],
      ['getSecurityMonitoringIntegrationConfig', '200 403 404 429 503'],
      ['listSecurityMonitoringIntegrationConfigs', '200 403 429 503'],
      ['updateSecurityMonitoringIntegrationConfig', '200 400 403 404 429 503'],
      ['validateSecurityMonitoringIntegrationConfig', '200 400 403 404 429 503'],
      ['validateSecurityMonitoringIntegrationCredentials', '200 400 403 429 503'],
    ],
  )
})
