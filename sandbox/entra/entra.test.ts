/** The Entra sandbox is as strict as the real services, and pages as they do. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import fc from 'fast-check'
import type { ProviderFault, SandboxAnswer } from '../provider.ts'
import { createEntraSandbox, type EntraSandbox } from './index.ts'

const now = new Date('2026-11-24T12:00:00Z')
let entra: EntraSandbox
let bearer: string

interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly faults?: readonly ProviderFault[]
  readonly at?: Date
}

const send = (url: string, { method = 'GET', headers = {}, body = '', faults = [], at = now }: Asked = {}) =>
  entra.handle({
    method,
    url: new URL(url),
    headers: new Headers(headers),
    body,
    now: at,
    faults: new Set(faults),
  })

const tokenUrl = (tenant = entra.tenantId) => `https://login.microsoftonline.com/${tenant}/oauth2/v2.0/token`

const askToken = (form: Record<string, string>, url = tokenUrl(), asked: Asked = {}) =>
  send(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(form).toString(),
    ...asked,
  })

const form = (app: { client_id: string; client_secret: string }) => ({
  grant_type: 'client_credentials',
  client_id: app.client_id,
  client_secret: app.client_secret,
  scope: 'https://graph.microsoft.com/.default',
})

type Body = Record<string, unknown> & { readonly value?: readonly Record<string, unknown>[] }
const bodyOf = (answer: SandboxAnswer) => answer.body as Body
const numberOf = (answer: SandboxAnswer) => (bodyOf(answer).error_codes as readonly number[] | undefined)?.[0]
const codeOf = (answer: SandboxAnswer) => (bodyOf(answer).error as { code?: string } | undefined)?.code

const graph = (path: string, asked: Asked = {}) =>
  send(`https://graph.microsoft.com/v1.0${path}`, {
    ...asked,
    headers: { authorization: `Bearer ${bearer}`, ...asked.headers },
  })

before(async () => {
  entra = await createEntraSandbox({ users: 57, groups: 6, seed: 'entra.test', now })
  bearer = String(bodyOf(await askToken(form(entra.apps.full))).access_token)
})

test('tokens are refused for everything that is missing or wrong, each with its own number', async () => {
  const good = form(entra.apps.full)
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))
  for (const [number, status, answer] of [
    [900144, 400, await askToken(without('grant_type'))],
    [900144, 400, await askToken(without('client_id'))],
    [900144, 400, await askToken(without('scope'))],
    [7000218, 401, await askToken(without('client_secret'))],
    [70003, 400, await askToken({ ...good, grant_type: 'password' })],
    [1002012, 400, await askToken({ ...good, scope: 'User.Read.All' })],
    [500011, 400, await askToken({ ...good, scope: 'https://graph.microsoft.us/.default' })],
    [7000215, 401, await askToken({ ...good, client_secret: 'wrong' })],
    [7000222, 401, await askToken(form(entra.apps.expiredSecret))],
    [700016, 400, await askToken(form(entra.apps.unknownApp))],
    [7000112, 400, await askToken(form(entra.apps.disabled))],
    [90002, 400, await askToken(good, tokenUrl('nobody.example'))],
    [900023, 400, await askToken(good, tokenUrl('nobody'))],
    [9001023, 400, await askToken(good, tokenUrl('common'))],
    [900382, 400, await askToken(good, tokenUrl().replace('.com', '.us'))],
    [
      90002,
      400,
      await askToken(
        good,
        tokenUrl().replace('login.microsoftonline.com', 'login.partner.microsoftonline.cn'),
      ),
    ],
    [900561, 400, await send(tokenUrl())],
    [900144, 400, await askToken(good, tokenUrl(), { headers: { 'content-type': 'application/json' } })],
  ] as const) {
    assert.equal(numberOf(answer), number)
    assert.equal(answer.status, status)
    assert.match(
      String(bodyOf(answer).error_description),
      new RegExp(`^AADSTS${number}: .* Correlation ID: [0-9a-f-]{36} `),
    )
  }
})

test('a federated token is checked in every claim, its times and its signature', async () => {
  const ask = async (secrets: { client_id: string; federated_token: string }) =>
    numberOf(
      await askToken({
        grant_type: 'client_credentials',
        client_id: secrets.client_id,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: secrets.federated_token,
        scope: 'https://graph.microsoft.com/.default',
      }),
    )
  const good = await entra.federated({ issuedAt: now })
  assert.equal(await ask(good), undefined)
  assert.equal(await ask(await entra.federated({ issuedAt: now, issuer: 'https://x.example' })), 700211)
  assert.equal(await ask(await entra.federated({ issuedAt: now, subject: 'x' })), 700213)
  assert.equal(await ask(await entra.federated({ issuedAt: now, audience: 'x' })), 700212)
  assert.equal(await ask(await entra.federated({ issuedAt: new Date(now.getTime() - 3_600_000) })), 700024)
  assert.equal(await ask(await entra.federated({ issuedAt: new Date(now.getTime() + 3_600_000) })), 700024)
  const [header, , signature] = good.federated_token.split('.')
  const forged = (await entra.federated({ issuedAt: now, lifetimeSeconds: 1200 })).federated_token.split(
    '.',
  )[1]
  assert.equal(await ask({ ...good, federated_token: `${header}.${forged}.${signature}` }), 50027)
  assert.equal(await ask({ ...good, federated_token: 'no token' }), 50027)
})

test('discovery documents name the cloud of the tenant, also to the other authority', async () => {
  const read = async (host: string, tenant: string) => {
    const answer = await send(`https://${host}/${tenant}/v2.0/.well-known/openid-configuration`)
    return answer.status === 200 ? bodyOf(answer).msgraph_host : numberOf(answer)
  }
  assert.equal(await read('login.microsoftonline.com', 'acme.com'), 'graph.microsoft.com')
  assert.equal(await read('login.microsoftonline.com', entra.domains.usGov), 'graph.microsoft.us')
  assert.equal(await read('login.microsoftonline.us', entra.domains.usGovDod), 'dod-graph.microsoft.us')
  assert.equal(await read('login.microsoftonline.com', entra.domains.china), 90002)
  assert.equal(
    await read('login.partner.microsoftonline.cn', entra.domains.china),
    'microsoftgraph.chinacloudapi.cn',
  )
})

test('Graph refuses what is not a token of its own tenant, cloud and time', async () => {
  const other = bearer.replace(/.{10}$/, 'AAAAAAAAAA')
  for (const headers of [
    { authorization: '' },
    { authorization: 'Basic x' },
    { authorization: 'Bearer x' },
    { authorization: `Bearer ${other}` },
  ])
    assert.equal(codeOf(await graph('/users', { headers })), 'InvalidAuthenticationToken')
  assert.equal(
    codeOf(await graph('/users', { at: new Date(now.getTime() + 7_200_000) })),
    'InvalidAuthenticationToken',
  )
  const elsewhere = await send('https://graph.microsoft.us/v1.0/users', {
    headers: { authorization: `Bearer ${bearer}` },
  })
  assert.equal(codeOf(elsewhere), 'InvalidAuthenticationToken')
  assert.match(elsewhere.headers?.['www-authenticate'] ?? '', /^Bearer realm="", authorization_uri="/)
})

test('what is not selected is left out, even the ID', async () => {
  const answer = await graph('/users?$top=1&$select=displayName')
  assert.deepEqual(Object.keys(bodyOf(answer).value?.[0] ?? {}), ['displayName'])
  const defaults = await graph('/users?$top=1')
  assert.equal(Object.keys(bodyOf(defaults).value?.[0] ?? {}).length, 11)
})

test('queries that Graph does not answer are refused as Graph does', async () => {
  for (const [path, code] of [
    ['/users?$top=0', 'Request_UnsupportedQuery'],
    ['/users?$top=1000', 'Request_UnsupportedQuery'],
    ['/users?$top=many', 'BadRequest'],
    ['/users?$select=id,shoeSize', 'BadRequest'],
    ['/users?$skip=5', 'Request_UnsupportedQuery'],
    ['/users?$orderby=mail', 'Request_UnsupportedQuery'],
    ['/users?$filter=mail', 'Request_UnsupportedQuery'],
    ['/users?$expand=friends', 'BadRequest'],
    ['/users?$skiptoken=abc', 'Directory_ExpiredPageToken'],
    ['/reports/authenticationMethods/userRegistrationDetails?$count=true', 'Request_UnsupportedQuery'],
    ['/roleManagement/directory/roleAssignments?$top=1', 'Request_UnsupportedQuery'],
    ['/nothing', 'BadRequest'],
    ['/groups/11111111-2222-4333-a444-555555555555/members', 'Request_ResourceNotFound'],
  ] as const)
    assert.equal(codeOf(await graph(path)), code, path)
  assert.equal((await graph('/users', { method: 'DELETE' })).status, 405)
  assert.equal((await send('https://graph.microsoft.com/v9/users')).status, 400)
})

test('a skip token is good for its own list alone', async () => {
  const next = String(bodyOf(await graph('/users?$top=5'))['@odata.nextLink'])
  const token = new URL(next).searchParams.get('$skiptoken')
  assert.equal(codeOf(await graph(`/devices?$skiptoken=${token}`)), 'Directory_ExpiredPageToken')
})

/** All entries of a list, and how many pages it took; stops after 200. */
async function walk(path: string, faults: readonly ProviderFault[] = []) {
  const ids: unknown[] = []
  let pages = 0
  let empty = 0
  let next: string | undefined = `https://graph.microsoft.com/v1.0${path}`
  while (next !== undefined && pages < 200) {
    const body = bodyOf(await send(next, { headers: { authorization: `Bearer ${bearer}` }, faults }))
    pages++
    if (body.value?.length === 0) empty++
    ids.push(...(body.value ?? []).map(({ id }) => id))
    next = body['@odata.nextLink'] as string | undefined
  }
  return { ids, pages, empty, isEnded: next === undefined }
}

