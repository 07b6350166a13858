import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshDatabaseUrl } from './fresh-database.ts'
import { newFolder } from './new-folder.ts'
import { runCommand } from './running-command.ts'

test('a key is shown once, listed without its secret, and revoked for good', async (t) => {
  const DATABASE_URL = await freshDatabaseUrl(t)
  const keys = (...args: string[]) => runCommand(t, ['keys', ...args], { DATABASE_URL })
  const list = async () => JSON.parse((await keys('list', '--json')).stdout).keys

  assert.deepEqual(await list(), [])

  const made = await keys(
    ...[
      'create',
      '--permissions',
      'integrations_read, manage_integrations,read-only',
      '--organization',
      'acme',
      '--name',
      'laptop',
      '--json',
    ],
  )
  assert.equal(made.code, 0, made.stderr)
  const { id, api_key, application_key, ...rest } = JSON.parse(made.stdout)
  assert.deepEqual(rest, {})
  assert.match(api_key, /^[0-9a-f]{32}$/)
  assert.match(application_key, /^[0-9a-f]{40}$/)

  const [listed] = await list()
  const { created_at, prefix, ...told } = listed
  assert.deepEqual(told, {
    id,
    kind: 'pair',
    name: 'laptop',
    organization: 'acme',
    permissions: ['integrations_read', 'manage_integrations', 'siem_entities_read'],
  })
  assert.ok(api_key.startsWith(prefix) && prefix.length < 12)
  assert.ok(!Number.isNaN(Date.parse(created_at)))

  const revoked = await keys('revoke', id)
  assert.equal(revoked.code, 0, revoked.stderr)
  const [after] = await list()
  assert.ok(!Number.isNaN(Date.parse(after.revoked_at)))
  assert.match((await keys('list')).stdout, new RegExp(`^${id} .* acme .* revoked `))
})

test('an access token is one text, made in a data directory that is new', async (t) => {
  const dir = join(newFolder(t), 'data')
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
  const folder = newFolder(t)
  const dir = join(folder, 'data')
  const blocked = join(folder, 'file')
  writeFileSync(blocked, '')
  const runs = await Promise.all([
    runCommand(t, ['keys', 'revoke', '4ad4a164-c724-4207-8e46-4da0ef06d370', '--data-dir', dir]),
    runCommand(t, ['keys', 'list', '--data-dir', blocked]),
    runCommand(t, ['keys', 'list', '--data-dir', dir], {
      DATABASE_URL: 'postgres://credence:hunter2@127.0.0.1:1/none',
    }),
    runCommand(t, ['audit', 'list', '--organization', 'nobody', '--data-dir', dir]),
  ])
  for (const { code, stdout, stderr } of runs) {
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' })
    assert.match(stderr, /^credence: [^\n]+\n$/)
    assert.ok(!stderr.includes('hunter2'))
  }
})

test('organisations are made and listed, and the audit trail of all of them is exported line by line', async (t) => {
  const DATABASE_URL = await freshDatabaseUrl(t)
  const run = async (...args: string[]) => {
    const ended = await runCommand(t, args, { DATABASE_URL })
    assert.equal(ended.code, 0, ended.stderr)
    return ended.stdout
  }
  const made = JSON.parse(await run('orgs', 'create', 'acme', '--json'))
  const { id } = JSON.parse(
    await run('keys', 'create', '--permissions', 'admin', '--organization', made.id, '--json'),
  )
  await run('keys', 'revoke', id)
  const { organizations } = JSON.parse(await run('orgs', 'list', '--json'))
  assert.partialDeepStrictEqual(organizations, [made])
  assert.equal(organizations.length, 1)

  const lines = (await run('audit', 'export')).trimEnd().split('\n')
  assert.partialDeepStrictEqual(
    lines.map((line) => JSON.parse(line)),
    [
      { action: 'organization.create', target: made.id, organization: made.id, actor: 'cli' },
      { action: 'key.create', target: id, organization: made.id, outcome: 'succeeded' },
      { action: 'key.revoke', target: id, organization: made.id, outcome: 'succeeded' },
    ],
  )
  const { events } = JSON.parse(
    await run('audit', 'list', '--organization', 'acme', '--target', id, '--limit', '1', '--json'),
  )
  assert.partialDeepStrictEqual(events, [{ action: 'key.create', target: id }])
  assert.match(await run('audit', 'list', '--action', 'key.revoke'), /succeeded {2}key\.revoke/)
  assert.equal(await run('audit', 'export', '--from', 'now', '--organization', 'acme'), '')
})
