/** Runs the benchmarks: `npm run bench`, `npm run bench -- NAME…`, `npm run bench -- --json`. Ends with 1 when a bound is broken. */
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { type Benchmark, type Bound, type Findings, holds, type Measurement } from './benchmark.ts'
import { concurrency } from './concurrency.ts'
import { heap } from './heap.ts'
import { lookup } from './lookup.ts'
import { malformedBody } from './malformed-body.ts'
import { providerLatency } from './provider-latency.ts'
import { reads } from './reads.ts'
import { start } from './start.ts'
import { sync } from './sync.ts'
import { syncLimits } from './sync-limits.ts'
import { syncMemory } from './sync-memory.ts'
import { vaultOpening } from './vault.ts'

const benchmarks: readonly Benchmark[] = [
  providerLatency,
  concurrency,
  heap,
  malformedBody,
  reads,
  start,
  vaultOpening,
  sync,
  syncMemory,
  syncLimits,
  lookup,
]

const { values: options, positionals: names } = parseArgs({
  options: { json: { type: 'boolean', default: false }, list: { type: 'boolean', default: false } },
  allowPositionals: true,
})

const print = (line = '') => process.stdout.write(`${line}\n`)

const digits = (value: number) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2))
const withUnit = (value: number, unit: string) => (unit === '' ? digits(value) : `${digits(value)} ${unit}`)

function printFindings({ measurements, bounds, notes }: Findings) {
  for (const note of notes) print(`  · ${note}`)
  const width = Math.max(0, ...[...measurements, ...bounds].map(({ what }) => what.length))
  for (const measurement of measurements) print(`  ${line(measurement, width)}`)
  for (const bound of bounds) print(`${holds(bound) ? '✓' : '✗'} ${boundLine(bound, width)}`)
}

const line = ({ what, unit, median, min, max, runs }: Measurement, width: number) =>
  `${what.padEnd(width)}  ${withUnit(median, unit)}` +
  (runs > 1 ? `  (median of ${runs}; ${digits(min)}–${digits(max)})` : '')

const boundLine = ({ what, value, relation, limit, unit }: Bound, width: number) =>
  `${what.padEnd(width)}  ${withUnit(value, unit)}  (${relation} ${withUnit(limit, unit)})`

const unknown = names.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name))
if (options.list || unknown.length > 0) {
  for (const name of unknown) process.stderr.write(`no benchmark is called ${name}\n`)
  for (const { name, title } of benchmarks) print(`${name.padEnd(20)} ${title}`)
  process.exit(unknown.length > 0 ? 2 : 0)
}

const machine = {
  date: new Date().toISOString(),
  node: process.versions.node,
  processors: cpus().length,
  processor: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
}
const chosen = benchmarks.filter(({ name }) => names.length === 0 || names.includes(name))
const found: (Findings & { name: string; title: string; seconds: number })[] = []

if (!options.json) {
  print(
    `Node ${machine.node}, ${machine.processors} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.date}`,
  )
}
for (const { name, title, run } of chosen) {
  if (!options.json) print(`\n${name}: ${title}`)
  const started = performance.now()
  const findings = await run()
  found.push({ name, title, seconds: Math.round((performance.now() - started) / 100) / 10, ...findings })
  if (!options.json) printFindings(findings)
}

const broken = found.flatMap(({ bounds }) => bounds.filter((bound) => !holds(bound)))
if (options.json) {
  const benchmarksWithVerdicts = found.map(({ bounds, ...rest }) => ({
    ...rest,
    bounds: bounds.map((bound) => ({ ...bound, holds: holds(bound) })),
  }))
  print(JSON.stringify({ ...machine, benchmarks: benchmarksWithVerdicts }, null, 2))
} else {
  const bounds = found.flatMap((findings) => findings.bounds)
  print(`\n${bounds.length - broken.length} of ${bounds.length} bounds hold`)
}
process.exit(broken.length > 0 ? 1 : 0)
