import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createAcme } from '../../test/acme-source.ts'
import { readOperatorFile } from './operator.ts'

const { source } = createAcme()
const one = { id: '0d7fa9d0-3f5c-8c43-9f0e-0b2f1d1f8a11', name: 'one' }
const two = { id: 'c0ffee00-3f5c-8c43-9f0e-0b2f1d1f8a11', name: 'two' }

async function read(t: TestContext, document: unknown, files: Readonly<Record<string, string>> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'credence-operator-'))
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'secrets'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const path = join(folder, 'operator.json')
  await writeFile(path, typeof document === 'string' ? document : JSON.stringify(document))
  return readOperatorFile(path, [source])
}

test('an entry serves the organisations and domains that are bound to it, and no others', async (t) => {
  const operator = await read(t, {
    acme: [
      { token: 'first', bindings: [{ organization: 'one', domain: 'A.example' }] },
      {
        token: 'second',
        bindings: [
          { organization: two.id, domain: 'a.example' },
          { organization: 'one', domain: 'b.example' },
        ],
      },
    ],
  })
  assert.deepEqual(operator.entryFor('acme', one, 'a.example'), { token: 'first' })
  assert.deepEqual(operator.entryFor('acme', two, 'a.example'), { token: 'second' })
  assert.deepEqual(operator.entryFor('acme', one, 'b.example'), { token: 'second' })
  assert.equal(operator.entryFor('acme', two, 'b.example'), undefined)
  assert.equal(operator.entryFor('acme', one, 'c.example'), undefined)
  assert.equal(operator.entryFor('other', one, 'a.example'), undefined)
})

test('what serves an organisation is told with its domains, and without secrets', async (t) => {
  const operator = await read(t, {
    acme: [
      {
        token: 'planted',
        bindings: [
          { organization: 'one', domain: 'a.example' },
          { organization: one.id, domain: 'b.example' },
          { organization: 'two', domain: 'a.example' },
        ],
      },
      { token: 'spare', bindings: [] },
    ],
  })
  assert.deepEqual(operator.servicesFor('acme', one), [
    { attributes: {}, domains: ['a.example', 'b.example'] },
  ])
  assert.deepEqual(operator.servicesFor('acme', { id: 'nobody', name: 'nobody' }), [])
  assert.deepEqual(operator.servicesFor('other', one), [])
})

test('members that end in _file hold what the file next to it says, without the final line break', async (t) => {
  const operator = await read(
    t,
    { acme: [{ token_file: 'secrets/token', bindings: [{ organization: 'one', domain: 'a.example' }] }] },
    { 'secrets/token': 'from a file\r\n' },
  )
  assert.deepEqual(operator.entryFor('acme', one, 'a.example'), { token: 'from a file' })
})

test('whatever is wrong is told by the name of the member, and never by its value', async (t) => {
  const binding = { organization: 'one', domain: 'a.example' }
  const faults: [document: unknown, message: RegExp][] = [
    ['{"acme": hunter2', /^the file is not JSON$/],
    [['hunter2'], /^the file: .*expected record/],
    [{ hunter2corp: [] }, /^hunter2corp: expected one of acme$/],
    [{ acme: {} }, /^the file\.acme: .*expected array/],
    [{ acme: [{ token: 5, bindings: [binding] }] }, /^acme\[0\]\.token: .*expected string/],
    [{ acme: [{ bindings: [binding] }] }, /^acme\[0\]\.token: /],
    [{ acme: [{ token: 'hunter2' }] }, /^acme\[0\]\.bindings: /],
    [
      { acme: [{ token: 'hunter2', bindings: [{ domain: 'a.example' }] }] },
      /^acme\[0\]\.bindings\.0\.organization: /,
    ],
    [
      { acme: [{ token: 'hunter2', bindings: [{ organization: 'one', domain: 'not a host' }] }] },
      /^acme\[0\]\.bindings\[0\]\.domain: The domain is not a host name$/,
    ],
    [{ acme: [{ token: 'hunter2', bindings: [binding, binding] }] }, /a\.example is bound twice/],
    [
      { acme: [{ token: 'hunter2', token_file: 'hunter2', bindings: [binding] }] },
      /either token or token_file, not both/,
    ],
    [
      { acme: [{ token_file: 7, bindings: [binding] }] },
      /^acme\[0\]\.token_file: expected the path of a file$/,
    ],
    [
      { acme: [{ token_file: 'gone', bindings: [binding] }] },
      /^acme\[0\]\.token_file cannot be read \(ENOENT\)$/,
    ],
  ]
  for (const [document, message] of faults) {
    await assert.rejects(read(t, document), (error: Error) => {
      assert.match(error.message, message)
      assert.ok(!/hunter2(?!corp)/.test(error.message))
      return true
    })
  }
})

test('a file that is not there is told', async () => {
  await assert.rejects(
    readOperatorFile('/nowhere/operator.json', [source]),
    /^OperatorFileError: the file cannot be read/,
  )
})
