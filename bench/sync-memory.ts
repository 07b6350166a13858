/** What the published server needs of memory while it synchronises, however large the organisation. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { generateVaultKey } from '../src/vault/keys.ts'
import { type Benchmark, type Measurement, measured } from './benchmark.ts'
import { serverEnvironment, serverOptions, startChild } from './child.ts'
import type { LargeProvider, LargeProviderAnswers } from './large-provider-process.ts'
import { type Address, firstSync } from './sync-client.ts'

const root = join(import.meta.dirname, '..')
const main = join(root, 'dist', 'src', 'cli', 'main.js')
/** A peak is a matter of luck by a tenth: where a run is short, there are three. */
const sizes = [
  { users: 100_000, groups: 500, runs: 3 },
  { users: 1_000_000, groups: 500, runs: 1 },
] as const
const mostMemory = 250
const mostGrowth = 1.1

/** The build, served as a user would: Node's own need is in its memory, what runs TypeScript is not. */
async function serve({ endpoints }: LargeProvider) {
  const dataDir = mkdtempSync(join(tmpdir(), 'credence-bench-'))
  const endpointsFile = join(dataDir, 'endpoints.json')
  writeFileSync(endpointsFile, JSON.stringify(endpoints))
  const options = {
    env: {
      ...serverEnvironment,
      PATH: process.env.PATH,
      CREDENCE_ENDPOINTS: endpointsFile,
      CREDENCE_VAULT_KEY: generateVaultKey(),
      CREDENCE_LOG_LEVEL: 'silent',
    },
  }
  const command = (...args: string[]) => [...serverOptions, main, ...args, '--data-dir', dataDir, '--json']
  const server = spawn(process.execPath, command('serve', '--port', '0'), {
    ...options,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string]
  const { url, pid } = JSON.parse(line) as { url: string; pid: number }
  const keys = JSON.parse(
    execFileSync(
      process.execPath,
      command('keys', 'create', '--permissions', 'integrations_read,manage_integrations'),
      { ...options, encoding: 'utf8' },
    ),
  ) as { api_key: string; application_key: string }
  const address: Address = {
    url,
    headers: { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key },
  }
  return {
    address,
    /** @see https://man7.org/linux/man-pages/man5/proc_pid_status.5.html */
    peakMiB: () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024,
    async stop() {
      server.kill('SIGTERM')
      await once(server, 'exit')
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

export const syncMemory: Benchmark = {
  name: 'sync-memory',
  title: 'Peak resident memory of the server while it synchronises 100,000 and 1,000,000 users',
  async run() {
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: root })
    const notes: string[] = []
    /** The most memory of one run, on a new database. */
    const peakOf = async (size: { readonly users: number; readonly groups: number }) => {
      const playing = startChild<LargeProviderAnswers>('large-provider-process.ts')
      try {
        const played = await playing.ask('play', { provider: 'okta', ...size })
        const server = await serve(played)
        try {
          const { run } = await firstSync(server.address, played.attributes, { budget_percent: 100 })
          notes.push(
            `${size.users} users: ${run.status}, ${run.seen} records seen in ${Math.round(run.ms / 1000)} s.`,
          )
          return server.peakMiB()
        } finally {
          await server.stop()
        }
      } finally {
        await playing.stop()
      }
    }
    const measurements: Measurement[] = []
    for (const { runs, ...size } of sizes) {
      const peaks: number[] = []
      while (peaks.length < runs) peaks.push(await peakOf(size))
      measurements.push(measured(`${size.users.toLocaleString('en')} users`, 'MiB', peaks))
    }
    const [small = Number.NaN, large = Number.NaN] = measurements.map(({ median }) => median)
    return {
      measurements,
      bounds: [
        { what: '1,000,000 users', value: large, relation: 'at most', limit: mostMemory, unit: 'MiB' },
        {
          what: '1,000,000 ÷ 100,000',
          value: large / small,
          relation: 'at most',
          limit: mostGrowth,
          unit: '',
        },
      ],
      notes,
    }
  },
}
