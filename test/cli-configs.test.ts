/** `credence configs` against a running demo: what it prints, and what its exit status says. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { newFolder } from './new-folder.ts'
import { type Lasting, runCommand, startCommand } from './running-command.ts'

interface Example {
  readonly domain: string
  readonly integration_type: string
  readonly secrets: Readonly<Record<string, string>>
}

interface Examples {
  readonly valid: Example
  readonly invalid: readonly { readonly title: string; readonly attributes: Example }[]
}

interface Demo {
  readonly url: string
  readonly api_key: string
  readonly application_key: string
  readonly examples: Readonly<Record<'okta' | 'entra_id' | 'google_workspace', Examples>>
}

const ends: (() => unknown)[] = []
const file: Lasting = { after: (end) => ends.push(end) }
const folder = newFolder(file)
let demo: Demo
let token: string
let revokedToken: string

before(async () => {
  const command = startCommand(file, ['demo', '--json', '--port', '0', '--data-dir', join(folder, 'demo')])
  demo = JSON.parse(await command.line())
  token = demo.examples.okta.valid.secrets.api_token ?? ''
  revokedToken =
    demo.examples.okta.invalid.find(({ title }) => title.includes('revoked'))?.attributes.secrets.api_token ??
    ''
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const environment = () => ({
  CREDENCE_URL: demo.url,
  DD_API_KEY: demo.api_key,
  DD_APP_KEY: demo.application_key,
})

/** Runs `credence configs` with the keys of the demo. */
async function configs(
  t: Lasting,
  args: readonly string[],
  input?: string,
  more: Record<string, string> = {},
) {
  const ended = await runCommand(t, ['configs', ...args], { ...environment(), ...more }, input)
  for (const secret of [token, revokedToken, demo.api_key, demo.application_key])
    assert.equal(`${ended.stdout}${ended.stderr}`.includes(secret), false, 'a secret is shown')
  assert.doesNotMatch(ended.stderr, /internal error/)
  return ended
}

const createOkta = (name: string, ...more: readonly string[]) => [
  ...['create', 'okta', '--domain', 'acme.okta.com', '--name', name, '--api-token-stdin', ...more],
]

async function made(t: Lasting, instance: string): Promise<string> {
  const { code, stdout, stderr } = await configs(
    t,
    createOkta(`Acme ${instance}`, '--instance', instance, '--json'),
    token,
  )
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout).data.id
}

test('a configuration lives: created, listed, shown, changed, validated and deleted', async (t) => {
  const created = await configs(t, createOkta('Acme', '--instance', 'life'), token)
  assert.equal(created.code, 0, created.stderr)
  assert.match(created.stdout, /^Okta acme\.okta\.com\n {2}name {7}Acme\n/)
  assert.match(created.stdout, /state {6}✓ valid/)
  assert.match(created.stdout, /\nReads\n {2}✓ Users can be read\n/)
  assert.match(created.stdout, /✓ Valid: everything that a sync requires was proved/)
  const id = /^ {2}id {9}(\S+)$/m.exec(created.stdout)?.[1] ?? ''

  const listed = await configs(t, ['list', '--source', 'okta'])
  assert.match(listed.stdout, new RegExp(`^✓ ${id} {2}on +OKTA +acme\\.okta\\.com +Acme$`, 'm'))
  assert.equal((await configs(t, ['list', '--source', 'GOOGLE_WORKSPACE', '--json'])).stdout, '{"data":[]}\n')

  const shown = await configs(t, ['get', id, '--json'])
  const { data, meta } = JSON.parse(shown.stdout)
  assert.equal(data.attributes.settings.instance, 'life')
  assert.equal(meta.report.verdict, 'valid')

  const changed = await configs(t, [
    'update',
    id,
    '--name',
    'New',
    '--disable',
    '--require',
    'devices',
    '--json',
  ])
  assert.equal(changed.code, 0, changed.stderr)
  const { attributes } = JSON.parse(changed.stdout).data
  assert.deepEqual(
    [attributes.name, attributes.enabled, attributes.settings],
    ['New', false, { instance: 'life', require: ['devices'] }],
  )

  const validated = await configs(t, ['validate', id])
  assert.equal(validated.code, 0)
  assert.match(validated.stdout, /✓ Valid/)

  const deleted = await configs(t, ['delete', id])
  assert.deepEqual([deleted.code, deleted.stdout], [0, `deleted ${id}; its secrets are destroyed\n`])
  for (const command of ['get', 'delete', 'validate']) {
    const gone = await configs(t, [command, id])
    assert.equal(gone.code, 1)
    assert.equal(gone.stderr, `credence: Integration config with ID ${id} not found\n`)
  }
})

test('credentials that are not valid end with status 1 and the checks, and nothing is kept', async (t) => {
  const refused = await configs(t, createOkta('Bad', '--instance', 'bad'), revokedToken)
  assert.equal(refused.code, 1)
  assert.match(refused.stdout, /✗ Invalid: 1 required check failed/)
  assert.match(refused.stdout, /Nothing was stored\.\n$/)
  assert.equal(refused.stderr, '')
  const json = await configs(t, createOkta('Bad', '--instance', 'bad', '--json'), revokedToken)
  assert.equal(json.code, 1)
  assert.equal(JSON.parse(json.stdout).meta.report.verdict, 'invalid')
  assert.doesNotMatch((await configs(t, ['list'])).stdout, /Bad/)
})

