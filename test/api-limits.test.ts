/** Rate limits and the guard against guessing, as clients meet them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AnySource } from '../src/sources/registry.ts'
import { createKey } from '../src/store/keys.ts'
import { createAcme } from './acme-source.ts'
import { type Answer, headersOf, startApi, validatePath } from './api-server.ts'

const attributes = (api_token: string, more: object = {}) => ({
  domain: 'acme.example',
  integration_type: 'ACME',
  secrets: { api_token },
  ...more,
})

/** Seconds until the next full minute, as a server asked between `before` and now may have seen them. */
function assertStanding({ headers }: Answer, name: string, limit: number, remaining: number): void {
  assert.equal(headers['x-ratelimit-name'], name)
  assert.equal(headers['x-ratelimit-limit'], String(limit))
  assert.equal(headers['x-ratelimit-period'], '60')
  assert.equal(headers['x-ratelimit-remaining'], String(remaining))
  assert.match(String(headers['x-ratelimit-reset']), /^([1-9]|[1-5]\d|60)$/)
}

function assertTooMany(answer: Answer, name: string, limit: number): void {
  assert.equal(answer.status, 429)
  assert.deepEqual(answer.json(), { errors: ['Too many requests'] })
  assertStanding(answer, name, limit, 0)
  assert.equal(answer.headers['retry-after'], answer.headers['x-ratelimit-reset'])
}

/** Waits for the middle of a minute if a window could end while a test counts. */
async function insideAWindow(work: () => Promise<void>): Promise<void> {
  const minuteOf = () => Math.floor(Date.now() / 60_000)
  for (;;) {
    const minute = minuteOf()
    try {
      await work()
      return
    } catch (error) {
      if (minuteOf() === minute) throw error
    }
  }
}

test('every authenticated answer tells how the limit stands, errors too', async (t) => {
  await insideAWindow(async () => {
    const api = await startApi(t, { config: { limits: { validationsPerCaller: 9, requestsPerCaller: 6 } } })
    const headers = headersOf(api)
    assertStanding(await api.validate(attributes('valid')), 'validations', 9, 8)
    assertStanding(await api.validate(attributes('wrong')), 'validations', 9, 7)
    assertStanding(
      await api.call({ method: 'POST', path: validatePath, headers, body: '{' }),
      'validations',
      9,
      6,
    )
    assertStanding(
      await api.call({
        method: 'POST',
        path: validatePath,
        headers: { ...headers, 'content-type': 'text/plain' },
        body: 'x',
      }),
      'validations',
      9,
      5,
    )
    assertStanding(
      await api.validate(attributes('valid'), { headers: { accept: 'text/event-stream' } }),
      'validations',
      9,
      4,
    )
    assertStanding(await api.call({ path: '/api/v1/validate', headers }), 'requests', 6, 5)
    assertStanding(await api.call({ path: '/api/v2/validate', headers }), 'requests', 6, 4)
    assertStanding(await api.call({ path: '/api/v2/validate_keys', headers }), 'requests', 6, 3)
    assertStanding(await api.call({ path: '/nope', headers }), 'requests', 6, 2)
    assertStanding(await api.call({ path: validatePath, headers }), 'requests', 6, 1)
    const names = (
      await api.raw(
        `GET /api/v1/validate HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ndd-api-key: ${api.keys.api_key}\r\n\r\n`,
      )
    ).match(/^x-ratelimit-\w+(?=: )/gim)
    assert.deepEqual(
      names?.sort(),
      ['limit', 'name', 'period', 'remaining', 'reset'].map((name) => `x-ratelimit-${name}`),
    )
  })
})

test('beyond its limit a key pair is answered 429, and no other pair is', async (t) => {
  await insideAWindow(async () => {
    const api = await startApi(t, { config: { limits: { validationsPerCaller: 2, requestsPerCaller: 1 } } })
    const other = await createKey({ database: api.database, permissions: ['integrations_read'] })
    for (let again = 0; again < 2; again += 1)
      assert.equal((await api.validate(attributes('valid'))).status, 200)
    for (let again = 0; again < 3; again += 1)
      assertTooMany(await api.validate(attributes('valid')), 'validations', 2)
    const headers = headersOf(api)
    assert.equal((await api.call({ path: '/api/v1/validate', headers })).status, 200)
    assertTooMany(await api.call({ path: '/api/v2/validate', headers }), 'requests', 1)
    for (const spoof of ['x-forwarded-for', 'x-real-ip', 'forwarded', 'x-request-id'])
      assertTooMany(
        await api.validate(attributes('valid'), { headers: { [spoof]: 'somebody-else' } }),
        'validations',
        2,
      )
    const otherKeys = { 'dd-api-key': other.api_key, 'dd-application-key': other.application_key }
    assert.equal((await api.validate(attributes('valid'), { headers: otherKeys })).status, 200)
  })
})

