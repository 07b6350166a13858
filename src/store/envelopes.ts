/** Sealed secrets of configurations, registrations and webhooks: kept, opened for a stated reason, shredded. */
import { sql, type Transaction } from 'kysely'
import { type Place, type Vault, VaultError } from '../vault/vault.ts'
import { type Actor, recordAudit } from './audit.ts'
import type { Schema } from './schema.ts'

type Row = { readonly id: string }

/** Where the secrets of a configuration belong. A change of any of it needs them sealed anew. */
export const placeOfConfig = (
  config: Row & {
    readonly organization_id: string
    readonly integration_type: string
    readonly domain: string
  },
): Place => ({
  organization: config.organization_id,
  owner: config.id,
  type: config.integration_type,
  domain: config.domain,
})

/** Where the operator's own credentials belong: to no organisation. */
export const placeOfRegistration = ({ id, source }: Row & { readonly source: string }): Place => ({
  organization: '',
  owner: id,
  type: `registration:${source}`,
  domain: '',
})

/** Where a webhook's signing secret belongs. */
export const placeOfWebhook = ({
  id,
  organization_id,
}: Row & { readonly organization_id: string }): Place => ({
  organization: organization_id,
  owner: id,
  type: 'webhook',
  domain: '',
})

/**
 * Seals `secrets` for their owner, in place of those it had. The key that seals must be registered, see openVault().
 *
 * @throws VaultError `retired` when another node retired the key that seals here
 */
export async function sealSecrets(
  transaction: Transaction<Schema>,
  vault: Vault,
  place: Place,
  secrets: Readonly<Record<string, string>>,
): Promise<void> {
  const { keyId, wrappedKey, sealed } = vault.seal(place, secrets)
  const organization = place.organization === '' ? null : place.organization
  // The lock makes whoever retires the key wait, and then see this envelope.
  const { numAffectedRows } = await sql`
    with live as (
      select id from vault_keys where id = ${keyId} and retired_at is null for key share
    )
    insert into envelopes (owner_id, organization_id, key_id, wrapped_key, sealed)
    select ${place.owner}::uuid, ${organization}::uuid, live.id, ${wrappedKey}::bytea, ${sealed}::bytea from live
    on conflict (owner_id) do update set
      organization_id = excluded.organization_id, key_id = excluded.key_id,
      wrapped_key = excluded.wrapped_key, sealed = excluded.sealed, created_at = now()
  `.execute(transaction)
  if (numAffectedRows !== 1n) throw new VaultError('retired', keyId)
}

/**
 * The secrets of the owner, and in the same transaction the record that `actor` opened them; undefined when it has none.
 * Use them only once the transaction is committed: until then nothing proves that they were opened.
 *
 * @param why for the audit trail: `validate`, `rotate`
 * @throws VaultError
 */
export async function openSecrets(
  transaction: Transaction<Schema>,
  vault: Vault,
  place: Place,
  actor: Actor,
  why: string,
): Promise<Record<string, string> | undefined> {
  const envelope = await transaction
    .selectFrom('envelopes')
    .select(['key_id', 'wrapped_key', 'sealed'])
    .where('owner_id', '=', place.owner)
    .executeTakeFirst()
  if (envelope === undefined) return undefined
  const { organization, type, domain } = place
  await recordAudit(transaction, organization === '' ? actor : { ...actor, organizationId: organization }, {
    action: unsealAction,
    target: place.owner,
    outcome: 'succeeded',
    details: { reason: why, type, ...(domain !== '' && { domain }), key_id: envelope.key_id },
  })
  return vault.open(place, {
    keyId: envelope.key_id,
    wrappedKey: envelope.wrapped_key,
    sealed: envelope.sealed,
  })
}

/** What the audit trail calls an opened envelope, or a batch of them. */
export const unsealAction = 'vault.unseal'

/** Destroys the secrets of the owner with the only copy of their data key. */
export async function shred(transaction: Transaction<Schema>, ownerId: string): Promise<void> {
  await transaction.deleteFrom('envelopes').where('owner_id', '=', ownerId).execute()
}
