/** Metrics in Prometheus' text format: rate, errors and duration per route, verdicts per source, and the event loop's delay. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  /** @param route the pattern that matched, never the path: its number is bounded */
  countRequest(method: string, route: string, status: number, seconds: number): void
  countValidation(source: string, verdict: 'valid' | 'invalid' | 'indeterminate', seconds: number): void
  countRefusedTrial(source: string): void
  /** A job of the server's own ended. @param end a name out of a few */
  countJob(queue: string, end: string): void
  /** How long after it was due a job began. */
  observeJobDelay(queue: string, seconds: number): void
  /** Jobs that are ready and that no node has come to. */
  setJobsWaiting(queue: string, count: number): void
  /** All configurations there are, in place of what was told before. */
  setConfigs(counts: readonly ConfigsOfState[]): void
  readonly contentType: string
  text(): Promise<string>
  close(): void
}

export interface ConfigsOfState {
  readonly integrationType: string
  readonly state: string
  readonly enabled: boolean
  readonly count: number
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
  const jobs = new Counter({
    name: 'credence_jobs_total',
    help: "Jobs of the server's own that ended on this node: scheduled validations by queue and verdict, webhook deliveries by end.",
    labelNames: ['queue', 'end'],
    registers,
  })
  const jobDelays = new Histogram({
    name: 'credence_job_delay_seconds',
    help: 'How long after it was due a job began on this node.',
    labelNames: ['queue'],
    buckets: [1, 5, 15, 30, 60, 120, 300, 900, 3600],
    registers,
  })
  const jobsWaiting = new Gauge({
    name: 'credence_jobs_waiting',
    help: 'Jobs that are ready to run and that no node has come to.',
    labelNames: ['queue'],
    registers,
  })
  const configs = new Gauge({
    name: 'credence_configs',
    help: 'Configurations of all organisations, by type, state of their credentials and whether they are enabled.',
    labelNames: ['integration_type', 'state', 'enabled'],
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
    countJob: (queue, end) => jobs.inc({ queue, end }),
    observeJobDelay: (queue, seconds) => jobDelays.observe({ queue }, seconds),
    setJobsWaiting: (queue, count) => jobsWaiting.set({ queue }, count),
    setConfigs(counts) {
      configs.reset()
      for (const { integrationType, state, enabled, count } of counts)
        configs.set({ integration_type: integrationType, state, enabled: String(enabled) }, count)
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => delay.disable(),
  }
}