test('new credentials are proved before they replace the old ones', async (t) => {
  const id = await made(t, 'replaced')
  const refused = await configs(t, ['update', id, '--api-token-stdin'], revokedToken)
  assert.equal(refused.code, 1)
  assert.match(refused.stdout, /The configuration is as it was\.\n$/)
  assert.equal((await configs(t, ['validate', id])).code, 0)
  const replaced = await configs(t, ['update', id, '--api-token-stdin'], token)
  assert.equal(replaced.code, 0, replaced.stderr)
  assert.match(replaced.stdout, /✓ Valid/)
})

test('an option of another source is refused, and one that changes nothing is told', async (t) => {
  const id = await made(t, 'options')
  const foreign = await configs(t, ['update', id, '--admin-email', 'a@example.com'])
  assert.deepEqual([foreign.code, foreign.stderr], [2, 'credence: --admin-email is no option of Okta\n'])
  const nothing = await configs(t, ['update', id], '', { CREDENCE_OKTA_API_TOKEN: revokedToken })
  assert.equal(nothing.code, 2)
  assert.match(nothing.stderr, /nothing to change/)
})

test('the same domain twice is refused with the way out', async (t) => {
  await made(t, 'twice')
  const again = await configs(t, createOkta('Again', '--instance', 'twice'), token)
  assert.equal(again.code, 1)
  assert.match(again.stderr, /is of type OKTA and for acme\.okta\.com already.*settings\.instance/)
})

test("the operator's credentials complete what is left out", async (t) => {
  const google = await configs(t, [
    ...['create', 'google-workspace', '--domain', 'siem-test.com', '--name', 'Google'],
    ...['--admin-email', 'test@example.com', '--json'],
  ])
  assert.equal(google.code, 0, google.stderr)
  assert.equal(JSON.parse(google.stdout).data.attributes.state, 'valid')

  const first = await configs(t, ['activate', 'entra-id', '--json'])
  assert.equal(first.code, 0, first.stderr)
  const second = await configs(t, ['activate', 'ENTRA_ID', '--json'])
  assert.equal(JSON.parse(second.stdout).data.id, JSON.parse(first.stdout).data.id)
  const off = await configs(t, ['deactivate', 'entra-id'])
  assert.match(
    off.stdout,
    /^All configurations of Microsoft Entra ID are off; the first:\n[\s\S]* {2}sync {7}off\n/,
  )
})

test('a profile names server and keys, and is refused when others may read it', async (t) => {
  const path = join(folder, 'profiles.json')
  const profile = { url: demo.url, api_key: demo.api_key, application_key: demo.application_key }
  const nowhere = { ...profile, url: 'http://127.0.0.1:9' }
  writeFileSync(path, JSON.stringify({ default: profile, other: nowhere }), { mode: 0o600 })
  const run = (args: readonly string[], more: Record<string, string> = {}) =>
    runCommand(t, ['configs', 'list', ...args], { CREDENCE_PROFILE_FILE: path, ...more })
  assert.equal((await run([])).code, 0)
  // A key that was meant for another server is not sent to this one.
  assert.equal((await run([], { DD_API_KEY: '0', DD_APP_KEY: '0' })).code, 0)
  assert.equal((await run(['--profile', 'other'])).code, 3)
  const unknown = await run(['--profile', 'third'])
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /has no profile third; it has default, other/)
  chmodSync(path, 0o640)
  const open = await run([])
  assert.equal(open.code, 2)
  assert.match(open.stderr, /others than its owner may use it: run chmod 600/)
  assert.equal(open.stderr.includes(demo.application_key), false)
})

test('wrong keys and missing permissions are told apart', async (t) => {
  const wrong = await configs(t, ['list'], '', { DD_APP_KEY: 'f'.repeat(40) })
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /refuses the keys \(403\): they are wrong, revoked/)
  const { stdout } = await runCommand(t, [
    ...['keys', 'create', '--permissions', 'integrations_read', '--json'],
    ...['--data-dir', join(folder, 'demo')],
  ])
  const key = JSON.parse(stdout)
  const reader = { DD_API_KEY: key.api_key, DD_APP_KEY: key.application_key }
  assert.equal((await configs(t, ['list'], '', reader)).code, 0)
  const refused = await configs(t, ['deactivate', 'okta'], '', reader)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /lack the permission.*manage_integrations/)
})

test('the examples do what they say', async (t) => {
  const tokenFile = join(folder, 'token.txt')
  writeFileSync(tokenFile, token, { mode: 0o600 })
  const root = join(import.meta.dirname, '..')
  const credence = `${process.execPath} ${join(root, 'src', 'cli', 'main.ts')}`
  const run = (command: string, args: readonly string[]) =>
    promisify(execFile)(command, args, {
      cwd: root,
      env: { ...process.env, ...environment(), CREDENCE: credence },
    })

  const script = await run(join(root, 'examples', 'configuration.sh'), ['acme.okta.com', tokenFile])
  assert.match(script.stdout, /\n[0-9a-f-]{36} is valid\ndeleted [0-9a-f-]{36}; its secrets are destroyed\n$/)

  await made(t, 'of-example')
  const client = await run(process.execPath, [join(root, 'examples', 'datadog-client.ts')])
  assert.match(client.stdout, /^OKTA acme\.okta\.com: valid$/m)
})
