/** Webhooks are told what happened, signed, until they take it; and nothing but public https is ever asked. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Webhook as Verifier } from 'standardwebhooks'
import { systemRequester } from '../src/configs/requester.ts'
import { nextAttempt } from '../src/jobs/delivery.ts'
import { urlFault } from '../src/jobs/webhook-request.ts'
import { createOutbound } from '../src/outbound/outbound.ts'
import { inTransaction } from '../src/store/database.ts'
import { redeliver, removeWebhook } from '../src/store/webhooks.ts'
import { openNode } from './jobs-node.ts'
import { receiverHost, startWorld, undone, until, type World } from './jobs-world.ts'

test('a change of state is told with a signature that the standard library accepts', async (t) => {
  const world = await startWorld(t)
  const { secret } = await world.webhook()
  const id = await world.config('valid', 'Acme of Paris')
  await (await world.node.start()).started

  const told = await until(() => world.receiver.told[0])
  assert.equal(told.path, '/hook')
  assert.equal(told.headers.host, receiverHost)
  assert.match(told.headers['content-type'] ?? '', /^application\/json/)
  const message = new Verifier(secret).verify(told.body, told.headers as Record<string, string>)
  assert.partialDeepStrictEqual(message, {
    type: 'integration_config.state_changed',
    data: {
      id,
      integration_type: 'ACME',
      name: 'Acme of Paris',
      from: 'initializing',
      to: 'valid',
      causes: [],
    },
  })
  assert.throws(() =>
    new Verifier(`whsec_${Buffer.alloc(32).toString('base64')}`).verify(
      told.body,
      told.headers as Record<string, string>,
    ),
  )
  const delivered = await ended(world)
  assert.partialDeepStrictEqual(delivered, { state: 'delivered', attempts: 1, last_status: 204 })
  assert.equal(told.headers['webhook-id'], `msg_${delivered.id}`)
  // Opened for it, and recorded.
  const [opened] = await world.audit('vault.unseal')
  assert.ok(opened !== undefined)
  assert.doesNotMatch(world.log(), new RegExp(secret.slice(6, 40).replace(/[+/]/g, '.')))
})

test('what did not happen is not told', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  const id = await world.config('valid')
  const [told] = await world.deliveries()
  await undone(world.database, async (transaction) => {
    const { announceStateChange } = await import('../src/jobs/announcements.ts')
    await announceStateChange(
      {
        configId: id,
        organizationId: world.organization.id,
        integrationType: 'ACME',
        domain: 'acme.example',
        name: '',
        from: 'valid',
        to: 'invalid',
        reason: [],
        at: new Date(),
      },
      transaction,
    )
  })
  assert.deepEqual(
    (await world.deliveries()).map((one) => one.id),
    [told?.id],
  )
})

test('only the events that were asked for are told, and only to the organisation whose they are', async (t) => {
  const world = await startWorld(t)
  await world.webhook(['integration_config.expiring'])
  await world.config('valid')
  assert.deepEqual(await world.deliveries(), [])
})

test('a receiver that fails is asked again under the same id, until it takes it', async (t) => {
  const world = await startWorld(t)
  const { secret } = await world.webhook()
  world.receiver.answer(() => (world.receiver.told.length < 2 ? 500 : 200))
  await world.config('valid')
  await (await world.node.start()).started

  for (const round of [1, 2]) {
    const row = await until(async () => (await world.deliveries()).find(({ attempts }) => attempts === round))
    assert.equal(row.state, 'waiting')
    assert.equal(row.last_status, 500)
    assert.ok((row.next_attempt_at?.getTime() ?? 0) > Date.now())
    await makeDue(world)
  }
  assert.partialDeepStrictEqual(await ended(world), { state: 'delivered', attempts: 3, last_status: 200 })
  const ids = world.receiver.told.map(({ headers }) => headers['webhook-id'])
  assert.equal(new Set(ids).size, 1)
  for (const { body, headers } of world.receiver.told)
    new Verifier(secret).verify(body, headers as Record<string, string>)
})

test('what nobody takes for about a day is dead, is listed, and can be tried anew', async (t) => {
  const world = await startWorld(t)
  const { webhook } = await world.webhook()
  world.receiver.answer(() => 503)
  await world.config('valid')
  await world.database.query.updateTable('webhook_deliveries').set({ attempts: 10 }).execute()
  await (await world.node.start()).started
  assert.partialDeepStrictEqual(await ended(world), { state: 'dead', attempts: 11, last_status: 503 })

  world.receiver.answer(() => 200)
  assert.equal(await redeliver(world.database, { id: 'test' }, webhook), 1)
  assert.partialDeepStrictEqual(
    await until(async () => (await world.deliveries()).find(({ state }) => state === 'delivered')),
    {
      attempts: 1,
    },
  )
})

test('the attempts take about a day, further apart each time', () => {
  const at = new Date()
  const waits: number[] = []
  for (let attempts = 1; ; attempts += 1) {
    const next = nextAttempt(attempts, at, 0, () => 0.5)
    if (next === undefined) break
    waits.push((next.getTime() - at.getTime()) / 3_600_000)
  }
  const hours = waits.reduce((sum, wait) => sum + wait, 0)
  assert.ok(hours > 18 && hours < 26, `${hours}`)
  assert.deepEqual(
    waits,
    waits.toSorted((one, other) => one - other),
  )
  assert.equal(nextAttempt(1, at, 3600, () => 0.5)?.getTime(), at.getTime() + 3_600_000)
})

test('410 disables the webhook, and what waits for it ends', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  world.receiver.answer(() => 410)
  await world.config('valid-1')
  await world.config('valid-2')
  await (await world.node.start()).started
  const rows = await until(async () => {
    const all = await world.deliveries()
    return all.every(({ state }) => state === 'dead') ? all : undefined
  })
  assert.equal(rows.length, 2)
  const webhook = await world.database.query.selectFrom('webhooks').selectAll().executeTakeFirstOrThrow()
  assert.equal(webhook.enabled, false)
  assert.equal((await world.audit('webhook.disable')).length, 1)
  await world.config('valid-3')
  assert.equal((await world.deliveries()).length, 2)
})

test('a redirect is not followed and counts as a failure', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  world.receiver.answer(() => 302)
  await world.config('valid')
  await (await world.node.start()).started
  const row = await until(async () => (await world.deliveries()).find(({ attempts }) => attempts === 1))
  assert.equal(row.last_fault, 'redirected')
  assert.deepEqual(
    world.receiver.told.map(({ path }) => path),
    ['/hook'],
  )
})

test('a receiver that hangs holds up no other, and stopping gives its delivery back', async (t) => {
  const world = await startWorld(t)
  await world.webhook(['integration_config.state_changed'], '/hangs')
  await world.webhook(['integration_config.state_changed'], '/answers')
  world.receiver.answer(({ path }) => (path === '/hangs' ? 'hang' : 200))
  for (const n of [1, 2, 3, 4, 5]) await world.config(`valid-${n}`)
  const jobs = await world.node.start()
  await until(async () => (await world.deliveries()).filter(({ state }) => state === 'delivered').length >= 5)
  assert.ok(world.receiver.held() <= 2)
  await jobs.stop()
  const waiting = (await world.deliveries()).filter(({ state }) => state === 'waiting')
  assert.equal(waiting.length, 5)
  assert.ok(waiting.every(({ attempts }) => attempts === 0))
  assert.equal(
    waiting.filter((one) => (one.next_attempt_at ?? world.now()) <= world.now()).length,
    world.receiver.held(),
  )
})

test('a name that leads to this machine is never connected to', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  await world.config('valid')
  const dialled: string[] = []
  const asked: string[] = []
  const outbound = createOutbound({
    limits: { customerFailureMs: 20 },
    resolve: async (host) => {
      asked.push(host)
      return ['127.0.0.1']
    },
    dial: (address) => {
      dialled.push(address)
      throw new Error('dialled')
    },
  })
  const node = await openNode(world.options, { outbound })
  t.after(() => node.close())
  await (await node.start()).started
  const row = await until(async () => (await world.deliveries()).find(({ attempts }) => attempts === 1))
  assert.equal(row.last_fault, 'unreachable')
  assert.deepEqual(asked, [receiverHost])
  assert.deepEqual(dialled, [])
})

test('a removed webhook takes its secret and its deliveries with it', async (t) => {
  const world = await startWorld(t)
  const { webhook } = await world.webhook()
  await world.config('valid')
  await removeWebhook(world.database, { id: 'test' }, webhook.id)
  assert.deepEqual(await world.deliveries(), [])
  const { query } = world.database
  const envelopes = await query
    .selectFrom('envelopes')
    .select('owner_id')
    .where('owner_id', '=', webhook.id)
    .execute()
  assert.deepEqual(envelopes, [])
})

test('a secret that does not open is a failure that ends, and is told to the operator', async (t) => {
  const world = await startWorld(t)
  const { webhook } = await world.webhook()
  await world.config('valid')
  await inTransaction(world.database, (transaction) =>
    transaction
      .updateTable('envelopes')
      .set({ sealed: Buffer.alloc(64, 1) })
      .where('owner_id', '=', webhook.id)
      .execute(),
  )
  await (await world.node.start()).started
  const row = await until(async () => (await world.deliveries()).find(({ attempts }) => attempts === 1))
  assert.equal(row.last_fault, 'vault_sealed')
  assert.equal(world.node.troubles.length, 1)
  assert.deepEqual(world.receiver.told, [])
})

test('addresses of webhooks are public https in their plain form', () => {
  for (const url of [
    'https://hooks.example.com',
    'https://hooks.example.com/a/b?c=d',
    'https://a-b.example.co.uk/',
  ])
    assert.equal(urlFault(url), undefined, url)
  for (const url of [
    'http://hooks.example.com/',
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://0x7f.1/',
    'https://localhost/',
    'https://hooks.example.com:8443/',
    'https://user:password@hooks.example.com/',
    'https://hooks.example.com\\@evil.example/',
    'https://HOOKS.example.com/',
    'https://hooks.example.com/#part',
    'https://hooks.example.com./',
    'https://hooks.example.com/\u0000',
    'https://hooks。example.com/',
    `https://hooks.example.com/${'a'.repeat(2_000)}`,
    'ftp://hooks.example.com/',
    '//hooks.example.com/',
    '',
  ])
    assert.notEqual(urlFault(url), undefined, url)
})

test('no text makes the check of an address fail', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl()), (text) => {
      urlFault(text)
    }),
  )
})

test('a change goes to the webhooks in the transaction of the change, also from an update', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  await world.webhook()
  world.provider.behave(() => 401)
  await assert.rejects(
    world.node.configs.update(systemRequester(world.organization), id, { secrets: { api_token: 'other' } }),
  )
  assert.deepEqual(await world.deliveries(), [])
  await world.node.configs.validateStored(systemRequester(world.organization), id)
  const [told] = await world.deliveries()
  assert.partialDeepStrictEqual(JSON.parse(told?.body ?? ''), {
    data: { from: 'valid', to: 'invalid', causes: ['acme_token_rejected'] },
  })
})

const ended = (world: World) =>
  until(async () => (await world.deliveries()).find(({ ended_at }) => ended_at !== null))

const makeDue = (world: World) =>
  world.database.query
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: new Date() })
    .where('state', '=', 'waiting')
    .execute()
