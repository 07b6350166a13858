/** No id of another organisation answers differently from an id that nobody has: every route that is described is walked. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { recordAudit } from '../src/store/audit.ts'
import { createKey } from '../src/store/keys.ts'
import { type Answer, startApi } from './api-server.ts'

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: object
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>

const canary = 'canary-of-the-other-organisation'

test("another organisation's ids are answered as ids that nobody has, on every route and in every place", async (t) => {
  const api = await startApi(t, { permissions: ['admin'] })
  const other = await createKey({
    database: api.database,
    permissions: ['admin'],
    organization: canary,
    name: canary,
  })
  const organization = await api.database.query
    .selectFrom('organizations')
    .select('id')
    .where('name', '=', canary)
    .executeTakeFirstOrThrow()
  const theirs = {
    'dd-api-key': other.api_key,
    'dd-application-key': other.application_key,
    'content-type': 'application/json',
  }
  const attributes = {
    domain: 'acme.example',
    integration_type: 'ACME',
    name: canary,
    secrets: { api_token: 'valid' },
    settings: { note: canary },
  }
  const created = await api.call({
    method: 'POST',
    path: '/api/v2/security_monitoring/configuration/integration_config',
    headers: theirs,
    body: JSON.stringify({ data: { type: 'integration_config', attributes } }),
  })
  assert.equal(created.status, 200, created.text)
  const { id } = (created.json() as { data: { id: string } }).data
  await recordAudit(
    api.database.query,
    { id: canary, organizationId: organization.id },
    { action: 'canary.sing', target: id, outcome: 'succeeded', details: { canary } },
  )
  const foreign = [id, organization.id, other.id]
  const stored = async () =>
    (await api.database.pool.query('select * from integration_configs order by id')).rows

  const { paths } = (await api.call({ path: '/openapi.json' })).json() as { paths: Paths }
  const before = await stored()
  const ask = (method: string, path: string, own: string, operation: Operation) => {
    const query = (operation.parameters ?? [])
      .filter((parameter) => parameter.in === 'query' && parameter.name !== 'limit')
      .filter(({ name }) => !['from', 'to', 'page_token'].includes(name))
      .map(({ name }) => `${encodeURIComponent(name)}=${own}`)
      .join('&')
    const filled = path.replaceAll(/\{\w+\}/g, own)
    return [filled, ...(query === '' ? [] : [`${filled}?${query}`])].map((address) =>
      api.call({
        method: method.toUpperCase(),
        path: address,
        headers: {
          'dd-api-key': api.keys.api_key,
          'dd-application-key': api.keys.application_key,
          ...(operation.requestBody && { 'content-type': 'application/json' }),
        },
        ...(operation.requestBody && {
          body: JSON.stringify({
            data: { id: own, type: 'integration_config', attributes: { name: 'taken over', enabled: false } },
          }),
        }),
      }),
    )
  }
  const comparable = ({ status, headers, text }: Answer, own: string) => ({
    status,
    type: headers['content-type'],
    text: text.replaceAll(own, 'ID').replace(/"(?:duration_ms|checked_at)":[^,}]+/g, ''),
  })

  let walked = 0
  for (const [path, operations] of Object.entries(paths)) {
    // What they count is the same for everybody and changes from one request to the next.
    if (['/metrics', '/openapi.json'].includes(path)) continue
    for (const [method, operation] of Object.entries(operations)) {
      for (const one of foreign) {
        const random = randomUUID()
        const [theirAnswers, nobodys] = await Promise.all([
          Promise.all(ask(method, path, one, operation)),
          Promise.all(ask(method, path, random, operation)),
        ])
        for (const [at, answer] of theirAnswers.entries()) {
          const expected = nobodys[at]
          assert.ok(expected)
          assert.deepEqual(comparable(answer, one), comparable(expected, random), `${method} ${path}`)
          assert.ok(!answer.text.includes(canary), `${method} ${path}: ${answer.text}`)
          if (path.includes('{integration_config_id}')) assert.ok([404, 400].includes(answer.status))
          walked += 1
        }
      }
    }
  }
  assert.ok(walked >= 40, String(walked))
  assert.deepEqual(await stored(), before)

  const mine = {
    'dd-api-key': api.keys.api_key,
    'dd-application-key': api.keys.application_key,
  }
  const configs = '/api/v2/security_monitoring/configuration/integration_config'
  for (const [method, path] of [
    ['GET', `${configs}/${id}`],
    ['DELETE', `${configs}/${id}`],
    ['POST', `${configs}/${id}/validate`],
    ['GET', `${configs}/${id}?include=report`],
  ] as const) {
    const answer = await api.call({ method, path, headers: mine })
    assert.equal(answer.status, 404, `${method} ${path}`)
    assert.deepEqual(answer.json(), { errors: [`not_found(Integration config with ID ${id} not found)`] })
  }
  assert.deepEqual((await api.call({ path: configs, headers: mine })).json(), { data: [] })
  assert.equal((await api.call({ path: `${configs}/${id}`, headers: theirs })).status, 200)
})
