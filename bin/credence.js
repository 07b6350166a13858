#!/usr/bin/env -S MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=65536 node --max-semi-space-size=8 --no-separate-gc-phases
// Starts Credence on a Node that can run it. Plain JavaScript that old versions of Node understand too. What keeps its
// memory small can only be told before the start: to V8 how large new space may become (see src/sync/heap.ts), to glibc that
// memory for buffers is given back. https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

// Must agree with "engines" in package.json.
const oldest = [22, 19]
// The pinned Node that a checkout installs as a development dependency.
const pinned = ['../node_modules/node/bin/node', '../node_modules/node/bin/node.exe']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path))

// Node takes types away everywhere but below node_modules, so only a checkout can run its sources.
const isInstalled = /[\\/]node_modules[\\/]/.test(fileURLToPath(import.meta.url))
const runsSources = !isInstalled && existsSync(new URL('../src/cli/main.ts', import.meta.url))
const main = new URL(runsSources ? '../src/cli/main.ts' : '../dist/src/cli/main.js', import.meta.url)

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const isRecent = major > oldest[0] || (major === oldest[0] && minor >= oldest[1])

if (isRecent && (!runsSources || process.features.typescript)) {
  if (existsSync(main)) await import(main.href)
  else refuse('it is not built. Run npm run build in its folder, or install the package again.')
} else if (pinned !== undefined && pinned !== process.execPath) {
  runOn(pinned)
} else {
  refuse(
    `it needs Node ${oldest.join('.')} or newer, and this is ${process.versions.node} (${process.execPath}). ` +
      (isInstalled
        ? 'Install a newer Node from https://nodejs.org and try again.'
        : 'Run npm ci in its folder, which brings one along, or install a newer Node from https://nodejs.org.'),
  )
}

function refuse(reason) {
  process.stderr.write(`credence cannot start: ${reason}\n`)
  process.exitCode = 2
}

function runOn(node) {
  const options = ['--max-semi-space-size=8', '--no-separate-gc-phases', fileURLToPath(import.meta.url)]
  const env = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '65536', ...process.env }
  const child = spawn(node, [...options, ...process.argv.slice(2)], { stdio: 'inherit', env })
  // The child decides what a signal means; this process ends as the child does.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => refuse(`${node} does not run (${error.message}). Run npm ci again.`))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}
