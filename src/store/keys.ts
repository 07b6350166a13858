/** API and application keys, kept as hashes in one file of the data directory. */
import { hash as hashOf, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { withFileLock } from './file-lock.ts'
import { isPermission, type Permission, permissions } from './permissions.ts'

/** Whose keys, limits and data they are. */
export interface Organization {
  readonly id: string
  readonly name: string
}

/** A key pair, or an access token that stands for both keys. */
export interface Key {
  readonly id: string
  readonly kind: KeyKind
  readonly organization: Organization
  readonly permissions: readonly Permission[]
  readonly createdAt: string
}

/** `pair`: API key and application key. The others are one text, `ddpat_…` of a person or `ddsat_…` of a service. */
export type KeyKind = 'pair' | 'personal_access_token' | 'service_access_token'

/** What `listKeys` tells: enough to recognise a key, nothing to use it with. */
export interface KeyListing extends Key {
  /** The first characters of the API key or access token. */
  readonly prefix: string
  readonly revokedAt: string | undefined
}

export interface NewKey {
  readonly dataDir: string
  readonly permissions: readonly string[]
  /** Name of the organisation; made when there is none of that name. `default` unless given. */
  readonly organization?: string
}

/** The caller asked for something that cannot be: an unknown permission, a name without text, a key that does not exist. */
export class KeysError extends Error {
  override readonly name = 'KeysError'
}

const hash = z.string().regex(/^[0-9a-f]{64}$/)
const keyBase = {
  id: z.uuid(),
  organization: z.uuid(),
  prefix: z.string(),
  // A permission of a later version is kept in the file and opens nothing here.
  permissions: z.array(z.string()),
  created_at: z.iso.datetime(),
  revoked_at: z.iso.datetime().nullable(),
}
const fileSchema = z.object({
  version: z.literal(1),
  organizations: z.array(z.object({ id: z.uuid(), name: z.string() })),
  keys: z.array(
    z.union([
      z.object({ ...keyBase, api_key_hash: hash, application_key_hash: hash }),
      z.object({ ...keyBase, access_token_hash: hash }),
    ]),
  ),
})
type KeysFile = z.infer<typeof fileSchema>
type KeyRow = KeysFile['keys'][number]

const empty: KeysFile = { version: 1, organizations: [], keys: [] }

const fileOf = (dataDir: string) => join(dataDir, 'keys.json')

/** SHA-256 is enough for texts of 128 random bits and more: there is no dictionary to try. */
const digest = (text: string) => hashOf('sha256', text, 'hex')

/** Makes a key pair; the only time its keys are seen. */
export async function createKey(
  options: NewKey,
): Promise<{ id: string; api_key: string; application_key: string }> {
  const api_key = randomBytes(16).toString('hex')
  const application_key = randomBytes(20).toString('hex')
  const id = await addRow(options, api_key, {
    api_key_hash: digest(api_key),
    application_key_hash: digest(application_key),
  })
  return { id, api_key, application_key }
}

/** Makes an access token, which works as `Authorization: Bearer` or in `DD-APPLICATION-KEY` alone. */
export async function createAccessToken(
  options: NewKey & { readonly kind: Exclude<KeyKind, 'pair'> },
): Promise<{ id: string; access_token: string }> {
  const start = options.kind === 'personal_access_token' ? 'ddpat_' : 'ddsat_'
  const access_token = start + randomBytes(30).toString('base64url')
  const id = await addRow(options, access_token, { access_token_hash: digest(access_token) })
  return { id, access_token }
}

async function addRow(
  { dataDir, permissions: names, organization = 'default' }: NewKey,
  text: string,
  hashes: { api_key_hash: string; application_key_hash: string } | { access_token_hash: string },
): Promise<string> {
  const unknown = names.filter((name) => !isPermission(name))
  if (unknown.length > 0 || names.length === 0)
    throw new KeysError(
      `${names.length === 0 ? 'no permission given' : `no such permission: ${unknown.join(', ')}`}; there are ${permissions.join(', ')}`,
    )
  const name = organization.trim()
  if (name === '') throw new KeysError('the name of an organisation cannot be empty')
  const id = randomUUID()
  await change(dataDir, (file) => {
    const known = file.organizations.find((one) => one.name === name || one.id === name)
    const owner = known ?? { id: organizationId(name), name }
    return {
      ...file,
      organizations: known === undefined ? [...file.organizations, owner] : file.organizations,
      keys: [
        ...file.keys,
        {
          id,
          organization: owner.id,
          prefix: text.slice(0, text.startsWith('dd') && text.includes('_') ? 10 : 6),
          ...hashes,
          permissions: [...new Set(names)],
          created_at: new Date().toISOString(),
          revoked_at: null,
        },
      ],
    }
  })
  return id
}

/** All keys of the data directory, oldest first, revoked ones included. */
export async function listKeys({ dataDir }: { readonly dataDir: string }): Promise<KeyListing[]> {
  const file = await read(dataDir)
  return file.keys.map((row) => ({
    ...keyOf(file, row),
    prefix: row.prefix,
    revokedAt: row.revoked_at ?? undefined,
  }))
}

/**
 * Revokes a key for good; a key that is revoked already stays as it is.
 *
 * @throws KeysError when no key has that id
 */
export async function revokeKey({
  dataDir,
  id,
}: {
  readonly dataDir: string
  readonly id: string
}): Promise<void> {
  await change(dataDir, (file) => {
    if (!file.keys.some((row) => row.id === id)) throw new KeysError('no key has this id')
    const revoked_at = new Date().toISOString()
    return {
      ...file,
      keys: file.keys.map((row) =>
        row.id === id ? { ...row, revoked_at: row.revoked_at ?? revoked_at } : row,
      ),
    }
  })
}

/**
 * The id of the organisation `name`: a function of the name, so that an organisation first seen in a token and
 * one made with a key are the same. A UUID of version 8.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-5.8
 */
export function organizationId(name: string): string {
  const bytes = Buffer.from(digest(`credence organization\0${name}`), 'hex').subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function keyOf(file: KeysFile, row: KeyRow): Key {
  const organization = file.organizations.find(({ id }) => id === row.organization)
  return {
    id: row.id,
    kind: 'api_key_hash' in row ? 'pair' : accessTokenKind(row.prefix),
    organization: organization ?? { id: row.organization, name: row.organization },
    permissions: row.permissions.filter(isPermission),
    createdAt: row.created_at,
  }
}

const accessTokenKind = (prefix: string) =>
  prefix.startsWith('ddpat_') ? 'personal_access_token' : 'service_access_token'

async function read(dataDir: string): Promise<KeysFile> {
  let text: string
  try {
    text = await readFile(fileOf(dataDir), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return empty
    throw error
  }
  return parse(text)
}

function parse(text: string): KeysFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new KeysError(
      'keys.json is not JSON; restore it from a copy, or move it away to start without keys',
    )
  }
  const file = fileSchema.safeParse(value)
  if (file.success) return file.data
  const [issue] = file.error.issues
  throw new KeysError(`keys.json is damaged at ${issue?.path.join('.') || 'its top'}; restore it from a copy`)
}

/** Reads, changes and replaces the file as one step, whoever else writes it. */
async function change(dataDir: string, edit: (file: KeysFile) => KeysFile): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await withFileLock(`${fileOf(dataDir)}.lock`, async () => {
    const text = `${JSON.stringify(edit(await read(dataDir)), null, 2)}\n`
    const temporary = `${fileOf(dataDir)}.${process.pid}.${randomUUID()}.tmp`
    try {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(text)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, fileOf(dataDir))
    } catch (error) {
      await unlink(temporary).catch(() => {})
      throw error
    }
    await syncDirectory(dataDir)
  })
}

