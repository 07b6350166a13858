import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { runCommand } from './running-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'credence-usage-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
mkdirSync(join(folder, 'a folder'))

/** In arguments, where no secret may be; it must never be repeated. */
const canary = 'Canary-7f3a9'
const okta = ['validate', 'okta', '--domain', 'acme.okta.com']
const entra = ['validate', 'entra-id', '--domain', 'acme.com', '--tenant-id', 't', '--client-id', 'c']

interface Case {
  readonly title: string
  readonly args: readonly string[]
  readonly says: RegExp
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
}

const cases: readonly Case[] = [
  { title: 'no command', args: [], says: /^Usage: credence / },
  {
    title: 'an unknown command',
    args: ['validat'],
    says: /unknown command 'validat'\n\(Did you mean validate\?\)/,
  },
  { title: 'no source', args: ['validate'], says: /^Usage: credence validate / },
  { title: 'an unknown source', args: ['validate', 'octa'], says: /\(Did you mean okta\?\)/ },
  {
    title: 'no domain',
    args: ['validate', 'okta', '--api-token-stdin'],
    says: /required option '--domain <domain>' not specified/,
  },
  { title: 'an empty domain', args: ['validate', 'okta', '--domain', ' '], says: /--domain is empty/ },
  {
    title: 'no credentials',
    args: okta,
    says: /API token: --api-token-file F\n.*--client-id ID --private-key-file F \[--key-id ID\]/,
  },
  { title: 'half of the credentials', args: [...okta, '--client-id', 'c'], says: /--private-key-file/ },
  {
    title: 'only credentials that would need the operator',
    args: ['validate', 'google-workspace', '--domain', 'example.com', '--admin-email', 'a@example.com'],
    says: /--service-account-file F/,
  },
  {
    title: 'credentials of two kinds',
    args: [...okta, '--client-id', 'c', '--api-token-file', file('token', 'token')],
    says: /either api_token, or client_id/,
  },
  {
    title: 'an API token as an argument',
    args: [...okta, '--api-token', canary],
    says: /--api-token is refused: .*--api-token-file, --api-token-stdin, CREDENCE_OKTA_API_TOKEN/,
  },
  { title: 'the same with =', args: [...okta, `--api-token=${canary}`], says: /--api-token is refused/ },
  { title: 'a private key as an argument', args: [...okta, '--private-key', canary], says: /is refused/ },
  {
    title: 'a client secret as an argument',
    args: [...entra, '--client-secret', canary],
    says: /is refused/,
  },
  {
    title: 'a key file as an argument',
    args: ['validate', 'google-workspace', '--service-account-json', canary],
    says: /--service-account-json is refused/,
  },
  { title: 'a secret behind a wrong option', args: [...okta, `--token=${canary}`], says: /option '--token'/ },
  { title: 'a secret glued to an option', args: [...okta, `-p${canary}`], says: /unknown option '-p'/ },
  { title: 'a secret without an option', args: [...okta, canary], says: /too many arguments/ },
  {
    title: 'two secrets from standard input',
    args: [...okta, '--api-token-stdin', '--private-key-file', '-'],
    says: /--api-token-stdin and --private-key-file - both read standard input/,
  },
  {
    title: 'one secret from two places',
    args: [...okta, '--api-token-stdin', '--api-token-file', file('twice', 'token')],
    says: /--api-token-file and --api-token-stdin give the same secret/,
  },
  {
    title: 'nothing on standard input',
    args: [...okta, '--api-token-stdin'],
    says: /standard input is empty/,
  },
  {
    title: 'a blank line on standard input',
    args: [...okta, '--api-token-stdin'],
    input: ' \r\n',
    says: /standard input is empty/,
  },
  {
    title: 'a missing file, or the secret where its file belongs',
    args: [...okta, '--api-token-file', join(folder, canary)],
    says: /--api-token-file: the file does not exist/,
  },
  {
    title: 'a folder instead of a file',
    args: [...okta, '--api-token-file', join(folder, 'a folder')],
    says: /--api-token-file: the file is a folder/,
  },
  {
    title: 'an empty file',
    args: [...okta, '--api-token-file', file('empty', '\n')],
    says: /--api-token-file: the file is empty/,
  },
  {
    title: 'a file that is too large',
    args: [...okta, '--api-token-file', file('large', 'x'.repeat(65_537))],
    says: /--api-token-file: .*larger than 64 KiB/,
  },
  {
    title: 'a binary file',
    args: [...entra, '--certificate-file', file('certificate.der', Uint8Array.of(0x30, 0x82, 0, 1))],
    says: /--certificate-file: .*is not UTF-8 text/,
  },
  {
    title: 'a file in UTF-16',
    args: [...okta, '--api-token-file', file('utf16', Buffer.from('\ufefftoken', 'utf16le'))],
    says: /--api-token-file: .*is not UTF-8 text/,
  },
  {
    title: 'a blank variable',
    args: okta,
    environment: { CREDENCE_OKTA_API_TOKEN: '\n' },
    says: /CREDENCE_OKTA_API_TOKEN: the variable is empty/,
  },
  { title: 'a cloud that does not exist', args: [...entra, '--cloud', 'mars'], says: /--cloud.*us-gov-dod/ },
  ...['0', '-1', 'soon', '1e9', 'NaN', ''].map((timeout) => ({
    title: `the time limit "${timeout}"`,
    args: [...okta, `--timeout=${timeout}`],
    says: /--timeout/,
  })),
  {
    title: 'endpoints that are not on this machine',
    args: [...okta, '--api-token-stdin'],
    input: 'token',
    environment: { CREDENCE_ENDPOINTS: file('far.json', '{"acme.okta.com":"http://192.0.2.1"}') },
    says: /CREDENCE_ENDPOINTS: .*loopback/,
  },
  {
    title: 'a custom domain that is none',
    args: [...okta, '--api-token-stdin'],
    input: 'token',
    environment: { CREDENCE_CUSTOM_DOMAINS: 'https://login.example.com' },
    says: /CREDENCE_CUSTOM_DOMAINS/,
  },
  { title: 'a port that is none', args: ['serve', '--port', '65536'], says: /--port/ },
  { title: 'no permissions', args: ['keys', 'create'], says: /required option '--permissions <list>'/ },
  {
    title: 'a permission that does not exist',
    args: ['keys', 'create', '--permissions', 'integrations_read,everything', '--data-dir', folder],
    says: /integrations_read, manage_integrations/,
  },
  { title: 'a key without its id', args: ['keys', 'revoke'], says: /missing required argument 'id'/ },
]

