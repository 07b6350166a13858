/** The life of a configuration as clients see it, against the provider sandboxes: each operation and each declared answer. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import { type RunningSandbox, startSandbox } from '../sandbox/index.ts'
import { createOrganisation, type Organisation } from '../sandbox/organisation.ts'
import { systemRequester } from '../src/configs/requester.ts'
import { createOutbound } from '../src/outbound/outbound.ts'
import { reportSchema } from '../src/validation/report.ts'
import { type Answer, type Client, type ConfigsServer, startConfigsServer } from './configs-server.ts'

let directory: Organisation
let sandbox: RunningSandbox
let server: ConfigsServer
let client: Client
const closers: (() => Promise<void>)[] = []

before(async () => {
  directory = await createOrganisation({ users: 20, groups: 3, seed: 'configurations' })
  sandbox = await startSandbox({ providers: directory.providers, tls: false })
  closers.push(sandbox.close)
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(sandbox.endpoints).map(([host, origin]) => [host, new URL(origin)])),
  })
  const { tenantId, clientId, clientSecret, domains } = directory.entra.operator
  server = await startConfigsServer(
    { after: (work) => closers.push(work) },
    {
      outbound,
      operator: (key, organization) =>
        key === 'entra_id' && organization.startsWith('bound')
          ? [
              {
                attributes: { tenant_id: tenantId, client_id: clientId },
                domains,
                entry: { tenant_id: tenantId, client_id: clientId, client_secret: clientSecret },
              },
            ]
          : [],
    },
  )
})
after(async () => {
  for (const close of closers.reverse()) await close()
})
afterEach(() => sandbox.setFaults([]))

const okta = () => ({
  integration_type: 'OKTA',
  domain: directory.okta.domain,
  name: 'People',
  secrets: { api_token: directory.okta.apiToken },
})
const google = () => ({
  integration_type: 'GOOGLE_WORKSPACE',
  domain: directory.google.domain,
  name: 'Workspace',
  secrets: {
    service_account_json: directory.google.serviceAccount,
    admin_email: directory.google.adminEmail,
  },
})
const entra = () => ({
  integration_type: 'ENTRA_ID',
  domain: directory.entra.domain,
  name: 'Tenant',
  secrets: {
    tenant_id: directory.entra.tenantId,
    client_id: directory.entra.clientId,
    client_secret: directory.entra.clientSecret,
  },
})

const ok = (answer: Answer) => {
  assert.equal(answer.status, 200, answer.text)
  return answer.body.data
}
const refused = (answer: Answer, status: number, words: RegExp) => {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.match(answer.body.errors.join('\n'), words)
  return answer
}
/** A caller of an organisation for which the operator's Entra registration is bound. */
const boundClient = async () => {
  const organization = { id: randomUUID(), name: `bound ${randomUUID()}` }
  await server.admin.query('insert into organizations (id, name) values ($1, $2)', [
    organization.id,
    organization.name,
  ])
  return server.client({ organization })
}
const envelopes = async (id: string) =>
  (await server.admin.query('select * from envelopes where owner_id = $1', [id])).rows
const oktaDown = [{ provider: 'okta', kind: 'unavailable' }] as const
const oktaRefuses = [
  {
    provider: 'okta',
    kind: 'status',
    status: 401,
    path: '^/api/',
    body: {
      errorCode: 'E0000011',
      errorSummary: 'Invalid token provided',
      errorLink: 'E0000011',
      errorId: 'x',
    },
  },
] as const

