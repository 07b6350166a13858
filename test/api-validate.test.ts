/** POST …/validate as clients see it: what it accepts, and how each verdict is answered. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { errorSchema } from '../src/api/errors.ts'
import { createKey, organizationId } from '../src/store/keys.ts'
import { reportSchema } from '../src/validation/report.ts'
import { createAcme } from './acme-source.ts'
import { headersOf, startApi, validatePath } from './api-server.ts'

const attributes = (api_token: string, more: object = {}) => ({
  domain: 'acme.example',
  integration_type: 'ACME',
  secrets: { api_token },
  ...more,
})

test('valid credentials are answered 200 with an empty body of JSON', async (t) => {
  const api = await startApi(t)
  const answer = await api.validate(attributes('valid'))
  assert.equal(answer.status, 200)
  assert.equal(answer.text, '')
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.equal(answer.headers['content-length'], '0')
})

test('with include=report the answer is the report', async (t) => {
  const api = await startApi(t)
  for (const query of [
    '?include=report',
    '?include=other,report',
    '?include=other&include=report&unknown=1',
  ]) {
    const answer = await api.validate(attributes('valid'), { path: validatePath + query })
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(reportSchema.parse(answer.json()).verdict, 'valid')
  }
  assert.equal((await api.validate(attributes('valid'), { path: `${validatePath}?include=` })).text, '')
})

test('credentials that are refused are answered 400 with sentences, and the report beside them', async (t) => {
  const api = await startApi(t)
  const answer = await api.validate(attributes('wrong token'))
  assert.equal(answer.status, 400)
  assert.equal(answer.headers['content-type'], 'application/json')
  const { errors, meta } = errorSchema.parse(answer.json())
  assert.match(errors.join(), /Users can be read: Acme does not accept the API token \(401: .*\)/)
  assert.equal(meta?.report.verdict, 'invalid')
  assert.equal(answer.headers['retry-after'], undefined)
  assert.ok(!answer.text.includes('wrong token'))
})

test('what could not be told is answered 503, or 429 where the provider limits us, with when to come back', async (t) => {
  const api = await startApi(t)
  const down = await api.validate(attributes('down'))
  assert.equal(down.status, 503)
  assert.equal(down.headers['retry-after'], '30')
  assert.equal(down.headers['x-ratelimit-reset'], '30')
  assert.equal(errorSchema.parse(down.json()).meta?.report.verdict, 'indeterminate')
  const limited = await api.validate(attributes('limited'))
  assert.equal(limited.status, 429)
  assert.equal(limited.headers['retry-after'], '7')
  assert.equal(limited.headers['x-ratelimit-reset'], '7')
})

test('unknown fields are ignored wherever they are, and never echoed', async (t) => {
  const api = await startApi(t)
  const answer = await api.call({
    method: 'POST',
    path: `${validatePath}?include=report`,
    headers: headersOf(api),
    body: JSON.stringify({
      meta: { canary: 'unheard-of' },
      data: {
        id: 'unheard-of',
        type: 'integration_config',
        attributes: attributes('valid', {
          canary: 'unheard-of',
          secrets: { api_token: 'valid', canary: 'unheard-of' },
        }),
      },
    }),
  })
  assert.equal(answer.status, 200)
  assert.ok(!answer.text.includes('unheard-of'))
})

test('every field that is wrong is named at once, with what was expected', async (t) => {
  const api = await startApi(t)
  const errorsOf = async (body: unknown) => {
    const answer = await api.call({
      method: 'POST',
      path: validatePath,
      headers: headersOf(api),
      body: JSON.stringify(body),
    })
    assert.equal(answer.status, 400)
    return errorSchema.parse(answer.json()).errors
  }
  const data = (members: object) => ({ data: { type: 'integration_config', attributes: members } })
  const domain = 'expected a string, the domain of the organisation at the provider'
  assert.deepEqual(await errorsOf({ data: { type: 'other', attributes: { domain: 5, secrets: [] } } }), [
    'data.type: expected "integration_config"',
    `data.attributes.domain: ${domain}`,
    'data.attributes.integration_type: missing; expected one of ACME',
    'data.attributes.secrets: expected an object with the credentials',
  ])
  assert.deepEqual(await errorsOf(data({ domain: null, integration_type: 'CROWDSTRIKE' })), [
    `data.attributes.domain: ${domain}`,
    'data.attributes.integration_type: expected one of ACME',
  ])
  assert.deepEqual(await errorsOf(data({ ...attributes('valid'), secrets: { api_token: 5 } })), [
    'data.attributes.secrets.api_token: expected a string',
  ])
  for (const body of [[], 'text', 5, null, true])
    assert.deepEqual(await errorsOf(body), ['body: expected a JSON object with the member data'])
  assert.deepEqual(await errorsOf({}), ['data: missing; expected an object with type and attributes'])
})

test('a malformed domain is judged by a check, as often as one likes, and reaches nobody', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, {
    outbound: acme.outbound,
    config: { limits: { unprovenAttempts: 1, validationsPerTarget: 1 } },
  })
  for (let again = 0; again < 5; again += 1) {
    const answer = await api.validate({ ...attributes('valid'), domain: 'http://user@acme.example:1/x' })
    assert.equal(answer.status, 400)
    assert.match(answer.text, /The domain is not a host name/)
  }
  assert.deepEqual(acme.reached, [])
})

test('bodies may come compressed as the official clients do', async (t) => {
  const api = await startApi(t)
  const body = JSON.stringify({ data: { type: 'integration_config', attributes: attributes('valid') } })
  const codings: [name: string, bytes: Buffer][] = [
    ['gzip', gzipSync(body)],
    ['deflate', deflateSync(body)],
    ['zstd1', zstdCompressSync(body)],
    ['GZIP', gzipSync(body)],
    ['identity', Buffer.from(body)],
  ]
  for (const [coding, bytes] of codings) {
    const answer = await api.call({
      method: 'POST',
      path: validatePath,
      headers: { ...headersOf(api), 'content-encoding': coding, 'accept-encoding': 'zstd1, gzip' },
      body: bytes,
    })
    assert.equal(answer.status, 200, coding)
  }
})

test('with Accept: text/event-stream each check is told as it ends, then the report', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const events = async (token: string, accept = 'text/event-stream') => {
    const answer = await api.validate(attributes(token), { headers: { accept } })
    return { ...answer, events: answer.text.split('\n\n').filter((event) => event !== '') }
  }
  const stream = await events('wrong')
  assert.equal(stream.status, 200)
  assert.match(String(stream.headers['content-type']), /^text\/event-stream/)
  assert.deepEqual(
    stream.events.map((event) => event.split('\n')[0]),
    ['event: check', 'event: check', 'event: check', 'event: report'],
  )
  const report = reportSchema.parse(JSON.parse(stream.events.at(-1)?.split('\ndata: ')[1] ?? ''))
  assert.equal(report.verdict, 'invalid')
  const asJson = [
    '*/*',
    'application/json, text/event-stream',
    'text/*',
    'text/event-stream;q=0',
    'text/event-stream;q=0.9, */*',
    'text/event-stream;q=0.5, application/*;q=0.8',
  ]
  for (const accept of asJson)
    assert.equal((await events('valid', accept)).headers['content-type'], 'application/json', accept)
  const asStream = [
    'application/json;q=0.5, text/event-stream',
    'text/event-stream, */*',
    'Text/Event-Stream;q=0.9, */*;q=0.1',
  ]
  for (const accept of asStream)
    assert.match(String((await events('valid', accept)).headers['content-type']), /event-stream/, accept)
  const faulty = await api.validate({}, { headers: { accept: 'text/event-stream' } })
  assert.equal(faulty.status, 400)
  assert.equal(faulty.headers['content-type'], 'application/json')
})

