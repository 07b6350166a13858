/** The sandbox organisation is as strict as Okta, and pages like it. */
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import fc from 'fast-check'
import { calculateJwkThumbprint, SignJWT } from 'jose'
import type { ProviderFault, SandboxAnswer } from '../provider.ts'
import { type AppName, createOktaSandbox, type OktaSandbox } from './index.ts'

let okta: OktaSandbox
before(async () => {
  okta = await createOktaSandbox({ users: 450, groups: 30, seed: 'sandbox tests' })
})

const now = new Date('2026-11-24T06:00:00Z')
const seconds = now.getTime() / 1000

interface Asking {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly at?: Date
  readonly faults?: readonly ProviderFault[]
}
const ask = (path: string, { method = 'GET', headers = {}, body = '', at = now, faults = [] }: Asking = {}) =>
  okta.handle({
    method,
    url: new URL(path, `https://${okta.host}`),
    headers: new Headers(headers),
    body,
    now: at,
    faults: new Set(faults),
  })
const withToken = (name: keyof OktaSandbox['apiTokens'] = 'readOnly') => ({
  headers: { authorization: `SSWS ${okta.apiTokens[name]}` },
})
const codeOf = ({ status, body }: SandboxAnswer) => {
  const { errorCode, error, error_description: words } = (body ?? {}) as Record<string, string>
  return [status, errorCode ?? error, ...(words === undefined ? [] : [words])]
}
const listOf = ({ body }: SandboxAnswer) => body as readonly Record<string, unknown>[]
const nextOf = ({ headers }: SandboxAnswer) => /<([^>]+)>; rel="next"/.exec(headers?.link ?? '')?.[1]

const tokenUrl = () => `https://${okta.host}/oauth2/v1/token`
interface Claims {
  readonly aud?: string
  readonly exp?: number
  readonly iat?: number
  readonly jti?: string
  readonly iss?: string
  readonly sub?: string
}
async function assertionOf(
  name: AppName,
  claims: Claims = {},
  { key, kid, alg = 'RS256' }: { key?: KeyObject; kid?: string; alg?: string } = {},
) {
  const { clientId, keyId, privateKey } = okta.serviceApps[name]
  const {
    aud = tokenUrl(),
    exp = seconds + 300,
    iat = seconds,
    jti = randomUUID(),
    iss = clientId,
    sub = clientId,
  } = claims
  return new SignJWT({ aud, exp, iat, jti, iss, sub })
    .setProtectedHeader({ alg, kid: kid ?? keyId })
    .sign(key ?? createPrivateKey(privateKey))
}
const formWith = (assertion: string, more: Readonly<Record<string, string>> = {}) =>
  new URLSearchParams({
    grant_type: 'client_credentials',
    scope: 'okta.users.read okta.groups.read',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
    ...more,
  }).toString()
const requestToken = (body: string, headers: Readonly<Record<string, string>> = {}) =>
  ask('/oauth2/v1/token', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body,
  })

test('issues a token for what is granted of the scopes that were asked for', async () => {
  const answer = await requestToken(formWith(await assertionOf('withoutGroupsScope')))
  assert.equal(answer.status, 200)
  assert.partialDeepStrictEqual(answer.body, {
    token_type: 'Bearer',
    expires_in: 3600,
    scope: 'okta.users.read',
  })
})

test('refuses assertions for each reason that Okta documents, in its words', async () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const cases: readonly (readonly [string, RegExp])[] = [
    [await assertionOf('plain', { iss: 'nobody' }), /issuer claim/],
    [await assertionOf('plain', { sub: 'nobody' }), /subject claim/],
    [await assertionOf('plain', { aud: `https://${okta.host}` }), /audience claim/],
    [await assertionOf('plain', { aud: 'https://other.okta.com/oauth2/v1/token' }), /audience claim/],
    [await assertionOf('plain', { exp: seconds - 1 }), /is expired/],
    [await assertionOf('plain', { exp: seconds + 3601 }), /too far into the future/],
    [await assertionOf('plain', { iat: seconds + 60 }), /before the current time/],
    [await assertionOf('plain', {}, { key: other }), /signature is invalid/],
    [await assertionOf('plain', {}, { kid: 'other' }), /kid is invalid/],
    [await assertionOf('plain', {}, { alg: 'PS256' }), /algorithm is invalid/],
    ['not a JWT', /parsing/],
    [await assertionOf('clientSecret'), /private_key_jwt/],
    [await assertionOf('web'), /'application_type'/],
    [await assertionOf('deactivated'), /Client authentication failed/],
  ]
  for (const [assertion, words] of cases) {
    const [status, error, description] = codeOf(await requestToken(formWith(assertion)))
    assert.deepEqual([status, error], [401, 'invalid_client'])
    assert.match(String(description), words)
  }
})