test('a configuration of each type is created, read, listed, changed, validated and removed', async () => {
  client = await server.client()
  const made = []
  for (const attributes of [okta(), google(), entra()]) {
    const data = ok(await client.create({ ...attributes, settings: { note: { for: ['us'] } }, unknown: 1 }))
    assert.match(data.id, /^[0-9a-f-]{36}$/)
    const { created_at, modified_at, ...rest } = data.attributes
    assert.deepEqual(rest, {
      domain: attributes.domain,
      enabled: true,
      integration_type: attributes.integration_type,
      name: attributes.name,
      settings: { note: { for: ['us'] } },
      state: 'valid',
    })
    for (const time of [created_at, modified_at]) assert.equal(new Date(time).toISOString(), time)
    made.push(data)
  }
  assert.deepEqual((await client.call('GET')).body, { data: made })
  for (const query of ['?filter[integration_type]=OKTA', '?filter%5Bintegration_type%5D=OKTA'])
    assert.deepEqual((await client.call('GET', query)).body, { data: [made[0]] })
  assert.deepEqual((await client.call('GET', '?filter[integration_type]=CROWDSTRIKE')).body, { data: [] })

  const [{ id }] = made
  assert.deepEqual(ok(await client.call('GET', `/${id}`)), made[0])
  const withReport = await client.call('GET', `/${id}?include=report`)
  assert.equal(reportSchema.parse(withReport.body.meta.report).verdict, 'valid')
  const renamed = ok(await client.patch(id, { name: 'Staff', integration_type: 'OKTA', enabled: false }))
  assert.equal(renamed.attributes.name, 'Staff')
  assert.equal(renamed.attributes.enabled, false)
  assert.ok(renamed.attributes.modified_at > renamed.attributes.created_at)
  const valid = await client.call('POST', `/${id}/validate`)
  assert.deepEqual([valid.status, valid.text], [200, ''])
  assert.equal((await client.call('POST', `/${id}/validate?include=report`)).body.verdict, 'valid')

  const gone = await client.call('DELETE', `/${id}`)
  assert.deepEqual([gone.status, gone.text], [204, ''])
  assert.deepEqual(await envelopes(id), [])
  const notFound = new RegExp(`^not_found\\(Integration config with ID ${id} not found\\)$`)
  refused(await client.call('GET', `/${id}`), 404, notFound)
  refused(await client.call('DELETE', `/${id}`), 404, notFound)
  refused(await client.patch(id, { name: 'x' }), 404, notFound)
  refused(await client.call('POST', `/${id}/validate`), 404, notFound)
})

test('credentials that are refused are answered 400 with the report, and nothing is stored', async () => {
  const stranger = await server.client()
  const cases = [
    { ...okta(), secrets: { api_token: '00wrongwrongwrongwrongwrongwrongwrongwrong' } },
    { ...google(), secrets: { ...google().secrets, admin_email: `nobody@${directory.google.domain}` } },
    { ...entra(), secrets: { ...entra().secrets, client_secret: 'wrong~secret~wrong~secret~wrong~secret1' } },
    { ...okta(), domain: 'not a domain' },
  ]
  for (const attributes of cases) {
    const answer = refused(await stranger.create(attributes), 400, /./)
    assert.equal(answer.body.meta.report.verdict, 'invalid')
  }
  refused(
    await stranger.create({ ...okta(), secrets: {} }),
    400,
    /data\.attributes\.secrets: expected api_token/,
  )
  refused(await stranger.create({ ...google(), secrets: undefined }), 400, /data\.attributes\.secrets/)
  // Without secrets, Entra ID means the operator's registration, which serves nobody it is not bound to.
  refused(await stranger.create({ ...entra(), secrets: undefined }), 400, /./)
  assert.deepEqual((await stranger.call('GET')).body, { data: [] })
  const { rows } = await server.admin.query(
    "select outcome from audit_events where organization_id = $1 and action = 'integration_config.create'",
    [stranger.organization.id],
  )
  assert.deepEqual(new Set(rows.map(({ outcome }) => outcome)), new Set(['refused']))
})

test('the audit trail tells what a change has changed, not what it named', async () => {
  const one = await server.client()
  const { id } = ok(await one.create(okta()))
  ok(await one.patch(id, { ...okta(), name: 'Persons', enabled: false }))
  ok(await one.patch(id, { integration_type: 'OKTA', name: 'Persons', enabled: false }))
  const { rows } = await server.admin.query(
    "select details from audit_events where target = $1 and action = 'integration_config.update' order by id",
    [id],
  )
  assert.deepEqual(
    rows.map(({ details }) => details),
    [
      {
        changed: ['enabled', 'name', 'secrets'],
        enabled: false,
        name: { from: 'People', to: 'Persons' },
      },
      { changed: [] },
    ],
  )
})

test('where nobody can tell, the answer is 503 or 429, and nothing is stored', async () => {
  const stranger = await server.client()
  sandbox.setFaults(oktaDown)
  const down = refused(await stranger.create(okta()), 503, /./)
  assert.ok(Number(down.headers['retry-after']) > 0)
  assert.equal(down.body.meta.report.verdict, 'indeterminate')
  sandbox.setFaults([{ provider: 'okta', kind: 'throttled' }])
  refused(await stranger.create(okta()), 429, /./)
  assert.deepEqual((await stranger.call('GET')).body, { data: [] })
})

