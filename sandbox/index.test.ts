import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { afterEach, test } from 'node:test'
import { createGunzip } from 'node:zlib'
import { freePorts, listen } from '../test/free-ports.ts'
import { bombBytes, gzipBomb } from './bodies.ts'
import { type Fault, type RunningSandbox, type SandboxOptions, startSandbox } from './index.ts'
import type { ProviderSandbox, SandboxRequest } from './provider.ts'

const document = { text: 'zwölf Boxkämpfer', list: [1, 2, 3] }

/** A provider that answers `document` and keeps what it was asked. */
function echo(name: ProviderSandbox['name'], ...hosts: string[]) {
  const asked: SandboxRequest[] = []
  const provider: ProviderSandbox = {
    name,
    hosts,
    async handle(request) {
      asked.push(request)
      if (request.url.pathname === '/nothing') return { status: 204 }
      if (request.url.pathname === '/text')
        return { status: 202, headers: { 'Content-Type': 'text/x-own', 'x-own': name }, body: 'text' }
      return { status: 200, body: document }
    },
    throttled: () => ({ status: 429, headers: { 'retry-after': '7' }, body: { slow: name } }),
    unavailable: () => ({ status: 503, body: { down: name } }),
    examples: () => ({ valid: { domain: hosts[0] ?? '', integration_type: name }, invalid: [] }),
  }
  return { provider, asked }
}

const running: RunningSandbox[] = []
afterEach(async () => {
  for (const sandbox of running.splice(0)) await sandbox.close()
})

async function start(options: Partial<SandboxOptions> = {}) {
  const okta = echo('okta', 'acme.okta.com')
  const google = echo('google', 'oauth2.googleapis.com', 'admin.googleapis.com')
  const sandbox = await startSandbox({ providers: [okta.provider, google.provider], ...options })
  running.push(sandbox)
  return { sandbox, okta, google }
}

interface Asked {
  readonly host: string
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

/** Sends a request as a client whose name resolution leads to the sandbox; resolves with headers received. */
function ask(sandbox: RunningSandbox, asked: Asked): Promise<IncomingMessage> {
  const origin = new URL(sandbox.endpoints[asked.host] ?? '')
  const send = origin.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const request = send({
      host: '127.0.0.1',
      port: origin.port,
      servername: asked.host,
      ...(sandbox.authority !== undefined && { ca: sandbox.authority }),
      agent: false,
      method: asked.method ?? 'GET',
      path: asked.path ?? '/',
      headers: { host: asked.host, ...asked.headers },
    })
    request.once('response', resolve).once('error', reject)
    request.end(asked.body)
  })
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString(),
  }
}

const answerOf = async (sandbox: RunningSandbox, asked: Asked) => read(await ask(sandbox, asked))
const oktaAsked = { host: 'acme.okta.com', path: '/api/v1/users?after=secret' }

test('each provider answers under its own hosts over TLS that a client trusting the authority accepts', async () => {
  const { sandbox, okta, google } = await start()
  for (const host of ['acme.okta.com', 'oauth2.googleapis.com', 'admin.googleapis.com']) {
    const answer = await answerOf(sandbox, { host })
    assert.deepEqual(JSON.parse(answer.body), document)
    assert.match(String(answer.headers['content-type']), /^application\/json/)
  }
  assert.equal(okta.asked.length, 1)
  assert.deepEqual(
    google.asked.map((request) => request.url.origin),
    ['https://oauth2.googleapis.com', 'https://admin.googleapis.com'],
  )
})

test('a provider is handed method, URL as the client meant it, headers and body', async () => {
  const { sandbox, okta } = await start({ tls: false, now: () => new Date('2026-01-02T03:04:05Z') })
  const answer = await answerOf(sandbox, {
    host: 'acme.okta.com',
    path: '/text?a=1%202',
    method: 'POST',
    headers: { 'X-Two': 'words' },
    body: 'größer',
  })
  assert.partialDeepStrictEqual(answer, { status: 202, body: 'text' })
  assert.partialDeepStrictEqual(answer.headers, {
    'content-type': 'text/x-own',
    'x-own': 'okta',
    date: 'Fri, 02 Jan 2026 03:04:05 GMT',
  })
  const [asked] = okta.asked
  assert.partialDeepStrictEqual(asked, { method: 'POST', body: 'größer' })
  assert.equal(asked?.url.href, 'http://acme.okta.com/text?a=1%202')
  assert.equal(asked?.headers.get('x-two'), 'words')
})

