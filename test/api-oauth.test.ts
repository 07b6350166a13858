/** Bearer tokens of configured issuers: what a token must be, and the known ways to forge one. */
import assert from 'node:assert/strict'
import { createHmac, createPublicKey } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { readOAuthIssuers } from '../src/config.ts'
import { organizationId } from '../src/store/keys.ts'
import { type Api, startApi, validatePath } from './api-server.ts'

const issuer = 'https://login.example.com'
const audience = 'https://credence.example.com'

const rsa = await generateKeyPair('RS256')
const ec = await generateKeyPair('ES256')
const stranger = await generateKeyPair('RS256')
const publicRsa = { ...(await exportJWK(rsa.publicKey)), kid: 'rsa', alg: 'RS256', use: 'sig' }
const publicEc = { ...(await exportJWK(ec.publicKey)), kid: 'ec', alg: 'ES256', use: 'sig' }

const claims = { iss: issuer, aud: audience, sub: 'robot', scope: 'openid integrations_read', org: 'acme' }

const sign = (
  payload: JWTPayload = {},
  { key = rsa.privateKey, header = { alg: 'RS256', kid: 'rsa' }, exp = '5m' } = {},
) =>
  new SignJWT({ ...claims, ...payload })
    .setProtectedHeader(header)
    .setIssuedAt()
    .setExpirationTime(exp)
    .sign(key)

const issuers = (more: object = {}) => ({
  oauthIssuers: readOAuthIssuers(
    JSON.stringify([
      {
        issuer,
        audience: [audience, 'second'],
        jwks: { keys: [publicRsa, publicEc] },
        organization: 'acme',
        ...more,
      },
    ]),
  ),
})

async function statusWith(api: Api, token: string): Promise<number> {
  const answer = await api.call({
    method: 'POST',
    path: validatePath,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      data: {
        type: 'integration_config',
        attributes: { domain: 'acme.example', integration_type: 'ACME', secrets: { api_token: 'valid' } },
      },
    }),
  })
  if (answer.status === 403) assert.deepEqual((answer.json() as { errors: string[] }).errors[0], 'Forbidden')
  return answer.status
}

test('a token of the issuer with the scope is accepted, as text or list, RSA or elliptic', async (t) => {
  const api = await startApi(t, { config: issuers() })
  assert.equal(await statusWith(api, await sign()), 200)
  assert.equal(await statusWith(api, await sign({ aud: ['other', 'second'] })), 200)
  assert.equal(await statusWith(api, await sign({ scope: undefined, scp: ['integrations_read'] })), 200)
  assert.equal(await statusWith(api, await sign({ scope: undefined, scp: 'integrations_read' })), 200)
  assert.equal(
    await statusWith(api, await sign({}, { key: ec.privateKey, header: { alg: 'ES256', kid: 'ec' } })),
    200,
  )
  assert.match(api.log(), new RegExp(`"organization":"${organizationId('acme')}"`))
})

test('a token without the scope is told so', async (t) => {
  const api = await startApi(t, { config: issuers() })
  for (const scope of [
    '',
    'integrations_readx',
    'INTEGRATIONS_READ',
    'manage_integrations',
    5,
    { integrations_read: true },
  ]) {
    const answer = await api.call({
      method: 'POST',
      path: validatePath,
      headers: { authorization: `Bearer ${await sign({ scope })}` },
    })
    assert.equal(answer.status, 403)
    assert.deepEqual(answer.json(), { errors: ['Forbidden', 'Failed permission authorization checks'] })
  }
})

