/** Keeps the direction of dependencies: data flows route → service → source or store, never back. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

/** Folder under src → what it may import besides itself and packages. `config.ts` and `service.ts` are src's own files. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  cli: [
    'jobs',
    'entities',
    'api',
    'validation',
    'sources',
    'store',
    'outbound',
    'telemetry',
    'vault',
    'service.ts',
    'config.ts',
    'sandbox',
  ],
  'service.ts': [
    'jobs',
    'api',
    'sync',
    'entities',
    'configs',
    'validation',
    'sources',
    'store',
    'vault',
    'outbound',
    'telemetry',
    'config.ts',
  ],
  configs: ['validation', 'sources', 'store', 'vault'],
  jobs: ['configs', 'sync', 'validation', 'sources', 'store', 'vault', 'outbound', 'telemetry'],
  sync: ['configs', 'entities', 'sources', 'store', 'outbound', 'telemetry'],
  // Below the store lies the model alone; queries stand on the store.
  entities: ['store'],
  api: [
    'configs',
    'sync',
    'entities',
    'validation',
    'sources',
    'store',
    'telemetry',
    'outbound/clean-text.ts',
  ],
  validation: ['sources', 'outbound/http.ts', 'outbound/source-error.ts', 'outbound/clean-text.ts'],
  store: ['entities/model.ts', 'entities/terms.ts', 'sources/source.ts', 'sources/registry.ts', 'vault'],
  vault: [],
  sources: ['outbound', 'entities/model.ts'],
  outbound: [],
  telemetry: [],
  'config.ts': ['outbound/endpoints.ts', 'outbound/host-name.ts', 'vault/keys.ts'],
}

const root = join(import.meta.dirname, '..')
const source = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts'))

/** `src/api/server.ts` → `api`; `src/service.ts` → `service.ts`; `sandbox/x.ts` → `sandbox`. */
const roomOf = (file: string) => {
  const [top, second] = file.split('/')
  return top === 'src' ? second : top
}

const importsOf = (file: string) =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(
    ([, path]) => relative(root, join(root, dirname(file), path ?? '')),
  )

test('no import goes against the arrows', () => {
  const against = source.flatMap((file) => {
    const room = roomOf(file) ?? ''
    const allowed = mayImport[room]
    assert.ok(allowed !== undefined, `src/${room} has no place in the architecture: give it one in this test`)
    return importsOf(file)
      .filter((target) => roomOf(target) !== room)
      .filter((target) => !allowed.some((to) => roomOf(target) === to || target === `src/${to}`))
      .map((target) => `${file} imports ${target}`)
  })
  assert.deepEqual(against, [])
})

test('a source knows no other source', () => {
  const crossing = source
    .filter((file) => /^src\/sources\/[^/]+\//.test(file))
    .flatMap((file) => {
      const own = file.split('/').slice(0, 3).join('/')
      return importsOf(file)
        .filter((target) => /^src\/sources\/[^/]+\//.test(target) && !target.startsWith(`${own}/`))
        .map((target) => `${file} imports ${target}`)
    })
  assert.deepEqual(crossing, [])
})

test('the environment is read in one place', () => {
  const readers = source.filter((file) => /\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8')))
  assert.deepEqual(
    readers.filter((file) => file !== 'src/config.ts'),
    [],
  )
})

test('the network is reached through outbound alone', () => {
  const forbidden =
    /\bglobalThis\.fetch\b|(?<![.\w])fetch\(|from 'node:(?:https?|http2|net|tls|dns)(?:\/promises)?'/
  const reaching = source
    .filter((file) => !file.startsWith('src/outbound/'))
    .filter((file) =>
      forbidden.test(readFileSync(join(root, file), 'utf8').replace(/import type [^\n]+/g, '')),
    )
  assert.deepEqual(reaching, [])
})
