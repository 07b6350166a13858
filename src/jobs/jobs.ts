/** The server's own work beside its answers: stored credentials are validated again, entities synchronised, and webhooks told. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Transaction } from 'kysely'
import type { Configs } from '../configs/configs.ts'
import type { Outbound } from '../outbound/outbound.ts'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import { type Database, inTransaction, isUnavailable, unavailable } from '../store/database.ts'
import { countConfigs, type Due, takeDueConfigs } from '../store/due-configs.ts'
import type { ProviderBudgets } from '../store/provider-budgets.ts'
import { purgeEntities } from '../store/purge.ts'
import type { Schema } from '../store/schema.ts'
import { sweepStages } from '../store/stage-sweep.ts'
import { holdActiveRuns } from '../store/sync-runs.ts'
import { readSyncStandings, takeDueSyncs } from '../store/sync-states.ts'
import { deleteEndedDeliveries, takeDueDeliveries } from '../store/webhooks.ts'
import type { Budgets } from '../sync/budget.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Vault } from '../vault/vault.ts'
import { deliver } from './delivery.ts'
import { createQueues, type Job, type NewJob, type QueueTimes, TakenOver } from './queue.ts'
import { revalidate } from './revalidation.ts'
import type { Schedule } from './schedule.ts'
import { type Runs, synchronise } from './syncing.ts'

export interface JobsParts {
  readonly database: Database
  readonly vault: Vault
  readonly outbound: Outbound
  readonly sources: readonly AnySource[]
  readonly configs: Pick<Configs, 'revalidate'>
  readonly runs: Runs
  readonly budgets: Pick<Budgets, 'standing'>
  readonly providerBudgets: Pick<ProviderBudgets, 'deleteOld'>
  /** The one that the configurations have. */
  readonly schedule: Schedule
  readonly metrics: Metrics
  readonly log: Log
  now(): Date
  /** Told what an operator has to look at. */
  onTrouble(error: unknown): void
  readonly settings?: Partial<JobsSettings>
}

export interface JobsSettings extends QueueTimes {
  /** How often it is looked for what is due, in milliseconds; nodes keep out of step. */
  readonly lookMs: number
  /** Validations of one source that a node works on at a time, so that a provider that hangs holds up nothing else. */
  readonly validationsPerSource: number
  /** Deliveries that a node works on at a time. */
  readonly deliveries: number
  /** Syncs of one source that a node works on at a time; 0: none, nor does it begin any. */
  readonly syncsPerSource: number
  /** A run that takes longer lets those that wait go first, and goes on after them, in seconds. */
  readonly syncStretchSeconds: number
}

const defaultSettings: JobsSettings = {
  lookMs: 5_000,
  // A node that dies is found within heartbeat + 2 × monitor + poll: 45 s.
  pollSeconds: 10,
  heartbeatSeconds: 15,
  monitorSeconds: 10,
  validationsPerSource: 4,
  deliveries: 4,
  syncsPerSource: 2,
  syncStretchSeconds: 15 * 60,
}

/** The merge of a large organisation comes on top of a stretch. */
const syncExpireSeconds = 24 * 3_600

export interface Jobs {
  /** Resolves when this node works on jobs; until then, however long the database is away, it is tried again. */
  readonly started: Promise<void>
  /** Has it looked at once for what is due. */
  hurry(): void
  /** Hands back what is under way, and ends within 8 s. */
  stop(): Promise<void>
}

const deliveryQueue = 'webhooks'
/** Of one webhook's deliveries so many are under way at a time, on all nodes together. */
const deliveriesPerWebhook = 2
const validationQueue = ({ name }: Pick<AnySource, 'name'>) => `validation.${name}`
const syncQueue = ({ name }: Pick<AnySource, 'name'>) => `sync.${name}`

/** Most due rows taken at a time, so that no transaction is long. */
const batchSize = 200
/** Most batches of a kind taken in one look. */
const maxBatches = 10
/** What was queued and never ended is due again after so long, in milliseconds. */
const leaseMs = 15 * 60_000

/** Between two readings of what is measured by asking the database, in milliseconds. */
const gaugeMs = 60_000
/** Between two looks for what is kept no longer, in milliseconds. */
const sweepMs = 10 * 60_000
/** How long an ended delivery can be looked up, in milliseconds. */
const keepEndedMs = 30 * 86_400_000
const sweepSize = 1_000
/** Between two looks for configurations whose entities are to be removed, in milliseconds. */
const purgeMs = 30_000
/** Between two looks for runs that no queue holds any more, in milliseconds. */
const missingMs = 60_000
/** Runs that were asked for so recently may be in no queue yet, in seconds. */
const recentSeconds = 60
const maxActiveRuns = 5_000

