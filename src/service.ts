/** Composes a running server from its parts: everything `serve` needs between a configuration and a listening socket. */
import { mkdir } from 'node:fs/promises'
import { createAuthentication } from './api/authentication.ts'
import { errorLine } from './api/error-line.ts'
import { createTokenVerifier } from './api/oauth.ts'
import type { Lifecycle } from './api/parts.ts'
import { createRateLimits } from './api/rate-limits.ts'
import { createServer } from './api/server.ts'
import { type Config, ConfigError } from './config.ts'
import { createOutbound, type Outbound } from './outbound/outbound.ts'
import { isLoopbackAddress } from './outbound/public-address.ts'
import { Turns } from './outbound/turns.ts'
import { type AnySource, createSources } from './sources/registry.ts'
import { openKeyRing } from './store/keys.ts'
import { noOperatorCredentials, OperatorFileError, readOperatorFile } from './store/operator.ts'
import { createLog, type Log } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import { createCapacity } from './validation/capacity.ts'
import { createGuessGuard } from './validation/guess-guard.ts'

export interface ServiceOptions {
  /** Address to bind; 127.0.0.1 by default. */
  readonly host?: string
  /** 0 by default: any free port. */
  readonly port?: number
  /** Where keys.json lives; made when it does not exist. */
  readonly dataDir: string
  readonly config: Config
  /** The way out; by default one that `config.endpoints` describes. The demo trusts its own authority with another. */
  readonly outbound?: Outbound
  /** By default every source there is. */
  readonly sources?: readonly AnySource[]
  /** By default JSON lines on standard error, from `config.logLevel`. */
  readonly log?: Log
}

export interface RunningService {
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
 * @throws ConfigError for a setting or a file it names, KeysError for damaged keys, and what listening throws
 */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { host = '127.0.0.1', port = 0, dataDir, config } = options
  const log = options.log ?? createLog(config.logLevel)
  const sources = options.sources ?? createSources({ customDomains: config.customDomains })
  const outbound = options.outbound ?? createOutbound({ endpoints: config.endpoints })
  const now = () => new Date()

  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const keys = await openKeyRing(dataDir, {
    onTrouble: (error) =>
      log.error({ error: errorLine(error) }, 'keys.json cannot be read: the last good keys stay in force'),
  })
  const operator = await readOperator(config.operatorFile, sources)
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
  const server = await createServer({
    sources,
    validation: {
      tools: { openHttp: outbound.open, now },
      guard: createGuessGuard({ attemptsPerMinute: config.limits.unprovenAttempts }),
      capacity: createCapacity(config.validationsAtOnce),
      turn: () => turns.take(),
      operatorEntry: operator.entryFor,
    },
    authentication: createAuthentication(keys, tokens),
    rateLimits: createRateLimits(config.limits, Date.now),
    limits: config.limits,
    webOrigin: { isLoopback: isLoopback(host), allowedHosts: config.allowedHosts },
    metrics,
    log,
    lifecycle: ending.lifecycle,
  })

  const end = async () => {
    ending.begin()
    // Listening ends now; Fastify's own close would first walk through its hooks.
    const drained = new Promise<void>((resolve) => server.server.close(() => resolve()))
    const cutOff = setTimeout(() => server.server.closeAllConnections(), cutOffMs)
    try {
      await drained
      await server.close()
    } finally {
      clearTimeout(cutOff)
      ending.finish()
      metrics.close()
      await tokens.close()
      log.info('stopped')
      await new Promise<void>((resolve) => log.flush(() => resolve()))
    }
  }

  try {
    await server.listen({ host, port })
  } catch (error) {
    await end()
    throw error
  }
  const url = server.listeningOrigin
  log.info({ url }, 'listening')
  let ended: Promise<void> | undefined
  return {
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
