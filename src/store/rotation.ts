/** Puts every envelope under the vault key that seals now, while servers go on reading and writing. */
import { setTimeout as wait } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { sql, type Transaction } from 'kysely'
import { type Envelope, type Place, type Vault, VaultError } from '../vault/vault.ts'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction, isUnavailable } from './database.ts'
import { placeOfConfig, placeOfRegistration, placeOfWebhook, unsealAction } from './envelopes.ts'
import type { Schema } from './schema.ts'
import { envelopesUnder, keyIdsInUse } from './vault-keys.ts'

/** An envelope that does not open where it is, or whose owner is gone: left as it was found. */
export interface BrokenEnvelope {
  readonly ownerId: string
  readonly keyId: string
}

export interface RotationProgress {
  readonly rewrapped: number
  /** Envelopes under other keys when the rotation began. */
  readonly total: number
}

export interface Rotation {
  /** The key under which envelopes are now. */
  readonly keyId: string
  /** By this run; each was opened at its place before and after. */
  readonly rewrapped: number
  readonly broken: readonly BrokenEnvelope[]
  /** Envelopes under each other key at the end: broken ones, and what servers with an older configuration sealed meanwhile. */
  readonly remaining: Readonly<Record<string, number>>
}

export interface RotationOptions {
  readonly batchSize?: number
  readonly onProgress?: (progress: RotationProgress) => void
  /** Ends the rotation between two batches; what is done stays done. */
  readonly signal?: AbortSignal
}

/** Small enough that no batch holds the event loop, or a row that a server wants, for long. */
const defaultBatchSize = 100
/** How long a database that is away is waited for, in milliseconds. */
const patienceMs = 60_000
const pauseMs = 250

/**
 * Re-wraps the data keys of all envelopes that are not under the vault's first key. Each batch is a transaction of its
 * own: a rotation that was killed is simply run again. Several may run at once; each takes what no other holds.
 *
 * @throws DatabaseUnavailable when the database stays away; VaultError `retired` when the sealing key was retired meanwhile
 */
export async function rotateEnvelopes(
  database: Pick<Database, 'query'>,
  vault: Vault,
  actor: Actor,
  { batchSize = defaultBatchSize, onProgress, signal }: RotationOptions = {},
): Promise<Rotation> {
  const [target] = vault.keyIds
  const othersInUse = async () => (await keyIdsInUse(database.query)).filter((id) => id !== target)
  const remaining = async () => {
    const counts: Record<string, number> = {}
    for (const id of await othersInUse()) counts[id] = await envelopesUnder(database.query, id)
    return counts
  }

  const total = sum(await patiently(remaining))
  const broken = new Map<string, BrokenEnvelope>()
  let rewrapped = 0
  const tell = () => onProgress?.({ rewrapped, total })
  tell()

  const walk = async (keyId: string, waits: boolean): Promise<void> => {
    let after: string | undefined
    for (;;) {
      signal?.throwIfAborted()
      const from = after
      const batch = await patiently(() =>
        inTransaction(database, (transaction) =>
          rewrapBatch(transaction, vault, actor, { keyId, after: from, batchSize, waits }),
        ),
      )
      if (batch.last === undefined) return
      after = batch.last
      rewrapped += batch.rewrapped
      for (const one of batch.broken) broken.set(one.ownerId, one)
      tell()
    }
  }

  for (const keyId of await patiently(othersInUse)) {
    await walk(keyId, false)
    // For what others held meanwhile.
    await walk(keyId, true)
  }
  return { keyId: target, rewrapped, broken: [...broken.values()], remaining: await patiently(remaining) }
}

const sum = (counts: Readonly<Record<string, number>>) =>
  Object.values(counts).reduce((all, count) => all + count, 0)

/** Everything here can be done twice, so that a lost answer, to a commit too, is no more than a reason to ask again. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const givesUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isUnavailable(error) || performance.now() > givesUpAt) throw error
      await wait(pauseMs)
    }
  }
}

interface Batch {
  readonly rewrapped: number
  readonly broken: readonly BrokenEnvelope[]
  /** Id of the last owner that was looked at; undefined when none was left. */
  readonly last: string | undefined
}

