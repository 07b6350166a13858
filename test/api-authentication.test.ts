/** Who may ask what: strangers, keys, tokens, and web pages that would like to ask on somebody's behalf. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { request } from 'undici'
import { errorSchema } from '../src/api/errors.ts'
import { createAccessToken, createKey, revokeKey } from '../src/store/keys.ts'
import { type Answer, type Api, headersOf, startApi, validatePath } from './api-server.ts'

const body = JSON.stringify({
  data: {
    type: 'integration_config',
    attributes: { domain: 'acme.example', integration_type: 'ACME', secrets: { api_token: 'valid' } },
  },
})

const validateWith = (api: Api, headers: Readonly<Record<string, string>>, path = validatePath) =>
  api.call({ method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body })

const forbidden = (answer: Answer) => {
  assert.equal(answer.status, 403)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.deepEqual(answer.json(), { errors: ['Forbidden'] })
  assert.equal(answer.headers['x-ratelimit-limit'], undefined)
}

const routes = [
  ['POST', validatePath],
  ['GET', '/api/v1/validate'],
  ['HEAD', '/api/v1/validate'],
  ['GET', '/api/v2/validate'],
  ['GET', '/api/v2/validate_keys'],
] as const

test('every route refuses a stranger before it reads the body', async (t) => {
  const api = await startApi(t)
  for (const [method, path] of routes) {
    const answer = await api.raw(
      `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n`,
    )
    assert.match(answer, /^HTTP\/1\.1 403 Forbidden/, path)
    if (method !== 'HEAD') assert.match(answer, /"Forbidden"/)
  }
})

test('missing and wrong keys are answered alike', async (t) => {
  const api = await startApi(t)
  const { api_key, application_key } = api.keys
  const other = await createKey({ database: api.database, permissions: ['integrations_read'] })
  const attempts: Record<string, string>[] = [
    {},
    { 'dd-api-key': api_key },
    { 'dd-application-key': application_key },
    { 'dd-api-key': api_key, 'dd-application-key': '' },
    { 'dd-api-key': application_key, 'dd-application-key': api_key },
    { 'dd-api-key': api_key, 'dd-application-key': other.application_key },
    { 'dd-api-key': `${api_key}, ${api_key}`, 'dd-application-key': application_key },
    { 'dd-api-key': api_key, 'dd-application-key': 'ddpat_' },
    { authorization: `Bearer ${api_key}` },
    { authorization: 'Bearer x', 'dd-api-key': api_key, 'dd-application-key': application_key },
    { authorization: 'Bearer ddpat_x' },
    { cookie: `dd-api-key=${api_key}; dd-application-key=${application_key}` },
    { 'x-forwarded-for': '127.0.0.1', 'x-original-url': '/healthz', 'x-http-method-override': 'GET' },
  ]
  for (const headers of attempts) forbidden(await validateWith(api, headers))
})

test('keys in the address are refused, even beside good ones', async (t) => {
  const api = await startApi(t)
  const { api_key, application_key } = api.keys
  const query = `?api_key=${api_key}&application_key=${application_key}`
  forbidden(await validateWith(api, {}, validatePath + query))
  for (const name of ['api_key', 'application_key', 'DD-API-KEY', 'Access_Token', 'api%5fkey'])
    forbidden(await validateWith(api, headersOf(api), `${validatePath}?${name}=x`))
  forbidden(await api.call({ path: `/api/v1/validate?api_key=${api_key}` }))
  assert.ok(!api.log().includes(api_key))
})

test('a key without the permission is told so, and no permission opens what it is not for', async (t) => {
  const api = await startApi(t, { permissions: ['siem_entities_read', 'manage_integrations'] })
  const answer = await validateWith(api, headersOf(api))
  assert.equal(answer.status, 403)
  assert.deepEqual(answer.json(), { errors: ['Forbidden', 'Failed permission authorization checks'] })
  assert.ok(answer.headers['x-ratelimit-limit'])
})

test('the key checks answer as their clients expect', async (t) => {
  const api = await startApi(t)
  const { id, api_key } = api.keys
  const alone = { 'dd-api-key': api_key }
  assert.deepEqual((await api.call({ path: '/api/v1/validate', headers: alone })).json(), { valid: true })
  const v2 = (await api.call({ path: '/api/v2/validate', headers: alone })).json()
  assert.partialDeepStrictEqual(v2, {
    data: {
      type: 'validate_v2',
      attributes: { api_key_id: id, api_key_scopes: ['integrations_read'], valid: true },
    },
  })
  assert.deepEqual((await api.call({ path: '/api/v2/validate_keys', headers: headersOf(api) })).json(), {
    status: 'ok',
  })
  forbidden(await api.call({ path: '/api/v2/validate_keys', headers: alone }))
  forbidden(await api.call({ path: '/api/v1/validate', headers: { 'dd-api-key': 'wrong' } }))
  const refused = await api.call({ path: '/api/v2/validate', headers: { 'dd-api-key': 'wrong' } })
  assert.equal(refused.status, 403)
  assert.deepEqual(refused.json(), { errors: [{ status: '403', title: 'Forbidden', detail: 'Forbidden' }] })
})

test('access tokens of ours work as bearer and as application key alone', async (t) => {
  const api = await startApi(t)
  const options = { database: api.database, permissions: ['integrations_read'] }
  const personal = await createAccessToken({ ...options, kind: 'personal_access_token' })
  const service = await createAccessToken({
    ...options,
    kind: 'service_access_token',
    permissions: ['siem_entities_read'],
  })
  const ways: Record<string, string>[] = [
    { authorization: `bearer ${personal.access_token}` },
    { 'dd-application-key': personal.access_token },
    { 'dd-application-key': personal.access_token, 'dd-api-key': 'not evaluated' },
  ]
  for (const headers of ways) assert.equal((await validateWith(api, headers)).status, 200)
  const lacking = await validateWith(api, { authorization: `Bearer ${service.access_token}` })
  assert.deepEqual(lacking.json(), { errors: ['Forbidden', 'Failed permission authorization checks'] })
  forbidden(await api.call({ path: '/api/v1/validate', headers: { 'dd-api-key': personal.access_token } }))
})

test('a revoked key is a stranger', async (t) => {
  const api = await startApi(t)
  await revokeKey({ database: api.database, id: api.keys.id })
  while ((await validateWith(api, headersOf(api))).status === 200) await new Promise(setImmediate)
  forbidden(await validateWith(api, headersOf(api)))
})

test('rights hang on the route that matched, however its address is spelt', async (t) => {
  const api = await startApi(t)
  const raw = async (target: string, method = 'POST') => {
    const answer = await api.raw(
      `${method} ${target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    return Number(answer.split(' ')[1])
  }
  const spellings = [
    `/${validatePath}`,
    `${validatePath}/`,
    `/.${validatePath}`,
    `/healthz/..${validatePath}`,
    validatePath.toUpperCase(),
    validatePath.replace('validate', 'VALIDATE'),
    validatePath.replaceAll('/', '%2f'),
    validatePath.replace('validate', '%76alidate'),
    `${validatePath}?/healthz`,
    `${validatePath};/healthz`,
    `${validatePath}#/healthz`,
    `${validatePath}%00`,
    `http://localhost${validatePath}`,
    `http://localhost/healthz${validatePath}`,
    `https://evil.example${validatePath}`,
  ]
  for (const target of spellings) assert.ok([400, 403, 404].includes(await raw(target)), target)
  assert.equal(await raw(`http://localhost${validatePath}`), 403)
  assert.equal(await raw(`${validatePath}?/healthz`), 403)
})

test('a foreign web page gets nothing: not by its name, not by its origin', async (t) => {
  const api = await startApi(t)
  const from = async (headers: Readonly<Record<string, string>>, path = validatePath) => {
    const answer = await api.call({
      method: path === validatePath ? 'POST' : 'GET',
      path,
      headers: { ...headersOf(api), ...headers },
      ...(path === validatePath && { body }),
    })
    if (answer.status !== 200) assert.equal(errorSchema.parse(answer.json()).errors[0], 'Forbidden')
    return answer.status
  }
  const own = `127.0.0.1:${api.port}`
  const refused: Record<string, string>[] = [
    { host: 'evil.example' },
    { host: `evil.example:${api.port}` },
    { host: '10.0.0.1' },
    { host: '127.0.0.1.evil.example' },
    { host: 'localhost.evil.example' },
    { host: '[2001:db8::1]:80' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://127.0.0.1:${api.port + 1}` },
    { origin: `http://localhost:${api.port}` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
  ]
  for (const headers of refused) assert.equal(await from(headers), 403, JSON.stringify(headers))
  for (const headers of refused.slice(0, -1)) assert.equal(await from(headers, '/openapi.json'), 403)
  const accepted: Record<string, string>[] = [
    {},
    { host: 'localhost' },
    { host: 'LOCALHOST:1' },
    { host: '[::1]:8080' },
    { host: '127.0.0.2' },
    { origin: `http://${own}`, 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'none' },
    { 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' },
  ]
  for (const headers of accepted) assert.equal(await from(headers), 200, JSON.stringify(headers))
  assert.equal(
    await from({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, '/openapi.json'),
    200,
  )
  const preflight = await api.call({
    method: 'OPTIONS',
    path: validatePath,
    headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
  })
  assert.equal(preflight.status, 403)
  assert.ok(!Object.keys(preflight.headers).some((name) => name.startsWith('access-control')))
})

test('names that the operator allows are answered, others are not; without a list only loopback is strict', async (t) => {
  const named = await startApi(t, { config: { allowedHosts: ['credence.example.com'] } })
  const open = await startApi(t, { host: '0.0.0.0' })
  const strict = await startApi(t, { host: '0.0.0.0', config: { allowedHosts: ['credence.example.com'] } })
  const status = async ({ port }: Api, host: string) => {
    const answer = await request(`http://127.0.0.1:${port}/healthz`, { headers: { host } })
    await answer.body.dump()
    return answer.statusCode
  }
  assert.equal(await status(named, 'credence.example.com'), 200)
  assert.equal(await status(named, 'Credence.Example.com.:443'), 200)
  assert.equal(await status(named, 'evil.example'), 403)
  assert.equal(await status(open, 'anything.example'), 200)
  assert.equal(await status(strict, 'anything.example'), 403)
  assert.equal(await status(strict, '10.0.0.1:8080'), 200)
})

test('what a caller is called holds no key', async (t) => {
  const api = await startApi(t)
  await validateWith(api, headersOf(api))
  assert.match(api.log(), new RegExp(`"caller":"key:${api.keys.id}"`))
  assert.ok(!api.log().includes(api.keys.api_key) && !api.log().includes(api.keys.application_key))
})
