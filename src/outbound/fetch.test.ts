import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { fetchThrough } from './fetch.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from './http.ts'

const answering = (status: number, text: string, headers: Record<string, string> = {}) => {
  const requests: HttpRequest[] = []
  const http: HttpClient = {
    async request(request): Promise<HttpAnswer> {
      requests.push(request)
      return {
        status,
        headers: new Headers(headers),
        text,
        json: () => JSON.parse(text),
        receivedAt: new Date(0),
      }
    },
  }
  return { http, requests }
}

suite('a fetch over an HttpClient', () => {
  test('sends a form as oauth4webapi gives it, and reads the token', async () => {
    const { http, requests } = answering(200, '{"access_token":"t","token_type":"Bearer"}', {
      'content-type': 'application/json',
    })
    const server = {
      issuer: 'https://acme.okta.com',
      token_endpoint: 'https://acme.okta.com/oauth2/v1/token',
    }
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      { client_id: 'c' },
      oauth.ClientSecretPost('s'),
      { scope: 'okta.users.read' },
      { [oauth.customFetch]: fetchThrough(http, 'ask for a token') },
    )
    const token = await oauth.processClientCredentialsResponse(server, { client_id: 'c' }, response)
    assert.equal(token.access_token, 't')
    assert.equal(requests[0]?.operation, 'ask for a token')
    assert.equal(requests[0]?.method, 'POST')
    assert.equal(requests[0]?.url, server.token_endpoint)
    assert.match(requests[0]?.headers?.['content-type'] ?? '', /^application\/x-www-form-urlencoded/)
    assert.equal(new URLSearchParams(requests[0]?.body).get('scope'), 'okta.users.read')
  })

  test('drops the headers that describe the body on the wire', async () => {
    const { http } = answering(200, '{}', { 'content-encoding': 'gzip', 'content-length': '20', date: 'x' })
    const response = await fetchThrough(http, 'read')(new URL('https://acme.okta.com/'))
    assert.deepEqual([...response.headers.keys()], ['date'])
    assert.deepEqual(await response.json(), {})
  })

  test('gives no body where a status allows none', async () => {
    const { http } = answering(204, '')
    const response = await fetchThrough(http, 'read')('https://acme.okta.com/')
    assert.equal(response.status, 204)
    assert.equal(response.body, null)
  })

  test('refuses a body nested too deep before anyone parses it', async () => {
    const { http } = answering(200, '['.repeat(1000))
    await assert.rejects(fetchThrough(http, 'read')('https://acme.okta.com/'), {
      name: 'SourceError',
      code: 'unexpected_response',
    })
  })

  test('sends no other methods and no streams', async () => {
    const { http, requests } = answering(200, '')
    const fetch = fetchThrough(http, 'read')
    await assert.rejects(fetch('https://acme.okta.com/', { method: 'DELETE' }), TypeError)
    await assert.rejects(
      fetch('https://acme.okta.com/', { method: 'POST', body: new Blob(['x']) }),
      TypeError,
    )
    assert.equal(requests.length, 0)
  })
})