test('one domain and type is configured once, or under names of its own', async () => {
  const one = await server.client()
  const answers = await Promise.all(Array.from({ length: 8 }, () => one.create(okta())))
  const [first, ...others] = answers.filter(({ status }) => status === 200)
  assert.ok(first !== undefined && others.length === 0)
  const { id } = ok(first)
  for (const answer of answers.filter(({ status }) => status !== 200))
    refused(answer, 400, new RegExp(`with ID ${id}.*data\\.attributes\\.settings\\.instance`))
  sandbox.forgetRequests()
  refused(await one.create({ ...okta(), domain: `https://${okta().domain.toUpperCase()}/` }), 400, /with ID/)
  assert.equal(sandbox.requests().length, 0)

  const second = ok(await one.create({ ...okta(), settings: { instance: 'second' } }))
  refused(await one.create({ ...okta(), settings: { instance: 'second' } }), 400, new RegExp(second.id))
  refused(await one.patch(second.id, { settings: {} }), 400, new RegExp(`with ID ${id}`))
  assert.deepEqual(ok(await one.patch(second.id, { settings: { instance: 'third' } })).attributes.settings, {
    instance: 'third',
  })
  ok(await (await server.client()).create(okta()))
})

test('settings are checked, each member by its name', async () => {
  const one = await server.client()
  const nested = (levels: number): object => (levels === 0 ? {} : { a: nested(levels - 1) })
  for (const [settings, words] of [
    [{ instance: 'Not a slug' }, /settings\.instance: expected 1 to 64/],
    [{ instance: 5 }, /settings\.instance: expected a text/],
    [{ require: 'roles' }, /settings\.require: expected a list of users/],
    [{ require: ['cats'] }, /settings\.require\.0: expected a list of users/],
    [{ text: 'x'.repeat(17_000) }, /settings: expected at most 16384 bytes/],
    [nested(9), /settings: expected at most 8 levels/],
    [[], /settings: expected an object/],
  ] as const)
    refused(await one.create({ ...okta(), settings }), 400, words)
  refused(await one.create({ ...okta(), name: '' }), 400, /name: expected a text/)
  refused(await one.create({ ...okta(), name: 'a\nb' }), 400, /name: expected a text without control/)
  refused(await one.create({ ...okta(), name: 'a\u202eb' }), 400, /name: expected a text without control/)
  refused(await one.create({ ...okta(), name: '\u200b' }), 400, /name: expected a text of 1/)
  refused(await one.create({ ...okta(), integration_type: 'NIS' }), 400, /integration_type: expected one of/)
})

test('a capability that is required by settings decides the verdict, also later', async () => {
  const one = await server.client()
  sandbox.setFaults([
    { provider: 'okta', kind: 'status', status: 403, path: '^/api/v1/apps', body: { errorCode: 'E0000006' } },
  ])
  const { id } = ok(await one.create(okta()))
  refused(await one.patch(id, { settings: { require: ['applications'] } }), 400, /pplications/)
  assert.deepEqual(ok(await one.call('GET', `/${id}`)).attributes.settings, {})
  const strict = { ...okta(), settings: { instance: 'strict', require: ['applications'] } }
  refused(await one.create(strict), 400, /pplications/)
  sandbox.setFaults([])
  ok(await one.patch(id, { settings: { require: ['applications'] } }))
  sandbox.setFaults([
    { provider: 'okta', kind: 'status', status: 403, path: '^/api/v1/apps', body: { errorCode: 'E0000006' } },
  ])
  refused(await one.call('POST', `/${id}/validate`), 400, /pplications/)
  assert.equal(ok(await one.call('GET', `/${id}`)).attributes.state, 'invalid')
})

