import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startSandbox } from '../sandbox/index.ts'
import { createOktaSandbox } from '../sandbox/okta/index.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { newFolder } from './new-folder.ts'
import { runCommand, startCommand } from './running-command.ts'

const vaultKey = { CREDENCE_VAULT_KEY: generateVaultKey() }

const validatePath = '/api/v2/security_monitoring/configuration/integration_config/validate'

async function startServer(t: TestContext, folder: string, environment: Record<string, string> = {}) {
  const command = startCommand(t, ['serve', '--port', '0', '--data-dir', join(folder, 'data'), '--json'], {
    ...vaultKey,
    ...environment,
  })
  const { url, pid, ...rest } = JSON.parse(await command.line())
  assert.deepEqual(rest, {})
  assert.equal(pid, command.child.pid)
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
  return { command, url: url as string }
}

/** A server before an Okta that never answers, and a validation under way. */
async function serverWithOpenRequest(t: TestContext) {
  const folder = newFolder(t)
  const okta = await createOktaSandbox({ users: 4, groups: 1, seed: 'serve' })
  const sandbox = await startSandbox({ providers: [okta], tls: false })
  t.after(() => sandbox.close())
  sandbox.setFaults([{ kind: 'hang' }])
  const endpoints = join(folder, 'endpoints.json')
  writeFileSync(endpoints, JSON.stringify(sandbox.endpoints))
  const made = await runCommand(
    t,
    ['keys', 'create', '--permissions', 'integrations_read', '--json'].concat([
      '--data-dir',
      join(folder, 'data'),
    ]),
  )
  const { api_key, application_key } = JSON.parse(made.stdout)
  const { command, url } = await startServer(t, folder, { CREDENCE_ENDPOINTS: endpoints })
  const answer = fetch(`${url}${validatePath}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'dd-api-key': api_key,
      'dd-application-key': application_key,
    },
    body: JSON.stringify({
      data: {
        type: 'integration_config',
        attributes: {
          domain: okta.host,
          integration_type: 'OKTA',
          secrets: { api_token: okta.apiTokens.readOnly },
        },
      },
    }),
  })
  await t.waitFor(() => assert.notDeepEqual(sandbox.requests(), []), { timeout: 30_000 })
  return { command, answer }
}

test('the server says where it listens and who it is, and a signal ends it well', async (t) => {
  const { command, url } = await startServer(t, newFolder(t))
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
  const { code, signal, stdout, stderr } = await command.stop()
  assert.deepEqual({ code, signal }, { code: 0, signal: null })
  assert.equal(stdout.split('\n').length, 2)
  for (const line of stderr.trimEnd().split('\n')) assert.ok(JSON.parse(line).msg)
})

test('what is under way when the signal comes is answered', async (t) => {
  const { command, answer } = await serverWithOpenRequest(t)
  const ended = command.stop('SIGINT')
  assert.equal((await answer).status, 503)
  assert.equal((await ended).code, 0)
})

test('a second signal ends it at once', async (t) => {
  const { command, answer } = await serverWithOpenRequest(t)
  const broken = assert.rejects(answer)
  const insist = setInterval(() => command.child.kill('SIGTERM'), 300)
  t.after(() => clearInterval(insist))
  assert.equal((await command.stop()).code, 143)
  await broken
})

test('a port that is taken, a setting that is wrong and a folder that is none are told in one line, status 1', async (t) => {
  const folder = newFolder(t)
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' ? String(address?.port) : ''
  writeFileSync(join(folder, 'file'), '')
  const quiet = { ...vaultKey, CREDENCE_LOG_LEVEL: 'silent' }
  const serve = (data: string, environment: Record<string, string>, ...more: string[]) =>
    runCommand(t, ['serve', '--port', '0', '--data-dir', join(folder, data), ...more], environment)
  const runs = await Promise.all([
    serve('a', quiet, '--port', port),
    serve('b', { ...quiet, CREDENCE_LOG_LEVEL: 'loud' }),
    serve(join('file', 'c'), quiet),
    serve('d', quiet, '--host', '192.0.2.1'),
    serve('e', {}),
    serve('f', { CREDENCE_VAULT_KEY: 'one:short' }),
    serve('g', { ...quiet, DATABASE_URL: 'postgres://credence:hunter2@127.0.0.1:1/none' }),
    serve('h', { ...quiet, DATABASE_URL: 'hunter2' }),
    serve('file', quiet),
  ])
  const says = [
    new RegExp(`127.0.0.1:${port} is taken`),
    /CREDENCE_LOG_LEVEL/,
    /data directory/,
    /192\.0\.2\.1:0/,
    /no vault key: set CREDENCE_VAULT_KEY/,
    /CREDENCE_VAULT_KEY: the vault key one: expected the base64 of 32 bytes/,
    /nothing listens at the address of the database/,
    /DATABASE_URL: expected an address/,
    /data directory|in its place/,
  ]
  for (const [index, { code, stdout, stderr }] of runs.entries()) {
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
    assert.match(stderr, /^credence: [^\n]+\n$/)
    assert.match(stderr, says[index] ?? /^$/)
    assert.ok(!stderr.includes('hunter2'))
  }
})
