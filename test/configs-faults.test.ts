/** Configurations when things go wrong at the worst moment: lost databases, late verdicts, broken envelopes, many hands at once, hostile input. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { systemRequester } from '../src/configs/requester.ts'
import { createAcme } from './acme-source.ts'
import { type Answer, type ConfigsServerOptions, startConfigsServer } from './configs-server.ts'

async function start(t: TestContext, options: Partial<ConfigsServerOptions> = {}) {
  const acme = createAcme()
  const server = await startConfigsServer(t, {
    outbound: acme.outbound,
    sources: [acme.source],
    ...options,
  })
  return { acme, server, client: await server.client() }
}

const acmeConfig = (api_token: string, more: object = {}) => ({
  integration_type: 'ACME',
  domain: 'acme.example',
  name: 'Acme',
  secrets: { api_token },
  ...more,
})

const ok = (answer: Answer) => {
  assert.equal(answer.status, 200, answer.text)
  return answer.body.data
}

/** Until a request has reached the provider. */
async function reached(acme: ReturnType<typeof createAcme>, token: string) {
  while (!acme.reached.includes(token)) await turn()
}

test('a database that is lost between proof and storing leaves nothing behind, and is found again', async (t) => {
  const { acme, server, client } = await start(t)
  const creating = client.create(acmeConfig('hang'))
  await reached(acme, 'hang')
  await server.cut()
  acme.release()
  const lost = await creating
  assert.equal(lost.status, 503, lost.text)
  assert.match(lost.body.errors[0], /database/)
  assert.ok(Number(lost.headers['retry-after']) > 0)
  for (const [method, path] of [
    ['GET', ''],
    ['GET', '/00000000-0000-4000-8000-000000000000'],
    ['DELETE', '/00000000-0000-4000-8000-000000000000'],
    ['POST', '/acme/activate'],
    ['POST', '/acme/deactivate'],
    ['GET', '/entra_id/azure_app_registrations'],
  ] as const)
    assert.ok([503, 200].includes((await client.call(method, path)).status), `${method} ${path}`)
  await server.mend()
  assert.deepEqual((await client.call('GET')).body, { data: [] })
  const { rows } = await server.admin.query('select count(*)::int as count from envelopes')
  assert.equal(rows[0].count, 0)
  ok(await client.create(acmeConfig('valid')))
})

test('a database that is lost during an update leaves the old secrets in force', async (t) => {
  const { acme, server, client } = await start(t)
  const { id } = ok(await client.create(acmeConfig('valid')))
  const before = (await server.admin.query('select * from envelopes')).rows
  const updating = client.patch(id, { name: 'New', secrets: { api_token: 'hang' } })
  await reached(acme, 'hang')
  await server.cut()
  acme.release()
  assert.equal((await updating).status, 503)
  await server.mend()
  assert.equal(ok(await client.call('GET', `/${id}`)).attributes.name, 'Acme')
  assert.deepEqual((await server.admin.query('select * from envelopes')).rows, before)
})

for (const [what, change] of [
  ['secrets that were replaced', { secrets: { api_token: 'valid' } }],
  ['more than is required', { settings: {} }],
] as const)
  test(`a verdict on ${what} meanwhile is dropped`, async (t) => {
    const { acme, server, client } = await start(t)
    const creating = client.create(acmeConfig('hang', { settings: { require: ['users'] } }))
    await reached(acme, 'hang')
    acme.release()
    const { id } = ok(await creating)
    acme.reached.length = 0
    const late = server.configs.revalidate(id, 'schedule')
    await reached(acme, 'hang')
    ok(await client.patch(id, change))
    const { meta } = (await client.call('GET', `/${id}?include=report`)).body
    acme.release()
    assert.deepEqual(await late, { kind: 'done', verdict: 'valid' })
    assert.deepEqual((await client.call('GET', `/${id}?include=report`)).body.meta, meta)
  })

test('what is removed while it is validated stays removed', async (t) => {
  const { acme, server, client } = await start(t)
  const creating = client.create(acmeConfig('hang'))
  await reached(acme, 'hang')
  acme.release()
  const { id } = ok(await creating)
  acme.reached.length = 0
  const updating = client.patch(id, { secrets: { api_token: 'hang again' } })
  await reached(acme, 'hang again')
  assert.equal((await client.call('DELETE', `/${id}`)).status, 204)
  acme.release()
  assert.equal((await updating).status, 404)
  const { rows } = await server.admin.query('select count(*)::int as count from envelopes')
  assert.equal(rows[0].count, 0)
})