test('stored secrets are never sent to another domain, and nothing but whole new ones takes their place', async () => {
  const one = await server.client()
  const { id } = ok(await one.create(okta()))
  const tenant = ok(await one.create(entra())).id
  const workspace = ok(await one.create(google())).id
  const before = await envelopes(id)
  sandbox.forgetRequests()
  const complete = /data\.attributes\.secrets.*expected/
  for (const [target, attributes, words] of [
    [id, { domain: 'other.okta.com' }, complete],
    [id, { domain: 'other.okta.com', secrets: {} }, complete],
    [id, { secrets: {} }, complete],
    [id, { secrets: { unknown: 'x' } }, complete],
    [id, { secrets: { api_token: '********' } }, complete],
    [id, { secrets: { api_token: '••••••••' } }, complete],
    [id, { secrets: { api_token: '' } }, complete],
    [id, { secrets: { api_token: null } }, complete],
    [id, { secrets: { client_id: '0oa1' } }, complete],
    [id, { integration_type: 'ENTRA_ID' }, /integration_type: expected OKTA/],
    [id, { domain: 'not a domain' }, /data\.attributes\.domain/],
    [tenant, { secrets: { tenant_id: randomUUID() } }, complete],
    [tenant, { secrets: { cloud: 'china', client_id: randomUUID() } }, complete],
    [tenant, { secrets: {} }, complete],
    [tenant, { domain: 'other.example', secrets: {} }, complete],
    [workspace, { secrets: { admin_email: `other@${directory.google.domain}` } }, complete],
  ] as const)
    refused(await one.patch(target, attributes), 400, words)
  assert.equal(sandbox.requests().length, 0)
  assert.deepEqual(await envelopes(id), before)
  assert.equal(ok(await one.call('GET', `/${id}`)).attributes.domain, okta().domain)
  // The same host in another spelling is no other domain.
  ok(await one.patch(id, { domain: `HTTPS://${okta().domain}/`, name: 'same' }))
})

test('new secrets are proved before they replace the old ones', async () => {
  const one = await server.client()
  const { id } = ok(await one.create(okta()))
  const before = await envelopes(id)
  refused(
    await one.patch(id, { secrets: { api_token: '00wrongwrongwrongwrongwrongwrongwrongwrong' } }),
    400,
    /./,
  )
  const app = {
    client_id: directory.okta.clientId,
    private_key: directory.okta.privateKey,
    key_id: directory.okta.keyId,
  }
  sandbox.setFaults(oktaDown)
  refused(await one.patch(id, { secrets: app, name: 'New' }), 503, /./)
  assert.deepEqual(await envelopes(id), before)
  assert.equal(ok(await one.call('GET', `/${id}`)).attributes.name, okta().name)
  sandbox.setFaults([])
  assert.equal(ok(await one.patch(id, { secrets: app, name: 'New' })).attributes.name, 'New')
  assert.equal((await envelopes(id)).length, 1)
  assert.notDeepEqual(await envelopes(id), before)
  assert.equal((await one.call('POST', `/${id}/validate`)).status, 200)
})

test('state follows a verdict that settles it, never one that does not', async () => {
  const one = await server.client()
  const { id } = ok(await one.create(okta()))
  const state = async () => ok(await one.call('GET', `/${id}`)).attributes.state
  const changes = () =>
    server.changes.filter(({ configId }) => configId === id).map(({ from, to }) => `${from} > ${to}`)
  sandbox.setFaults(oktaDown)
  refused(await one.call('POST', `/${id}/validate`), 503, /./)
  assert.equal(await state(), 'valid')
  assert.equal((await one.call('GET', `/${id}?include=report`)).body.meta.report.verdict, 'indeterminate')
  sandbox.setFaults(oktaRefuses)
  refused(await one.call('POST', `/${id}/validate`), 400, /./)
  assert.equal(await state(), 'invalid')
  sandbox.setFaults(oktaDown)
  assert.deepEqual(await server.configs.revalidate(id, 'schedule'), {
    kind: 'done',
    verdict: 'indeterminate',
  })
  assert.equal(await state(), 'invalid')
  sandbox.setFaults([])
  assert.deepEqual(await server.configs.revalidate(id, 'schedule'), { kind: 'done', verdict: 'valid' })
  assert.deepEqual(changes(), ['initializing > valid', 'valid > invalid', 'invalid > valid'])
  assert.ok(server.changes.find(({ configId, to }) => configId === id && to === 'invalid')?.reason.length)

  ok(await one.patch(id, { enabled: false }))
  assert.deepEqual(await server.configs.revalidate(id, 'schedule'), { kind: 'not_wanted' })
  await one.call('DELETE', `/${id}`)
  assert.deepEqual(await server.configs.revalidate(id, 'schedule'), { kind: 'not_wanted' })
})

