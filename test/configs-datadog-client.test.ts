/** Datadog's official client goes through the whole life of configurations. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { client as datadog, v2 } from '@datadog/datadog-api-client'
import { startSandbox } from '../sandbox/index.ts'
import { createOrganisation, type Organisation } from '../sandbox/organisation.ts'
import { createOutbound } from '../src/outbound/outbound.ts'
import { type ConfigsServer, startConfigsServer } from './configs-server.ts'

let directory: Organisation
let server: ConfigsServer
const closers: (() => Promise<void>)[] = []

before(async () => {
  directory = await createOrganisation({ users: 10, groups: 2, seed: 'official client' })
  const sandbox = await startSandbox({ providers: directory.providers, tls: false })
  closers.push(sandbox.close)
  const { tenantId, clientId, clientSecret, domains } = directory.entra.operator
  server = await startConfigsServer(
    { after: (work) => closers.push(work) },
    {
      outbound: createOutbound({
        endpoints: new Map(
          Object.entries(sandbox.endpoints).map(([host, origin]) => [host, new URL(origin)]),
        ),
      }),
      operator: (key) =>
        key === 'entra_id'
          ? [
              {
                attributes: { tenant_id: tenantId, client_id: clientId },
                domains,
                entry: { tenant_id: tenantId, client_id: clientId, client_secret: clientSecret },
              },
            ]
          : [],
    },
  )
})
after(async () => {
  for (const close of closers.reverse()) await close()
})

async function connect(): Promise<v2.SecurityMonitoringApi> {
  const { key } = await server.client()
  const configuration = datadog.createConfiguration({
    baseServer: new datadog.BaseServerConfiguration(server.origin, {}),
    authMethods: { apiKeyAuth: '0'.repeat(32), appKeyAuth: key },
  })
  for (const operation of [
    'activateIntegration',
    'createSecurityMonitoringIntegrationConfig',
    'deactivateIntegration',
    'deleteSecurityMonitoringIntegrationConfig',
    'getEntraIdAzureAppRegistrations',
    'getSecurityMonitoringIntegrationConfig',
    'listSecurityMonitoringIntegrationConfigs',
    'updateSecurityMonitoringIntegrationConfig',
    'validateSecurityMonitoringIntegrationConfig',
  ])
    configuration.unstableOperations[`v2.${operation}`] = true
  return new v2.SecurityMonitoringApi(configuration)
}

interface Example {
  readonly integrationType: v2.SecurityMonitoringIntegrationType
  readonly domain: string
  readonly name: string
}

const attributesOf = (example: Example) =>
  example as unknown as v2.SecurityMonitoringIntegrationConfigCreateAttributes

const examples = (): Example[] => {
  const { type, project_id, client_email, private_key, ...further } = directory.google.serviceAccount
  return [
    {
      integrationType: 'OKTA',
      domain: directory.okta.domain,
      name: 'Okta',
      secrets: { apiToken: directory.okta.apiToken },
      settings: { setting1: 'value1' },
    },
    {
      integrationType: 'GOOGLE_WORKSPACE',
      domain: directory.google.domain,
      name: 'Google',
      secrets: {
        adminEmail: directory.google.adminEmail,
        serviceAccountJson: {
          type: String(type),
          projectId: String(project_id),
          clientEmail: String(client_email),
          privateKey: String(private_key),
          additionalProperties: further,
        },
      },
    },
    { integrationType: 'ENTRA_ID', domain: directory.entra.domain, name: 'Entra' },
  ] as Example[]
}

const body = <A>(attributes: A) => ({ data: { type: 'integration_config' as const, attributes } })

const refusal = async (call: Promise<unknown>) => {
  const thrown: unknown = await call.then(
    () => assert.fail('the call succeeded'),
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof datadog.ApiException, String(thrown))
  assert.ok(
    thrown.body instanceof v2.APIErrorResponse || Array.isArray(thrown.body.errors),
    String(thrown.body),
  )
  return { code: thrown.code, errors: thrown.body.errors as string[] }
}

test('create, list, filter, get, update, validate, deactivate, activate and delete, for each type', async () => {
  const api = await connect()
  for (const attributes of examples()) {
    const { data } = await api.createSecurityMonitoringIntegrationConfig({
      body: body(attributesOf(attributes)),
    })
    const made = data.attributes
    assert.deepEqual(
      [made.domain, made.enabled, made.name, made.integrationType, made.state, data.type, made._unparsed],
      [
        attributes.domain,
        true,
        attributes.name,
        attributes.integrationType,
        'valid',
        'integration_config',
        undefined,
      ],
    )
    assert.ok(made.createdAt instanceof Date && made.modifiedAt instanceof Date)
    const integrationConfigId = data.id
    const filtered = await api.listSecurityMonitoringIntegrationConfigs({
      filterIntegrationType: attributes.integrationType,
    })
    assert.deepEqual(
      filtered.data.map(({ id }) => id),
      [integrationConfigId],
    )
    const got = await api.getSecurityMonitoringIntegrationConfig({ integrationConfigId })
    assert.deepEqual(got.data, data)
    await api.validateSecurityMonitoringIntegrationConfig({ integrationConfigId })
    const updated = await api.updateSecurityMonitoringIntegrationConfig({
      integrationConfigId,
      body: body({
        integrationType: attributes.integrationType,
        name: 'Renamed',
        enabled: false,
      } as v2.SecurityMonitoringIntegrationConfigUpdateAttributes),
    })
    assert.deepEqual([updated.data.attributes.name, updated.data.attributes.enabled], ['Renamed', false])
    const integrationType = String(attributes.integrationType).toLowerCase()
    const active = await api.activateIntegration({
      integrationType,
      body: { data: { type: 'activate_entra_id_request', attributes: { domain: 'default' } } },
    })
    assert.deepEqual([active.data.id, active.data.attributes.enabled], [integrationConfigId, true])
    const inactive = await api.deactivateIntegration({ integrationType })
    assert.deepEqual([inactive.data.id, inactive.data.attributes.enabled], [integrationConfigId, false])
    assert.equal((await api.activateIntegration({ integrationType })).data.attributes.enabled, true)
  }
  const all = await api.listSecurityMonitoringIntegrationConfigs()
  assert.equal(all.data.length, 3)
  for (const { id } of all.data)
    await api.deleteSecurityMonitoringIntegrationConfig({ integrationConfigId: id })
  assert.deepEqual((await api.listSecurityMonitoringIntegrationConfigs()).data, [])
})

test('Entra ID is activated from the registrations that the client can list', async () => {
  const api = await connect()
  const { data } = await api.getEntraIdAzureAppRegistrations()
  assert.deepEqual(
    [data.type, data.attributes.hasValidPrerequisite, data.attributes.azureAppRegistrations[0]?.clientId],
    ['entra_id_azure_app_registrations', true, directory.entra.operator.clientId],
  )
  const active = await api.activateIntegration({ integrationType: 'entra_id' })
  assert.equal(active.data.attributes.state, 'valid')
})

test('what is not found and what is wrong is told in the form that the client reads', async () => {
  const api = await connect()
  const integrationConfigId = randomUUID()
  const missing = `not_found(Integration config with ID ${integrationConfigId} not found)`
  for (const call of [
    () => api.getSecurityMonitoringIntegrationConfig({ integrationConfigId }),
    () => api.deleteSecurityMonitoringIntegrationConfig({ integrationConfigId }),
    () => api.validateSecurityMonitoringIntegrationConfig({ integrationConfigId }),
    () =>
      api.updateSecurityMonitoringIntegrationConfig({
        integrationConfigId,
        body: body({ integrationType: 'OKTA', name: 'x' }),
      }),
  ])
    assert.deepEqual(await refusal(call()), { code: 404, errors: [missing] })
  assert.equal((await refusal(api.activateIntegration({ integrationType: 'unknown' }))).code, 404)
  assert.equal((await refusal(api.deactivateIntegration({ integrationType: 'okta' }))).code, 404)
  for (const attributes of examples()) {
    const wrong = attributesOf({ ...attributes, domain: 'not a domain' })
    const { code, errors } = await refusal(
      api.createSecurityMonitoringIntegrationConfig({ body: body(wrong) }),
    )
    assert.equal(code, 400)
    assert.ok(errors.length > 0)
  }
})
