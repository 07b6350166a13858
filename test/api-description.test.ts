/** The API's description: made from the schemas that parse requests, complete, and shown by a page of this server alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSources } from '../src/sources/registry.ts'
import { startApi, validatePath } from './api-server.ts'
import { configsPath } from './configs-server.ts'

interface Operation {
  readonly operationId?: string
  readonly security?: readonly object[]
  readonly parameters?: readonly { readonly name: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: unknown }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>
}
interface OpenApi {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: object; readonly securitySchemes: object }
}

const sync = '/api/v2/credence/sync/{config_id}'

test('describes every route in OpenAPI 3.1, the real sources with it', async (t) => {
  const api = await startApi(t, { sources: createSources() })
  const answer = await api.call({ path: '/openapi.json' })
  assert.equal(answer.headers['content-type'], 'application/json')
  const document = answer.json() as OpenApi
  assert.match(document.openapi, /^3\.1\./)
  assert.deepEqual(
    Object.keys(document.paths).sort(),
    [
      '/api/v1/validate',
      '/api/v2/credence/audit',
      ...['changes', 'diff', 'export', 'lookup', '{id}/related'].map(
        (path) => `/api/v2/credence/entities/${path}`,
      ),
      ...['', '/recently_updated', '/{id}'].map(
        (path) => `/api/v2/security_monitoring/entity_context${path}`,
      ),
      sync,
      ...['pause', 'plan', 'resume', 'runs', 'runs/{run_id}'].map((path) => `${sync}/${path}`),
      ...['approve', 'cancel', 'reject', 'removals'].map((path) => `${sync}/runs/{run_id}/${path}`),
      configsPath,
      `${configsPath}/entra_id/azure_app_registrations`,
      `${configsPath}/{integration_config_id}`,
      `${configsPath}/{integration_config_id}/validate`,
      `${configsPath}/{integration_type}/activate`,
      `${configsPath}/{integration_type}/deactivate`,
      validatePath,
      '/api/v2/validate',
      '/api/v2/validate_keys',
      '/healthz',
      '/metrics',
      '/openapi.json',
      '/readyz',
    ].sort(),
  )
  const validate = document.paths[validatePath]?.post
  assert.equal(validate?.operationId, 'validateSecurityMonitoringIntegrationCredentials')
  assert.deepEqual(Object.keys(validate?.responses ?? {}), ['200', '400', '403', '429', '503'])
  assert.deepEqual(
    validate?.parameters?.map(({ name }) => name),
    ['include'],
  )
  const body = JSON.stringify(validate?.requestBody?.content['application/json']?.schema)
  for (const { integrationType } of createSources()) assert.ok(body.includes(integrationType))
  assert.deepEqual(document.paths['/healthz']?.get?.security, [])
  assert.deepEqual(Object.keys(document.components.securitySchemes), [
    'apiKeyAuth',
    'appKeyAuth',
    'bearerAuth',
  ])
})

test('every reference in the description leads somewhere, and every shared schema is used', async (t) => {
  const api = await startApi(t)
  const { text, json } = await api.call({ path: '/openapi.json' })
  const referred = new Set(
    [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name),
  )
  const { schemas } = (json() as OpenApi).components
  assert.deepEqual(Object.keys(schemas).sort(), [...referred].sort())
})

test('the page loads nothing from elsewhere, and its policy forbids it to', async (t) => {
  const api = await startApi(t)
  const root = await api.call({ path: '/' })
  assert.equal(root.status, 302)
  assert.equal(root.headers.location, '/docs/')
  const page = await api.call({ path: '/docs/' })
  assert.equal(page.status, 200)
  const policy = String(page.headers['content-security-policy'])
  assert.match(policy, /default-src 'none'/)
  assert.match(policy, /script-src 'self';/)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.ok(!policy.includes('http'))
  const assets = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '')
  assert.ok(assets.length > 3)
  for (const asset of assets) {
    assert.match(asset, /^\.\/static\//)
    assert.equal((await api.call({ path: `/docs/${asset.slice(2)}` })).status, 200)
  }
  assert.ok(!/<script(?![^>]*src=)/.test(page.text))
  assert.equal((await api.call({ path: '/docs/json' })).status, 200)
  for (const path of [
    '/docs/static/../../package.json',
    '/docs/static/%2e%2e/package.json',
    '/docs/static/nope',
  ])
    assert.ok([400, 403, 404].includes((await api.call({ path })).status), path)
})