test('activation makes one configuration from what the operator holds, however often it is asked for', async () => {
  const one = await boundClient()
  const answers = await Promise.all(Array.from({ length: 50 }, () => one.call('POST', '/entra_id/activate')))
  const ids = new Set(answers.map((answer) => ok(answer).id))
  assert.equal(ids.size, 1)
  const [id] = ids
  assert.deepEqual(
    (await one.call('GET')).body.data.map((data: { id: string }) => data.id),
    [id],
  )
  assert.equal((await envelopes(String(id))).length, 0)
  const { attributes } = ok(await one.call('GET', `/${id}`))
  assert.deepEqual([attributes.domain, attributes.state], [directory.entra.domain, 'valid'])

  const off = await Promise.all(Array.from({ length: 50 }, () => one.call('POST', '/entra_id/deactivate')))
  for (const answer of off) assert.deepEqual([ok(answer).id, ok(answer).attributes.enabled], [id, false])
  for (const body of [
    '',
    '{}',
    '{"data":{}}',
    JSON.stringify({ data: { type: 'activate_entra_id_request', attributes: { domain: 'default' } } }),
    JSON.stringify({ data: { attributes: { domain: directory.entra.domain, name: 'other', settings: {} } } }),
  ]) {
    const headers = { 'content-type': 'application/json' }
    const again = ok(await one.call('POST', '/entra_id/activate', undefined, { body, headers }))
    assert.deepEqual([again.id, again.attributes.enabled], [id, true])
  }
})

test('nodes that activate and create at the same time make one configuration together', async () => {
  const { organization } = await boundClient()
  const requester = systemRequester(organization)
  const rows = await Promise.all(
    Array.from({ length: 10 }, (_, at) =>
      (at % 2 === 0 ? server.configs : server.otherNode).activate(requester, 'entra_id', {}),
    ),
  )
  assert.equal(new Set(rows.map(({ id }) => id)).size, 1)
  const { integration_type, domain, name, secrets } = okta()
  const wanted = { integrationType: integration_type, domain, name, secrets }
  const made = await Promise.allSettled(
    Array.from({ length: 10 }, (_, at) =>
      (at % 2 === 0 ? server.configs : server.otherNode).create(requester, wanted),
    ),
  )
  assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 1)
  assert.equal((await server.configs.list(organization.id)).length, 2)
  const { rows: sealed } = await server.admin.query('select from envelopes where organization_id = $1', [
    organization.id,
  ])
  assert.equal(sealed.length, 1)
})

test('activation says what is missing', async () => {
  const one = await server.client()
  refused(await one.call('POST', '/entra_id/activate'), 404, /type ENTRA_ID not found.*\n.*bound no domain/)
  const given = await one.call('POST', '/entra_id/activate', { domain: directory.entra.domain })
  const random = await one.call('POST', '/entra_id/activate', { domain: 'unheard.example' })
  assert.deepEqual([given.status, given.body.errors], [400, random.body.errors])
  refused(await one.call('POST', '/okta/activate'), 404, /type OKTA not found.*\n.*with its secrets first/)
  refused(await one.call('POST', '/google_workspace/activate'), 404, /with its secrets first/)
  refused(await one.call('POST', '/okta/deactivate'), 404, /type OKTA not found/)
  for (const action of ['activate', 'deactivate']) {
    refused(await one.call('POST', `/nis/${action}`), 404, /^not_found\(Integration type nis not found\)$/)
    refused(await one.call('POST', `/n%00s/${action}`), 404, /^not_found\(Integration type not found\)$/)
  }
  refused(await one.call('POST', '/entra_id/activate', { domain: 'not a domain' }), 400, /attributes\.domain/)
  refused(await one.call('POST', '/entra_id/activate', { settings: { instance: 'A' } }), 400, /instance/)

  const { id } = ok(await one.create(okta()))
  ok(await one.patch(id, { enabled: false }))
  const activated = ok(await one.call('POST', '/okta/activate', { domain: okta().domain }))
  assert.deepEqual([activated.id, activated.attributes.enabled], [id, true])
})

