import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { createAcme } from '../../test/acme-source.ts'
import { freshDatabase } from '../../test/fresh-database.ts'
import { createSources } from '../sources/registry.ts'
import { findAuditEvents } from './audit.ts'
import { inTransaction } from './database.ts'
import { noOperatorCredentials, type OperatorCredentials } from './operator.ts'
import { createOperatorCredentials } from './operator-credentials.ts'
import { ensureOrganization, type Organization } from './organizations.ts'
import {
  bindRegistration,
  createRegistration,
  listRegistrations,
  RegistrationError,
  removeRegistration,
  unbindRegistration,
} from './registrations.ts'
import { unsealedSince } from './unsealings.ts'
import { openVault } from './vault-keys.ts'

const { source: acme } = createAcme()
const sources = [...createSources(), acme]
const sourceOf = (name: string) => sources.find((source) => source.name === name) ?? acme
const actor = { id: 'cli' }

const app = {
  tenant_id: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
  client_id: '3f0c9a5e-6f0b-4c0f-9d2f-1a3f2b7c9d10',
  client_secret: 'planted-client-secret',
}
const keyFile = {
  type: 'service_account',
  client_email: 'sync@ours.iam.gserviceaccount.com',
  client_id: '103984',
  private_key: 'planted-private-key',
}

async function open(t: TestContext, file: OperatorCredentials = noOperatorCredentials) {
  const database = await freshDatabase(t)
  const vault = await openVault(database, [{ id: 'one', key: randomBytes(32) }])
  const [one, two] = await inTransaction(database, async (trx) => [
    await ensureOrganization(trx, 'one', actor),
    await ensureOrganization(trx, 'two', actor),
  ])
  assert.ok(one && two)
  const create = (source: string, name: string, entry: unknown) =>
    createRegistration(database, vault, actor, { source: sourceOf(source), name, entry })
  const bind = (registration: string, organization: string, domain: string, replace = false) =>
    bindRegistration(database, actor, sources, { registration, organization, domain }, { replace })
  const operator = createOperatorCredentials({ database, vault, sources, file })
  const entry = (key: string, organization: Organization, domain: string) =>
    operator.entryFor(key, organization, domain, { id: 'key:1', address: '192.0.2.1' })
  return { database, one, two, create, bind, operator, entry }
}

test('credentials of each source are sealed whole; what is no secret is shown', async (t) => {
  const { database, create } = await open(t)
  const made = [
    await create('entra-id', 'production', { ...app, cloud: 'us-gov', ignored: 'x' }),
    await create('google-workspace', 'production', { service_account: JSON.stringify(keyFile) }),
    await create('google-workspace', 'spare', { service_account: keyFile }),
  ]
  const listed = await listRegistrations(database.query)
  assert.deepEqual(
    listed.map(({ createdAt: _, ...rest }) => rest),
    [
      {
        id: made[0]?.id,
        source: 'entra-id',
        name: 'production',
        attributes: { tenant_id: app.tenant_id, client_id: app.client_id, cloud: 'us-gov' },
        bindings: [],
      },
      ...['production', 'spare'].map((name, at) => ({
        id: made[at + 1]?.id,
        source: 'google-workspace',
        name,
        attributes: { client_email: keyFile.client_email, client_id: keyFile.client_id },
        bindings: [],
      })),
    ],
  )
  for (const table of ['registrations', 'envelopes', 'audit_events']) {
    const { rows } = await database.pool.query(`select ${table}::text as row from ${table}`)
    assert.ok(rows.length > 0)
    assert.ok(!rows.some(({ row }) => row.includes('planted')), table)
  }
})

