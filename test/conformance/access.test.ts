/** Datadog's client shows who it is: key pairs, OAuth tokens, access tokens, and the checks of keys. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { client as datadog, v2 } from '@datadog/datadog-api-client'
import { datadogClient, type Keys, refusalOf, validate } from './datadog-client.ts'
import { type ConformanceServer, startConformanceServer } from './server.ts'

let server: ConformanceServer<'reader' | 'manager' | 'none'>
before(async () => {
  server = await startConformanceServer({
    keyPairs: {
      reader: ['integrations_read'],
      manager: ['manage_integrations', 'siem_entities_read'],
      none: ['siem_entities_read'],
    },
  })
})
after(() => server.close())

const unknownApiKey = 'f'.repeat(32)
const unknownApplicationKey = 'f'.repeat(40)

const withKeys = (keys: Keys) => datadogClient({ origin: server.origin, keys })
const validateWith = (keys: Keys) => {
  const { domain, apiToken } = server.organisation.okta
  return validate(withKeys(keys), { domain, integrationType: 'OKTA', secrets: { apiToken } })
}

describe('validation is open to whoever may read integrations', () => {
  test('a key pair with the permission', () => validateWith(server.keyPairs.reader))

  test('an OAuth token with the scope', async () =>
    validateWith({ accessToken: await server.oauthToken('integrations_read') }))

  test('an OAuth token with the scope among others', async () =>
    validateWith({ accessToken: await server.oauthToken('openid integrations_read monitors_read') }))

  test('a service access token as bearer token', () =>
    validateWith({ accessToken: server.serviceAccessToken }))

  test('a service access token in place of the application key, whatever the API key', () =>
    validateWith({ apiKey: unknownApiKey, applicationKey: server.serviceAccessToken }))
})

describe('strangers get a typed 403 that tells nothing', () => {
  const strangers: readonly (readonly [string, () => Keys | Promise<Keys>])[] = [
    ['no keys', () => ({})],
    ['an API key alone', () => ({ apiKey: server.keyPairs.reader.apiKey })],
    [
      'a wrong application key',
      () => ({ apiKey: server.keyPairs.reader.apiKey, applicationKey: unknownApplicationKey }),
    ],
    [
      'a wrong API key',
      () => ({ apiKey: unknownApiKey, applicationKey: server.keyPairs.reader.applicationKey }),
    ],
    [
      'keys of two pairs',
      () => ({
        apiKey: server.keyPairs.reader.apiKey,
        applicationKey: server.keyPairs.manager.applicationKey,
      }),
    ],
    ['a bearer token of nobody', () => ({ accessToken: 'not-a-token' })],
  ]
  for (const [title, keys] of strangers) {
    test(title, async () => {
      const { code, errors } = await refusalOf(validateWith(await keys()))
      assert.equal(code, 403)
      assert.deepEqual(errors, ['Forbidden'])
    })
  }

  test('an OAuth token that was changed on the way', async () => {
    const [header, , signature] = (await server.oauthToken('openid')).split('.')
    const claims = { iss: 'https://login.example.com/', sub: 'me', scope: 'integrations_read', exp: 4e9 }
    const forged = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
    const { code, errors } = await refusalOf(validateWith({ accessToken: forged }))
    assert.equal(code, 403)
    assert.deepEqual(errors, ['Forbidden'])
  })
})

describe('who is known but may not read integrations gets the other typed 403', () => {
  const errorsOfPermission = ['Forbidden', 'Failed permission authorization checks']

  test('a key pair with other permissions', async () => {
    const { code, errors } = await refusalOf(validateWith(server.keyPairs.manager))
    assert.equal(code, 403)
    assert.deepEqual(errors, errorsOfPermission)
  })

  test('an OAuth token without the scope', async () => {
    const accessToken = await server.oauthToken('openid manage_integrations')
    const { code, errors } = await refusalOf(validateWith({ accessToken }))
    assert.equal(code, 403)
    assert.deepEqual(errors, errorsOfPermission)
  })
})

describe('the client can check its keys', () => {
  test('v1: an API key that is valid', async () => {
    const { authentication } = withKeys({ apiKey: server.keyPairs.none.apiKey })
    const { valid } = await authentication.validate()
    assert.equal(valid, true)
  })

  test('v1: an API key that is not valid is a typed 403', async () => {
    const { code, errors } = await refusalOf(withKeys({ apiKey: unknownApiKey }).authentication.validate())
    assert.equal(code, 403)
    assert.deepEqual(errors, ['Forbidden'])
  })

  test('v2: whose the API key is', async () => {
    const { keyManagement } = withKeys({ apiKey: server.keyPairs.manager.apiKey })
    const { data } = await keyManagement.validate()
    assert.ok(data)
    assert.equal(data.type, 'validate_v2')
    assert.match(data.id, /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/)
    assert.equal(data.attributes.valid, true)
    assert.match(data.attributes.apiKeyId, /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/)
    assert.deepEqual(data.attributes.apiKeyScopes, ['manage_integrations', 'siem_entities_read'])
  })

  test('v2: an API key that is not valid is a JSON:API error', async () => {
    const call = withKeys({ apiKey: unknownApiKey }).keyManagement.validate()
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof datadog.ApiException)
      assert.equal(error.code, 403)
      assert.ok(error.body instanceof v2.JSONAPIErrorResponse)
      assert.equal(error.body._unparsed, undefined)
      assert.deepEqual(
        error.body.errors.map(({ status, title }) => ({ status, title })),
        [{ status: '403', title: 'Forbidden' }],
      )
      return true
    })
  })

  test('v2: both keys together', async () => {
    const { status } = await withKeys(server.keyPairs.none).keyManagement.validateAPIKey()
    assert.equal(status, 'ok')
  })

  test('v2: both keys together, one of them wrong', async () => {
    const keys = { apiKey: server.keyPairs.none.apiKey, applicationKey: unknownApplicationKey }
    const { code, errors } = await refusalOf(withKeys(keys).keyManagement.validateAPIKey())
    assert.equal(code, 403)
    assert.deepEqual(errors, ['Forbidden'])
  })
})
