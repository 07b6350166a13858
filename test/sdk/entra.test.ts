/** The Entra sandbox answers Microsoft's own libraries, over TLS and under Microsoft's own names. */
import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { after, before, test } from 'node:test'
import { AuthError } from '@azure/msal-node'
import { Client, GraphError, type PageCollection, PageIterator } from '@microsoft/microsoft-graph-client'
import { createEntraSandbox, type EntraSandbox } from '../../sandbox/entra/index.ts'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { application, graph, redirectTo, tokenOf } from './graph-client.ts'

let entra: EntraSandbox
let sandbox: RunningSandbox
let restore = () => {}

before(async () => {
  entra = await createEntraSandbox({ users: 230, groups: 30, seed: 'sdk' })
  sandbox = await startSandbox({ providers: [entra] })
  restore = redirectTo(sandbox)
})
after(async () => {
  restore()
  await sandbox.close()
})

test('MSAL gets a token with a client secret', async () => {
  const client = application(entra.apps.full, { clientSecret: entra.apps.full.client_secret })
  const result = await client.acquireTokenByClientCredential({
    scopes: ['https://graph.microsoft.com/.default'],
  })
  assert.equal(result?.tokenType, 'Bearer')
  assert.equal(result?.fromCache, false)
  assert.ok((result?.expiresOn?.getTime() ?? 0) > Date.now() + 3_000_000)
})

test('MSAL gets a token with a certificate', async () => {
  const { certificate, private_key, ...app } = entra.apps.certificate
  const thumbprintSha256 = createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex')
  const client = application(app, { clientCertificate: { thumbprintSha256, privateKey: private_key } })
  const result = await client.acquireTokenByClientCredential({
    scopes: ['https://graph.microsoft.com/.default'],
  })
  assert.equal(result?.tokenType, 'Bearer')
})

test('MSAL gets a token with a federated token', async () => {
  const { federated_token, ...app } = await entra.federated()
  const client = application(app, { clientAssertion: async () => federated_token })
  const result = await client.acquireTokenByClientCredential({
    scopes: ['https://graph.microsoft.com/.default'],
  })
  assert.equal(result?.tokenType, 'Bearer')
})

test("MSAL's error for a wrong secret carries Microsoft's code and number", async () => {
  await assert.rejects(tokenOf(entra.apps.wrongSecret), (error: unknown) => {
    assert.ok(error instanceof AuthError)
    assert.equal(error.errorCode, 'invalid_client')
    assert.match(error.errorMessage, /AADSTS7000215/)
    return true
  })
})

test("MSAL's error for an unknown tenant is the one of discovery", async () => {
  await assert.rejects(tokenOf(entra.apps.unknownTenant), (error: unknown) => error instanceof AuthError)
})

test('the Graph client lists users, and walks through all pages', async () => {
  const client = graph(entra.apps.usual)
  const first: PageCollection = await client.api('/users').top(100).select(['id', 'userPrincipalName']).get()
  assert.equal(first.value.length, 100)
  assert.deepEqual(Object.keys(first.value[0]).sort(), ['id', 'userPrincipalName'])
  assert.match(
    first['@odata.nextLink'] ?? '',
    /^https:\/\/graph\.microsoft\.com\/v1\.0\/users\?.*\$skiptoken=/,
  )
  const ids = new Set<string>()
  await new PageIterator(client, first, ({ id }) => ids.size < ids.add(id).size).iterate()
  assert.equal(ids.size, 230)
})

test('the Graph client lists groups and the members of the largest', async () => {
  const client = graph(entra.apps.leastPrivilege)
  const { value } = await client.api('/groups').select('id,displayName').get()
  assert.equal(value.length, 30)
  const members: PageCollection = await client.api(`/groups/${value[0].id}/members`).top(999).get()
  assert.equal(members.value.length, 230)
  assert.equal(members.value[0]['@odata.type'], '#microsoft.graph.user')
})

test('the Graph client reads one user with the manager of a list, the organisation and the roles', async () => {
  const client = graph(entra.apps.full)
  const { value } = await client.api('/users').top(2).expand('manager').get()
  assert.equal(value[1].manager.id, value[0].id)
  const user = await client.api(`/users/${value[1].userPrincipalName}`).select('id,accountEnabled').get()
  assert.equal(user.id, value[1].id)
  const organization = await client.api('/organization').get()
  assert.deepEqual(
    organization.value[0].verifiedDomains.map(({ name }: { name: string }) => name),
    ['acme.onmicrosoft.com', 'acme.com'],
  )
  const roles = await client
    .api('/roleManagement/directory/roleAssignments')
    .filter(`principalId eq '${value[0].id}'`)
    .get()
  assert.equal(roles.value[0].roleDefinitionId, '62e90394-69f5-4237-9190-012177145e10')
})

const refusals: readonly (readonly [
  title: string,
  ask: () => Promise<unknown>,
  status: number,
  code: string,
])[] = [
  [
    'a missing permission',
    () => graph(entra.apps.noGroups).api('/groups').get(),
    403,
    'Authorization_RequestDenied',
  ],
  [
    'a missing audit log permission',
    () => graph(entra.apps.usual).api('/users').select('id,signInActivity').get(),
    403,
    'Authentication_MSGraphPermissionMissing',
  ],
  [
    'a missing licence',
    () => graph(entra.apps.withoutPremium).api('/users').select('id,signInActivity').get(),
    403,
    'Authentication_RequestFromNonPremiumTenantOrB2CTenant',
  ],
  [
    'a page that is too large',
    () => graph(entra.apps.full).api('/users').top(1000).get(),
    400,
    'Request_UnsupportedQuery',
  ],
  [
    'an unknown property',
    () => graph(entra.apps.full).api('/users').select('nickname').get(),
    400,
    'BadRequest',
  ],
  [
    'an unknown object',
    () => graph(entra.apps.full).api(`/users/${entra.tenantId}`).get(),
    404,
    'Request_ResourceNotFound',
  ],
  ['an unknown path', () => graph(entra.apps.full).api('/unicorns').get(), 400, 'BadRequest'],
  [
    'an app without identity',
    () => graph(entra.apps.missingInGraph).api('/users').get(),
    401,
    'Authorization_IdentityNotFound',
  ],
]

for (const [title, ask, status, code] of refusals) {
  test(`the Graph client's error for ${title} is ${status} ${code}`, async () => {
    await assert.rejects(ask(), (error: unknown) => {
      assert.ok(error instanceof GraphError)
      assert.equal(error.statusCode, status)
      assert.equal(error.code, code)
      assert.ok(error.requestId)
      return true
    })
  })
}

test('a token for another cloud opens nothing', async () => {
  const client = Client.initWithMiddleware({
    authProvider: { getAccessToken: () => tokenOf(entra.apps.full) },
    baseUrl: 'https://graph.microsoft.us',
  })
  await assert.rejects(client.api('/users').get(), (error: unknown) => {
    assert.ok(error instanceof GraphError)
    assert.equal(error.code, 'InvalidAuthenticationToken')
    return true
  })
})