test('takes an assertion once', async () => {
  const form = formWith(await assertionOf('plain'))
  assert.equal((await requestToken(form)).status, 200)
  assert.match(String(codeOf(await requestToken(form))[2]), /already been used/)
})

test('refuses token requests that are malformed', async () => {
  const form = formWith(await assertionOf('plain'))
  const refusals: readonly (readonly [Promise<SandboxAnswer>, number, string])[] = [
    [ask('/oauth2/v1/token'), 405, 'E0000022'],
    [ask('/oauth2/v1/token', { method: 'POST', body: form }), 400, 'E0000021'],
    [requestToken(`${form}&scope=x`), 400, 'invalid_request'],
    [requestToken(form.replace('client_credentials', 'password')), 400, 'unsupported_grant_type'],
    [requestToken('grant_type=client_credentials'), 401, 'invalid_client'],
    [requestToken('grant_type=client_credentials', { authorization: 'Basic eDp5' }), 401, 'invalid_client'],
    [requestToken(form.replace('jwt-bearer', 'saml2-bearer')), 400, 'invalid_request'],
    [requestToken(formWith(await assertionOf('plain'), { scope: '' })), 400, 'invalid_scope'],
    [requestToken(formWith(await assertionOf('plain'), { scope: 'okta.made.up' })), 400, 'invalid_scope'],
    [requestToken(formWith(await assertionOf('withoutScopes'))), 400, 'consent_required'],
    [requestToken(formWith(await assertionOf('plain'), { client_id: 'other' })), 401, 'invalid_client'],
    [requestToken(formWith(await assertionOf('outsideZone'))), 403, 'access_denied'],
  ]
  for (const [answer, status, error] of refusals)
    assert.deepEqual(codeOf(await answer).slice(0, 2), [status, error])
})

async function proofOf(
  claims: Record<string, unknown>,
  key: KeyObject,
  header: Record<string, unknown> = {},
) {
  const { kty, n, e } = key.export({ format: 'jwk' })
  return new SignJWT({ iat: seconds, jti: randomUUID(), ...claims })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'RS256', jwk: { kty, n, e }, ...header } as never)
    .sign(key)
}

test('binds the token of an app with DPoP, and asks for a nonce first', async () => {
  const key = createPrivateKey(okta.serviceApps.dpop.privateKey)
  const claims = { htm: 'POST', htu: tokenUrl() }
  const withoutProof = await requestToken(formWith(await assertionOf('dpop')))
  assert.deepEqual(codeOf(withoutProof), [400, 'invalid_dpop_proof', 'The DPoP proof JWT header is missing.'])
  const withoutNonce = await requestToken(formWith(await assertionOf('dpop')), {
    dpop: await proofOf(claims, key),
  })
  assert.equal(codeOf(withoutNonce)[1], 'use_dpop_nonce')
  const nonce = withoutNonce.headers?.['dpop-nonce']
  assert.ok(nonce)
  const issued = await requestToken(formWith(await assertionOf('dpop')), {
    dpop: await proofOf({ ...claims, nonce }, key),
  })
  assert.partialDeepStrictEqual(issued, { status: 200, body: { token_type: 'DPoP' } })

  const accessToken = (issued.body as { access_token: string }).access_token
  const ath = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(accessToken))).toString(
    'base64url',
  )
  const at = { htm: 'GET', htu: `https://${okta.host}/api/v1/users`, ath }
  const users = async (scheme: string, proof?: string) => {
    const headers = { authorization: `${scheme} ${accessToken}`, ...(proof !== undefined && { dpop: proof }) }
    const { status, headers: answered } = await ask('/api/v1/users?limit=1', { headers })
    return [status, /error="([^"]+)"/.exec(answered?.['www-authenticate'] ?? '')?.[1]]
  }
  const once = await proofOf(at, key)
  assert.deepEqual(await users('DPoP', once), [200, undefined])
  assert.deepEqual(await users('DPoP', once), [400, 'invalid_dpop_proof'])
  assert.deepEqual(await users('Bearer'), [400, 'invalid_request'])
  assert.deepEqual(await users('DPoP'), [400, 'invalid_request'])
  const wrong: readonly Record<string, unknown>[] = [
    { htm: 'POST' },
    { htu: `https://${okta.host}/api/v1/groups` },
    { ath: 'x' },
    { iat: seconds - 301 },
    { iat: seconds + 60 },
    { jti: '' },
  ]
  for (const claim of wrong)
    assert.deepEqual(await users('DPoP', await proofOf({ ...at, ...claim }, key)), [
      400,
      'invalid_dpop_proof',
    ])
  const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  assert.notEqual(
    await calculateJwkThumbprint(foreign.export({ format: 'jwk' }) as never),
    await calculateJwkThumbprint(key.export({ format: 'jwk' }) as never),
  )
  assert.deepEqual(await users('DPoP', await proofOf(at, foreign)), [400, 'invalid_dpop_proof'])
  assert.deepEqual(await users('DPoP', await proofOf(at, key, { typ: 'jwt' })), [400, 'invalid_dpop_proof'])
})

