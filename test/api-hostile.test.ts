/** What the server answers to requests that are wrong, hostile, or no HTTP at all: always in the error form, never 5xx. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { errorSchema } from '../src/api/errors.ts'
import { type Answer, type Api, headersOf, startApi, validatePath } from './api-server.ts'

const body = JSON.stringify({
  data: {
    type: 'integration_config',
    attributes: { domain: 'acme.example', integration_type: 'ACME', secrets: { api_token: 'valid' } },
  },
})

const post = (api: Api, bytes: string | Buffer, headers: Readonly<Record<string, string>> = {}) =>
  api.call({ method: 'POST', path: validatePath, headers: { ...headersOf(api), ...headers }, body: bytes })

function assertRefused(answer: Answer, status: number, message?: RegExp): void {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/json')
  const { errors } = errorSchema.parse(answer.json())
  if (message !== undefined) assert.match(errors.join('\n'), message)
}

test('an unknown address is answered 404, a wrong method 405 with the right ones', async (t) => {
  const api = await startApi(t)
  for (const path of [
    '/nope',
    '/api/v2/security_monitoring/configuration',
    `${validatePath}/`,
    `/${validatePath}`,
  ])
    assertRefused(await api.call({ path, headers: headersOf(api) }), 404, /^Not found$/)
  const wrongMethod = await api.call({ method: 'PUT', path: '/api/v2/validate_keys' })
  assertRefused(wrongMethod, 405, /GET/)
  assert.equal(wrongMethod.headers.allow, 'GET, HEAD')
  const deleting = await api.call({ method: 'DELETE', path: '/api/v1/validate' })
  assertRefused(deleting, 405)
  assert.equal(deleting.headers.allow, 'GET, HEAD')
  for (const method of ['OPTIONS', 'PUT', 'TRACE'])
    assertRefused(await api.call({ method, path: validatePath }), 405)
})

test('an address or method that does not exist is answered so whatever the body holds, and before it arrives', async (t) => {
  const api = await startApi(t)
  const cases = [
    ['POST', '/nope', 404],
    ['PUT', validatePath, 405],
    ['POST', '/healthz', 405],
  ] as const
  for (const [method, path, status] of cases) {
    for (const sent of ['', '{', '\0'.repeat(100_000)])
      assertRefused(await api.call({ method, path, headers: headersOf(api), body: sent }), status)
    assert.match(
      await api.raw(
        `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`,
      ),
      new RegExp(`^HTTP/1\\.1 ${status} `),
    )
  }
})

test('every spelling of Content-Type is read as JSON or refused', async (t) => {
  const api = await startApi(t)
  const wrong = JSON.stringify({ data: { type: 'other' } })
  const asJson = [
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json; charset="UTF-8"',
    'application/json;\tcharset=utf8',
    'application/json; version=1',
    'application/json;',
    ' application/json ',
  ]
  for (const type of asJson) {
    assert.equal((await post(api, body, { 'content-type': type })).status, 200, type)
    assertRefused(await post(api, wrong, { 'content-type': type }), 400, /data\.type/)
  }
  const refused = [
    'text/plain',
    'application/jsonp',
    'application/json-patch+json',
    'application/vnd.api+json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=application/json',
    'application/json, text/plain',
    'text/plain; application/json',
    'application',
    'application/',
    '/json',
    '*/*',
    'application/json/x',
    'application/json; charset=utf-16',
    'application/json; charset=iso-8859-1',
    'application/json; charset=utf-8; charset=latin1',
    ';charset=utf-8',
    'undefined',
  ]
  for (const type of refused) assertRefused(await post(api, body, { 'content-type': type }), 415)
  const { 'content-type': _, ...without } = headersOf(api)
  assertRefused(
    await api.call({ method: 'POST', path: validatePath, headers: without, body }),
    415,
    /application\/json/,
  )
  assertRefused(
    await api.call({ method: 'POST', path: validatePath, headers: without }),
    400,
    /^body: expected a JSON object/,
  )
  const twice = await api.raw(
    `POST ${validatePath} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${Object.entries(without)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join(
        '',
      )}content-type: application/json\r\ncontent-type: text/plain\r\ncontent-length: ${wrong.length}\r\n\r\n${wrong}`,
  )
  assert.match(twice, /^HTTP\/1\.1 4(00|15) /)
})

