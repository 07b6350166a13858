import assert from 'node:assert/strict'
import { createHmac, createPublicKey } from 'node:crypto'
import { before, test } from 'node:test'
import fc from 'fast-check'
import { importPKCS8, SignJWT } from 'jose'
import type { ProviderFault, SandboxAnswer } from '../provider.ts'
import { createGoogleSandbox, type GoogleSandbox } from './index.ts'

const now = new Date('2026-11-24T12:00:00Z')
const seconds = now.getTime() / 1000
const scope = (name: string) => `https://www.googleapis.com/auth/admin.directory.${name}.readonly`
const allScopes = [
  'user',
  'group',
  'group.member',
  'customer',
  'domain',
  'rolemanagement',
  'device.chromeos',
  'device.mobile',
]
  .map(scope)
  .join(' ')

let google: GoogleSandbox
before(async () => {
  google = await createGoogleSandbox({ users: 47, groups: 26, devices: 40, seed: 'strict' })
})

type KeyFileName = keyof GoogleSandbox['keyFiles']

async function assertionOf(
  changes: { keyFile?: KeyFileName; claims?: Record<string, unknown>; header?: Record<string, unknown> } = {},
): Promise<string> {
  const keyFile = google.keyFiles[changes.keyFile ?? 'good']
  const claims = {
    iss: keyFile.client_email,
    sub: google.admins.super,
    scope: allScopes,
    aud: 'https://oauth2.googleapis.com/token',
    iat: seconds,
    exp: seconds + 3600,
    ...changes.claims,
  }
  return new SignJWT(JSON.parse(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: keyFile.private_key_id, ...changes.header })
    .sign(await importPKCS8(keyFile.private_key, 'RS256'))
}

function askToken(
  assertion: string,
  changes: { url?: string; body?: string; type?: string; at?: Date } = {},
): Promise<SandboxAnswer> {
  return google.handle({
    method: 'POST',
    url: new URL(changes.url ?? 'https://oauth2.googleapis.com/token'),
    headers: new Headers({ 'content-type': changes.type ?? 'application/x-www-form-urlencoded' }),
    body:
      changes.body ??
      new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion,
      }).toString(),
    now: changes.at ?? now,
    faults: new Set(),
  })
}

async function tokenOf(changes: Parameters<typeof assertionOf>[0] = {}, at = now): Promise<string> {
  const answer = await askToken(await assertionOf(changes), { at })
  assert.equal(answer.status, 200)
  return (answer.body as { access_token: string }).access_token
}

async function get(
  path: string,
  changes: { token?: string; at?: Date; method?: string; faults?: ProviderFault[]; headers?: Headers } = {},
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const token = changes.token ?? (await tokenOf())
  const answer = await google.handle({
    method: changes.method ?? 'GET',
    url: new URL(`https://admin.googleapis.com/admin/directory/v1/${path}`),
    headers: changes.headers ?? new Headers({ authorization: `Bearer ${token}` }),
    body: '',
    now: changes.at ?? now,
    faults: new Set(changes.faults),
  })
  return {
    status: answer.status,
    body: answer.body as Record<string, unknown>,
    headers: new Headers(answer.headers),
  }
}

const reasonOf = (body: unknown) =>
  (body as { error: { errors: { reason: string }[] } }).error.errors[0]?.reason

test('issues tokens to assertions that are in order', async () => {
  const assertions = [
    await assertionOf(),
    await assertionOf({ header: { kid: undefined, typ: undefined } }),
    await assertionOf({ claims: { iat: seconds - 200, exp: seconds + 3400 } }),
    await assertionOf({ claims: { sub: undefined } }),
  ]
  for (const assertion of assertions) {
    const answer = await askToken(assertion)
    assert.equal(answer.status, 200)
    assert.partialDeepStrictEqual(answer.body, { expires_in: 3599, token_type: 'Bearer' })
  }
  const local = await assertionOf({ claims: { aud: 'http://127.0.0.1:7001/token' } })
  assert.equal((await askToken(local, { url: 'http://127.0.0.1:7001/token' })).status, 200)
})

