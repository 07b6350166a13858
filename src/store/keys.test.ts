import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { freshDatabase, openedDatabase } from '../../test/fresh-database.ts'
import { findAuditEvents } from './audit.ts'
import type { Database } from './database.ts'
import { openKeyRing } from './key-ring.ts'
import { createAccessToken, createKey, listKeys, revokeKey } from './keys.ts'
import { createOrganization, listOrganizations, organizationId } from './organizations.ts'

const read = ['integrations_read']

/** A ring whose clock the test moves, and how many statements it has sent. */
function ringOn(t: TestContext, database: Database) {
  let nowMs = 0
  const { mock } = t.mock.method(database.pool, 'query')
  const keys = openKeyRing(database, { monotonicMs: () => nowMs })
  return {
    keys,
    statements: () => mock.callCount(),
    /** Once the last statement is answered and what follows from it is done. */
    async settled() {
      await new Promise(setImmediate)
      await mock.calls.at(-1)?.result
      await new Promise(setImmediate)
    },
    pass: (ms: number) => {
      nowMs += ms
    },
  }
}

test('a key pair is hexadecimal, shown once, and kept as hashes', async (t) => {
  const database = await freshDatabase(t)
  const made = await createKey({ database, permissions: read, name: 'laptop' })
  assert.match(made.api_key, /^[0-9a-f]{32}$/)
  assert.match(made.application_key, /^[0-9a-f]{40}$/)
  const { rows } = await database.pool.query('select keys::text as all from keys')
  const audit = JSON.stringify(await findAuditEvents(database.query, { limit: 10 }))
  for (const secret of [made.api_key, made.application_key])
    assert.ok(!rows[0].all.includes(secret) && !audit.includes(secret))
  assert.partialDeepStrictEqual(await listKeys({ database }), [
    {
      id: made.id,
      kind: 'pair',
      name: 'laptop',
      organization: { name: 'default', id: organizationId('default') },
      permissions: ['integrations_read'],
      prefix: made.api_key.slice(0, 6),
      revokedAt: undefined,
    },
  ])
})

test('only both keys of one pair belong together', async (t) => {
  const database = await freshDatabase(t)
  const one = await createKey({ database, permissions: read, organization: 'one' })
  const two = await createKey({ database, permissions: ['siem_entities_read'], organization: 'two' })
  const { keys } = ringOn(t, database)
  for (const round of ['from the database', 'from memory']) {
    assert.equal((await keys.findPair(one.api_key, one.application_key))?.organization.name, 'one', round)
    assert.equal(await keys.findPair(one.api_key, two.application_key), undefined, round)
    assert.equal(await keys.findPair(one.application_key, one.api_key), undefined, round)
    assert.equal(await keys.findPair(one.api_key, ''), undefined, round)
    assert.equal(await keys.findPair('', ''), undefined, round)
    assert.equal((await keys.findApiKey(two.api_key))?.id, two.id, round)
    assert.equal(await keys.findApiKey(two.application_key), undefined, round)
    assert.equal(await keys.findAccessToken(one.api_key), undefined, round)
    assert.equal(await keys.findAccessToken(one.application_key), undefined, round)
  }
})

test('an access token stands alone, and is no API key', async (t) => {
  const database = await freshDatabase(t)
  const personal = await createAccessToken({ database, permissions: read, kind: 'personal_access_token' })
  const service = await createAccessToken({ database, permissions: read, kind: 'service_access_token' })
  assert.match(personal.access_token, /^ddpat_[\w-]{40}$/)
  assert.match(service.access_token, /^ddsat_[\w-]{40}$/)
  const { keys } = ringOn(t, database)
  assert.equal((await keys.findAccessToken(personal.access_token))?.kind, 'personal_access_token')
  assert.equal((await keys.findAccessToken(service.access_token))?.kind, 'service_access_token')
  assert.equal(await keys.findApiKey(personal.access_token), undefined)
  assert.equal(await keys.findPair(personal.access_token, ''), undefined)
})

test('a role stands for its permissions; what is neither is refused with the list of both', async (t) => {
  const database = await freshDatabase(t)
  await createKey({ database, permissions: ['read-only'] })
  await createKey({ database, permissions: ['read-only', 'admin', 'integrations_read'] })
  assert.deepEqual(
    (await listKeys({ database })).map(({ permissions }) => [...permissions].sort()),
    [
      ['integrations_read', 'siem_entities_read'],
      ['integrations_read', 'manage_integrations', 'siem_entities_read'],
    ],
  )
  await assert.rejects(
    createKey({ database, permissions: ['integrations_read', 'constructor'] }),
    /no such permission: constructor; there are integrations_read, manage_integrations, siem_entities_read, read-only, admin/,
  )
  await assert.rejects(createKey({ database, permissions: [] }), /no permission given/)
  for (const organization of [' ', 'a\0b', 'x'.repeat(201), '\ud800'])
    await assert.rejects(createKey({ database, permissions: read, organization }), { name: 'KeysError' })
  await assert.rejects(createKey({ database, permissions: read, name: 'a\nb' }), { name: 'KeysError' })
  for (const id of ['nobody', 'a0000000-0000-4000-8000-000000000000', "' or true --"])
    await assert.rejects(revokeKey({ database, id }), /no key has this id/)
  assert.equal((await listKeys({ database })).length, 2)
})

