/** A running server that keeps configurations, for tests: a PostgreSQL database of its own, the provider sandboxes, and callers of any organisation. */
import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { Agent, request } from 'undici'
import type { Caller } from '../src/api/authentication.ts'
import { forbidden } from '../src/api/errors.ts'
import { createServer } from '../src/api/server.ts'
import { type Configs, createConfigs } from '../src/configs/configs.ts'
import type { ConfigStateChange } from '../src/configs/events.ts'
import type { ConfigsParts, OperatorRegistration } from '../src/configs/parts.ts'
import type { Outbound } from '../src/outbound/outbound.ts'
import { type AnySource, createSources } from '../src/sources/registry.ts'
import { type Database, openDatabase } from '../src/store/database.ts'
import { openVault } from '../src/store/vault-keys.ts'
import { createLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { createCapacity } from '../src/validation/capacity.ts'
import { createGuessGuard } from '../src/validation/guess-guard.ts'
import { newWay } from './database-way.ts'
import { freshDatabaseUrl } from './fresh-database.ts'
import { idleSync } from './idle-sync.ts'

export const configsPath = '/api/v2/security_monitoring/configuration/integration_config'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into documents whose form they assert.
  readonly body: any
}

export interface Client {
  readonly organization: { readonly id: string; readonly name: string }
  /** Its application key; any API key goes with it. */
  readonly key: string
  call(method: string, path?: string, attributes?: object, more?: CallOptions): Promise<Answer>
  create(attributes: object): Promise<Answer>
  patch(id: string, attributes: object): Promise<Answer>
}

