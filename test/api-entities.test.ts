/** Who somebody is and was, over HTTP: the contract's routes and ours beside them. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { request } from 'undici'
import { errorSchema } from '../src/api/errors.ts'
import { createKey } from '../src/store/keys.ts'
import { type Answer, type Api, headersOf, startApi } from './api-server.ts'
import {
  entityType,
  idOf,
  type MadeConfig,
  type MadeRevision,
  makeConfig,
  makeOrganization,
  person,
  setClock,
  writeHistory,
} from './entity-world.ts'

const context = '/api/v2/security_monitoring/entity_context'
const entities = '/api/v2/credence/entities'

const now = new Date()
const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000)

interface Shown {
  readonly id: string
  readonly type: string
  readonly attributes: {
    readonly revisions: readonly {
      readonly attributes: Readonly<Record<string, unknown>>
      readonly first_seen_at: string
      readonly last_seen_at: string
    }[]
  }
}
interface PageDocument {
  readonly data: readonly Shown[]
  readonly meta: { readonly page: { readonly next_token: string }; readonly total_count: number }
}

interface World {
  readonly headers: Readonly<Record<string, string>>
  readonly organizationId: string
  readonly okta: MadeConfig
  readonly google: MadeConfig
  get(path: string, query?: Readonly<Record<string, string>>): Promise<Answer>
  page(query?: Readonly<Record<string, string>>): Promise<PageDocument>
  post(path: string, attributes: object): Promise<Answer>
  id(config: MadeConfig, entity: MadeRevision['entity']): string
}

const ada = person('ada', {
  full_name: 'Ada Lovelace',
  email_addr: 'ada@example.com',
  department: 'Sales EMEA',
})
const adaMoved = person('ada', {
  full_name: 'Ada Lovelace',
  email_addr: 'ada@example.com',
  department: 'Research',
})
const bob = person('bob', { full_name: 'Bob Byron', job_title: "O'Brien's \\ assistant" })
const admins = { kind: 'group', attributes: { uid: 'g-admins', name: 'Domain Admins' } } as const
const laptop = {
  kind: 'device',
  attributes: { uid: 'd1', hostname: 'lap-1', os: { name: 'Windows 11', version: '24H2' }, type: 'Laptop' },
} as const

let api: Api
const ends: (() => unknown)[] = []
before(async () => {
  api = await startApi({ after: (end) => ends.push(end) })
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** An organisation of its own, with two configurations. */
async function makeWorld(permissions: readonly string[] = ['siem_entities_read']): Promise<World> {
  const name = randomUUID()
  const keys = await createKey({ database: api.database, permissions, organization: name })
  const { id: organizationId } = await api.database.query
    .selectFrom('organizations')
    .select('id')
    .where('name', '=', name)
    .executeTakeFirstOrThrow()
  const headers = headersOf({ keys })
  const get: World['get'] = (path, query = {}) =>
    api.call({ path: `${path}?${new URLSearchParams(query)}`, headers })
  return {
    headers,
    organizationId,
    okta: await makeConfig(api.database, organizationId, 'okta', 'acme.okta.com'),
    google: await makeConfig(api.database, organizationId, 'google-workspace', 'example.com'),
    get,
    async page(query) {
      const answer = await get(context, query)
      assert.equal(answer.status, 200, answer.text)
      return answer.json() as PageDocument
    },
    post: (path, attributes) =>
      api.call({
        method: 'POST',
        path,
        headers,
        body: JSON.stringify({ data: { type: 'entity_lookup', attributes } }),
      }),
    id: (config, entity) => idOf(organizationId, { config, entity }),
  }
}

/** A few people, a group and a device, as they were over a month. */
async function makeOffice(): Promise<World> {
  const world = await makeWorld()
  const { okta, google } = world
  const inAdmins = [{ uid: 'g-admins', name: 'Domain Admins' }]
  await writeHistory(
    api.database,
    world.organizationId,
    [
      { config: okta, entity: ada, from: daysAgo(30), to: daysAgo(3), lastSeen: daysAgo(4) },
      {
        config: okta,
        entity: adaMoved,
        from: daysAgo(3),
        groups: inAdmins,
        roles: ['Super Admin'],
        hasMfa: true,
      },
      {
        config: google,
        entity: person('1001', { name: 'Ada@Example.com', email_addrs: ['ada@example.com'] }),
        from: daysAgo(20),
      },
      { config: okta, entity: bob, from: daysAgo(10), to: daysAgo(5) },
      { config: okta, entity: admins, from: daysAgo(30) },
      { config: okta, entity: laptop, from: daysAgo(2) },
    ],
    daysAgo(1),
  )
  return world
}

const departments = ({ attributes }: Shown) =>
  attributes.revisions.map((revision) => revision.attributes.department)

