/** The audit trail: who did what to which thing, when, from where, with what outcome. Never a secret. */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Schema } from './schema.ts'

/** Who acts. `id`: `key:<id>`, `token:…`, `cli`, `system`. */
export interface Actor {
  readonly id: string
  /** Whose data is acted on; undefined for what belongs to the operator. */
  readonly organizationId?: string
  /** Peer address of the request. */
  readonly address?: string
  readonly requestId?: string
}

export interface AuditEvent {
  /** `<thing>.<verb>`: `integration_config.create`, `vault.unseal`, `key.revoke`. */
  readonly action: string
  /** Id of what was acted on. */
  readonly target?: string
  readonly outcome: 'succeeded' | 'refused' | 'failed'
  /** Names and values that are no secrets: which fields changed, why something was unsealed. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Writes an event in the transaction of its effect: no audit, no action. */
export async function recordAudit(
  transaction: Transaction<Schema> | Kysely<Schema>,
  actor: Actor,
  event: AuditEvent,
): Promise<void> {
  await transaction
    .insertInto('audit_events')
    .values({
      organization_id: actor.organizationId ?? null,
      actor: actor.id,
      action: event.action,
      target: event.target ?? null,
      outcome: event.outcome,
      address: actor.address ?? null,
      request_id: actor.requestId ?? null,
      details: JSON.stringify(event.details ?? {}),
    })
    .execute()
}

export interface AuditQuery {
  /** One organisation's events; those of all, and of none, when absent: for the operator's own commands alone. */
  readonly organizationId?: string
  readonly from?: Date
  readonly to?: Date
  readonly action?: string
  readonly target?: string
  readonly actor?: string
  /** Ids above this one only: where the previous page ended. */
  readonly after?: number
  readonly limit: number
}

export interface RecordedEvent {
  readonly id: number
  readonly at: Date
  readonly organization_id: string | null
  readonly actor: string
  readonly action: string
  readonly target: string | null
  readonly outcome: AuditEvent['outcome']
  readonly address: string | null
  readonly request_id: string | null
  readonly details: Record<string, unknown>
}

/** Events in the order in which they were recorded, at most `limit`. */
export async function findAuditEvents(query: Kysely<Schema>, wanted: AuditQuery): Promise<RecordedEvent[]> {
  let select = query.selectFrom('audit_events').selectAll().orderBy('id').limit(wanted.limit)
  if (wanted.organizationId !== undefined)
    select = select.where('organization_id', '=', wanted.organizationId)
  if (wanted.action !== undefined) select = select.where('action', '=', wanted.action)
  if (wanted.target !== undefined) select = select.where('target', '=', wanted.target)
  if (wanted.actor !== undefined) select = select.where('actor', '=', wanted.actor)
  if (wanted.from !== undefined) select = select.where('at', '>=', wanted.from)
  if (wanted.to !== undefined) select = select.where('at', '<', wanted.to)
  if (wanted.after !== undefined) select = select.where('id', '>', sql<string>`${wanted.after}::bigint`)
  return (await select.execute()).map((row) => ({
    ...row,
    id: Number(row.id),
    details: row.details as Record<string, unknown>,
  }))
}