test('a body over 64 KiB is refused with 413, however it is packed', async (t) => {
  const api = await startApi(t)
  const large = JSON.stringify({ data: 'x'.repeat(65_536) })
  assertRefused(await post(api, large), 413, /65536 bytes/)
  assertRefused(await post(api, 'x'.repeat(5_000_000)), 413)
  assertRefused(await post(api, gzipSync(large), { 'content-encoding': 'gzip' }), 413)
  assertRefused(
    await post(api, zstdCompressSync(Buffer.alloc(100_000_000)), { 'content-encoding': 'zstd1' }),
    413,
  )
  const chunked = await api.raw(
    `POST ${validatePath} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n${Object.entries(
      headersOf(api),
    )
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n${`10000\r\n${'x'.repeat(65_536)}\r\n`.repeat(2)}0\r\n\r\n`,
  )
  assert.match(chunked, /^HTTP\/1\.1 413 /)
  const room = `${body.slice(0, -1)},"padding":"${'x'.repeat(65_536 - body.length - 13)}"}`
  assert.equal(Buffer.byteLength(room), 65_536)
  assert.equal((await post(api, room)).status, 200)
})

test('codings that are unknown, doubled or not what they say are refused', async (t) => {
  const api = await startApi(t)
  for (const coding of ['br', 'gzip, gzip', 'gzip,deflate', 'zstd', 'x-gzip', 'constructor', '__proto__'])
    assertRefused(
      await post(api, gzipSync(body), { 'content-encoding': coding }),
      415,
      /gzip, deflate, zstd1/,
    )
  for (const coding of ['gzip', 'deflate', 'zstd1']) {
    assertRefused(await post(api, body, { 'content-encoding': coding }), 400, /Content-Encoding/)
    assertRefused(await post(api, '', { 'content-encoding': coding }), 400)
  }
  assertRefused(await post(api, gzipSync(body).subarray(0, -9), { 'content-encoding': 'gzip' }), 400)
})

test('JSON that other parsers would accept or repair is refused, with its position and without its text', async (t) => {
  const api = await startApi(t)
  const malformed: [text: string | Buffer, message: RegExp][] = [
    ['{"data": hunter2}', /^body: malformed JSON: expected a value at line 1, column 10$/],
    ['{"data": {},\n "data": {}}', /a key is given twice at line 2, column 2/],
    ['{"__proto__": {"hunter2": 1}}', /a key that is not allowed/],
    ['{"data":{"constructor":{"prototype":{}}}}', /not allowed/],
    [`${'{"a":'.repeat(33)}1${'}'.repeat(33)}`, /nesting deeper than 32 levels/],
    ['['.repeat(60_000), /nesting deeper/],
    ['{"data":"\\u0000hunter2"}', /NUL/],
    ['{"data":"\\ud800hunter2"}', /surrogate/],
    ['{"data":1e999}', /too large/],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), /^body: not valid UTF-8$/],
    [Buffer.from('{"data":"\ud800"}', 'utf16le'), /malformed|UTF-8/],
    [Buffer.from([0xc0, 0xaf]), /UTF-8/],
    ['', /got nothing/],
    [' ', /ends too early/],
    ['\ufeff{}', /expected a value/],
  ]
  for (const [text, message] of malformed) {
    const answer = await post(api, text)
    assertRefused(answer, 400, message)
    assert.ok(!answer.text.includes('hunter2'))
  }
})

