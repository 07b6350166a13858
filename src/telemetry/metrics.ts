/** Metrics in Prometheus' text format: rate, errors and duration per route, verdicts per source, and the event loop's delay. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  /** @param route the pattern that matched, never the path: its number is bounded */
  countRequest(method: string, route: string, status: number, seconds: number): void
  countValidation(source: string, verdict: 'valid' | 'invalid' | 'indeterminate', seconds: number): void
  countRefusedTrial(source: string): void
  readonly contentType: string
  text(): Promise<string>
  close(): void
}

/** Sampling interval of the event loop's delay, in milliseconds. */
const delayResolutionMs = 10

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const requests = new Histogram({
    name: 'credence_http_request_duration_seconds',
    help: 'Requests answered, by route pattern and status.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  })
  const validations = new Histogram({
    name: 'credence_validation_duration_seconds',
    help: 'Validations that ended, by source and verdict.',
    labelNames: ['source', 'verdict'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 12],
    registers,
  })
  const refusedTrials = new Counter({
    name: 'credence_refused_trials_total',
    help: 'Validations refused because too many unproven credentials were tried on one subject.',
    labelNames: ['source'],
    registers,
  })
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  delay.enable()
  new Gauge({
    name: 'credence_event_loop_delay_seconds',
    help: "The event loop's delay since the last reading.",
    labelNames: ['quantile'],
    registers,
    collect() {
      for (const [quantile, nanoseconds] of [
        ['0.5', delay.percentile(50)],
        ['0.99', delay.percentile(99)],
        ['1', delay.max],
      ] as const) {
        // The sampling interval itself is part of what the histogram holds.
        this.set({ quantile }, Math.max(0, nanoseconds / 1e9 - delayResolutionMs / 1e3))
      }
      delay.reset()
    },
  })
  new Gauge({
    name: 'credence_memory_bytes',
    help: 'Memory of the process.',
    labelNames: ['kind'],
    registers,
    collect() {
      const { rss, heapUsed, external } = process.memoryUsage()
      this.set({ kind: 'resident' }, rss)
      this.set({ kind: 'heap_used' }, heapUsed)
      this.set({ kind: 'external' }, external)
    },
  })
  new Gauge({
    name: 'credence_cpu_seconds_total',
    help: 'Processor time spent, user and system.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.set((user + system) / 1e6)
    },
  })

  return {
    countRequest: (method, route, status, seconds) => requests.observe({ method, route, status }, seconds),
    countValidation: (source, verdict, seconds) => validations.observe({ source, verdict }, seconds),
    countRefusedTrial: (source) => refusedTrials.inc({ source }),
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => delay.disable(),
  }
}
