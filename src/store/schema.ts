/** The tables, as queries see them. The migrations beside this file make them. */
import type { ColumnType, Generated, JSONColumnType } from 'kysely'

/** Set by the database when a row is made; never changed. */
type CreatedAt = ColumnType<Date, never, never>

export interface Schema {
  organizations: OrganizationTable
  keys: KeyTable
  integration_configs: IntegrationConfigTable
  envelopes: EnvelopeTable
  vault_keys: VaultKeyTable
  registrations: RegistrationTable
  registration_bindings: RegistrationBindingTable
  audit_events: AuditEventTable
  webhooks: WebhookTable
  webhook_deliveries: WebhookDeliveryTable
  unclear_validations: UnclearValidationTable
  expiry_notices: ExpiryNoticeTable
  rate_windows: RateWindowTable
}

export interface OrganizationTable {
  id: Generated<string>
  name: string
  created_at: CreatedAt
}

/** A key pair, or an access token alone. Only hashes are kept. */
export interface KeyTable {
  id: Generated<string>
  organization_id: string
  name: string | null
  /** First characters of the API key or token, for people to tell keys apart. */
  prefix: string
  /** SHA-256; null for an access token. */
  api_key_hash: Buffer | null
  /** SHA-256 of the application key or access token. */
  application_key_hash: Buffer
  permissions: string[]
  created_at: CreatedAt
  revoked_at: Date | null
}

export type ConfigState = 'initializing' | 'valid' | 'invalid'

export interface IntegrationConfigTable {
  id: Generated<string>
  organization_id: string
  integration_type: string
  /** Canonical. */
  domain: string
  /** Tells configurations of one domain and type apart; empty for the usual single one. */
  instance: Generated<string>
  name: string
  enabled: Generated<boolean>
  settings: JSONColumnType<Record<string, unknown>>
  state: Generated<ConfigState>
  /** Counts changes of what a validation depends on, so that a late verdict on old credentials is dropped. */
  revision: Generated<number>
  created_at: CreatedAt
  modified_at: Generated<Date>
  /** The last report, whatever its verdict. */
  report: JSONColumnType<Record<string, unknown>> | null
  validated_at: Date | null
  next_validation_at: Date | null
  /** When the credentials end, as far as the provider told. */
  credentials_expire_at: Date | null
}

/** Sealed secrets of a configuration, a registration or a webhook. Deleting the row destroys its data key. */
export interface EnvelopeTable {
  /** Id of the row that owns it. */
  owner_id: string
  organization_id: string | null
  /** The vault key that wraps the data key. */
  key_id: string
  wrapped_key: Buffer
  sealed: Buffer
  created_at: CreatedAt
}

export interface VaultKeyTable {
  id: string
  /** Proves at start that the key of this id is the one that sealed what is stored. */
  check_value: Buffer
  created_at: CreatedAt
  /** Since then nothing is sealed with it, and no server starts with it. */
  retired_at: Date | null
}

/** The operator's own app registrations and service accounts. */
export interface RegistrationTable {
  id: Generated<string>
  /** Source name: `entra-id`. */
  source: string
  name: string
  /** What is not secret: tenant and client id, client e-mail. */
  attributes: JSONColumnType<Record<string, unknown>>
  created_at: CreatedAt
}

export interface RegistrationBindingTable {
  registration_id: string
  organization_id: string
  source: string
  domain: string
}

export interface AuditEventTable {
  id: Generated<string>
  at: CreatedAt
  organization_id: string | null
  /** `key:<id>`, `oauth:<subject>`, `cli`, `system`. */
  actor: string
  /** `integration_config.create`, `vault.unseal`, … */
  action: string
  /** Id of what was acted on. */
  target: string | null
  outcome: 'succeeded' | 'refused' | 'failed'
  address: string | null
  request_id: string | null
  details: JSONColumnType<Record<string, unknown>>
}

export interface WebhookTable {
  id: Generated<string>
  organization_id: string
  url: string
  events: string[]
  enabled: Generated<boolean>
  created_at: CreatedAt
}

export type DeliveryState = 'waiting' | 'delivered' | 'dead'

/** An event on its way to a webhook: written in the transaction of what it tells of. */
export interface WebhookDeliveryTable {
  /** The message's id, the same in every attempt. */
  id: Generated<string>
  webhook_id: string
  organization_id: string
  event: string
  /** What is sent and signed, to the letter. */
  body: string
  created_at: CreatedAt
  state: Generated<DeliveryState>
  attempts: Generated<number>
  /** Null once it has ended. */
  next_attempt_at: Generated<Date | null>
  /** HTTP status of the last answer. */
  last_status: number | null
  /** Why the last attempt failed: a code, never text from outside. */
  last_fault: string | null
  ended_at: Date | null
}

/** Validations in a row that settled nothing. */
export interface UnclearValidationTable {
  config_id: string
  count: number
  since: Date
}

/** That the end of credentials was told, once for each mark. */
export interface ExpiryNoticeTable {
  config_id: string
  expires_on: ColumnType<Date, string, never>
  days: number
  told_at: CreatedAt
}

/** How much of a rate limit's window the nodes have taken in leases. Unlogged: a crash forgets it, and may. */
export interface RateWindowTable {
  key: string
  window_start: Date
  taken: number
}