// Four at a time: each is a process.
test('wrong usage ends with status 2, says why, prints nothing on standard output and repeats no secret', {
  concurrency: 4,
}, async (t) => {
  await Promise.all(
    cases.map(({ title, args, says, input, environment }) =>
      t.test(title, async (t) => {
        const { code, stdout, stderr } = await runCommand(t, args, environment, input)
        assert.equal(code, 2, stderr)
        assert.equal(stdout, '')
        assert.match(stderr, says)
        assert.ok(!stderr.includes(canary), 'the secret is repeated')
        assert.doesNotMatch(stderr, /internal error/)
      }),
    ),
  )
})

test('help, also of a command, is no error and names the variables', async (t) => {
  const [root, source, version] = await Promise.all([
    runCommand(t, ['--help']),
    runCommand(t, ['validate', 'okta', '--help']),
    runCommand(t, ['--version']),
  ])
  assert.deepEqual([root.code, source.code, version.code], [0, 0, 0])
  assert.match(root.stdout, /Examples:\n/)
  assert.match(source.stdout, /CREDENCE_OKTA_API_TOKEN/)
  assert.match(source.stdout, /Exit status: 0 valid, 1 invalid, 2 wrong usage .*, 3 could not tell/)
  assert.doesNotMatch(source.stdout, /--api-token /)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

test('sources lists what can be validated and what it needs', async (t) => {
  const [text, json] = await Promise.all([runCommand(t, ['sources']), runCommand(t, ['sources', '--json'])])
  assert.equal(text.code, 0)
  assert.match(text.stdout, /credence validate entra-id\n/)
  const { sources } = JSON.parse(json.stdout)
  assert.deepEqual(
    sources.map(({ name, integration_type }: { name: string; integration_type: string }) => [
      name,
      integration_type,
    ]),
    [
      ['google-workspace', 'GOOGLE_WORKSPACE'],
      ['okta', 'OKTA'],
      ['entra-id', 'ENTRA_ID'],
    ],
  )
  for (const { credentials, checks } of sources) {
    assert.ok(credentials.length > 0 && checks.length > 0)
    for (const { id, stage, needs } of checks) {
      assert.ok(id && stage)
      if (needs !== undefined) assert.match(needs.docs, /^https:/)
    }
  }
})
