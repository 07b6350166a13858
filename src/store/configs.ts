/** Configurations: every query names the organisation whose they are. */
import { type ExpressionBuilder, type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { ConfigState, IntegrationConfigTable, Schema } from './schema.ts'

/** A configuration without its report, which is large and seldom wanted. */
export type ConfigRow = Omit<Selectable<IntegrationConfigTable>, 'report'>

export interface NewConfigRow {
  readonly id: string
  readonly integration_type: string
  readonly domain: string
  readonly instance: string
  readonly name: string
  readonly settings: Readonly<Record<string, unknown>>
}

/** What a report changes. */
export interface Proof {
  /** Absent when the report settles nothing. */
  readonly state?: ConfigState
  readonly report: object
  readonly validatedAt: Date
  readonly nextValidationAt: Date | null
  /** Absent when the report does not say, null when they do not end as far as anybody knows. */
  readonly credentialsExpireAt?: Date | null
}

export interface ConfigChange {
  readonly name?: string
  readonly enabled?: boolean
  readonly domain?: string
  readonly instance?: string
  readonly settings?: Readonly<Record<string, unknown>>
  readonly nextValidationAt?: Date | null
  /** Credentials or domain change: what was proved or read with those before counts no more. */
  readonly isRevision: boolean
}

const columns = [
  'id',
  'organization_id',
  'integration_type',
  'domain',
  'instance',
  'name',
  'enabled',
  'settings',
  'state',
  'revision',
  'created_at',
  'modified_at',
  'validated_at',
  'next_validation_at',
  'credentials_expire_at',
] as const

/** Configurations as a connection or a transaction sees them. */
export function configsIn(query: Kysely<Schema> | Transaction<Schema>) {
  const own = (organizationId: string) =>
    query.selectFrom('integration_configs').select(columns).where('organization_id', '=', organizationId)

  return {
    /** In the order in which they were made. */
    list(organizationId: string, types?: readonly [string, ...string[]]): Promise<ConfigRow[]> {
      const all = own(organizationId).orderBy('created_at').orderBy('id')
      return (types === undefined ? all : all.where('integration_type', 'in', types)).execute()
    },

    async count(organizationId: string): Promise<number> {
      const { count } = await query
        .selectFrom('integration_configs')
        .select(sql<number>`count(*)`.as('count'))
        .where('organization_id', '=', organizationId)
        .executeTakeFirstOrThrow()
      return count
    },

    find: (organizationId: string, id: string): Promise<ConfigRow | undefined> =>
      own(organizationId).where('id', '=', id).executeTakeFirst(),

    /** Holds the row until the transaction ends: who changes it meanwhile waits. */
    lock: (organizationId: string, id: string): Promise<ConfigRow | undefined> =>
      own(organizationId).where('id', '=', id).forUpdate().executeTakeFirst(),

    /** Keeps the row as it is until the transaction ends; others may read it meanwhile, and do the same. */
    hold: (organizationId: string, id: string): Promise<ConfigRow | undefined> =>
      own(organizationId).where('id', '=', id).forShare().executeTakeFirst(),

    findTwin: (
      organizationId: string,
      { integration_type, domain, instance }: Pick<NewConfigRow, 'integration_type' | 'domain' | 'instance'>,
    ): Promise<ConfigRow | undefined> =>
      own(organizationId)
        .where('integration_type', '=', integration_type)
        .where('domain', '=', domain)
        .where('instance', '=', instance)
        .executeTakeFirst(),

    async findReport(organizationId: string, id: string): Promise<Record<string, unknown> | undefined> {
      const row = await query
        .selectFrom('integration_configs')
        .select('report')
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.report ?? undefined
    },

    /** The new row, or undefined when its type, domain and instance are taken. */
    insert: (
      organizationId: string,
      { settings, ...row }: NewConfigRow,
      { state, report, validatedAt, nextValidationAt, credentialsExpireAt }: Proof,
    ): Promise<ConfigRow | undefined> =>
      query
        .insertInto('integration_configs')
        .values({
          ...row,
          organization_id: organizationId,
          settings: JSON.stringify(settings),
          report: jsonDocument(report),
          validated_at: validatedAt,
          next_validation_at: nextValidationAt,
          credentials_expire_at: credentialsExpireAt ?? null,
          ...(state !== undefined && { state }),
        })
        .onConflict((conflict) =>
          conflict.columns(['organization_id', 'integration_type', 'domain', 'instance']).doNothing(),
        )
        .returning(columns)
        .executeTakeFirst(),

    /** Changes what is named and nothing else. */
    update: (
      organizationId: string,
      id: string,
      { name, enabled, domain, instance, settings, nextValidationAt, isRevision }: ConfigChange,
      proof?: Proof,
    ): Promise<ConfigRow> =>
      query
        .updateTable('integration_configs')
        .set({
          // Never before the last change, should the clock have gone back.
          modified_at: sql<Date>`greatest(now(), modified_at)`,
          ...(name !== undefined && { name }),
          ...(enabled !== undefined && { enabled }),
          ...(domain !== undefined && { domain }),
          ...(instance !== undefined && { instance }),
          ...(settings !== undefined && { settings: JSON.stringify(settings) }),
          ...(isRevision && { revision: nextRevision }),
          ...(proof && proofColumns(proof)),
          ...(nextValidationAt !== undefined && { next_validation_at: nextValidationAt }),
        })
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .returning(columns)
        .executeTakeFirstOrThrow(),

    /** Keeps what a validation found, unless it is about credentials or a domain of before `revision`. */
    recordProof: (
      organizationId: string,
      id: string,
      revision: number,
      proof: Proof,
    ): Promise<ConfigRow | undefined> =>
      query
        .updateTable('integration_configs')
        .set(proofColumns(proof))
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .where('revision', '=', revision)
        .returning(columns)
        .executeTakeFirst(),

    /** Disables what is enabled of a type, and returns those. */
    disableAll: (organizationId: string, integrationType: string): Promise<ConfigRow[]> =>
      query
        .updateTable('integration_configs')
        .set({
          enabled: false,
          next_validation_at: null,
          modified_at: sql<Date>`greatest(now(), modified_at)`,
        })
        .where('organization_id', '=', organizationId)
        .where('integration_type', '=', integrationType)
        .where('enabled', '=', true)
        .returning(columns)
        .execute(),

    /** The row that was, or undefined when there was none. Its secrets are to be shredded in the same transaction. */
    remove: (organizationId: string, id: string): Promise<ConfigRow | undefined> =>
      query
        .deleteFrom('integration_configs')
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .returning(columns)
        .executeTakeFirst(),

    /** Whether it has secrets of its own. */
    async hasSecrets(organizationId: string, id: string): Promise<boolean> {
      const row = await query
        .selectFrom('envelopes')
        .select('owner_id')
        .where('organization_id', '=', organizationId)
        .where('owner_id', '=', id)
        .executeTakeFirst()
      return row !== undefined
    },
  }
}

/**
 * The organisation of a configuration, for the scheduler alone: it works through the configurations of all
 * organisations, and names the one in everything that follows.
 */
export async function findOwnerOfConfig(
  query: Kysely<Schema>,
  id: string,
): Promise<{ readonly id: string; readonly name: string } | undefined> {
  return query
    .selectFrom('integration_configs')
    .innerJoin('organizations', 'organizations.id', 'integration_configs.organization_id')
    .select(['organizations.id', 'organizations.name'])
    .where('integration_configs.id', '=', id)
    .executeTakeFirst()
}

const nextRevision = ({ eb }: ExpressionBuilder<Schema, 'integration_configs'>) => eb('revision', '+', 1)

const proofColumns = ({ state, report, validatedAt, nextValidationAt, credentialsExpireAt }: Proof) => ({
  ...(state !== undefined && { state }),
  report: jsonDocument(report),
  validated_at: validatedAt,
  next_validation_at: nextValidationAt,
  ...(credentialsExpireAt !== undefined && { credentials_expire_at: credentialsExpireAt }),
})

/** PostgreSQL takes neither NUL nor half a surrogate pair in a document, and a provider may have said either. */
const jsonDocument = (document: object) =>
  JSON.stringify(document, (_, value: unknown) =>
    typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '') : value,
  )
