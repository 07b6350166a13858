import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { generateVaultKey, loadVaultKeys, readVaultKeys, VaultKeysError } from './keys.ts'

const newKey = () => randomBytes(32).toString('base64')

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'credence-vault-'))
  t.after(() => rm(path, { recursive: true }))
  return path
}

test('reads one key or several, in order', () => {
  const [first, second] = [newKey(), newKey()]
  assert.deepEqual(
    readVaultKeys(` 2026-11:${first} ,\n old_1.x:${second}\n`).map(({ id, key }) => [
      id,
      key.toString('base64'),
    ]),
    [
      ['2026-11', first],
      ['old_1.x', second],
    ],
  )
})

test('what cannot be read is named by position or id, and never told', () => {
  const key = newKey()
  const long = randomBytes(33).toString('base64')
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    ['', /^there is no key in it: expected <id>:<base64 of 32 bytes>$/],
    [',', /^vault key 1: expected/],
    [key, /^vault key 1: expected/],
    [`a:${key},`, /^vault key 2: expected/],
    [`a:${key},${newKey()}`, /^vault key 2: expected/],
    // Swapped: the key stands where its id belongs.
    [`${key}:a`, /^vault key 1: expected/],
    [`${randomBytes(32).toString('base64url')}:a`, /^vault key 1: expected/],
    [`${randomBytes(32).toString('hex')}:a`, /^vault key 1: expected/],
    [`a b:${key}`, /^vault key 1: expected/],
    [`a:${long}`, /^the vault key a: expected the base64 of 32 bytes/],
    [`a:${key.slice(1)}`, /^the vault key a: expected/],
    [`a:${key.replace(/.$/, '')}`, /^the vault key a: expected/],
    [`a:${randomBytes(32).toString('hex')}`, /^the vault key a: expected/],
    [`a: ${key}`, /^the vault key a: expected/],
    [`a:${key},a:${newKey()}`, /^the vault key a is given twice/],
    [`a:${key},b:${key}`, /^the vault keys a and b are one key under two ids/],
  ]
  for (const [text, message] of cases) {
    assert.throws(
      () => readVaultKeys(text),
      (error: Error) => {
        assert.ok(error instanceof VaultKeysError)
        assert.match(error.message, message)
        for (const part of text.split(/[,:]/))
          if (part.trim().length > 10) assert.ok(!error.message.includes(part.trim()))
        return true
      },
    )
  }
})

test('any text is read or refused, and what stands after a colon is never told', () => {
  const anyKey = fc.tuple(
    fc.string({ maxLength: 40 }),
    fc.string({ unit: 'binary', minLength: 10, maxLength: 60 }),
  )
  fc.assert(
    fc.property(fc.array(anyKey, { maxLength: 3 }), (keys) => {
      try {
        readVaultKeys(keys.map((key) => key.join(':')).join(','))
      } catch (error) {
        assert.ok(error instanceof VaultKeysError)
        for (const [, secret] of keys) assert.ok(!error.message.includes(secret))
      }
    }),
  )
})

test('a text of which the last character holds stray bits is not the key it looks like', () => {
  const key = Buffer.alloc(32, 0xff).toString('base64')
  assert.equal(key.at(-2), '8')
  assert.throws(() => readVaultKeys(`a:${key.slice(0, -2)}9=`), VaultKeysError)
})

test('a generated key is read again, and no two are alike', () => {
  const made = Array.from({ length: 20 }, generateVaultKey)
  const keys = readVaultKeys(made.join(','))
  assert.equal(keys.length, 20)
})

test('keys come from text, from a file or from a command', async (t) => {
  const text = `a:${newKey()},b:${newKey()}`
  const file = join(await folder(t), 'keys')
  await writeFile(file, `${text}\n`)
  const expected = readVaultKeys(text)
  assert.deepEqual(await loadVaultKeys({ text }), expected)
  assert.deepEqual(await loadVaultKeys({ file }), expected)
  assert.deepEqual(await loadVaultKeys({ command: `cat '${file}'`, text: '', file: undefined }), expected)
})

