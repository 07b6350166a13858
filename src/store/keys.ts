/** API keys, application keys and access tokens: made, listed, revoked. Only their hashes are stored. */
import { hash, randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type pg from 'pg'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import { ensureOrganization, isUuid, type Organization, OrganizationError } from './organizations.ts'
import { isPermission, type Permission, permissionNames, resolvePermissions } from './permissions.ts'

export { type Organization, organizationId } from './organizations.ts'

/** A key pair, or an access token that stands for both keys. */
export interface Key {
  readonly id: string
  readonly kind: KeyKind
  readonly organization: Organization
  readonly permissions: readonly Permission[]
  /** RFC 3339. */
  readonly createdAt: string
}

/** `pair`: API key and application key. The others are one text, `ddpat_…` of a person or `ddsat_…` of a service. */
export type KeyKind = 'pair' | 'personal_access_token' | 'service_access_token'

/** What `listKeys` tells: enough to recognise a key, nothing to use it with. */
export interface KeyListing extends Key {
  readonly name: string | undefined
  /** The first characters of the API key or access token. */
  readonly prefix: string
  readonly revokedAt: string | undefined
}

export interface NewKey {
  readonly database: Database
  /** Permissions and roles. */
  readonly permissions: readonly string[]
  /** Name or id of the organisation; made when there is none of that name. `default` unless given. */
  readonly organization?: string
  /** For people, to tell keys apart. */
  readonly name?: string
  /** Who makes it; whoever has the command line unless given. */
  readonly actor?: Actor
}

/** The caller asked for something that cannot be: an unknown permission, a name without text, a key that does not exist. */
export class KeysError extends Error {
  override readonly name = 'KeysError'
}

const commandLine: Actor = { id: 'cli' }
/** In characters. */
const maxNameLength = 200

/** SHA-256 is enough for texts of 128 random bits and more: there is no dictionary to try. */
export const digestOf = (text: string): string => hash('sha256', text, 'hex')

const stored = (text: string) => Buffer.from(digestOf(text), 'hex')

/** Makes a key pair; the only time its keys are seen. */
export async function createKey(
  wanted: NewKey,
): Promise<{ id: string; api_key: string; application_key: string }> {
  const api_key = randomBytes(16).toString('hex')
  const application_key = randomBytes(20).toString('hex')
  const id = await insertKey(wanted, 'pair', {
    prefix: api_key.slice(0, 6),
    api_key_hash: stored(api_key),
    application_key_hash: stored(application_key),
  })
  return { id, api_key, application_key }
}

/** Makes an access token, which works as `Authorization: Bearer` or in `DD-APPLICATION-KEY` alone. */
export async function createAccessToken(
  wanted: NewKey & { readonly kind: Exclude<KeyKind, 'pair'> },
): Promise<{ id: string; access_token: string }> {
  const start = wanted.kind === 'personal_access_token' ? 'ddpat_' : 'ddsat_'
  const access_token = start + randomBytes(30).toString('base64url')
  const id = await insertKey(wanted, wanted.kind, {
    prefix: access_token.slice(0, 10),
    api_key_hash: null,
    application_key_hash: stored(access_token),
  })
  return { id, access_token }
}

async function insertKey(
  { database, permissions: names, organization: nameOrId = 'default', name, actor = commandLine }: NewKey,
  kind: KeyKind,
  row: {
    readonly prefix: string
    readonly api_key_hash: Buffer | null
    readonly application_key_hash: Buffer
  },
): Promise<string> {
  const { permissions, unknown } = resolvePermissions(names)
  if (unknown.length > 0 || permissions.length === 0)
    throw new KeysError(
      `${unknown.length === 0 ? 'no permission given' : `no such permission: ${unknown.join(', ')}`}; there are ${permissionNames}`,
    )
  if (name !== undefined && (name.length > maxNameLength || /\p{Cc}/u.test(name) || !name.isWellFormed()))
    throw new KeysError(
      `the name of a key has at most ${maxNameLength} characters, and no control characters`,
    )
  const id = randomUUID()
  await inTransaction(database, async (transaction) => {
    const organization = await ensureOrganization(transaction, nameOrId, actor)
    await transaction
      .insertInto('keys')
      .values({
        ...row,
        id,
        organization_id: organization.id,
        name: name ?? null,
        permissions: [...permissions],
      })
      .execute()
    await recordAudit(
      transaction,
      { ...actor, organizationId: organization.id },
      {
        action: 'key.create',
        target: id,
        outcome: 'succeeded',
        details: { kind, prefix: row.prefix, permissions },
      },
    )
  }).catch((error: unknown) => {
    throw error instanceof OrganizationError ? new KeysError(error.message) : error
  })
  return id
}

/** All keys, oldest first, revoked ones included. */
export async function listKeys({ database }: { readonly database: Database }): Promise<KeyListing[]> {
  const rows = await database.query
    .selectFrom('keys')
    .innerJoin('organizations', 'organizations.id', 'keys.organization_id')
    .select([
      'keys.id',
      'keys.name',
      'keys.prefix',
      'keys.permissions',
      'keys.created_at',
      'keys.revoked_at',
      'organizations.id as organization_id',
      'organizations.name as organization_name',
      sql<boolean>`keys.api_key_hash is not null`.as('is_pair'),
    ])
    .orderBy('keys.created_at')
    .orderBy('keys.id')
    .execute()
  return rows.map((row) => ({
    ...keyOf(row),
    name: row.name ?? undefined,
    prefix: row.prefix,
    revokedAt: row.revoked_at?.toISOString(),
  }))
}

/**
 * Revokes a key for good; a key that is revoked already stays as it is. Every server refuses it within two seconds.
 *
 * @throws KeysError when no key has that id
 */
export async function revokeKey({
  database,
  id,
  actor = commandLine,
}: {
  readonly database: Database
  readonly id: string
  readonly actor?: Actor
}): Promise<void> {
  if (!isUuid(id)) throw new KeysError('no key has this id')
  await inTransaction(database, async (transaction) => {
    const key = await transaction
      .selectFrom('keys')
      .select(['id', 'organization_id', 'prefix', 'revoked_at'])
      .where('id', '=', id)
      .forUpdate()
      .executeTakeFirst()
    if (key === undefined) throw new KeysError('no key has this id')
    if (key.revoked_at !== null) return
    await transaction
      .updateTable('keys')
      .set({ revoked_at: sql<Date>`now()` })
      .where('id', '=', key.id)
      .execute()
    await recordAudit(
      transaction,
      { ...actor, organizationId: key.organization_id },
      {
        action: 'key.revoke',
        target: key.id,
        outcome: 'succeeded',
        details: { prefix: key.prefix },
      },
    )
  })
}

interface KeyRow {
  readonly id: string
  readonly prefix: string
  readonly permissions: readonly string[]
  readonly created_at: Date
  readonly organization_id: string
  readonly organization_name: string
  readonly is_pair: boolean
}

const keyOf = (row: KeyRow): Key => ({
  id: row.id,
  kind: row.is_pair ? 'pair' : accessTokenKind(row.prefix),
  organization: { id: row.organization_id, name: row.organization_name },
  // A permission of a later release is kept and opens nothing here.
  permissions: row.permissions.filter(isPermission),
  createdAt: row.created_at.toISOString(),
})

const accessTokenKind = (prefix: string) =>
  prefix.startsWith('ddpat_') ? 'personal_access_token' : 'service_access_token'

/** A key in force with its hashes, in hexadecimal. */
export interface HeldKey {
  readonly key: Key
  /** Of the API key or access token. */
  readonly first: string
  /** Of the application key. */
  readonly second: string | undefined
}

/** Longest wait for the database when a request waits for it, in milliseconds. */
const lookUpTimeoutMs = 2_000

/**
 * Those keys in force whose API key or access token has one of these hashes, by hash.
 *
 * @param digests in hexadecimal
 */
export async function findHeldKeys(
  { pool }: Pick<Database, 'pool'>,
  digests: readonly string[],
): Promise<Map<string, HeldKey>> {
  const statement: pg.QueryConfig & { readonly query_timeout: number } = {
    text: `select keys.id, keys.prefix, keys.permissions, keys.created_at, keys.organization_id,
        organizations.name as organization_name, keys.api_key_hash is not null as is_pair,
        encode(coalesce(keys.api_key_hash, keys.application_key_hash), 'hex') as first,
        encode(keys.application_key_hash, 'hex') as second
      from (
        select * from keys where api_key_hash = any($1::bytea[])
        union all
        select * from keys where api_key_hash is null and application_key_hash = any($1::bytea[])
      ) keys
      join organizations on organizations.id = keys.organization_id
      where keys.revoked_at is null`,
    values: [digests.map((digest) => Buffer.from(digest, 'hex'))],
    query_timeout: lookUpTimeoutMs,
  }
  const { rows } = await pool.query<KeyRow & { first: string; second: string }>(statement)
  return new Map(
    rows.map(({ first, second, ...row }) => [
      first,
      { key: keyOf(row), first, second: row.is_pair ? second : undefined },
    ]),
  )
}
