/** Delivers what is told to webhooks, again and again over about a day, until it is taken or given up. */
import type { Transaction } from 'kysely'
import type { Outbound } from '../outbound/outbound.ts'
import { type Database, inTransaction, isUnavailable } from '../store/database.ts'
import type { Schema } from '../store/schema.ts'
import {
  type Delivery,
  disableWebhook,
  findWaitingDelivery,
  handBackDelivery,
  lockWaitingDelivery,
  openWebhookSecret,
  recordAttempt,
} from '../store/webhooks.ts'
import { type Vault, VaultError } from '../vault/vault.ts'
import { type Job, TakenOver } from './queue.ts'
import { maxBeginnings } from './revalidation.ts'
import { type Attempt, attempt } from './webhook-request.ts'

export type DeliveryEnd = 'delivered' | 'failed' | 'dead' | 'dropped'

export interface DeliveryParts {
  readonly database: Pick<Database, 'query'>
  readonly vault: Vault
  readonly outbound: Outbound
  now(): Date
  /** Told what an operator has to look at. */
  onTrouble(error: unknown): void
}

const minute = 60
const hour = 3_600
/** Seconds from a failed attempt to the next one; about 22 hours in all. */
const waits: readonly number[] = [
  5,
  30,
  2 * minute,
  10 * minute,
  30 * minute,
  hour,
  2 * hour,
  4 * hour,
  6 * hour,
  8 * hour,
]

/** When a failed attempt is followed by another, or undefined when it was the last. */
export function nextAttempt(
  attempts: number,
  at: Date,
  atLeastSeconds = 0,
  random: () => number = Math.random,
): Date | undefined {
  const wait = waits[attempts - 1]
  if (wait === undefined) return undefined
  return new Date(at.getTime() + Math.max(wait * (0.9 + 0.2 * random()), atLeastSeconds) * 1000)
}

const system = { id: 'system' }
/** The receiver says that it wants no more, ever. */
const gone = 410

/**
 * Works on a job; rejects when what came of it could not be kept, so that the job is begun again.
 *
 * @throws TakenOver, DatabaseUnavailable
 */
export async function deliver(
  { database, vault, outbound, now, onTrouble }: DeliveryParts,
  job: Job,
): Promise<DeliveryEnd> {
  /** Ends the job with `effect` on its delivery; without one, when that has ended or is gone. */
  const settle = (effect: (transaction: Transaction<Schema>) => Promise<void>) =>
    inTransaction(database, async (transaction) => {
      const isWaiting = await lockWaitingDelivery(transaction, job.id)
      await job.settle(transaction)
      if (isWaiting) await effect(transaction)
    })

  const giveUp = async (attempts: number, fault: string): Promise<DeliveryEnd> => {
    await settle((transaction) =>
      recordAttempt(transaction, job.id, { state: 'dead', attempts, fault, at: now() }),
    )
    return 'dead'
  }

  const keep = async ({ attempts: before, webhook }: Delivery, made: Attempt): Promise<DeliveryEnd> => {
    const attempts = before + 1
    const at = now()
    const isTaken = 'status' in made && made.status >= 200 && made.status < 300
    const isGone = 'status' in made && made.status === gone
    const next = nextAttempt(attempts, at, 'status' in made ? made.retryAfterSeconds : 0)
    const state = isTaken ? 'delivered' : isGone || next === undefined ? 'dead' : 'waiting'
    await settle(async (transaction) => {
      await recordAttempt(transaction, job.id, {
        ...('status' in made ? { status: made.status } : { fault: made.fault }),
        state,
        attempts,
        at,
        ...(next !== undefined && { nextAttemptAt: next }),
      })
      if (isGone) await disableWebhook(transaction, webhook, system, 'the receiver answered 410')
    })
    return state === 'waiting' ? 'failed' : state
  }

  /** What to deliver and the secret to sign it with: opened only for a delivery that is wanted. */
  const open = () =>
    inTransaction(database, async (transaction) => {
      const delivery = await findWaitingDelivery(transaction, job.id)
      if (delivery?.webhook.isEnabled !== true) return { delivery, secret: undefined }
      const secret = await openWebhookSecret(transaction, vault, delivery.webhook, system, 'webhook delivery')
      return { delivery, secret }
    })

  const send = async (): Promise<DeliveryEnd> => {
    const { delivery, secret } = await open()
    if (delivery === undefined) return 'dropped'
    if (!delivery.webhook.isEnabled) return giveUp(delivery.attempts, 'webhook_disabled')
    if (secret === undefined) return giveUp(delivery.attempts, 'no_secret')
    const made = await attempt(
      outbound,
      { url: delivery.webhook.url, secret, id: job.id, body: delivery.body },
      { at: now(), signal: job.signal },
    )
    if ('status' in made || !job.signal.aborted) return keep(delivery, made)
    // The node is about to stop: another may try at once. Should it have arrived, it arrives again under its id.
    await settle((transaction) => handBackDelivery(transaction, job.id, now()))
    return 'dropped'
  }

  try {
    if (job.attemptsBefore >= maxBeginnings) return await giveUp(job.attemptsBefore, 'process_ended')
    return await send()
  } catch (error) {
    if (error instanceof TakenOver || isUnavailable(error)) throw error
    onTrouble(error)
    return await failWith(error instanceof VaultError ? 'vault_sealed' : 'internal_error')
  }

  /** A failure on our side counts as an attempt, so that it ends too. */
  async function failWith(fault: string): Promise<DeliveryEnd> {
    const delivery = await inTransaction(database, (transaction) => findWaitingDelivery(transaction, job.id))
    return delivery === undefined ? 'dropped' : keep(delivery, { fault })
  }
}
