/** The server process of a cluster, as the cluster's own lock file and the system tell of it. */
import { execFile } from 'node:child_process'
import { readdir, readFile, readlink, rm } from 'node:fs/promises'
import { platform } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf, EmbeddedPostgresError } from './embedded-programs.ts'

export interface Postmaster {
  readonly pid: number
  readonly port: number
  /** Past recovery, and taking connections. */
  readonly isReady: boolean
}

const stopPatienceMs = 20_000
/** How often a process is looked at that is about to start or end. */
export const lookEveryMs = 10

/**
 * What postmaster.pid says: process, folder, start time, port, socket folder, address, shared memory, state.
 *
 * @see https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h
 */
export async function readPostmaster(folder: string): Promise<Postmaster | undefined> {
  const lines = (await readFile(pidFile(folder), 'utf8').catch(() => '')).split('\n')
  const [pid, port] = [Number(lines[0]), Number(lines[3])]
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  return { pid, port, isReady: lines[7]?.trim() === 'ready' }
}

const pidFile = (folder: string) => join(folder, 'postmaster.pid')

/** The server that is there, if one is. What a dead one left under a number that another process has now is removed. */
export async function findServer(folder: string): Promise<Postmaster | undefined> {
  const left = await readPostmaster(folder)
  if (left === undefined) return undefined
  if (await serves(left.pid, folder)) return left
  // PostgreSQL itself overwrites the file of a process that is gone, after it has looked for children left behind;
  // it refuses one whose number is taken.
  if (isAlive(left.pid)) await rm(pidFile(folder), { force: true })
  return undefined
}

/** Whether process `pid` is a PostgreSQL that serves `folder`; a number may have been given to another since. */
export async function serves(pid: number, folder: string): Promise<boolean> {
  if (!isAlive(pid)) return false
  if (platform() === 'linux') {
    // It works in the cluster's folder, and so do its children alone. One that ended and was not collected has none.
    return (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === folder
  }
  const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  return stdout.includes(`-D ${folder} `)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** Ends the server that is there, if one is, with all its sessions. */
export async function endServer(folder: string): Promise<void> {
  const server = await findServer(folder)
  if (server !== undefined) await end(server.pid, folder, 'SIGINT')
}

/** SIGINT ends all sessions and writes a checkpoint; SIGQUIT ends at once, and the next start recovers. */
export async function end(pid: number, folder: string, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  const deadline = performance.now() + stopPatienceMs
  send(pid, signal)
  while (await serves(pid, folder)) {
    if (performance.now() > deadline) {
      if (signal === 'SIGINT') return end(pid, folder, 'SIGQUIT')
      throw new EmbeddedPostgresError(`PostgreSQL (process ${pid}) does not end; end it, then start again`)
    }
    await wait(lookEveryMs)
  }
}

/**
 * Ends children whose server is dead. They end by themselves as soon as they wait for something, but one that computes
 * keeps the shared memory, and with it the cluster, for as long as that takes.
 */
export async function endOrphans(folder: string): Promise<void> {
  if (platform() !== 'linux') return
  for (const name of await readdir('/proc')) {
    const pid = Number(name)
    if (Number.isInteger(pid) && (await serves(pid, folder))) send(pid, 'SIGKILL')
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') {
      throw new EmbeddedPostgresError(
        `PostgreSQL (process ${pid}) cannot be ended (${codeOf(error)}); start as the user that started it`,
      )
    }
  }
}