test('what is no complete credentials is refused without being repeated, and nothing is kept', async (t) => {
  const { database, create } = await open(t)
  await create('entra-id', 'taken', app)
  const cases: readonly (readonly [source: string, name: string, entry: unknown, message: RegExp])[] = [
    ['entra-id', 'a', { ...app, client_secret: 7 }, /^client_secret: /],
    [
      'entra-id',
      'a',
      { ...app, client_secret: ' ' },
      /^these are no complete credentials of Microsoft Entra/,
    ],
    ['entra-id', 'a', 'planted', /^the credentials: /],
    ['google-workspace', 'a', { service_account: 'planted' }, /expected Service account key$/],
    [
      'google-workspace',
      'a',
      { service_account: { ...keyFile, private_key: '' } },
      /no complete credentials/,
    ],
    ['okta', 'a', { api_token: 'planted' }, /^Okta takes no credentials of the operator$/],
    ['entra-id', ' ', app, /^the name of a registration has 1 to 200 characters/],
    ['entra-id', 'a\nb', app, /^the name of a registration/],
    ['entra-id', 'taken', app, /^there is a registration of this name for Microsoft Entra ID$/],
  ]
  for (const [source, name, entry, message] of cases)
    await assert.rejects(create(source, name, entry), (error: Error) => {
      assert.ok(error instanceof RegistrationError, String(error))
      assert.match(error.message, message)
      assert.ok(!error.message.includes('planted'))
      return true
    })
  assert.equal((await listRegistrations(database.query)).length, 1)
  assert.equal((await database.query.selectFrom('envelopes').select('owner_id').execute()).length, 1)
})

test('a registration serves what it is bound to; another organisation gets what it gets for any domain', async (t) => {
  const { one, two, create, bind, entry } = await open(t)
  const { id } = await create('entra-id', 'ours', app)
  assert.deepEqual(await bind('ours', 'one', 'ACME.com'), {
    registrationId: id,
    organization: one,
    domain: 'acme.com',
  })
  assert.deepEqual(await entry('entra_id', one, 'acme.com'), app)
  for (const [key, organization, domain] of [
    ['entra_id', two, 'acme.com'],
    ['entra_id', one, 'other.com'],
    ['entra_id', { id: randomUUID(), name: 'one' }, 'acme.com'],
    ['google_workspace', one, 'acme.com'],
  ] as const)
    assert.equal(await entry(key, organization, domain), undefined)
})

test('that it was opened, by whom and for whom, is in the audit trail; what opened nothing is not', async (t) => {
  const { database, one, two, create, bind, entry, operator } = await open(t)
  const { id } = await create('entra-id', 'ours', app)
  await bind('ours', 'one', 'acme.com')
  await entry('entra_id', two, 'acme.com')
  await operator.servicesFor('entra_id', one)
  const since = new Date(0)
  for await (const unsealing of unsealedSince(database.query, since)) assert.fail(unsealing.ownerId)
  await entry('entra_id', one, 'acme.com')
  for await (const unsealing of unsealedSince(database.query, since))
    assert.partialDeepStrictEqual(unsealing, {
      actor: 'key:1',
      address: '192.0.2.1',
      reason: 'validation',
      ownerId: id,
      type: 'registration:entra-id',
      organizationId: one.id,
    })
})

test('the store comes before the file, which serves what the store does not', async (t) => {
  const { one, create, bind, entry, operator } = await open(t, {
    entryFor: (key, { name }, domain) => ({ key, name, domain }),
    servicesFor: () => [{ attributes: { client_id: 'of the file' }, domains: ['other.com'] }],
  })
  await create('entra-id', 'ours', app)
  await bind('ours', one.id, 'acme.com')
  assert.deepEqual(await entry('entra_id', one, 'acme.com'), app)
  assert.deepEqual(await entry('entra_id', one, 'other.com'), {
    key: 'entra_id',
    name: 'one',
    domain: 'other.com',
  })
  assert.deepEqual(await operator.servicesFor('entra_id', one), [
    { attributes: { tenant_id: app.tenant_id, client_id: app.client_id }, domains: ['acme.com'] },
    { attributes: { client_id: 'of the file' }, domains: ['other.com'] },
  ])
})

