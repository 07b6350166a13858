/** A database of its own for each test: on the machine's PostgreSQL where one runs, otherwise on one started for this process. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import pg from 'pg'
import { type Database, openDatabase } from '../src/store/database.ts'
import { openCluster } from '../src/store/embedded-cluster.ts'
import { openEmbeddedPostgres } from '../src/store/embedded-postgres.ts'
import { superuserClient } from '../src/store/embedded-server.ts'
import type { Lasting } from './running-command.ts'

/** A PostgreSQL on which databases can be made. */
interface Host {
  run(statement: string): Promise<void>
  urlOf(name: string): string
}

/** Where developers and CI run one that trusts this machine. */
const local = 'postgres://postgres@127.0.0.1:5432'

let host: Promise<Host> | undefined

/** Address of a new and empty database, which ends with the test. */
export async function freshDatabaseUrl(test: Lasting): Promise<string> {
  host ??= localHost().catch(ownHost)
  const { run, urlOf } = await host
  const name = `credence_test_${randomBytes(6).toString('hex')}`
  await run(`create database ${name}`)
  test.after(() => run(`drop database if exists ${name} with (force)`))
  return urlOf(name)
}

/** The same, opened. */
export async function freshDatabase(test: Lasting): Promise<Database & { readonly url: string }> {
  const url = await freshDatabaseUrl(test)
  return { ...(await openedDatabase(test, url)), url }
}

/** Another's database, opened for as long as the test takes. */
export async function openedDatabase(test: Lasting, url: string): Promise<Database> {
  const database = await openDatabase({ url, dataDirectory: '', poolSize: 4 })
  test.after(() => database.close())
  return database
}

async function localHost(): Promise<Host> {
  const run = async (statement: string) => {
    const client = new pg.Client({ connectionString: `${local}/postgres`, connectionTimeoutMillis: 2_000 })
    await client.connect()
    try {
      await client.query(statement)
    } finally {
      await client.end()
    }
  }
  await run('select 1')
  return { run, urlOf: (name) => `${local}/${name}` }
}

async function ownHost(): Promise<Host> {
  const folder = await mkdtemp(join(tmpdir(), 'credence-postgres-'))
  const server = await openEmbeddedPostgres(folder)
  after(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const cluster = await openCluster(join(folder, 'postgres'))
  const { host: address, port, user, password } = server.connection
  return {
    async run(statement) {
      const client = superuserClient(cluster, port)
      await client.connect()
      try {
        await client.query(statement.startsWith('create') ? `${statement} owner ${user}` : statement)
      } finally {
        await client.end()
      }
    },
    urlOf: (name) => `postgres://${user}:${encodeURIComponent(password)}@${address}:${port}/${name}`,
  }
}
