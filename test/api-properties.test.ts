/** Generated requests: from the schema, from its negation, and from neither. Never a 5xx of our own, always the error form. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { errorSchema } from '../src/api/errors.ts'
import { type Api, headersOf, startApi, validatePath } from './api-server.ts'
import { createWorld, directoryOf } from './sync-world.ts'
import { answering, createWorlds } from './sync-worlds.ts'

/** Requests at a time: enough to be quick, few enough to be told apart. */
const sideBySide = 50

const small = createWorld(directoryOf({ users: 1, groups: 1 }))

const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 6 }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom<unknown>('', '__proto__', 0, -0, 1e308, Number.MAX_SAFE_INTEGER + 2, [], {}, null),
)

const secrets = fc.oneof(
  fc.dictionary(fc.constantFrom('api_token', 'admin', 'constructor', 'toString', 'x'), anything),
  fc.record({ api_token: fc.constantFrom('valid', 'wrong', 'limited', 'down', '', '\u0000') }),
  anything,
)

const attributes = fc.oneof(
  fc.record(
    {
      domain: fc.oneof(
        fc.constant('acme.example'),
        fc.domain(),
        fc.webUrl(),
        fc.ipV6(),
        fc.string({ unit: 'binary' }),
        anything,
      ),
      integration_type: fc.oneof(
        { weight: 4, arbitrary: fc.constant('ACME') },
        fc.constant('OKTA'),
        anything,
      ),
      secrets,
      name: anything,
    },
    { requiredKeys: [] },
  ),
  anything,
)

const body = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ data: fc.record({ type: fc.constant('integration_config'), attributes }) }),
  },
  fc.record({ data: fc.oneof(fc.record({ type: anything, attributes }, { requiredKeys: [] }), anything) }),
  anything,
)

/** Well-formed JSON most of the time; cut, doubled or salted otherwise. */
const bytes = fc.oneof(
  { weight: 6, arbitrary: body.map((value) => Buffer.from(JSON.stringify(value) ?? '')) },
  fc.tuple(body, fc.nat(), fc.uint8Array({ maxLength: 8 })).map(([value, at, salt]) => {
    const text = Buffer.from(JSON.stringify(value) ?? '')
    const cut = text.length === 0 ? 0 : at % text.length
    return Buffer.concat([text.subarray(0, cut), salt, text.subarray(cut)])
  }),
  fc.uint8Array({ maxLength: 64 }).map((raw) => Buffer.from(raw)),
)

async function assertSound(api: Api, payload: Buffer, query: string): Promise<void> {
  const answer = await api.call({
    method: 'POST',
    path: validatePath + query,
    headers: headersOf(api),
    body: payload,
  })
  const isProviders = answer.status === 503 && answer.text.includes('Acme is not available')
  assert.ok([200, 400, 429].includes(answer.status) || isProviders, `${answer.status} ${answer.text}`)
  assert.equal(answer.headers['content-type'], 'application/json')
  if (answer.status !== 200) errorSchema.parse(answer.json())
}

test('ten thousand generated bodies are each answered soundly', async (t) => {
  const api = await startApi(t)
  const query = fc.constantFrom(
    '',
    '?include=report',
    '?include[]=x',
    '?include=report&include=',
    '?a=%00&__proto__=1',
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(bytes, query), { minLength: sideBySide, maxLength: sideBySide }),
      async (calls) => {
        await Promise.all(calls.map(([payload, with_]) => assertSound(api, payload, with_)))
      },
    ),
    { numRuns: 10_000 / sideBySide, endOnFailure: true },
  )
  assert.ok(!api.log().includes('internal error'))
})

