/** Jobs that each run on one of the nodes, on pg-boss: how they are queued, claimed and settled. */
import type { Transaction } from 'kysely'
import pg from 'pg'
import { fromKysely, PgBoss } from 'pg-boss'
import { StoreClient } from '../store/client.ts'
import type { Database } from '../store/database.ts'
import type { Schema } from '../store/schema.ts'

/** Another node has the job by now: whatever this one was about to write must not be written. */
export class TakenOver extends Error {
  override readonly name = 'TakenOver'
}

/** What a job is about: a row that was due. */
export interface JobData {
  readonly id: string
  /** RFC 3339. */
  readonly dueAt: string
}

export interface Job extends JobData {
  /** How often it was begun before, and never settled. */
  readonly attemptsBefore: number
  /** Aborts when the job is lost, or the node is about to stop. */
  readonly signal: AbortSignal
  /**
   * Ends the job in the transaction of its effect. A node that was thought dead and has since been replaced is told by
   * the number of the attempt, which the row of the job holds until that transaction ends.
   *
   * @throws TakenOver
   */
  settle(transaction: Transaction<Schema>): Promise<void>
}

export interface QueueOptions {
  /** Jobs of this queue that a node works on at a time. */
  readonly concurrency: number
  /** Jobs of one group that all nodes together work on at a time. */
  readonly perGroup?: number
  /** Longer than any job of it takes, 86400 at most: then it is given to another node, however alive this one is. */
  readonly expireSeconds?: number
}

export interface NewJob extends JobData {
  readonly group?: string
}

export interface QueueTimes {
  /** How often a node asks for jobs that other nodes queued. */
  readonly pollSeconds: number
  /** How long a node may be silent until its jobs are given to others; pg-boss takes no less than 10. */
  readonly heartbeatSeconds: number
  /** How often it is looked for nodes that are silent. */
  readonly monitorSeconds: number
}

export interface Queues {
  /** Sets up, and begins to work; rejects when the database does not let it, and may be called again. */
  start(): Promise<void>
  /** Queues jobs in a transaction; what is queued or under way already is left as it is. */
  add(transaction: Transaction<Schema>, queue: string, jobs: readonly NewJob[]): Promise<void>
  /** Has this node ask for jobs at once. */
  wake(queue: string): void
  /** Jobs ready to run that no node has come to, by queue, as counted within the last minute. */
  waiting(): Promise<ReadonlyMap<string, number>>
  /** Takes no more jobs, and waits for those under way, whose signals have aborted, for some seconds at most. */
  stop(): Promise<void>
}

/** Also for statements of maintenance, in milliseconds. */
const statementTimeoutMs = 60_000
/** The workers fetch by turns; none of them holds a connection while it works. */
const connections = 3
/** Beyond any job's own limits: a living job is known by its heartbeat. */
const defaultExpireSeconds = 3_600
/** A job that fails over and over is due again later, from its row. */
const retryLimit = 20
const keepEndedSeconds = 3_600
const stopGraceMs = 4_000
const closeGraceMs = 1_500

/** How long a change of pg-boss's own tables waits for a lock, in place of its 30 s: whoever comes after it waits too. */
const patientLock = 'SET LOCAL lock_timeout = 30000'
const briefLock = 'SET LOCAL lock_timeout = 2000'

export function createQueues(
  { connection }: Pick<Database, 'connection'>,
  queues: Readonly<Record<string, QueueOptions>>,
  {
    times,
    work,
    onTrouble,
  }: {
    readonly times: QueueTimes
    work(queue: string, job: Job): Promise<void>
    onTrouble(error: unknown): void
  },
): Queues {
  const pool = new pg.Pool({ ...connection, query_timeout: statementTimeoutMs, max: connections })
  pool.on('error', () => undefined)
  const open = new Set<pg.PoolClient>()
  pool.on('connect', (client) => open.add(client))
  pool.on('remove', (client) => open.delete(client))

  const boss = new PgBoss({
    db: { executeSql: (text, values) => pool.query(text.replaceAll(patientLock, briefLock), values) },
    // Due times are columns of ours; nothing is scheduled there.
    schedule: false,
    registerInstance: false,
    superviseIntervalSeconds: times.monitorSeconds,
    monitorIntervalSeconds: times.monitorSeconds,
    maintenanceIntervalSeconds: 3_600,
    flowIntervalSeconds: 3_600,
    // It would look into other sessions, which our role may not.
    monitorVacuum: false,
    openTelemetry: { enabled: false },
  })
  boss.on('error', onTrouble)
  const stopping = new AbortController()
  const workers = new Set<string>()

  const begin = async (
    name: string,
    { concurrency, perGroup, expireSeconds = defaultExpireSeconds }: QueueOptions,
  ) => {
    const options = {
      retryLimit,
      retryDelay: 1,
      expireInSeconds: expireSeconds,
      heartbeatSeconds: times.heartbeatSeconds,
      deleteAfterSeconds: keepEndedSeconds,
    }
    // One job per key: what is queued or under way is not queued again.
    await boss.createQueue(name, { policy: 'exclusive', ...options })
    await boss.updateQueue(name, options)
    if (workers.has(name)) return
    await boss.work<JobData, void>(
      name,
      {
        batchSize: 1,
        localConcurrency: concurrency,
        pollingIntervalSeconds: times.pollSeconds,
        heartbeatRefreshSeconds: times.heartbeatSeconds / 3,
        burstWhenReadyExceeds: 1,
        ...(perGroup !== undefined && { groupConcurrency: perGroup }),
      },
      async ([job]) => {
        if (job === undefined) return
        const { id, retryCount } = job as typeof job & { readonly retryCount: number }
        await work(name, {
          ...job.data,
          attemptsBefore: retryCount,
          signal: AbortSignal.any([job.signal, stopping.signal]),
          async settle(transaction) {
            const settled = await boss.complete(name, { id, retryCount }, null, {
              db: fromKysely(transaction),
            })
            if ((settled as { readonly affected?: number }).affected !== 1) throw new TakenOver('taken over')
          },
        })
      },
    )
    workers.add(name)
  }

  return {
    async start() {
      await boss.start()
      for (const [name, options] of Object.entries(queues)) await begin(name, options)
    },
    async add(transaction, queue, jobs) {
      if (jobs.length === 0) return
      await boss.insert(
        queue,
        jobs.map(({ group, ...data }) => ({
          singletonKey: data.id,
          data,
          ...(group !== undefined && { group: { id: group } }),
        })),
        { db: fromKysely(transaction) },
      )
    },
    wake(queue) {
      for (const { name, id } of boss.getWipData({ includeInternal: true }))
        if (name === queue) boss.notifyWorker(id)
    },
    async waiting() {
      const counted = await boss.getQueues(Object.keys(queues))
      return new Map(counted.map(({ name, readyCount }) => [name, readyCount]))
    },
    async stop() {
      stopping.abort()
      // Neither a database that does not answer nor a half-open connection to it may hold the end up.
      const patience = setTimeout(() => {
        for (const client of open) if (client instanceof StoreClient) client.hangUp(new Error('closed'))
      }, stopGraceMs + closeGraceMs)
      try {
        await boss.stop({ graceful: true, timeout: stopGraceMs })
        await pool.end()
      } finally {
        clearTimeout(patience)
      }
    },
  }
}
