/** Starts the server of a cluster, or finds the one that is there. */
import { type ChildProcess, spawn } from 'node:child_process'
import { open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ScramClient } from './client.ts'
import { anyPort, type Cluster, leaveToOwner, resetPassword, superuser } from './embedded-cluster.ts'
import { end, endOrphans, findServer, lookEveryMs, readPostmaster, serves } from './embedded-postmaster.ts'
import { childEnvironment, codeOf, complaintIn, EmbeddedPostgresError, ended } from './embedded-programs.ts'

/** How long a start may take, recovery after a crash included, in milliseconds. */
const startPatienceMs = 60_000
/** How long a server may be silent that runs and says that it is ready. */
const silencePatienceMs = 15_000
/** After this time, children of a dead server are no longer waited for. */
const orphanPatienceMs = 1_000
const maxLogBytes = 16 * 1024 * 1024

export interface Server {
  readonly port: number
  /** Whether it was already running. */
  readonly wasRunning: boolean
}

/** The caller holds the lock. @throws EmbeddedPostgresError */
export async function bringUp(cluster: Cluster): Promise<Server> {
  const port = await adopt(cluster)
  if (port !== undefined) return { port, wasRunning: true }
  return { port: await start(cluster), wasRunning: false }
}

export function superuserClient({ notes }: Cluster, port: number, name = 'credence keeper'): ScramClient {
  return new ScramClient({
    host: '127.0.0.1',
    port,
    user: superuser,
    password: notes.superuserPassword,
    database: 'postgres',
    application_name: name,
    connectionTimeoutMillis: 5_000,
    query_timeout: 15_000,
  })
}

/** Port of a server that is there and lets us in. One that does not answer any more is ended. */
async function adopt(cluster: Cluster): Promise<number | undefined> {
  const { folder } = cluster
  const found = await findServer(folder)
  if (found === undefined) return undefined
  const givesUpAt = performance.now() + startPatienceMs
  let silentSince = performance.now()
  while (performance.now() < givesUpAt && (await serves(found.pid, folder))) {
    const current = await readPostmaster(folder)
    const answer = current?.isReady === true ? await knock(cluster, current.port) : 'starting'
    if (answer === 'ready') return current?.port
    if (answer === 'refused') {
      // It has other passwords than the notes, which were lost and made anew.
      await resetPassword(cluster)
      return undefined
    }
    if (answer === 'starting') silentSince = performance.now()
    if (performance.now() - silentSince > silencePatienceMs) break
    await wait(lookEveryMs)
  }
  if (await serves(found.pid, folder)) await end(found.pid, folder, 'SIGQUIT')
  return undefined
}

/** `starting`: it recovers, shuts down or has no connection left; in any case it speaks. */
async function knock(cluster: Cluster, port: number): Promise<'ready' | 'starting' | 'silent' | 'refused'> {
  const client = superuserClient(cluster, port)
  try {
    await client.connect()
    // Another cluster with these passwords may be a copy of this one.
    const { rows } = await client.query<{ folder: string }>(
      `select current_setting('data_directory') as folder`,
    )
    return rows[0]?.folder === cluster.folder ? 'ready' : 'silent'
  } catch (error) {
    const code = codeOf(error)
    if (code === '28P01' || code === '28000') return 'refused'
    return /^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE' ? 'starting' : 'silent'
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function start(cluster: Cluster): Promise<number> {
  await rotateLog(cluster.log)
  const startedAt = performance.now()
  const givesUpAt = startedAt + startPatienceMs
  for (let port = cluster.notes.port; ; ) {
    const failure = await tryStart(cluster, port, givesUpAt)
    if (failure === undefined) return port
    if (/already in use|could not bind|could not create any TCP/i.test(failure)) port = anyPort()
    else if (!/shared memory block|lock file "postmaster.pid"/i.test(failure))
      throw cannotStart(cluster, failure)
    if (performance.now() > givesUpAt) throw cannotStart(cluster, failure)
    if (performance.now() > startedAt + orphanPatienceMs) await endOrphans(cluster.folder)
    await wait(lookEveryMs)
  }
}

const cannotStart = ({ folder, log }: Cluster, said: string) =>
  new EmbeddedPostgresError(`PostgreSQL does not start in ${folder}: ${complaintIn(said)}; see ${log}`)

/** What it said when it did not start; `undefined` when it did. */
async function tryStart(cluster: Cluster, port: number, givesUpAt: number): Promise<string | undefined> {
  const { folder, programs, runAs } = cluster
  const log = await open(cluster.log, 'a+', 0o600)
  try {
    await leaveToOwner(log, cluster.home)
    const { size: logStart } = await log.stat()
    const child = spawn(join(programs, 'bin', 'postgres'), ['-D', folder, ...settings(port)], {
      ...runAs,
      cwd: '/',
      env: childEnvironment(),
      // In a group of its own: a Ctrl-C at the terminal is for us, and we stop it when we are done with it.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    })
    const end = ended(child)
    const outcome = await Promise.race([becomesReady(child, folder, givesUpAt), end])
    if (outcome === 'ready') {
      child.unref()
      return undefined
    }
    if (outcome === 'late') {
      child.kill('SIGQUIT')
      throw new EmbeddedPostgresError(
        `PostgreSQL did not become ready within ${startPatienceMs / 1000} s; see ${cluster.log}`,
      )
    }
    const { bytesRead, buffer } = await log.read(Buffer.alloc(65_536), 0, 65_536, logStart)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await log.close()
  }
}

async function becomesReady(
  child: ChildProcess,
  folder: string,
  givesUpAt: number,
): Promise<'ready' | 'late' | 'ended'> {
  while (performance.now() < givesUpAt) {
    if (child.exitCode !== null || child.signalCode !== null) return 'ended'
    const { pid, isReady } = (await readPostmaster(folder)) ?? {}
    // The number tells it from a server that held the place before.
    if (isReady === true && pid === child.pid) return 'ready'
    await wait(lookEveryMs)
  }
  return 'late'
}

async function rotateLog(log: string): Promise<void> {
  const size = await stat(log).then(
    (found) => found.size,
    () => 0,
  )
  if (size > maxLogBytes) await rename(log, `${log}.1`)
}

/** Sized for a small machine that it shares with us. */
const settings = (port: number): string[] =>
  Object.entries({
    listen_addresses: '127.0.0.1',
    port: String(port),
    // No socket in /tmp: the loopback port and the password are the only way in.
    unix_socket_directories: '',
    max_connections: '100',
    shared_buffers: '128MB',
    huge_pages: 'off',
    jit: 'off',
    // What lies between two checkpoints, on disk: the default of 1 GB is more than most of these databases hold.
    max_wal_size: '256MB',
    // Nothing reads the log but recovery.
    wal_level: 'minimal',
    max_wal_senders: '0',
    // A statement whose client has gone is not finished.
    client_connection_check_interval: '2s',
    // Messages of statements quote their values, which are personal data and may be secrets: the log tells of the
    // server, not of its sessions.
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    log_parameter_max_length_on_error: '0',
    log_statement: 'none',
    log_checkpoints: 'off',
    log_timezone: 'UTC',
    timezone: 'UTC',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`])
