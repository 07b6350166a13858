/** A running server for tests of the API: a made-up source behind it, keys in a folder of its own, its log in memory. */
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { defaultStreamLimits, type StreamLimits } from '../src/api/streams.ts'
import { type Config, defaultConfig, type Limits } from '../src/config.ts'
import type { Outbound } from '../src/outbound/outbound.ts'
import { startService } from '../src/service.ts'
import type { AnySource } from '../src/sources/registry.ts'
import type { Database } from '../src/store/database.ts'
import { createKey } from '../src/store/keys.ts'
import { createLog } from '../src/telemetry/log.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { createAcme } from './acme-source.ts'
import { freshDatabaseUrl } from './fresh-database.ts'
import type { Lasting } from './running-command.ts'

export const validatePath = '/api/v2/security_monitoring/configuration/integration_config/validate'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** The body as JSON. */
  json(): unknown
}

export interface Call {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

export interface Api {
  readonly url: string
  readonly port: number
  readonly dataDir: string
  readonly database: Database
  readonly databaseUrl: string
  readonly keys: { readonly id: string; readonly api_key: string; readonly application_key: string }
  /** Everything the server logged so far. */
  log(): string
  call(call: Call): Promise<Answer>
  /** Validates with the server's own keys. */
  validate(attributes: unknown, call?: Call): Promise<Answer>
  /** Sends bytes as they are, and returns all that comes back until the server closes the connection. */
  raw(bytes: string | Buffer): Promise<string>
  close(): Promise<void>
}

export interface ApiOptions {
  readonly config?: Partial<Omit<Config, 'limits'>> & { readonly limits?: Partial<Limits> }
  readonly outbound?: Outbound
  readonly sources?: readonly AnySource[]
  readonly permissions?: readonly string[]
  readonly host?: string
  /** Those that are other than a server's own. */
  readonly streamLimits?: Partial<StreamLimits>
}

/** Limits that no test runs into by chance. */
const roomy: Limits = {
  validationsPerCaller: 1_000_000,
  requestsPerCaller: 1_000_000,
  validationsPerTarget: 1_000_000,
  unprovenAttempts: 1_000_000,
}

export async function startApi(test: Lasting, options: ApiOptions = {}): Promise<Api> {
  const dataDir = await mkdtemp(join(tmpdir(), 'credence-api-'))
  const ends: (() => unknown)[] = []
  const lasting = { after: (end: () => unknown) => ends.push(end) }
  test.after(async () => {
    // The last one first: the database goes when nobody uses it any more.
    for (const end of ends.reverse()) await end()
  })
  const databaseUrl = options.config?.databaseUrl ?? (await freshDatabaseUrl(lasting))
  const acme = createAcme()
  const lines: string[] = []
  const service = await startService({
    dataDir,
    config: {
      ...defaultConfig,
      vaultKeys: { text: generateVaultKey() },
      // A sync that begins by itself would disturb what is counted.
      syncsAtOnce: 0,
      ...options.config,
      databaseUrl,
      limits: { ...roomy, ...options.config?.limits },
    },
    sources: options.sources ?? [acme.source],
    outbound: options.outbound ?? acme.outbound,
    log: createLog('trace', { write: (line) => lines.push(line) }),
    streamLimits: { ...defaultStreamLimits, ...options.streamLimits },
    ...(options.host !== undefined && { host: options.host }),
  })
  const { database } = service
  const keys = await createKey({ database, permissions: options.permissions ?? ['integrations_read'] })
  const port = Number(new URL(service.url).port)
  const agent = new Agent({ connections: 256, pipelining: 1 })
  lasting.after(async () => {
    await agent.destroy()
    await service.close()
    await rm(dataDir, { recursive: true })
  })

  const call = async ({ method = 'GET', path = '/', headers = {}, body }: Call): Promise<Answer> => {
    const answer = await request(`${service.url}${path}`, {
      dispatcher: agent,
      method: method as 'GET',
      headers,
      ...(body !== undefined && { body }),
    })
    const text = await answer.body.text()
    return { status: answer.statusCode, headers: answer.headers, text, json: () => JSON.parse(text) }
  }

  return {
    url: service.url,
    port,
    dataDir,
    database,
    databaseUrl,
    keys,
    log: () => lines.join(''),
    call,
    validate: (attributes, { path = validatePath, headers = {}, ...more } = {}) =>
      call({
        method: 'POST',
        path,
        headers: {
          'dd-api-key': keys.api_key,
          'dd-application-key': keys.application_key,
          'content-type': 'application/json',
          ...headers,
        },
        body: JSON.stringify({ data: { type: 'integration_config', attributes } }),
        ...more,
      }),
    raw: (bytes) =>
      new Promise((resolve, reject) => {
        const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes))
        let heard = ''
        socket.setEncoding('utf8').on('data', (text) => {
          heard += text
        })
        socket.on('error', (error: NodeJS.ErrnoException) =>
          error.code === 'ECONNRESET' ? resolve(heard) : reject(error),
        )
        socket.on('close', () => resolve(heard))
      }),
    close: () => service.close(),
  }
}

/** Headers of a validation, for requests that a test writes by itself. */
export const headersOf = ({ keys }: Pick<Api, 'keys'>): Record<string, string> => ({
  'dd-api-key': keys.api_key,
  'dd-application-key': keys.application_key,
  'content-type': 'application/json',
})

/** Id of the organisation whose keys a test has. */
export async function organizationOf({ database, keys }: Pick<Api, 'database' | 'keys'>): Promise<string> {
  const { organization_id } = await database.query
    .selectFrom('keys')
    .select('organization_id')
    .where('id', '=', keys.id)
    .executeTakeFirstOrThrow()
  return organization_id
}
