/** What a run's process needs of memory, however large the organisation. */
import { type Benchmark, measured } from './benchmark.ts'
import { startChild } from './child.ts'
import type { LargeProviderAnswers } from './large-provider-process.ts'
import type { SyncServerAnswers } from './sync-server-process.ts'

const sizes = [
  { users: 100_000, groups: 500 },
  { users: 1_000_000, groups: 500 },
] as const
const mostMemory = 250
const mostGrowth = 1.1

export const syncMemory: Benchmark = {
  name: 'sync-memory',
  title: 'Peak resident memory of the server while it synchronises 100,000 and 1,000,000 users',
  async run() {
    const peaks: number[] = []
    const notes: string[] = []
    for (const size of sizes) {
      const playing = startChild<LargeProviderAnswers>('large-provider-process.ts')
      const server = startChild<SyncServerAnswers>('sync-server-process.ts')
      try {
        const played = await playing.ask('play', { provider: 'okta', ...size })
        await server.ask('start', played)
        const { status, seen, ms } = await server.ask('firstSync', {
          attributes: played.attributes,
          settings: { budget_percent: 100 },
        })
        notes.push(`${size.users} users: ${status}, ${seen} entities seen in ${Math.round(ms / 1000)} s.`)
        peaks.push(await server.ask('peakMemory'))
      } finally {
        await Promise.all([server.stop(), playing.stop()])
      }
    }
    const [small = Number.NaN, large = Number.NaN] = peaks
    return {
      measurements: [measured('100,000 users', 'MiB', [small]), measured('1,000,000 users', 'MiB', [large])],
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