test("refuses assertions for each thing that is not in order, in Google's words", async () => {
  const header = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const [, payload] = (await assertionOf()).split('.')
  const unsigned = `${header({ alg: 'none' })}.${payload}.`
  const publicPem = createPublicKey(google.keyFiles.good.private_key).export({ type: 'spki', format: 'pem' })
  const confused = `${header({ alg: 'HS256' })}.${payload}`
  const hmac = createHmac('sha256', publicPem).update(confused).digest('base64url')
  const signature = 'invalid_grant Invalid JWT Signature.'
  const time =
    'invalid_grant Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.'
  const unauthorized =
    'unauthorized_client Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.'
  const scopeWords = 'invalid_scope Invalid OAuth scope or ID token audience provided.'
  const cases: [string, number, string][] = [
    ['', 400, signature],
    ['a.b.c', 400, signature],
    [unsigned, 400, signature],
    [`${confused}.${hmac}`, 400, signature],
    [`${await assertionOf()}x`, 400, signature],
    [await assertionOf({ keyFile: 'deletedKey' }), 400, signature],
    [await assertionOf({ header: { kid: 'other' } }), 400, signature],
    [await assertionOf({ header: { typ: 'at+jwt' } }), 400, signature],
    [
      await assertionOf({ claims: { iss: 'nobody@x.iam.gserviceaccount.com' } }),
      400,
      'invalid_grant Invalid grant: account not found',
    ],
    [await assertionOf({ keyFile: 'deletedAccount' }), 400, 'invalid_grant Invalid grant: account not found'],
    [await assertionOf({ keyFile: 'disabled' }), 401, 'disabled_client The OAuth client was disabled.'],
    [await assertionOf({ claims: { exp: seconds + 3601 } }), 400, time],
    [await assertionOf({ claims: { iat: seconds + 400, exp: seconds + 900 } }), 400, time],
    [await assertionOf({ claims: { iat: seconds - 4000, exp: seconds - 400 } }), 400, time],
    [await assertionOf({ claims: { exp: undefined } }), 400, time],
    [await assertionOf({ claims: { iat: String(seconds) } }), 400, time],
    [
      await assertionOf({ claims: { aud: 'https://evil.example/token' } }),
      400,
      'invalid_grant Invalid JWT: Failed audience check.',
    ],
    [
      await assertionOf({ claims: { aud: ['https://oauth2.googleapis.com/token'] } }),
      400,
      'invalid_grant Invalid JWT: Failed audience check.',
    ],
    [await assertionOf({ claims: { scope: '' } }), 400, scopeWords],
    [await assertionOf({ claims: { scope: 'everything' } }), 400, scopeWords],
    [
      await assertionOf({ claims: { sub: 'admin' } }),
      400,
      'invalid_request Invalid impersonation "sub" field: admin',
    ],
    [
      await assertionOf({ claims: { sub: google.admins.unknown } }),
      400,
      'invalid_grant Invalid email or User ID',
    ],
    [
      await assertionOf({ claims: { sub: 'admin@initech.com' } }),
      400,
      'invalid_grant Invalid email or User ID',
    ],
    [await assertionOf({ claims: { sub: google.admins.suspended } }), 400, 'invalid_grant Bad Request'],
    [await assertionOf({ keyFile: 'notDelegated' }), 401, unauthorized],
    [await assertionOf({ keyFile: 'withoutGroups', claims: { scope: scope('group') } }), 401, unauthorized],
    [await assertionOf({ keyFile: 'withoutGroups' }), 403, 'access_denied Requested client not authorized.'],
    [
      await assertionOf({ keyFile: 'blockedByPolicy' }),
      400,
      'admin_policy_enforced Access to this scope is restricted by your administrator.',
    ],
  ]
  for (const [assertion, status, words] of cases) {
    const answer = await askToken(assertion)
    const { error, error_description } = answer.body as { error: string; error_description: string }
    assert.deepEqual([answer.status, `${error} ${error_description}`], [status, words])
  }
})

