/** What a benchmark is, and what it finds. */
import { type Spread, spread } from './statistics.ts'

/** A measured quantity. A time is in milliseconds, memory in MiB, a ratio has no unit. */
export interface Measurement extends Spread {
  readonly what: string
  readonly unit: 'ms' | 'MiB' | 'requests/s' | 'requests' | 'records/s' | 'principals/s' | ''
}

/** A promise that a measured value must keep. */
export interface Bound {
  readonly what: string
  readonly value: number
  readonly relation: 'at most' | 'at least'
  readonly limit: number
  readonly unit: Measurement['unit']
}

export interface Findings {
  readonly measurements: readonly Measurement[]
  readonly bounds: readonly Bound[]
  /** What a reader must know to judge the figures: what was counted, and how. */
  readonly notes: readonly string[]
}

export interface Benchmark {
  /** What `npm run bench -- NAME` takes. */
  readonly name: string
  readonly title: string
  run(): Promise<Findings>
}

export const measured = (
  what: string,
  unit: Measurement['unit'],
  values: readonly number[],
): Measurement => ({
  what,
  unit,
  ...spread(values),
})

export const holds = ({ value, relation, limit }: Bound): boolean =>
  relation === 'at most' ? value <= limit : value >= limit
