/** How fast stored configurations are read, compared with the least server that runs the same SQL. */
import autocannon from 'autocannon'
import type { BareReadsAnswers } from './bare-reads-process.ts'
import type { Benchmark, Bound, Measurement } from './benchmark.ts'
import { serverOptions, startChild } from './child.ts'
import type { ReadsAnswers } from './reads-process.ts'
import { shareOfBareRate } from './share.ts'

const configurations = 100
const pairs = 7
/** Of one measurement, in seconds. */
const duration = 2
const connections = 32

/** At least this share of what the bare routes do. */
const leastShare = 0.6

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'

export const reads: Benchmark = {
  name: 'reads',
  title: `reading one and ${configurations} configurations, compared with bare Fastify routes on pg`,
  async run() {
    const server = startChild<ReadsAnswers>('reads-process.ts', { nodeOptions: serverOptions })
    const bare = startChild<BareReadsAnswers>('bare-reads-process.ts')
    try {
      const { url, headers, ids, organizationId, connection } = await server.ask('start', configurations)
      const bareUrl = await bare.ask('start', { connection, organizationId })
      const rate = async (address: string) => {
        const result = await autocannon({ url: address, headers, connections, duration })
        const answered = result.statusCodeStats['200']?.count ?? 0
        if (result.errors > 0 || answered !== result.requests.total)
          throw new Error(`not all were answered 200: ${JSON.stringify(result.statusCodeStats)}`)
        return answered / result.duration
      }
      const measurements: Measurement[] = []
      const bounds: Bound[] = []
      for (const [what, path] of [
        ['One', `/${ids[0]}`],
        [`All ${configurations}`, ''],
      ] as const) {
        const addresses = { bare: `${bareUrl}/configs${path}`, own: `${url}${configsPath}${path}` }
        await rate(addresses.bare)
        await rate(addresses.own)
        const share = await shareOfBareRate(what, {
          bare: () => rate(addresses.bare),
          own: () => rate(addresses.own),
          pairs,
          least: leastShare,
        })
        measurements.push(...share.measurements)
        bounds.push(share.bound)
      }
      return {
        measurements,
        bounds,
        notes: [
          `${pairs} pairs of ${duration} s in turn, ${connections} connections, 10 connections to one embedded PostgreSQL each. The bare routes know no keys, limits or metrics.`,
        ],
      }
    } finally {
      await bare.stop()
      await server.stop()
    }
  },
}
