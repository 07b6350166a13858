import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

test('a bug ends with status 3, names its place and keeps its words, which may hold input, to itself', () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval'].concat(
      `import { exitCodeAfter } from ${JSON.stringify(import.meta.resolve('./failure.ts'))}
       const parse = (text) => JSON.parse(text)
       try { parse('a secret') } catch (error) { process.exitCode = exitCodeAfter(error) }`,
    ),
    { encoding: 'utf8' },
  )
  assert.equal(status, 3, stderr)
  assert.equal(stdout, '')
  assert.match(stderr, /^credence: internal error, please report it: SyntaxError\n +at JSON\.parse/)
  assert.doesNotMatch(stderr, /a secret/)
})

test('output that finds no room is told in one line', { skip: !existsSync('/dev/full') }, () => {
  const full = openSync('/dev/full', 'w')
  try {
    const { status, stderr } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.resolve('./main.ts')), 'sources'],
      { encoding: 'utf8', stdio: ['ignore', full, 'pipe'] },
    )
    assert.equal(stderr, 'credence: the output could not be written (ENOSPC)\n')
    assert.equal(status, 3)
  } finally {
    closeSync(full)
  }
})
