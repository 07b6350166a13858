/** The audit trail as an organisation reads it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordAudit } from '../src/store/audit.ts'
import { createKey } from '../src/store/keys.ts'
import { ensureOrganization } from '../src/store/organizations.ts'
import { type Api, headersOf, startApi } from './api-server.ts'

const path = '/api/v2/credence/audit'

interface Page {
  readonly data: readonly { readonly id: string; readonly attributes: Record<string, unknown> }[]
  readonly meta: { readonly page: { readonly next_token: string } }
}

async function startTrail(t: Parameters<typeof startApi>[0], events = 0): Promise<Api> {
  const api = await startApi(t, { permissions: ['manage_integrations'] })
  await api.database.query.transaction().execute(async (transaction) => {
    const organization = await ensureOrganization(transaction, 'default', { id: 'system' })
    for (let event = 0; event < events; event += 1)
      await recordAudit(
        transaction,
        { id: 'key:one', organizationId: organization.id, address: '192.0.2.7', requestId: 'request-1' },
        {
          action: event % 2 === 0 ? 'thing.make' : 'thing.break',
          target: `thing ${event}`,
          outcome: 'succeeded',
          details: { event },
        },
      )
    await recordAudit(
      transaction,
      { id: 'system' },
      { action: 'thing.make', target: 'of nobody', outcome: 'failed' },
    )
  })
  return api
}

const get = (api: Api, query = '', headers: Record<string, string> = {}) =>
  api.call({ path: path + query, headers: { ...headersOf(api), ...headers } })

test('it is for those alone who manage integrations', async (t) => {
  const api = await startApi(t, { permissions: ['read-only'] })
  assert.equal((await api.call({ path })).status, 403)
  assert.deepEqual((await get(api)).json(), {
    errors: ['Forbidden', 'Failed permission authorization checks'],
  })
})

test('events are told in order with who, what, when, from where and with what outcome', async (t) => {
  const api = await startTrail(t, 1)
  const { data, meta } = (await get(api, '?action=thing.make')).json() as Page
  assert.equal(data.length, 1)
  const [event] = data
  assert.match(String(event?.attributes.at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual(event, {
    id: event?.id,
    type: 'audit_event',
    attributes: {
      at: event?.attributes.at,
      actor: 'key:one',
      action: 'thing.make',
      target: 'thing 0',
      outcome: 'succeeded',
      address: '192.0.2.7',
      request_id: 'request-1',
      details: { event: 0 },
    },
  })
  assert.deepEqual(meta, { page: { next_token: '' } })
  const all = (await get(api)).json() as Page
  assert.deepEqual(
    all.data.map(({ attributes }) => attributes.action),
    ['organization.create', 'key.create', 'thing.make'],
  )
})

test('pages follow each other without gap or repetition, and a stream holds them all', async (t) => {
  const api = await startTrail(t, 1_203)
  const seen: string[] = []
  let token = ''
  do {
    const page = (
      await get(api, `?action=thing.make&limit=100${token && `&page_token=${token}`}`)
    ).json() as Page
    seen.push(...page.data.map(({ attributes }) => String(attributes.target)))
    token = page.meta.page.next_token
  } while (token !== '')
  const expected = Array.from({ length: 602 }, (_, at) => `thing ${2 * at}`)
  assert.deepEqual(seen, expected)

  const stream = await get(api, '?action=thing.make', { accept: 'application/x-ndjson' })
  assert.equal(stream.headers['content-type'], 'application/x-ndjson')
  const lines = stream.text.trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).attributes.target),
    expected,
  )
  const few = await get(api, '?limit=3', { accept: 'application/x-ndjson' })
  assert.equal(few.text.trimEnd().split('\n').length, 3)
  const none = await get(api, '?actor=nobody', { accept: 'application/x-ndjson' })
  assert.deepEqual([none.status, none.text], [200, ''])
})

test('time, target and actor narrow it down', async (t) => {
  const api = await startTrail(t, 4)
  const targets = async (query: string) =>
    ((await get(api, query)).json() as Page).data.map(({ attributes }) => attributes.target)
  assert.deepEqual(await targets('?target=thing%201'), ['thing 1'])
  assert.equal((await targets('?actor=key:one')).length, 4)
  assert.equal((await targets('?from=2000-01-01T00:00:00Z&actor=key:one')).length, 4)
  assert.deepEqual(await targets('?to=2000-01-01T00:00:00%2B02:00'), [])
  assert.deepEqual(await targets('?from=2999-01-01T00:00:00Z'), [])
})

test('what is not understood is named, and another organisation stays unseen', async (t) => {
  const api = await startTrail(t, 2)
  for (const [query, named] of [
    ['?limit=0', 'limit'],
    ['?limit=1001', 'limit'],
    ['?limit=1.5', 'limit'],
    ['?from=yesterday', 'from'],
    ['?to=2030-02-31T00:00:00Z', 'to'],
    ['?page_token=nonsense', 'page_token'],
    ['?action=%00', 'action'],
    ['?actor=a&actor=b', 'actor'],
  ] as const) {
    const answer = await get(api, query)
    assert.equal(answer.status, 400, `${query}: ${answer.text}`)
    assert.match((answer.json() as { errors: string[] }).errors[0] ?? '', new RegExp(`^${named}: expected`))
  }
  const other = await createKey({ database: api.database, permissions: ['admin'], organization: 'other' })
  const theirs = { 'dd-api-key': other.api_key, 'dd-application-key': other.application_key }
  for (const accept of ['application/json', 'application/x-ndjson']) {
    const { text } = await get(api, '', { ...theirs, accept })
    assert.ok(text.includes(other.id) && !text.includes('thing'))
  }
  assert.ok(!(await get(api)).text.includes('of nobody'))
})