test('forged, foreign, stale and malformed tokens are refused', async (t) => {
  const api = await startApi(t, { config: issuers() })
  const past = Math.floor(Date.now() / 1000) - 3_600
  const good = await sign()
  const [head = '', payload = '', signature = ''] = good.split('.')
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const hmac = (secret: string | Buffer) => {
    const input = `${encode({ alg: 'HS256', kid: 'rsa' })}.${payload}`
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
  }
  const spki = await exportSPKI(rsa.publicKey)
  const tokens: Record<string, string> = {
    'no signature': new UnsecuredJWT(claims).setExpirationTime('5m').encode(),
    'alg none with a signature': `${encode({ alg: 'none' })}.${payload}.${signature}`,
    'alg NONE': `${encode({ alg: 'NoNe', kid: 'rsa' })}.${payload}.`,
    'HMAC with the public key': hmac(spki),
    'HMAC with the public key, without final line break': hmac(spki.trim()),
    'HMAC with the DER of the public key': hmac(
      createPublicKey(spki).export({ type: 'spki', format: 'der' }),
    ),
    'HMAC with the JWK': hmac(JSON.stringify(publicRsa)),
    'signed by a stranger': await sign({}, { key: stranger.privateKey }),
    'with its own key in the header': await sign(
      {},
      {
        key: stranger.privateKey,
        header: { alg: 'RS256', jwk: await exportJWK(stranger.publicKey) } as never,
      },
    ),
    'with the address of a key in the header': await sign(
      {},
      { key: stranger.privateKey, header: { alg: 'RS256', jku: 'https://evil.example/keys' } as never },
    ),
    'unknown key id': await sign({}, { header: { alg: 'RS256', kid: 'nobody' } }),
    'critical extension': await sign({}, { header: { alg: 'RS256', kid: 'rsa' } }).then((token) =>
      token.replace(head, encode({ alg: 'RS256', kid: 'rsa', crit: ['exp'], exp: 1 })),
    ),
    'other issuer': await sign({ iss: 'https://evil.example' }),
    'issuer with a slash': await sign({ iss: `${issuer}/` }),
    'no issuer': await sign({ iss: undefined }),
    'other audience': await sign({ aud: 'other' }),
    'no audience': await sign({ aud: undefined }),
    'audience that begins alike': await sign({ aud: `${audience}.evil` }),
    expired: await sign({}, { exp: new Date(past * 1000) as never }),
    'no expiry': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'rsa' })
      .sign(rsa.privateKey),
    'not valid yet': await sign({ nbf: Math.floor(Date.now() / 1000) + 3_600 }),
    'no subject': await sign({ sub: undefined }),
    'changed payload': `${head}.${encode({ ...claims, sub: 'admin', exp: past + 9_999 })}.${signature}`,
    'cut signature': good.slice(0, -4),
    'only two parts': `${head}.${payload}`,
    'five parts': `${good}.x.y`,
    'no JSON': 'YQ.YQ.YQ',
  }
  for (const [name, token] of Object.entries(tokens)) assert.equal(await statusWith(api, token), 403, name)
  assert.equal(await statusWith(api, good), 200)
})

test('an issuer limited to some algorithms refuses others of its own keys', async (t) => {
  const api = await startApi(t, { config: issuers({ algorithms: ['ES256'] }) })
  assert.equal(await statusWith(api, await sign()), 403)
})

test('the organisation can be what a claim names; without the claim the token is worth nothing', async (t) => {
  const api = await startApi(t, { config: issuers({ organization: undefined, organization_claim: 'org' }) })
  assert.equal(await statusWith(api, await sign({ org: 'elsewhere' })), 200)
  assert.match(api.log(), new RegExp(`"organization":"${organizationId('elsewhere')}"`))
  for (const org of [undefined, '', 5, ['acme']])
    assert.equal(await statusWith(api, await sign({ org })), 403)
})

test('without configured issuers no token is accepted', async (t) => {
  const api = await startApi(t)
  assert.equal(await statusWith(api, await sign()), 403)
})

/** An issuer's keys over HTTP, and how often they were asked for. */
async function keyServer(t: TestContext, answer: () => { status: number; body: string; location?: string }) {
  let asked = 0
  const server = createServer((_, response) => {
    asked += 1
    const { status, body, location } = answer()
    response.writeHead(status, location === undefined ? {} : { location }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, asked: () => asked }
}

test("an issuer's keys are fetched once and kept", async (t) => {
  const keys = await keyServer(t, () => ({ status: 200, body: JSON.stringify({ keys: [publicRsa] }) }))
  const api = await startApi(t, { config: issuers({ jwks: undefined, jwks_uri: keys.url }) })
  const tokens = await Promise.all(Array.from({ length: 20 }, () => sign()))
  assert.deepEqual(new Set(await Promise.all(tokens.map((token) => statusWith(api, token)))), new Set([200]))
  for (let again = 0; again < 5; again += 1)
    assert.equal(
      await statusWith(api, await sign({}, { header: { alg: 'RS256', kid: `guess ${again}` } })),
      403,
    )
  assert.equal(keys.asked(), 1)
})

test("when an issuer's keys cannot be had nothing is claimed about the token: 503", async (t) => {
  const elsewhere = await keyServer(t, () => ({ status: 200, body: JSON.stringify({ keys: [publicRsa] }) }))
  const answers = [
    { status: 500, body: 'sorry' },
    { status: 200, body: '<html>sign in</html>' },
    { status: 200, body: '{}' },
    { status: 302, body: '', location: elsewhere.url },
    { status: 200, body: JSON.stringify({ keys: [publicRsa], padding: 'x'.repeat(300_000) }) },
  ]
  for (const answer of answers) {
    const keys = await keyServer(t, () => answer)
    const api = await startApi(t, { config: issuers({ jwks: undefined, jwks_uri: keys.url }) })
    assert.equal(await statusWith(api, await sign()), 503)
    assert.equal(await statusWith(api, await sign({ iss: 'https://evil.example' })), 403)
  }
  assert.equal(elsewhere.asked(), 0)
})