test('refuses token requests of another form', async () => {
  const assertion = await assertionOf()
  const cases: [Parameters<typeof askToken>[1], string][] = [
    [{ type: 'application/json', body: JSON.stringify({ assertion }) }, 'invalid_request'],
    [{ body: `assertion=${assertion}` }, 'invalid_request'],
    [{ body: 'grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer' }, 'invalid_request'],
    [{ body: `grant_type=client_credentials&assertion=${assertion}` }, 'unsupported_grant_type'],
    [
      { body: `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=${assertion}&assertion=x` },
      'invalid_request',
    ],
  ]
  for (const [changes, error] of cases) {
    const answer = await askToken(assertion, changes)
    assert.deepEqual([answer.status, (answer.body as { error: string }).error], [400, error])
  }
})

test('wants a living token with the scope, of an administrator with the privilege', async () => {
  const groupsOnly = await tokenOf({ claims: { scope: scope('group') } })
  const own = await tokenOf({ claims: { sub: undefined } })
  const reader = await tokenOf({ claims: { sub: google.admins.reader } })
  const plain = await tokenOf({ claims: { sub: google.admins.notAdmin } })
  const off = await tokenOf({ keyFile: 'apiDisabled' })
  const users = 'users?customer=my_customer'
  const cases: [string, Parameters<typeof get>[1], number, string][] = [
    [users, { headers: new Headers() }, 401, 'required'],
    [users, { headers: new Headers({ authorization: 'Basic eDp5' }) }, 401, 'authError'],
    [users, { token: 'ya29.x' }, 401, 'authError'],
    [users, { token: `${reader}x` }, 401, 'authError'],
    [users, { token: reader, at: new Date(now.getTime() + 3_599_000) }, 401, 'authError'],
    [users, { token: groupsOnly }, 403, 'insufficientPermissions'],
    [users, { token: own }, 403, 'forbidden'],
    [users, { token: plain }, 403, 'forbidden'],
    ['customer/my_customer/roles', { token: reader }, 403, 'forbidden'],
    [users, { token: off }, 403, 'accessNotConfigured'],
  ]
  for (const [path, changes, status, reason] of cases) {
    const answer = await get(path, changes)
    assert.deepEqual([answer.status, reasonOf(answer.body)], [status, reason])
  }
  assert.match(
    (await get(users, { token: groupsOnly })).headers.get('www-authenticate') ?? '',
    /error="insufficient_scope"/,
  )
  assert.equal((await get('groups/everybody0/members', { token: groupsOnly })).status, 200)
})

test('a service account reads in its own name what its role allows, and must name the organisation', async () => {
  const token = await tokenOf({ keyFile: 'withRole', claims: { sub: undefined } })
  const { status, body } = await get('users?domain=example.com&maxResults=1', { token })
  assert.equal(status, 200)
  const [{ customerId } = {}] = body.users as { customerId?: string }[]
  assert.equal(customerId, google.customerId)
  assert.equal((await get(`groups?customer=${customerId}`, { token })).status, 200)
  assert.equal((await get('users?customer=my_customer', { token })).status, 400)
  assert.equal((await get(`customer/${customerId}/roles`, { token })).status, 403)
})