test('every route of entities refuses strangers, and callers without the permission', async () => {
  const { headers } = await makeWorld(['integrations_read', 'manage_integrations'])
  for (const [method, path] of [
    ['GET', context],
    ['GET', `${context}/recently_updated`],
    ['GET', `${context}/${randomUUID()}`],
    ['POST', `${entities}/lookup`],
    ['GET', `${entities}/${randomUUID()}/related`],
    ['GET', `${entities}/diff`],
    ['GET', `${entities}/export`],
    ['GET', `${entities}/changes`],
  ] as const) {
    const stranger = await api.call({ method, path })
    assert.equal(stranger.status, 403, path)
    assert.deepEqual(stranger.json(), { errors: ['Forbidden'] })
    const unentitled = await api.call({ method, path, headers })
    assert.equal(unentitled.status, 403, path)
    assert.deepEqual(unentitled.json(), { errors: ['Forbidden', 'Failed permission authorization checks'] })
  }
})

test('an organisation without entities has none, and that is an answer', async () => {
  const { get, page } = await makeWorld()
  const nothing = { data: [], meta: { page: { next_token: '' }, total_count: 0 } }
  assert.deepEqual(await page(), nothing)
  assert.deepEqual(await page({ query: 'ada' }), nothing)
  assert.deepEqual(await page({ query: 'ada@example.com' }), nothing)
  assert.deepEqual((await get(`${context}/recently_updated`)).json(), { data: [] })
  assert.deepEqual((await get(`${entities}/diff`, { from: 'now-1d' })).json(), {
    data: [],
    meta: { page: { next_token: '' } },
  })
  for (const path of ['export', 'changes']) assert.equal((await get(`${entities}/${path}`)).text, '')
})

test('shows what was known of a person in the last week, in the order of time', async () => {
  const { page, okta, id } = await makeOffice()
  const { data, meta } = await page({ query: 'lovelace' })
  assert.deepEqual(meta, { page: { next_token: '' }, total_count: 1 })
  const [shown] = data
  assert.deepEqual(shown, {
    id: id(okta, ada),
    type: 'siem_entity_identity',
    attributes: {
      revisions: [
        {
          attributes: { ...ada.attributes, domain: 'acme.okta.com', source: 'okta', config_id: okta.id },
          first_seen_at: daysAgo(30).toISOString(),
          last_seen_at: daysAgo(4).toISOString(),
        },
        {
          attributes: {
            ...adaMoved.attributes,
            domain: 'acme.okta.com',
            source: 'okta',
            config_id: okta.id,
            roles: ['Super Admin'],
            has_mfa: true,
            is_privileged: true,
            groups: [{ uid: 'g-admins', name: 'Domain Admins' }],
          },
          first_seen_at: daysAgo(3).toISOString(),
          last_seen_at: daysAgo(1).toISOString(),
        },
      ],
    },
  })
})

test('answers for a moment and for a stretch of time', async () => {
  const { page } = await makeOffice()
  const known = async (query: Readonly<Record<string, string>>) =>
    (await page({ query: 'lovelace', ...query })).data.map(departments)
  assert.deepEqual(await known({ as_of: 'now' }), [['Research']])
  assert.deepEqual(await known({ as_of: 'now-4d' }), [['Sales EMEA']])
  assert.deepEqual(await known({ as_of: daysAgo(4).toISOString() }), [['Sales EMEA']])
  assert.deepEqual(await known({ as_of: String(Math.floor(daysAgo(4).getTime() / 1000)) }), [['Sales EMEA']])
  assert.deepEqual(await known({ as_of: 'now-40d' }), [])
  assert.deepEqual(
    await known({ as_of: daysAgo(3).toISOString() }),
    [['Research']],
    'a revision begins at its time',
  )
  assert.deepEqual(await known({ from: 'now-2d' }), [['Research']])
  assert.deepEqual(await known({ from: 'now-9d', to: 'now-4d' }), [['Sales EMEA']])
  assert.deepEqual(
    await known({ as_of: 'now', from: 'now-7d', to: 'now' }),
    [['Research']],
    'defaults may be said',
  )
  const gone = await page({ query: 'byron', from: 'now-6d' })
  assert.equal(gone.meta.total_count, 1)
  assert.equal((await page({ query: 'byron', from: 'now-4d' })).meta.total_count, 0)
})

