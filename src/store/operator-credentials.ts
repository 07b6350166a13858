/** The operator's credentials as a validation asks for them: those of the store first, then those of the file. */
import type { AnySource } from '../sources/registry.ts'
import type { Vault } from '../vault/vault.ts'
import type { Actor } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import { openSecrets, placeOfRegistration } from './envelopes.ts'
import type { OperatorCredentials, OperatorService } from './operator.ts'
import type { Organization } from './organizations.ts'

export interface OperatorCredentialParts {
  readonly database: Pick<Database, 'query'>
  readonly vault: Vault
  readonly sources: readonly AnySource[]
  /** Those of CREDENCE_OPERATOR_FILE. */
  readonly file: OperatorCredentials
}

export interface AllOperatorCredentials {
  /**
   * The entry that serves `domain` (in canonical form) for this organisation, and no other. That it was opened, and for
   * whom, is in the audit trail before it is handed out.
   *
   * @param actor who asks; the server itself when undefined
   * @throws VaultError, DatabaseUnavailable
   */
  entryFor(
    key: string,
    organization: Organization,
    domain: string,
    actor: Omit<Actor, 'organizationId'> | undefined,
  ): Promise<unknown>
  /** What serves this organisation; nothing is opened for it. */
  servicesFor(key: string, organization: Organization): Promise<readonly OperatorService[]>
}

export function createOperatorCredentials({
  database,
  vault,
  sources,
  file,
}: OperatorCredentialParts): AllOperatorCredentials {
  const sourceOf = (key: string) => {
    const source = sources.find(({ operator }) => operator?.key === key)
    if (source?.operator === undefined) throw new Error(`no source has the operator's key ${key}`)
    return { name: source.name, schema: source.operator.schema }
  }

  const servicesFor: AllOperatorCredentials['servicesFor'] = async (key, organization) => {
    const rows = await database.query
      .selectFrom('registration_bindings')
      .innerJoin('registrations', 'registrations.id', 'registration_id')
      .select(['registration_id', 'attributes', 'domain'])
      .where('organization_id', '=', organization.id)
      .where('registration_bindings.source', '=', sourceOf(key).name)
      .orderBy('registrations.created_at')
      .orderBy('domain')
      .execute()
    const stored = [...Map.groupBy(rows, ({ registration_id }) => registration_id).values()].map((bound) => ({
      attributes: (bound[0]?.attributes ?? {}) as Record<string, string>,
      domains: bound.map(({ domain }) => domain),
    }))
    return [...stored, ...file.servicesFor(key, organization)]
  }

  return {
    async entryFor(key, organization, domain, actor = { id: 'system' }) {
      const { name: source, schema } = sourceOf(key)
      const held = await inTransaction(database, async (transaction) => {
        const row = await transaction
          .selectFrom('registration_bindings')
          .select('registration_id')
          .where('organization_id', '=', organization.id)
          .where('source', '=', source)
          .where('domain', '=', domain)
          .executeTakeFirst()
        if (row === undefined) return undefined
        const secrets = await openSecrets(
          transaction,
          vault,
          placeOfRegistration({ id: row.registration_id, source }),
          { ...actor, organizationId: organization.id },
          'validation',
        )
        // What is bound and cannot be used is not replaced by something else.
        if (secrets?.entry === undefined)
          throw new Error(`the registration ${row.registration_id} has no secrets`)
        return { entry: secrets.entry }
      })
      return held === undefined
        ? file.entryFor(key, organization, domain)
        : schema.parse(JSON.parse(held.entry))
    },
    servicesFor,
  }
}
