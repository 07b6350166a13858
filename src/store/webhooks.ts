/** Webhooks of organisations, and the deliveries on their way to them: an outbox that is filled with what it tells of. */
import { randomBytes, randomUUID } from 'node:crypto'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Vault } from '../vault/vault.ts'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import type { Due } from './due-configs.ts'
import { openSecrets, placeOfWebhook, sealSecrets, shred } from './envelopes.ts'
import type { DeliveryState, Schema } from './schema.ts'
import type { EventType } from './webhook-events.ts'

export interface Webhook {
  readonly id: string
  readonly organizationId: string
  readonly url: string
  readonly events: readonly string[]
  readonly isEnabled: boolean
  readonly createdAt: Date
}

/** A webhook cannot be made or found; the message is for people. */
export class WebhookError extends Error {
  override readonly name = 'WebhookError'
}

/** Every change is told to each of them. */
const maxWebhooks = 20

/** Bytes of a signing secret; the form of secrets asks for 24 to 64. */
const secretBytes = 32

const columns = ['id', 'organization_id', 'url', 'events', 'enabled', 'created_at'] as const

interface Row {
  readonly id: string
  readonly organization_id: string
  readonly url: string
  readonly events: string[]
  readonly enabled: boolean
  readonly created_at: Date
}

const webhookOf = ({ id, organization_id, url, events, enabled, created_at }: Row): Webhook => ({
  id,
  organizationId: organization_id,
  url,
  events,
  isEnabled: enabled,
  createdAt: created_at,
})

/**
 * Makes a webhook. Its signing secret is returned this once, and kept in an envelope.
 *
 * @param url checked by whoever calls
 * @throws WebhookError when the organisation has too many
 */
export async function createWebhook(
  database: Pick<Database, 'query'>,
  vault: Vault,
  actor: Actor,
  {
    organizationId,
    url,
    events,
  }: { readonly organizationId: string; readonly url: string; readonly events: readonly EventType[] },
): Promise<{ readonly webhook: Webhook; readonly secret: string }> {
  const secret = `whsec_${randomBytes(secretBytes).toString('base64')}`
  const webhook = await inTransaction(database, async (transaction) => {
    // One after the other, so that the limit holds.
    await transaction
      .selectFrom('organizations')
      .select('id')
      .where('id', '=', organizationId)
      .forUpdate()
      .executeTakeFirstOrThrow()
    const existing = await listWebhooks(transaction, organizationId)
    if (existing.length >= maxWebhooks)
      throw new WebhookError(`an organisation may have ${maxWebhooks} webhooks; remove one first`)
    const row = await transaction
      .insertInto('webhooks')
      .values({ id: randomUUID(), organization_id: organizationId, url, events: [...events] })
      .returning(columns)
      .executeTakeFirstOrThrow()
    await sealSecrets(transaction, vault, placeOfWebhook(row), { secret })
    await recordAudit(
      transaction,
      { ...actor, organizationId },
      { action: 'webhook.create', target: row.id, outcome: 'succeeded', details: { events } },
    )
    return webhookOf(row)
  })
  return { webhook, secret }
}

/** Of one organisation, or of all; in the order in which they were made. */
export async function listWebhooks(
  query: Kysely<Schema> | Transaction<Schema>,
  organizationId?: string,
): Promise<Webhook[]> {
  const all = query.selectFrom('webhooks').select(columns).orderBy('created_at').orderBy('id')
  const own = organizationId === undefined ? all : all.where('organization_id', '=', organizationId)
  return (await own.execute()).map(webhookOf)
}

/** For the operator's commands: the webhook of this id, whoever's it is. */
export async function findWebhook(
  query: Kysely<Schema> | Transaction<Schema>,
  id: string,
): Promise<Webhook | undefined> {
  const row = await query.selectFrom('webhooks').select(columns).where('id', '=', id).executeTakeFirst()
  return row && webhookOf(row)
}

/** Removes a webhook with its deliveries, and destroys its secret. @throws WebhookError when there is none */
export async function removeWebhook(
  database: Pick<Database, 'query'>,
  actor: Actor,
  id: string,
): Promise<Webhook> {
  return inTransaction(database, async (transaction) => {
    const row = await transaction
      .deleteFrom('webhooks')
      .where('id', '=', id)
      .returning(columns)
      .executeTakeFirst()
    if (row === undefined) throw new WebhookError('no webhook has this id')
    await shred(transaction, id)
    await recordAudit(
      transaction,
      { ...actor, organizationId: row.organization_id },
      { action: 'webhook.remove', target: id, outcome: 'succeeded' },
    )
    return webhookOf(row)
  })
}

