/** A PostgreSQL of our own in the data directory: started, shared, kept up, and stopped by the last one out. */
import { mkdir, realpath, utimes } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'
import { ScramClient } from './client.ts'
import { type Cluster, openCluster, writeNotes } from './embedded-cluster.ts'
import { endServer } from './embedded-postmaster.ts'
import { codeOf, EmbeddedPostgresError } from './embedded-programs.ts'
import { bringUp, type Server, superuserClient } from './embedded-server.ts'
import { withFileLock } from './file-lock.ts'

export { EmbeddedPostgresError } from './embedded-programs.ts'

/** How to reach a database. Not printable as a whole: it holds the password. */
export interface Connection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

export interface EmbeddedPostgres {
  /** As a role that owns the database and is no superuser. The port may change when the server is started anew. */
  readonly connection: Connection
  /** Connects to where the server is now, whatever port it is given. */
  readonly Client: typeof pg.Client
  /** Whether it was already running: another process uses it, or one ended without stopping it. */
  readonly adopted: boolean
  /** Stops it, unless another process uses it: the last one out does. */
  stop(): Promise<void>
}

const service = 'credence'
/** Sessions by which each process that uses the server shows that it is there. */
const presenceName = 'credence presence'
/** Longest wait for another process that starts or stops the server. */
const lockPatienceMs = 90_000
const refreshLockEveryMs = 5_000
const longestPauseMs = 5_000

/** @throws EmbeddedPostgresError */
export async function openEmbeddedPostgres(dataDirectory: string): Promise<EmbeddedPostgres> {
  const home = await makeHome(dataDirectory)
  return withLock(home, async () => {
    const cluster = await openCluster(home)
    const server = await bringUp(cluster)
    const keeper = await takeUp(cluster, server).catch(async (error) => {
      // Nobody would stop it.
      if (!server.wasRunning) await endServer(cluster.folder)
      throw error
    })
    const connection = () => ({
      host: '127.0.0.1',
      port: keeper.port(),
      user: service,
      password: cluster.notes.servicePassword,
      database: service,
    })
    return {
      get connection() {
        return connection()
      },
      Client: class extends ScramClient {
        constructor(config?: string | pg.ClientConfig) {
          super({ ...(typeof config === 'string' ? {} : config), ...connection() })
        }
      },
      adopted: server.wasRunning,
      stop: keeper.stop,
    }
  })
}

async function takeUp(cluster: Cluster, { port }: Server): Promise<Keeper> {
  await ensureServiceRole(cluster, port)
  return keep(cluster, port)
}

