import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { createAccessToken, createKey, listKeys, openKeyRing, organizationId, revokeKey } from './keys.ts'

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'credence-keys-'))
  t.after(() => rm(path, { recursive: true }))
  return path
}

/** A ring whose clock the test moves, and the trouble it told of. */
async function ring(dataDir: string) {
  let nowMs = 0
  const troubles: string[] = []
  const keys = await openKeyRing(dataDir, {
    onTrouble: (error) => troubles.push(error.message),
    monotonicMs: () => nowMs,
  })
  const passHalfASecond = async () => {
    nowMs += 500
    await keys.refreshed()
  }
  return { keys, troubles, passHalfASecond }
}

test('a key pair is hexadecimal, shown once, and kept as hashes in a file for its owner alone', async (t) => {
  const dataDir = await folder(t)
  const { id, api_key, application_key } = await createKey({ dataDir, permissions: ['integrations_read'] })
  assert.match(api_key, /^[0-9a-f]{32}$/)
  assert.match(application_key, /^[0-9a-f]{40}$/)
  const path = join(dataDir, 'keys.json')
  const text = await readFile(path, 'utf8')
  assert.ok(!text.includes(api_key) && !text.includes(application_key))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(dataDir), ['keys.json'])
  const [listed] = await listKeys({ dataDir })
  assert.partialDeepStrictEqual(listed, {
    id,
    kind: 'pair',
    organization: { name: 'default', id: organizationId('default') },
    permissions: ['integrations_read'],
    prefix: api_key.slice(0, 6),
    revokedAt: undefined,
  })
})

test('only both keys of one pair belong together', async (t) => {
  const dataDir = await folder(t)
  const one = await createKey({ dataDir, permissions: ['integrations_read'], organization: 'one' })
  const two = await createKey({ dataDir, permissions: ['siem_entities_read'], organization: 'two' })
  const { keys } = await ring(dataDir)
  assert.equal(keys.findPair(one.api_key, one.application_key)?.organization.name, 'one')
  assert.equal(keys.findPair(one.api_key, two.application_key), undefined)
  assert.equal(keys.findPair(one.application_key, one.api_key), undefined)
  assert.equal(keys.findPair(one.api_key, ''), undefined)
  assert.equal(keys.findPair('', ''), undefined)
  assert.equal(keys.findApiKey(two.api_key)?.id, two.id)
  assert.equal(keys.findApiKey(two.application_key), undefined)
  assert.equal(keys.findAccessToken(one.api_key), undefined)
})

test('an access token stands alone, and is no API key', async (t) => {
  const dataDir = await folder(t)
  const options = { dataDir, permissions: ['integrations_read'] }
  const personal = await createAccessToken({ ...options, kind: 'personal_access_token' })
  const service = await createAccessToken({ ...options, kind: 'service_access_token' })
  assert.match(personal.access_token, /^ddpat_[\w-]{40}$/)
  assert.match(service.access_token, /^ddsat_[\w-]{40}$/)
  const { keys } = await ring(dataDir)
  assert.equal(keys.findAccessToken(personal.access_token)?.kind, 'personal_access_token')
  assert.equal(keys.findAccessToken(service.access_token)?.kind, 'service_access_token')
  assert.equal(keys.findApiKey(personal.access_token), undefined)
  assert.equal(keys.findPair(personal.access_token, ''), undefined)
})

test('unknown permissions are refused with the list of known ones', async (t) => {
  const dataDir = await folder(t)
  await assert.rejects(
    createKey({ dataDir, permissions: ['integrations_read', 'everything'] }),
    /no such permission: everything; there are integrations_read, manage_integrations, siem_entities_read/,
  )
  await assert.rejects(createKey({ dataDir, permissions: [] }), /no permission given/)
  await assert.rejects(createKey({ dataDir, permissions: ['integrations_read'], organization: ' ' }), /empty/)
  await assert.rejects(revokeKey({ dataDir, id: 'nobody' }), /no key has this id/)
})

test('a server sees new and revoked keys within half a second', async (t) => {
  const dataDir = await folder(t)
  const { keys, passHalfASecond } = await ring(dataDir)
  const made = await createKey({ dataDir, permissions: ['integrations_read'] })
  await passHalfASecond()
  assert.equal(keys.findPair(made.api_key, made.application_key)?.id, made.id)
  await revokeKey({ dataDir, id: made.id })
  await revokeKey({ dataDir, id: made.id })
  await passHalfASecond()
  assert.equal(keys.findPair(made.api_key, made.application_key), undefined)
  assert.equal(keys.findApiKey(made.api_key), undefined)
  assert.ok((await listKeys({ dataDir }))[0]?.revokedAt)
})

test('a broken file leaves the last good keys in force and is told once', async (t) => {
  const dataDir = await folder(t)
  const made = await createKey({ dataDir, permissions: ['integrations_read'] })
  const { keys, troubles, passHalfASecond } = await ring(dataDir)
  await writeFile(join(dataDir, 'keys.json'), '{"version":1,"organizations":[],"keys":[{"id":"hunter2"')
  for (let again = 0; again < 3; again += 1) {
    await passHalfASecond()
    assert.equal(keys.findPair(made.api_key, made.application_key)?.id, made.id)
  }
  assert.equal(troubles.length, 1)
  assert.ok(!troubles.join().includes('hunter2'))
  await writeFile(join(dataDir, 'keys.json'), '{"version":1,"organizations":[],"keys":[{}]}')
  await passHalfASecond()
  assert.equal(keys.findPair(made.api_key, made.application_key)?.id, made.id)
  assert.match(troubles[1] ?? '', /damaged at keys\.0/)
  await assert.rejects(openKeyRing(dataDir, { onTrouble: () => {} }), /damaged/)
})

test('keys vanish with their file', async (t) => {
  const dataDir = await folder(t)
  const made = await createKey({ dataDir, permissions: ['integrations_read'] })
  const { keys, passHalfASecond } = await ring(dataDir)
  await rm(join(dataDir, 'keys.json'))
  await passHalfASecond()
  assert.equal(keys.findApiKey(made.api_key), undefined)
})

test('an organisation is the same under name and id, with keys or before it has any', async (t) => {
  const dataDir = await folder(t)
  const { keys, passHalfASecond } = await ring(dataDir)
  const before = keys.organization('acme')
  const made = await createKey({ dataDir, permissions: ['integrations_read'], organization: 'acme' })
  await createKey({ dataDir, permissions: ['integrations_read'], organization: before.id })
  await passHalfASecond()
  assert.deepEqual(keys.findApiKey(made.api_key)?.organization, before)
  assert.deepEqual(keys.organization(before.id), before)
  assert.equal(new Set((await listKeys({ dataDir })).map(({ organization }) => organization.id)).size, 1)
})

test('no key is lost when several processes make keys at once, and one of them died with the lock', async (t) => {
  const dataDir = await folder(t)
  const gone = await promisify(execFile)(process.execPath, ['-p', 'process.pid + " " + os.hostname() + " x"'])
  await writeFile(join(dataDir, 'keys.json.lock'), gone.stdout.trim())
  const script = `
    import { createKey } from ${JSON.stringify(new URL('keys.ts', import.meta.url).href)}
    const make = () => createKey({ dataDir: process.argv[1], permissions: ['integrations_read'] })
    await Promise.all(Array.from({ length: 10 }, make))`
  await Promise.all(
    Array.from({ length: 3 }, () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, dataDir]),
    ),
  )
  assert.equal((await listKeys({ dataDir })).length, 30)
  assert.deepEqual(await readdir(dataDir), ['keys.json'])
})
