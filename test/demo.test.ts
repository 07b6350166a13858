import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Lasting, runCommand, startCommand } from './running-command.ts'

interface Example {
  readonly domain: string
  readonly integration_type: string
  readonly secrets?: Readonly<Record<string, unknown>>
}

interface DemoDocument {
  readonly url: string
  readonly api_key: string
  readonly application_key: string
  readonly examples: Readonly<
    Record<
      'google_workspace' | 'okta' | 'entra_id',
      { readonly valid: Example; readonly invalid: readonly { title: string; attributes: Example }[] }
    >
  >
}

function dataDir(t: Lasting): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-demo-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function startDemo(t: Lasting, folder: string) {
  const command = startCommand(t, ['demo', '--json', '--port', '0', '--data-dir', folder])
  return { command, demo: JSON.parse(await command.line()) as DemoDocument }
}

type Server = Pick<DemoDocument, 'url' | 'api_key' | 'application_key'>

async function answerTo({ url, api_key, application_key }: Server, body: string) {
  const response = await fetch(
    `${url}/api/v2/security_monitoring/configuration/integration_config/validate`,
    {
      method: 'POST',
      headers: {
        Accept: 'application/json',
        'Content-Type': 'application/json',
        'DD-API-KEY': api_key,
        'DD-APPLICATION-KEY': application_key,
      },
      body,
    },
  )
  return { status: response.status, text: await response.text() }
}

const validate = (server: Server, attributes: object) =>
  answerTo(server, JSON.stringify({ data: { attributes, type: 'integration_config' } }))

/** As in the API's published documentation. */
const documentedBody = `{
  "data": {
    "attributes": {
      "domain": "siem-test.com",
      "integration_type": "GOOGLE_WORKSPACE",
      "secrets": {
        "admin_email": "test@example.com"
      }
    },
    "type": "integration_config"
  }
}
`

