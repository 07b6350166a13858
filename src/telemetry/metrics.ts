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
  /** A run of a sync ended on this node. @param end a name out of a few */
  countSync(source: string, mode: string, end: string, seconds: number): void
  /** A page was kept. @param list a list's name, or `memberships` */
  countSyncPage(source: string, list: string): void
  /** What a run came to, by kind of entity. */
  countSyncEntities(source: string, kind: string, counts: SyncedEntities): void
  countSyncCalls(source: string, calls: number, throttled: number): void
  /** A host that did not answer is spared for a while. */
  countCircuitOpening(source: string): void
  /** How syncs stand on all nodes, in place of what was told before. */
  setSyncs(standings: readonly SyncsOfSource[]): void
  /** Budgets of accounts at providers as this node knows them, in place of what was told before. */
  setBudgets(budgets: readonly BudgetOfSource[]): void
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

export interface SyncedEntities {
  readonly seen: number
  readonly added: number
  readonly changed: number
  readonly removed: number
}

export interface BudgetOfSource {
  readonly source: string
  readonly bucket: string
  readonly ratePerSecond: number
}

export interface SyncsOfSource {
  readonly source: string
  /** Of the configuration that was seen whole the longest ago. */
  readonly lagSeconds: number
  readonly quarantined: number
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
  const syncs = new Histogram({
    name: 'credence_sync_run_duration_seconds',
    help: 'Runs of syncs that ended on this node, by source, mode and end.',
    labelNames: ['source', 'mode', 'end'],
    buckets: [1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400],
    registers,
  })
  const syncPages = new Counter({
    name: 'credence_sync_pages_total',
    help: 'Pages that syncs read and kept, by source and list.',
    labelNames: ['source', 'list'],
    registers,
  })
  const syncEntities = new Counter({
    name: 'credence_sync_entities_total',
    help: 'Entities by kind that runs of syncs have seen, added, changed and removed.',
    labelNames: ['source', 'kind', 'change'],
    registers,
  })
  const syncCalls = new Counter({
    name: 'credence_sync_provider_calls_total',
    help: 'Requests that syncs made to providers, those that were asked again included.',
    labelNames: ['source'],
    registers,
  })
  const syncThrottles = new Counter({
    name: 'credence_sync_throttled_total',
    help: 'Answers of providers to syncs that refused because of a rate limit.',
    labelNames: ['source'],
    registers,
  })
  const circuitOpenings = new Counter({
    name: 'credence_circuit_openings_total',
    help: 'How often syncs and scheduled validations began to spare a host that did not answer, or went on to, by source.',
    labelNames: ['source'],
    registers,
  })
  const syncBudgets = new Gauge({
    name: 'credence_sync_budget_rate_per_second',
    help: "Requests a second that the budgets of accounts at providers allow, summed over the accounts that this node knows, by source and provider's limit.",
    labelNames: ['source', 'bucket'],
    registers,
  })
  const syncLag = new Gauge({
    name: 'credence_sync_lag_seconds',
    help: 'Time since the people of a configuration were last known to be as they are stored: the longest of all configurations.',
    labelNames: ['source'],
    registers,
  })
  const syncQuarantined = new Gauge({
    name: 'credence_sync_quarantined',
    help: 'Runs of syncs that wait for approval of what they would remove.',
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
    countJob: (queue, end) => jobs.inc({ queue, end }),
    observeJobDelay: (queue, seconds) => jobDelays.observe({ queue }, seconds),
    setJobsWaiting: (queue, count) => jobsWaiting.set({ queue }, count),
    setConfigs(counts) {
      configs.reset()
      for (const { integrationType, state, enabled, count } of counts)
        configs.set({ integration_type: integrationType, state, enabled: String(enabled) }, count)
    },
    countSync: (source, mode, end, seconds) => syncs.observe({ source, mode, end }, seconds),
    countSyncPage: (source, list) => syncPages.inc({ source, list }),
    countSyncEntities(source, kind, counts) {
      for (const change of ['seen', 'added', 'changed', 'removed'] as const)
        syncEntities.inc({ source, kind, change }, counts[change])
    },
    countSyncCalls(source, calls, throttled) {
      syncCalls.inc({ source }, calls)
      syncThrottles.inc({ source }, throttled)
    },
    countCircuitOpening: (source) => circuitOpenings.inc({ source }),
    setBudgets(budgets) {
      syncBudgets.reset()
      for (const { source, bucket, ratePerSecond } of budgets)
        syncBudgets.inc({ source, bucket }, ratePerSecond)
    },
    setSyncs(standings) {
      syncLag.reset()
      syncQuarantined.reset()
      for (const { source, lagSeconds, quarantined } of standings) {
        syncLag.set({ source }, lagSeconds)
        syncQuarantined.set({ source }, quarantined)
      }
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => delay.disable(),
  }
}
