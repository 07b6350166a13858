/** Datadog's client reads entities: pages, moments, single ones, and typed errors. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { createKey } from '../../src/store/keys.ts'
import { type Api, organizationOf, startApi } from '../api-server.ts'
import { idOf, type MadeConfig, makeConfig, person, writeHistory } from '../entity-world.ts'
import { datadogClient, refusalOf } from './datadog-client.ts'

const now = new Date()
const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000)

let api: Api
let organizationId: string
let config: MadeConfig
const ends: (() => unknown)[] = []
before(async () => {
  api = await startApi({ after: (end) => ends.push(end) }, { permissions: ['siem_entities_read'] })
  organizationId = await organizationOf(api)
  config = await makeConfig(api.database, organizationId, 'okta', 'acme.okta.com')
  const others = Array.from({ length: 250 }, (_, n) => ({
    config,
    entity: person(`p${n}`),
    from: daysAgo(9),
  }))
  await writeHistory(
    api.database,
    organizationId,
    [
      {
        config,
        entity: person('ada', { department: 'Sales' }),
        from: daysAgo(9),
        to: daysAgo(2),
        lastSeen: daysAgo(3),
      },
      { config, entity: person('ada', { department: 'Research' }), from: daysAgo(2), roles: ['Super Admin'] },
      ...others,
    ],
    daysAgo(1),
  )
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

const client = (keys = { apiKey: api.keys.api_key, applicationKey: api.keys.application_key }) =>
  datadogClient({ origin: api.url, keys }).securityMonitoring

test('who somebody is, with its revisions as the client types them', async () => {
  const { data, meta } = await client().getEntityContext({ query: 'ada@example.com' })
  assert.deepEqual([meta.totalCount, meta.page.nextToken], [1, ''])
  const [entity] = data
  assert.ok(entity)
  assert.deepEqual([entity.type, entity.additionalProperties], ['siem_entity_identity', undefined])
  const { revisions } = entity.attributes
  assert.deepEqual(
    revisions.map(({ attributes, firstSeenAt, lastSeenAt }) => [
      attributes.department,
      firstSeenAt.getTime(),
      lastSeenAt.getTime(),
    ]),
    [
      ['Sales', daysAgo(9).getTime(), daysAgo(3).getTime()],
      ['Research', daysAgo(2).getTime(), daysAgo(1).getTime()],
    ],
  )
  assert.deepEqual(revisions.at(-1)?.attributes.roles, ['Super Admin'])
})

test('every entity once over all pages, with the count of all on each', async () => {
  const seen: string[] = []
  let pageToken: string | undefined
  do {
    const { data, meta } = await client().getEntityContext({ limit: 100, ...(pageToken && { pageToken }) })
    assert.equal(meta.totalCount, 251)
    seen.push(...data.map(({ id }) => id))
    pageToken = meta.page.nextToken
  } while (pageToken !== '')
  assert.deepEqual([seen.length, new Set(seen).size], [251, 251])
})

test('moments in every form, and stretches of time', async () => {
  const departments = async (asked: { asOf?: string; from?: string; to?: string }) =>
    (await client().getEntityContext({ query: 'user:ada', ...asked })).data.flatMap(({ attributes }) =>
      attributes.revisions.map((revision) => revision.attributes.department),
    )
  for (const asOf of ['now-4d', daysAgo(4).toISOString(), String(Math.floor(daysAgo(4).getTime() / 1_000))])
    assert.deepEqual(await departments({ asOf }), ['Sales'])
  assert.deepEqual(await departments({ asOf: 'now', from: 'now-7d', to: 'now' }), ['Research'])
  assert.deepEqual(await departments({ from: 'now-9d', to: 'now-3d' }), ['Sales'])
  assert.deepEqual(await departments({ asOf: 'now-1w-3d' }), [])
})

test('one entity by its id, and a typed 404 for one that is not there', async () => {
  const id = idOf(organizationId, { config, entity: person('ada') })
  const { data } = await client().getSingleEntityContext({ id, asOf: 'now-4d' })
  assert.deepEqual([data.id, data.attributes.revisions.length], [id, 1])
  const missing = randomUUID()
  assert.partialDeepStrictEqual(await refusalOf(client().getSingleEntityContext({ id: missing })), {
    code: 404,
    errors: [`not_found(Entity with ID ${missing} not found)`],
  })
})

test('faults are typed errors that name the parameter', async () => {
  for (const [asked, error] of [
    [{ query: 'department:' }, 'query: expected a value after "department:" at position 11'],
    [{ asOf: 'now', from: 'now-1d' }, 'as_of: expected no from and no to beside it'],
    [{ from: 'now-1x' }, 'from: expected one of the units s, m, h, d, w at position 5'],
    [{ limit: 0 }, 'limit: expected a whole number from 1 to 1000'],
    [{ pageToken: 'x' }, 'page_token: expected a token of an earlier answer to the same query'],
  ] as const)
    assert.partialDeepStrictEqual(await refusalOf(client().getEntityContext(asked)), {
      code: 400,
      errors: [error],
    })
})

test('strangers, and keys without the permission, get the typed 403s', async () => {
  const other = await createKey({ database: api.database, permissions: ['integrations_read'] })
  const nobody = client({ apiKey: '0'.repeat(32), applicationKey: '0'.repeat(40) })
  assert.partialDeepStrictEqual(await refusalOf(nobody.getEntityContext({})), {
    code: 403,
    errors: ['Forbidden'],
  })
  const unentitled = client({ apiKey: other.api_key, applicationKey: other.application_key })
  assert.partialDeepStrictEqual(await refusalOf(unentitled.getEntityContext({})), {
    code: 403,
    errors: ['Forbidden', 'Failed permission authorization checks'],
  })
})
