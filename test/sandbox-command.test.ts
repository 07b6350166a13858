import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePorts, listen } from './free-ports.ts'
import { runCommand, startCommand } from './running-command.ts'

interface SandboxDocument {
  readonly endpoints: Readonly<Record<string, string>>
  readonly ca_file: string
  readonly control: string
  readonly google_workspace: {
    readonly domain: string
    readonly admin_email: string
    readonly service_account_file: string
  }
  readonly okta: {
    readonly domain: string
    readonly api_token: string
    readonly client_id: string
    readonly private_key_file: string
    readonly key_id: string
  }
  readonly entra_id: {
    readonly domain: string
    readonly tenant_id: string
    readonly client_id: string
    readonly client_secret: string
  }
}

async function startSandbox(t: TestContext, ...args: string[]) {
  const command = startCommand(t, ['sandbox', '--json', ...args])
  const sandbox = JSON.parse(await command.line()) as SandboxDocument
  /** Files of the test beside those of the sandbox, which go away with it. */
  const file = (name: string, text: string) => {
    const path = join(dirname(sandbox.ca_file), name)
    writeFileSync(path, text)
    return path
  }
  const environment = {
    CREDENCE_ENDPOINTS: file('test-endpoints.json', JSON.stringify(sandbox.endpoints)),
    NODE_EXTRA_CA_CERTS: sandbox.ca_file,
  }
  const validate = (source: string, ...rest: string[]) =>
    runCommand(t, ['validate', source, '--json', ...rest], environment)
  return { command, sandbox, file, validate }
}

test('what it prints is enough to validate each source, and a signal ends it without a trace', async (t) => {
  const { command, sandbox, file, validate } = await startSandbox(t, '--users', '40', '--groups', '5')
  const { google_workspace, okta, entra_id } = sandbox
  const runs = await Promise.all([
    validate(
      'google-workspace',
      ...['--domain', google_workspace.domain, '--admin-email', google_workspace.admin_email],
      ...['--service-account-file', google_workspace.service_account_file],
    ),
    validate('okta', '--domain', okta.domain, '--api-token-file', file('token', okta.api_token)),
    validate(
      'okta',
      ...['--domain', okta.domain, '--client-id', okta.client_id],
      ...['--private-key-file', okta.private_key_file, '--key-id', okta.key_id],
    ),
    validate(
      'entra-id',
      ...['--domain', entra_id.domain, '--tenant-id', entra_id.tenant_id],
      ...['--client-id', entra_id.client_id, '--client-secret-file', file('secret', entra_id.client_secret)],
    ),
  ])
  for (const { code, stdout, stderr } of runs) {
    assert.equal(code, 0, stderr)
    assert.equal(JSON.parse(stdout).verdict, 'valid')
  }
  const { code, signal } = await command.stop()
  assert.deepEqual({ code, signal }, { code: 0, signal: null })
  assert.equal(existsSync(dirname(sandbox.ca_file)), false)
})

test('faults switched on over its control interface reach a validation, which then cannot tell', async (t) => {
  const { sandbox, file, validate } = await startSandbox(t)
  const faults = [{ kind: 'unavailable', provider: 'okta' }]
  const switched = await fetch(`${sandbox.control}/_sandbox/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ faults }),
  })
  assert.equal(switched.status, 200)
  const token = file('token', sandbox.okta.api_token)
  const { code, stdout } = await validate('okta', '--domain', sandbox.okta.domain, '--api-token-file', token)
  assert.equal(code, 3)
  assert.equal(JSON.parse(stdout).verdict, 'indeterminate')
})

test('its files are for their owner alone and hold what they should', async (t) => {
  const { command, sandbox } = await startSandbox(t)
  const { google_workspace, okta, ca_file } = sandbox
  assert.equal(statSync(dirname(ca_file)).mode & 0o777, 0o700)
  for (const path of [ca_file, google_workspace.service_account_file, okta.private_key_file])
    assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(
    JSON.parse(readFileSync(google_workspace.service_account_file, 'utf8')).type,
    'service_account',
  )
  assert.equal(createPrivateKey(readFileSync(okta.private_key_file)).asymmetricKeyType, 'rsa')
  assert.doesNotMatch(readFileSync(ca_file, 'utf8'), /PRIVATE/)
  assert.equal((await command.stop('SIGINT')).code, 0)
})

test('the same seed gives the same tokens and secrets, on ports that follow one another', async (t) => {
  const free = await freePorts(4)
  const one = await startSandbox(t, '--seed', 'a', '--port', String(free))
  const two = await startSandbox(t, '--seed', 'a')
  const three = await startSandbox(t, '--seed', 'b')
  assert.equal(one.sandbox.control, `http://127.0.0.1:${free}`)
  assert.equal(one.sandbox.endpoints['admin.googleapis.com'], `https://127.0.0.1:${free + 1}`)
  assert.equal(one.sandbox.endpoints['acme.okta.com'], `https://127.0.0.1:${free + 2}`)
  assert.equal(one.sandbox.endpoints['graph.microsoft.com'], `https://127.0.0.1:${free + 3}`)
  assert.equal(one.sandbox.okta.api_token, two.sandbox.okta.api_token)
  assert.deepEqual(one.sandbox.entra_id, two.sandbox.entra_id)
  assert.notEqual(one.sandbox.okta.api_token, three.sandbox.okta.api_token)
})

test('a taken port ends it with one line and status 1', async (t) => {
  const port = await freePorts(4)
  const taken = await listen(port + 2)
  t.after(() => taken.close())
  const { code, stdout, stderr } = await runCommand(t, ['sandbox', '--port', String(port)])
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
  assert.match(
    stderr,
    new RegExp(`^credence: one of the ports from 127\\.0\\.0\\.1:${port} on is taken.*\n$`),
  )
})

test('numbers that are none, or ports that do not exist, are refused', async (t) => {
  const wrong: readonly [string[], number][] = [
    [['--users', '0'], 2],
    [['--users', '1.5'], 2],
    [['--users', '9999999999'], 2],
    [['--groups', 'many'], 2],
    [['--port', '70000'], 2],
    [['--port', '65534'], 1],
  ]
  await Promise.all(
    wrong.map(async ([args, status]) => {
      const { code, stdout } = await runCommand(t, ['sandbox', ...args])
      assert.deepEqual({ args, code, stdout }, { args, code: status, stdout: '' })
    }),
  )
})

test('without --json it tells a person what to type, in plain text when it is no terminal', async (t) => {
  const command = startCommand(t, ['sandbox'])
  const text = await command.textUntil(/Ctrl-C/)
  for (const words of [
    /CREDENCE_ENDPOINTS=\S+endpoints\.json NODE_EXTRA_CA_CERTS=\S+ca\.pem/,
    /credence validate google-workspace --domain example\.com --admin-email \S+ --service-account-file \S+/,
    /credence validate okta --domain acme\.okta\.com --api-token-file \S+/,
    /credence validate entra-id --domain acme\.com .* --client-secret-file \S+/,
    /_sandbox\/faults/,
    /docs\/sandbox\.md/,
  ])
    assert.match(text, words)
  assert.equal(text.includes('\x1b'), false)
  assert.equal((await command.stop()).code, 0)
})
