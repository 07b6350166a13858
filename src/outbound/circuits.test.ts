import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { type CircuitNews, type CircuitOwner, createCircuits, type Guarded } from './circuits.ts'
import type { HttpClient } from './http.ts'
import { createOutbound } from './outbound.ts'
import { SourceError } from './source-error.ts'

type Mood = 'answers' | 'hangs' | 'resets' | 'answers 503' | 'answers 429' | 'answers 403' | 'answers a page'

let mood: Mood = 'answers'
let asked = 0
/** Answers that are held back until the test lets them go. */
let held: (() => void)[] = []
let server: Server
let origin: URL

before(async () => {
  server = createServer((_request, response) => {
    asked += 1
    switch (mood) {
      case 'answers':
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
        return
      case 'hangs':
        held.push(() => response.writeHead(200).end('{}'))
        return
      case 'resets':
        response.socket?.resetAndDestroy()
        return
      case 'answers a page':
        response.writeHead(200).end('<html>')
        return
      default:
        response.writeHead(Number(mood.split(' ')[1])).end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
after(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  mood = 'answers'
  asked = 0
  held = []
})

const owner: CircuitOwner = { organizationId: 'one', source: 'okta', account: 'acme.okta.com' }

/** Two hosts, one stand-in for both, real sockets, and a clock that the test moves. */
function createWorld({ failures = 3, coolDownMs = 30_000, requestMs = 150 } = {}) {
  let atMs = 0
  const opened: CircuitNews[] = []
  const closed: CircuitNews[] = []
  const circuits = createCircuits({
    failures,
    coolDownMs,
    monotonicMs: () => atMs,
    onOpen: (news) => opened.push(news),
    onClose: (news) => closed.push(news),
  })
  const hosts = ['acme.okta.com', 'other.okta.com']
  const outbound = createOutbound({
    endpoints: new Map(hosts.map((host) => [host, origin])),
    limits: { requestMs },
  })
  const rules = hosts.map((host) => ({ host, chosenBy: 'provider' as const }))
  const client = (more: Partial<Guarded> = {}): HttpClient =>
    circuits.guarding(outbound.open(rules, new AbortController().signal, 0), {
      owner,
      isThrottled: () => false,
      ...more,
    })
  return {
    opened,
    closed,
    client,
    pass(ms: number) {
      atMs += ms
    },
  }
}

const ask = (http: HttpClient, host = 'acme.okta.com') =>
  http.request({ operation: 'read users', method: 'GET', url: `https://${host}/api/v1/users` })
const failureOf = (http: HttpClient, host?: string): Promise<SourceError> =>
  ask(http, host).then(
    ({ status }) => assert.fail(`answered ${status}`),
    (error: unknown) => (error instanceof SourceError ? error : Promise.reject(error)),
  )
async function failTimes(http: HttpClient, times: number) {
  for (let time = 0; time < times; time += 1) await ask(http).catch(() => undefined)
}

for (const [sick, reason] of [
  ['hangs', 'it did not answer in time'],
  ['resets', 'no connection could be made, or it broke'],
  ['answers 503', 'it answered 503'],
] as const)
  test(`asks nothing of a host that ${sick} time after time, and says why and for how long`, async () => {
    const { client, opened } = createWorld()
    const http = client()
    mood = sick
    await failTimes(http, 3)
    assert.equal(asked, 3)
    assert.deepEqual(opened, [{ ...owner, host: 'acme.okta.com', failures: 3, reason }])
    const begun = performance.now()
    const { code, retryAfterSeconds, hints } = await failureOf(http)
    assert.equal(code, 'circuit_open')
    assert.equal(retryAfterSeconds, 30)
    assert.equal(hints.circuit, reason)
    assert.ok(performance.now() - begun < 100)
    assert.equal(asked, 3)
  })

for (const answer of ['answers 429', 'answers 403', 'answers a page'] as const)
  test(`takes a host that ${answer} for one that is there, however often`, async () => {
    const { client, opened } = createWorld()
    const http = client()
    mood = answer
    await failTimes(http, 10)
    assert.equal(asked, 10)
    assert.deepEqual(opened, [])
  })

test('takes a 503 that the source knows for a rate limit for no failure', async () => {
  const { client, opened } = createWorld()
  mood = 'answers 503'
  await failTimes(client({ isThrottled: (_request, { status }) => status === 503 }), 10)
  assert.deepEqual(opened, [])
})

test('counts failures in a row: an answer between them begins anew', async () => {
  const { client, opened } = createWorld()
  const http = client()
  for (let round = 0; round < 4; round += 1) {
    mood = 'answers 503'
    await failTimes(http, 2)
    mood = 'answers'
    await ask(http)
  }
  assert.deepEqual(opened, [])
})

test('lets one request try after the cool-down, and goes on once that is answered', async () => {
  const { client, closed, pass } = createWorld({ requestMs: 5_000 })
  const http = client()
  mood = 'answers 503'
  await failTimes(http, 3)
  pass(30_000)
  mood = 'hangs'
  const trial = ask(http)
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  // Whoever comes meanwhile waits for what the trial comes to.
  assert.equal((await failureOf(http)).code, 'circuit_open')
  assert.equal(asked, 4)
  mood = 'answers'
  for (const letGo of held) letGo()
  assert.equal((await trial).status, 200)
  assert.equal(closed.length, 1)
  assert.equal((await ask(http)).status, 200)
})

test('is open for as long again when the trial fails', async () => {
  const { client, opened, pass } = createWorld()
  const http = client()
  mood = 'answers 503'
  await failTimes(http, 3)
  pass(29_999)
  assert.equal((await failureOf(http)).code, 'circuit_open')
  pass(1)
  assert.equal((await ask(http)).status, 503)
  assert.equal((await failureOf(http)).retryAfterSeconds, 30)
  assert.equal(asked, 4)
  assert.deepEqual(
    opened.map(({ failures }) => failures),
    [3, 4],
  )
})

test('has another request try where the trial was given up by ourselves', async () => {
  const { client, pass } = createWorld()
  mood = 'answers 503'
  await failTimes(client(), 3)
  pass(30_000)
  mood = 'hangs'
  await failTimes(client({ signal: AbortSignal.abort() }), 1)
  mood = 'answers'
  assert.equal((await ask(client())).status, 200)
})

test('is nobody else’s: neither another organisation, account nor host is spared', async () => {
  const { client } = createWorld()
  mood = 'answers 503'
  await failTimes(client(), 3)
  assert.equal((await failureOf(client())).code, 'circuit_open')
  for (const other of [
    { ...owner, organizationId: 'two' },
    { ...owner, account: 'other.okta.com' },
    { ...owner, source: 'entra-id' },
  ])
    assert.equal((await ask(client({ owner: other }))).status, 503)
  assert.equal((await ask(client(), 'other.okta.com')).status, 503)
})

test('requests that fail together open it once', async () => {
  const { client, opened } = createWorld()
  const http = client()
  mood = 'hangs'
  await Promise.all(Array.from({ length: 8 }, () => ask(http).catch(() => undefined)))
  assert.equal(asked, 8)
  assert.equal(opened.length, 1)
})