/** Makes the rename itself survive a power cut, where the system can. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

/** How old the server's knowledge of the file may be, in milliseconds. */
const recheckMs = 500

/** The keys as a running server sees them. */
export interface KeyRing {
  /** Looks at the file again when that is due; otherwise undefined, and nothing has to be awaited. */
  refreshed(): Promise<void> | undefined
  /** The pair to which both keys belong. */
  findPair(apiKey: string, applicationKey: string): Key | undefined
  findApiKey(apiKey: string): Key | undefined
  findAccessToken(token: string): Key | undefined
  /** The organisation of that name or id; one that has no keys yet when none is known. */
  organization(nameOrId: string): Organization
}

interface Held {
  readonly key: Key
  /** SHA-256 of the API key or access token, in hexadecimal. */
  readonly first: string
  /** SHA-256 of the application key. */
  readonly second: string | undefined
}

/**
 * Opens the keys for a server. A change of the file counts within half a second of the next request; a file that
 * cannot be read leaves the last good keys in force and is reported, once per change. A missing file holds no keys.
 *
 * @throws KeysError when the file is damaged from the start
 */
export async function openKeyRing(
  dataDir: string,
  options: {
    readonly onTrouble: (error: Error) => void
    /** Milliseconds on a clock that never goes back. */
    readonly monotonicMs?: () => number
  },
): Promise<KeyRing> {
  const clock = options.monotonicMs ?? (() => performance.now())
  let seen = await fingerprint(dataDir)
  let checkedAt = clock()
  let file = await read(dataDir)
  let held = index(file)
  let checking: Promise<void> | undefined

  const check = async () => {
    const now = await fingerprint(dataDir)
    checkedAt = clock()
    if (now === seen) return
    seen = now
    file = await read(dataDir)
    held = index(file)
  }
  const findFirst = (text: string) => {
    const given = digest(text)
    const found = held.get(given)
    return isEqual(given, found?.first) ? found?.key : undefined
  }

  return {
    refreshed() {
      if (clock() - checkedAt < recheckMs) return undefined
      checking ??= check()
        .catch((error: unknown) =>
          options.onTrouble(error instanceof Error ? error : new Error('unreadable')),
        )
        .finally(() => {
          checkedAt = clock()
          checking = undefined
        })
      return checking
    },
    findPair(apiKey, applicationKey) {
      const given = digest(apiKey)
      const found = held.get(given)
      // Both digests are compared in any case, so that a wrong API key takes as long as a wrong application key.
      const first = isEqual(given, found?.first)
      const second = isEqual(digest(applicationKey), found?.second)
      return first && second ? found?.key : undefined
    },
    findApiKey(apiKey) {
      const found = findFirst(apiKey)
      return found?.kind === 'pair' ? found : undefined
    },
    findAccessToken(token) {
      const found = findFirst(token)
      return found?.kind === 'pair' ? undefined : found
    },
    organization: (nameOrId) =>
      file.organizations.find(({ id, name }) => id === nameOrId || name === nameOrId) ?? {
        id: organizationId(nameOrId),
        name: nameOrId,
      },
  }
}

const nothing = '0'.repeat(64)

const isEqual = (given: string, expected: string | undefined) =>
  timingSafeEqual(Buffer.from(given), Buffer.from(expected ?? nothing)) && expected !== undefined

/**
 * Keys in force by the digest of their first text. A look-up by digest tells a stranger's clock nothing: without
 * the text nobody can choose the digest.
 */
function index(file: KeysFile): Map<string, Held> {
  const held = new Map<string, Held>()
  for (const row of file.keys) {
    if (row.revoked_at !== null) continue
    const key = keyOf(file, row)
    if ('api_key_hash' in row)
      held.set(row.api_key_hash, {
        key,
        first: row.api_key_hash,
        second: row.application_key_hash,
      })
    else
      held.set(row.access_token_hash, {
        key,
        first: row.access_token_hash,
        second: undefined,
      })
  }
  return held
}

/** Changes whenever the file is replaced or written; `absent` when there is none. */
async function fingerprint(dataDir: string): Promise<string> {
  try {
    const { ino, mtimeNs, size } = await stat(fileOf(dataDir), { bigint: true })
    return `${ino} ${mtimeNs} ${size}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent'
    throw error
  }
}
