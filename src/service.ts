/** Composes a running server from its parts: everything `serve` needs between a configuration and a listening socket. */
import { mkdir } from 'node:fs/promises'
import { createAuthentication } from './api/authentication.ts'
import { errorLine } from './api/error-line.ts'
import { createTokenVerifier } from './api/oauth.ts'
import type { Lifecycle } from './api/parts.ts'
import { createRateLimits } from './api/rate-limits.ts'
import { createRefusalTrail } from './api/refusals.ts'
import { createServer } from './api/server.ts'
import { createStreams, defaultStreamLimits, type StreamLimits } from './api/streams.ts'
import { type Config, ConfigError } from './config.ts'
import { createConfigs } from './configs/configs.ts'
import { openConfig } from './configs/opened.ts'
import { syncSettingsOf } from './configs/sync-settings.ts'

import { announceStateChange } from './jobs/announcements.ts'
import { type Jobs, startJobs } from './jobs/jobs.ts'
import { createSchedule } from './jobs/schedule.ts'
import { createCircuits } from './outbound/circuits.ts'
import { createOutbound, type Outbound } from './outbound/outbound.ts'
import { isLoopbackAddress } from './outbound/public-address.ts'
import { Turns } from './outbound/turns.ts'
import { type AnySource, createSources } from './sources/registry.ts'
import { type Database, openDatabase } from './store/database.ts'
import { watchDatabase } from './store/database-watch.ts'
import { openKeyRing } from './store/key-ring.ts'
import { createLeases } from './store/leases.ts'
import { noOperatorCredentials, OperatorFileError, readOperatorFile } from './store/operator.ts'
import { type AllOperatorCredentials, createOperatorCredentials } from './store/operator-credentials.ts'
import { createProviderBudgets } from './store/provider-budgets.ts'
import { createRateWindows } from './store/rate-windows.ts'
import { openVault } from './store/vault-keys.ts'
import { createAccounts } from './sync/accounts.ts'
import { createBudgets, notingValidations } from './sync/budget.ts'
import { keepHeapSmall } from './sync/heap.ts'
import type { RunParts } from './sync/parts.ts'
import { performRun } from './sync/perform.ts'
import { runMetrics } from './sync/run-metrics.ts'
import { createSparing } from './sync/sparing.ts'
import { createSync } from './sync/sync.ts'
import { createLog, type Log } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import { createCapacity } from './validation/capacity.ts'
import { createGuessGuard } from './validation/guess-guard.ts'
import { loadVaultKeys } from './vault/keys.ts'
import type { Vault } from './vault/vault.ts'

export interface ServiceOptions {
  /** Address to bind; 127.0.0.1 by default. */
  readonly host?: string
  /** 0 by default: any free port. */
  readonly port?: number
  /** Where the embedded database lives; made when it does not exist. */
  readonly dataDir: string
  readonly config: Config
  /** The way out; by default one that `config.endpoints` describes. The demo trusts its own authority with another. */
  readonly outbound?: Outbound
  /** By default every source there is. */
  readonly sources?: readonly AnySource[]
  /** By default those of `defaultStreamLimits`. */
  readonly streamLimits?: StreamLimits
  /** The time by which everything is dated and due; the machine's by default. */
  readonly now?: () => Date
  /** By default JSON lines on standard error, from `config.logLevel`. */
  readonly log?: Log
}

export interface RunningService {
  /** Open as long as the server runs. */
  readonly database: Database
  /** `http://127.0.0.1:8080`, without a final slash. */
  readonly url: string
  /** Stops accepting, lets what is under way be answered, and ends within 10 s. Safe to call twice. */
  close(): Promise<void>
}

/** Validations begun in one turn of the event loop: about 3 ms of work. */
const validationsPerTurn = 4

/** When shutting down: how long validations may go on before they are told to stop, in milliseconds. */
const patienceMs = 7_000
/** And how long connections may stay open, in milliseconds. */
const cutOffMs = 9_000