test('a revoked key is refused everywhere within two seconds of use, and works no more than that', async (t) => {
  const database = await freshDatabase(t)
  const other = await openedDatabase(t, database.url)
  const made = await createKey({ database, permissions: read })
  const { keys, pass } = ringOn(t, other)
  assert.ok(await keys.findPair(made.api_key, made.application_key))
  await revokeKey({ database, id: made.id })
  await revokeKey({ database, id: made.id.toUpperCase() })
  pass(2_000)
  assert.equal(await keys.findPair(made.api_key, made.application_key), undefined)
  assert.equal(await keys.findApiKey(made.api_key), undefined)
  const events = await findAuditEvents(database.query, { action: 'key.revoke', limit: 10 })
  assert.deepEqual(
    events.map(({ actor, target, outcome }) => ({ actor, target, outcome })),
    [{ actor: 'cli', target: made.id, outcome: 'succeeded' }],
  )
})

test('a key in use is read again in passing, once a second, and nobody waits for it', async (t) => {
  const database = await freshDatabase(t)
  const made = await createKey({ database, permissions: read })
  const { keys, pass, settled, statements } = ringOn(t, database)
  const find = () => keys.findPair(made.api_key, made.application_key)
  assert.ok(find() instanceof Promise)
  assert.ok(await find())
  for (let second = 0; second < 10; second += 1) {
    for (let request = 0; request < 100; request += 1) {
      const found = find()
      assert.ok(found !== undefined && !(found instanceof Promise))
    }
    const sent = statements()
    pass(1_000)
    find()
    await settled()
    assert.equal(statements(), sent + 1)
  }
  assert.equal(statements(), 11)
})

test('thousands of texts that are no key cost a few statements, and no key its place', async (t) => {
  const database = await freshDatabase(t)
  const made = await createKey({ database, permissions: read })
  const { keys, statements } = ringOn(t, database)
  assert.ok(await keys.findApiKey(made.api_key))
  const tried = Array.from({ length: 5_000 }, (_, guess) => keys.findApiKey(`guess ${guess}`))
  assert.deepEqual(new Set(await Promise.all(tried)), new Set([undefined]))
  assert.ok(statements() < 20, String(statements()))
  assert.ok(!(keys.findApiKey(made.api_key) instanceof Promise))
  assert.equal(keys.findApiKey('guess 4999'), undefined)
})

test('while the database is away a key is believed for two seconds, then nobody can tell', async (t) => {
  const database = await freshDatabase(t)
  const made = await createKey({ database, permissions: read })
  const { keys, pass } = ringOn(t, database)
  assert.ok(await keys.findApiKey(made.api_key))
  const { mock } = t.mock.method(database.pool, 'query', async () => {
    throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  })
  pass(1_999)
  assert.equal((await keys.findApiKey(made.api_key))?.id, made.id)
  pass(1)
  await assert.rejects(async () => keys.findApiKey(made.api_key), { name: 'DatabaseUnavailable' })
  await assert.rejects(async () => keys.findApiKey('a stranger'), { name: 'DatabaseUnavailable' })
  mock.restore()
  assert.equal((await keys.findApiKey(made.api_key))?.id, made.id)
})

test('an organisation is the same under name and id, made by a key, a token or the operator', async (t) => {
  const database = await freshDatabase(t)
  const { keys } = ringOn(t, database)
  const [first, again] = await Promise.all([keys.organization('acme'), keys.organization('acme')])
  assert.deepEqual(first, { id: organizationId('acme'), name: 'acme' })
  assert.deepEqual(again, first)
  const made = await createKey({ database, permissions: read, organization: first.id })
  assert.deepEqual((await keys.findApiKey(made.api_key))?.organization, first)
  assert.deepEqual(await keys.organization(first.id), first)
  await assert.rejects(createOrganization(database, { name: ' acme ', actor: { id: 'cli' } }), {
    name: 'OrganizationError',
  })
  await createOrganization(database, { name: 'other', actor: { id: 'cli' } })
  assert.deepEqual(
    (await listOrganizations(database)).map(({ name }) => name),
    ['acme', 'other'],
  )
  const events = await findAuditEvents(database.query, { action: 'organization.create', limit: 10 })
  assert.deepEqual(
    events.map(({ actor, organization_id }) => [actor, organization_id]),
    [
      ['system', organizationId('acme')],
      ['cli', organizationId('other')],
    ],
  )
})

test('a name in the form of an id never reaches the organisation that has the id', async (t) => {
  const database = await freshDatabase(t)
  const id = organizationId('acme')
  await database.query
    .insertInto('organizations')
    .values({ id: organizationId('x'), name: id })
    .execute()
  await createOrganization(database, { name: 'acme', actor: { id: 'cli' } })
  const { keys } = ringOn(t, database)
  assert.equal((await keys.organization(id)).name, 'acme')
})

test('no key is lost when many are made at once for an organisation that is new', async (t) => {
  const database = await freshDatabase(t)
  const made = await Promise.all(
    Array.from({ length: 30 }, () => createKey({ database, permissions: read, organization: 'new' })),
  )
  assert.deepEqual(
    new Set((await listKeys({ database })).map(({ id }) => id)),
    new Set(made.map(({ id }) => id)),
  )
  assert.equal((await listOrganizations(database)).length, 1)
})