/** The signing secret, with the record that it was opened in the same transaction. @throws VaultError */
export async function openWebhookSecret(
  transaction: Transaction<Schema>,
  vault: Vault,
  { id, organizationId }: Pick<Webhook, 'id' | 'organizationId'>,
  actor: Actor,
  why: string,
): Promise<string | undefined> {
  const place = placeOfWebhook({ id, organization_id: organizationId })
  return (await openSecrets(transaction, vault, place, actor, why))?.secret
}

/** Nothing is told to it any more, and what waits for it has ended. */
export async function disableWebhook(
  transaction: Transaction<Schema>,
  { id, organizationId }: Pick<Webhook, 'id' | 'organizationId'>,
  actor: Actor,
  reason: string,
): Promise<void> {
  const { numUpdatedRows } = await transaction
    .updateTable('webhooks')
    .set({ enabled: false })
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .where('enabled', '=', true)
    .executeTakeFirst()
  if (numUpdatedRows === 0n) return
  await recordAudit(
    transaction,
    { ...actor, organizationId },
    { action: 'webhook.disable', target: id, outcome: 'succeeded', details: { reason } },
  )
}

/** Tells it again what happens from now on. */
export async function enableWebhook(
  transaction: Transaction<Schema>,
  { id, organizationId }: Pick<Webhook, 'id' | 'organizationId'>,
  actor: Actor,
): Promise<void> {
  const { numUpdatedRows } = await transaction
    .updateTable('webhooks')
    .set({ enabled: true })
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .where('enabled', '=', false)
    .executeTakeFirst()
  if (numUpdatedRows === 0n) return
  await recordAudit(
    transaction,
    { ...actor, organizationId },
    { action: 'webhook.enable', target: id, outcome: 'succeeded' },
  )
}

/** Writes an event for every webhook of the organisation that wants it. */
export async function addDeliveries(
  transaction: Transaction<Schema>,
  organizationId: string,
  event: EventType,
  body: string,
): Promise<void> {
  await sql`
    insert into webhook_deliveries (webhook_id, organization_id, event, body)
    select id, organization_id, ${event}, ${body} from webhooks
    where organization_id = ${organizationId}::uuid and enabled and ${event} = any(events)
  `.execute(transaction)
}

export interface DueDelivery {
  readonly id: string
  readonly webhookId: string
  readonly dueAt: Date
}

/** As takeDueConfigs(): what is due is due again at `until`, unless it has ended or was put off by then. */
export async function takeDueDeliveries(
  transaction: Transaction<Schema>,
  { at, until, limit }: Due,
): Promise<DueDelivery[]> {
  const { rows } = await sql<DueDelivery>`
    with due as (
      select id, next_attempt_at from webhook_deliveries
      where next_attempt_at <= ${at} order by next_attempt_at limit ${limit} for update skip locked
    )
    update webhook_deliveries as delivery set next_attempt_at = ${until} from due where delivery.id = due.id
    returning delivery.id, delivery.webhook_id as "webhookId", due.next_attempt_at as "dueAt"
  `.execute(transaction)
  return rows
}

export interface Delivery {
  readonly id: string
  readonly event: string
  readonly body: string
  readonly attempts: number
  readonly webhook: Webhook
}

/** A delivery that has not ended, with where it goes. */
export async function findWaitingDelivery(
  transaction: Transaction<Schema>,
  id: string,
): Promise<Delivery | undefined> {
  const row = await transaction
    .selectFrom('webhook_deliveries as delivery')
    .innerJoin('webhooks as webhook', 'webhook.id', 'delivery.webhook_id')
    .select(['delivery.event', 'delivery.body', 'delivery.attempts'])
    .select([
      'webhook.id',
      'webhook.organization_id',
      'webhook.url',
      'webhook.events',
      'webhook.enabled',
      'webhook.created_at',
    ])
    .where('delivery.id', '=', id)
    .where('delivery.state', '=', 'waiting')
    .executeTakeFirst()
  return row && { id, event: row.event, body: row.body, attempts: row.attempts, webhook: webhookOf(row) }
}

