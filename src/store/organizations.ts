/** Organisations: whose keys, limits and data are whose. */
import { hash } from 'node:crypto'
import type { Kysely, Transaction } from 'kysely'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import type { Schema } from './schema.ts'

/** Whose keys, limits and data they are. */
export interface Organization {
  readonly id: string
  readonly name: string
}

export interface OrganizationListing extends Organization {
  /** RFC 3339. */
  readonly createdAt: string
}

/** The name of an organisation cannot be what was asked for. */
export class OrganizationError extends Error {
  override readonly name = 'OrganizationError'
}

/** In characters. */
const maxNameLength = 200

/**
 * The id of the organisation `name`: a function of the name, so that an organisation first seen in a token and
 * one made with a key are the same. A UUID of version 8.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-5.8
 */
export function organizationId(name: string): string {
  const bytes = Buffer.from(hash('sha256', `credence organization\0${name}`, 'hex'), 'hex').subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** @throws OrganizationError when there is one of this name, or the name cannot be one */
export async function createOrganization(
  database: Database,
  { name: given, actor }: { readonly name: string; readonly actor: Actor },
): Promise<Organization> {
  const name = readName(given)
  return inTransaction(database, async (transaction) => {
    if (await findOrganization(transaction, name))
      throw new OrganizationError('there is an organisation of this name')
    return ensureOrganization(transaction, name, actor)
  })
}

/** All organisations, oldest first. */
export async function listOrganizations({ query }: Database): Promise<OrganizationListing[]> {
  const rows = await query
    .selectFrom('organizations')
    .selectAll()
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  return rows.map(({ id, name, created_at }) => ({ id, name, createdAt: created_at.toISOString() }))
}

/** The organisation of that name or id. */
export async function findOrganization(
  query: Kysely<Schema> | Transaction<Schema>,
  nameOrId: string,
): Promise<Organization | undefined> {
  const rows = await query
    .selectFrom('organizations')
    .select(['id', 'name'])
    .where((row) =>
      row.or([
        row('name', '=', nameOrId),
        ...(isUuid(nameOrId) ? [row('id', '=', nameOrId.toLowerCase())] : []),
      ]),
    )
    .execute()
  // A name in the form of an id never stands for another organisation than the one that has the id.
  return rows.find(({ id }) => id === nameOrId.toLowerCase()) ?? rows[0]
}

/** The organisation of that name or id; made, with that name, when there is none. @throws OrganizationError */
export async function ensureOrganization(
  transaction: Transaction<Schema>,
  nameOrId: string,
  actor: Actor,
): Promise<Organization> {
  const name = readName(nameOrId)
  const known = await findOrganization(transaction, name)
  if (known !== undefined) return known
  const made = { id: organizationId(name), name }
  const [row] = await transaction
    .insertInto('organizations')
    .values(made)
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .execute()
  // Another made it meanwhile.
  if (row === undefined) return (await findOrganization(transaction, name)) ?? made
  await recordAudit(
    transaction,
    { ...actor, organizationId: made.id },
    { action: 'organization.create', target: made.id, outcome: 'succeeded', details: { name } },
  )
  return made
}

function readName(given: string): string {
  const name = given.trim()
  if (name === '') throw new OrganizationError('the name of an organisation cannot be empty')
  // PostgreSQL takes no NUL in a text, and lone surrogates are no text.
  if (name.length > maxNameLength || /\p{Cc}/u.test(name) || !name.isWellFormed())
    throw new OrganizationError(
      `the name of an organisation has at most ${maxNameLength} characters, and no control characters`,
    )
  return name
}

export const isUuid = (text: string) => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
