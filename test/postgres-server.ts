/** The PostgreSQL that tests make their databases on: one for a whole run, or for a file that is run by itself. */
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import pg from 'pg'
import { createQueues } from '../src/jobs/queue.ts'
import { openDatabase } from '../src/store/database.ts'
import { openCluster, superuser } from '../src/store/embedded-cluster.ts'
import { openEmbeddedPostgres } from '../src/store/embedded-postgres.ts'
import { readPostmaster } from '../src/store/embedded-postmaster.ts'
import { superuserClient } from '../src/store/embedded-server.ts'

/** A server to test with in place of our own, as the address of a superuser. */
const givenVariable = 'CREDENCE_TEST_POSTGRES'
/** The server of this run as JSON, for the test files, which are processes of their own. */
const runVariable = 'CREDENCE_TEST_SERVER'
/** How long our own may take to end, in milliseconds. */
const endPatienceMs = 10_000

export interface PostgresServer {
  /** Address of a superuser's database. */
  readonly url: string
  /** Name of a database with the tables of this release and of the queue, and no rows, to make others from. */
  readonly template: string
}

/** Starts the server of a run: all processes find it that are started from now on. Returns what ends it. */
export async function startServerOfRun(): Promise<() => Promise<void>> {
  const server = await startServer()
  process.env[runVariable] = JSON.stringify(server)
  return () => endServer(server)
}

/** The server of the run that this file is part of; without a run, one that lasts as long as this process. */
export async function findServer(): Promise<PostgresServer> {
  const ofRun = process.env[runVariable]
  if (ofRun !== undefined) return JSON.parse(ofRun)
  const server = await startServer()
  after(() => endServer(server))
  return server
}

async function startServer(): Promise<PostgresServer> {
  const url = process.env[givenVariable] ?? (await startOwn())
  const template = `credence_template_${randomBytes(6).toString('hex')}`
  await administer(url, `create database ${template}`)
  await makeTables(addressOf(url, template))
  return { url, template }
}

/** Our own ends with the process: until then, whoever comes last may use it. */
async function endServer({ url, template }: PostgresServer): Promise<void> {
  if (url === process.env[givenVariable]) await administer(url, `drop database ${template}`)
}

/** The embedded one. Nothing in it outlives this process, so that nothing need wait for the disk. */
async function startOwn(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'credence-postgres-'))
  const server = await openEmbeddedPostgres(folder)
  const cluster = await openCluster(join(folder, 'postgres'))
  const postmaster = await readPostmaster(cluster.folder)
  // Whatever ends this process.
  process.once('exit', () => {
    if (postmaster !== undefined) process.kill(postmaster.pid, 'SIGQUIT')
    const givesUpAt = performance.now() + endPatienceMs
    // The last thing that it removes.
    while (existsSync(join(cluster.folder, 'postmaster.pid')) && performance.now() < givesUpAt) sleep(10)
    rmSync(folder, { recursive: true, force: true })
  })
  const { host, port } = server.connection
  const client = superuserClient(cluster, port)
  await client.connect()
  for (const setting of ['fsync', 'full_page_writes', 'synchronous_commit'])
    await client.query(`alter system set ${setting} = off`)
  await client.query('select pg_reload_conf()')
  await client.end()
  return `postgres://${superuser}:${cluster.notes.superuserPassword}@${host}:${port}/postgres`
}

const sleep = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

async function makeTables(url: string): Promise<void> {
  const database = await openDatabase({ url, dataDirectory: '' })
  const troubles: unknown[] = []
  const queues = createQueues(
    database,
    {},
    {
      times: { pollSeconds: 1, heartbeatSeconds: 10, monitorSeconds: 60 },
      work: async () => {},
      onTrouble: (error) => troubles.push(error),
    },
  )
  await queues.start()
  await queues.stop()
  await database.close()
  if (troubles.length > 0) throw troubles[0]
}

/** Another database of the same server. */
export function addressOf(url: string, name: string): string {
  const address = new URL(url)
  address.pathname = name
  return address.href
}

/** Runs a statement that only a superuser may, or that belongs to no database. */
export async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