export interface CallOptions {
  /** In place of a document around `attributes`. */
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface ConfigsServer {
  readonly origin: string
  readonly database: Database
  /** Past any proxy. */
  readonly admin: pg.Pool
  readonly configs: Configs
  /** As another node on the same database has them. */
  readonly otherNode: Configs
  readonly changes: readonly ConfigStateChange[]
  readonly troubles: readonly Error[]
  log(): string
  /** A caller of a new organisation, or of the one given. */
  client(options?: {
    readonly organization?: Client['organization']
    readonly permissions?: readonly string[]
  }): Promise<Client>
  /** Cuts the way to the database and lets nobody through, until it is mended. */
  cut(): Promise<void>
  mend(): Promise<void>
}

export interface ConfigsServerOptions {
  readonly outbound: Outbound
  readonly sources?: readonly AnySource[]
  /** By organisation's name and kind of credentials. */
  readonly operator?: (key: string, organization: string) => readonly OperatorHolding[]
  readonly unprovenAttempts?: number
  readonly targetLimit?: number
  readonly validationsAtOnce?: number
}

export interface OperatorHolding extends OperatorRegistration {
  readonly entry: unknown
}

export async function startConfigsServer(
  test: { after(work: () => Promise<void>): void },
  options: ConfigsServerOptions,
): Promise<ConfigsServer> {
  const ends: (() => unknown)[] = []
  const lasting = { after: (end: () => unknown) => ends.push(end) }
  const url = await freshDatabaseUrl(lasting)
  const way = await newWay(lasting)
  const database = await openDatabase({ url: way.through(url), dataDirectory: '/nonexistent' })
  const admin = new pg.Pool({ connectionString: url, max: 2 })
  // Dropping the database ends what the pool has not yet closed.
  admin.on('error', () => undefined)
  const vault = await openVault(database, [{ id: 'test', key: randomBytes(32) }])
  const sources = options.sources ?? createSources()
  const changes: ConfigStateChange[] = []
  const troubles: Error[] = []
  const lines: string[] = []
  const holdings = options.operator ?? (() => [])
  const now = () => new Date()
  const validation = {
    tools: {
      openHttp: (...given: Parameters<Outbound['open']>) => options.outbound.open(...given),
      now,
    },
    guard: createGuessGuard({ attemptsPerMinute: options.unprovenAttempts ?? 1_000_000 }),
    capacity: createCapacity(options.validationsAtOnce ?? 1_000),
    turn: async () => {},
    operatorEntry: (key: string, organization: { name: string }, domain: string) =>
      holdings(key, organization.name).find(({ domains }) => domains.includes(domain))?.entry,
  }
  const parts: ConfigsParts = {
    database,
    vault,
    sources,
    validation,
    operatorRegistrations: async (key, organization) => holdings(key, organization.name),
    now,
    schedule: (_, at) => ({
      nextValidationAt: new Date(at.getTime() + 3_600_000),
      credentialsExpireAt: null,
    }),
    onStateChange: async (change) => {
      changes.push(change)
    },
    onReport: () => {},
    onTrouble: (error) => troubles.push(error),
  }
  const configs = createConfigs(parts)

  const callers = new Map<string, Caller>()
  const targets = new Map<string, number>()
  const standing = (count: number, limit: number) => ({
    limit,
    remaining: Math.max(0, limit - count),
    resetSeconds: 30,
    isExceeded: count > limit,
  })
  const metrics = createMetrics()
  const server = await createServer({
    configs,
    sync: idleSync({ database, sources, now }),
    database,
    isDatabaseAnswering: () => true,
    sources,
    validation,
    authentication: {
      async callerOf({ headers }) {
        const caller = callers.get(String(headers['dd-application-key']))
        if (caller === undefined) throw forbidden()
        return caller
      },
    },
    rateLimits: {
      countCaller: async (limit) => ({ name: limit, ...standing(1, 1_000_000) }),
      async countTarget(...target) {
        const key = target.join()
        targets.set(key, (targets.get(key) ?? 0) + 1)
        return {
          name: 'validations_per_target',
          ...standing(targets.get(key) ?? 0, options.targetLimit ?? 1_000_000),
        }
      },
    },
    limits: {
      validationsPerCaller: 1_000_000,
      requestsPerCaller: 1_000_000,
      validationsPerTarget: options.targetLimit ?? 1_000_000,
      unprovenAttempts: options.unprovenAttempts ?? 1_000_000,
    },
    // No route of configurations has a stream that goes on for long.
    streams: { open: () => new AbortController().signal },
    webOrigin: { isLoopback: true, allowedHosts: [] },
    metrics,
    log: createLog('trace', { write: (line) => lines.push(line) }),
    lifecycle: { isReady: () => true, whenImpatient: () => () => {} },
  })
  const origin = await server.listen({ host: '127.0.0.1', port: 0 })
  const agent = new Agent({ connections: 128, pipelining: 1 })

  test.after(async () => {
    await agent.destroy()
    await server.close()
    metrics.close()
    await database.close()
    await admin.end()
    for (const end of ends.reverse()) await end()
  })

  return {
    origin,
    database,
    admin,
    configs,
    otherNode: createConfigs(parts),
    changes,
    troubles,
    log: () => lines.join(''),
    cut: way.close,
    mend: way.reopen,
    async client({ organization, permissions = ['integrations_read', 'manage_integrations'] } = {}) {
      const owner = organization ?? { id: randomUUID(), name: `organisation ${randomUUID()}` }
      if (organization === undefined)
        await admin.query('insert into organizations (id, name) values ($1, $2)', [owner.id, owner.name])
      const key = randomUUID()
      callers.set(key, { id: `key:${key}`, organization: owner, permissions: new Set(permissions) })
      const call: Client['call'] = async (method, path = '', attributes, more = {}) => {
        const body =
          more.body ?? (attributes && JSON.stringify({ data: { type: 'integration_config', attributes } }))
        const answer = await request(`${origin}${configsPath}${path}`, {
          dispatcher: agent,
          method: method as 'GET',
          headers: {
            'dd-application-key': key,
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...more.headers,
          },
          ...(body !== undefined && { body }),
        })
        const text = await answer.body.text()
        return {
          status: answer.statusCode,
          headers: answer.headers,
          text,
          body: text === '' ? undefined : JSON.parse(text),
        }
      }
      return {
        organization: owner,
        key,
        call,
        create: (attributes) => call('POST', '', attributes),
        patch: (id, attributes) => call('PATCH', `/${id}`, attributes),
      }
    },
  }
}
