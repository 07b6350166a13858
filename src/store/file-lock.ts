/** A lock file: one writer at a time, also across processes, and none that died holds it for long. */
import { randomUUID } from 'node:crypto'
import { link, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'

/** Longest wait for another writer, in milliseconds. */
const patienceMs = 10_000
/** A lock of this age is left over: a writer holds it for milliseconds. */
const staleMs = 30_000
const retryMs = 10

/**
 * Runs `work` while holding the lock at `path`.
 *
 * @throws Error naming the lock when another holds it for more than 10 s
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const token = `${process.pid} ${hostname()} ${randomUUID()}`
  const givesUpAt = performance.now() + patienceMs
  while (!(await take(path, token))) {
    if (performance.now() > givesUpAt) throw new Error(`${path} is held by another process; try again`)
    if (!(await removeLeftOver(path))) await wait(retryMs)
  }
  try {
    return await work()
  } finally {
    if ((await contentOf(path)) === token) await unlink(path)
  }
}

async function take(path: string, token: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx', 0o600)
    try {
      await handle.writeFile(token)
    } catch (error) {
      // On a full disk: an empty lock would be nobody's, and held until it counts as left over.
      await unlink(path)
      throw error
    } finally {
      await handle.close()
    }
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

const contentOf = (path: string) => readFile(path, 'utf8').catch(() => undefined)

/**
 * Removes the lock of a process that is gone. It is moved aside first, so that of several finders one succeeds; one
 * that catches a lock taken meanwhile puts it back.
 */
async function removeLeftOver(path: string): Promise<boolean> {
  const content = await contentOf(path)
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  )
  const [pid, host] = (content ?? '').split(' ')
  // A process id says something on its own machine only: a container next door numbers its processes anew.
  const isDead = host === hostname() && /^\d+$/.test(pid ?? '') && !isAlive(Number(pid))
  if (!isDead && age <= staleMs) return false
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return false
  }
  const isTheDeadOne = (await contentOf(aside)) === content
  if (!isTheDeadOne) await link(aside, path).catch(() => {})
  await unlink(aside)
  return isTheDeadOne
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there and belongs to someone else.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