test('asks for the scope of each route, and says which in a header without a body', async () => {
  const issued = await requestToken(formWith(await assertionOf('plain'), { scope: 'okta.users.read' }))
  const authorization = `Bearer ${(issued.body as { access_token: string }).access_token}`
  assert.equal((await ask('/api/v1/users', { headers: { authorization } })).status, 200)
  const refused = await ask('/api/v1/groups', { headers: { authorization } })
  assert.equal(refused.status, 403)
  assert.equal(refused.body, undefined)
  assert.match(
    refused.headers?.['www-authenticate'] ?? '',
    /scope="okta\.groups\.read", error="insufficient_scope"/,
  )
  const later = new Date(now.getTime() + 3_600_000)
  assert.equal((await ask('/api/v1/users', { headers: { authorization }, at: later })).status, 401)
})

test('refuses API tokens that are not alive, and requests without any', async () => {
  for (const name of ['revoked', 'expired', 'ownerDeactivated'] as const)
    assert.deepEqual(codeOf(await ask('/api/v1/users', withToken(name))), [401, 'E0000011'])
  assert.deepEqual(codeOf(await ask('/api/v1/users')), [403, 'E0000005'])
  assert.deepEqual(codeOf(await ask('/api/v1/users', { headers: { authorization: 'Basic eDp5' } })), [
    403,
    'E0000005',
  ])
})

test('knows no other paths and methods', async () => {
  assert.deepEqual(codeOf(await ask('/api/v1/made-up', withToken())), [404, 'E0000008'])
  assert.deepEqual(codeOf(await ask('/api/v1/users', { ...withToken(), method: 'PUT' })), [405, 'E0000022'])
  assert.deepEqual(codeOf(await ask('/api/v1/users/nobody', withToken())), [404, 'E0000007'])
})

test('tells the rate limit in the headers of each answer, and throttles beyond it', async () => {
  const small = await createOktaSandbox({ users: 3, groups: 1, seed: 'small', requestsPerMinute: 2 })
  const askSmall = (at: Date) =>
    small.handle({
      method: 'GET',
      url: new URL(`https://${small.host}/api/v1/users`),
      headers: new Headers({ authorization: `SSWS ${small.apiTokens.readOnly}` }),
      body: '',
      now: at,
      faults: new Set(),
    })
  const statuses = []
  for (let count = 0; count < 3; count++) statuses.push((await askSmall(now)).status)
  assert.deepEqual(statuses, [200, 200, 429])
  const limited = await askSmall(now)
  assert.equal(codeOf(limited)[1], 'E0000047')
  assert.equal(limited.headers?.['x-rate-limit-reset'], String(seconds + 60))
  assert.equal((await askSmall(new Date(now.getTime() + 60_000))).status, 200)
})

test('pages through all users with links, whatever the limit, each once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 7, max: 300 }), async (limit) => {
      const seen: unknown[] = []
      let path: string | undefined = `/api/v1/users?limit=${limit}`
      while (path !== undefined) {
        const answer: SandboxAnswer = await ask(path, withToken())
        assert.ok(listOf(answer).length <= Math.min(limit, 200))
        seen.push(...listOf(answer).map(({ id }) => id))
        path = nextOf(answer)
      }
      const active = Array.from({ length: 450 }, (_, index) => okta.directory.person(index)).filter(
        ({ status }) => status !== 'deactivated',
      )
      assert.equal(seen.length, active.length)
      assert.equal(new Set(seen).size, seen.length)
    }),
    { numRuns: 12 },
  )
})

test('takes no cursor that it did not give for the same list', async () => {
  const next = new URL(nextOf(await ask('/api/v1/users?limit=10', withToken())) ?? '')
  const after = next.searchParams.get('after') ?? ''
  for (const forged of ['x', '', '200a', `${after}x`, after.replace('200', '2001')])
    assert.deepEqual(
      codeOf(await ask(`/api/v1/users?after=${forged}`, withToken())),
      [400, 'E0000029'],
      forged,
    )
  assert.deepEqual(codeOf(await ask(`/api/v1/groups?after=${after}`, withToken())), [400, 'E0000029'])
  for (const limit of ['x', '1.5', '0', '-1'])
    assert.equal((await ask(`/api/v1/users?limit=${limit}`, withToken())).status, 400, limit)
})