test('addresses and headers that are no good are refused in the same form', async (t) => {
  const api = await startApi(t)
  const raw = async (request: string) => {
    const answer = await api.raw(request)
    const [head = '', text = ''] = answer.split('\r\n\r\n')
    assert.match(head.toLowerCase(), /content-type: application\/json/, answer)
    errorSchema.parse(JSON.parse(text))
    return Number(head.split(' ')[1])
  }
  const headers = 'host: localhost\r\nconnection: close\r\n'
  assert.equal(await raw(`GET /%zz HTTP/1.1\r\n${headers}\r\n`), 400)
  assert.equal(await raw(`GET /a%2 HTTP/1.1\r\n${headers}\r\n`), 400)
  assert.equal(await raw(`GET /${'a'.repeat(9_000)} HTTP/1.1\r\n${headers}\r\n`), 404)
  assert.equal(await raw(`GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${headers}\r\n`), 431)
  assert.equal(await raw(`GET / HTTP/1.1\r\n${headers}x-large: ${'a'.repeat(20_000)}\r\n\r\n`), 431)
  assert.equal(await raw(`GET / HTTP/1.1\r\nconnection: close\r\n\r\n`), 400)
  assert.equal(await raw(`GET / HTTP/1.1\r\nhost: \r\nconnection: close\r\n\r\n`), 400)
  assert.equal(await raw(`GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n`), 400)
  assert.equal(await raw(`HUNTER2 / HTTP/1.1\r\n${headers}\r\n`), 400)
  assert.equal(await raw(`PROPFIND / HTTP/1.1\r\n${headers}\r\n`), 405)
  assert.equal(await raw(`OPTIONS * HTTP/1.1\r\n${headers}\r\n`), 404)
  assert.equal(await raw(`GET / HTTP/9.9\r\n${headers}\r\n`), 400)
  assert.equal(await raw(`GET / HTTP/1.1\r\n${headers}bad header\r\n\r\n`), 400)
  assert.equal(
    await raw(
      `POST / HTTP/1.1\r\n${headers}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ),
    400,
  )
  assert.equal(await raw(`POST / HTTP/1.1\r\n${headers}content-length: -1\r\n\r\n`), 400)
  assert.equal(await raw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS'), 400)
  assert.equal(await raw('{"json":"without http"}\r\n\r\n'), 400)
})

test('garbage behind a request closes the connection and answers nothing in its place', async (t) => {
  const api = await startApi(t)
  const heard = await api.raw('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n\x00\x01garbage\r\n\r\n')
  assert.ok((heard.match(/HTTP\/1\.1/g) ?? []).length <= 2)
  if (heard !== '') assert.match(heard, /^HTTP\/1\.1 200 OK/)
  assert.equal((await api.call({ path: '/healthz' })).status, 200)
})

test('a body that never ends arriving does not hold a connection, and others are served meanwhile', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const api = await startApi(t)
  const socket = net.connect(api.port, '127.0.0.1').setEncoding('utf8')
  let heard = ''
  socket.on('data', (text) => {
    heard += text
  })
  const headers = Object.entries(headersOf(api)).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(
    `POST ${validatePath} HTTP/1.1\r\nhost: localhost\r\n${headers.join('')}content-length: 100\r\n\r\n{"da`,
  )
  let isOpen = true
  socket.on('close', () => {
    isOpen = false
  })
  // Who asks may have to be looked up first, so that nobody knows when the body begins to be waited for.
  const now = performance.now.bind(performance)
  let aheadMs = 0
  t.mock.method(performance, 'now', () => now() + aheadMs)
  while (isOpen) {
    aheadMs += 10_001
    t.mock.timers.tick(500)
    assert.equal((await api.call({ path: '/healthz' })).status, 200)
  }
  assert.match(heard, /^HTTP\/1\.1 408 /)
  assert.match(heard, /\{"errors":\["The body did not arrive within 10 seconds"\]\}$/)
})
