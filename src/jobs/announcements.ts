/**
 * What organisations are told about their configurations: written for their webhooks in the transaction of what it
 * tells of, so that it is told if and only if that happened.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (read 2026-11-24)
 */
import type { Transaction } from 'kysely'
import type { OnStateChange } from '../configs/events.ts'
import { type AuditEvent, recordAudit } from '../store/audit.ts'
import type { ScheduledConfig } from '../store/due-configs.ts'
import type { Schema, SyncMode } from '../store/schema.ts'
import type { EventType } from '../store/webhook-events.ts'
import { addDeliveries } from '../store/webhooks.ts'
import { daysLeft } from './schedule.ts'

/** The document of an event: its type, when it happened, and what it is about. */
export const messageOf = (type: string, at: Date, data: object) =>
  JSON.stringify({ type, timestamp: at.toISOString(), data })

const announce = (
  transaction: Transaction<Schema>,
  organizationId: string,
  type: EventType,
  at: Date,
  data: object,
) => addDeliveries(transaction, organizationId, type, messageOf(type, at, data))

/** The configuration as every event names it. */
const subjectOf = (config: ScheduledConfig) => ({
  id: config.id,
  organization_id: config.organization_id,
  integration_type: config.integration_type,
  domain: config.domain,
  name: config.name,
})

/** Tells of a change of state. That it happened is in the audit trail already. */
export const announceStateChange: OnStateChange = (change, transaction) =>
  announce(transaction, change.organizationId, 'integration_config.state_changed', change.at, {
    id: change.configId,
    organization_id: change.organizationId,
    integration_type: change.integrationType,
    domain: change.domain,
    name: change.name,
    from: change.from,
    to: change.to,
    causes: change.reason,
  })

const systemOf = ({ organization_id }: ScheduledConfig) => ({
  id: 'system',
  organizationId: organization_id,
})

/** @param days the mark that was passed */
export async function announceExpiry(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  { expiresAt, days, at }: { readonly expiresAt: Date; readonly days: number; readonly at: Date },
): Promise<void> {
  const details = { expires_at: expiresAt.toISOString(), mark_days: days, days_left: daysLeft(expiresAt, at) }
  const type = 'integration_config.expiring'
  await recordAudit(transaction, systemOf(config), {
    action: type,
    target: config.id,
    outcome: 'succeeded',
    details,
  })
  await announce(transaction, config.organization_id, type, at, { ...subjectOf(config), ...details })
}

/** Nobody has been able to tell for a while whether the credentials are good. */
export interface Unclear {
  /** `indeterminate`: the provider did not say. `failed`: we could not ask. `set_aside`: we will not ask again by ourselves. */
  readonly reason: 'indeterminate' | 'failed' | 'set_aside'
  /** Codes. */
  readonly causes: readonly string[]
  /** Validations in a row that settled nothing. */
  readonly count: number
  readonly since: Date
  readonly at: Date
}

export async function announceUnclear(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  { reason, causes, count, since, at }: Unclear,
): Promise<void> {
  const details = { reason, causes, validations: count, since: since.toISOString() }
  await recordAudit(transaction, systemOf(config), {
    action: reason === 'set_aside' ? 'integration_config.set_aside' : 'integration_config.validation_unclear',
    target: config.id,
    outcome: 'failed',
    details,
  })
  await announce(transaction, config.organization_id, 'integration_config.validation_unclear', at, {
    ...subjectOf(config),
    state: config.state,
    ...details,
  })
}

/** What became of a run. */
export interface RunNews {
  readonly runId: string
  readonly mode: SyncMode
  readonly at: Date
}

/** Tells of the first failure after runs that went well. */
export async function announceSyncFailure(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  { runId, mode, at }: RunNews,
  error: { readonly code: string; readonly title: string; readonly remedy: string },
): Promise<void> {
  const details = { run_id: runId, mode, cause: error.code, title: error.title, remedy: error.remedy }
  await recordSyncEvent(transaction, config, 'sync.run.failed', 'failed', details, at)
}

/** Tells that a run went well again. @param failures how many before it did not */
export async function announceSyncRecovery(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  { runId, mode, at }: RunNews,
  failures: number,
): Promise<void> {
  await recordSyncEvent(
    transaction,
    config,
    'sync.run.recovered',
    'succeeded',
    { run_id: runId, mode, failures },
    at,
  )
}

/** Tells that a run waits for approval. @param held what it would remove, and of how many */
export async function announceQuarantine(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  { runId, mode, at }: RunNews,
  held: readonly {
    readonly kind: string
    readonly why: string
    readonly count: number
    readonly of: number
  }[],
): Promise<void> {
  await recordSyncEvent(
    transaction,
    config,
    'sync.run.quarantined',
    'refused',
    { run_id: runId, mode, held: held.map(({ kind, why, count, of }) => ({ kind, why, count, of })) },
    at,
  )
}

async function recordSyncEvent(
  transaction: Transaction<Schema>,
  config: ScheduledConfig,
  type: Extract<EventType, `sync.${string}`>,
  outcome: AuditEvent['outcome'],
  details: Readonly<Record<string, unknown>>,
  at: Date,
): Promise<void> {
  await recordAudit(transaction, systemOf(config), { action: type, target: config.id, outcome, details })
  await announce(transaction, config.organization_id, type, at, { ...subjectOf(config), ...details })
}
