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
  sync_states: SyncStateTable
  sync_runs: SyncRunTable
  sync_removals: SyncRemovalTable
  entity_clocks: EntityClockTable
  entity_sightings: EntitySightingTable
  entity_revisions: EntityRevisionTable
  entity_keys: EntityKeyTable
  entity_purges: EntityPurgeTable
  provider_budgets: ProviderBudgetTable
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
  /** Counts changes of credentials and domain: a late verdict on older ones is dropped, and what was read with them too. */
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

/** Where the syncs of a configuration stand. */
export interface SyncStateTable {
  config_id: string
  organization_id: string
  paused: Generated<boolean>
  /** Where each list of an increment goes on, by its name; null before the first full run. */
  marks: JSONColumnType<Record<string, unknown>> | null
  /** The configuration's revision that the marks belong to: with other credentials or another domain they count no more. */
  marks_revision: number | null
  /** Up to when increments have followed. */
  incremental_since: Date | null
  /** When the last full run whose every required list was seen to its end was merged. */
  complete_at: Date | null
  next_full_at: Date | null
  next_incremental_at: Date | null
  /** Runs in a row that failed. */
  failures: Generated<number>
  last_error: JSONColumnType<Record<string, unknown>> | null
}

export type SyncMode = 'full' | 'incremental'
export type SyncRunStatus =
  | 'queued'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'quarantined'
  | 'cancelled'
  /** Was quarantined, and a later run has taken its place. */
  | 'superseded'

export interface SyncRunTable {
  id: Generated<string>
  organization_id: string
  config_id: string
  mode: SyncMode
  dry_run: Generated<boolean>
  status: Generated<SyncRunStatus>
  /** As an actor in the audit trail. */
  requested_by: string
  reason: string
  requested_at: CreatedAt
  started_at: Date | null
  ended_at: Date | null
  /** Rises with each node that takes the run over: what an earlier one writes is refused. */
  fence: Generated<number>
  cancel_requested: Generated<boolean>
  /** Where each list stands. Written together with the pages that it counts. */
  progress: JSONColumnType<Record<string, unknown>>
  plan: JSONColumnType<Record<string, unknown>> | null
  /** Counts by kind, samples of a dry run, lists that were left out. */
  result: JSONColumnType<Record<string, unknown>> | null
  /** Code, what happened, remedy. */
  error: JSONColumnType<Record<string, unknown>> | null
  pages: Generated<number>
  seen: Generated<number>
  changed: Generated<number>
  removed: Generated<number>
  provider_calls: Generated<number>
  throttled: Generated<number>
  approved_by: string | null
}

/** What a quarantined run would remove. */
export interface SyncRemovalTable {
  run_id: string
  kind: number
  entity_id: string
  uid: string
  /** For people: user name, group's or device's name. */
  label: string
}

/** Orders the merges of an organisation: each has the next number, and a time later than the one before. */
export interface EntityClockTable {
  organization_id: string
  sequence: Generated<number>
  at: Date
}

/** Until when everything open of a configuration and kind was proved to be so. */
export interface EntitySightingTable {
  config_id: string
  kind: number
  organization_id: string
  seen_at: Date
  /** Open revisions, and memberships in groups that they tell of. */
  open_count: Generated<number>
  membership_count: Generated<number>
  /** Of groups: number of the merge that last knew every membership; null where everybody's groups have to be looked at. */
  memberships_in: number | null
}

/**
 * What was known of an entity for a while: from `first_seen_at`, the time of the merge that brought it, until
 * `ended_at`, the time of the merge that brought something else or found it gone (`infinity` while it holds).
 */
export interface EntityRevisionTable {
  organization_id: string
  kind: number
  entity_id: string
  first_seen_at: Date
  /** `infinity` reads as the number Infinity. */
  ended_at: Date | number
  /** Last sighting, once it has ended; while it holds, that of its configuration and kind. */
  last_seen_at: Date | null
  config_id: string
  /** Number of the merge that brought it, and of the one that ended it. */
  opened_in: number
  closed_in: number | null
  content_hash: string
  /** Of attributes and raw alone. */
  document_hash: string | null
  uid: string
  /** For people: user name, group's or device's name. */
  label: Generated<string>
  /** JSON object: the model's attributes. */
  attributes: string
  /** JSON object: facts by name. */
  facts: string
  group_uids: string[]
  /** JSON list of {uid, name}, by uid. */
  groups: string
  /** JSON object that changes without a revision. */
  activity: string
  /** JSON object: what else the provider said. */
  raw: string
  /** Of a group: changes whenever its members may have changed. Changes without a revision. */
  members_tag: string | null
  /** Of a group: what the merge that last knew every membership was told of its members; null once others told more. */
  members_print: string | null
  terms: string
}

/** Exact names of an entity at any time: e-mail addresses, user name, ids; in lower case. */
export interface EntityKeyTable {
  organization_id: string
  key: string
  kind: number
  entity_id: string
  config_id: string
}

/** Configurations that are gone and whose entities are still being removed. */
export interface EntityPurgeTable {
  config_id: string
  organization_id: string
  requested_at: CreatedAt
}

/** The schedule of a provider account's budget: nobody takes a turn before. Unlogged: a crash forgets it, and may. */
export interface ProviderBudgetTable {
  key: string
  free_at: Date
}