test('the SDK may name localhost, loopback or the provider, each with a port', async () => {
  const { sandbox, okta } = await start()
  const port = new URL(sandbox.endpoints['acme.okta.com'] ?? '').port
  for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `acme.okta.com:${port}`])
    assert.equal((await answerOf(sandbox, { ...oktaAsked, headers: { host } })).status, 200)
  assert.deepEqual(
    okta.asked.map((request) => request.url.host),
    [`localhost:${port}`, `127.0.0.1:${port}`, `acme.okta.com:${port}`],
  )
})

test('a malformed Host, a target that is no path and a body over 1 MiB never reach the provider', async () => {
  const { sandbox, okta } = await start({ tls: false })
  for (const host of ['a b', 'user@acme.okta.com', 'acme.okta.com/x', '[::1]'])
    assert.equal((await answerOf(sandbox, { ...oktaAsked, headers: { host } })).status, 400)
  assert.equal(
    (await answerOf(sandbox, { host: 'acme.okta.com', path: 'http://elsewhere.test/' })).status,
    400,
  )
  const body = Buffer.alloc(1024 * 1024 + 1)
  assert.equal((await answerOf(sandbox, { ...oktaAsked, method: 'POST', body })).status, 413)
  assert.equal(okta.asked.length, 0)
})

test('the certificate authority is written for the client, and no private key', async () => {
  const { sandbox } = await start()
  const caFile = sandbox.caFile ?? ''
  assert.equal(readFileSync(caFile, 'utf8'), sandbox.authority)
  assert.equal(statSync(caFile).mode & 0o777, 0o600)
  assert.equal(new X509Certificate(sandbox.authority ?? '').ca, true)
  assert.doesNotMatch(sandbox.authority ?? '', /PRIVATE/)
  await sandbox.close()
  assert.equal(existsSync(caFile), false)
  running.length = 0
})

test('with a first port, control and providers lie on consecutive ports; a taken one is an error that leaves nothing behind', async () => {
  const port = await freePorts(3)
  const blocker = await listen(port + 1)
  await assert.rejects(start({ port }), { code: 'EADDRINUSE' })
  await new Promise((resolve) => blocker.close(resolve))
  const { sandbox } = await start({ port })
  assert.equal(sandbox.control, `http://127.0.0.1:${port}`)
  assert.equal(sandbox.endpoints['acme.okta.com'], `https://127.0.0.1:${port + 1}`)
  assert.equal(sandbox.endpoints['admin.googleapis.com'], `https://127.0.0.1:${port + 2}`)
})

test('requests are kept without query, header or body, in order, until they are forgotten', async () => {
  const { sandbox } = await start()
  await answerOf(sandbox, oktaAsked)
  await answerOf(sandbox, { host: 'admin.googleapis.com', path: '/nothing', method: 'DELETE' })
  const seen = sandbox.requests()
  assert.partialDeepStrictEqual(seen, [
    { provider: 'okta', method: 'GET', host: 'acme.okta.com', path: '/api/v1/users', status: 200 },
    { provider: 'google', method: 'DELETE', host: 'admin.googleapis.com', path: '/nothing', status: 204 },
  ])
  assert.doesNotMatch(JSON.stringify(seen), /secret/)
  sandbox.forgetRequests()
  assert.deepEqual(sandbox.requests(), [])
})

