/** Datadog's client meets limits: the headers it reads, the typed 429, and its own retries. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { datadogClient, refusalOf, validate } from './datadog-client.ts'
import { type ConformanceServer, type KeyPair, startConformanceServer } from './server.ts'

let server: ConformanceServer<'counted' | 'hasty' | 'patient' | 'unlucky' | 'throttled' | 'guessing'>
before(async () => {
  server = await startConformanceServer({
    keyPairs: {
      counted: ['integrations_read'],
      hasty: ['integrations_read'],
      patient: ['integrations_read'],
      unlucky: ['integrations_read'],
      throttled: ['integrations_read'],
      guessing: ['integrations_read'],
    },
    limits: { validationsPerCaller: 3, unprovenAttempts: 2 },
  })
})
after(() => server.close())
// So that no minute ends while a test counts.
beforeEach(() => server.setSecond(0))
afterEach(() => server.setFaults([]))

const validateOkta = (client: ReturnType<typeof datadogClient>, apiToken?: string) => {
  const { okta } = server.organisation
  return validate(client, {
    domain: okta.domain,
    integrationType: 'OKTA',
    secrets: { apiToken: apiToken ?? okta.apiToken },
  })
}
const clientOf = (keys: KeyPair, retries = 0, fetch?: typeof globalThis.fetch) =>
  datadogClient({ origin: server.origin, keys, retries, ...(fetch && { fetch }) })

const limitHeaders = [
  'x-ratelimit-limit',
  'x-ratelimit-period',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
] as const

test('every answer tells how the limit stands, in whole numbers', async () => {
  const client = clientOf(server.keyPairs.counted)
  await validateOkta(client)
  await refusalOf(validateOkta(client, 'too short'))
  const standings = client.seen.map(({ status, headers }) => {
    for (const name of limitHeaders) assert.match(headers[name] ?? '', /^\d+$/, name)
    assert.equal(headers['x-ratelimit-name'], 'validations')
    const [limit, period, remaining, reset] = limitHeaders.map((name) => Number(headers[name]))
    assert.ok(reset !== undefined && period !== undefined && reset >= 1 && reset <= period)
    return { status, limit, period, remaining }
  })
  assert.deepEqual(standings, [
    { status: 200, limit: 3, period: 60, remaining: 2 },
    { status: 400, limit: 3, period: 60, remaining: 1 },
  ])
})

test('the names of the headers are in lower case on the wire', async () => {
  const { apiKey, applicationKey } = server.keyPairs.counted
  const names = await rawHeaderNames(`${server.origin}/api/v2/validate_keys`, {
    'dd-api-key': apiKey,
    'dd-application-key': applicationKey,
  })
  const ofLimits = names.filter((name) => /ratelimit/i.test(name))
  assert.deepEqual(ofLimits.sort(), [...limitHeaders, 'x-ratelimit-name'].sort())
})

test('a client that does not retry is told by a typed 429', async () => {
  const client = clientOf(server.keyPairs.hasty)
  for (let count = 0; count < 3; count++) await validateOkta(client)
  const { code, errors } = await refusalOf(validateOkta(client))
  assert.equal(code, 429)
  assert.deepEqual(errors, ['Too many requests'])
  const headers = client.seen.at(-1)?.headers ?? {}
  assert.equal(headers['x-ratelimit-remaining'], '0')
  assert.equal(headers['retry-after'], headers['x-ratelimit-reset'])
})

describe('a client that retries', () => {
  test('waits until the limit is reset, and then succeeds', async () => {
    // The client waits in real time.
    await server.setSecond(50)
    const attempts: number[] = []
    const client = clientOf(server.keyPairs.patient, 1, async (input, init) => {
      const answer = await fetch(input, init)
      attempts.push(answer.status)
      return answer
    })
    for (let count = 0; count < 4; count++) await validateOkta(client)
    assert.deepEqual(attempts, [200, 200, 200, 429, 200])
  })

  test('asks again after a 503, and then succeeds', async () => {
    server.setFaults([
      {
        provider: 'okta',
        kind: 'status',
        status: 503,
        headers: { 'retry-after': '2' },
        body: {},
        path: '/api/v1/groups',
      },
    ])
    const attempts: number[] = []
    const client = clientOf(server.keyPairs.unlucky, 1, async (input, init) => {
      const answer = await fetch(input, init)
      attempts.push(answer.status)
      server.setFaults([])
      return answer
    })
    await validateOkta(client)
    assert.deepEqual(attempts, [503, 200])
  })

  test("waits as long as the provider's own limit asks, and then succeeds", async () => {
    server.setFaults([
      {
        provider: 'okta',
        kind: 'status',
        status: 429,
        headers: { 'retry-after': '2' },
        body: { errorCode: 'E0000047', errorSummary: 'API call exceeded rate limit' },
      },
    ])
    const attempts: number[] = []
    const client = clientOf(server.keyPairs.throttled, 1, async (input, init) => {
      const answer = await fetch(input, init)
      attempts.push(answer.status)
      server.setFaults([])
      return answer
    })
    await validateOkta(client)
    assert.deepEqual(attempts, [429, 200])
  })
})

test('guessing is slowed down by a typed 429, while valid credentials still pass', async () => {
  const client = clientOf(server.keyPairs.guessing)
  const guess = (number: number) => `00${String(number).repeat(40)}`
  assert.equal((await refusalOf(validateOkta(client, guess(1)))).code, 400)
  assert.equal((await refusalOf(validateOkta(client, guess(2)))).code, 400)
  const { code, errors } = await refusalOf(validateOkta(client, guess(3)))
  assert.equal(code, 429)
  assert.deepEqual(errors, ['Too many requests'])
  assert.equal(client.seen.at(-1)?.headers['x-ratelimit-name'], 'unproven_attempts')
})

/** As they came over the wire, which every client library of HTTP hides. */
async function rawHeaderNames(url: string, headers: Record<string, string>): Promise<string[]> {
  const [request] = await once(get(url, { headers, agent: false }), 'response')
  request.resume()
  return request.rawHeaders.filter((_: string, index: number) => index % 2 === 0)
}
