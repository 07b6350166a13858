/** A large organisation synchronised end to end, against the vendor's own SDK that merely lists the same. */
import { type Benchmark, type Bound, type Measurement, measured } from './benchmark.ts'
import { serverOptions, startChild } from './child.ts'
import type { LargeProviderAnswers } from './large-provider-process.ts'
import type { SdkListAnswers } from './sdk-list-process.ts'
import type { SyncServerAnswers } from './sync-server-process.ts'

const size = { users: 200_000, groups: 5_000, devices: 0 } as const
/** One in so many people is changed before the last run. */
const promoted = 100
const providers = ['okta', 'google', 'entra'] as const
const titles = { okta: 'Okta', google: 'Google Workspace', entra: 'Entra ID' } as const
/** Google tells no limit: as for a customer whose quota it has raised, so that the quota is not what is measured. */
const limits = { okta: {}, google: { directory: 1_000_000, reports: 1_000_000 }, entra: {} } as const

/** At least this many times the SDK's rate, and the first run's. */
const leastAgainstSdk = 1
const leastUnchanged = 3

export const sync: Benchmark = {
  name: 'sync',
  title: `${size.users} users, ${size.groups} groups and about a million memberships, stored and indexed`,
  async run() {
    const measurements: Measurement[] = []
    const bounds: Bound[] = []
    const notes = [
      'Rates are users and memberships a second: listed by the SDK, which keeps nothing, and stored by a run. Each is measured once; sandbox, server with its PostgreSQL, and SDK are processes of their own on the same cores.',
    ]
    for (const provider of providers) {
      const title = titles[provider]
      const playing = startChild<LargeProviderAnswers>('large-provider-process.ts')
      const server = startChild<SyncServerAnswers>('sync-server-process.ts', { nodeOptions: serverOptions })
      try {
        const played = await playing.ask('play', { provider, ...size })
        const sdk = startChild<SdkListAnswers>('sdk-list-process.ts', {
          environment: played.authorityFile === '' ? {} : { NODE_EXTRA_CA_CERTS: played.authorityFile },
        })
        const listed = await sdk.ask('list', { provider, ...played })
        await sdk.stop()
        const records = size.users + played.memberships
        const rate = (ms: number) => (records / ms) * 1_000

        await server.ask('start', played)
        const first = await server.ask('firstSync', {
          attributes: played.attributes,
          settings: { budget_percent: 100, limits: limits[provider] },
        })
        const before = await server.ask('revisions')
        const again = await server.ask('sync', 'full')
        const increment = await server.ask('sync', 'incremental')
        const unchanged = await server.ask('revisions')
        const edits = await playing.ask('promote', promoted)
        const changed = await server.ask('sync', 'incremental')
        const after = await server.ask('revisions')
        for (const run of [first, again, increment, changed])
          if (run.status !== 'succeeded') notes.push(`${title}: a run ended as ${run.status}`)
        notes.push(
          `${title}: the SDK listed ${listed.listed.users} users and ${listed.listed.memberships} memberships; the first run made ${first.providerCalls} requests, the increments ${increment.providerCalls} and ${changed.providerCalls}.`,
        )
        measurements.push(
          measured(`${title}: SDK`, 'records/s', [rate(listed.ms)]),
          measured(`${title}: first run`, 'records/s', [rate(first.ms)]),
          measured(`${title}: full run without changes`, 'records/s', [rate(again.ms)]),
          measured(`${title}: increment without changes`, 'ms', [increment.ms]),
          measured(`${title}: increment with 1 % changed`, 'ms', [changed.ms]),
          measured(`${title}: peak memory`, 'MiB', [await server.ask('peakMemory')]),
        )
        bounds.push(
          {
            what: `${title}: first run ÷ SDK`,
            value: listed.ms / first.ms,
            relation: 'at least',
            limit: leastAgainstSdk,
            unit: '',
          },
          {
            what: `${title}: second, unchanged ÷ first`,
            value: first.ms / increment.ms,
            relation: 'at least',
            limit: leastUnchanged,
            unit: '',
          },
          {
            what: `${title}: revisions by unchanged runs`,
            value: unchanged - before,
            relation: 'at most',
            limit: 0,
            unit: '',
          },
          {
            what: `${title}: revisions for 1 % changed, besides those changed`,
            value: Math.abs(after - unchanged - edits),
            relation: 'at most',
            limit: 0,
            unit: '',
          },
        )
      } finally {
        await Promise.all([server.stop(), playing.stop()])
      }
    }
    return { measurements, bounds, notes }
  },
}