test('generated addresses, methods and headers are each answered in the error form', async (t) => {
  const api = await startApi(t)
  const segment = fc.oneof(
    fc.constantFrom(
      'api',
      'v1',
      'v2',
      'validate',
      'validate_keys',
      '..',
      '.',
      '',
      '%2e',
      '%2F',
      '%zz',
      '%00',
      ';',
      '*',
    ),
    fc.webSegment(),
  )
  const path = fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join('/')}`)
  const value = fc.string({ unit: fc.constantFrom(...'abc09-_. ;,="/*'), maxLength: 20 })
  const headers = fc.dictionary(
    fc.constantFrom(
      'dd-api-key',
      'dd-application-key',
      'authorization',
      'accept',
      'origin',
      'content-type',
      'content-encoding',
      'x-request-id',
      'cookie',
      'range',
      'if-none-match',
    ),
    value.map((text) => text.trim()),
  )
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(method, path, headers), { minLength: sideBySide, maxLength: sideBySide }),
      async (calls) => {
        await Promise.all(
          calls.map(async ([method, path, headers]) => {
            const answer = await api.call({ method, path, headers })
            if (answer.status < 400) {
              // The client has resolved dots in the address.
              assert.match(
                new URL(path, api.url).pathname,
                /^\/(docs.*|openapi\.json|healthz|readyz|metrics)?$/,
              )
              return
            }
            assert.ok(answer.status < 500, `${method} ${path}: ${answer.status}`)
            if (method === 'HEAD') return
            assert.equal(answer.headers['content-type'], 'application/json')
            assert.ok(Array.isArray((answer.json() as { errors: unknown[] }).errors))
          }),
        )
      },
    ),
    { numRuns: 100, endOnFailure: true },
  )
})

test('ten thousand generated requests about syncs are each answered soundly', async (t) => {
  const worlds = createWorlds()
  const api = await startApi(t, {
    sources: [worlds.source],
    outbound: answering,
    permissions: ['admin'],
  })
  const made = await api.call({
    method: 'POST',
    path: '/api/v2/security_monitoring/configuration/integration_config',
    headers: headersOf(api),
    body: JSON.stringify({
      data: {
        type: 'integration_config',
        attributes: { domain: worlds.add(small), integration_type: 'ACME', name: 'Acme', secrets: {} },
      },
    }),
  })
  const { id } = (made.json() as { data: { id: string } }).data
  const syncs = `/api/v2/credence/sync/${id}`
  const asked = await api.call({ method: 'POST', path: `${syncs}/runs`, headers: headersOf(api), body: '{}' })
  const run = (asked.json() as { data: { id: string } }).data.id

  const someId = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(id, run) },
    fc.uuid(),
    fc.webSegment().filter((segment) => segment !== '' && segment !== '.' && segment !== '..'),
    fc.constantFrom('%00', '%ff', '%F0%9F%98%80', '00000000-0000-0000-0000-000000000000', 'null'),
  )
  const rest = fc.oneof(
    fc.constantFrom('', '/plan', '/runs', '/pause', '/resume'),
    fc
      .tuple(someId, fc.constantFrom('', '/cancel', '/approve', '/reject', '/removals'))
      .map(([runId, step]) => `/runs/${runId}${step}`),
  )
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
    fc.constantFrom(
      '1',
      '1000',
      '0',
      '-1',
      '1e9',
      '%00',
      '',
      'cnVuIA',
      Buffer.from(`run ${run}`).toString('base64url'),
    ),
    fc.constant(Buffer.from(`removal 1 ${id}`).toString('base64url')),
  )
  const query = fc
    .array(fc.tuple(fc.constantFrom('limit', 'page_token', 'page_token[]', '__proto__', 'x'), value), {
      maxLength: 3,
    })
    .map((pairs) => (pairs.length === 0 ? '' : `?${pairs.map((pair) => pair.join('=')).join('&')}`))
  const wish = fc.oneof(
    fc.record(
      {
        mode: fc.oneof(fc.constantFrom<unknown>('full', 'incremental'), anything),
        dry_run: fc.oneof(fc.boolean(), anything),
      },
      { requiredKeys: [] },
    ),
    anything,
  )
  const payload = fc.oneof(
    { weight: 4, arbitrary: wish.map((attributes) => ({ data: { type: 'sync_run', attributes } })) },
    { weight: 1, arbitrary: body },
  )
  const call = fc.record({
    method: fc.constantFrom('GET', 'POST', 'POST', 'DELETE'),
    path: fc
      .tuple(fc.oneof({ weight: 6, arbitrary: fc.constant(id) }, someId), rest, query)
      .map(([configId, below, asks]) => `/api/v2/credence/sync/${configId}${below}${asks}`),
    body: fc.option(
      fc.oneof(
        { weight: 4, arbitrary: payload.map((document) => JSON.stringify(document) ?? '') },
        fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.toWellFormed()),
      ),
      { nil: undefined },
    ),
    accept: fc.constantFrom('application/json', '*/*', 'text/plain'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: sideBySide, maxLength: sideBySide }), async (calls) => {
      await Promise.all(
        calls.map(async ({ method, path, accept, body: text }) => {
          const answer = await api.call({
            method,
            path,
            headers: { ...headersOf(api), accept },
            ...(text !== undefined && method !== 'GET' && { body: text }),
          })
          const shown = `${method} ${path}: ${answer.status} ${answer.text}`
          assert.ok([200, 400, 404, 405].includes(answer.status), shown)
          assert.equal(answer.headers['content-type'], 'application/json', shown)
          if (answer.status !== 200) errorSchema.parse(answer.json())
        }),
      )
    }),
    { numRuns: 10_000 / sideBySide, endOnFailure: true },
  )
  assert.ok(!api.log().includes('internal error'))
})
