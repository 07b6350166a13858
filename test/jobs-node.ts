/** A node that does jobs and nothing else, in this process or as one of its own: `node test/jobs-node.ts <options as JSON>`. */
import { once } from 'node:events'
import { createConfigs } from '../src/configs/configs.ts'
import { announceStateChange } from '../src/jobs/announcements.ts'
import { type Jobs, type JobsSettings, startJobs } from '../src/jobs/jobs.ts'
import { createSchedule } from '../src/jobs/schedule.ts'
import type { Runs } from '../src/jobs/syncing.ts'
import { createOutbound, type Outbound } from '../src/outbound/outbound.ts'
import type { AnySource } from '../src/sources/registry.ts'
import { defineSource, type Outcome } from '../src/sources/source.ts'
import { type Database, openDatabase } from '../src/store/database.ts'
import { createProviderBudgets } from '../src/store/provider-budgets.ts'
import { openVault } from '../src/store/vault-keys.ts'
import { createBudgets } from '../src/sync/budget.ts'
import type { Sparing } from '../src/sync/sparing.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { createCapacity } from '../src/validation/capacity.ts'
import { createGuessGuard } from '../src/validation/guess-guard.ts'
import { createAcme } from './acme-source.ts'

export const periodMs = 6 * 3_600_000

export interface NodeOptions {
  readonly databaseUrl: string
  /** Base64. */
  readonly vaultKey: string
  /** Host → loopback origin. */
  readonly endpoints: Readonly<Record<string, string>>
  readonly authority: string
  readonly settings?: Partial<JobsSettings>
  /** Tokens that begin so take the process with them. */
  readonly deadly?: string
}

/** Its source can be validated, and nothing of it is read. */
const noRuns: Runs = {
  perform: () => Promise.reject(new Error('there is nothing to synchronise')),
}

/** As fast as pg-boss lets it be. */
export const quick: Partial<JobsSettings> = {
  lookMs: 50,
  pollSeconds: 0.5,
  heartbeatSeconds: 10,
  monitorSeconds: 1,
}

/** Acme, whose tokens may tell when they end: `valid-until-2030-01-31`. */
export function expiringAcme(deadly?: string) {
  const { source } = createAcme()
  return defineSource({
    ...source,
    checks: [
      ...source.checks,
      {
        id: 'expiry',
        stage: 'health' as const,
        title: 'The end of the token',
        proves: 'When the token ends.',
        required: false,
        after: [],
        run: async ({ target }): Promise<Outcome> => {
          const token = target.credentials.apiToken ?? ''
          if (deadly !== undefined && token.startsWith(deadly)) process.kill(process.pid, 'SIGKILL')
          const day = /until-(\d{4}-\d\d-\d\d)/.exec(token)?.[1]
          return {
            status: 'passed',
            ...(day !== undefined && { credentialsExpireAt: new Date(`${day}T12:00:00Z`) }),
          }
        },
      },
    ],
  })
}

export type JobsNode = Awaited<ReturnType<typeof openNode>>

/** Everything but the jobs, which `start` starts. */
export async function openNode(
  options: NodeOptions,
  {
    now = () => new Date(),
    write = () => {},
    runsOn = () => noRuns,
    ...given
  }: {
    readonly now?: () => Date
    readonly write?: (line: string) => void
    readonly runsOn?: (database: Database) => Runs
    /** In place of Acme. */
    readonly sources?: readonly AnySource[]
    /** In place of one that knows the stand-ins. */
    readonly outbound?: Outbound
    /** By default everybody is asked, however often in vain. */
    readonly sparing?: Sparing
  } = {},
) {
  const { databaseUrl, vaultKey, endpoints, authority, settings, deadly } = options
  const database = await openDatabase({ url: databaseUrl, dataDirectory: '' })
  const vault = await openVault(database, [{ id: 'test', key: Buffer.from(vaultKey, 'base64') }])
  const outbound =
    given.outbound ??
    createOutbound({
      endpoints: new Map(Object.entries(endpoints).map(([host, origin]) => [host, new URL(origin)])),
      endpointAuthorities: [authority],
      // A provider that hangs is waited for by what is specified here, not given up.
      limits: { customerFailureMs: 60_000 },
    })
  const sources = given.sources ?? [expiringAcme(deadly)]
  const schedule = createSchedule(periodMs)
  const metrics = createMetrics()
  const troubles: unknown[] = []
  const log = createLog('trace', { write })
  const onTrouble = (error: unknown) => {
    troubles.push(error)
    log.error({ message: error instanceof Error ? error.message : '' }, 'trouble')
  }
  const configs = createConfigs({
    database,
    vault,
    sources,
    validation: {
      tools: { openHttp: outbound.open, now },
      guard: createGuessGuard({ attemptsPerMinute: 1_000_000 }),
      capacity: createCapacity(1_000),
      ...(given.sparing !== undefined && { sparing: given.sparing }),
      turn: async () => {},
      operatorEntry: () => undefined,
    },
    operatorRegistrations: async () => [],
    now,
    schedule: schedule.after,
    onStateChange: announceStateChange,
    onReport: () => {},
    onTrouble,
  })
  let jobs: Jobs | undefined
  let closed: Promise<void> | undefined
  return {
    database,
    vault,
    outbound,
    configs,
    metrics,
    troubles,
    async start(): Promise<Jobs> {
      const parts = { database, vault, outbound, sources, configs, schedule, metrics, log, now, onTrouble }
      const providerBudgets = createProviderBudgets(database)
      jobs = await startJobs({
        ...parts,
        runs: runsOn(database),
        budgets: createBudgets({ store: providerBudgets, now }),
        providerBudgets,
        settings: { ...quick, ...settings },
      })
      return jobs
    },
    close() {
      closed ??= (async () => {
        await jobs?.stop()
        metrics.close()
        await database.close()
      })()
      return closed
    },
  }
}

if (import.meta.main) {
  const node = await openNode(JSON.parse(process.argv[2] ?? '{}'), {
    write: (line) => process.stdout.write(line),
  })
  const jobs = await node.start()
  await jobs.started
  process.stdout.write('started\n')
  await once(process, 'SIGTERM')
  await node.close()
  process.stdout.write('stopped\n')
}