test('plays repeated next links and empty middle pages', async () => {
  const first = nextOf(await ask('/api/v1/users?limit=100', withToken())) ?? ''
  const repeated = await ask(first, { ...withToken(), faults: ['repeated_next_link'] })
  assert.equal(nextOf(repeated), first)
  const emptied = await ask(first, { ...withToken(), faults: ['empty_middle_page'] })
  assert.deepEqual(emptied.body, [])
  assert.ok(nextOf(emptied))
})

test('leaves deprovisioned users out of a plain list, and shows them where a filter asks', async () => {
  const plain = listOf(await ask('/api/v1/users?limit=200', withToken()))
  assert.equal(
    plain.some(({ status }) => status === 'DEPROVISIONED'),
    false,
  )
  const query = new URLSearchParams({ filter: 'status eq "DEPROVISIONED" or status eq "SUSPENDED"' })
  const statuses = listOf(await ask(`/api/v1/users?${query}`, withToken())).map(({ status }) => status)
  assert.deepEqual(new Set(statuses), new Set(['DEPROVISIONED', 'SUSPENDED']))
})

test('filters by time and refuses filters that Okta does not know', async () => {
  const since = (filter: string) => ask(`/api/v1/users?${new URLSearchParams({ filter })}`, withToken())
  const recent = listOf(await since('lastUpdated gt "2026-10-01T00:00:00.000Z" and (status eq "ACTIVE")'))
  assert.ok(recent.length > 0)
  assert.ok(recent.every(({ lastUpdated }) => String(lastUpdated) > '2026-10-01'))
  for (const filter of [
    '',
    'status',
    'status eq ACTIVE',
    'password eq "x"',
    'status eq "A" or',
    '(status eq "A"',
    'status ne "A"',
  ])
    assert.deepEqual(codeOf(await since(filter)), [400, 'E0000031'], filter)
})

test('leaves of users what `fields` names', async () => {
  const fields = 'status,profile:(login, city)'
  const [user] = listOf(await ask(`/api/v1/users?limit=1&${new URLSearchParams({ fields })}`, withToken()))
  assert.deepEqual(Object.keys(user ?? {}).sort(), ['id', 'profile', 'status'])
  assert.deepEqual(Object.keys(user?.profile as object).sort(), ['city', 'login'])
})

test('finds what it lists by its id', async () => {
  for (const [list, item] of [
    ['/api/v1/users?limit=5', '/api/v1/users/'],
    ['/api/v1/groups?limit=5', '/api/v1/groups/'],
    ['/api/v1/devices?limit=5', '/api/v1/devices/'],
    ['/api/v1/apps?limit=5', '/api/v1/apps/'],
  ] as const) {
    const documents = listOf(await ask(list, withToken()))
    assert.equal(documents.length, 5, list)
    for (const document of documents)
      assert.deepEqual((await ask(`${item}${document.id}`, withToken())).body, document)
  }
})

test('shows group administrators their groups and the users in them, and apps without a role nothing', async () => {
  const groups = listOf(await ask('/api/v1/groups', withToken('groupAdmin')))
  assert.equal(groups.length, 3)
  assert.equal(
    groups.some(({ type }) => type === 'BUILT_IN'),
    false,
  )
  assert.ok(listOf(await ask('/api/v1/users', withToken('groupAdmin'))).length < 450)
  const issued = await requestToken(
    formWith(await assertionOf('withoutRole'), { scope: 'okta.users.read okta.devices.read' }),
  )
  const authorization = `Bearer ${(issued.body as { access_token: string }).access_token}`
  assert.deepEqual((await ask('/api/v1/users', { headers: { authorization } })).body, [])
  assert.deepEqual(codeOf(await ask('/api/v1/devices', { headers: { authorization } })), [403, 'E0000006'])
})

test('the token that asks to be revoked is dead, as at Okta', async () => {
  const own = await createOktaSandbox({ users: 3, groups: 1, seed: 'revoking' })
  const request = (method: string, path: string) =>
    own.handle({
      method,
      url: new URL(path, `https://${own.host}`),
      headers: new Headers({ authorization: `SSWS ${own.apiTokens.readOnly}` }),
      body: '',
      now,
      faults: new Set(),
    })
  assert.equal((await request('DELETE', '/api/v1/api-tokens/current')).status, 204)
  assert.deepEqual(codeOf(await request('GET', '/api/v1/users/me')), [401, 'E0000011'])
})

test('is the same organisation for the same seed', async () => {
  const again = await createOktaSandbox({ users: 450, groups: 30, seed: 'sandbox tests' })
  assert.deepEqual(again.apiTokens, okta.apiTokens)
  assert.equal(again.organizationId, okta.organizationId)
  assert.equal(again.serviceApps.plain.clientId, okta.serviceApps.plain.clientId)
})
