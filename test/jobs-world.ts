/** What tests of jobs happen in: a database, a provider and a webhook receiver that do as they are told, and nodes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { systemRequester } from '../src/configs/requester.ts'
import { type Database, inTransaction } from '../src/store/database.ts'
import { createOrganization } from '../src/store/organizations.ts'
import { type EventType, eventTypes } from '../src/store/webhook-events.ts'
import { createWebhook } from '../src/store/webhooks.ts'
import { freshDatabaseUrl } from './fresh-database.ts'
import { type JobsNode, type NodeOptions, openNode } from './jobs-node.ts'
import { makeAuthority, makeCertificate } from './outbound-stand-in.ts'

export const providerHost = 'acme.example.com'
export const receiverHost = 'hooks.example.com'

/** Answers in place of what the token's text asks for: a status, or never. */
export type Behaviour = number | 'hang'

export interface Told {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export type World = Awaited<ReturnType<typeof startWorld>>

/** @param databaseUrl by default that of a new database, with its tables */
export async function startWorld(test: TestContext, databaseUrl?: string) {
  const authority = makeAuthority()
  const provider = await startProvider(test)
  const receiver = await startReceiver(test, makeCertificate([receiverHost], authority))
  const options: NodeOptions = {
    databaseUrl: databaseUrl ?? (await freshDatabaseUrl()),
    vaultKey: randomBytes(32).toString('base64'),
    endpoints: { [providerHost]: provider.origin, [receiverHost]: receiver.origin },
    authority: authority.certificate,
  }
  const clock = { offsetMs: 0 }
  const lines: string[] = []
  const now = () => new Date(Date.now() + clock.offsetMs)
  const open = async (more: Partial<NodeOptions> = {}): Promise<JobsNode> => {
    const node = await openNode({ ...options, ...more }, { now, write: (line) => lines.push(line) })
    test.after(() => node.close())
    return node
  }
  /** In this process; its jobs are not started. */
  const node = await open()
  const organization = await createOrganization(node.database, {
    name: `organisation ${randomUUID()}`,
    actor: { id: 'test' },
  })
  const { database, vault } = node

  return {
    options,
    provider,
    receiver,
    clock,
    now,
    node,
    database,
    organization,
    log: () => lines.join(''),
    open,
    /** A configuration that was proved with this token; when it is validated next is left to the test. */
    async config(token: string, name = token) {
      const config = await node.configs.create(systemRequester(organization), {
        integrationType: 'ACME',
        domain: providerHost,
        name,
        secrets: { api_token: token },
        settings: { instance: randomUUID() },
      })
      return config.id
    },
    /** Has a configuration validated soon. */
    async makeDue(id: string, at = now()) {
      await database.query
        .updateTable('integration_configs')
        .set({ next_validation_at: at })
        .where('id', '=', id)
        .execute()
    },
    read: (id: string) =>
      database.query
        .selectFrom('integration_configs')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirstOrThrow(),
    webhook: (events: readonly EventType[] = eventTypes, path = '/hook') =>
      createWebhook(
        database,
        vault,
        { id: 'test' },
        { organizationId: organization.id, url: `https://${receiverHost}${path}`, events },
      ),
    deliveries: () =>
      database.query.selectFrom('webhook_deliveries').selectAll().orderBy('created_at').execute(),
    audit: (action: string) =>
      database.query
        .selectFrom('audit_events')
        .selectAll()
        .where('action', '=', action)
        .orderBy('id')
        .execute(),
    /** Jobs that some node is working on. */
    activeJobs: () => activeJobs(database),
    /** As if all nodes had been silent for a minute; those that live tell of themselves within seconds. */
    async silence() {
      await database.pool.query(
        `update pgboss.job set heartbeat_on = heartbeat_on - interval '1 minute' where state = 'active'`,
      )
    },
    spawn: (more: Partial<NodeOptions> = {}) => spawnNode(test, { ...options, ...more }),
  }
}

const activeJobs = async ({ pool }: Database): Promise<number> =>
  (await pool.query(`select count(*)::int as count from pgboss.job where state = 'active'`)).rows[0].count

/** Waits for what will be; a test that waits in vain ends by its runner's limit. */
export async function until<T>(look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (;;) {
    const seen = await look()
    if (seen) return seen
    await wait(20)
  }
}

/** Undoes what `work` does. */
export async function undone(database: Database, work: Parameters<typeof inTransaction>[1]): Promise<void> {
  const undo = new Error('undone')
  await inTransaction(database, async (transaction) => {
    await work(transaction)
    throw undo
  }).catch((error: unknown) => {
    if (error !== undo) throw error
  })
}

async function startProvider(test: TestContext) {
  const held: ServerResponse[] = []
  const seen: string[] = []
  const state: { behaviour: ((token: string) => Behaviour | undefined) | undefined } = {
    behaviour: undefined,
  }
  const server = createHttpServer((request, response) => {
    const token = request.headers.authorization ?? ''
    seen.push(token)
    const behaviour =
      state.behaviour?.(token) ?? (token.startsWith('valid') || token.startsWith('kill') ? 200 : 401)
    if (behaviour === 'hang') held.push(response)
    else response.writeHead(behaviour).end('[]')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Tokens, in the order in which they came. */
    seen,
    /** Requests that wait for an answer. */
    held: () => held.length,
    behave(behaviour: (token: string) => Behaviour | undefined) {
      state.behaviour = behaviour
    },
    /** Answers the first of what waits, or all of it. */
    release(status: number, count = held.length) {
      for (const response of held.splice(0, count)) response.writeHead(status).end('[]')
    },
  }
}

async function startReceiver(test: TestContext, identity: { readonly key: string; readonly cert: string }) {
  const told: Told[] = []
  const held: ServerResponse[] = []
  const state: { answer: (told: Told) => Behaviour } = { answer: () => 204 }
  const server = createHttpsServer(identity, async (request, response) => {
    request.setEncoding('utf8')
    let body = ''
    for await (const piece of request) body += piece
    const one = { path: request.url ?? '', headers: request.headers, body }
    const status = state.answer(one)
    told.push(one)
    if (status === 'hang') held.push(response)
    else response.writeHead(status, { location: 'https://hooks.example.com/elsewhere' }).end('thank you')
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    origin: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    told,
    held: () => held.length,
    answer(answer: (told: Told) => Behaviour) {
      state.answer = answer
    },
  }
}

export interface SpawnedNode {
  readonly child: ChildProcess
  /** Resolves with the line that matches. */
  line(pattern: RegExp): Promise<string>
  ended: Promise<void>
}

async function spawnNode(test: TestContext, options: NodeOptions): Promise<SpawnedNode> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'jobs-node.ts'), JSON.stringify(options)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  test.after(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(() => undefined)
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  const line = (pattern: RegExp) =>
    until(() => {
      if (child.exitCode !== null) throw new Error(`the node ended with ${child.exitCode}:\n${text}`)
      return text.split('\n').find((one) => pattern.test(one))
    })
  await line(/^started$/)
  return { child, line, ended }
}