test('the Azure app registrations are those that serve the organisation', async () => {
  const path = '/entra_id/azure_app_registrations'
  const stranger = await server.client()
  assert.deepEqual((await stranger.call('GET', path)).body.data, {
    id: stranger.organization.id,
    type: 'entra_id_azure_app_registrations',
    attributes: { azure_app_registrations: [], has_valid_prerequisite: false },
  })
  const one = await boundClient()
  const { id, attributes } = ok(await one.call('POST', '/entra_id/activate'))
  assert.deepEqual((await one.call('GET', path)).body.data.attributes, {
    azure_app_registrations: [
      {
        client_id: directory.entra.operator.clientId,
        tenant_id: directory.entra.operator.tenantId,
        error_count: 0,
        subscription_count: 0,
        resource_collection_enabled: true,
      },
    ],
    has_valid_prerequisite: true,
    integration_id: id,
    is_enabled: true,
    subscribed_at: attributes.created_at,
  })
})

test('another organisation learns nothing: its answers are those for ids that nobody has', async () => {
  const owner = await server.client()
  const { id } = ok(await owner.create(okta()))
  const stranger = await server.client()
  const routes = [
    ['GET', ''],
    ['GET', '?include=report'],
    ['PATCH', ''],
    ['DELETE', ''],
    ['POST', '/validate'],
  ] as const
  for (const [method, suffix] of routes) {
    const ask = async (wanted: string) => {
      const body = method === 'PATCH' ? { secrets: { api_token: 'x' }, domain: 'a.okta.com' } : undefined
      const { status, text } = await stranger.call(method, `/${wanted}${suffix}`, body)
      return [status, text.replaceAll(wanted, 'ID')]
    }
    const nobody = await ask(randomUUID())
    assert.equal(nobody[0], 404)
    assert.deepEqual(await ask(id), nobody)
    assert.deepEqual(await ask('not-a-uuid'), nobody)
  }
  assert.deepEqual((await stranger.call('GET')).body, { data: [] })
  refused(await stranger.call('POST', '/okta/deactivate'), 404, /./)
  assert.equal(ok(await owner.call('GET', `/${id}`)).attributes.enabled, true)
})

test('each route asks for its permission', async () => {
  const one = await server.client()
  const { id } = ok(await one.create(okta()))
  const reader = await server.client({ organization: one.organization, permissions: ['integrations_read'] })
  const manager = await server.client({
    organization: one.organization,
    permissions: ['manage_integrations'],
  })
  const reading = [
    ['GET', ''],
    ['GET', `/${id}`],
    ['POST', `/${id}/validate`],
    ['GET', '/entra_id/azure_app_registrations'],
  ] as const
  const managing = [
    ['POST', ''],
    ['PATCH', `/${id}`],
    ['DELETE', `/${id}`],
    ['POST', '/okta/activate'],
    ['POST', '/okta/deactivate'],
  ] as const
  for (const [method, path] of reading) {
    refused(await manager.call(method, path), 403, /Failed permission authorization checks/)
    assert.equal((await reader.call(method, path)).status, 200)
  }
  for (const [method, path] of managing)
    refused(await reader.call(method, path), 403, /Failed permission authorization checks/)
})

test('no secret is in any column of the database, in any form, nor in the log', async () => {
  const one = await server.client()
  for (const attributes of [okta(), google(), entra()]) {
    const { id } = ok(await one.create(attributes))
    ok(await one.patch(id, { secrets: attributes.secrets }))
    await one.call('POST', `/${id}/validate`)
    await one.patch(id, { secrets: { ...attributes.secrets, private_key: 'x' }, domain: 'x.example' })
  }
  const { rows: tables } = await server.admin.query(
    "select table_name from information_schema.tables where table_schema = 'public'",
  )
  let dump = server.log()
  for (const { table_name } of tables) {
    const { rows } = await server.admin.query(`select row_to_json(t)::text as line from "${table_name}" t`)
    dump += rows.map(({ line }) => line).join('\n')
  }
  assert.match(dump, /integration_config\.create/)
  const keyLines = String(directory.google.serviceAccount.private_key).split('\n').slice(2, 4)
  const canaries = [directory.okta.apiToken, directory.entra.clientSecret, ...keyLines]
  for (const canary of canaries) {
    const bytes = Buffer.from(canary)
    const forms = [canary, bytes.toString('hex'), bytes.toString('base64').replace(/..==?$|.=$/, '')]
    for (const form of [...forms, canary.slice(0, canary.length / 2)])
      assert.ok(!dump.includes(form), 'a secret was found')
  }
})
