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
    try {
      await sdks.ask('redirect', rig.addresses.endpoints)
      await rig.providers.ask('setLatency', latencyMs)
      const bare = await bareRequests(rig)
      const requestMs = median(bare)
      const measurements: Measurement[] = [measured('A bare request over an open connection', 'ms', bare)]
      const bounds: Bound[] = []
      const notes: string[] = []
      for (const { kind, attributes, chain, sdk } of rig.scenarios) {
        await rig.validate(attributes)
        await rig.providers.ask('takeRequests')
        const times: number[] = []
        for (let run = 0; run < runs; run++) times.push(await rig.validate(attributes))
        const requests = (await rig.providers.ask('takeRequests')).length / runs
        const chainMs = chain.length * requestMs
        notes.push(`${kind}: ${requests} requests; chain of ${chain.length}: ${chain.join(' → ')}`)
        measurements.push(measured(kind, 'ms', times))
        bounds.push({
          what: `${kind} ÷ its chain`,
          value: median(times) / chainMs,
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
      return { measurements, bounds, notes }
    } finally {
      await Promise.all([sdks.stop(), rig.stop()])
    }
  },
}

/** Requests without any validation around them; what a request costs at the least. */
async function bareRequests({ addresses }: Rig): Promise<number[]> {
  const host = 'acme.okta.com'
  const { hostname, port } = new URL(addresses.endpoints[host] ?? '')
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: addresses.authority })
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      const started = performance.now()
      https
        .get(
          {
            agent,
            hostname,
            port,
            servername: host,
            path: '/.well-known/okta-organization',
            headers: { host },
          },
          (answer) => {
            answer.resume().on('end', () => resolve(performance.now() - started))
          },
        )
        .on('error', reject)
    })
  try {
    // The first opens the connection.
    await ask()
    const times: number[] = []
    for (let run = 0; run < runs; run++) times.push(await ask())
    return times
  } finally {
    agent.destroy()
  }
}