test('a target is limited for the whole organisation, however its domain is spelt', async (t) => {
  await insideAWindow(async () => {
    const api = await startApi(t, { config: { limits: { validationsPerTarget: 2 } } })
    assert.equal((await api.validate(attributes('valid'))).status, 200)
    assert.equal((await api.validate(attributes('valid', { domain: 'ACME.example' }))).status, 400)
    assertTooMany(await api.validate(attributes('valid')), 'validations_per_target', 2)
    assertTooMany(
      await api.validate(attributes('valid'), { headers: { accept: 'text/event-stream' } }),
      'validations_per_target',
      2,
    )
    assert.equal((await api.validate(attributes('valid', { domain: 'other.example' }))).status, 200)
  })
})

test('a thousand wrong secrets from one key reach the provider ten times', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound, config: { limits: { unprovenAttempts: 10 } } })
  const guesses = Array.from({ length: 1_000 }, (_, guess) => api.validate(attributes(`guess ${guess}`)))
  const answers = await Promise.all(guesses)
  assert.equal(acme.reached.length, 10)
  assert.equal(answers.filter(({ status }) => status === 400).length, 10)
  const [refused] = answers.filter(({ status }) => status === 429)
  assert.ok(refused)
  assertTooMany(refused, 'unproven_attempts', 10)
  // The right secret is refused like any other now: being refused tells nothing about it.
  assertTooMany(await api.validate(attributes('valid')), 'unproven_attempts', 10)
  assert.equal((await api.validate(attributes('valid', { domain: 'other.example' }))).status, 200)
  assert.match(
    (await api.call({ path: '/metrics' })).text,
    /credence_refused_trials_total\{source="acme"\} 991/,
  )
})

test('guesses that were refused use up nothing that good credentials need', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, {
    outbound: acme.outbound,
    config: { limits: { unprovenAttempts: 2, validationsPerTarget: 5 } },
  })
  assert.equal((await api.validate(attributes('valid'))).status, 200)
  for (let guess = 0; guess < 20; guess += 1) await api.validate(attributes(`guess ${guess}`))
  assert.equal((await api.validate(attributes('valid'))).status, 200)
})

test('a place and an attempt come back where the target had too many validations', async (t) => {
  await insideAWindow(async () => {
    const api = await startApi(t, {
      config: { limits: { unprovenAttempts: 2, validationsPerTarget: 1 }, validationsAtOnce: 2 },
    })
    assert.equal((await api.validate(attributes('valid'))).status, 200)
    for (let again = 0; again < 5; again += 1)
      assertTooMany(await api.validate(attributes('wrong')), 'validations_per_target', 1)
  })
})

test('guesses at one principal are counted together, whatever domain and spelling come with it', async (t) => {
  const acme = createAcme()
  let spelt = 0
  const source: AnySource = {
    ...acme.source,
    // As of providers whose host is the same for every customer.
    egress: () => [{ host: 'acme.example', chosenBy: 'provider' }],
    principalOf: () => (spelt++ % 2 === 0 ? 'robot' : 'ROBOT'),
  }
  const api = await startApi(t, {
    outbound: acme.outbound,
    sources: [source],
    config: { limits: { unprovenAttempts: 10 } },
  })
  const statuses = []
  for (let guess = 0; guess < 30; guess += 1)
    statuses.push((await api.validate(attributes('wrong', { domain: `d${guess}.example` }))).status)
  assert.equal(statuses.filter((status) => status !== 429).length, 10)
})

test('two hundred validations of good credentials at once are all answered 200', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound, config: { limits: { unprovenAttempts: 10 } } })
  const answers = await Promise.all(Array.from({ length: 200 }, () => api.validate(attributes('valid'))))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(acme.reached.length, 200)
})

test('a provider that hangs holds its own places: further validations are refused at once, others go on', async (t) => {
  const acme = createAcme()
  const other = { ...acme.source, name: 'other', integrationType: 'OTHER' }
  const api = await startApi(t, {
    outbound: acme.outbound,
    sources: [acme.source, other],
    config: { validationsAtOnce: 2 },
  })
  const hanging = api.validate(attributes('hang'))
  while (acme.reached.length === 0) await new Promise(setImmediate)
  const refused = await api.validate(attributes('valid'))
  assert.equal(refused.status, 503)
  assert.match(refused.text, /under way/)
  assert.equal(refused.headers['retry-after'], '2')
  assert.equal((await api.validate(attributes('valid', { integration_type: 'OTHER' }))).status, 200)
  acme.release()
  assert.equal((await hanging).status, 200)
  assert.equal((await api.validate(attributes('valid'))).status, 200)
  assert.equal((await api.validate(attributes('wrong'))).status, 400)
  assert.equal((await api.validate(attributes('wrong'))).status, 400)
})