test('finds by every kind of word and field', async () => {
  const { page, get, okta, google, id } = await makeOffice()
  const inOkta = id(okta, ada)
  const inGoogle = id(google, person('1001'))
  const gone = id(okta, bob)
  for (const [query, ...expected] of [
    ['ADA@example.com', inOkta, inGoogle],
    ['email:ada@example.com', inOkta, inGoogle],
    ['user:ada', inOkta, inGoogle],
    ['id:1001', inGoogle],
    ['1001', inGoogle],
    ['"ada lovelace"', inOkta],
    ['name:love*', inOkta],
    ['department:"sales emea"', inOkta],
    ['department:sales department:emea', inOkta],
    ['department:sales department:research'],
    ['department:sales OR department:research', inOkta],
    ['group:"domain admins"', inOkta],
    ['group:g-admins', inOkta],
    ['admins', inOkta],
    ['group:admin*', inOkta],
    ['group:nobody'],
    ['role:"super admin"', inOkta],
    ['privileged:true', inOkta],
    ['mfa:true', inOkta],
    ['domain:example.com', inGoogle],
    ['domain:acme* -lovelace', gone],
    ['source:GOOGLE_WORKSPACE', inGoogle],
    ['status:active -source:okta', inGoogle],
    ['title:"O\'Brien\'s \\\\ assistant"', gone],
    ["title:o'brien's NOT (source:google-workspace OR lovelace)", gone],
    ['title:*', gone],
    ['', inOkta, inGoogle, gone],
    ['*', inOkta, inGoogle, gone],
  ] as const) {
    const { data, meta } = await page({ query })
    assert.deepEqual(
      data.map((one) => one.id),
      [...expected].sort(),
      query,
    )
    assert.equal(meta.total_count, expected.length, query)
  }
  const devices = await page({ query: 'lap-1', entity_type: entityType('device') })
  assert.deepEqual(
    devices.data.map(({ type }) => type),
    ['siem_entity_device'],
  )
  const groups = await page({ entity_type: entityType('group') })
  assert.equal(groups.data[0]?.attributes.revisions[0]?.attributes.name, 'Domain Admins')
  assert.equal((await get(`${context}/${id(okta, laptop)}`)).status, 200)
})

test('faults are told with their parameter and position', async () => {
  const { get } = await makeWorld()
  for (const [path, query, expected] of [
    [context, { query: 'department:' }, 'query: expected a value after "department:" at position 11'],
    [context, { query: 'ada (bob' }, 'query: expected ")" for the "(" of position 4 at position 8'],
    [
      context,
      { query: 'ada colour:red' },
      /^query: expected one of the fields email, user, .* at position 4$/,
    ],
    [context, { query: '"ada' }, 'query: expected a closing quote for that of position 0 at position 4'],
    [context, { query: 'mfa:maybe' }, 'query: expected true or false after "mfa:" at position 4'],
    [context, { query: 'x'.repeat(2_001) }, 'query: expected at most 2000 characters at position 2000'],
    [context, { query: 'a\0b' }, 'query: expected no control character at position 1'],
    [context, { from: 'now-7x' }, 'from: expected one of the units s, m, h, d, w at position 5'],
    [context, { to: 'soon' }, /^to: expected an RFC 3339 time such as /],
    [context, { as_of: '2026-02-30T00:00:00Z' }, 'as_of: expected a time that exists'],
    [context, { as_of: 'now', from: 'now-1d' }, 'as_of: expected no from and no to beside it'],
    [context, { from: 'now', to: 'now-1d' }, 'from: expected a time that is not after to'],
    [context, { limit: '1001' }, 'limit: expected a whole number from 1 to 1000'],
    [context, { limit: '0' }, 'limit: expected a whole number from 1 to 1000'],
    [
      context,
      { entity_type: 'robot' },
      /^entity_type: expected one of siem_entity_identity, siem_entity_group, siem_entity_device$/,
    ],
    [context, { page_token: 'abc' }, 'page_token: expected a token of an earlier answer to the same query'],
    [`${context}/recently_updated`, { limit: '101' }, 'limit: expected a whole number from 1 to 100'],
    [`${context}/recently_updated`, { revisions: 'some' }, 'revisions: expected latest or all'],
    [`${entities}/diff`, {}, 'from: missing; expected a time'],
    [`${entities}/changes`, { after: 'x' }, 'after: expected a cursor of an earlier line'],
    [`${entities}/export`, { format: 'csv' }, 'format: expected one of credence, ocsf'],
  ] as const) {
    const answer = await get(path, query)
    assert.equal(answer.status, 400, `${JSON.stringify(query)} ${answer.text}`)
    const [error = ''] = errorSchema.parse(answer.json()).errors
    if (typeof expected === 'string') assert.equal(error, expected)
    else assert.match(error, expected)
  }
})

test('what is no UTF-8 in percent-encoding is refused, and not looked for as it is written', async () => {
  const { headers } = await makeWorld()
  for (const text of ['query=%ff%fe', 'query=Andr%E9', 'query=%ed%a0%80', 'query=a%zz', 'other=%'])
    for (const path of [context, `${context}/recently_updated`, `${entities}/diff`]) {
      const answer = await api.call({ path: `${path}?${text}`, headers })
      assert.deepEqual(
        [answer.status, answer.json()],
        [400, { errors: ['query string: expected UTF-8 in percent-encoding'] }],
      )
    }
  assert.equal((await api.call({ path: `${context}?query=Andr%C3%A9+100%25`, headers })).status, 200)
})

test('unknown parameters are ignored', async () => {
  const { page } = await makeOffice()
  assert.deepEqual(
    await page({ query: 'lovelace', sort: 'name', 'page[limit]': '2' }),
    await page({ query: 'lovelace' }),
  )
})

