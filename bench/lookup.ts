/** How fast identities are looked up among a million with a history, now and at a moment, one by one and in bulk. */
import autocannon from 'autocannon'
import { entityId } from '../src/entities/model.ts'
import type { BareLookupAnswers } from './bare-lookup-process.ts'
import { type Benchmark, measured } from './benchmark.ts'
import { startChild } from './child.ts'
import type { LookupAnswers } from './lookup-process.ts'
import { emailOf, revisionsEach } from './lookup-rows.ts'
import { shareOfBareRate } from './share.ts'
import { percentile } from './statistics.ts'

const identities = 1_000_000
const pairs = 7
/** Of one measurement, in seconds. */
const duration = 3
/** Of those that are in no hurry: what is measured is the server, not a queue before it. */
const fewConnections = 4
const manyConnections = 32
const principalsAtOnce = 1_000

const longestLookupMs = 5
const leastShare = 0.6
const leastPrincipals = 50_000

const contextPath = '/api/v2/security_monitoring/entity_context'
const lookupPath = '/api/v2/credence/entities/lookup'

const random = () => Math.floor(Math.random() * identities)

export const lookup: Benchmark = {
  name: 'lookup',
  title: `looking up who somebody is among ${identities} identities with ${revisionsEach} revisions each`,
  async run() {
    const server = startChild<LookupAnswers>('lookup-process.ts')
    const bare = startChild<BareLookupAnswers>('bare-lookup-process.ts')
    try {
      const { url, headers, organizationId, configId, connection, loadedInSeconds } = await server.ask(
        'start',
        identities,
      )
      const bareUrl = await bare.ask('start', { connection, organizationId })
      const moment = new Date(Date.now() - 40 * 86_400_000).toISOString()

      /** Requests a second, each with an address of its own. */
      const rate = async (
        origin: string,
        path: () => string,
        connections = manyConnections,
        body?: () => string,
      ) => {
        const result = await autocannon({
          url: origin,
          headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
          connections,
          duration,
          requests: [
            {
              method: body === undefined ? 'GET' : 'POST',
              setupRequest: (request) => ({ ...request, path: path(), ...(body && { body: body() }) }),
            },
          ],
        })
        const answered = result.statusCodeStats['200']?.count ?? 0
        if (result.errors > 0 || answered !== result.requests.total)
          throw new Error(`not all were answered 200: ${JSON.stringify(result.statusCodeStats)}`)
        return answered / result.duration
      }
      const byEmail = () => `${contextPath}?query=${emailOf(random())}`
      const byEmailThen = () => `${byEmail()}&as_of=${moment}`
      const idOf = (n: number) =>
        entityId(organizationId, configId, 'identity', `00u${String(n).padStart(17, '0')}`)
      const lookUp = () =>
        JSON.stringify({
          data: {
            type: 'entity_lookup',
            attributes: { principals: Array.from({ length: principalsAtOnce }, () => emailOf(random())) },
          },
        })

      const inServer = async (path: () => string) => {
        const slowest: number[] = []
        await rate(url, path, fewConnections)
        await server.ask('takeDurations')
        for (let n = 0; n < pairs; n++) {
          await rate(url, path, fewConnections)
          slowest.push(percentile(await server.ask('takeDurations'), 0.99))
        }
        return measured('', 'ms', slowest)
      }
      const now = await inServer(byEmail)
      const then = await inServer(byEmailThen)

      await rate(bareUrl, () => `/entities/${idOf(random())}`)
      const share = await shareOfBareRate('One entity, by its id', {
        bare: () => rate(bareUrl, () => `/entities/${idOf(random())}`),
        own: () => rate(url, () => `${contextPath}/${idOf(random())}?as_of=now`),
        pairs,
        least: leastShare,
      })

      const principals: number[] = []
      await rate(url, () => lookupPath, fewConnections, lookUp)
      for (let n = 0; n < pairs; n++)
        principals.push(principalsAtOnce * (await rate(url, () => lookupPath, fewConnections, lookUp)))
      const bulk = measured(`Look-up of ${principalsAtOnce} at once`, 'principals/s', principals)

      const scanning = (await server.ask('plans')).filter(({ scans }) => scans.length > 0)
      return {
        measurements: [
          { ...now, what: 'By e-mail address, in the server: 99th percentile' },
          { ...then, what: 'By e-mail address at a moment, in the server: 99th percentile' },
          ...share.measurements,
          bulk,
        ],
        bounds: [
          {
            what: 'By e-mail address: 99th percentile',
            value: now.median,
            relation: 'at most',
            limit: longestLookupMs,
            unit: 'ms',
          },
          {
            what: 'By e-mail address at a moment: 99th percentile',
            value: then.median,
            relation: 'at most',
            limit: longestLookupMs,
            unit: 'ms',
          },
          share.bound,
          {
            what: 'Principals looked up',
            value: bulk.median,
            relation: 'at least',
            limit: leastPrincipals,
            unit: 'principals/s',
          },
          {
            what: 'Questions that scan entities',
            value: scanning.length,
            relation: 'at most',
            limit: 0,
            unit: '',
          },
        ],
        notes: [
          `Loaded by COPY and indexed in ${Math.round(loadedInSeconds)} s. ${pairs} times ${duration} s each, every request for another identity.`,
          `Times in the server are its log's, with ${fewConnections} connections; shares are of ${manyConnections}. The bare route knows no keys, limits, metrics or configurations, and reads one revision by primary key.`,
          ...scanning.map(({ question, scans }) => `${question}: ${scans.join(', ')}`),
        ],
      }
    } finally {
      await bare.stop()
      await server.stop()
    }
  },
}