for (const tls of [true, false]) {
  const title = (text: string) => `${text} (${tls ? 'TLS' : 'plain'})`
  const strike = async (fault: Fault) => {
    const started = await start({ tls })
    started.sandbox.setFaults([fault])
    return started
  }

  test(title('throttled and unavailable are the words of the provider'), async () => {
    const { sandbox } = await strike({ kind: 'throttled' })
    const throttled = await answerOf(sandbox, oktaAsked)
    assert.partialDeepStrictEqual(throttled, { status: 429, body: '{"slow":"okta"}' })
    assert.equal(throttled.headers['retry-after'], '7')
    sandbox.setFaults([{ kind: 'unavailable' }])
    assert.partialDeepStrictEqual(await answerOf(sandbox, oktaAsked), {
      status: 503,
      body: '{"down":"okta"}',
    })
  })

  test(title('status answers with status, headers and body as given'), async () => {
    const { sandbox, okta } = await strike({
      kind: 'status',
      status: 418,
      headers: { 'x-a': 'b' },
      body: { c: 1 },
    })
    const answer = await answerOf(sandbox, oktaAsked)
    assert.partialDeepStrictEqual(answer, { status: 418, body: '{"c":1}' })
    assert.equal(answer.headers['x-a'], 'b')
    sandbox.setFaults([{ kind: 'status' }])
    assert.partialDeepStrictEqual(await answerOf(sandbox, oktaAsked), { status: 500, body: '' })
    assert.equal(okta.asked.length, 0)
  })

  test(title('html is a page with 200, redirect a 302, deep_json a deep document'), async () => {
    const { sandbox } = await strike({ kind: 'html' })
    const page = await answerOf(sandbox, oktaAsked)
    assert.equal(page.status, 200)
    assert.match(String(page.headers['content-type']), /^text\/html/)
    assert.match(page.body, /^<!DOCTYPE html>/)
    sandbox.setFaults([{ kind: 'redirect', location: 'https://elsewhere.test/' }])
    const redirect = await answerOf(sandbox, oktaAsked)
    assert.equal(redirect.status, 302)
    assert.equal(redirect.headers.location, 'https://elsewhere.test/')
    sandbox.setFaults([{ kind: 'deep_json' }])
    assert.equal((await answerOf(sandbox, oktaAsked)).body.indexOf(']'), 100_000)
  })

  test(title('truncated is half of the document in a complete answer'), async () => {
    const { sandbox } = await strike({ kind: 'truncated' })
    const answer = await answerOf(sandbox, oktaAsked)
    const whole = Buffer.from(JSON.stringify(document))
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['content-length'], String(Math.floor(whole.length / 2)))
    assert.throws(() => JSON.parse(answer.body))
  })

  test(title('cut closes the connection after half of the body'), async () => {
    const { sandbox } = await strike({ kind: 'cut' })
    const response = await ask(sandbox, oktaAsked)
    const received: Buffer[] = []
    response.on('data', (chunk: Buffer) => received.push(chunk))
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => response.once('error', resolve))
    assert.equal(error.code, 'ECONNRESET')
    const length = Buffer.byteLength(JSON.stringify(document))
    assert.equal(response.headers['content-length'], String(length))
    assert.equal(Buffer.concat(received).length, Math.floor(length / 2))
  })

  test(title('cut of an answer without a body leaves it incomplete too'), async () => {
    const { sandbox } = await strike({ kind: 'cut' })
    await assert.rejects(
      ask(sandbox, { host: 'acme.okta.com', path: '/nothing' }).then((response) => read(response)),
    )
  })

  test(title('reset gives no answer'), async () => {
    const { sandbox, okta } = await strike({ kind: 'reset' })
    await assert.rejects(ask(sandbox, oktaAsked), { code: 'ECONNRESET' })
    assert.equal(okta.asked.length, 0)
    assert.partialDeepStrictEqual(sandbox.requests(), [{ path: '/api/v1/users', status: 0 }])
  })

  test(title('hang never answers, and closing the sandbox ends it'), async () => {
    const { sandbox } = await strike({ kind: 'hang' })
    const hanging = ask(sandbox, oktaAsked)
    hanging.catch(() => undefined)
    while (sandbox.requests().length === 0) await new Promise((resolve) => setImmediate(resolve))
    await sandbox.close()
    await assert.rejects(hanging, { code: 'ECONNRESET' })
  })

  test(title('drip sends the whole answer a byte at a time'), async () => {
    const { sandbox } = await strike({ kind: 'drip', ms: 0 })
    const response = await ask(sandbox, oktaAsked)
    assert.deepEqual(JSON.parse((await read(response)).body), document)
    sandbox.setFaults([{ kind: 'drip', ms: 60_000 }])
    const slow = await ask(sandbox, oktaAsked)
    assert.equal(slow.statusCode, 200)
    slow.destroy()
  })

  test(title('endless goes on until the client leaves'), async () => {
    const { sandbox } = await strike({ kind: 'endless', times: 1 })
    const response = await ask(sandbox, oktaAsked)
    let length = 0
    for await (const chunk of response) {
      length += chunk.length
      if (length > 20 * 1024 * 1024) break
    }
    assert.ok(length > 20 * 1024 * 1024)
    assert.equal((await answerOf(sandbox, oktaAsked)).status, 200)
  })

  test(title('gzip_bomb is valid gzip of zeros without end in sight'), async () => {
    const { sandbox } = await strike({ kind: 'gzip_bomb' })
    const response = await ask(sandbox, oktaAsked)
    assert.equal(response.headers['content-encoding'], 'gzip')
    const gunzip = response.pipe(createGunzip())
    let length = 0
    for await (const chunk of gunzip) {
      length += chunk.length
      if (length > 16 * 1024 * 1024) break
    }
    response.destroy()
  })

  test(
    title('latency delays the answer, further faults still strike, and closing ends the wait'),
    async () => {
      const { sandbox } = await strike({ kind: 'latency', ms: 1 })
      assert.equal((await answerOf(sandbox, oktaAsked)).status, 200)
      sandbox.setFaults([{ kind: 'latency', ms: 1 }, { kind: 'throttled' }])
      assert.equal((await answerOf(sandbox, oktaAsked)).status, 429)
      sandbox.setFaults([{ kind: 'latency', ms: 600_000 }])
      sandbox.forgetRequests()
      const waiting = ask(sandbox, oktaAsked)
      waiting.catch(() => undefined)
      while (sandbox.requests().length === 0) await new Promise((resolve) => setImmediate(resolve))
      await sandbox.close()
      await assert.rejects(waiting)
    },
  )
}