/** Holds the row until the transaction ends; false when the delivery has ended or is gone. */
export async function lockWaitingDelivery(transaction: Transaction<Schema>, id: string): Promise<boolean> {
  const row = await transaction
    .selectFrom('webhook_deliveries')
    .select('id')
    .where('id', '=', id)
    .where('state', '=', 'waiting')
    .forUpdate()
    .executeTakeFirst()
  return row !== undefined
}

export interface AttemptRecord {
  readonly state: DeliveryState
  /** Attempts so far, this one counted. */
  readonly attempts: number
  readonly status?: number
  readonly fault?: string
  /** Of a delivery that still waits. */
  readonly nextAttemptAt?: Date
  readonly at: Date
}

export async function recordAttempt(
  transaction: Transaction<Schema>,
  id: string,
  { state, attempts, status, fault, nextAttemptAt, at }: AttemptRecord,
): Promise<void> {
  const isOver = state !== 'waiting'
  await transaction
    .updateTable('webhook_deliveries')
    .set({
      state,
      attempts,
      last_status: status ?? null,
      last_fault: fault ?? null,
      next_attempt_at: isOver ? null : (nextAttemptAt ?? at),
      ended_at: isOver ? at : null,
    })
    .where('id', '=', id)
    .execute()
}

/** Makes a delivery that was under way due at once. */
export async function handBackDelivery(
  transaction: Transaction<Schema>,
  id: string,
  at: Date,
): Promise<void> {
  await transaction
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: at })
    .where('id', '=', id)
    .where('state', '=', 'waiting')
    .execute()
}

export interface ListedDelivery {
  readonly id: string
  readonly webhookId: string
  readonly event: string
  readonly state: DeliveryState
  readonly attempts: number
  readonly createdAt: Date
  readonly nextAttemptAt: Date | null
  readonly lastStatus: number | null
  readonly lastFault: string | null
  readonly endedAt: Date | null
}

/** The newest first, without what they hold. */
export async function listDeliveries(
  query: Kysely<Schema>,
  {
    webhookId,
    state,
    limit,
  }: { readonly webhookId?: string; readonly state?: DeliveryState; readonly limit: number },
): Promise<ListedDelivery[]> {
  let select = query
    .selectFrom('webhook_deliveries')
    .select([
      'id',
      'webhook_id as webhookId',
      'event',
      'state',
      'attempts',
      'created_at as createdAt',
      'next_attempt_at as nextAttemptAt',
      'last_status as lastStatus',
      'last_fault as lastFault',
      'ended_at as endedAt',
    ])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
  if (webhookId !== undefined) select = select.where('webhook_id', '=', webhookId)
  if (state !== undefined) select = select.where('state', '=', state)
  return select.execute()
}

/** Enables a webhook, and has its dead deliveries tried anew from the first attempt on; returns how many. */
export async function redeliver(
  database: Pick<Database, 'query'>,
  actor: Actor,
  { id, organizationId }: Pick<Webhook, 'id' | 'organizationId'>,
): Promise<number> {
  return inTransaction(database, async (transaction) => {
    const { numUpdatedRows } = await transaction
      .updateTable('webhook_deliveries')
      .set({ state: 'waiting', attempts: 0, next_attempt_at: sql<Date>`now()`, ended_at: null })
      .where('organization_id', '=', organizationId)
      .where('webhook_id', '=', id)
      .where('state', '=', 'dead')
      .executeTakeFirst()
    await enableWebhook(transaction, { id, organizationId }, actor)
    await recordAudit(
      transaction,
      { ...actor, organizationId },
      {
        action: 'webhook.redeliver',
        target: id,
        outcome: 'succeeded',
        details: { deliveries: Number(numUpdatedRows) },
      },
    )
    return Number(numUpdatedRows)
  })
}

/** Forgets some of what ended before a moment; returns how many. */
export async function deleteEndedDeliveries(
  query: Kysely<Schema>,
  { before, limit }: { readonly before: Date; readonly limit: number },
): Promise<number> {
  const { numAffectedRows } = await sql`
    delete from webhook_deliveries where id in (
      select id from webhook_deliveries where ended_at < ${before}
      order by ended_at limit ${limit} for update skip locked
    )
  `.execute(query)
  return Number(numAffectedRows ?? 0n)
}
