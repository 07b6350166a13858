import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, afterEach, before, type TestContext, test } from 'node:test'
import { type RunningSandbox, startSandbox } from '../sandbox/index.ts'
import { createOktaSandbox, type OktaSandbox } from '../sandbox/okta/index.ts'
import { createOrganisation, type Organisation } from '../sandbox/organisation.ts'
import { reportSchema } from '../src/validation/report.ts'
import { type Ended, runCommand } from './running-command.ts'

const customDomain = 'login.acme.example'

let folder: string
let organisation: Organisation
let okta: OktaSandbox
let sandbox: RunningSandbox
let endpoints: string

const file = (name: string, text: string | Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'credence-cli-'))
  organisation = await createOrganisation({ users: 12, groups: 3, seed: 'cli' })
  okta = await createOktaSandbox({ users: 12, groups: 3, seed: 'cli', customDomain })
  const { google, entra } = organisation
  sandbox = await startSandbox({ providers: [google.sandbox, okta, entra.sandbox], tls: false })
  endpoints = file('endpoints.json', JSON.stringify(sandbox.endpoints))
})

afterEach(() => sandbox.setFaults([]))

after(async () => {
  await sandbox.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Given {
  readonly input?: string | Uint8Array
  readonly environment?: Readonly<Record<string, string>>
}

const validate = (t: TestContext, args: readonly string[], { input, environment }: Given = {}) =>
  runCommand(t, ['validate', ...args], { CREDENCE_ENDPOINTS: endpoints, ...environment }, input)

const withToken = (t: TestContext, token: string, ...args: string[]) =>
  validate(t, ['okta', '--domain', okta.host, '--api-token-stdin', ...args], { input: token })

/** With all three streams open. */
function spawnValidate(t: TestContext, args: readonly string[]) {
  const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')
  const child = spawn(process.execPath, [main, 'validate', ...args], {
    env: { PATH: process.env.PATH, CREDENCE_ENDPOINTS: endpoints },
  })
  t.after(() => child.kill('SIGKILL'))
  return child
}

/** The report on standard output, which must hold that one JSON object and nothing else. */
function reportIn({ stdout }: Ended) {
  assert.match(stdout, /^\{[^\n]*\}\n$/)
  return reportSchema.strict().parse(JSON.parse(stdout))
}

/** Fails where a secret is in the output, plain or encoded. */
function assertHidden({ stdout, stderr }: Ended, secret: string) {
  for (const form of [
    secret,
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('hex'),
  ])
    assert.ok(!`${stdout}${stderr}`.includes(form), 'the output holds the secret')
}

test('valid credentials: each check in declared order, status 0, no control characters off a terminal', async (t) => {
  const ended = await withToken(t, `${okta.apiTokens.superAdmin}\n`)
  assert.equal(ended.code, 0, ended.stderr)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  assert.doesNotMatch(ended.stdout, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
  const position = ['Shape', 'Access', 'Identity', 'Reads', 'Health'].map((stage) =>
    ended.stdout.indexOf(`\n${stage}\n`),
  )
  assert.deepEqual(
    position,
    position.toSorted((a, b) => a - b),
  )
  assert.match(ended.stdout, /^ {2}✓ Users can be read$/m)
  assert.match(ended.stdout, /^ {2}users +yes$/m)
  assert.match(ended.stdout, /\n✓ Valid: [^\n]+\n$/)
  assertHidden(ended, okta.apiTokens.superAdmin)
})

test('--json prints the report alone, for every source', async (t) => {
  const { google, entra } = organisation
  const runs = await Promise.all([
    withToken(t, okta.apiTokens.readOnly, '--json'),
    validate(
      t,
      ['google-workspace', '--domain', google.domain, '--admin-email', google.adminEmail].concat([
        '--service-account-file',
        '-',
        '--json',
      ]),
      { input: JSON.stringify(google.serviceAccount, null, 2) },
    ),
    validate(
      t,
      [
        'entra-id',
        '--domain',
        entra.domain,
        '--tenant-id',
        entra.tenantId,
        '--client-id',
        entra.clientId,
      ].concat(['--client-secret-stdin', '--json']),
      { input: `${entra.clientSecret}\r\n` },
    ),
  ])
  for (const ended of runs) {
    assert.equal(ended.code, 0, ended.stderr)
    assert.equal(reportIn(ended).verdict, 'valid')
  }
  assert.deepEqual(
    runs.map((ended) => reportIn(ended).source),
    ['okta', 'google-workspace', 'entra-id'],
  )
})

test('a refused token: status 1, with what the provider said, the remedy and where to read on', async (t) => {
  const { revoked } = okta.apiTokens
  const [told, json] = await Promise.all([withToken(t, revoked), withToken(t, revoked, '--json')])
  assert.equal(told.code, 1, told.stderr)
  assert.match(told.stdout, /✗ /)
  assert.match(told.stdout, /Okta answered: 401 E0000011: /)
  assert.match(told.stdout, /Remedy: /)
  assert.match(told.stdout, /See https:\/\/\S+ \(okta_token_rejected\)/)
  assert.match(told.stdout, /– Users can be read \(not asked\)/)
  assert.match(told.stdout, /\n✗ Invalid: 1 required check failed/)
  assert.equal(json.code, 1)
  assert.equal(reportIn(json).verdict, 'invalid')
  for (const ended of [told, json]) assertHidden(ended, revoked)
})

for (const kind of ['unavailable', 'html'] as const) {
  test(`status 3 when the provider's answer is "${kind}": nobody knows`, async (t) => {
    sandbox.setFaults([{ provider: 'okta', kind }])
    const ended = await withToken(t, okta.apiTokens.readOnly)
    assert.equal(ended.code, 3, ended.stdout)
    assert.match(ended.stdout, /\n\? Could not tell: /)
  })
}

test('--timeout bounds a validation whose provider never answers: status 3', async (t) => {
  sandbox.setFaults([{ provider: 'okta', kind: 'hang' }])
  const ended = await withToken(t, okta.apiTokens.readOnly, '--timeout', '0.5', '--json')
  assert.equal(ended.code, 3, ended.stderr)
  assert.equal(reportIn(ended).verdict, 'indeterminate')
})

test('--timeout bounds the wait for a secret that does not come: status 2', async (t) => {
  const child = spawnValidate(t, ['okta', '--domain', okta.host, '--api-token-stdin', '--timeout', '0.5'])
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  assert.equal(code, 2)
  assert.equal(stdout, '')
  assert.match(stderr, /^credence: the secret did not come .*--timeout/)
})

test('a secret comes from a file, from standard input or from the environment, with or without a final newline', async (t) => {
  const token = okta.apiTokens.readOnly
  const domain = ['okta', '--domain', okta.host, '--json']
  const runs = await Promise.all([
    validate(t, [...domain, '--api-token-file', file('token', `${token}\n`)]),
    validate(t, [...domain, '--api-token-file', file('token-bom', `\ufeff${token}\r\n`)]),
    validate(t, [...domain, '--api-token-file', '-'], { input: token }),
    validate(t, domain, { environment: { CREDENCE_OKTA_API_TOKEN: token } }),
  ])
  for (const ended of runs) {
    assert.equal(ended.code, 0, ended.stderr)
    assertHidden(ended, token)
  }
})

test('an option wins over the environment, and a variable of another kind of credentials contradicts nothing', async (t) => {
  const { clientId, privateKey, keyId } = okta.serviceApps.plain
  const domain = ['okta', '--domain', okta.host, '--json']
  const key = file('key.pem', privateKey)
  const runs = await Promise.all([
    validate(t, [...domain, '--api-token-file', file('good', okta.apiTokens.readOnly)], {
      environment: { CREDENCE_OKTA_API_TOKEN: okta.apiTokens.revoked, CREDENCE_OKTA_PRIVATE_KEY: privateKey },
    }),
    validate(t, [...domain, '--client-id', clientId, '--private-key-file', key, '--key-id', keyId], {
      environment: { CREDENCE_OKTA_API_TOKEN: okta.apiTokens.revoked },
    }),
    validate(t, [...domain, '--client-id', clientId, '--key-id', keyId], {
      environment: { CREDENCE_OKTA_API_TOKEN: okta.apiTokens.revoked, CREDENCE_OKTA_PRIVATE_KEY: privateKey },
    }),
  ])
  for (const ended of runs) {
    assert.equal(ended.code, 0, ended.stderr)
    assertHidden(ended, privateKey)
    assertHidden(ended, okta.apiTokens.revoked)
  }
})

test('a certificate with its key, and a federated token, are read from files', async (t) => {
  const { createEntraSandbox } = await import('../sandbox/entra/index.ts')
  const entra = await createEntraSandbox({ users: 6, groups: 2, seed: 'cli certificates' })
  const running = await startSandbox({ providers: [entra], tls: false })
  t.after(() => running.close())
  const environment = {
    CREDENCE_ENDPOINTS: file('entra-endpoints.json', JSON.stringify(running.endpoints)),
  }
  const { certificate } = entra.apps
  const federated = await entra.federated()
  const runs = await Promise.all([
    validate(
      t,
      ['entra-id', '--json', '--domain', entra.domain, '--tenant-id', certificate.tenant_id]
        .concat(['--client-id', certificate.client_id, '--cloud', 'global'])
        .concat(['--certificate-file', file('certificate.pem', certificate.certificate)])
        .concat(['--private-key-file', file('certificate-key.pem', certificate.private_key)]),
      { environment },
    ),
    validate(
      t,
      ['entra-id', '--json', '--domain', entra.domain, '--tenant-id', federated.tenant_id]
        .concat(['--client-id', federated.client_id])
        .concat(['--federated-token-file', file('federated.jwt', `${federated.federated_token}\n`)]),
      { environment },
    ),
  ])
  for (const ended of runs) assert.equal(ended.code, 0, ended.stdout + ended.stderr)
})

test('a custom domain is asked only where the operator allows it', async (t) => {
  const args = ['okta', '--domain', customDomain, '--api-token-stdin', '--json']
  const input = okta.apiTokens.readOnly
  sandbox.forgetRequests()
  const refused = await validate(t, args, { input })
  assert.equal(refused.code, 1, refused.stderr)
  assert.deepEqual(sandbox.requests(), [])
  const allowed = await validate(t, args, {
    input,
    environment: { CREDENCE_CUSTOM_DOMAINS: customDomain },
  })
  assert.equal(allowed.code, 0, allowed.stdout)
})

test('whoever reads the output is told which hosts are answered by this machine', async (t) => {
  const ended = await withToken(t, okta.apiTokens.readOnly, '--json')
  assert.match(ended.stderr, /^warning: CREDENCE_ENDPOINTS is set: .*acme\.okta\.com/)
})

test('without CREDENCE_ENDPOINTS nothing on this machine can be asked', async (t) => {
  sandbox.forgetRequests()
  const hosts = ['127.0.0.1', 'localhost']
  const runs = await Promise.all(
    hosts.map((host) =>
      runCommand(t, ['validate', 'okta', '--domain', host, '--api-token-stdin'], {}, okta.apiTokens.readOnly),
    ),
  )
  assert.deepEqual(
    runs.map(({ code }) => code),
    hosts.map(() => 1),
  )
  assert.deepEqual(sandbox.requests(), [])
})

test('a reader that goes away changes neither the status nor prints an error', async (t) => {
  const revoked = file('revoked', okta.apiTokens.revoked)
  const child = spawnValidate(t, ['okta', '--domain', okta.host, '--api-token-file', revoked])
  child.stdout.destroy()
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  assert.equal(code, 1)
  assert.match(stderr, /^warning: [^\n]*\n$/)
})