async function makeHome(dataDirectory: string): Promise<string> {
  const home = resolve(dataDirectory, 'postgres')
  try {
    await mkdir(home, { recursive: true, mode: 0o700 })
    return await realpath(home)
  } catch (error) {
    throw unusable(home, error)
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'it is on a read-only file system',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'there is a file in its place',
  ENOTDIR: 'there is a file in its place',
}

/** What the system said about our folder; other errors as they came. */
function unusable(home: string, error: unknown): unknown {
  const code = codeOf(error)
  const reason = reasons[code]
  return reason === undefined
    ? error
    : new EmbeddedPostgresError(`the embedded database cannot use ${home}: ${reason} (${code})`)
}

/** One process at a time makes, starts or stops the server of `home`. */
async function withLock<T>(home: string, work: () => Promise<T>): Promise<T> {
  const path = join(home, 'lock')
  const givesUpAt = performance.now() + lockPatienceMs
  for (;;) {
    let isHeld = false
    try {
      return await withFileLock(path, async () => {
        isHeld = true
        // Recovery may take longer than the age at which a lock counts as left over.
        const refresh = setInterval(() => {
          const now = new Date()
          utimes(path, now, now).catch(() => undefined)
        }, refreshLockEveryMs)
        try {
          return await work()
        } finally {
          clearInterval(refresh)
        }
      })
    } catch (error) {
      if (isHeld || codeOf(error) !== 'unknown error') throw unusable(home, error)
      if (performance.now() > givesUpAt) {
        throw new EmbeddedPostgresError(
          `another process has been starting or stopping the database in ${home} for long; try again`,
        )
      }
    }
  }
}

/** Makes the role and the database that the service works with, once. */
async function ensureServiceRole(cluster: Cluster, port: number): Promise<void> {
  const client = superuserClient(cluster, port)
  await client.connect()
  try {
    const password = client.escapeLiteral(cluster.notes.servicePassword)
    const { rowCount: hasRole } = await client.query('select from pg_roles where rolname = $1', [service])
    if (hasRole === 0) await client.query(`create role ${service} login password ${password}`)
    else if (!(await letsServiceIn(cluster, port))) {
      await client.query(`alter role ${service} password ${password}`)
    }
    const { rowCount: hasDatabase } = await client.query('select from pg_database where datname = $1', [
      service,
    ])
    if (hasDatabase === 0) {
      await client.query(`create database ${service} owner ${service}`)
      await client.query(`revoke all on database ${service} from public`)
    }
  } finally {
    await client.end()
  }
}

async function letsServiceIn({ notes }: Cluster, port: number): Promise<boolean> {
  const client = new ScramClient({
    host: '127.0.0.1',
    port,
    user: service,
    password: notes.servicePassword,
    database: service,
    connectionTimeoutMillis: 5_000,
  })
  try {
    await client.connect()
    return true
  } catch (error) {
    return codeOf(error) !== '28P01'
  } finally {
    await client.end().catch(() => undefined)
  }
}

interface Keeper {
  port(): number
  stop(): Promise<void>
}

/** Shows that we use the server, and starts it anew when it dies while we do. */
async function keep(opened: Cluster, openedPort: number): Promise<Keeper> {
  let cluster = await noting(opened, openedPort)
  let presence = await attend()
  let stopping: Promise<void> | undefined

  async function attend(): Promise<ScramClient> {
    const client = superuserClient(cluster, cluster.notes.port, presenceName)
    await client.connect()
    // It lasts as long as the process does, and is no reason for it to last.
    client.unref()
    client.once('end', () => {
      if (stopping === undefined) void revive()
    })
    return client
  }

  async function revive(): Promise<void> {
    for (let pauseMs = 0; stopping === undefined; pauseMs = Math.min(2 * pauseMs + 50, longestPauseMs)) {
      await wait(pauseMs, undefined, { ref: false })
      const isBack = await withLock(cluster.home, async () => {
        if (stopping !== undefined) return
        const { port } = await bringUp(cluster)
        cluster = await noting(cluster, port)
        presence = await attend()
      }).then(
        () => true,
        // A full disk, for one: tried again until it works; meanwhile every query says that nothing listens.
        () => false,
      )
      if (isBack) return
    }
  }

  return {
    port: () => cluster.notes.port,
    stop() {
      stopping ??= withLock(cluster.home, async () => {
        await presence.end().catch(() => undefined)
        if (!(await isUsed(cluster))) await endServer(cluster.folder)
      })
      return stopping
    },
  }
}

/** The cluster with the port of its server in its notes, so that all who lost the server look for it there. */
async function noting(cluster: Cluster, port: number): Promise<Cluster> {
  if (port === cluster.notes.port) return cluster
  const noted = { ...cluster, notes: { ...cluster.notes, port } }
  await writeNotes(noted)
  return noted
}

/** How long the sessions of a process that has ended may still be listed, in milliseconds. */
const lingerMs = 500

/** Whether another process shows its presence. */
async function isUsed(cluster: Cluster): Promise<boolean> {
  const client = superuserClient(cluster, cluster.notes.port)
  try {
    await client.connect()
    for (const givesUpAt = performance.now() + lingerMs; ; await wait(10)) {
      const { rowCount } = await client.query('select from pg_stat_activity where application_name = $1', [
        presenceName,
      ])
      if (rowCount === 0) return false
      if (performance.now() > givesUpAt) return true
    }
  } catch {
    // Who cannot be reached serves nobody.
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
