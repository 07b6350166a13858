import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { type RunningSandbox, startSandbox } from './index.ts'
import { createLivingDirectory } from './living-directory.ts'

let sandbox: RunningSandbox
before(async () => {
  sandbox = await startSandbox({
    tls: false,
    providers: [
      {
        name: 'okta',
        directory: createLivingDirectory({ domain: 'acme.com', users: 9, groups: 3, seed: 'control' }),
        hosts: ['acme.okta.com'],
        handle: async () => ({ status: 200, body: [] }),
        throttled: () => ({ status: 429 }),
        unavailable: () => ({ status: 503 }),
        examples: () => ({ valid: { domain: 'acme.okta.com', integration_type: 'OKTA' }, invalid: [] }),
      },
    ],
  })
})
beforeEach(() => {
  sandbox.setFaults([])
  sandbox.forgetRequests()
})
after(() => sandbox.close())

interface Reply {
  readonly status: number
  readonly body: unknown
  readonly allow?: string
}

function control(
  method: string,
  path: string,
  body?: string | object,
  headers: Readonly<Record<string, string>> = {},
): Promise<Reply> {
  const { port, host } = new URL(sandbox.control)
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        agent: false,
        headers: { host, 'content-type': 'application/json', ...headers },
      },
      async (response) => {
        let text = ''
        for await (const chunk of response.setEncoding('utf8')) text += chunk
        resolve({
          status: response.statusCode ?? 0,
          body: text === '' ? undefined : JSON.parse(text),
          ...(response.headers.allow !== undefined && { allow: response.headers.allow }),
        })
      },
    )
    request.once('error', reject)
    request.end(typeof body === 'object' ? JSON.stringify(body) : body)
  })
}

const statusOfProvider = async () =>
  (await fetch(`${sandbox.endpoints['acme.okta.com']}/api/v1/users`)).status

test('faults are switched on, shown and switched off', async () => {
  const faults = [{ kind: 'throttled', provider: 'okta', path: '^/api/', times: 2 }]
  assert.deepEqual(await control('POST', '/_sandbox/faults', { faults }), { status: 200, body: { faults } })
  assert.equal(await statusOfProvider(), 429)
  assert.deepEqual(await control('GET', '/_sandbox/faults'), {
    status: 200,
    body: { faults: [{ ...faults[0], times: 1 }] },
  })
  assert.equal((await control('DELETE', '/_sandbox/faults')).status, 204)
  assert.equal(await statusOfProvider(), 200)
})

test('requests are shown and forgotten', async () => {
  await statusOfProvider()
  const { body } = await control('GET', '/_sandbox/requests')
  assert.partialDeepStrictEqual(body, {
    requests: [{ provider: 'okta', method: 'GET', path: '/api/v1/users', status: 200 }],
  })
  assert.equal((await control('DELETE', '/_sandbox/requests')).status, 204)
  assert.deepEqual((await control('GET', '/_sandbox/requests')).body, { requests: [] })
})

test('a web page cannot drive it: foreign Host, any Origin and cross-site requests are refused', async () => {
  const { port } = new URL(sandbox.control)
  const foreign: readonly Readonly<Record<string, string>>[] = [
    { host: `evil.test:${port}` },
    { host: '127.0.0.1' },
    { host: `127.0.0.1.evil.test:${port}` },
    { origin: 'https://evil.test' },
    { origin: 'null' },
    { origin: sandbox.control },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'same-origin' },
  ]
  const hang = (method: string) => (method === 'POST' ? { faults: [{ kind: 'hang' }] } : undefined)
  for (const headers of foreign)
    for (const [method, path] of [
      ['POST', '/_sandbox/faults'],
      ['GET', '/_sandbox/requests'],
      ['GET', '/'],
    ] as const)
      assert.equal((await control(method, path, hang(method), headers)).status, 403)
  assert.equal(await statusOfProvider(), 200)
  assert.equal((await control('GET', '/_sandbox/faults', '', { host: `localhost:${port}` })).status, 200)
  assert.equal((await control('GET', '/_sandbox/faults', '', { 'sec-fetch-site': 'none' })).status, 200)
})

test('what is no list of faults is refused with each place that is wrong, and changes nothing', async () => {
  await control('POST', '/_sandbox/faults', { faults: [{ kind: 'throttled' }] })
  const refused: readonly [string | object, RegExp][] = [
    ['', /not JSON/],
    ['{"faults":[', /not JSON/],
    ['[]', /body: /],
    [{}, /faults: /],
    [{ faults: [{ kind: 'explode' }] }, /faults\.0\.kind: .*throttled/],
    [{ faults: [{ kind: 'hang', surprise: 1 }] }, /surprise/],
    [{ faults: [{ kind: 'hang', path: '(' }] }, /faults\.0\.path: must be a regular expression/],
    [{ faults: [{ kind: 'redirect' }] }, /faults\.0\.location: is needed/],
    [
      {
        faults: [
          { kind: 'hang', times: 1.5 },
          { kind: 'hang', ms: -1 },
        ],
      },
      /faults\.0\.times[\s\S]*faults\.1\.ms/,
    ],
    [`{"faults":[],"__proto__":{"kind":"hang"}}`, /__proto__/],
  ]
  for (const [body, words] of refused) {
    const reply = await control('POST', '/_sandbox/faults', body)
    assert.equal(reply.status, 400)
    assert.match((reply.body as { errors: string[] }).errors.join('\n'), words)
  }
  assert.equal(await statusOfProvider(), 429)
})

test('a wrong type, a body that is too large, a wrong method and an unknown path have their own answers', async () => {
  const wrongType = await control('POST', '/_sandbox/faults', 'faults=1', { 'content-type': 'text/plain' })
  assert.equal(wrongType.status, 415)
  const large = JSON.stringify({ faults: [{ kind: 'status', body: 'x'.repeat(300_000) }] })
  assert.equal((await control('POST', '/_sandbox/faults', large)).status, 413)
  assert.partialDeepStrictEqual(await control('PUT', '/_sandbox/faults'), {
    status: 405,
    allow: 'GET, POST, DELETE',
  })
  assert.equal((await control('GET', '/_sandbox/other')).status, 404)
  assert.equal((await control('GET', '/__proto__')).status, 404)
})

test('things happen in the directory, in order, and are told', async () => {
  const at = '2026-11-01T08:00:00.000Z'
  const done = await control('POST', '/_sandbox/changes', {
    at,
    changes: [
      { what: 'hire', edit: { givenName: 'Grace' } },
      { what: 'rename', group: 1, name: 'Compilers' },
    ],
  })
  assert.equal(done.status, 200)
  const { body } = await control('GET', '/_sandbox/changes')
  assert.deepEqual(body, done.body)
  assert.partialDeepStrictEqual(body, {
    changes: {
      okta: [
        { sequence: 1, at, what: 'hire', person: 9 },
        { sequence: 2, at, what: 'rename', group: 1, name: 'Compilers' },
      ],
    },
  })
})

test('a change of somebody who is not there is refused by name, and so is what is no change', async () => {
  const nobody = await control('POST', '/_sandbox/changes', { changes: [{ what: 'leave', person: 77 }] })
  assert.deepEqual(nobody, { status: 400, body: { errors: ['changes: no person 77 is there'] } })
  const other = await control('POST', '/_sandbox/changes', { changes: [{ what: 'vanish', person: 1 }] })
  assert.equal(other.status, 400)
  const unserved = await control('POST', '/_sandbox/changes', {
    provider: 'entra',
    changes: [{ what: 'hire' }],
  })
  assert.equal(unserved.status, 400)
})
