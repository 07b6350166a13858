/** `credence webhooks`, against a real receiver. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Webhook as Verifier } from 'standardwebhooks'
import { inTransaction } from '../src/store/database.ts'
import { eventTypes } from '../src/store/webhook-events.ts'
import { disableWebhook } from '../src/store/webhooks.ts'
import { receiverHost, startWorld } from './jobs-world.ts'
import { runCommand } from './running-command.ts'

async function open(t: TestContext) {
  const world = await startWorld(t)
  const folder = await mkdtemp(join(tmpdir(), 'credence-webhooks-'))
  t.after(() => rm(folder, { recursive: true }))
  const endpoints = join(folder, 'endpoints.json')
  const authority = join(folder, 'ca.pem')
  await writeFile(endpoints, JSON.stringify(world.options.endpoints))
  await writeFile(authority, world.options.authority)
  const run = (...args: string[]) =>
    runCommand(t, ['webhooks', ...args], {
      DATABASE_URL: world.options.databaseUrl,
      CREDENCE_VAULT_KEY: `test:${world.options.vaultKey}`,
      CREDENCE_ENDPOINTS: endpoints,
      NODE_EXTRA_CA_CERTS: authority,
    })
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout)
  }
  return { world, run, json }
}

test('a webhook is added, tried out, listed without its secret, and removed', async (t) => {
  const { world, run, json } = await open(t)
  const url = `https://${receiverHost}/hook`
  const added = await json('add', url, '--organization', world.organization.name)
  assert.match(added.secret, /^whsec_[A-Za-z0-9+/=]{44}$/)
  assert.equal(added.organization, world.organization.id)
  assert.deepEqual(added.events, eventTypes)

  assert.deepEqual(await json('test', added.id), { delivered: true, status: 204 })
  const [told] = world.receiver.told
  const message = new Verifier(added.secret).verify(told?.body ?? '', told?.headers as Record<string, string>)
  assert.partialDeepStrictEqual(message, { type: 'webhook.test', data: { webhook_id: added.id } })

  const listed = await run('list')
  assert.match(listed.stdout, new RegExp(added.id))
  assert.doesNotMatch(listed.stdout, /whsec/)
  assert.deepEqual((await json('list', '--organization', world.organization.id)).webhooks.length, 1)

  await json('remove', added.id)
  assert.deepEqual(await json('list'), { webhooks: [] })
  const actions = ['webhook.create', 'webhook.remove']
  for (const action of actions) assert.equal((await world.audit(action))[0]?.actor, 'cli')
})

test('what a receiver does not take is told as such', async (t) => {
  const { world, run } = await open(t)
  const { webhook } = await world.webhook()
  world.receiver.answer(() => 500)
  const { code, stdout, stderr } = await run('test', webhook.id)
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /the receiver answered 500/)
})

test('dead deliveries are listed, and tried anew when asked', async (t) => {
  const { world, json } = await open(t)
  const { webhook } = await world.webhook(['integration_config.state_changed'])
  await world.config('valid-1')
  await world.config('valid-2')
  const [first] = await world.deliveries()
  await world.database.query
    .updateTable('webhook_deliveries')
    .set({ state: 'dead', next_attempt_at: null, ended_at: new Date(), attempts: 11, last_status: 503 })
    .where('id', '=', first?.id ?? '')
    .execute()
  const { deliveries } = await json('deliveries', '--dead')
  assert.partialDeepStrictEqual(deliveries, [
    { id: `msg_${first?.id}`, webhook: webhook.id, state: 'dead', attempts: 11, last_status: 503 },
  ])
  assert.equal((await json('deliveries', '--webhook', webhook.id)).deliveries.length, 2)
  await inTransaction(world.database, (transaction) =>
    disableWebhook(transaction, webhook, { id: 'test' }, 'it is a test'),
  )
  assert.deepEqual(await json('enable', webhook.id), { id: webhook.id })
  assert.equal((await json('list')).webhooks[0].enabled, true)
  assert.deepEqual(await json('redeliver', webhook.id), { deliveries: 1 })
  assert.deepEqual(await json('deliveries', '--dead'), { deliveries: [] })
})

test('wrong arguments are refused in words', async (t) => {
  const { world, run } = await open(t)
  const organization = ['--organization', world.organization.id]
  for (const [args, status, words] of [
    [['add', 'http://hooks.example.com/', ...organization], 2, /https:\/\//],
    [['add', 'https://10.0.0.1/', ...organization], 2, /IP address/],
    [['add', 'https://hooks.example.com/', '--events', 'everything'], 2, /state_changed/],
    [['add', 'https://hooks.example.com/', '--organization', 'nobody'], 1, /no organisation/],
    [['remove', 'x'], 1, /no webhook/],
  ] as const) {
    const { code, stderr } = await run(...args)
    assert.equal(code, status, args.join(' '))
    assert.match(stderr, words)
  }
})
