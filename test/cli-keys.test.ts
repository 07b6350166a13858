import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runCommand } from './running-command.ts'

function dataDir(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-keys-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'data')
}

test('a key is shown once, listed without its secret, and revoked for good', async (t) => {
  const dir = dataDir(t)
  const keys = (...args: string[]) => runCommand(t, ['keys', ...args, '--data-dir', dir])
  const list = async () => JSON.parse((await keys('list', '--json')).stdout).keys

  assert.deepEqual(await list(), [])

  const made = await keys(
    ...[
      'create',
      '--permissions',
      'integrations_read, manage_integrations',
      '--organization',
      'acme',
      '--json',
    ],
  )
  assert.equal(made.code, 0, made.stderr)
  const { id, api_key, application_key, ...rest } = JSON.parse(made.stdout)
  assert.deepEqual(rest, {})
  assert.match(api_key, /^[0-9a-f]{32}$/)
  assert.match(application_key, /^[0-9a-f]{40}$/)
  const stored = readFileSync(join(dir, 'keys.json'), 'utf8')
  assert.ok(!stored.includes(api_key) && !stored.includes(application_key))
  assert.equal(statSync(join(dir, 'keys.json')).mode & 0o077, 0)

  const [listed] = await list()
  const { created_at, prefix, ...told } = listed
  assert.deepEqual(told, {
    id,
    kind: 'pair',
    organization: 'acme',
    permissions: ['integrations_read', 'manage_integrations'],
  })
  assert.ok(api_key.startsWith(prefix) && prefix.length < 12)
  assert.ok(!Number.isNaN(Date.parse(created_at)))

  const revoked = await keys('revoke', id)
  assert.equal(revoked.code, 0, revoked.stderr)
  const [after] = await list()
  assert.ok(!Number.isNaN(Date.parse(after.revoked_at)))
  assert.match((await keys('list')).stdout, new RegExp(`^${id} .* acme .* revoked `))
})

test('an access token is one text', async (t) => {
  const dir = dataDir(t)
  const made = await runCommand(
    t,
    ['keys', 'create', '--permissions', 'integrations_read', '--access-token', 'service'].concat([
      '--data-dir',
      dir,
      '--json',
    ]),
  )
  assert.equal(made.code, 0, made.stderr)
  assert.match(JSON.parse(made.stdout).access_token, /^ddsat_/)
})

test('what cannot be done is told in one line, status 1', async (t) => {
  const dir = dataDir(t)
  const blocked = `${dir}-file`
  writeFileSync(blocked, '')
  const damaged = mkdtempSync(join(tmpdir(), 'credence-damaged-'))
  t.after(() => rmSync(damaged, { recursive: true, force: true }))
  writeFileSync(join(damaged, 'keys.json'), '{"version":1')
  const runs = await Promise.all([
    runCommand(t, ['keys', 'revoke', '4ad4a164-c724-4207-8e46-4da0ef06d370', '--data-dir', dir]),
    runCommand(t, ['keys', 'list', '--data-dir', blocked]),
    runCommand(t, ['keys', 'list', '--data-dir', damaged]),
  ])
  for (const { code, stdout, stderr } of runs) {
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
    assert.match(stderr, /^credence: [^\n]+\n$/)
  }
})