test('without a key, or with two places for it, it says which variables there are', async () => {
  await assert.rejects(loadVaultKeys({}), {
    name: 'VaultKeysError',
    message: /^no vault key: set CREDENCE_VAULT_KEY, CREDENCE_VAULT_KEY_FILE or CREDENCE_VAULT_KEY_COMMAND;/,
  })
  await assert.rejects(loadVaultKeys({ text: `a:${newKey()}`, command: 'true' }), {
    message: 'give one of CREDENCE_VAULT_KEY and CREDENCE_VAULT_KEY_COMMAND, not both',
  })
})

test('a file that cannot be used is named by its variable', async (t) => {
  const dir = await folder(t)
  await writeFile(join(dir, 'empty'), '\n')
  await writeFile(join(dir, 'large'), `a:${newKey()},`.repeat(2_000))
  const cases: readonly (readonly [file: string, message: RegExp])[] = [
    [join(dir, 'gone'), /^CREDENCE_VAULT_KEY_FILE: expected the path of a readable file \(ENOENT\)$/],
    [dir, /^CREDENCE_VAULT_KEY_FILE: expected the path of a readable file \(EISDIR\)$/],
    [join(dir, 'empty'), /^CREDENCE_VAULT_KEY_FILE: there is no key in it/],
    [join(dir, 'large'), /^CREDENCE_VAULT_KEY_FILE: the file is larger than 64 KiB$/],
    // A key given as the name of its file is not repeated.
    [`a:${newKey()}`, /^CREDENCE_VAULT_KEY_FILE: expected the path of a readable file \(ENOENT\)$/],
  ]
  for (const [file, message] of cases) await assert.rejects(loadVaultKeys({ file }), { message })
})

test('a command that fails is named by its exit code, without what it said', async () => {
  const cases: readonly (readonly [command: string, message: RegExp])[] = [
    ['echo hunter2; echo hunter2 >&2; exit 7', /: the command ended with exit code 7; run it by hand/],
    ['kill -TERM $$', /: the command ended with the signal SIGTERM/],
    ['true', /: there is no key in it/],
    ['/no/such/hunter2', /: the command ended with exit code 127/],
    ['echo hunter2', /: vault key 1: expected/],
    ['yes hunter2', /: what the command prints is larger than 64 KiB$/],
  ]
  for (const [command, message] of cases)
    await assert.rejects(loadVaultKeys({ command }), (error: Error) => {
      assert.match(error.message, message)
      assert.match(error.message, /^CREDENCE_VAULT_KEY_COMMAND: /)
      assert.ok(!error.message.includes('hunter2'))
      return true
    })
})

test('a command that does not end is ended with everything it started', async (t) => {
  const file = join(await folder(t), 'pid')
  await assert.rejects(loadVaultKeys({ command: `sleep 600 & echo $! > '${file}'; wait` }, 1_500), {
    message: 'CREDENCE_VAULT_KEY_COMMAND: the command took longer than 1.5 s',
  })
  // One that has ended is gone, or kept for a parent to ask how.
  const status = await readFile(`/proc/${(await readFile(file, 'utf8')).trim()}/status`, 'utf8').catch(
    () => '',
  )
  assert.match(status, /^$|^State:\s+[ZX]/m)
})

test('a command sees PATH and HOME of what it is given and nothing of our environment', async (t) => {
  const file = join(await folder(t), 'seen')
  process.env.CREDENCE_PLANTED = 'hunter2'
  t.after(() => {
    delete process.env.CREDENCE_PLANTED
  })
  const key = newKey()
  await loadVaultKeys({
    command: `env > '${file}'; echo a:${key}`,
    environment: { PATH: '/usr/bin:/bin', HOME: '/nowhere' },
  })
  const seen = (await readFile(file, 'utf8'))
    .split('\n')
    .map((line) => line.split('=')[0])
    .filter((name) => name !== '' && !['_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name ?? ''))
  assert.deepEqual(seen.sort(), ['HOME', 'PATH'])
})