test('one entity by its id; an id of nobody and of another organisation are not found alike', async () => {
  const { get, okta, id } = await makeOffice()
  const one = await get(`${context}/${id(okta, ada).toUpperCase()}`)
  assert.equal(one.status, 200)
  assert.deepEqual(departments((one.json() as { data: Shown }).data), ['Sales EMEA', 'Research'])
  const then = await get(`${context}/${id(okta, ada)}`, { as_of: 'now-4d' })
  assert.deepEqual(departments((then.json() as { data: Shown }).data), ['Sales EMEA'])
  assert.equal((await get(`${context}/${id(okta, bob)}`, { from: 'now-4d' })).status, 404, 'gone before')

  const otherOrganization = await makeOrganization(api.database)
  const other = await makeConfig(api.database, otherOrganization)
  await writeHistory(
    api.database,
    otherOrganization,
    [{ config: other, entity: person('theirs', { email_addr: 'ada@example.com' }), from: daysAgo(9) }],
    daysAgo(1),
  )
  const theirs = idOf(otherOrganization, { config: other, entity: person('theirs') })
  for (const missing of [theirs, randomUUID(), 'x', '..%2f..', 'recently-updated']) {
    for (const path of [`${context}/${missing}`, `${entities}/${missing}/related`]) {
      const answer = await get(path)
      assert.equal(answer.status, 404, path)
      const [error = ''] = errorSchema.parse(answer.json()).errors
      assert.match(error, /^not_found\(Entity with ID.* not found\)$/)
    }
  }
})