test('secrets that were replaced while a change waited are not sent to the domain of the old ones', async (t) => {
  const acme = createAcme()
  const sent: string[] = []
  const { server, client } = await start(t, {
    sources: [acme.source],
    outbound: {
      open: (rules, signal) => {
        const http = acme.outbound.open(rules, signal)
        return {
          ...http,
          request(request) {
            sent.push(`${request.headers?.authorization} to ${new URL(request.url).host}`)
            return http.request(request)
          },
        }
      },
    },
  })
  const { id } = ok(await client.create(acmeConfig('valid old')))
  const waiting = async (count: number) => {
    const query =
      "select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while ((await server.admin.query(query)).rows[0].count < count) await turn()
  }
  const holder = await server.admin.connect()
  await holder.query('begin')
  await holder.query('select from integration_configs where id = $1 for update', [id])
  const moving = client.patch(id, { domain: 'b.example', secrets: { api_token: 'valid new' } })
  await waiting(1)
  const raising = client.patch(id, { settings: { require: ['users'] } })
  await waiting(2)
  await holder.query('commit')
  holder.release()
  ok(await moving)
  const { attributes } = ok(await raising)
  assert.deepEqual([attributes.domain, attributes.settings], ['b.example', { require: ['users'] }])
  assert.deepEqual(new Set(sent), new Set(['valid old to acme.example', 'valid new to b.example']))
})

test('of twenty changes at once none is lost', async (t) => {
  const { server, client } = await start(t)
  const { id } = ok(await client.create(acmeConfig('valid')))
  const changes = [
    { name: 'Renamed' },
    { enabled: false },
    { settings: { require: ['users'], note: 'kept' } },
    { secrets: { api_token: 'valid too' } },
  ]
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => client.patch(id, changes[at % 4] ?? {})),
  )
  for (const answer of answers) ok(answer)
  const { attributes } = ok(await client.call('GET', `/${id}`))
  assert.equal(attributes.name, 'Renamed')
  assert.equal(attributes.enabled, false)
  assert.deepEqual(attributes.settings, { require: ['users'], note: 'kept' })
  const { rows } = await server.admin.query(
    "select count(*)::int as count from audit_events where action = 'integration_config.update' and outcome = 'succeeded'",
  )
  assert.equal(rows[0].count, 20)
})