test('the whole bomb is 10 GB, under 11 MB on the wire, and its checksum is right', async () => {
  let wire = 0
  for (const piece of gzipBomb()) wire += piece.length
  assert.ok(wire < 11_000_000)
  assert.equal(bombBytes, 10 * 1024 ** 3)
  let expanded = 0
  const gunzip = createGunzip()
  for (const piece of gzipBomb(16 * 1024 * 1024)) gunzip.write(piece)
  gunzip.end()
  for await (const chunk of gunzip) expanded += chunk.length
  assert.equal(expanded, 16 * 1024 * 1024)
})

test('faults that only the provider can play are handed to it together with latency', async () => {
  const { sandbox, okta } = await start()
  sandbox.setFaults([
    { kind: 'repeated_next_link' },
    { kind: 'empty_middle_page' },
    { kind: 'latency', ms: 1 },
  ])
  await answerOf(sandbox, oktaAsked)
  assert.deepEqual(okta.asked[0]?.faults, new Set(['repeated_next_link', 'empty_middle_page']))
})

test('a fault strikes only the provider, method and path that it names, and only as often as it says', async () => {
  const { sandbox } = await start()
  const down: Fault = { kind: 'status', status: 500 }
  const statusOf = async (asked: Asked) => (await answerOf(sandbox, asked)).status
  sandbox.setFaults([{ ...down, provider: 'google' }])
  assert.equal(await statusOf(oktaAsked), 200)
  assert.equal(await statusOf({ host: 'admin.googleapis.com' }), 500)
  sandbox.setFaults([{ ...down, method: 'POST' }])
  assert.equal(await statusOf(oktaAsked), 200)
  assert.equal(await statusOf({ ...oktaAsked, method: 'POST' }), 500)
  sandbox.setFaults([{ ...down, path: '^/api/v1/users$' }])
  assert.equal(await statusOf({ host: 'acme.okta.com', path: '/api/v1/groups' }), 200)
  assert.equal(await statusOf(oktaAsked), 500)
  sandbox.setFaults([
    { ...down, times: 2 },
    { kind: 'throttled', times: 1 },
  ])
  const statuses: number[] = []
  for (let count = 0; count < 4; count += 1) statuses.push(await statusOf(oktaAsked))
  assert.deepEqual(statuses, [500, 500, 429, 200])
})

test('a fault that cannot be played is refused when it is set', async () => {
  const { sandbox } = await start()
  const wrong: readonly Fault[] = [
    { kind: 'status', status: 101 },
    { kind: 'status', headers: { 'a b': 'c' } },
    { kind: 'status', headers: { a: 'b\r\nc: d' } },
    { kind: 'hang', path: '(' },
    { kind: 'hang', times: 0 },
    { kind: 'latency', ms: -1 },
    { kind: 'redirect' },
  ]
  for (const fault of wrong) assert.throws(() => sandbox.setFaults([fault]), JSON.stringify(fault))
})

test('a defect of a provider is answered 500 and told as a warning', async () => {
  const { provider } = echo('okta', 'acme.okta.com')
  const handle = () => Promise.reject(new Error('an example of a defect'))
  const sandbox = await startSandbox({ providers: [{ ...provider, handle }], tls: false })
  running.push(sandbox)
  const warned = once(process, 'warning')
  assert.equal((await answerOf(sandbox, oktaAsked)).status, 500)
  assert.match(String((await warned)[0]), /an example of a defect/)
})

test('a client that sends garbage or goes away in the middle of a request disturbs nobody', async () => {
  const { sandbox } = await start({ tls: false })
  const port = Number(new URL(sandbox.endpoints['acme.okta.com'] ?? '').port)
  const end = (text: string) =>
    new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text, () => socket.destroy()))
      socket.once('close', () => resolve())
    })
  await end('\0\0\0garbage\r\n\r\n')
  await end('POST / HTTP/1.1\r\nHost: acme.okta.com\r\nContent-Length: 100\r\n\r\nabc')
  assert.equal((await answerOf(sandbox, oktaAsked)).status, 200)
})
