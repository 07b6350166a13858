/** Many validations at once: all are answered, none much later than a single one, and the event loop stays free. */
import type { ExampleAttributes } from '../sandbox/provider.ts'
import { type Benchmark, type Bound, type Measurement, measured } from './benchmark.ts'
import type { RecordedProviderAnswers } from './recorded-provider-process.ts'
import { startRig } from './rig.ts'
import { median, percentile } from './statistics.ts'

const atOnce = 200
/** What each request to a provider takes, in milliseconds; the same for one and for many. */
const latencyMs = 100
const runs = 11
/** Rounds of each kind before any is measured: a server that runs is meant, and not one whose code is not compiled yet. */
const warmUpRounds = 12
const singleRuns = 9

/** At most this many times as long as a single one, for 99 of 100. */
const mostSlowdown = 2
/** Longest delay of the server's event loop, for 99 of 100 samples, in milliseconds. */
const mostDelayMs = 50

/** One kind of credentials per provider; the others differ in their token request alone. */
const kinds = ['Google Workspace, service account', 'Okta, API token', 'Entra ID, client secret']

export const concurrency: Benchmark = {
  name: 'concurrency',
  title: `${atOnce} validations at once while each request to the provider takes ${latencyMs} ms`,
  async run() {
    const rig = await startRig<RecordedProviderAnswers>('recorded-provider-process.ts')
    try {
      await rig.providers.ask('setLatency', latencyMs)
      const measurements: Measurement[] = []
      const bounds: Bound[] = []
      const notes = [
        'Server, providers and load are a process each. The providers answer from memory over plain HTTP: a TLS handshake costs about a millisecond of processor time on either side, and a validation makes five or more.',
      ]
      const scenarios = rig.scenarios.filter((scenario) => kinds.includes(scenario.kind))
      const many = (attributes: ExampleAttributes) =>
        Promise.all(Array.from({ length: atOnce }, () => rig.attempt(attributes)))
      for (let round = 0; round < warmUpRounds; round++)
        for (const { attributes } of scenarios) await many(attributes)
      for (const { kind, attributes } of scenarios) {
        await many(attributes)
        const single: number[] = []
        for (let run = 0; run < singleRuns; run++) single.push(await rig.validate(attributes))

        const usual: number[] = []
        const slowest: number[] = []
        const delays: number[] = []
        const processorMs: number[] = []
        const failures: string[] = []
        for (let run = 0; run < runs; run++) {
          await rig.server.ask('watchEventLoop')
          const spent = await rig.server.ask('cpuMs')
          const ends = await many(attributes)
          processorMs.push(((await rig.server.ask('cpuMs')) - spent) / atOnce)
          delays.push((await rig.server.ask('eventLoopDelay')).p99)
          const times = ends.map(({ ms }) => ms)
          usual.push(percentile(times, 0.5))
          slowest.push(percentile(times, 0.99))
          failures.push(...ends.flatMap(({ failure }) => failure ?? []))
        }
        if (failures[0] !== undefined)
          notes.push(`${kind}: ${failures.length} failed, such as: ${failures[0]}`)
        measurements.push(
          measured(`${kind}: one`, 'ms', single),
          measured(`${kind}: median of ${atOnce}`, 'ms', usual),
          measured(`${kind}: p99 of ${atOnce}`, 'ms', slowest),
          measured(`${kind}: event loop delay, p99`, 'ms', delays),
          measured(`${kind}: processor time of the server for each`, 'ms', processorMs),
        )
        bounds.push(
          {
            what: `${kind}: not answered 200`,
            value: failures.length,
            relation: 'at most',
            limit: 0,
            unit: 'requests',
          },
          {
            what: `${kind}: p99 of ${atOnce} ÷ one`,
            value: median(slowest) / median(single),
            relation: 'at most',
            limit: mostSlowdown,
            unit: '',
          },
          {
            what: `${kind}: event loop delay, p99`,
            value: median(delays),
            relation: 'at most',
            limit: mostDelayMs,
            unit: 'ms',
          },
        )
      }
      return { measurements, bounds, notes }
    } finally {
      await rig.stop()
    }
  },
}
