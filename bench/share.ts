/** How much of a bare route's rate this server reaches, measured in turn. */
import { type Bound, type Measurement, measured } from './benchmark.ts'
import { median } from './statistics.ts'

export async function shareOfBareRate(
  what: string,
  {
    bare,
    own,
    pairs,
    least,
  }: { bare: () => Promise<number>; own: () => Promise<number>; pairs: number; least: number },
): Promise<{ readonly measurements: readonly Measurement[]; readonly bound: Bound }> {
  const bareRates: number[] = []
  const rates: number[] = []
  // In turn, so that whatever else the machine does strikes both.
  for (let pair = 0; pair < pairs; pair++) {
    bareRates.push(await bare())
    rates.push(await own())
  }
  const shares = rates.map((rate, pair) => rate / (bareRates[pair] ?? Number.NaN))
  return {
    measurements: [
      measured(`${what}: bare route`, 'requests/s', bareRates),
      measured(`${what}: this server`, 'requests/s', rates),
      measured(`${what}: share`, '', shares),
    ],
    bound: {
      what: `${what}: share of the bare route's rate`,
      value: median(shares),
      relation: 'at least',
      limit: least,
      unit: '',
    },
  }
}