/** Serves the tests that only ask it. */
let shared: Awaited<ReturnType<typeof startDemo>>
const ends: (() => unknown)[] = []
before(async () => {
  const file: Lasting = { after: (end) => ends.push(end) }
  shared = await startDemo(file, dataDir(file))
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

test('the documented example and every valid example are answered 200, every invalid one 400', async () => {
  const { demo } = shared
  assert.deepEqual(Object.keys(demo), ['url', 'api_key', 'application_key', 'examples'])
  assert.deepEqual(Object.keys(demo.examples), ['google_workspace', 'okta', 'entra_id'])
  assert.equal((await answerTo(demo, documentedBody)).status, 200)
  for (const { valid, invalid } of Object.values(demo.examples)) {
    assert.equal((await validate(demo, valid)).status, 200, valid.integration_type)
    assert.ok(invalid.length >= 4)
    for (const { title, attributes } of invalid) {
      const { status, text } = await validate(demo, attributes)
      assert.equal(status, 400, `${attributes.integration_type}, ${title}: ${text}`)
      assert.ok(JSON.parse(text).errors[0].length > 20)
    }
  }
})

test("the operator's own credentials serve the domains bound to them and no other", async () => {
  const { demo } = shared
  const secrets = { admin_email: 'test@example.com' }
  const google = { integration_type: 'GOOGLE_WORKSPACE', secrets }
  assert.equal((await validate(demo, { ...google, domain: 'siem-test.com' })).status, 200)
  assert.equal((await validate(demo, { ...google, domain: 'example.com' })).status, 400)
  assert.equal((await validate(demo, { integration_type: 'ENTRA_ID', domain: 'acme.com' })).status, 200)
  assert.equal((await validate(demo, { integration_type: 'ENTRA_ID', domain: 'acme.org' })).status, 400)
})

test('only the hosts of its sandboxes are reached', async () => {
  const { demo } = shared
  const secrets = { api_token: '00abcdefghijklmnopqrstuvwxyz0123456789ABCD' }
  for (const domain of ['127.0.0.1', 'localhost', new URL(demo.url).host, '[::1]', 'evil.test']) {
    const { status } = await validate(demo, { integration_type: 'OKTA', domain, secrets })
    assert.equal(status, 400, domain)
  }
})

test('killed and started again on the same folder it goes on: same keys, same credentials', async (t) => {
  const folder = dataDir(t)
  const first = await startDemo(t, folder)
  const made = await runCommand(t, [
    ...['keys', 'create', '--permissions', 'integrations_read', '--data-dir', folder, '--json'],
  ])
  const issued = JSON.parse(made.stdout) as Server
  assert.equal((await first.command.stop('SIGKILL')).signal, 'SIGKILL')

  const second = await startDemo(t, folder)
  assert.deepEqual({ ...second.demo, url: '' }, { ...first.demo, url: '' })
  const { url } = second.demo
  for (const { valid } of Object.values(first.demo.examples))
    assert.equal((await validate({ ...first.demo, url }, valid)).status, 200, valid.integration_type)
  assert.equal((await answerTo({ ...issued, url }, documentedBody)).status, 200)
  assert.equal((await second.command.stop('SIGINT')).code, 0)
})

test('keys that were revoked are replaced at the next start', async (t) => {
  const folder = dataDir(t)
  const first = await startDemo(t, folder)
  const { code, signal, stdout } = await first.command.stop()
  assert.deepEqual({ code, signal }, { code: 0, signal: null })
  assert.equal(stdout.trimEnd().includes('\n'), false)
  const { id } = JSON.parse(readFileSync(join(folder, 'demo.json'), 'utf8'))
  assert.equal((await runCommand(t, ['keys', 'revoke', id, '--data-dir', folder])).code, 0)
  const second = await startDemo(t, folder)
  assert.notEqual(second.demo.api_key, first.demo.api_key)
  assert.equal((await answerTo(second.demo, documentedBody)).status, 200)
})

test('a person sees two validations at once, and a command for each example whose file is private', async (t) => {
  const folder = dataDir(t)
  const command = startCommand(t, ['demo', '--port', '0', '--data-dir', folder])
  const text = await command.textUntil(/Running until Ctrl-C/)
  assert.match(text, /✓ Valid: everything that a sync requires was proved/)
  assert.match(text, /✗ Invalid: 1 required check failed/)
  assert.match(text, /The server answered 200\.[\s\S]*The server answered 400\./)
  assert.equal(text.includes('\x1b'), false)
  assert.ok(text.includes(documentedBody))

  const [, url = ''] = /curl -i (http:\S+)\/api\/v2/.exec(text) ?? []
  const keys = {
    api_key: /dd-api-key: (\w+)/.exec(text)?.[1] ?? '',
    application_key: /dd-application-key: (\w+)/.exec(text)?.[1] ?? '',
  }
  const commands = [...text.matchAll(/^# (.+): (200|400)\ncurl -K (\S+) -d @(\S+)$/gm)]
  assert.ok(commands.length >= 15)
  for (const [, title, status, curlConfig = '', path = ''] of commands) {
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.ok(readFileSync(curlConfig, 'utf8').includes(keys.application_key))
    const answer = await answerTo({ url, ...keys }, readFileSync(path, 'utf8'))
    assert.equal(answer.status, Number(status), `${title}: ${answer.text}`)
  }
  assert.ok(text.includes(join(folder, 'vault.key')))
  assert.equal(statSync(join(folder, 'vault.key')).mode & 0o777, 0o600)
  const { code, stderr } = await command.stop('SIGINT')
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
})

test('a taken port, a damaged key and a folder that is none are told in one line', async (t) => {
  const folder = dataDir(t)
  const { port } = new URL(shared.demo.url)
  const taken = await runCommand(t, ['demo', '--port', port, '--data-dir', folder])
  assert.equal(taken.code, 1)
  assert.match(taken.stderr, new RegExp(`^credence: 127\\.0\\.0\\.1:${port} is taken.*\n$`))
  writeFileSync(join(folder, 'sandbox', 'keys', 'okta.pem'), 'nonsense')
  const damaged = await runCommand(t, ['demo', '--port', '0', '--data-dir', folder])
  assert.equal(damaged.code, 1)
  assert.match(damaged.stderr, /^credence: .*okta\.pem does not hold a private key; remove it.*\n$/)
  const file = join(folder, 'sandbox', 'keys', 'okta.pem')
  const noFolder = await runCommand(t, ['demo', '--port', '0', '--data-dir', file])
  assert.equal(noFolder.code, 1)
  assert.match(noFolder.stderr, /^credence: the data directory .* cannot be used: .*\n$/)
})
