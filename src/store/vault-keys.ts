/** Proves at start that the configured vault keys are those that sealed what is stored. */
import { type Kysely, sql } from 'kysely'
import { VaultKeysError } from '../vault/keys.ts'
import { createVault, type Vault, type VaultKey } from '../vault/vault.ts'
import { type Actor, recordAudit } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import type { Schema } from './schema.ts'

/**
 * The vault of these keys; ids that are new are registered. Any number of nodes may do so at once.
 *
 * @throws VaultKeysError which names each key that is missing, retired, or another than the one of its id
 */
export async function openVault(
  database: Pick<Database, 'query'>,
  keys: readonly [VaultKey, ...VaultKey[]],
): Promise<Vault> {
  const vault = createVault(keys)
  await inTransaction(database, async (transaction) => {
    await transaction
      .insertInto('vault_keys')
      // In one order on every node: none waits for another that waits for it.
      .values([...vault.keyIds].sort().map((id) => ({ id, check_value: vault.checkValue(id) })))
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute()
    const faults = await vaultKeyFaults(transaction, vault)
    // Thrown within the transaction: a refused start registers nothing.
    if (faults.length > 0) throw new VaultKeysError(faults.join('; '))
  })
  return vault
}

/** What keeps these keys from being those of the database; each names a key's id. */
export async function vaultKeyFaults(query: Kysely<Schema>, vault: Vault): Promise<string[]> {
  const registered = await query
    .selectFrom('vault_keys')
    .select(['id', 'check_value', 'retired_at'])
    .where('id', 'in', vault.keyIds)
    .orderBy('id')
    .execute()
  const inUse = await keyIdsInUse(query)
  return [
    ...registered
      .filter(({ id, check_value }) => !vault.isKey(id, check_value))
      .map(({ id }) => `the vault key ${id} is not the key that was used under this id`),
    ...registered
      .filter(({ retired_at }) => retired_at !== null)
      .map(({ id }) => `the vault key ${id} was retired: take it out of the configured keys`),
    ...inUse
      .filter((id) => !vault.keyIds.includes(id))
      .map((id) => `the vault key ${id} is missing: stored secrets are sealed with it`),
  ]
}

/** Ids of the keys with which anything is sealed. Walks from id to id through the index, however many envelopes there are. */
export async function keyIdsInUse(query: Kysely<Schema>): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    with recursive used as (
      (select key_id as id from envelopes order by key_id limit 1)
      union all
      select (select key_id from envelopes where key_id > used.id order by key_id limit 1)
      from used where used.id is not null
    )
    select id from used where id is not null`.execute(query)
  return rows.map(({ id }) => id)
}

/** Why a key cannot be retired now. */
export class RetireRefused extends Error {
  override readonly name = 'RetireRefused'
}

/**
 * Ends the use of a key: from now on no node seals with it, and none starts with it.
 *
 * @throws RetireRefused when envelopes still need it, or there is no such key
 */
export async function retireVaultKey(
  database: Pick<Database, 'query'>,
  actor: Actor,
  id: string,
): Promise<void> {
  await inTransaction(database, async (transaction) => {
    // Waits for those who are sealing with it, so that what they seal is counted.
    const key = await transaction
      .selectFrom('vault_keys')
      .select('retired_at')
      .where('id', '=', id)
      .forUpdate()
      .executeTakeFirst()
    if (key === undefined) throw new RetireRefused(`no vault key ${id} was ever used here`)
    if (key.retired_at !== null) return
    const count = await envelopesUnder(transaction, id)
    if (count > 0)
      throw new RetireRefused(
        `the vault key ${id} is still in use: ${count} ${count === 1 ? 'envelope needs' : 'envelopes need'} it; run \`credence rotate-key\` first`,
      )
    await recordAudit(transaction, actor, { action: 'vault_key.retire', target: id, outcome: 'succeeded' })
    await transaction
      .updateTable('vault_keys')
      .set({ retired_at: sql<Date>`now()` })
      .where('id', '=', id)
      .execute()
  })
}

/** How many envelopes a key wraps. */
export async function envelopesUnder(query: Kysely<Schema>, id: string): Promise<number> {
  const { count } = await query
    .selectFrom('envelopes')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('key_id', '=', id)
    .executeTakeFirstOrThrow()
  return Number(count)
}