async function rewrapBatch(
  transaction: Transaction<Schema>,
  vault: Vault,
  actor: Actor,
  {
    keyId,
    after,
    batchSize,
    waits,
  }: {
    readonly keyId: string
    readonly after: string | undefined
    readonly batchSize: number
    readonly waits: boolean
  },
): Promise<Batch> {
  const owners = await lockEnvelopes(transaction, { keyId, after, batchSize, waits })
  const last = owners.at(-1)
  if (last === undefined) return { rewrapped: 0, broken: [], last }
  await holdKey(transaction, vault.keyIds[0])
  // Asked only now that the envelopes are held: whoever changes an owner's place changes its envelope with it.
  const found = await findPlaced(transaction, owners)
  await recordAudit(transaction, actor, {
    action: unsealAction,
    outcome: 'succeeded',
    details: {
      reason: 'rotation',
      key_id: keyId,
      owners: found.map(({ ownerId, place }) => ({
        id: ownerId,
        ...(place !== undefined && {
          ...(place.organization !== '' && { organization_id: place.organization }),
          type: place.type,
          ...(place.domain !== '' && { domain: place.domain }),
        }),
      })),
    },
  })
  const broken: BrokenEnvelope[] = []
  const renewed: { readonly ownerId: string; readonly envelope: Envelope }[] = []
  for (const { ownerId, place, envelope } of found) {
    const again = place === undefined ? undefined : rewrapProven(vault, place, envelope)
    if (again === undefined) broken.push({ ownerId, keyId })
    else renewed.push({ ownerId, envelope: again })
  }
  if (broken.length > 0)
    await recordAudit(transaction, actor, {
      action: unsealAction,
      outcome: 'failed',
      details: { reason: 'rotation', key_id: keyId, owners: broken.map(({ ownerId }) => ({ id: ownerId })) },
    })
  await replace(transaction, renewed)
  return { rewrapped: renewed.length, broken, last }
}

/** The envelope under the sealing key, opened before and after; undefined when it does not open where it is. */
function rewrapProven(vault: Vault, place: Place, envelope: Envelope): Envelope | undefined {
  try {
    const before = vault.open(place, envelope)
    const renewed = vault.rewrap(place, envelope)
    return isDeepStrictEqual(vault.open(place, renewed), before) ? renewed : undefined
  } catch (error) {
    if (error instanceof VaultError && error.code === 'broken') return undefined
    throw error
  }
}

async function lockEnvelopes(
  transaction: Transaction<Schema>,
  {
    keyId,
    after,
    batchSize,
    waits,
  }: {
    readonly keyId: string
    readonly after: string | undefined
    readonly batchSize: number
    readonly waits: boolean
  },
): Promise<string[]> {
  let select = transaction
    .selectFrom('envelopes')
    .select('owner_id')
    .where('key_id', '=', keyId)
    .orderBy('owner_id')
    .limit(batchSize)
    .forUpdate()
  if (!waits) select = select.skipLocked()
  if (after !== undefined) select = select.where('owner_id', '>', after)
  return (await select.execute()).map(({ owner_id }) => owner_id)
}

/** Keeps the sealing key from being retired before these envelopes are under it. */
async function holdKey(transaction: Transaction<Schema>, keyId: string): Promise<void> {
  const key = await transaction
    .selectFrom('vault_keys')
    .select('id')
    .where('id', '=', keyId)
    .where('retired_at', 'is', null)
    .forKeyShare()
    .executeTakeFirst()
  if (key === undefined) throw new VaultError('retired', keyId)
}

interface Placed {
  readonly ownerId: string
  /** Undefined when nothing owns the envelope. */
  readonly place: Place | undefined
  readonly envelope: Envelope
}

async function findPlaced(transaction: Transaction<Schema>, owners: readonly string[]): Promise<Placed[]> {
  const rows = await transaction
    .selectFrom('envelopes')
    .leftJoin('integration_configs', 'integration_configs.id', 'owner_id')
    .leftJoin('registrations', 'registrations.id', 'owner_id')
    .leftJoin('webhooks', 'webhooks.id', 'owner_id')
    .select([
      'owner_id',
      'key_id',
      'wrapped_key',
      'sealed',
      'integration_configs.organization_id as config_organization',
      'integration_type',
      'integration_configs.domain',
      'registrations.source',
      'webhooks.organization_id as webhook_organization',
    ])
    .where('owner_id', 'in', owners)
    .orderBy('owner_id')
    .execute()
  return rows.map((row) => ({
    ownerId: row.owner_id,
    place: placeOf(row),
    envelope: { keyId: row.key_id, wrappedKey: row.wrapped_key, sealed: row.sealed },
  }))
}

function placeOf(row: {
  readonly owner_id: string
  readonly config_organization: string | null
  readonly integration_type: string | null
  readonly domain: string | null
  readonly source: string | null
  readonly webhook_organization: string | null
}): Place | undefined {
  const { owner_id: id, config_organization, integration_type, domain, source, webhook_organization } = row
  if (config_organization !== null && integration_type !== null && domain !== null)
    return placeOfConfig({ id, organization_id: config_organization, integration_type, domain })
  if (source !== null) return placeOfRegistration({ id, source })
  if (webhook_organization !== null) return placeOfWebhook({ id, organization_id: webhook_organization })
  return undefined
}

async function replace(
  transaction: Transaction<Schema>,
  renewed: readonly { readonly ownerId: string; readonly envelope: Envelope }[],
): Promise<void> {
  const [first] = renewed
  if (first === undefined) return
  const ids = renewed.map(({ ownerId }) => ownerId)
  const wrapped = renewed.map(({ envelope }) => envelope.wrappedKey)
  await sql`
    update envelopes set key_id = ${first.envelope.keyId}, wrapped_key = renewed.wrapped_key
    from unnest(${ids}::uuid[], ${wrapped}::bytea[]) as renewed (owner_id, wrapped_key)
    where envelopes.owner_id = renewed.owner_id
  `.execute(transaction)
}