test('secrets are opened only with a record of who did it and why', async (t) => {
  const { acme, server, client } = await start(t)
  const { id } = ok(await client.create(acmeConfig('valid')))
  ok(await client.patch(id, { settings: { require: ['users'] } }))
  assert.equal((await client.call('POST', `/${id}/validate`)).status, 200)
  await server.configs.revalidate(id, 'schedule')
  const { rows } = await server.admin.query(
    "select actor, target, outcome, details->>'reason' as reason from audit_events where action = 'vault.unseal' order by id",
  )
  assert.deepEqual(
    rows.map(({ actor, target, outcome, reason }) => [actor.replace(/:.*/, ''), target, outcome, reason]),
    [
      ['key', id, 'succeeded', 'update'],
      ['key', id, 'succeeded', 'validate'],
      ['system', id, 'succeeded', 'schedule'],
    ],
  )
  await server.admin.query(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'the trail is full'; end $$;
    create trigger refuse before insert on audit_events for each row execute function refuse()`)
  acme.reached.length = 0
  assert.equal((await client.call('POST', `/${id}/validate`)).status, 500)
  assert.equal((await client.call('DELETE', `/${id}`)).status, 500)
  assert.equal((await client.patch(id, { name: 'unseen' })).status, 500)
  assert.equal((await client.create(acmeConfig('valid', { domain: 'b.example' }))).status, 500)
  assert.deepEqual(acme.reached, ['valid'])
  await server.admin.query('drop trigger refuse on audit_events')
  assert.equal(ok(await client.call('GET', `/${id}`)).attributes.name, 'Acme')
  assert.equal((await client.call('GET')).body.data.length, 1)
})

test('an envelope that was changed or moved does not open, and new secrets mend it', async (t) => {
  const { acme, server, client } = await start(t)
  const { id } = ok(await client.create(acmeConfig('valid')))
  const other = ok(await client.create(acmeConfig('valid other', { domain: 'b.example' }))).id
  acme.reached.length = 0
  await server.admin.query(
    'update envelopes set sealed = o.sealed, wrapped_key = o.wrapped_key from envelopes o where envelopes.owner_id = $1 and o.owner_id = $2',
    [id, other],
  )
  const sealed = await client.call('POST', `/${id}/validate`)
  assert.equal(sealed.status, 503)
  assert.match(sealed.body.errors[0], /vault key/)
  assert.deepEqual(await server.configs.revalidate(id, 'schedule'), { kind: 'sealed' })
  assert.equal((await client.patch(id, { settings: { require: ['users'] } })).status, 503)
  // Nor does it follow a row to another domain.
  await server.admin.query("update integration_configs set domain = 'c.example' where id = $1", [other])
  assert.equal((await client.call('POST', `/${other}/validate`)).status, 503)
  assert.deepEqual(acme.reached, [])
  assert.equal(server.troubles.length, 4)
  assert.equal(ok(await client.call('GET', `/${id}`)).attributes.state, 'valid')
  const { rows } = await server.admin.query(
    "select count(*)::int as count from audit_events where action = 'vault.unseal' and outcome = 'failed'",
  )
  assert.equal(rows[0].count, 4)
  ok(await client.patch(id, { secrets: { api_token: 'valid' } }))
  assert.equal((await client.call('POST', `/${id}/validate`)).status, 200)
})

test('guesses by way of configurations are as few as by way of validation', async (t) => {
  const { acme, client } = await start(t, { unprovenAttempts: 2, targetLimit: 6 })
  const { id } = ok(await client.create(acmeConfig('valid')))
  const statuses = []
  for (let guess = 0; guess < 4; guess += 1) {
    const answer = await client.patch(id, { secrets: { api_token: `guess ${guess}` } })
    statuses.push([answer.status, answer.headers['x-ratelimit-name']])
  }
  assert.deepEqual(statuses, [
    [400, 'validations'],
    [400, 'validations'],
    [429, 'unproven_attempts'],
    [429, 'unproven_attempts'],
  ])
  assert.equal((await client.call('POST', `/${id}/validate`)).status, 200)
  const limited = await client.call('POST', `/${id}/validate`)
  assert.deepEqual([limited.status, limited.headers['x-ratelimit-name']], [429, 'validations_per_target'])
  assert.deepEqual(acme.reached, ['valid', 'guess 0', 'guess 1', 'valid'])
})

test("the operator's credentials serve none but those they are bound to, nor stand in for a missing secret", async (t) => {
  const bound = { attributes: {}, domains: ['a.example'], entry: { token: 'valid of the operator' } }
  const { acme, server, client } = await start(t, {
    operator: (_, organization) => (organization === 'bound' ? [bound] : []),
  })
  const organization = { id: '6a0a3c1e-3f5c-4c43-9f0e-0b2f1d1f8a11', name: 'bound' }
  await server.admin.query('insert into organizations (id, name) values ($1, $2)', [
    organization.id,
    organization.name,
  ])
  const served = await server.client({ organization })
  const secrets = { admin: 'root' }
  const asked = { integration_type: 'ACME', domain: 'a.example', name: 'x', secrets }
  assert.equal((await client.create(asked)).status, 400)
  const { id } = ok(await served.create({ ...asked, secrets: { api_token: 'valid own' } }))
  acme.reached.length = 0
  assert.equal((await served.patch(id, { secrets })).status, 400)
  assert.deepEqual(acme.reached, [])
})

test('no body, however odd, is answered by a failure of ours', async (t) => {
  const { client } = await start(t)
  const { id } = ok(await client.create(acmeConfig('valid')))
  const anything = fc.oneof(
    { weight: 3, arbitrary: fc.jsonValue() },
    fc.constantFrom('\u0000', '\ud800', '__proto__', 1e308, -0, '', 'x'.repeat(300), []),
  )
  const attributes = fc.record(
    {
      domain: fc.oneof(fc.constant('acme.example'), anything),
      integration_type: fc.oneof(fc.constant('ACME'), anything),
      name: fc.oneof(fc.string({ unit: 'binary' }), anything),
      enabled: fc.oneof(fc.boolean(), anything),
      secrets: fc.oneof(fc.constant({ api_token: 'valid' }), anything),
      settings: fc.oneof(fc.dictionary(fc.string({ unit: 'binary' }), anything), anything),
    },
    { requiredKeys: [] },
  )
  const routes = fc.constantFrom<[string, string]>(
    ['POST', ''],
    ['PATCH', `/${id}`],
    ['POST', '/acme/activate'],
    ['POST', '/acme/deactivate'],
    ['POST', `/${id}/validate`],
    ['PATCH', '/no-such-id'],
  )
  await fc.assert(
    fc.asyncProperty(routes, attributes, async ([method, path], given) => {
      const answer = await client.call(method, path, given)
      assert.ok([200, 400, 404].includes(answer.status), answer.text)
      if (answer.status !== 200)
        assert.ok(answer.body.errors.every((text: unknown) => typeof text === 'string'))
    }),
    { numRuns: 600 },
  )
  const odd = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webPath(),
    fc.constantFrom('%00', '%ff', '..', '%2f'),
  )
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('GET', 'DELETE', 'PATCH'), odd, async (method, name) => {
      const path = `/${encodeURI(name.toWellFormed()).replaceAll('#', '')}`
      const answer = await client.call(method, path)
      assert.ok(answer.status < 500, answer.text)
    }),
    { numRuns: 200 },
  )
})

test('a server that validates all it can says so, and takes it for no attempt', async (t) => {
  const { acme, server, client } = await start(t, { validationsAtOnce: 1 })
  const { id } = ok(await client.create(acmeConfig('valid')))
  const creating = client.create(acmeConfig('hang', { domain: 'hang.acme.example' }))
  await reached(acme, 'hang')
  for (const answer of [
    await client.call('POST', `/${id}/validate`),
    await client.create(acmeConfig('valid', { domain: 'other.acme.example' })),
    await client.patch(id, { secrets: { api_token: 'valid' } }),
  ]) {
    assert.equal(answer.status, 503, answer.text)
    assert.match(answer.body.errors[0], /validations of this source/)
    assert.ok(Number(answer.headers['retry-after']) > 0)
    assert.notEqual(answer.headers['x-ratelimit-name'], 'unproven_attempts')
  }
  assert.equal((await server.configs.revalidate(id, 'test')).kind, 'put_off')
  acme.release()
  ok(await creating)
  assert.equal((await client.call('POST', `/${id}/validate`)).status, 200)
})

test('an activation goes on as long as somebody waits for it, and no longer', async (t) => {
  const acme = createAcme()
  const { operator } = acme.source
  assert.ok(operator !== undefined)
  const source = {
    ...acme.source,
    operator: { ...operator, needed: ({ apiToken }: { apiToken?: string | undefined }) => !apiToken },
  }
  const server = await startConfigsServer(t, {
    outbound: acme.outbound,
    sources: [source],
    operator: () => [{ attributes: {}, domains: ['a.example'], entry: { token: 'hang' } }],
  })
  const { organization } = await server.client()
  const activate = (signal: AbortSignal) =>
    server.configs.activate({ ...systemRequester(organization), signal }, 'acme', {})
  const joined = async (...waiting: AbortController[]) => {
    while (waiting.some(({ signal }) => getEventListeners(signal, 'abort').length === 0)) await turn()
  }
  const [first, second, third, fourth] = [1, 2, 3, 4].map(() => new AbortController())
  assert.ok(first && second && third && fourth)

  const unwanted = [first, second].map(({ signal }) => assert.rejects(activate(signal), /not_proven/))
  await joined(first, second)
  await reached(acme, 'hang')
  first.abort()
  second.abort()
  await Promise.all(unwanted)

  acme.reached.splice(0)
  const made = Promise.all([third, fourth].map(({ signal }) => activate(signal)))
  await joined(third, fourth)
  await reached(acme, 'hang')
  third.abort()
  acme.release()
  const [one, other] = await made
  assert.equal(one?.id, other?.id)
  assert.equal(acme.reached.length, 1)
})
