/** How much of what a provider permits a run uses, while the provider enforces its limits. */
import { type Benchmark, measured } from './benchmark.ts'
import { serverOptions, startChild } from './child.ts'
import type { LargeProviderAnswers } from './large-provider-process.ts'
import type { SyncServerAnswers } from './sync-server-process.ts'

/** Requests a minute for lists of users, as Okta published them; three minutes' worth of pages. */
const perMinute = 600
const size = { users: 360_000, groups: 1, devices: 0 } as const
const leastShare = 0.95

export const syncLimits: Benchmark = {
  name: 'sync-limits',
  title: `Three minutes of pages from a provider that refuses more than ${perMinute} requests a minute`,
  async run() {
    const playing = startChild<LargeProviderAnswers>('large-provider-process.ts')
    const server = startChild<SyncServerAnswers>('sync-server-process.ts', { nodeOptions: serverOptions })
    try {
      const played = await playing.ask('play', { provider: 'okta', ...size, requestsPerMinute: perMinute })
      await server.ask('start', played)
      const run = await server.ask('firstSync', {
        attributes: played.attributes,
        settings: { budget_percent: 100 },
      })
      const rates = await playing.ask('requestsByMinute', '/api/v1/users')
      // The first and the last minute are not whole ones.
      const whole = rates.slice(1, -1)
      return {
        measurements: [measured('requests in a whole minute', 'requests', whole)],
        bounds: [
          {
            what: 'used of what is permitted',
            value: Math.min(...whole) / perMinute,
            relation: 'at least',
            limit: leastShare,
            unit: '',
          },
          { what: 'refusals', value: run.throttled, relation: 'at most', limit: 0, unit: 'requests' },
        ],
        notes: [
          `The run ${run.status} after ${Math.round(run.ms / 1000)} s and ${run.providerCalls} requests.`,
        ],
      }
    } finally {
      await Promise.all([server.stop(), playing.stop()])
    }
  },
}
