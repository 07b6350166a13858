/** The operator's own app registrations and service accounts: sealed, and bound to the organisations and domains they serve. */
import type { Kysely, Transaction } from 'kysely'
import pg from 'pg'
import type { AnySource } from '../sources/registry.ts'
import type { Vault } from '../vault/vault.ts'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import { placeOfRegistration, sealSecrets, shred } from './envelopes.ts'
import { findOrganization, type Organization } from './organizations.ts'
import type { Schema } from './schema.ts'

export interface Registration {
  readonly id: string
  /** Source name. */
  readonly source: string
  /** For people; unique for its source. */
  readonly name: string
  /** Without secrets: tenant and client ID. */
  readonly attributes: Readonly<Record<string, string>>
  readonly createdAt: Date
  readonly bindings: readonly { readonly organization: Organization; readonly domain: string }[]
}

/** What was asked cannot be. Names what is wrong, never a secret. */
export class RegistrationError extends Error {
  override readonly name = 'RegistrationError'
}

/** In characters. */
const maxNameLength = 200

/**
 * Keeps an entry, in the form that the source's `operator.schema` describes. It is sealed whole: what is shown beside it
 * decides nothing.
 *
 * @throws RegistrationError
 */
export async function createRegistration(
  database: Pick<Database, 'query'>,
  vault: Vault,
  actor: Actor,
  wanted: { readonly source: AnySource; readonly name: string; readonly entry: unknown },
): Promise<{ readonly id: string; readonly attributes: Readonly<Record<string, string>> }> {
  const { source } = wanted
  const name = readName(wanted.name)
  const { entry, attributes } = readEntry(source, wanted.entry)
  return inTransaction(database, async (transaction) => {
    const row = await transaction
      .insertInto('registrations')
      .values({ source: source.name, name, attributes: JSON.stringify(attributes) })
      .onConflict((conflict) => conflict.columns(['source', 'name']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (row === undefined)
      throw new RegistrationError(`there is a registration of this name for ${source.title}`)
    await sealSecrets(transaction, vault, placeOfRegistration({ id: row.id, source: source.name }), {
      entry: JSON.stringify(entry),
    })
    await recordAudit(transaction, actor, {
      action: 'registration.create',
      target: row.id,
      outcome: 'succeeded',
      details: { source: source.name, name, ...attributes },
    })
    return { id: row.id, attributes }
  })
}

function readName(given: string): string {
  const name = given.trim()
  if (name === '' || name.length > maxNameLength || /\p{Cc}/u.test(name) || !name.isWellFormed())
    throw new RegistrationError(
      `the name of a registration has 1 to ${maxNameLength} characters, and no control characters`,
    )
  return name
}

function readEntry(source: AnySource, given: unknown) {
  if (source.operator === undefined)
    throw new RegistrationError(`${source.title} takes no credentials of the operator`)
  const read = source.operator.schema.safeParse(given)
  if (!read.success) {
    const [issue] = read.error.issues
    throw new RegistrationError(`${issue?.path.join('.') || 'the credentials'}: ${issue?.message}`)
  }
  const attributes = source.operator.describe(read.data)
  if (attributes === undefined)
    throw new RegistrationError(
      `these are no complete credentials of ${source.title}: expected ${source.operator.fields
        .filter(({ required }) => required)
        .map(({ title }) => title)
        .join(', ')}`,
    )
  return { entry: read.data, attributes }
}

/** All registrations, oldest first, with what they serve. */
export async function listRegistrations(query: Kysely<Schema>): Promise<Registration[]> {
  const registrations = await query
    .selectFrom('registrations')
    .selectAll()
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  const bindings = await query
    .selectFrom('registration_bindings')
    .innerJoin('organizations', 'organizations.id', 'organization_id')
    .select(['registration_id', 'organizations.id', 'organizations.name', 'domain'])
    .orderBy('organizations.name')
    .orderBy('domain')
    .execute()
  const byRegistration = Map.groupBy(bindings, ({ registration_id }) => registration_id)
  return registrations.map(({ id, source, name, attributes, created_at }) => ({
    id,
    source,
    name,
    attributes: attributes as Record<string, string>,
    createdAt: created_at,
    bindings: (byRegistration.get(id) ?? []).map((row) => ({
      organization: { id: row.id, name: row.name },
      domain: row.domain,
    })),
  }))
}

export interface BindingRequest {
  /** Name or id of the registration. */
  readonly registration: string
  /** Name or id. */
  readonly organization: string
  /** As given. */
  readonly domain: string
}

export interface Bound {
  readonly registrationId: string
  readonly organization: Organization
  /** In canonical form. */
  readonly domain: string
}

/**
 * Lets a registration serve a domain for an organisation, and for no other.
 *
 * @param replace takes the domain over from another registration, without a moment in which none serves it
 * @throws RegistrationError
 */
export async function bindRegistration(
  database: Pick<Database, 'query'>,
  actor: Actor,
  sources: readonly AnySource[],
  request: BindingRequest,
  { replace = false }: { readonly replace?: boolean } = {},
): Promise<Bound> {
  return inTransaction(database, async (transaction) => {
    const { registration, organization, domain } = await readBinding(transaction, sources, request)
    const row = {
      registration_id: registration.id,
      organization_id: organization.id,
      source: registration.source,
      domain,
    }
    const insertion = transaction.insertInto('registration_bindings').values(row)
    const made = await insertion
      .onConflict((conflict) =>
        conflict
          .columns(['organization_id', 'source', 'domain'])
          .doUpdateSet({ registration_id: registration.id })
          // Bound to it already, or to be taken over: there is a row to tell of. Otherwise there is none.
          .where((binding) =>
            replace
              ? binding.val(true)
              : binding('registration_bindings.registration_id', '=', registration.id),
          ),
      )
      .returning('domain')
      .executeTakeFirst()
      .catch((error: unknown) => {
        throw isForeignKeyFault(error) ? new RegistrationError('the registration was just removed') : error
      })
    if (made === undefined)
      throw new RegistrationError(
        `another registration serves ${domain} for this organisation: unbind it first, or replace it`,
      )
    await recordAudit(
      transaction,
      { ...actor, organizationId: organization.id },
      {
        action: 'registration.bind',
        target: registration.id,
        outcome: 'succeeded',
        details: { source: registration.source, name: registration.name, domain },
      },
    )
    return { registrationId: registration.id, organization, domain }
  })
}

/** @throws RegistrationError when it did not serve the domain */
export async function unbindRegistration(
  database: Pick<Database, 'query'>,
  actor: Actor,
  sources: readonly AnySource[],
  request: BindingRequest,
): Promise<Bound> {
  return inTransaction(database, async (transaction) => {
    const { registration, organization, domain } = await readBinding(transaction, sources, request)
    const { numDeletedRows } = await transaction
      .deleteFrom('registration_bindings')
      .where('registration_id', '=', registration.id)
      .where('organization_id', '=', organization.id)
      .where('source', '=', registration.source)
      .where('domain', '=', domain)
      .executeTakeFirstOrThrow()
    if (numDeletedRows === 0n)
      throw new RegistrationError(`it does not serve ${domain} for this organisation`)
    await recordAudit(
      transaction,
      { ...actor, organizationId: organization.id },
      {
        action: 'registration.unbind',
        target: registration.id,
        outcome: 'succeeded',
        details: { source: registration.source, name: registration.name, domain },
      },
    )
    return { registrationId: registration.id, organization, domain }
  })
}

/**
 * Removes a registration and destroys its secrets.
 *
 * @throws RegistrationError while it serves anything
 */
export async function removeRegistration(
  database: Pick<Database, 'query'>,
  actor: Actor,
  nameOrId: string,
): Promise<{ readonly id: string }> {
  return inTransaction(database, async (transaction) => {
    const { id, source, name } = await find(transaction, nameOrId)
    // Waits for whoever binds it at the moment.
    await transaction.selectFrom('registrations').select('id').where('id', '=', id).forUpdate().execute()
    const bindings = await transaction
      .selectFrom('registration_bindings')
      .select('domain')
      .where('registration_id', '=', id)
      .execute()
    if (bindings.length > 0)
      throw new RegistrationError(
        `it still serves ${bindings.length} ${bindings.length === 1 ? 'domain' : 'domains'}: unbind ${bindings.length === 1 ? 'it' : 'them'} first`,
      )
    await shred(transaction, id)
    await transaction.deleteFrom('registrations').where('id', '=', id).execute()
    await recordAudit(transaction, actor, {
      action: 'registration.remove',
      target: id,
      outcome: 'succeeded',
      details: { source, name },
    })
    return { id }
  })
}

interface Found {
  readonly id: string
  readonly source: string
  readonly name: string
}

/** @throws RegistrationError unless exactly one has that name or id */
async function find(query: Transaction<Schema>, nameOrId: string): Promise<Found> {
  const rows = await query
    .selectFrom('registrations')
    .select(['id', 'source', 'name'])
    .where((row) => (isUuid(nameOrId) ? row('id', '=', nameOrId) : row('name', '=', nameOrId)))
    .execute()
  const [row, ...others] = rows
  if (row === undefined) throw new RegistrationError('there is no registration of this name or id')
  if (others.length > 0)
    throw new RegistrationError('several registrations have this name: give the id of the one you mean')
  return row
}

async function readBinding(
  transaction: Transaction<Schema>,
  sources: readonly AnySource[],
  request: BindingRequest,
): Promise<{ readonly registration: Found; readonly organization: Organization; readonly domain: string }> {
  const registration = await find(transaction, request.registration)
  const source = sources.find(({ name }) => name === registration.source)
  if (source === undefined) throw new RegistrationError(`there is no source ${registration.source}`)
  const reading = source.readDomain(request.domain)
  if (!reading.ok) throw new RegistrationError(`the domain: ${reading.diagnosis.cause.title}`)
  const organization = await findOrganization(transaction, request.organization)
  if (organization === undefined) throw new RegistrationError('there is no organisation of this name or id')
  return { registration, organization, domain: reading.domain }
}

const isUuid = (text: string) => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const isForeignKeyFault = (error: unknown) => error instanceof pg.DatabaseError && error.code === '23503'