/** Longest pause between two tries to start, in milliseconds. */
const longestPauseMs = 30_000
/** When stopping: how long a start that is under way may go on, in milliseconds. */
const startGraceMs = 2_000
/** Longest end, in milliseconds, however little the database answers. */
const stopLimitMs = 6_500
/** The same trouble is told once in so long, in milliseconds. */
const troubleEveryMs = 30_000

/** Starts without waiting for the database; see `started`. */
export async function startJobs(parts: JobsParts): Promise<Jobs> {
  const { database, sources, metrics, log, now } = parts
  const settings = { ...defaultSettings, ...parts.settings }
  const stopping = new AbortController()
  const onTrouble = troubleTeller(parts)
  const queueOf = new Map(sources.map((source) => [source.integrationType, validationQueue(source)]))
  const syncQueueOf = new Map(
    settings.syncsPerSource === 0
      ? []
      : sources
          .filter(({ reader }) => reader !== undefined)
          .map((source) => [source.integrationType, syncQueue(source)]),
  )
  const syncQueues = new Set(syncQueueOf.values())

  const work = async (queue: string, job: Job) => {
    metrics.observeJobDelay(queue, Math.max(0, (now().getTime() - Date.parse(job.dueAt)) / 1000))
    try {
      metrics.countJob(queue, await endOf(queue, job))
    } catch (error) {
      if (!(error instanceof TakenOver)) throw error
      metrics.countJob(queue, 'taken_over')
      log.warn({ queue, id: job.id }, 'another node has taken a job over; nothing was written here')
    }
  }

  const endOf = async (queue: string, job: Job): Promise<string> => {
    if (queue === deliveryQueue) return deliver({ ...parts, onTrouble }, job)
    if (!syncQueues.has(queue)) return revalidate({ ...parts, onTrouble }, job)
    const signal = AbortSignal.any([job.signal, AbortSignal.timeout(settings.syncStretchSeconds * 1000)])
    const end = await synchronise(parts, { ...job, signal }, (transaction) =>
      queues.add(transaction, queue, [{ id: job.id, dueAt: now().toISOString() }]),
    )
    if (end === 'stopped') queues.wake(queue)
    return end
  }

  const queues = createQueues(
    database,
    {
      ...Object.fromEntries(
        [...queueOf.values()].map((queue) => [queue, { concurrency: settings.validationsPerSource }]),
      ),
      ...Object.fromEntries(
        [...syncQueues].map((queue) => [
          queue,
          { concurrency: settings.syncsPerSource, expireSeconds: syncExpireSeconds },
        ]),
      ),
      [deliveryQueue]: { concurrency: settings.deliveries, perGroup: deliveriesPerWebhook },
    },
    { times: settings, work, onTrouble },
  )

  /** Queues what is due, batch by batch. `take` returns how many rows it took, and for which queues. */
  const queueDue = async (
    take: (transaction: Transaction<Schema>, due: Due) => Promise<ReadonlyMap<string, readonly NewJob[]>>,
  ) => {
    for (let batch = 0; batch < maxBatches && !stopping.signal.aborted; batch += 1) {
      const at = now()
      const until = new Date(at.getTime() + leaseMs)
      const taken = await inTransaction(database, async (transaction) => {
        const byQueue = await take(transaction, { at, until, limit: batchSize })
        for (const [queue, jobs] of byQueue) await queues.add(transaction, queue, jobs)
        return byQueue
      })
      for (const queue of taken.keys()) queues.wake(queue)
      if ([...taken.values()].flat().length < batchSize) return
    }
  }

  const look = async () => {
    await queueDue(async (transaction, due) => {
      const configs = await takeDueConfigs(transaction, { ...due, types: [...queueOf.keys()] })
      return Map.groupBy(
        configs.map(({ id, dueAt, integrationType }) => ({
          id,
          dueAt: dueAt.toISOString(),
          queue: queueOf.get(integrationType) ?? '',
        })),
        ({ queue }) => queue,
      )
    })
    await queueDue(async (transaction, due) => {
      const deliveries = await takeDueDeliveries(transaction, due)
      const jobs = deliveries.map(({ id, dueAt, webhookId }) => ({
        id,
        dueAt: dueAt.toISOString(),
        group: webhookId,
      }))
      return new Map(jobs.length === 0 ? [] : [[deliveryQueue, jobs]])
    })
    if (syncQueueOf.size > 0) {
      await queueDue(async (transaction, due) => {
        const runs = await takeDueSyncs(transaction, { ...due, types: [...syncQueueOf.keys()] })
        return syncJobs(runs.map(({ runId: id, ...run }) => ({ id, ...run })))
      })
      await queueRuns({ withinSeconds: recentSeconds })
    }
  }

  const syncJobs = (
    runs: readonly { readonly id: string; readonly dueAt: Date; readonly integrationType: string }[],
  ) =>
    Map.groupBy(
      runs.map(({ id, dueAt, integrationType }) => ({
        id,
        dueAt: dueAt.toISOString(),
        queue: syncQueueOf.get(integrationType) ?? '',
      })),
      ({ queue }) => queue,
    )

  /** Queues runs that are to be worked on. Those that are queued already stay as they are. */
  const queueRuns = async (which: { readonly withinSeconds?: number } = {}) => {
    if (syncQueueOf.size === 0) return
    const queued = await inTransaction(database, async (transaction) => {
      const runs = await holdActiveRuns(transaction, {
        types: [...syncQueueOf.keys()],
        limit: maxActiveRuns,
        ...which,
      })
      const byQueue = syncJobs(runs.map(({ requestedAt: dueAt, ...run }) => ({ ...run, dueAt })))
      for (const [queue, jobs] of byQueue) await queues.add(transaction, queue, jobs)
      return [...byQueue.keys()]
    })
    for (const queue of queued) queues.wake(queue)
  }

  const readGauges = async () => {
    metrics.setConfigs(await countConfigs(database.query))
    metrics.setSyncs(
      (await readSyncStandings(database.query, now())).map(({ integrationType, ...standing }) => ({
        ...standing,
        source: sourceByIntegrationType(sources, integrationType)?.name ?? integrationType,
      })),
    )
    metrics.setBudgets(parts.budgets.standing())
    for (const [queue, count] of await queues.waiting()) metrics.setJobsWaiting(queue, count)
  }

  const sweep = async () => {
    const before = new Date(now().getTime() - keepEndedMs)
    while ((await deleteEndedDeliveries(database.query, { before, limit: sweepSize })) === sweepSize)
      if (stopping.signal.aborted) return
    await parts.providerBudgets.deleteOld()
    await sweepStages(database)
  }

  const rounds = [
    look,
    every(missingMs, () => queueRuns()),
    every(gaugeMs, readGauges),
    every(sweepMs, sweep),
  ]
  let haste = new AbortController()

  const started = (async () => {
    for (let pauseMs = 1_000; !stopping.signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        await queues.start()
        return
      } catch (error) {
        if (!stopping.signal.aborted) onTrouble(error)
        await pause(pauseMs, stopping.signal)
      }
    }
  })()
  // Beside the rounds: the entities of a large organisation take a while.
  const purging = started.then(async () => {
    while (!stopping.signal.aborted) {
      await purgeEntities(database, stopping.signal).catch(onTrouble)
      await pause(purgeMs * (0.75 + Math.random() / 2), AbortSignal.any([stopping.signal, haste.signal]))
    }
  })
  const running = started.then(async () => {
    while (!stopping.signal.aborted) {
      // Whoever is in a hurry from now on is not content with the look that has begun.
      haste = new AbortController()
      for (const round of rounds) await round().catch(onTrouble)
      await pause(
        settings.lookMs * (0.75 + Math.random() / 2),
        AbortSignal.any([stopping.signal, haste.signal]),
      )
    }
  })

  let stopped: Promise<void> | undefined
  return {
    started,
    hurry: () => haste.abort(),
    stop() {
      stopped ??= (async () => {
        stopping.abort()
        const isOver = new AbortController()
        // Stopped in the middle of its start, the queue would wait for the whole of its grace.
        const ended = Promise.race([started, pause(startGraceMs, isOver.signal)])
          .then(() => queues.stop())
          .then(() => Promise.all([running, purging]))
        // What still waits for the database then is worth nothing to anybody.
        await Promise.race([ended.catch(onTrouble), pause(stopLimitMs, isOver.signal)])
        isOver.abort()
      })()
      return stopped
    },
  }
}

/** Does `work` when at least `periodMs` have passed since it was begun last. */
function every(periodMs: number, work: () => Promise<void>): () => Promise<void> {
  let dueAtMs = Number.NEGATIVE_INFINITY
  return async () => {
    const at = performance.now()
    if (at < dueAtMs) return
    dueAtMs = at + periodMs
    await work()
  }
}

const pause = (ms: number, signal: AbortSignal) => wait(ms, undefined, { signal }).catch(() => undefined)

/** Tells of the same trouble now and then: while the database is away, every worker meets it again and again. */
function troubleTeller({ log, onTrouble }: Pick<JobsParts, 'log' | 'onTrouble'>): (error: unknown) => void {
  const toldAtMs = new Map<string, number>()
  return (error) => {
    const reason = isUnavailable(error) ? unavailable(error).message : undefined
    const key = reason ?? (error instanceof Error ? (error.stack ?? error.message) : typeof error)
    const at = performance.now()
    if (at - (toldAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < troubleEveryMs) return
    if (toldAtMs.size > 1_000) toldAtMs.clear()
    toldAtMs.set(key, at)
    if (reason !== undefined) log.warn({ reason }, 'jobs wait for the database')
    else onTrouble(error)
  }
}