test("another organisation's entities are in no answer, whatever is asked", async () => {
  const { get, post } = await makeOffice()
  const canary = 'canary-of-the-others'
  const otherOrganization = await makeOrganization(api.database)
  // As if the first characters of both were the same.
  const other = await makeConfig(api.database, otherOrganization, 'okta', canary)
  await writeHistory(
    api.database,
    otherOrganization,
    [
      {
        config: other,
        entity: person('ada', {
          full_name: 'Ada Lovelace',
          department: canary,
          email_addr: 'ada@example.com',
        }),
        from: daysAgo(9),
        to: daysAgo(3),
      },
      {
        config: other,
        entity: person('ada', { full_name: 'Ada Lovelace', department: `${canary} 2` }),
        from: daysAgo(3),
      },
      {
        config: other,
        entity: { kind: 'group', attributes: { uid: 'g-admins', name: 'Domain Admins' } },
        from: daysAgo(9),
      },
    ],
    daysAgo(1),
  )
  await api.database.pool.query(
    `update entity_revisions set terms = array_to_tsvector(array(
      select replace(term, left(organization_id::text, 8), (select left(id::text, 8) from organizations where id <> $1 limit 1))
      from unnest(tsvector_to_array(terms)) as term)) where organization_id = $1`,
    [otherOrganization],
  )
  const answers = await Promise.all([
    ...[
      '',
      'ada@example.com',
      'lovelace',
      'group:admins',
      'admins',
      `department:${canary}`,
      `domain:${canary}`,
      '-mfa:true',
      'id:ada',
      '*',
    ].flatMap((query) => [
      get(context, { query, from: 'now-30d' }),
      get(`${context}/recently_updated`, { query, revisions: 'all', from: 'now-30d' }),
      get(`${entities}/diff`, { query, from: 'now-30d' }),
    ]),
    get(`${entities}/export`, {}),
    get(`${entities}/export`, { as_of: 'now-5d', format: 'ocsf' }),
    get(`${entities}/changes`),
    post(`${entities}/lookup`, { principals: ['ada@example.com', 'ada', canary] }),
  ])
  for (const { status, text } of answers) {
    assert.equal(status, 200, text)
    assert.ok(!text.replaceAll(/"(?:principal|unknown)":(?:"[^"]*"|\[[^\]]*\])/g, '').includes(canary), text)
  }
})

test('what was deleted with its configuration is not found, though its rows are still being removed', async () => {
  const { get, page, google, id, post } = await makeOffice()
  const gone = id(google, person('1001'))
  await api.database.pool.query('delete from integration_configs where id = $1', [google.id])
  assert.equal(
    (await api.database.pool.query('select from entity_revisions where entity_id = $1', [gone])).rowCount,
    1,
  )
  assert.equal((await get(`${context}/${gone}`)).status, 404)
  for (const query of [
    '',
    'ada@example.com',
    'user:ada@example.com',
    '-mfa:true',
    'id:1001',
    'domain:example.com',
  ]) {
    const { data, meta } = await page({ query })
    assert.ok(
      data.every((one) => one.id !== gone),
      query,
    )
    assert.equal(meta.total_count, data.length, query)
  }
  for (const answer of [
    await get(`${context}/recently_updated`, { from: 'now-30d' }),
    await get(`${entities}/diff`, { from: 'now-30d' }),
    await get(`${entities}/export`),
    await get(`${entities}/changes`),
    await post(`${entities}/lookup`, { principals: ['ada@example.com', '1001'] }),
  ])
    assert.ok(!answer.text.includes(gone), answer.text)
})

test('who was changed last comes first', async () => {
  const { get, okta, google, id } = await makeOffice()
  const recent = async (query: Readonly<Record<string, string>>) =>
    ((await get(`${context}/recently_updated`, query)).json() as { data: readonly Shown[] }).data
  const known = [id(okta, ada), id(okta, bob), id(google, person('1001'))]
  assert.deepEqual(
    (await recent({ from: 'now-25d' })).map((one) => one.id),
    known,
  )
  assert.deepEqual(
    (await recent({})).map((one) => one.id),
    known.slice(0, 1),
  )
  assert.deepEqual(
    (await recent({ from: 'now-25d', limit: '2' })).map((one) => one.id),
    known.slice(0, 2),
  )
  assert.deepEqual((await recent({ query: 'lovelace' })).map(departments), [['Research']])
  assert.deepEqual((await recent({ query: 'lovelace', revisions: 'all' })).map(departments), [
    ['Sales EMEA', 'Research'],
  ])
  assert.deepEqual(await recent({ query: 'department:sales' }), [], 'the last revision has to match')
  assert.deepEqual(Object.keys((await get(`${context}/recently_updated`)).json() as object), ['data'])
})

test('raw is shown on demand alone, and what happened later than the moment asked for is not', async () => {
  const { organizationId, okta, page } = await makeWorld()
  const signedIn = daysAgo(2).toISOString()
  const entity = {
    ...person(
      'eve',
      {},
      { last_login_time: signedIn, last_login_ip: '2001:DB8::1', last_seen_time: daysAgo(5).toISOString() },
    ),
    raw: { custom: 'field' },
  }
  await writeHistory(api.database, organizationId, [{ config: okta, entity, from: daysAgo(9) }], daysAgo(1))
  const attributes = async (query: Readonly<Record<string, string>>) =>
    (await page(query)).data[0]?.attributes.revisions[0]?.attributes ?? {}
  assert.equal((await attributes({})).raw, undefined)
  assert.deepEqual((await attributes({ include: 'raw' })).raw, { custom: 'field' })
  assert.equal((await attributes({ query: '2001:db8::1' })).last_login_time, signedIn)
  const before = await attributes({ as_of: 'now-3d' })
  assert.deepEqual(
    [before.last_login_time, before.last_login_ip, before.last_seen_time],
    [undefined, undefined, daysAgo(5).toISOString()],
  )
})

test('looks up many principals at once, says which are unknown, and chooses none of several', async () => {
  const { post, okta, google, id } = await makeOffice()
  const answer = await post(`${entities}/lookup`, {
    principals: ['Ada@Example.com', 'nobody@example.com', 'bob', '1001'],
  })
  assert.equal(answer.status, 200, answer.text)
  const { data, meta } = answer.json() as {
    data: { attributes: { principal: string; entities: Shown[] } }[]
    meta: { as_of: string; unknown: string[] }
  }
  assert.deepEqual(
    data.map(({ attributes }) => [attributes.principal, attributes.entities.map((one) => one.id)]),
    [
      ['Ada@Example.com', [id(okta, ada), id(google, person('1001'))].sort()],
      ['nobody@example.com', []],
      ['bob', []],
      ['1001', [id(google, person('1001'))]],
    ],
  )
  assert.deepEqual(meta.unknown, ['nobody@example.com', 'bob'])
  const then = await post(`${entities}/lookup`, { principals: ['bob@example.com', 'ada'], as_of: 'now-6d' })
  const found = (
    then.json() as typeof answer extends never ? never : { data: { attributes: { entities: Shown[] } }[] }
  ).data
  assert.deepEqual(
    found.map(({ attributes }) => attributes.entities.map(departments)),
    [[[undefined]], [['Sales EMEA']]],
  )
  const device = await post(`${entities}/lookup`, {
    principals: ['LAP-1'],
    entity_type: entityType('device'),
  })
  assert.ok(device.text.includes(id(okta, laptop)))
})

test('a look-up finds nobody by part of a name, nor by a name of another time', async () => {
  const { organizationId, okta, post } = await makeWorld()
  const group = (uid: string, name: string) => ({ kind: 'group', attributes: { uid, name } }) as const
  await writeHistory(
    api.database,
    organizationId,
    [
      { config: okta, entity: group('g1', 'Payroll'), from: daysAgo(9), to: daysAgo(3) },
      { config: okta, entity: group('g1', 'Former Payroll archive'), from: daysAgo(3) },
      { config: okta, entity: group('g2', 'Sales EMEA'), from: daysAgo(9), to: daysAgo(3) },
      { config: okta, entity: group('g2', 'EMEA  Sales'), from: daysAgo(3) },
      { config: okta, entity: person('u1', { name: 'ada' }), from: daysAgo(9), to: daysAgo(3) },
      { config: okta, entity: person('u1', { name: 'Ada@acme.com' }), from: daysAgo(3) },
    ],
    daysAgo(1),
  )
  const found = async (kind: 'group' | 'identity', principals: readonly string[], as_of = 'now') => {
    const answer = await post(`${entities}/lookup`, { principals, as_of, entity_type: entityType(kind) })
    const { data } = answer.json() as { data: { attributes: { entities: Shown[] } }[] }
    return data.map(({ attributes }) => attributes.entities.length)
  }
  const names = ['payroll', 'Former Payroll Archive', 'sales emea', 'emea sales']
  assert.deepEqual(await found('group', names), [0, 1, 0, 1])
  assert.deepEqual(await found('group', names, 'now-5d'), [1, 0, 1, 0])
  assert.deepEqual(await found('identity', ['ADA', 'ada@acme.com', 'u1']), [0, 1, 1])
  assert.deepEqual(await found('identity', ['ADA', 'ada@acme.com', 'u1'], 'now-5d'), [1, 0, 1])
})

test('a look-up takes a thousand principals of any length that they have, and not one more', async () => {
  const { post } = await makeWorld()
  const principals = Array.from({ length: 1_000 }, (_, n) => `${'xé€𝄞'.repeat(50)}${n}@example.com`)
  const whole = await post(`${entities}/lookup`, { principals })
  assert.equal(whole.status, 200)
  assert.deepEqual((whole.json() as { meta: { unknown: string[] } }).meta.unknown, principals)
  for (const [attributes, expected] of [
    [{ principals: [...principals, 'x'] }, 'data.attributes.principals: expected at most 1000'],
    [{ principals: [] }, 'data.attributes.principals: expected at least one'],
    [{ principals: 'ada' }, 'data.attributes.principals: expected a list of texts'],
    [{ principals: [''] }, 'data.attributes.principals.0: expected a text'],
    [{ principals: ['a'], as_of: 'now-1y' }, /^data\.attributes\.as_of: expected one of the units/],
  ] as const) {
    const answer = await post(`${entities}/lookup`, attributes)
    assert.equal(answer.status, 400, answer.text)
    const [error = ''] = errorSchema.parse(answer.json()).errors
    if (typeof expected === 'string') assert.equal(error, expected)
    else assert.match(error, expected)
  }
  const tooLarge = await post(`${entities}/lookup`, { principals: ['x'.repeat(1_100_000)] })
  assert.equal(tooLarge.status, 413)
})

test('the same address elsewhere is shown beside it, and never merged', async () => {
  const { get, okta, google, id } = await makeOffice()
  const related = async (of: string, query = {}) =>
    ((await get(`${entities}/${of}/related`, query)).json() as { data: (Shown & { meta: object })[] }).data
  const [other, ...more] = await related(id(okta, ada))
  assert.deepEqual(more, [])
  assert.equal(other?.id, id(google, person('1001')))
  assert.deepEqual(other?.meta, { shared_addresses: ['ada@example.com'] })
  assert.deepEqual(
    (await related(id(google, person('1001')))).map((one) => one.id),
    [id(okta, ada)],
  )
  assert.deepEqual(await related(id(okta, ada), { as_of: 'now-25d' }), [])
})

test('tells what is different between two moments, field by field', async () => {
  const { get, okta, google, id } = await makeOffice()
  interface Different {
    readonly id: string
    readonly attributes: {
      readonly change: string
      readonly fields?: readonly { readonly field: string }[]
    }
  }
  const diff = async (query: Readonly<Record<string, string>>) =>
    ((await get(`${entities}/diff`, query)).json() as { data: readonly Different[] }).data
  const changes = async (query: Readonly<Record<string, string>>) =>
    (await diff(query)).map((one) => [one.id, one.attributes.change])
  assert.deepEqual(await changes({ from: 'now-6d' }), [
    [id(okta, bob), 'removed'],
    [id(okta, ada), 'changed'],
  ])
  assert.deepEqual(await changes({ from: 'now-25d', to: 'now-8d' }), [
    [id(google, person('1001')), 'added'],
    [id(okta, bob), 'added'],
  ])
  assert.deepEqual(await changes({ from: 'now-25d', to: 'now-2d', query: 'byron' }), [], 'came and went')
  const [changed] = await diff({ from: 'now-6d', query: 'department:research' })
  assert.deepEqual(changed?.attributes, {
    change: 'changed',
    label: 'ada@example.com',
    fields: [
      { field: 'department', before: 'Sales EMEA', after: 'Research' },
      { field: 'groups', after: [{ uid: 'g-admins', name: 'Domain Admins' }] },
      { field: 'has_mfa', after: true },
      { field: 'is_privileged', after: true },
      { field: 'roles', after: ['Super Admin'] },
    ],
  })
})

const linesIn = (answer: Answer) => {
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
  return answer.text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('exports everything at a moment, one entity a line', async () => {
  const { get } = await makeOffice()
  const exported = async (query: Readonly<Record<string, string>>) =>
    linesIn(await get(`${entities}/export`, query))
  const types = (lines: readonly Record<string, unknown>[]) => lines.map(({ type }) => type)
  assert.deepEqual(types(await exported({})), [
    'siem_entity_identity',
    'siem_entity_identity',
    'siem_entity_group',
    'siem_entity_device',
  ])
  assert.equal((await exported({ as_of: 'now-6d' })).length, 4)
  assert.deepEqual(types(await exported({ as_of: 'now-25d' })), ['siem_entity_identity', 'siem_entity_group'])
  assert.deepEqual(types(await exported({ entity_type: entityType('device') })), ['siem_entity_device'])
})

test('exports OCSF events with times in milliseconds', async () => {
  const { get } = await makeOffice()
  const events = linesIn(await get(`${entities}/export`, { format: 'ocsf' }))
  assert.deepEqual(
    events.map((event) => [event.class_uid, event.type_uid]),
    [
      [5003, 500302],
      [5003, 500302],
      [3004, 300402],
      [5001, 500102],
    ],
  )
  const user = events
    .map((event) => event.user as Record<string, unknown> | undefined)
    .find((one) => one?.uid === 'ada')
  assert.partialDeepStrictEqual(user, {
    name: 'ada@example.com',
    full_name: 'Ada Lovelace',
    email_addr: 'ada@example.com',
    domain: 'acme.okta.com',
    has_mfa: true,
    type_id: 1,
    groups: [{ uid: 'g-admins', name: 'Domain Admins' }],
    ldap_person: { department: 'Research' },
  })
  assert.partialDeepStrictEqual(events.at(-1), {
    device: { hostname: 'lap-1', type_id: 3, os: { name: 'Windows 11', type_id: 100 } },
    metadata: { version: '1.8.0', product: { name: 'Credence' } },
    time: daysAgo(1).getTime(),
  })
})

test('feeds changes in the order of merges, from any cursor on', async () => {
  const { get } = await makeOffice()
  const changes = async (query: Readonly<Record<string, string>> = {}) =>
    linesIn(await get(`${entities}/changes`, query))
  const all = await changes()
  assert.deepEqual(
    all.map(({ sequence, change, at }) => [sequence, change, at]),
    [
      [1, 'created', daysAgo(30).toISOString()],
      [1, 'created', daysAgo(30).toISOString()],
      [2, 'created', daysAgo(20).toISOString()],
      [3, 'created', daysAgo(10).toISOString()],
      [4, 'removed', daysAgo(5).toISOString()],
      [5, 'updated', daysAgo(3).toISOString()],
      [6, 'created', daysAgo(2).toISOString()],
    ],
  )
  for (const [at, { cursor }] of all.entries())
    assert.deepEqual(await changes({ after: String(cursor) }), all.slice(at + 1))
  assert.deepEqual(await changes({ after: '1' }), all.slice(2), 'after all of a merge')
  const events = await changes({ after: '3', format: 'ocsf', entity_type: entityType('identity') })
  assert.deepEqual(
    events.map((event) => [event.activity_id, (event.metadata as Record<string, unknown>).sequence]),
    [
      [4, 4],
      [3, 5],
    ],
  )
})

/** Requests whose reader left. */
const brokenOff = () => api.log().split('"status":499').length

async function until(holds: () => boolean, what: string): Promise<void> {
  const givesUpAt = performance.now() + 30_000
  while (!holds()) {
    assert.ok(performance.now() < givesUpAt, `waited for ${what}`)
    await delay(20)
  }
}

test('a feed that is followed tells what is merged later, and ends with its reader', async () => {
  const { organizationId, okta, headers } = await makeOffice()
  const before = brokenOff()
  const answer = await request(`${api.url}${entities}/changes?after=6&follow=true`, {
    headers,
  })
  const { body } = answer
  let heard = ''
  body.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  await until(() => heard === '\n', 'a sign of life')
  await writeHistory(api.database, organizationId, [{ config: okta, entity: person('new'), from: now }], now)
  await api.database.pool.query(
    'update entity_revisions set opened_in = 7 where organization_id = $1 and uid = $2',
    [organizationId, 'new'],
  )
  await setClock(api.database, organizationId, 7, now)
  await until(() => heard.trim() !== '', 'the change')
  const line = JSON.parse(heard) as Record<string, unknown>
  assert.deepEqual([line.sequence, line.change], [7, 'created'])
  body.destroy()
  await until(() => brokenOff() > before, 'the end of the request')
  assert.ok(!api.log().includes('internal error'))
})

test('feeds are followed by 200 at a time; who asks for the head alone follows none', async () => {
  const { headers } = await makeOffice()
  const url = `${api.url}${entities}/changes?follow=true`
  const answers = await Promise.all(Array.from({ length: 210 }, () => request(url, { headers })))
  const refused = answers.filter(({ statusCode }) => statusCode === 503)
  const open = answers.filter(({ statusCode }) => statusCode === 200)
  assert.equal(refused.length + open.length, 210)
  // Some may be open still for those that other tests have left.
  assert.ok(open.length > 100 && open.length <= 200)
  for (const { body } of refused) assert.match(await body.text(), /As many feeds are followed/)
  const before = brokenOff()
  for (const { body } of open) body.on('error', () => undefined).destroy()
  await until(() => brokenOff() === before + open.length, 'the end of all of them')
  await Promise.all(Array.from({ length: 210 }, () => request(url, { method: 'HEAD', headers })))
  const givesUpAt = performance.now() + 30_000
  for (let status = 0; status !== 200; await delay(100)) {
    assert.ok(performance.now() < givesUpAt, 'waited for those to leave who asked for the head')
    const { statusCode, body } = await request(url, { headers })
    body.on('error', () => undefined).destroy()
    status = statusCode
  }
})

test('a stream ends when its reader leaves, whatever is still to come', async () => {
  const { organizationId, okta, headers } = await makeWorld()
  const many = Array.from({ length: 6_000 }, (_, n) => ({
    config: okta,
    entity: person(`p${n}`, { full_name: 'x'.repeat(150), department: 'y'.repeat(1_000) }),
    from: daysAgo(9),
  }))
  await writeHistory(api.database, organizationId, many, daysAgo(1))
  const before = brokenOff()
  const answer = await request(`${api.url}${entities}/export`, { headers })
  await once(answer.body, 'data')
  answer.body.destroy()
  await until(() => brokenOff() > before, 'the end of the request')
  const whole = linesIn(await api.call({ path: `${entities}/export`, headers }))
  assert.equal(new Set(whole.map(({ id }) => id)).size, 6_000)
})

test('page tokens lead through all pages once, and fit no other question and nobody else', async () => {
  const { organizationId, okta, get, page } = await makeWorld()
  const people = Array.from({ length: 57 }, (_, n) => ({
    config: okta,
    entity: person(`p${n}`),
    from: daysAgo(9),
  }))
  await writeHistory(api.database, organizationId, people, daysAgo(1))
  for (const query of ['', 'source:okta', '-mfa:true', 'domain:acme.okta.com']) {
    const seen: string[] = []
    let token = ''
    do {
      const { data, meta } = await page({ query, limit: '10', page_token: token })
      assert.equal(meta.total_count, 57)
      seen.push(...data.map(({ id }) => id))
      token = meta.page.next_token
    } while (token !== '')
    assert.equal(seen.length, 57, query)
    assert.deepEqual(seen, [...new Set(seen)].sort(), query)
  }
  const { next_token } = (await page({ query: 'source:okta', limit: '10' })).meta.page
  const foreign = await createKey({
    database: api.database,
    permissions: ['siem_entities_read'],
    organization: 'others',
  })
  const refused = [
    await get(context, { page_token: next_token }),
    await get(context, { query: 'source:okta', page_token: `${next_token}x`.slice(1) }),
    await get(context, { query: 'source:okta', from: 'now-8d', page_token: next_token }),
    await get(context, { query: 'source:okta', entity_type: entityType('group'), page_token: next_token }),
    await get(`${entities}/diff`, { query: 'source:okta', from: 'now-8d', page_token: next_token }),
    await api.call({
      path: `${context}?${new URLSearchParams({ query: 'source:okta', page_token: next_token })}`,
      headers: { 'dd-api-key': foreign.api_key, 'dd-application-key': foreign.application_key },
    }),
  ]
  for (const answer of refused) {
    assert.equal(answer.status, 400, answer.text)
    assert.deepEqual(answer.json(), {
      errors: ['page_token: expected a token of an earlier answer to the same query'],
    })
  }
})

test('whatever the parameters are, the answer is a sound one', async () => {
  const { get, post } = await makeOffice()
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(...'ad"\\\':*()-&|!<> \0\t\u202e😀é'), maxLength: 30 }),
    fc.constantFrom(
      '',
      'ada',
      'group:admins',
      '-ada',
      '*',
      "'",
      "\\'",
      "a' | 'b",
      'x:* & !y',
      'x'.repeat(3_000),
      'now-7d',
      '0',
      '-1',
      '1e9',
      '__proto__',
      '%00',
      '%zz',
    ),
  )
  const query = fc.dictionary(
    fc.constantFrom(
      'query',
      'from',
      'to',
      'as_of',
      'limit',
      'page_token',
      'entity_type',
      'revisions',
      'include',
      'after',
      'format',
      'x',
    ),
    text,
    { maxKeys: 3 },
  )
  const path = fc.constantFrom(
    context,
    `${context}/recently_updated`,
    `${context}/${randomUUID()}`,
    `${entities}/${randomUUID()}/related`,
    `${entities}/diff`,
    `${entities}/export`,
    `${entities}/changes`,
  )
  const isSound = (answer: Answer) => {
    assert.ok([200, 400, 404].includes(answer.status), `${answer.status} ${answer.text}`)
    if (answer.status !== 200) errorSchema.parse(answer.json())
  }
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(path, query), { minLength: 20, maxLength: 20 }), async (calls) => {
      for (const answer of await Promise.all(calls.map(([to, parameters]) => get(to, parameters))))
        isSound(answer)
    }),
    { numRuns: 60 },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 30 }), text, async (principals, as_of) => {
      isSound(await post(`${entities}/lookup`, { principals, as_of }))
    }),
    { numRuns: 100 },
  )
  assert.ok(!api.log().includes('internal error'), api.log().match(/.*internal error.*/)?.[0])
})
