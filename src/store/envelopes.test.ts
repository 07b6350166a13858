import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { freshDatabase } from '../../test/fresh-database.ts'
import { createVault } from '../vault/vault.ts'
import { findAuditEvents } from './audit.ts'
import { inTransaction } from './database.ts'
import { openSecrets, placeOfConfig, placeOfWebhook, sealSecrets, shred } from './envelopes.ts'
import { unsealedSince } from './unsealings.ts'
import { openVault } from './vault-keys.ts'

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

async function open(t: TestContext) {
  const database = await freshDatabase(t)
  const key = { id: 'one', key: randomBytes(32) }
  const vault = await openVault(database, [key])
  const place = placeOfConfig({
    id: randomUUID(),
    organization_id: randomUUID(),
    integration_type: 'OKTA',
    domain: 'acme.okta.com',
  })
  return {
    database,
    vault,
    key,
    place,
    seal: (secrets: Record<string, string>) =>
      inTransaction(database, (trx) => sealSecrets(trx, vault, place, secrets)),
    unseal: (at = place) =>
      inTransaction(database, (trx) =>
        openSecrets(trx, vault, at, { id: 'key:1', address: '192.0.2.1', requestId: 'r' }, 'validate'),
      ),
    events: () => findAuditEvents(database.query, { limit: 100 }),
  }
}

test('sealed secrets open, new ones take the place of old ones, and shredded ones are gone', async (t) => {
  const { database, place, seal, unseal } = await open(t)
  assert.equal(await unseal(), undefined)
  await seal({ api_token: 'first' })
  await seal({ api_token: 'second', more: '' })
  assert.deepEqual(await unseal(), { api_token: 'second', more: '' })
  await inTransaction(database, (trx) => shred(trx, place.owner))
  assert.equal(await unseal(), undefined)
})

test('every opening is in the audit trail: who, why, which, when; what had nothing to open is not', async (t) => {
  const { database, place, seal, unseal, events } = await open(t)
  await unseal()
  assert.deepEqual(await events(), [])
  const since = new Date(Date.now() - 60_000)
  await seal({ api_token: 'hunter2' })
  await unseal()
  const [event, ...others] = await events()
  assert.deepEqual(others, [])
  assert.partialDeepStrictEqual(event, {
    organization_id: place.organization,
    actor: 'key:1',
    action: 'vault.unseal',
    target: place.owner,
    outcome: 'succeeded',
    address: '192.0.2.1',
    request_id: 'r',
    details: { reason: 'validate', type: 'OKTA', domain: 'acme.okta.com', key_id: 'one' },
  })
  const unsealed = await collected(unsealedSince(database.query, since))
  assert.partialDeepStrictEqual(unsealed, [
    {
      actor: 'key:1',
      reason: 'validate',
      ownerId: place.owner,
      type: 'OKTA',
      domain: 'acme.okta.com',
      organizationId: place.organization,
      address: '192.0.2.1',
    },
  ])
  assert.deepEqual(await collected(unsealedSince(database.query, new Date(Date.now() + 60_000))), [])
})

test('nothing opens where the audit trail cannot be written', async (t) => {
  const { database, seal, unseal } = await open(t)
  await seal({ api_token: 'hunter2' })
  await database.pool.query('alter table audit_events add constraint refuses check (false) not valid')
  await assert.rejects(unseal())
})

test('an envelope that was moved to another row, or whose row has another domain, does not open', async (t) => {
  const { database, place, seal, unseal, events } = await open(t)
  await seal({ api_token: 'hunter2' })
  for (const other of [
    { ...place, domain: 'evil.okta.com' },
    { ...place, organization: randomUUID() },
    { ...place, type: 'ENTRA_ID' },
    placeOfWebhook({ id: place.owner, organization_id: place.organization }),
  ])
    await assert.rejects(unseal(other), { name: 'VaultError', code: 'broken' })

  const thief = { ...place, owner: randomUUID() }
  await database.query.updateTable('envelopes').set({ owner_id: thief.owner }).execute()
  await assert.rejects(unseal(thief), { code: 'broken' })
  assert.deepEqual(await events(), [])
})

test('neither secrets nor keys are in the tables', async (t) => {
  const { database, vault, key, place, seal, unseal } = await open(t)
  const secret = 'planted-secret-5f1c'
  await seal({ planted_field: secret })
  await unseal()
  assert.deepEqual(createVault([key]).keyIds, vault.keyIds)
  for (const table of ['envelopes', 'vault_keys', 'audit_events']) {
    const { rows } = await database.pool.query(`select ${table}::text as row from ${table}`)
    const text = rows.map(({ row }) => row).join()
    for (const form of [secret, 'planted_field', key.key.toString('base64')])
      for (const encoded of [
        form,
        Buffer.from(form).toString('hex'),
        Buffer.from(form).toString('base64').replace(/=+$/, ''),
        key.key.toString('hex'),
      ])
        assert.ok(!text.includes(encoded), table)
  }
  assert.equal(place.organization.length, 36)
})