test('a stream tells a check before the next one has ended', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const body = JSON.stringify({ data: { type: 'integration_config', attributes: attributes('hang') } })
  const socket = net.connect(api.port, '127.0.0.1').setEncoding('utf8')
  const headers = Object.entries({ ...headersOf(api), accept: 'text/event-stream', connection: 'close' })
  socket.write(
    `POST ${validatePath} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
  let heard = ''
  let isReleased = false
  for await (const text of socket) {
    heard += text
    if (!isReleased && heard.includes('domain_shape') && acme.reached.length > 0) {
      assert.ok(!heard.includes('event: report'))
      isReleased = true
      acme.release()
    }
  }
  assert.match(heard, /event: report/)
})

test('a client that leaves stops its validation', async (t) => {
  const acme = createAcme()
  const stopped = Promise.withResolvers<void>()
  const api = await startApi(t, {
    outbound: {
      open: (rules, signal) => {
        signal.addEventListener('abort', () => stopped.resolve())
        return acme.outbound.open(rules, signal)
      },
    },
  })
  for (const accept of ['application/json', 'text/event-stream']) {
    const leaving = new AbortController()
    const asked = fetch(api.url + validatePath, {
      method: 'POST',
      headers: { ...headersOf(api), accept },
      body: JSON.stringify({ data: { type: 'integration_config', attributes: attributes('hang') } }),
      signal: leaving.signal,
    })
      .then((answer) => answer.text())
      .catch(() => 'left')
    while (acme.reached.length === 0) await new Promise(setImmediate)
    leaving.abort()
    assert.equal(await asked, 'left')
    await stopped.promise
    acme.reached.length = 0
  }
})

test("the operator's credentials serve what they are bound to; any other domain is answered as a random one", async (t) => {
  const acme = createAcme()
  const folder = await mkdtemp(join(tmpdir(), 'credence-operator-'))
  t.after(() => rm(folder, { recursive: true }))
  const operatorFile = join(folder, 'operator.json')
  await writeFile(
    operatorFile,
    JSON.stringify({
      acme: [
        { token: 'valid-of-the-operator', bindings: [{ organization: 'default', domain: 'acme.example' }] },
        {
          token: 'valid-of-the-other',
          bindings: [{ organization: organizationId('other'), domain: 'other.example' }],
        },
      ],
    }),
  )
  const api = await startApi(t, { outbound: acme.outbound, config: { operatorFile } })
  const ask = async (domain: string, headers = {}) => {
    const { status, text } = await api.validate(
      { domain, integration_type: 'ACME', secrets: { admin: 'ada@acme.example' } },
      { headers, path: `${validatePath}?include=report` },
    )
    return {
      status,
      text: text.replaceAll(domain, 'DOMAIN').replace(/"(duration_ms|checked_at)":("[^"]*"|\d+)/g, '"$1":0'),
    }
  }
  assert.equal((await ask('acme.example')).status, 200)
  assert.deepEqual(acme.reached, ['valid-of-the-operator'])
  const random = await ask('nobody.example')
  assert.equal(random.status, 400)
  assert.deepEqual(await ask('other.example'), random)
  const other = await createKey({
    database: api.database,
    permissions: ['integrations_read'],
    organization: 'other',
  })
  const { dd } = { dd: { 'dd-api-key': other.api_key, 'dd-application-key': other.application_key } }
  assert.equal((await ask('other.example', dd)).status, 200)
  assert.deepEqual(await ask('acme.example', dd), random)
})

test('a bug is answered 500 with the request id; the log has where it happened, nobody has the secret', async (t) => {
  const api = await startApi(t)
  const answer = await api.validate(attributes('bug-hunter2'), {
    headers: { 'x-request-id': '6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11' },
  })
  assert.equal(answer.status, 500)
  assert.match(
    errorSchema.parse(answer.json()).errors.join(),
    /request id 6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11/,
  )
  assert.equal(answer.headers['x-request-id'], '6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11')
  assert.match(
    api.log(),
    /"request_id":"6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11".*no way to handle \[redacted\].*acme-source/,
  )
  assert.ok(!`${api.log()}${answer.text}`.includes('bug-hunter2'))
  const stream = await api.validate(attributes('bug-hunter2'), { headers: { accept: 'text/event-stream' } })
  assert.match(stream.text, /event: error\ndata: \{"errors":\["Internal error/)
  assert.ok(!`${api.log()}${stream.text}`.includes('bug-hunter2'))
})
