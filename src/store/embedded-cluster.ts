/** The embedded database on disk: where it lies, the notes beside it, how it is made and mended. */
import { randomBytes, randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import {
  chmod,
  chown,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { endServer } from './embedded-postmaster.ts'
import {
  canReach,
  codeOf,
  EmbeddedPostgresError,
  giveTo,
  programsFor,
  type RunAs,
  run,
  sharedHome,
  userToRunAs,
} from './embedded-programs.ts'

/** The major version whose data directories this release reads. */
export const embeddedMajor = 18

export const superuser = 'postgres'

/** What is kept beside the cluster, readable by its owner alone. */
export interface Notes {
  readonly superuserPassword: string
  readonly servicePassword: string
  /** The loopback port it listened on last: kept, so that processes that lost it find it again. */
  readonly port: number
}

export interface Cluster {
  /** The folder that holds all of it: cluster, notes, lock, log. */
  readonly home: string
  /** PostgreSQL's own data directory, without links in its path. */
  readonly folder: string
  readonly log: string
  readonly programs: string
  readonly runAs: RunAs | undefined
  readonly notes: Notes
}

const notesSchema = z.object({
  superuserPassword: z.string().min(1),
  servicePassword: z.string().min(1),
  port: z.int().min(1).max(65_535),
})

/**
 * The cluster in `home`, made when there is none. The caller holds the lock.
 *
 * @throws EmbeddedPostgresError
 */
export async function openCluster(home: string): Promise<Cluster> {
  const written = await readNotes(home)
  const place = await findPlace(home)
  const isThere = existsSync(join(place, 'PG_VERSION'))
  if (!isThere && (await wasMade(home))) {
    throw new EmbeddedPostgresError(
      `the database of ${home} is not in ${place}: move it back there, or restore a backup into another data directory`,
    )
  }
  await refuseOtherMajor(place)
  const runAs = await userToRunAs(place)
  const programs = await programsFor(runAs)
  const notes = written ?? {
    superuserPassword: newPassword(),
    servicePassword: newPassword(),
    port: anyPort(),
  }
  if (isThere) await makeUsable(place, runAs)
  else {
    await initialise(place, notes.superuserPassword, programs, runAs)
    if (place !== inside(home)) await symlink(place, inside(home))
  }
  const folder = await realpath(place)
  const cluster = { home, folder, log: join(home, 'postgres.log'), programs, runAs, notes }
  if (written === undefined) {
    // A cluster without its notes, by a crash between the two or by loss: who holds the files may set passwords anew.
    if (isThere) await resetPassword(cluster)
    await writeNotes(cluster)
  }
  return cluster
}

const newPassword = () => randomBytes(24).toString('base64url')

/** Below the ports that systems hand out to outgoing connections, so that none of those takes it while we are away. */
export const anyPort = () => randomInt(15_000, 32_000)

/** `undefined` when they are missing or damaged, which is as good. */
async function readNotes(home: string): Promise<Notes | undefined> {
  const path = join(home, 'notes.json')
  const text = await readFile(path, 'utf8').catch((error) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw new EmbeddedPostgresError(
      `${path} cannot be read (${codeOf(error)}); start as the user that made the data directory`,
    )
  })
  try {
    return notesSchema.parse(JSON.parse(text ?? ''))
  } catch {
    return undefined
  }
}

/** Whether there has been a database: its notes or the way to it are left. */
async function wasMade(home: string): Promise<boolean> {
  const left = await Promise.allSettled([lstat(join(home, 'notes.json')), lstat(inside(home))])
  return left.some(({ status }) => status === 'fulfilled')
}

export async function writeNotes({ home, notes }: Cluster): Promise<void> {
  const path = join(home, 'notes.json')
  const half = `${path}.new`
  await rm(half, { force: true })
  const file = await open(half, 'wx', 0o600)
  try {
    await file.writeFile(JSON.stringify(notes))
    await leaveToOwner(file, home)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(half, path)
}

/** What root makes in a data directory of another user stays readable to that user. */
export async function leaveToOwner(file: FileHandle, home: string): Promise<void> {
  const { uid, gid } = await stat(home)
  if (process.getuid?.() === 0 && uid !== 0) await file.chown(uid, gid)
}

/** Where PostgreSQL's data are, or a link to where they are, so that all of it can be moved. */
const inside = (home: string) => join(home, 'cluster')

/** In the data directory, or under /var/lib/credence when we are root and the way there is closed to others. */
async function findPlace(home: string): Promise<string> {
  const place = inside(home)
  const linked = await readlink(place).catch(() => undefined)
  if (linked !== undefined) return resolve(home, linked)
  if (existsSync(place)) return place
  const runAs = await userToRunAs(place)
  if (runAs === undefined) return place
  await openWay(home)
  if (await canReach(home, runAs)) return place
  await mkdir(sharedHome, { recursive: true, mode: 0o755 })
  // Not named for the data directory: one that is deleted and made again is a new one.
  return join(sharedHome, randomBytes(8).toString('hex'))
}

/** Our own two folders are ours to open for passing through; what is in them stays closed. */
async function openWay(home: string): Promise<void> {
  for (const folder of [home, dirname(home)]) {
    const { mode } = await stat(folder)
    if ((mode & 0o011) !== 0o011) await chmod(folder, (mode & 0o777) | 0o011)
  }
}

async function refuseOtherMajor(place: string): Promise<void> {
  const version = await readFile(join(place, 'PG_VERSION'), 'utf8').catch(() => undefined)
  const major = version?.trim()
  if (major === undefined || major === String(embeddedMajor)) return
  throw new EmbeddedPostgresError(
    `${place} was written by PostgreSQL ${major.slice(0, 10)}, and this release has PostgreSQL ${embeddedMajor}; back up with the release that wrote it (credence backup) and restore with this one (credence restore)`,
  )
}

/** A copy has other rights and, made by root, another owner; PostgreSQL accepts neither. */
async function makeUsable(place: string, runAs: RunAs | undefined): Promise<void> {
  const { uid, mode } = await stat(place)
  if (runAs !== undefined) {
    if (uid === 0) await giveTo(runAs, place)
    if (dirname(place) !== sharedHome) await openWay(dirname(place))
    if (!(await canReach(dirname(place), runAs))) {
      throw new EmbeddedPostgresError(
        `PostgreSQL does not run as root, and the user it runs as (number ${runAs.uid}) cannot reach ${place}; move the data directory to where every user may pass through`,
      )
    }
  } else if (process.getuid !== undefined && uid !== process.getuid()) {
    throw new EmbeddedPostgresError(`${place} belongs to another user (number ${uid}); start as that user`)
  }
  if ((mode & 0o777) !== 0o700) await chmod(place, 0o700)
}

/** Makes the cluster under another name and renames it when it is whole, so that a crash leaves nothing half-made. */
async function initialise(
  place: string,
  password: string,
  programs: string,
  runAs: RunAs | undefined,
): Promise<void> {
  await removeHalfMade(place)
  // A name of its own each time: an initdb whose parent was killed may still be writing to the last one.
  const half = `${place}.half-${randomBytes(4).toString('hex')}`
  const passwordFile = `${half}.password`
  await mkdir(half, { mode: 0o700 })
  await writeFile(passwordFile, password, { mode: 0o600, flag: 'wx' })
  if (runAs !== undefined) for (const path of [half, passwordFile]) await chown(path, runAs.uid, runAs.gid)
  try {
    await run(join(programs, 'bin', 'initdb'), runAs, [
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
    await rename(half, place)
  } catch (error) {
    await removeHalfMade(place)
    throw error
  } finally {
    await rm(passwordFile, { force: true })
  }
}

async function removeHalfMade(place: string): Promise<void> {
  for (const name of await readdir(dirname(place))) {
    if (!name.startsWith(`${basename(place)}.half-`)) continue
    // Something may still be writing there; the next start finds the rest.
    await rm(join(dirname(place), name), { recursive: true, force: true }).catch(() => undefined)
  }
}

/** Gives the superuser the password of the notes, in PostgreSQL's single-user mode, which asks for none. */
export async function resetPassword({ folder, programs, runAs, notes }: Cluster): Promise<void> {
  await endServer(folder)
  await run(
    join(programs, 'bin', 'postgres'),
    runAs,
    ['--single', '-D', folder, '-c', 'exit_on_error=on', 'postgres'],
    `alter role ${superuser} password '${notes.superuserPassword}'\n`,
  )
}
