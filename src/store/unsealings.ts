/** What was unsealed since a moment: the list of secrets to replace after an intrusion. */
import type { Kysely } from 'kysely'
import { findAuditEvents, type RecordedEvent } from './audit.ts'
import { unsealAction } from './envelopes.ts'
import type { Schema } from './schema.ts'

export interface Unsealing {
  readonly at: Date
  /** Who opened it. */
  readonly actor: string
  readonly reason: string | undefined
  /** Id of the configuration, registration or webhook. */
  readonly ownerId: string
  /** Integration type, `registration:<source>` or `webhook`. */
  readonly type: string | undefined
  readonly domain: string | undefined
  /** Undefined for the operator's own. */
  readonly organizationId: string | undefined
  readonly address: string | undefined
}

const pageSize = 1_000

/** In the order in which they were recorded, of all organisations. */
export async function* unsealedSince(query: Kysely<Schema>, since: Date): AsyncGenerator<Unsealing> {
  let after: number | undefined
  for (;;) {
    const events = await findAuditEvents(query, {
      action: unsealAction,
      from: since,
      limit: pageSize,
      ...(after !== undefined && { after }),
    })
    for (const event of events) if (event.outcome === 'succeeded') yield* unsealingsOf(event)
    after = events.at(-1)?.id
    if (events.length < pageSize) return
  }
}

/** An event tells of one owner, its target, or of a batch of them. */
function unsealingsOf({ at, actor, details, target, organization_id, address }: RecordedEvent): Unsealing[] {
  const owners =
    target === null && Array.isArray(details.owners) ? details.owners : [{ ...details, id: target }]
  return owners.map((owner: Readonly<Record<string, unknown>>) => ({
    at,
    actor,
    reason: text(details.reason),
    ownerId: String(owner.id),
    type: text(owner.type),
    domain: text(owner.domain),
    organizationId: text(owner.organization_id) ?? organization_id ?? undefined,
    address: address ?? undefined,
  }))
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
