/** How fast a malformed body is refused, compared with the least server there is. */
import autocannon from 'autocannon'
import type { BareAnswers } from './bare-process.ts'
import type { Benchmark, Bound, Measurement } from './benchmark.ts'
import { serverOptions, startChild } from './child.ts'
import { validatePath } from './rig.ts'
import type { ServerAnswers } from './server-process.ts'
import { shareOfBareRate } from './share.ts'

const pairs = 15
/** Of one measurement, in seconds. */
const duration = 1
const connections = 32

/** At least this share of what the bare route does. */
const leastShare = 0.7

const bodies = [
  {
    what: 'Half a JSON document',
    body: '{"data":{"type":"integration_config","attributes":{"domain":"acme.ok',
  },
  {
    what: 'Fields of the wrong kind',
    body: JSON.stringify({
      data: { type: 'integration_config', attributes: { domain: 7, integration_type: 'LDAP', secrets: [] } },
    }),
  },
] as const

export const malformedBody: Benchmark = {
  name: 'malformed-body',
  title: 'refusing a malformed body, compared with a bare Fastify route of the same schema',
  async run() {
    const bare = startChild<BareAnswers>('bare-process.ts')
    const server = startChild<ServerAnswers>('server-process.ts', { nodeOptions: serverOptions })
    try {
      const bareUrl = await bare.ask('start')
      const { url, headers } = await server.ask('start', { endpoints: {}, authority: '', authorityFile: '' })
      const measurements: Measurement[] = []
      const bounds: Bound[] = []
      for (const { what, body } of bodies) {
        const rate = async (origin: string) => {
          const result = await autocannon({
            url: origin + validatePath,
            method: 'POST',
            headers: { ...headers, 'content-type': 'application/json' },
            body,
            connections,
            duration,
          })
          const refused = result.statusCodeStats['400']?.count ?? 0
          if (result.errors > 0 || refused !== result.requests.total)
            throw new Error(`not all were answered 400: ${JSON.stringify(result.statusCodeStats)}`)
          return result.requests.total / result.duration
        }
        await rate(bareUrl)
        await rate(url)
        const share = await shareOfBareRate(what, {
          bare: () => rate(bareUrl),
          own: () => rate(url),
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
          `${pairs} pairs of ${duration} s in turn, ${connections} connections. The bare route knows no keys, limits or metrics.`,
        ],
      }
    } finally {
      await Promise.all([bare.stop(), server.stop()])
    }
  },
}
