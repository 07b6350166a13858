/** What configurations are made of, handed in by whoever composes the service. */
import type { AnySource } from '../sources/registry.ts'
import type { Database } from '../store/database.ts'
import type { GuardedValidationParts } from '../validation/guarded-validation.ts'
import type { Report } from '../validation/report.ts'
import type { Vault } from '../vault/vault.ts'
import type { OnStateChange } from './events.ts'

/** Credentials that the operator holds, without what is secret about them. */
export interface OperatorRegistration {
  /** What the provider knows them by: `tenant_id` and `client_id` for Entra ID. */
  readonly attributes: Readonly<Record<string, unknown>>
  /** Those that are bound to the organisation, in canonical form. */
  readonly domains: readonly string[]
}

export interface ConfigsParts {
  readonly database: Pick<Database, 'query'>
  readonly vault: Vault
  readonly sources: readonly AnySource[]
  readonly validation: GuardedValidationParts
  /** The operator's credentials of this kind that serve an organisation. */
  operatorRegistrations(
    key: string,
    organization: { readonly id: string; readonly name: string },
  ): Promise<readonly OperatorRegistration[]>
  now(): Date
  /** When an enabled configuration is validated again after `report`, and what it tells about the credentials' end. */
  schedule(
    report: Report,
    at: Date,
  ): { readonly nextValidationAt: Date; readonly credentialsExpireAt: Date | null }
  readonly onStateChange: OnStateChange
  /** Told when a configuration was made, changed or removed: the server's own work may follow from it at once. */
  onStored?(): void
  /** Told of every validation that ended. */
  onReport(source: AnySource, report: Report): void
  /** Told what an operator has to look at. */
  onTrouble(error: Error): void
}
