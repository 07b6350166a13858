/** How long a validation takes when each request to the provider takes 100 ms: against its longest chain, and against the SDKs. */
import https from 'node:https'
import { type Benchmark, type Bound, type Measurement, measured } from './benchmark.ts'
import { startChild } from './child.ts'
import { type Rig, startRig } from './rig.ts'
import type { SdkAnswers } from './sdk-process.ts'
import { median } from './statistics.ts'

/** What each request to a provider takes, in milliseconds. */
const latencyMs = 100
const runs = 9
const sdkRuns = 5

/** At most this much longer than the longest chain of requests. */
const mostOverhead = 1.15
/** At least this much faster than the SDKs. */
const leastGain = 2

export const providerLatency: Benchmark = {
  name: 'provider-latency',
  title: `one validation while each request to the provider takes ${latencyMs} ms`,
  async run() {
    const rig = await startRig()
    const sdks = startChild<SdkAnswers>('sdk-process.ts', {
      environment: { NODE_EXTRA_CA_CERTS: rig.addresses.authorityFile },
    })
    const bare = openBareConnection(rig)
    try {
      await sdks.ask('redirect', rig.addresses.endpoints)
      await rig.providers.ask('setLatency', latencyMs)
      // The first one opens the connection.
      await bare.request()
      const bareTimes: number[] = []
      const measurements: Measurement[] = []
      const bounds: Bound[] = []
      const notes: string[] = []
      for (const { kind, attributes, chain, sdk } of rig.scenarios) {
        await rig.validate(attributes)
        const times: number[] = []
        const shares: number[] = []
        let requests = 0
        // A bare request and a validation in turn, so that whatever else the machine does strikes both.
        for (let run = 0; run < runs; run++) {
          const bareMs = await bare.request()
          await rig.providers.ask('takeRequests')
          const ms = await rig.validate(attributes)
          requests = (await rig.providers.ask('takeRequests')).length
          bareTimes.push(bareMs)
          times.push(ms)
          shares.push(ms / (chain.length * bareMs))
        }
        notes.push(`${kind}: ${requests} requests; chain of ${chain.length}: ${chain.join(' → ')}`)
        measurements.push(measured(kind, 'ms', times))
        bounds.push({
          what: `${kind} ÷ its chain`,
          value: median(shares),
          relation: 'at most',
          limit: mostOverhead,
          unit: '',
        })
        if (sdk === undefined) continue
        const probe = { sdk, attributes }
        await sdks.ask('probe', probe)
        await rig.providers.ask('takeRequests')
        const sdkTimes: number[] = []
        for (let run = 0; run < sdkRuns; run++) sdkTimes.push(await sdks.ask('probe', probe))
        const sdkRequests = (await rig.providers.ask('takeRequests')).length / sdkRuns
        measurements.push(
          measured(`${kind}, by the SDK in ${sdkRequests} requests one by one`, 'ms', sdkTimes),
        )
        bounds.push({
          what: `${kind}: times faster than the SDK`,
          value: median(sdkTimes) / median(times),
          relation: 'at least',
          limit: leastGain,
          unit: '',
        })
      }
      measurements.unshift(measured('A bare request over an open connection', 'ms', bareTimes))
      return { measurements, bounds, notes }
    } finally {
      bare.close()
      await Promise.all([sdks.stop(), rig.stop()])
    }
  },
}

/** Requests without any validation around them: what one costs at the least. */
function openBareConnection({ addresses }: Rig): { request(): Promise<number>; close(): void } {
  const host = 'acme.okta.com'
  const { hostname, port } = new URL(addresses.endpoints[host] ?? '')
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: addresses.authority })
  const path = '/.well-known/okta-organization'
  return {
    request: () =>
      new Promise<number>((resolve, reject) => {
        const started = performance.now()
        https
          .get({ agent, hostname, port, servername: host, path, headers: { host } }, (answer) => {
            answer.resume().on('end', () => resolve(performance.now() - started))
          })
          .on('error', reject)
      }),
    close: () => agent.destroy(),
  }
}
