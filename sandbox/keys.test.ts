import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { freshKeys, storedKeys } from './keys.ts'

const folder = mkdtempSync(join(tmpdir(), 'credence-keys-'))
after(() => rmSync(folder, { recursive: true }))

test('a fresh key is the same for a name and another one for another name or process', async () => {
  const keys = freshKeys()
  assert.equal(await keys('okta-app'), await keys('okta-app'))
  assert.equal((await keys('okta-app')).equals(await keys('other')), false)
  assert.equal((await keys('okta-app')).equals(await freshKeys()('okta-app')), false)
})

test('a stored key comes back after a restart, and only its owner may read it', async () => {
  const place = join(folder, 'new', 'keys')
  const key = await storedKeys(place)('google')
  assert.ok(key.equals(await storedKeys(place)('google')))
  assert.deepEqual(readdirSync(place), ['google.pem'])
  assert.equal(statSync(join(place, 'google.pem')).mode & 0o777, 0o600)
  assert.equal(statSync(place).mode & 0o777, 0o700)
})

test('a damaged key file is named and left alone', async () => {
  writeFileSync(join(folder, 'broken.pem'), 'nonsense')
  await assert.rejects(storedKeys(folder)('broken'), /broken\.pem does not hold a private key; remove it/)
})

test('a name cannot lead out of the folder', () => {
  for (const name of ['../x', 'a/b', '', 'A', 'a.b']) assert.throws(() => storedKeys(folder)(name), TypeError)
})
