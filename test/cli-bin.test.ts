import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { serverEnvironment, serverOptions } from '../bench/child.ts'

const root = join(import.meta.dirname, '..')

/** A package of ours in a folder of its own, whose command prints its Node and its arguments, or waits. */
function packageIn(t: TestContext, { source = false, build = false, pinned = false }) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-bin-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const put = (path: string, text: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const program = (name: string) => `
    const [first, code] = process.argv.slice(2)
    if (first === 'exit') process.exitCode = Number(code)
    if (first === 'wait') {
      const timer = setInterval(() => {}, 1000)
      process.on('SIGTERM', () => { clearInterval(timer); process.exitCode = 17 })
    }
    console.log(JSON.stringify(['${name}', process.execPath, ...process.argv.slice(2)]))`
  put('package.json', '{"type":"module"}')
  put('bin/credence.js', '')
  copyFileSync(join(root, 'bin', 'credence.js'), join(folder, 'bin', 'credence.js'))
  if (source) put('src/cli/main.ts', `const typed: number = 1\n${program('source')}`)
  if (build) put('dist/src/cli/main.js', program('build'))
  if (pinned) {
    mkdirSync(join(folder, 'node_modules/node/bin'), { recursive: true })
    symlinkSync(process.execPath, join(folder, 'node_modules/node/bin/node'))
  }
  return {
    folder,
    bin: join(folder, 'bin', 'credence.js'),
    pinnedNode: join(folder, 'node_modules/node/bin/node'),
  }
}

const run = (node: string, bin: string, ...args: string[]) =>
  spawnSync(node, [bin, ...args], { encoding: 'utf8', timeout: 60_000 })

/** A Node on this machine that is too old for the program but knows ES modules. */
const oldNode = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'node'))
  .find((node) => {
    const [major = 0, minor = 0] = spawnSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' })
      .stdout?.split('.')
      .map(Number) ?? [0]
    return major >= 14 && (major < 22 || (major === 22 && minor < 19))
  })
const needsOldNode = oldNode === undefined && 'no Node older than 22.19 on this machine'

test('a checkout runs its sources, a package its build', (t) => {
  const both = packageIn(t, { source: true, build: true })
  assert.deepEqual(JSON.parse(run(process.execPath, both.bin, 'a', '--b').stdout), [
    'source',
    process.execPath,
    'a',
    '--b',
  ])
  const built = packageIn(t, { build: true })
  assert.equal(JSON.parse(run(process.execPath, built.bin).stdout)[0], 'build')
})

test('below node_modules the build is run even where sources are there', (t) => {
  const { folder } = packageIn(t, { source: true, build: true })
  const host = mkdtempSync(join(tmpdir(), 'credence-host-'))
  t.after(() => rmSync(host, { recursive: true, force: true }))
  mkdirSync(join(host, 'node_modules'))
  spawnSync('cp', ['-R', folder, join(host, 'node_modules', 'credence')])
  const { stdout } = run(process.execPath, join(host, 'node_modules', 'credence', 'bin', 'credence.js'))
  assert.equal(JSON.parse(stdout)[0], 'build')
})

test('a package without its build says so, status 2', (t) => {
  const { status, stderr } = run(process.execPath, packageIn(t, {}).bin)
  assert.equal(status, 2)
  assert.match(stderr, /^credence cannot start: it is not built\. Run npm run build/)
})

test('an old Node hands over to the pinned one, with arguments, output and status', {
  skip: needsOldNode,
}, (t) => {
  const { bin, pinnedNode } = packageIn(t, { source: true, pinned: true })
  const { status, stdout } = run(oldNode ?? '', bin, 'exit', '3')
  assert.equal(status, 3)
  const [kind, node, ...args] = JSON.parse(stdout)
  assert.deepEqual([kind, ...args], ['source', 'exit', '3'])
  assert.ok([process.execPath, pinnedNode].includes(node))
})

test('an old Node passes signals on and ends as the pinned one does', { skip: needsOldNode }, async (t) => {
  const { bin } = packageIn(t, { source: true, pinned: true })
  const child = spawn(oldNode ?? '', [bin, 'wait'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 17)
})

test('an old Node alone says what to do, status 2', { skip: needsOldNode }, (t) => {
  const { status, stdout, stderr } = run(oldNode ?? '', packageIn(t, { source: true }).bin, 'validate')
  assert.deepEqual([status, stdout], [2, ''])
  assert.match(stderr, /needs Node 22\.19 or newer, and this is .*Run npm ci/)
})

test('the image, the npm scripts and the benchmarks start Node as the command does, on the Node that is pinned', () => {
  const text = (path: string) => readFileSync(join(root, path), 'utf8')
  const [, environment = '', options = ''] =
    /^#!\/usr\/bin\/env -S ((?:\w+=\S+ )+)node ((?:--\S+ ?)+)\n/.exec(text('bin/credence.js')) ?? []
  const settings = Object.fromEntries(
    environment
      .trim()
      .split(' ')
      .map((one) => one.split('=')),
  )
  assert.deepEqual(settings, serverEnvironment)
  assert.deepEqual(options.split(' '), [...serverOptions])

  const image = text('Dockerfile')
  assert.ok(image.includes(`ENV NODE_ENV=production ${environment.trim()}\n`))
  assert.ok(image.includes(`ENTRYPOINT ["node", ${serverOptions.map((one) => `"${one}"`).join(', ')}, `))
  const { scripts, devDependencies } = JSON.parse(text('package.json'))
  for (const name of ['credence', 'demo', 'dev'])
    assert.ok(scripts[name].startsWith(`node ${options} `), name)
  const images = [...image.matchAll(/^FROM (\S+)/gm)].map(([, from]) => from)
  assert.deepEqual(new Set(images), new Set([`node:${devDependencies.node}-bookworm-slim`]))
})
