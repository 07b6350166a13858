/** The database goes away and comes back while the server runs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headersOf, startApi } from './api-server.ts'
import { newWay } from './database-way.ts'
import { freshDatabaseUrl } from './fresh-database.ts'

test('while the database is away nobody is taken for a stranger, and it all works again by itself', async (t) => {
  const way = await newWay(t)
  const api = await startApi(t, { config: { databaseUrl: way.through(await freshDatabaseUrl()) } })
  const checkKeys = () => api.call({ path: '/api/v2/validate_keys', headers: headersOf(api) })
  const statusOf = async (path: string) => (await api.call({ path })).status
  assert.equal((await checkKeys()).status, 200)

  await way.close()
  const seen = new Set<number>()
  for (let status = 0; status !== 503; seen.add(status)) status = (await checkKeys()).status
  assert.ok([...seen].every((status) => status === 200 || status === 503))
  const refused = await checkKeys()
  assert.equal(refused.status, 503)
  assert.equal(refused.headers['content-type'], 'application/json')
  assert.ok(Number(refused.headers['retry-after']) > 0)
  assert.match((refused.json() as { errors: string[] }).errors[0] ?? '', /database cannot be used/)
  const stranger = { 'dd-api-key': 'x', 'dd-application-key': 'y' }
  assert.equal((await api.call({ path: '/api/v2/validate_keys', headers: stranger })).status, 503)
  await t.waitFor(async () => assert.equal(await statusOf('/readyz'), 503), { timeout: 10_000 })
  assert.equal(await statusOf('/healthz'), 200)
  assert.match(api.log(), /the database does not answer/)

  await way.reopen()
  await t.waitFor(async () => assert.equal((await checkKeys()).status, 200), { timeout: 10_000 })
  await t.waitFor(async () => assert.equal(await statusOf('/readyz'), 200), { timeout: 10_000 })
  assert.match(api.log(), /the database answers again/)
})

test('a database that does not answer holds nobody up for long', async (t) => {
  const way = await newWay(t)
  const api = await startApi(t, { config: { databaseUrl: way.through(await freshDatabaseUrl()) } })
  way.stall()
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, at) =>
      api.call({
        path: '/api/v2/validate_keys',
        headers: { 'dd-api-key': `unknown ${at}`, 'dd-application-key': 'x' },
      }),
    ),
  )
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([503]))
  await t.waitFor(async () => assert.equal((await api.call({ path: '/readyz' })).status, 503), {
    timeout: 10_000,
  })
  await way.close()
  await way.reopen()
  await t.waitFor(
    async () =>
      assert.equal((await api.call({ path: '/api/v2/validate_keys', headers: headersOf(api) })).status, 200),
    { timeout: 10_000 },
  )
})
