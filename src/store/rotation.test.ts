import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import { freshDatabase } from '../../test/fresh-database.ts'
import { someoneWaits } from '../../test/lock-waits.ts'
import type { Place, Vault, VaultKey } from '../vault/vault.ts'
import { findAuditEvents } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import {
  openSecrets,
  placeOfConfig,
  placeOfRegistration,
  placeOfWebhook,
  sealSecrets,
  shred,
} from './envelopes.ts'
import { type RotationProgress, rotateEnvelopes } from './rotation.ts'
import { unsealedSince } from './unsealings.ts'
import { keyIdsInUse, openVault } from './vault-keys.ts'

const key = (id: string): VaultKey => ({ id, key: randomBytes(32) })
const actor = { id: 'cli' }

interface Sealed {
  readonly place: Place
  readonly secret: string
}

/** A database whose secrets are all under `old`, and the vaults before and after the change of keys. */
async function open(t: TestContext, { configs }: { configs: number }) {
  const database = await freshDatabase(t)
  const keys = { old: key('old'), new: key('new') }
  const oldVault = await openVault(database, [keys.old])
  const [organization] = await database.query
    .insertInto('organizations')
    .values({ name: 'acme' })
    .returning('id')
    .execute()
  const organization_id = organization?.id ?? ''
  const sealed: Sealed[] = []
  for (let at = 0; at < configs; at += 1)
    sealed.push(await addConfig(database, oldVault, organization_id, `acme-${at}.okta.com`))
  return {
    database,
    keys,
    oldVault,
    vault: await openVault(database, [keys.new, keys.old]),
    organization_id,
    sealed,
  }
}

function addConfig(
  database: Database,
  vault: Vault,
  organization_id: string,
  domain: string,
): Promise<Sealed> {
  const secret = randomBytes(16).toString('hex')
  return inTransaction(database, async (trx) => {
    const row = await trx
      .insertInto('integration_configs')
      .values({ organization_id, integration_type: 'OKTA', domain, name: domain, settings: '{}' })
      .returning(['id', 'organization_id', 'integration_type', 'domain'])
      .executeTakeFirstOrThrow()
    const place = placeOfConfig(row)
    await sealSecrets(trx, vault, place, { secret })
    return { place, secret }
  })
}

const unseal = (database: Database, vault: Vault, place: Place) =>
  inTransaction(database, (trx) => openSecrets(trx, vault, place, actor, 'test'))

async function assertAllOpen(database: Database, vault: Vault, sealed: readonly Sealed[]) {
  for (const { place, secret } of sealed) assert.deepEqual(await unseal(database, vault, place), { secret })
}

test('every kind of secret is put under the first key, opens with it alone, and the audit trail has it', async (t) => {
  const { database, keys, oldVault, vault, organization_id, sealed } = await open(t, { configs: 5 })
  const [registration] = await database.query
    .insertInto('registrations')
    .values({ source: 'entra-id', name: 'ours', attributes: '{}' })
    .returning(['id', 'source'])
    .execute()
  const [webhook] = await database.query
    .insertInto('webhooks')
    .values({ organization_id, url: 'https://hooks.example', events: [] })
    .returning(['id', 'organization_id'])
    .execute()
  assert.ok(registration && webhook)
  for (const place of [placeOfRegistration(registration), placeOfWebhook(webhook)]) {
    await inTransaction(database, (trx) => sealSecrets(trx, oldVault, place, { secret: 'other' }))
    sealed.push({ place, secret: 'other' })
  }
  const told: RotationProgress[] = []
  const rotation = await rotateEnvelopes(database, vault, actor, {
    batchSize: 3,
    onProgress: (progress) => told.push(progress),
  })

  assert.deepEqual(rotation, { keyId: 'new', rewrapped: 7, broken: [], remaining: {} })
  assert.deepEqual(
    told.map(({ rewrapped, total }) => [rewrapped, total]),
    [
      [0, 7],
      [3, 7],
      [6, 7],
      [7, 7],
    ],
  )
  await assertAllOpen(database, await openVault(database, [keys.new]), sealed)
  const batches = await findAuditEvents(database.query, { action: 'vault.unseal', limit: 3 })
  assert.deepEqual(
    batches.map(({ details, target }) => [target, details.reason, (details.owners as unknown[]).length]),
    [
      [null, 'rotation', 3],
      [null, 'rotation', 3],
      [null, 'rotation', 1],
    ],
  )
  const listed = new Map<string, (string | undefined)[]>()
  for await (const { ownerId, type, domain, organizationId, reason } of unsealedSince(
    database.query,
    new Date(0),
  ))
    if (reason === 'rotation') listed.set(ownerId, [type, domain, organizationId])
  assert.deepEqual(
    listed,
    new Map(
      sealed.map(({ place }) => [
        place.owner,
        [place.type, place.domain || undefined, place.organization || undefined],
      ]),
    ),
  )
})