test('pages of any size hold every entry once, with an empty page between or without', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('users', 'groups', 'devices', 'servicePrincipals'),
      fc.integer({ min: 1, max: 70 }),
      fc.boolean(),
      async (list, top, isEmptying) => {
        const whole = await walk(`/${list}?$top=999&$select=id`)
        const { ids, pages, empty, isEnded } = await walk(
          `/${list}?$top=${top}&$select=id`,
          isEmptying ? ['empty_middle_page'] : [],
        )
        assert.ok(isEnded)
        assert.deepEqual(ids, whole.ids)
        assert.equal(new Set(ids).size, ids.length)
        const full = Math.max(1, Math.ceil(ids.length / top))
        assert.equal(empty, isEmptying && full > 1 ? 1 : 0)
        assert.equal(pages, full + empty)
      },
    ),
    { numRuns: 60 },
  )
})

test('a repeated next link never ends', async () => {
  const { isEnded, ids } = await walk('/users?$top=5&$select=id', ['repeated_next_link'])
  assert.equal(isEnded, false)
  assert.equal(new Set(ids).size, 5)
})

test('the same seed makes the same tenant, and another seed another one', async () => {
  const again = await createEntraSandbox({ users: 57, groups: 6, seed: 'entra.test', now })
  const other = await createEntraSandbox({ users: 57, groups: 6, seed: 'other', now })
  assert.deepEqual(again.apps.full, entra.apps.full)
  assert.notEqual(other.tenantId, entra.tenantId)
  assert.notEqual(other.apps.full.client_secret, entra.apps.full.client_secret)
})

test('the demo is given one example that validates, and typical ones that do not', () => {
  const { valid, invalid } = entra.examples()
  assert.equal(valid.integration_type, 'ENTRA_ID')
  assert.ok(invalid.length >= 5)
  assert.equal(new Set(invalid.map(({ title }) => title)).size, invalid.length)
})