test('a bound registration whose secrets are gone is not replaced by what the file holds', async (t) => {
  const { database, one, create, bind, entry } = await open(t, {
    entryFor: () => app,
    servicesFor: () => [],
  })
  const { id } = await create('entra-id', 'ours', app)
  await bind('ours', 'one', 'acme.com')
  await database.query.deleteFrom('envelopes').execute()
  await assert.rejects(entry('entra_id', one, 'acme.com'), {
    message: `the registration ${id} has no secrets`,
  })
})

test('a domain of an organisation is served by one registration, until it is replaced or unbound', async (t) => {
  const { database, one, create, bind, entry } = await open(t)
  await create('entra-id', 'first', app)
  await create('entra-id', 'second', { ...app, client_secret: 'newer' })
  await bind('first', 'one', 'acme.com')
  await bind('first', 'one', 'acme.com')
  await assert.rejects(bind('second', 'one', 'acme.com'), /another registration serves acme.com/)
  assert.deepEqual(await entry('entra_id', one, 'acme.com'), app)
  await bind('second', 'one', 'acme.com', true)
  assert.partialDeepStrictEqual(await entry('entra_id', one, 'acme.com'), { client_secret: 'newer' })

  const request = { organization: 'one', domain: 'acme.com' }
  const unbind = (registration: string) =>
    unbindRegistration(database, actor, sources, { ...request, registration })
  await assert.rejects(unbind('first'), /does not serve acme.com/)
  await unbind('second')
  assert.equal(await entry('entra_id', one, 'acme.com'), undefined)
  const events = await findAuditEvents(database.query, { organizationId: one.id, limit: 100 })
  assert.deepEqual(
    events.map(({ action }) => action).filter((action) => action.startsWith('registration.')),
    ['registration.bind', 'registration.bind', 'registration.bind', 'registration.unbind'],
  )
})

test('what cannot be bound is refused', async (t) => {
  const { create, bind } = await open(t)
  await create('entra-id', 'ours', app)
  await create('google-workspace', 'both', { service_account: keyFile })
  const { id } = await create('entra-id', 'both', app)
  await assert.rejects(bind('nobody', 'one', 'acme.com'), /no registration of this name or id/)
  await assert.rejects(bind(randomUUID(), 'one', 'acme.com'), /no registration of this name or id/)
  await assert.rejects(bind('ours', 'nobody', 'acme.com'), /no organisation of this name or id/)
  await assert.rejects(bind('ours', 'one', 'not a domain'), RegistrationError)
  await assert.rejects(bind('both', 'one', 'acme.com'), /several registrations have this name/)
  await bind(id, 'one', 'acme.com')
})

test('a registration is removed with its secrets, and not while it serves anything', async (t) => {
  const { database, create, bind } = await open(t)
  const { id } = await create('entra-id', 'ours', app)
  await bind('ours', 'one', 'acme.com')
  await assert.rejects(removeRegistration(database, actor, 'ours'), /still serves 1 domain: unbind it first/)
  const request = { registration: id, organization: 'one', domain: 'acme.com' }
  await unbindRegistration(database, actor, sources, request)
  assert.deepEqual(await removeRegistration(database, actor, 'ours'), { id })
  assert.deepEqual(await listRegistrations(database.query), [])
  assert.deepEqual(await database.query.selectFrom('envelopes').select('owner_id').execute(), [])
  await assert.rejects(removeRegistration(database, actor, 'ours'), /no registration/)
})

test('whoever binds and whoever removes at once leave no binding without a registration', async (t) => {
  const { database, create, bind } = await open(t)
  for (let round = 0; round < 10; round += 1) {
    await create('entra-id', `${round}`, app)
    const [bound, removed] = await Promise.allSettled([
      bind(`${round}`, 'one', `acme-${round}.com`),
      removeRegistration(database, actor, `${round}`),
    ])
    assert.notEqual(bound.status, removed.status)
    for (const outcome of [bound, removed])
      assert.ok(outcome.status === 'fulfilled' || outcome.reason instanceof RegistrationError)
  }
})
