/** Datadog's client validates credentials: every body its models can express, and every answer. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { v2 } from '@datadog/datadog-api-client'
import { UnparsedObject } from '@datadog/datadog-api-client/dist/packages/datadog-api-client-common/util.js'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import { datadogClient, refusalOf, validate } from './datadog-client.ts'
import { type ConformanceServer, startConformanceServer } from './server.ts'

type Attributes = v2.SecurityMonitoringIntegrationCredentialsValidateAttributes

let server: ConformanceServer<'reader'>
let client: ReturnType<typeof datadogClient>
before(async () => {
  server = await startConformanceServer({ keyPairs: { reader: ['integrations_read'] } })
  client = datadogClient({ origin: server.origin, keys: server.keyPairs.reader })
})
after(() => server.close())
afterEach(() => server.setFaults([]))

/** Attributes as they go over the wire, where the client's models cannot hold them. */
const onTheWire = (attributes: ExampleAttributes | Record<string, unknown>) => new UnparsedObject(attributes)

describe('valid credentials are answered 200', () => {
  test('the example of the reference: an administrator of Google Workspace alone', async () => {
    await validate(
      client,
      onTheWire({
        domain: 'siem-test.com',
        integration_type: 'GOOGLE_WORKSPACE',
        secrets: { admin_email: 'test@example.com' },
      }),
    )
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('free secrets within the typed attributes', async () => {
    await validate(client, {
      domain: 'siem-test.com',
      integrationType: 'GOOGLE_WORKSPACE',
      secrets: new UnparsedObject({ admin_email: 'test@example.com' }),
    } as unknown as Attributes)
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('a Google service account with its administrator, keys beyond the documented ones kept', async () => {
    const { domain, adminEmail, serviceAccount } = server.organisation.google
    const { type, project_id, client_email, private_key, ...further } = serviceAccount
    await validate(client, {
      domain,
      integrationType: 'GOOGLE_WORKSPACE',
      secrets: {
        adminEmail,
        serviceAccountJson: {
          type: String(type),
          projectId: String(project_id),
          clientEmail: String(client_email),
          privateKey: String(private_key),
          additionalProperties: further,
        },
      },
    })
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('an Okta API token', async () => {
    const { domain, apiToken } = server.organisation.okta
    await validate(client, { domain, integrationType: 'OKTA', secrets: { apiToken } })
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('an Okta API token for a domain that is spelt as a URL', async () => {
    const { domain, apiToken } = server.organisation.okta
    await validate(client, {
      domain: `https://${domain.toUpperCase()}/`,
      integrationType: 'OKTA',
      secrets: { apiToken },
    })
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('an Okta service app', async () => {
    const { domain, clientId, privateKey, keyId } = server.organisation.okta
    const secrets = { client_id: clientId, private_key: privateKey, key_id: keyId }
    await validate(client, onTheWire({ domain, integration_type: 'OKTA', secrets }))
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test("an Entra ID domain without secrets, by the operator's app registration", async () => {
    const [domain] = server.organisation.entra.operator.domains
    assert.ok(domain)
    await validate(client, { domain, integrationType: 'ENTRA_ID' })
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('an Entra ID app of the customer, as additional properties', async () => {
    const { domain, tenantId, clientId, clientSecret } = server.organisation.entra
    await validate(client, {
      domain,
      integrationType: 'ENTRA_ID',
      additionalProperties: {
        secrets: { tenant_id: tenantId, client_id: clientId, client_secret: clientSecret },
      },
    })
    assert.equal(client.seen.at(-1)?.status, 200)
  })

  test('fields that the server does not know are ignored', async () => {
    const { domain, apiToken } = server.organisation.okta
    await validate(client, {
      domain,
      integrationType: 'OKTA',
      secrets: { apiToken, additionalProperties: { note: 'rotated in spring' } },
      additionalProperties: { name: 'production', settings: { depth: 3 } },
    })
    assert.equal(client.seen.at(-1)?.status, 200)
  })
})

describe('credentials that are not valid are answered 400', () => {
  test('each failure of the examples, as a typed error that says what is wrong', async () => {
    const { google, okta, entra } = server.organisation
    for (const { title, attributes } of [google, okta, entra].flatMap(
      ({ sandbox }) => sandbox.examples().invalid,
    )) {
      const { code, errors } = await refusalOf(validate(client, onTheWire(attributes)))
      assert.equal(code, 400, title)
      assert.ok(errors.length > 0, title)
      for (const error of errors) assert.match(error, /^.{20,}\.$/s, `${title}: ${error}`)
    }
  })

  test('the report is an additional property of the typed error', async () => {
    const { domain } = server.organisation.okta
    const { additionalProperties } = await refusalOf(
      validate(client, { domain, integrationType: 'OKTA', secrets: { apiToken: `00${'x'.repeat(40)}` } }),
    )
    assert.partialDeepStrictEqual(additionalProperties, {
      meta: { report: { verdict: 'invalid', source: 'okta' } },
    })
  })

  test('CrowdStrike, which this server does not know', async () => {
    const { code, errors } = await refusalOf(
      validate(client, {
        domain: 'api.crowdstrike.com',
        integrationType: 'CROWDSTRIKE',
        secrets: { clientId: '0123456789abcdef', clientSecret: 'not-a-real-one' },
      }),
    )
    assert.equal(code, 400)
    assert.equal(errors.length, 1)
    assert.match(errors[0] ?? '', /^data\.attributes\.integration_type: expected one of /)
    for (const type of ['GOOGLE_WORKSPACE', 'OKTA', 'ENTRA_ID']) assert.ok(errors[0]?.includes(type), type)
  })

  test('SentinelOne, which this server does not know', async () => {
    const { code, errors } = await refusalOf(
      validate(client, {
        domain: 'acme.sentinelone.net',
        integrationType: 'SENTINELONE',
        secrets: { apiToken: 'not-a-real-one' },
      }),
    )
    assert.equal(code, 400)
    assert.deepEqual(
      errors.map((error) => error.split(':')[0]),
      ['data.attributes.integration_type'],
    )
  })

  test('a body without what is required names each missing field', async () => {
    const { code, errors } = await refusalOf(validate(client, onTheWire({})))
    assert.equal(code, 400)
    assert.deepEqual(errors.map((error) => error.split(':')[0]).sort(), [
      'data.attributes.domain',
      'data.attributes.integration_type',
    ])
  })

  test("an Entra ID domain that the operator's app registration is not bound to", async () => {
    const { code, errors } = await refusalOf(
      validate(client, { domain: 'somebody-else.example', integrationType: 'ENTRA_ID' }),
    )
    assert.equal(code, 400)
    assert.ok(errors.length > 0)
  })
})

describe('what could not be told is neither valid nor invalid', () => {
  const okta = () => ({
    domain: server.organisation.okta.domain,
    integrationType: 'OKTA' as const,
    secrets: { apiToken: server.organisation.okta.apiToken },
  })

  test('503 surfaces as an error of undeclared status with the reason in its text', async () => {
    server.setFaults([{ provider: 'okta', kind: 'unavailable' }])
    const { code, text } = await refusalOf(validate(client, okta()))
    assert.equal(code, 503)
    assert.match(text, /^Unknown API Status Code!\nBody: "\{"errors":\["[^"]*503 E0000010/)
    const headers = client.seen.at(-1)?.headers ?? {}
    assert.match(headers['x-ratelimit-reset'] ?? '', /^\d+$/)
    assert.match(headers['retry-after'] ?? '', /^\d+$/)
  })

  test("the provider's own limit is a typed 429", async () => {
    server.setFaults([{ provider: 'okta', kind: 'throttled' }])
    const { code, errors } = await refusalOf(validate(client, okta()))
    assert.equal(code, 429)
    assert.match(errors[0] ?? '', /Okta/)
    assert.match(client.seen.at(-1)?.headers['x-ratelimit-reset'] ?? '', /^\d+$/)
  })

  test('the same credentials are valid once the provider is back', async () => {
    await validate(client, okta())
    assert.equal(client.seen.at(-1)?.status, 200)
  })
})
