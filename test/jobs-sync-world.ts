/** What tests of syncs as jobs happen in: a database, a configuration of a made-up world, and nodes that work on it. */
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { JobsSettings } from '../src/jobs/jobs.ts'
import type { RunOptions } from '../src/sync/parts.ts'
import { performRun } from '../src/sync/perform.ts'
import { runMetrics } from '../src/sync/run-metrics.ts'
import { freshDatabase } from './fresh-database.ts'
import { type JobsNode, openNode, quick } from './jobs-node.ts'
import { until } from './jobs-world.ts'
import { type Fault, newTenant, partsOf, type Tenant, type World } from './sync-world.ts'
import { answering } from './sync-worlds.ts'

export async function startSyncing(t: TestContext, world: World) {
  const database = await freshDatabase(t)
  const clock = { offsetMs: 0 }
  const now = () => new Date(Date.now() + clock.offsetMs)
  const vaultKey = randomBytes(32).toString('base64')
  const performed: string[] = []
  /** A node, whose jobs have begun. */
  const node = async (
    settings: Partial<JobsSettings> = {},
  ): Promise<JobsNode & { stop(): Promise<void> }> => {
    const opened = await openNode(
      {
        databaseUrl: database.url,
        vaultKey,
        endpoints: {},
        authority: '',
        settings: { ...quick, ...settings },
      },
      {
        now,
        outbound: answering,
        sources: [world.source],
        runsOn: (own) => ({
          perform: async (id: string, options: RunOptions) => {
            performed.push(id)
            return performRun(
              { ...partsOf(own, world, { now }), metrics: runMetrics(opened.metrics) },
              id,
              options,
            )
          },
        }),
      },
    )
    t.after(() => opened.close())
    const jobs = await opened.start()
    await jobs.started
    return { ...opened, stop: () => jobs.stop() }
  }
  const tenant = await newTenant(database)
  const state = async ({ configId }: Tenant = tenant) =>
    database.query
      .selectFrom('sync_states')
      .selectAll()
      .where('config_id', '=', configId)
      .executeTakeFirstOrThrow()
  const change = async (values: {
    readonly next_full_at?: Date | null
    readonly next_incremental_at?: Date | null
    readonly paused?: boolean
  }) => {
    await database.query
      .updateTable('sync_states')
      .set(values)
      .where('config_id', '=', tenant.configId)
      .execute()
  }
  const runs = async () =>
    database.query
      .selectFrom('sync_runs')
      .selectAll()
      .where('config_id', '=', tenant.configId)
      .orderBy('requested_at')
      .execute()
  return {
    database,
    clock,
    now,
    node,
    tenant,
    state,
    change,
    runs,
    performed,
    /** The run of this number, once it is over. */
    ended: (number: number) =>
      until(async () => {
        const run = (await runs())[number - 1]
        return run !== undefined && !['queued', 'running'].includes(run.status) ? run : undefined
      }),
    told: async () => {
      const events = await database.query
        .selectFrom('audit_events')
        .select(['action', 'details'])
        .where('action', 'like', 'sync.run.%')
        .orderBy('id')
        .execute()
      return events.map(({ action, details }) => ({ action, ...details }))
    },
  }
}

/** Holds back whoever reads `list`, until it is opened. */
export function gateOn(list: string) {
  const gate = Promise.withResolvers<void>()
  const state = { held: 0 }
  const fault: Fault = async (asked) => {
    if (asked.list !== list) return undefined
    state.held += 1
    await gate.promise
    return undefined
  }
  return { fault, open: gate.resolve, held: () => state.held }
}
