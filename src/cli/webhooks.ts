/** What `credence webhooks` does, on the database itself, whether or not a server runs on it. */
import { readConfig } from '../config.ts'
import { messageOf } from '../jobs/announcements.ts'
import { attempt, urlFault } from '../jobs/webhook-request.ts'
import { createOutbound } from '../outbound/outbound.ts'
import { type Database, inTransaction } from '../store/database.ts'
import { findOrganization, isUuid } from '../store/organizations.ts'
import type { EventType } from '../store/webhook-events.ts'
import {
  createWebhook,
  enableWebhook,
  findWebhook,
  type ListedDelivery,
  listDeliveries,
  listWebhooks,
  openWebhookSecret,
  redeliver,
  removeWebhook,
  type Webhook,
  WebhookError,
} from '../store/webhooks.ts'
import { CommandError, UsageError } from './exit-codes.ts'
import { configuredVaultKeys, openVaultOf, withDatabase } from './stored-data.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface CommonOptions {
  readonly dataDir: string
  readonly json?: boolean
}

const actor = { id: 'cli' }

export async function add(
  url: string,
  {
    dataDir,
    organization,
    events,
    json,
  }: CommonOptions & { readonly organization: string; readonly events: readonly EventType[] },
): Promise<void> {
  const fault = urlFault(url)
  if (fault !== undefined) throw new UsageError(`the address cannot be a webhook's: ${fault}`)
  const keys = await configuredVaultKeys()
  const { webhook, secret } = await withWebhooks(dataDir, async (database) => {
    const { id: organizationId } = await organizationOf(database, organization)
    return createWebhook(database, await openVaultOf(database, keys), actor, { organizationId, url, events })
  })
  await write(
    process.stdout,
    json ? jsonLine({ ...webhookDocument(webhook), secret }) : `${webhookText(webhook)}secret  ${secret}\n`,
  )
}

export async function list({
  dataDir,
  organization,
  json,
}: CommonOptions & { readonly organization?: string }): Promise<void> {
  const found = await withWebhooks(dataDir, async (database) =>
    listWebhooks(
      database.query,
      organization === undefined ? undefined : (await organizationOf(database, organization)).id,
    ),
  )
  await write(
    process.stdout,
    json ? jsonLine({ webhooks: found.map(webhookDocument) }) : found.map(webhookText).join(''),
  )
}

export async function remove(id: string, { dataDir, json }: CommonOptions): Promise<void> {
  const removed = await withWebhooks(dataDir, async (database) =>
    removeWebhook(database, actor, (await webhookOf(database, id)).id),
  )
  await write(process.stdout, json ? jsonLine({ id: removed.id }) : `removed ${removed.id}\n`)
}

export async function tryOut(id: string, { dataDir, json }: CommonOptions): Promise<void> {
  const { endpoints } = readConfig()
  const keys = await configuredVaultKeys()
  const made = await withWebhooks(dataDir, async (database) => {
    const vault = await openVaultOf(database, keys)
    const webhook = await webhookOf(database, id)
    const secret = await inTransaction(database, (transaction) =>
      openWebhookSecret(transaction, vault, webhook, actor, 'webhook test'),
    )
    if (secret === undefined) throw new CommandError('the webhook has no secret: remove it, and add it again')
    const at = new Date()
    const body = messageOf('webhook.test', at, { webhook_id: webhook.id })
    return attempt(
      createOutbound({ endpoints }),
      { url: webhook.url, secret, id: crypto.randomUUID(), body },
      { at, signal: new AbortController().signal },
    )
  })
  const isTaken = 'status' in made && made.status >= 200 && made.status < 300
  const result = 'status' in made ? { status: made.status } : { fault: made.fault }
  if (json) await write(process.stdout, jsonLine({ delivered: isTaken, ...result }))
  const words = 'status' in made ? `the receiver answered ${made.status}` : `it failed: ${made.fault}`
  if (!isTaken) throw new CommandError(`the message was not taken: ${words}`)
  if (!json) await write(process.stdout, `${words}\n`)
}

export async function deliveries({
  dataDir,
  webhook,
  dead,
  limit,
  json,
}: CommonOptions & {
  readonly webhook?: string
  readonly dead?: boolean
  readonly limit: number
}): Promise<void> {
  const found = await withWebhooks(dataDir, async (database) =>
    listDeliveries(database.query, {
      limit,
      ...(webhook !== undefined && { webhookId: (await webhookOf(database, webhook)).id }),
      ...(dead === true && { state: 'dead' }),
    }),
  )
  await write(
    process.stdout,
    json ? jsonLine({ deliveries: found.map(deliveryDocument) }) : found.map(deliveryText).join(''),
  )
}

export async function enable(id: string, { dataDir, json }: CommonOptions): Promise<void> {
  const webhook = await withWebhooks(dataDir, async (database) => {
    const found = await webhookOf(database, id)
    await inTransaction(database, (transaction) => enableWebhook(transaction, found, actor))
    return found
  })
  await write(process.stdout, json ? jsonLine({ id: webhook.id }) : `enabled ${webhook.id}\n`)
}

export async function tryAnew(id: string, { dataDir, json }: CommonOptions): Promise<void> {
  const number = await withWebhooks(dataDir, async (database) =>
    redeliver(database, actor, await webhookOf(database, id)),
  )
  await write(process.stdout, json ? jsonLine({ deliveries: number }) : `${number} to be tried anew\n`)
}

async function organizationOf({ query }: Database, nameOrId: string) {
  const found = await findOrganization(query, nameOrId)
  if (found === undefined) throw new CommandError('no organisation has this name or id')
  return found
}

async function webhookOf({ query }: Database, id: string): Promise<Webhook> {
  const found = isUuid(id) ? await findWebhook(query, id) : undefined
  if (found === undefined) throw new CommandError('no webhook has this id')
  return found
}

/** @throws CommandError in place of WebhookError */
const withWebhooks = <T>(dataDir: string, work: (database: Database) => Promise<T>): Promise<T> =>
  withDatabase(dataDir, async (database) => {
    try {
      return await work(database)
    } catch (error) {
      if (error instanceof WebhookError) throw new CommandError(error.message)
      throw error
    }
  })

const webhookDocument = ({ id, organizationId, url, events, isEnabled, createdAt }: Webhook) => ({
  id,
  organization: organizationId,
  url,
  events,
  enabled: isEnabled,
  created_at: createdAt.toISOString(),
})

const webhookText = ({ id, organizationId, url, events, isEnabled }: Webhook) =>
  `${[id, isEnabled ? 'enabled' : 'disabled', printable(url), `of ${organizationId}`, events.join(',')].join('  ')}\n`

const deliveryDocument = (one: ListedDelivery) => ({
  id: `msg_${one.id}`,
  webhook: one.webhookId,
  event: one.event,
  state: one.state,
  attempts: one.attempts,
  created_at: one.createdAt.toISOString(),
  ...(one.nextAttemptAt && { next_attempt_at: one.nextAttemptAt.toISOString() }),
  ...(one.lastStatus !== null && { last_status: one.lastStatus }),
  ...(one.lastFault !== null && { last_fault: one.lastFault }),
  ...(one.endedAt && { ended_at: one.endedAt.toISOString() }),
})

const deliveryText = (one: ListedDelivery) =>
  `${[
    one.createdAt.toISOString(),
    one.state,
    one.event,
    `msg_${one.id}`,
    `to ${one.webhookId}`,
    `${one.attempts} attempts`,
    ...(one.lastStatus === null ? [] : [`answered ${one.lastStatus}`]),
    ...(one.lastFault === null ? [] : [one.lastFault]),
  ].join('  ')}\n`