test('answers requests that Google does not know as Google does', async () => {
  const cases: [string, Parameters<typeof get>[1], number, string][] = [
    ['nothing', {}, 404, 'notFound'],
    ['users?customer=my_customer', { method: 'POST' }, 404, 'notFound'],
    ['users', {}, 400, 'badRequest'],
    ['users?customer=C0other', {}, 400, 'invalid'],
    ['users?domain=initech.com', {}, 404, 'notFound'],
    ['users?customer=my_customer&maxResults=501', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&maxResults=0', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&maxResults=x', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&orderBy=age', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&projection=all', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&pageToken=x', {}, 400, 'invalid'],
    ['users?customer=my_customer&fields=users(id', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&fields=users)', {}, 400, 'invalidParameter'],
    ['users?customer=my_customer&fields=,', {}, 400, 'invalidParameter'],
    ['users/nobody%40example.com', {}, 404, 'notFound'],
    ['users/%E0%A4%A', {}, 400, 'badRequest'],
    ['groups/none/members', {}, 404, 'notFound'],
    ['customer/my_customer/domains/initech.com', {}, 404, 'notFound'],
    ['customer/my_customer/domainaliases/example.com', {}, 404, 'notFound'],
    ['customers/C0other', {}, 400, 'invalid'],
  ]
  for (const [path, changes, status, reason] of cases) {
    const answer = await get(path, changes)
    assert.deepEqual([answer.status, reasonOf(answer.body)], [status, reason], path)
  }
  const page = await google.handle({
    method: 'GET',
    url: new URL('https://oauth2.googleapis.com/token'),
    headers: new Headers(),
    body: '',
    now,
    faults: new Set(),
  })
  assert.equal(page.status, 404)
  assert.match(String(page.body), /^<!DOCTYPE html>/)
})

test('leaves out what fields does not name', async () => {
  const cases: [string, unknown][] = [
    ['kind', { kind: 'admin#directory#users' }],
    ['users/primaryEmail', { users: [{ primaryEmail: 'test@example.com' }] }],
    ['users(primaryEmail,isAdmin)', { users: [{ primaryEmail: 'test@example.com', isAdmin: true }] }],
    [
      'kind, users( emails/primary )',
      { kind: 'admin#directory#users', users: [{ emails: [{ primary: true }, {}] }] },
    ],
    ['users(name(*),name/fullName)', undefined],
    ['nothing', {}],
  ]
  for (const [fields, expected] of cases) {
    const { body } = await get(`users?customer=my_customer&maxResults=1&fields=${encodeURIComponent(fields)}`)
    if (expected !== undefined) assert.deepEqual(body, expected)
    else
      assert.deepEqual(Object.keys((body.users as { name: object }[])[0]?.name ?? {}).sort(), [
        'familyName',
        'fullName',
        'givenName',
      ])
  }
})

/** All pages of a list: the ids in order. */
async function walk(
  list: string,
  member: string,
  idMember: string,
  faults: ProviderFault[] = [],
): Promise<string[][]> {
  const token = await tokenOf()
  const pages: string[][] = []
  let next: unknown
  do {
    const page: string = next === undefined ? '' : `&pageToken=${encodeURIComponent(String(next))}`
    const { status, body } = await get(`${list}${page}`, { token, faults })
    assert.equal(status, 200)
    pages.push(((body[member] ?? []) as Record<string, string>[]).map((item) => item[idMember] ?? ''))
    next = body.nextPageToken
    assert.ok(pages.length < 100)
  } while (next !== undefined)
  return pages
}

test('pages every list completely and without repeats, whatever the size of a page', async () => {
  const lists: [string, string, string, number][] = [
    ['users?customer=my_customer', 'users', 'id', 47],
    ['users?customer=my_customer&orderBy=familyName&sortOrder=DESCENDING', 'users', 'id', 47],
    ['users?domain=siem-test.com', 'users', 'id', 4],
    ['users?domain=example.com', 'users', 'id', 43],
    ['groups?customer=my_customer', 'groups', 'id', 26],
    ['groups/everybody0/members?', 'members', 'id', 47],
    ['customer/my_customer/roles?', 'items', 'roleId', 3],
  ]
  for (const [list, member, idMember, count] of lists) {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), async (size) => {
        const pages = await walk(`${list}&maxResults=${size}`, member, idMember)
        const ids = pages.flat()
        assert.equal(ids.length, count)
        assert.equal(new Set(ids).size, count)
        assert.ok(pages.slice(0, -1).every((page) => page.length === size))
      }),
      { numRuns: 6 },
    )
  }
})