test('a rotation with nothing to do changes nothing, and opens nothing', async (t) => {
  const { database, vault, sealed } = await open(t, { configs: 2 })
  await rotateEnvelopes(database, vault, actor)
  const before = await database.query.selectFrom('envelopes').selectAll().orderBy('owner_id').execute()
  const events = (await findAuditEvents(database.query, { limit: 100 })).length
  assert.deepEqual(await rotateEnvelopes(database, vault, actor), {
    keyId: 'new',
    rewrapped: 0,
    broken: [],
    remaining: {},
  })
  assert.deepEqual(
    await database.query.selectFrom('envelopes').selectAll().orderBy('owner_id').execute(),
    before,
  )
  assert.equal((await findAuditEvents(database.query, { limit: 100 })).length, events)
  await assertAllOpen(database, vault, sealed)
})

test('what does not open where it is stays as it was found, and is named', async (t) => {
  const { database, vault, sealed } = await open(t, { configs: 6 })
  const [moved, changed, orphan, ...sound] = sealed.map(({ place }) => place.owner)
  await database.query
    .updateTable('integration_configs')
    .set({ domain: 'evil.okta.com' })
    .where('id', '=', moved ?? '')
    .execute()
  await database.query
    .updateTable('envelopes')
    .set({ sealed: sql<Buffer>`set_byte(sealed, 20, get_byte(sealed, 20) # 1)` })
    .where('owner_id', '=', changed ?? '')
    .execute()
  await database.query
    .deleteFrom('integration_configs')
    .where('id', '=', orphan ?? '')
    .execute()
  const found = () =>
    database.query
      .selectFrom('envelopes')
      .selectAll()
      .where('owner_id', 'not in', sound)
      .orderBy('owner_id')
      .execute()
  const before = await found()

  const { rewrapped, broken, remaining } = await rotateEnvelopes(database, vault, actor, { batchSize: 2 })
  assert.equal(rewrapped, 3)
  assert.deepEqual(
    broken.map(({ ownerId, keyId }) => [ownerId, keyId]).sort(),
    [moved, changed, orphan].map((id) => [id, 'old']).sort(),
  )
  assert.deepEqual(remaining, { old: 3 })
  assert.deepEqual(await found(), before)
})

test('two rotations at once share the work', async (t) => {
  const { database, vault, sealed } = await open(t, { configs: 60 })
  const rotations = await Promise.all([
    rotateEnvelopes(database, vault, actor, { batchSize: 4 }),
    rotateEnvelopes(database, vault, actor, { batchSize: 7 }),
  ])
  assert.equal(
    rotations.reduce((all, { rewrapped }) => all + rewrapped, 0),
    60,
  )
  for (const { broken, remaining } of rotations) assert.deepEqual([broken, remaining], [[], {}])
  await assertAllOpen(database, vault, sealed)
})

