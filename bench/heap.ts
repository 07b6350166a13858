/** Thousands of validations leave nothing behind: the heap of the server stays flat. */
import { type Benchmark, measured } from './benchmark.ts'
import { startRig } from './rig.ts'
import { median } from './statistics.ts'

const validations = 5_000
const atOnce = 8
/** Validations between two looks at the heap. */
const step = 250
/** Not looked at: caches fill and code is optimised meanwhile. */
const warmUp = 1_000

/** The last third may use at most this much more than the first third after the warm-up. */
const mostGrowth = 1.05

export const heap: Benchmark = {
  name: 'heap',
  title: `the server's heap over ${validations} validations`,
  async run() {
    const rig = await startRig()
    try {
      const usedMiB: number[] = []
      let begun = 0
      for (let end = step; end <= validations; end += step) {
        const worker = async () => {
          while (begun < end) {
            const scenario = rig.scenarios[begun++ % rig.scenarios.length]
            if (scenario !== undefined) await rig.validate(scenario.attributes)
          }
        }
        await Promise.all(Array.from({ length: atOnce }, worker))
        if (end > warmUp) usedMiB.push((await rig.server.ask('heapUsed')) / 2 ** 20)
      }
      const third = Math.floor(usedMiB.length / 3)
      const early = usedMiB.slice(0, third)
      const late = usedMiB.slice(-third)
      return {
        measurements: [
          measured(`In use from validation ${warmUp + step} on`, 'MiB', early),
          measured(`In use up to validation ${validations}`, 'MiB', late),
        ],
        bounds: [
          {
            what: 'Late ÷ early',
            value: median(late) / median(early),
            relation: 'at most',
            limit: mostGrowth,
            unit: '',
          },
        ],
        notes: [
          `All kinds of credentials in turn, ${atOnce} at a time; looked at every ${step}, after all garbage was collected.`,
        ],
      }
    } finally {
      await rig.stop()
    }
  },
}
