import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { freshDatabase, openedDatabase } from '../../test/fresh-database.ts'
import { someoneWaits } from '../../test/lock-waits.ts'
import { createVault, type Place, type VaultKey } from '../vault/vault.ts'
import { findAuditEvents } from './audit.ts'
import { type Database, inTransaction } from './database.ts'
import { openSecrets, sealSecrets, shred } from './envelopes.ts'
import { keyIdsInUse, openVault, retireVaultKey } from './vault-keys.ts'

const key = (id: string): VaultKey => ({ id, key: randomBytes(32) })
const actor = { id: 'cli' }

const anyPlace = (): Place => ({
  organization: '',
  owner: randomUUID(),
  type: 'registration:okta',
  domain: '',
})

const registered = async ({ query }: Database) =>
  (await query.selectFrom('vault_keys').select('id').orderBy('id').execute()).map(({ id }) => id)

test('a database starts again with its key, and with another key of that id never', async (t) => {
  const database = await freshDatabase(t)
  const one = key('one')
  const place = anyPlace()
  const vault = await openVault(database, [one])
  await inTransaction(database, (trx) => sealSecrets(trx, vault, place, { a: 'b' }))

  const again = await openVault(database, [one])
  assert.deepEqual(await inTransaction(database, (trx) => openSecrets(trx, again, place, actor, 'test')), {
    a: 'b',
  })
  await assert.rejects(openVault(database, [key('one')]), {
    name: 'VaultKeysError',
    message: 'the vault key one is not the key that was used under this id',
  })
})

test('a missing key is named, and so is every other fault; a refused start registers nothing', async (t) => {
  const database = await freshDatabase(t)
  const [one, two] = [key('one'), key('two')]
  for (const sealing of [one, two]) {
    const vault = await openVault(database, [sealing, ...[one, two].filter((other) => other !== sealing)])
    await inTransaction(database, (trx) => sealSecrets(trx, vault, anyPlace(), { a: 'b' }))
  }
  await assert.rejects(openVault(database, [key('three')]), {
    message:
      'the vault key one is missing: stored secrets are sealed with it; the vault key two is missing: stored secrets are sealed with it',
  })
  await assert.rejects(openVault(database, [key('three'), key('two')]), {
    message:
      'the vault key two is not the key that was used under this id; the vault key one is missing: stored secrets are sealed with it',
  })
  assert.deepEqual(await registered(database), ['one', 'two'])
  assert.deepEqual(await keyIdsInUse(database.query), ['one', 'two'])
})

test('a key is retired only when nothing is sealed with it, and then no server starts with it', async (t) => {
  const database = await freshDatabase(t)
  const [one, two] = [key('one'), key('two')]
  const place = anyPlace()
  const old = await openVault(database, [one])
  await inTransaction(database, (trx) => sealSecrets(trx, old, place, { a: 'b' }))
  await openVault(database, [two, one])

  await assert.rejects(retireVaultKey(database, actor, 'one'), {
    name: 'RetireRefused',
    message: 'the vault key one is still in use: 1 envelope needs it; run `credence rotate-key` first',
  })
  await assert.rejects(retireVaultKey(database, actor, 'three'), { name: 'RetireRefused' })

  await inTransaction(database, (trx) => shred(trx, place.owner))
  await retireVaultKey(database, actor, 'one')
  await retireVaultKey(database, actor, 'one')
  for (const keys of [[two, one], [one, two], [one]] as const)
    await assert.rejects(openVault(database, keys), {
      message: /the vault key one was retired: take it out of the configured keys/,
    })
  assert.deepEqual((await openVault(database, [two])).keyIds, ['two'])
  const retired = await findAuditEvents(database.query, { action: 'vault_key.retire', limit: 10 })
  assert.deepEqual(
    retired.map(({ target, actor: by }) => [target, by]),
    [['one', 'cli']],
  )
})

test('a server that still runs with a retired key seals nothing with it', async (t) => {
  const database = await freshDatabase(t)
  const stale = await openVault(database, [key('one')])
  await openVault(database, [key('two')])
  await retireVaultKey(database, actor, 'one')
  await assert.rejects(
    inTransaction(database, (trx) => sealSecrets(trx, stale, anyPlace(), { a: 'b' })),
    { name: 'VaultError', code: 'retired', keyId: 'one' },
  )
  await assert.rejects(
    inTransaction(database, (trx) => sealSecrets(trx, createVault([key('never')]), anyPlace(), { a: 'b' })),
    { code: 'retired', keyId: 'never' },
  )
  assert.deepEqual(await keyIdsInUse(database.query), [])
})

test('whoever retires a key waits for what is being sealed with it, and then refuses', async (t) => {
  const database = await freshDatabase(t)
  const vault = await openVault(database, [key('one')])
  const { promise: sealed, resolve: tellSealed } = Promise.withResolvers<void>()
  const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>()
  const sealing = inTransaction(database, async (trx) => {
    await sealSecrets(trx, vault, anyPlace(), { a: 'b' })
    tellSealed()
    await mayCommit
  })
  await sealed
  const retiring = assert.rejects(retireVaultKey(database, actor, 'one'), /1 envelope needs it/)
  await someoneWaits(database)
  commit()
  await Promise.all([sealing, retiring])
})

test('twenty nodes may start at once, and of two that differ in a key one is refused', async (t) => {
  const database = await freshDatabase(t)
  const nodes = await Promise.all(Array.from({ length: 5 }, () => openedDatabase(t, database.url)))
  const node = (at: number) => nodes[at % nodes.length] ?? database
  const keys = [key('one'), key('two'), key('three')] as const
  await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      openVault(node(at), at % 2 === 0 ? keys : [keys[2], keys[0], keys[1]]),
    ),
  )
  assert.deepEqual(await registered(database), ['one', 'three', 'two'])

  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, at) => openVault(node(at), [key('four')])),
  )
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
})
