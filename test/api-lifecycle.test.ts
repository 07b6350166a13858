/** Starting and stopping: what must be there before the server listens, and what is still answered when it ends. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createAuthentication } from '../src/api/authentication.ts'
import { createTokenVerifier } from '../src/api/oauth.ts'
import type { ServerParts } from '../src/api/parts.ts'
import { createRateLimits } from '../src/api/rate-limits.ts'
import { createServer } from '../src/api/server.ts'
import { createStreams, defaultStreamLimits } from '../src/api/streams.ts'
import { defaultConfig, defaultLimits } from '../src/config.ts'
import { createConfigs } from '../src/configs/configs.ts'
import { startService } from '../src/service.ts'
import { openKeyRing } from '../src/store/key-ring.ts'
import { createKey } from '../src/store/keys.ts'
import { createLeases } from '../src/store/leases.ts'
import { noOperatorCredentials } from '../src/store/operator.ts'
import { createRateWindows } from '../src/store/rate-windows.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { createCapacity } from '../src/validation/capacity.ts'
import { createGuessGuard } from '../src/validation/guess-guard.ts'
import { generateVaultKey, readVaultKeys } from '../src/vault/keys.ts'
import { createVault } from '../src/vault/vault.ts'
import { createAcme } from './acme-source.ts'
import { headersOf, startApi, validatePath } from './api-server.ts'
import { freshDatabase, freshDatabaseUrl } from './fresh-database.ts'
import { idleSync } from './idle-sync.ts'
import { newFolder } from './new-folder.ts'

const vaultKeys = { text: generateVaultKey() }

const hanging = { domain: 'acme.example', integration_type: 'ACME', secrets: { api_token: 'hang' } }

test('a running server is ready', async (t) => {
  const api = await startApi(t)
  assert.deepEqual((await api.call({ path: '/readyz' })).json(), { status: 'ok' })
  assert.deepEqual((await api.call({ path: '/healthz' })).json(), { status: 'ok' })
})

test('what is under way is answered after the server was asked to end; nobody new is let in', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const asked = api.validate(hanging)
  while (acme.reached.length === 0) await new Promise(setImmediate)
  const closed = api.close()
  await assert.rejects(api.raw('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n'), /ECONNREFUSED/)
  acme.release()
  assert.equal((await asked).status, 200)
  await closed
  await api.close()
})

test('a validation that hangs is told to stop and answered 503 within ten seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const asked = api.validate(hanging)
  while (acme.reached.length === 0) await new Promise(setImmediate)
  const closed = api.close()
  t.mock.timers.tick(7_000)
  assert.equal((await asked).status, 503)
  await closed
})

test('connections that are still answered after the server was asked to end are told that they end too', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const body = JSON.stringify({ data: { type: 'integration_config', attributes: hanging } })
  const headers = Object.entries(headersOf(api)).map(([name, value]) => `${name}: ${value}\r\n`)
  const asked = api.raw(
    `POST ${validatePath} HTTP/1.1\r\nhost: localhost\r\n${headers.join('')}content-length: ${body.length}\r\n\r\n${body}`,
  )
  while (acme.reached.length === 0) await new Promise(setImmediate)
  const closed = api.close()
  acme.release()
  assert.match(await asked, /^HTTP\/1\.1 200 OK[\s\S]*connection: close/i)
  await closed
})

test('a route that does not say whom it serves keeps the server from starting', async (t) => {
  const now = () => new Date()
  const acme = createAcme()
  const metrics = createMetrics()
  const tokens = createTokenVerifier([], { now, onTrouble: () => {} })
  t.after(async () => {
    metrics.close()
    await tokens.close()
  })
  const database = await freshDatabase(t)
  const sources = [acme.source]
  const validation = {
    tools: { openHttp: acme.outbound.open, now },
    guard: createGuessGuard({ attemptsPerMinute: 10 }),
    capacity: createCapacity(10),
    turn: async () => {},
    operatorEntry: noOperatorCredentials.entryFor,
  }
  const authentication = createAuthentication(openKeyRing(database), tokens, { note: () => {} })
  const parts: ServerParts = {
    sources,
    validation,
    configs: createConfigs({
      database,
      vault: createVault(readVaultKeys(generateVaultKey())),
      sources,
      validation,
      operatorRegistrations: async () => [],
      now,
      schedule: (_, at) => ({ nextValidationAt: at, credentialsExpireAt: null }),
      onStateChange: async () => {},
      onReport: () => {},
      onTrouble: () => {},
    }),
    sync: idleSync({ database, sources, now }),
    database,
    isDatabaseAnswering: () => true,
    authentication,
    rateLimits: createRateLimits(defaultLimits, createLeases(createRateWindows(database))),
    limits: defaultLimits,
    streams: createStreams(authentication, defaultStreamLimits, createLog('silent')),
    webOrigin: { isLoopback: true, allowedHosts: [] },
    metrics,
    log: createLog('silent'),
    lifecycle: { isReady: () => true, whenImpatient: () => () => {} },
  }
  await (await createServer(parts)).close()
  await assert.rejects(
    createServer(parts, (server) => {
      server.get('/forgotten', (_, reply) => reply.send('open to everyone'))
    }),
    /the route GET \/forgotten does not declare its access/,
  )
})

test('wrong settings and damaged files keep the server from starting, and are named', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'credence-api-'))
  t.after(() => rm(dataDir, { recursive: true }))
  const start = (config: object) =>
    startService({
      dataDir,
      config: { ...defaultConfig, vaultKeys, ...config },
      log: createLog('silent'),
    })
  await assert.rejects(start({ operatorFile: join(dataDir, 'gone.json') }), {
    name: 'ConfigError',
    message: 'CREDENCE_OPERATOR_FILE: the file cannot be read (ENOENT)',
  })
  await assert.rejects(start({ vaultKeys: {} }), {
    name: 'VaultKeysError',
    message: /CREDENCE_VAULT_KEY/,
  })
  await assert.rejects(start({ databaseUrl: 'postgres://credence:hunter2@127.0.0.1:1/none' }), {
    name: 'DatabaseUnavailable',
    message: 'nothing listens at the address of the database (ECONNREFUSED)',
  })
  await assert.rejects(start({ databaseUrl: 'credence:hunter2' }), (error: Error) => {
    assert.equal(error.name, 'DatabaseUnavailable')
    assert.ok(!inspect(error).includes('hunter2'))
    return true
  })
})

test('a server without the key that sealed what is stored does not start, and names it', async (t) => {
  const databaseUrl = await freshDatabaseUrl(t)
  const dataDir = await mkdtemp(join(tmpdir(), 'credence-api-'))
  t.after(() => rm(dataDir, { recursive: true }))
  const start = (text: string) =>
    startService({
      dataDir,
      config: { ...defaultConfig, databaseUrl, vaultKeys: { text } },
      log: createLog('silent'),
    })
  const key = (byte: number) => Buffer.alloc(32, byte).toString('base64')
  await (await start(`one:${key(1)}`)).close()
  await assert.rejects(start(`one:${key(2)}`), {
    name: 'VaultKeysError',
    message: /the vault key one is not the key that was used under this id/,
  })
})

test('a port that is taken is an error, and nothing is left behind', async (t) => {
  const api = await startApi(t)
  await assert.rejects(
    startService({
      dataDir: api.dataDir,
      port: api.port,
      config: { ...defaultConfig, vaultKeys, databaseUrl: api.databaseUrl },
      log: createLog('silent'),
    }),
    { code: 'EADDRINUSE' },
  )
})

test('stand-in endpoints are warned about by name', async (t) => {
  const endpoints = new Map([['acme.okta.com', new URL('http://127.0.0.1:1')]])
  const api = await startApi(t, { config: { endpoints } })
  assert.match(api.log(), /"level":"warn".*"hosts":\["acme\.okta\.com"\].*CREDENCE_ENDPOINTS is set/)
})

test('each request is one line of the log, with an id that the answer has too', async (t) => {
  const api = await startApi(t)
  const before = api.log().length
  const answer = await api.validate({
    domain: 'acme.example',
    integration_type: 'ACME',
    secrets: { api_token: 'valid' },
  })
  await api.call({ path: '/nope?query=canary', headers: { 'x-request-id': 'bad id\t' } })
  await api.call({ path: '/healthz', headers: { 'x-request-id': '6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11' } })
  await api.call({ path: '/healthz', headers: { 'x-request-id': 'canary'.repeat(5) } })
  const lines = api
    .log()
    .slice(before)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines.length, 4)
  assert.partialDeepStrictEqual(lines[0], {
    level: 'info',
    request_id: answer.headers['x-request-id'],
    method: 'POST',
    route: validatePath,
    status: 200,
    caller: `key:${api.keys.id}`,
    msg: 'request',
  })
  assert.match(lines[1].request_id, /^[0-9a-f-]{36}$/)
  assert.equal(lines[1].route, 'unmatched')
  assert.equal(lines[2].request_id, '6f1c0f0e-7a55-4d7e-9b57-0c2a4d8e9f11')
  assert.match(lines[3].request_id, /^[0-9a-f-]{36}$/)
  assert.ok(!api.log().includes('canary'))
})

test('a client that leaves before its answer is one line too, with the status that proxies write for it', async (t) => {
  const acme = createAcme()
  const api = await startApi(t, { outbound: acme.outbound })
  const leaving = new AbortController()
  const asked = fetch(api.url + validatePath, {
    method: 'POST',
    headers: headersOf(api),
    body: JSON.stringify({ data: { type: 'integration_config', attributes: hanging } }),
    signal: leaving.signal,
  }).catch(() => 'left')
  while (acme.reached.length === 0) await new Promise(setImmediate)
  leaving.abort()
  assert.equal(await asked, 'left')
  while (!api.log().includes('"status":499')) await new Promise(setImmediate)
  assert.equal((await api.call({ path: '/healthz' })).status, 200)
  assert.equal(api.log().match(/"msg":"request"/g)?.length, 2)
})

test('metrics count requests by route and verdicts by source, and tell how late the event loop is', async (t) => {
  const api = await startApi(t)
  for (const api_token of ['valid', 'wrong', 'down'])
    await api.validate({ domain: 'acme.example', integration_type: 'ACME', secrets: { api_token } })
  await api.call({ path: `/nope/${'x'.repeat(100)}` })
  const { text, headers } = await api.call({ path: '/metrics' })
  assert.match(String(headers['content-type']), /^text\/plain/)
  for (const line of [
    `credence_http_request_duration_seconds_count{method="POST",route="${validatePath}",status="200"} 1`,
    `credence_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1`,
    ...['valid', 'invalid', 'indeterminate'].map(
      (verdict) => `credence_validation_duration_seconds_count{source="acme",verdict="${verdict}"} 1`,
    ),
    'credence_event_loop_delay_seconds{quantile="0.99"}',
  ])
    assert.ok(text.includes(line), line)
})

test('a new server makes its data directory and a database in it, and stops it at the end', async (t) => {
  const dataDir = join(newFolder(t), 'new')
  const service = await startService({
    dataDir,
    config: { ...defaultConfig, vaultKeys },
    log: createLog('silent'),
  })
  assert.equal(service.database.kind, 'embedded')
  const { api_key } = await createKey({ database: service.database, permissions: ['integrations_read'] })
  const headers = { 'dd-api-key': api_key }
  assert.equal((await fetch(`${service.url}/api/v1/validate`, { headers })).status, 200)
  assert.equal((await fetch(`${service.url}/readyz`)).status, 200)
  await service.close()
  await assert.rejects(service.database.ping())
})
