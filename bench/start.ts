/** How long `credence serve` takes from its start until it is ready, on a new data directory and on one that was used. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { generateVaultKey } from '../src/vault/keys.ts'
import { type Benchmark, measured } from './benchmark.ts'
import { median } from './statistics.ts'

const runs = 5
const mostFirstMs = 3_000
const mostAgainMs = 1_000

const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')

export const start: Benchmark = {
  name: 'start',
  title: 'from the start of the command to a server that is ready, with the embedded database',
  async run() {
    const first: number[] = []
    const again: number[] = []
    for (let run = 0; run < runs; run++) {
      const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
      const environment = { CREDENCE_VAULT_KEY: generateVaultKey(), CREDENCE_LOG_LEVEL: 'silent' }
      try {
        first.push(await msUntilReady(dataDir, environment))
        again.push(await msUntilReady(dataDir, environment))
      } finally {
        await rm(dataDir, { recursive: true, force: true })
      }
    }
    return {
      measurements: [measured('First start', 'ms', first), measured('Later start', 'ms', again)],
      bounds: [
        { what: 'First start', value: median(first), relation: 'at most', limit: mostFirstMs, unit: 'ms' },
        { what: 'Later start', value: median(again), relation: 'at most', limit: mostAgainMs, unit: 'ms' },
      ],
      notes: [`${runs} data directories; each server is ended by SIGTERM. Node's own start is part of it.`],
    }
  },
}

async function msUntilReady(dataDir: string, environment: NodeJS.ProcessEnv): Promise<number> {
  const started = performance.now()
  const server = spawn(process.execPath, [main, 'serve', '--port', '0', '--data-dir', dataDir, '--json'], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(server, 'exit')
  const ready = once(createInterface(server.stdout), 'line')
  const [line] = await Promise.race([
    ready,
    exited.then(([code]) => {
      throw new Error(`the server ended with ${code} before it was ready`)
    }),
  ])
  const { url } = JSON.parse(String(line)) as { url: string }
  const answer = await fetch(`${url}/readyz`)
  const ms = performance.now() - started
  if (answer.status !== 200) throw new Error(`the server said it was ready and answered ${answer.status}`)
  server.kill('SIGTERM')
  await exited
  return ms
}