test('a change of secrets and of their place in the middle of a rotation is neither lost nor taken for damage', async (t) => {
  const { database, oldVault, vault, sealed } = await open(t, { configs: 10 })
  const [held] = sealed.toSorted((a, b) => (a.place.owner < b.place.owner ? -1 : 1))
  assert.ok(held)
  const { promise: isHeld, resolve: tellHeld } = Promise.withResolvers<void>()
  const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>()
  // A server that seals with the old key still.
  const change = inTransaction(database, async (trx) => {
    const row = await trx
      .updateTable('integration_configs')
      .set({ domain: 'other.okta.com' })
      .where('id', '=', held.place.owner)
      .returning(['id', 'organization_id', 'integration_type', 'domain'])
      .executeTakeFirstOrThrow()
    await sealSecrets(trx, oldVault, placeOfConfig(row), { secret: 'changed' })
    tellHeld()
    await mayCommit
    return placeOfConfig(row)
  })
  await isHeld
  const rotating = rotateEnvelopes(database, vault, actor)
  await someoneWaits(database)
  const rewrappedMeanwhile = await database.query
    .selectFrom('envelopes')
    .select('owner_id')
    .where('key_id', '=', 'new')
    .execute()
  assert.equal(rewrappedMeanwhile.length, 9)
  commit()
  const place = await change
  assert.deepEqual(await rotating, { keyId: 'new', rewrapped: 10, broken: [], remaining: {} })
  assert.deepEqual(await unseal(database, vault, place), { secret: 'changed' })
})

test('servers create, change and delete while everything is rotated', async (t) => {
  const { database, keys, oldVault, vault, organization_id, sealed } = await open(t, { configs: 40 })
  const living = new Map(sealed.map((one) => [one.place.owner, one]))
  let isOver = false
  const server = async (name: string, sealing: Vault) => {
    for (let at = 0; !isOver || at < 20; at += 1) {
      const made = await addConfig(database, sealing, organization_id, `${name}-${at}.okta.com`)
      living.set(made.place.owner, made)
      const [victim] = living.values()
      if (at % 2 === 0 || victim === undefined || !living.delete(victim.place.owner)) continue
      await inTransaction(database, async (trx) => {
        await trx.deleteFrom('integration_configs').where('id', '=', victim.place.owner).execute()
        await shred(trx, victim.place.owner)
      })
    }
  }
  // One server was started with the new order of keys, one was not yet.
  const servers = Promise.all([server('new', vault), server('old', oldVault)])
  const first = await rotateEnvelopes(database, vault, actor, { batchSize: 5 })
  isOver = true
  await servers
  const last = await rotateEnvelopes(database, vault, actor, { batchSize: 5 })
  assert.deepEqual([first.broken, last.broken, last.remaining], [[], [], {}])
  assert.deepEqual(await keyIdsInUse(database.query), ['new'])
  await assertAllOpen(database, await openVault(database, [keys.new]), [...living.values()])
})

test('a rotation goes on when its connections are cut', async (t) => {
  const { database, vault, sealed } = await open(t, { configs: 30 })
  let cuts = 0
  const rotation = await rotateEnvelopes(database, vault, actor, {
    batchSize: 5,
    onProgress: () => {
      cuts += 1
      database.pool
        .query(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
        .catch(() => undefined)
    },
  })
  assert.ok(cuts > 5)
  // A batch whose commit was not confirmed may have been counted by nobody.
  assert.ok(rotation.rewrapped <= 30)
  assert.deepEqual([rotation.broken, rotation.remaining], [[], {}])
  await assertAllOpen(database, vault, sealed)
})

test('a rotation to a key that was retired meanwhile stops, and one that is told to stop does', async (t) => {
  const { database, vault } = await open(t, { configs: 3 })
  await assert.rejects(rotateEnvelopes(database, vault, actor, { signal: AbortSignal.abort() }), {
    name: 'AbortError',
  })
  await database.query
    .updateTable('vault_keys')
    .set({ retired_at: new Date() })
    .where('id', '=', 'new')
    .execute()
  await assert.rejects(rotateEnvelopes(database, vault, actor), { code: 'retired', keyId: 'new' })
  assert.deepEqual(await keyIdsInUse(database.query), ['old'])
})