test('page tokens belong to their list, and those of users to three days', async () => {
  const first = await get('users?customer=my_customer&maxResults=5')
  const token = encodeURIComponent(String(first.body.nextPageToken))
  assert.equal((await get(`users?customer=my_customer&maxResults=9&pageToken=${token}`)).status, 200)
  assert.equal((await get(`users?domain=example.com&pageToken=${token}`)).status, 400)
  assert.equal((await get(`groups?customer=my_customer&pageToken=${token}`)).status, 400)
  for (const [days, status] of [
    [2.9, 200],
    [3.1, 400],
  ] as const) {
    const at = new Date(now.getTime() + days * 86_400_000)
    const claims = { iat: at.getTime() / 1000, exp: at.getTime() / 1000 + 3600 }
    const accessToken = await tokenOf({ claims }, at)
    const answer = await get(`users?customer=my_customer&pageToken=${token}`, { token: accessToken, at })
    assert.equal(answer.status, status)
  }
})

test('plays empty pages in the middle and next links that lead to themselves', async () => {
  const whole = await walk('users?customer=my_customer&maxResults=20', 'users', 'id')
  const gaps = await walk('users?customer=my_customer&maxResults=20', 'users', 'id', ['empty_middle_page'])
  assert.deepEqual(gaps.flat(), whole.flat())
  assert.deepEqual(
    gaps.map((page) => page.length),
    [20, 0, 20, 0, 7],
  )
  const faults: ProviderFault[] = ['repeated_next_link']
  const token = await tokenOf()
  const first = await get('groups?customer=my_customer&maxResults=5', { token })
  const again = `groups?customer=my_customer&maxResults=5&pageToken=${encodeURIComponent(String(first.body.nextPageToken))}`
  const [one, two] = [await get(again, { token, faults }), await get(again, { token, faults })]
  assert.deepEqual(one.body, two.body)
  assert.equal(one.body.nextPageToken, first.body.nextPageToken)
})

test('finds people by address, alias and id, and groups by address and id', async () => {
  const { body } = await get('users?customer=my_customer&maxResults=12')
  for (const user of body.users as { id: string; primaryEmail: string; nonEditableAliases: string[] }[]) {
    for (const key of [
      user.id,
      user.primaryEmail,
      user.primaryEmail.toUpperCase(),
      ...user.nonEditableAliases,
    ])
      assert.equal((await get(`users/${encodeURIComponent(key)}`)).body.id, user.id, key)
  }
  const groups = await get('groups?customer=my_customer&maxResults=3')
  for (const group of groups.body.groups as { id: string; email: string }[]) {
    for (const key of [group.id, group.email])
      assert.equal((await get(`groups/${encodeURIComponent(key)}`)).body.id, group.id)
  }
})

test('members agree with the groups of a person', async () => {
  const { body } = await get('groups?userKey=test%40example.com')
  const groups = body.groups as { id: string; directMembersCount: string }[]
  assert.ok(groups.length > 0)
  for (const { id, directMembersCount } of groups) {
    const members = (await walk(`groups/${id}/members?`, 'members', 'email')).flat()
    assert.ok(members.includes('test@example.com'))
    assert.equal(String(members.length), directMembersCount)
    assert.deepEqual((await get(`groups/${id}/hasMember/test%40example.com`)).body, { isMember: true })
  }
  const owners = await get('groups/everybody0/members?roles=OWNER')
  assert.equal((owners.body.members as unknown[]).length, 1)
})

test('the same seed gives the same organisation', async () => {
  const again = await createGoogleSandbox({ users: 47, groups: 26, devices: 40, seed: 'strict' })
  assert.deepEqual(again.admins, google.admins)
  assert.deepEqual(again.keyFiles.good.client_id, google.keyFiles.good.client_id)
  assert.deepEqual(again.directory.person(7), google.directory.person(7))
})
