/** Planted secrets occur in no answer, no log line and no metric, however a request goes wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { headersOf, startApi, validatePath } from './api-server.ts'

const canary = 'c4n4ry-S3cret/+=?"\\-þ-0123456789'

/** The canary as it is, as encodings would show it, and in halves. */
const traces = [
  canary,
  JSON.stringify(canary).slice(1, -1),
  JSON.stringify(JSON.stringify(canary).slice(1, -1)).slice(1, -1),
  encodeURIComponent(canary),
  ...(['base64', 'base64url', 'hex'] as const).map((encoding) => Buffer.from(canary).toString(encoding)),
  canary.slice(0, 14),
  canary.slice(-12),
  encodeURIComponent(canary).slice(0, 16),
]

test('canaries in every place of a request stay there', async (t) => {
  const api = await startApi(t)
  const heard: string[] = []
  const send = async (body: string | Buffer, headers: Record<string, string> = {}, query = '') => {
    const answer = await api.call({
      method: 'POST',
      path: validatePath + query,
      headers: { ...headersOf(api), ...headers },
      body,
    })
    heard.push(JSON.stringify(answer.headers), answer.text)
    return answer.status
  }
  const with_ = (attributes: unknown) => JSON.stringify({ data: { type: 'integration_config', attributes } })
  const attributes = (secrets: unknown, more: object = {}) =>
    with_({ domain: 'acme.example', integration_type: 'ACME', secrets, ...more })

  for (const verdict of ['valid', 'wrong', 'limited', 'down', 'bug']) {
    for (const accept of ['application/json', 'text/event-stream'])
      await send(attributes({ api_token: `${verdict} ${canary}` }), { accept }, '?include=report')
  }
  assert.equal(await send(attributes({ api_token: { canary } })), 400)
  assert.equal(await send(attributes({ [canary]: canary })), 400)
  assert.equal(await send(attributes(canary)), 400)
  assert.equal(await send(attributes([canary])), 400)
  assert.equal(await send(attributes({}, { integration_type: canary })), 400)
  assert.equal(await send(with_(canary)), 400)
  assert.equal(await send(JSON.stringify(canary)), 400)
  assert.equal(await send(JSON.stringify({ data: { type: canary } })), 400)
  assert.equal(await send(`{"data": ${canary}`), 400)
  assert.equal(await send(`{"${canary.replaceAll('"', '').replaceAll('\\', '')}": 1, }`), 400)
  assert.equal(await send(`{"a\\q${canary}"}`), 400)
  assert.equal(await send(Buffer.concat([Buffer.from(canary), Buffer.from([0xff])])), 400)
  assert.equal(await send(gzipSync(canary), { 'content-encoding': 'gzip' }), 400)
  assert.equal(await send(canary, { 'content-encoding': 'gzip' }), 400)
  assert.equal(await send(attributes({}), { 'content-type': 'text/c4n4ry-S3cret' }), 415)
  assert.equal(await send(canary.repeat(4_000)), 413)
  await send(attributes({ api_token: 'valid' }), {}, `?api_key=${encodeURIComponent(canary)}`)
  await send(attributes({ api_token: 'valid' }), {}, `?include=${encodeURIComponent(canary)}`)
  const safe = canary.replace('þ', 'x')
  for (const header of [
    'dd-api-key',
    'dd-application-key',
    'authorization',
    'cookie',
    'x-request-id',
    'accept',
    'origin',
  ])
    await send(attributes({ api_token: 'valid' }), {
      [header]: header === 'authorization' ? `Bearer ${safe}` : safe,
    })
  for (const path of [`/${encodeURIComponent(canary)}`, `/%zz${encodeURIComponent(canary)}`]) {
    const answer = await api.call({ path })
    heard.push(answer.text)
  }
  heard.push(
    await api.raw(`GET / HTTP/1.1\r\nhost: ${encodeURIComponent(canary)}\r\nconnection: close\r\n\r\n`),
  )
  heard.push(await api.raw(`${safe} / HTTP/1.1\r\n\r\n`))
  heard.push((await api.call({ path: '/metrics' })).text)

  assert.ok(api.log().includes('internal error'))
  for (const place of [...heard, api.log()])
    for (const trace of traces) assert.ok(!place.includes(trace), `${trace} in ${place.slice(0, 2_000)}`)
})