/**
 * Starts the server.
 *
 * @throws ConfigError for a setting or a file it names, VaultKeysError for keys that are missing or wrong,
 * DatabaseUnavailable or EmbeddedPostgresError for the database, and what listening throws
 */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const letHeapGrow = keepHeapSmall()
  try {
    return await start(options)
  } finally {
    letHeapGrow()
  }
}

async function start(options: ServiceOptions): Promise<RunningService> {
  const { dataDir, config } = options
  const log = options.log ?? createLog(config.logLevel)
  const sources = options.sources ?? createSources({ customDomains: config.customDomains })
  // Before the database: what is wrong with the settings is told without one being made.
  const operatorFile = await readOperator(config.operatorFile, sources)
  const vaultKeys = await loadVaultKeys(config.vaultKeys)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const database = await openDatabase({
    dataDirectory: dataDir,
    ...(config.databaseUrl !== undefined && { url: config.databaseUrl }),
  })
  try {
    const vault = await openVault(database, vaultKeys)
    const operator = createOperatorCredentials({ database, vault, sources, file: operatorFile })
    return await serve({ ...options, log, sources, database, vault, operator })
  } catch (error) {
    await database.close()
    throw error
  }
}

interface Opened {
  readonly log: Log
  readonly sources: readonly AnySource[]
  readonly database: Database
  readonly vault: Vault
  readonly operator: AllOperatorCredentials
}

async function serve(options: ServiceOptions & Opened): Promise<RunningService> {
  const { host = '127.0.0.1', port = 0, config, log, sources, database, vault, operator } = options
  const outbound = options.outbound ?? createOutbound({ endpoints: config.endpoints })
  const now = options.now ?? (() => new Date())

  const tokens = createTokenVerifier(config.oauthIssuers, {
    now,
    onTrouble: (issuer, error) =>
      log.warn({ issuer, error: errorLine(error) }, "an issuer's keys could not be read"),
  })
  if (config.endpoints.size > 0)
    log.warn(
      { hosts: [...config.endpoints.keys()] },
      'CREDENCE_ENDPOINTS is set: requests to these hosts go to loopback addresses instead',
    )

  const metrics = createMetrics()
  const turns = new Turns(validationsPerTurn)
  const ending = createLifecycle()
  const leases = createLeases(createRateWindows(database))
  const refusals = createRefusalTrail(database, (error) =>
    log.error({ error: errorLine(error) }, 'refused authentications could not be written to the audit trail'),
  )
  const watch = watchDatabase(database, {
    onLost: (reason) => log.error({ error: errorLine(reason) }, 'the database does not answer'),
    onFound: () => log.info('the database answers again'),
  })
  const providerBudgets = createProviderBudgets(database)
  const budgets = createBudgets({ store: providerBudgets, now })
  const sparing = createSparing(
    createCircuits({
      onOpen({ organizationId: organization, ...news }) {
        metrics.countCircuitOpening(news.source)
        log.warn({ organization, ...news }, 'a host does not answer and is spared for a while')
      },
      onClose: ({ organizationId: organization, ...news }) =>
        log.info({ organization, ...news }, 'a host that was spared answers again'),
    }),
  )
  const validation = {
    tools: { openHttp: outbound.open, now },
    noting: notingValidations(budgets),
    sparing,
    guard: createGuessGuard({
      attemptsPerMinute: config.limits.unprovenAttempts,
      spendShared: (subject) => leases.spend(`attempts:${subject}`, config.limits.unprovenAttempts),
    }),
    capacity: createCapacity(config.validationsAtOnce),
    turn: () => turns.take(),
    operatorEntry: operator.entryFor,
  }
  const onTrouble = (error: unknown) =>
    log.error({ error: errorLine(error) }, 'an operator has to look at this')
  const schedule = createSchedule(config.revalidateEveryMs)
  let jobs: Jobs | undefined
  const configs = createConfigs({
    database,
    vault,
    sources,
    validation,
    operatorRegistrations: operator.servicesFor,
    now,
    schedule: schedule.after,
    onStateChange: announceStateChange,
    onStored: () => jobs?.hurry(),
    onReport: (source, { verdict, duration_ms }) =>
      metrics.countValidation(source.name, verdict, duration_ms / 1000),
    onTrouble,
  })
  const accounts = createAccounts()
  const runParts: RunParts = {
    database,
    openHttp: outbound.open,
    async unseal(id, reason) {
      const opened = await openConfig({ database, vault, sources, validation, onTrouble }, id, reason)
      if (opened !== undefined) accounts.note(opened)
      return opened
    },
    budgets,
    sparing,
    settingsOf({ id, settings }) {
      const { fuse, budgetPercent, limits } = syncSettingsOf(id, settings)
      return { fuse, budgetShare: budgetPercent, limits }
    },
    now,
    log,
    metrics: runMetrics(metrics),
    onTrouble,
  }
  const sync = createSync({ database, sources, budgets, accounts, now, onWork: () => jobs?.hurry() })
  const authentication = createAuthentication(openKeyRing(database), tokens, refusals)
  const server = await createServer({
    sources,
    validation,
    configs,
    sync,
    authentication,
    rateLimits: createRateLimits(config.limits, leases),
    limits: config.limits,
    streams: createStreams(authentication, options.streamLimits ?? defaultStreamLimits, log),
    database,
    isDatabaseAnswering: watch.isAnswering,
    webOrigin: { isLoopback: isLoopback(host), allowedHosts: config.allowedHosts },
    metrics,
    log,
    lifecycle: ending.lifecycle,
  })

  const end = async () => {
    ending.begin()
    // Beside the requests: each has its own time to end.
    const jobsStopped = jobs?.stop().catch((error: unknown) => onTrouble(error))
    // Listening ends now; Fastify's own close would first walk through its hooks.
    const drained = new Promise<void>((resolve) => server.server.close(() => resolve()))
    const cutOff = setTimeout(() => server.server.closeAllConnections(), cutOffMs)
    try {
      await drained
      await server.close()
    } finally {
      clearTimeout(cutOff)
      ending.finish()
      await jobsStopped
      watch.stop()
      metrics.close()
      await tokens.close()
      await refusals.close()
      await database.close()
      log.info('stopped')
      await new Promise<void>((resolve) => log.flush(() => resolve()))
    }
  }

  try {
    await server.listen({ host, port })
    jobs = await startJobs({
      database,
      vault,
      outbound,
      sources,
      configs,
      runs: { perform: (id, options) => performRun(runParts, id, options) },
      budgets,
      providerBudgets,
      schedule,
      metrics,
      log,
      now,
      onTrouble,
      settings: { syncsPerSource: config.syncsAtOnce },
    })
  } catch (error) {
    await end()
    throw error
  }
  const url = server.listeningOrigin
  log.info({ url }, 'listening')
  let ended: Promise<void> | undefined
  return {
    database,
    url,
    close: () => {
      ended ??= end()
      return ended
    },
  }
}

async function readOperator(path: string | undefined, sources: readonly AnySource[]) {
  if (path === undefined) return noOperatorCredentials
  try {
    return await readOperatorFile(path, sources)
  } catch (error) {
    if (error instanceof OperatorFileError) throw new ConfigError(`CREDENCE_OPERATOR_FILE: ${error.message}`)
    throw error
  }
}

/** Knows whether the server is ending, and hurries what is under way when it takes too long. */
function createLifecycle(): { lifecycle: Lifecycle; begin(): void; finish(): void } {
  const stops = new Set<() => void>()
  let isEnding = false
  let timer: NodeJS.Timeout | undefined
  return {
    lifecycle: {
      isReady: () => !isEnding,
      whenImpatient(stop) {
        stops.add(stop)
        return () => stops.delete(stop)
      },
    },
    begin() {
      isEnding = true
      timer = setTimeout(() => {
        for (const stop of stops) stop()
      }, patienceMs)
    },
    finish: () => clearTimeout(timer),
  }
}

const isLoopback = (host: string) => host === 'localhost' || isLoopbackAddress(host)
