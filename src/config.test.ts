import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConfigError, defaultConfig, readConfig, readOAuthIssuers, tokenAlgorithms } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'credence-config-'))
after(() => rmSync(folder, { recursive: true }))

const file = (content: unknown) => {
  const path = join(folder, `${Math.random()}.json`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

test('nothing set is the default; a variable that is empty is not set', () => {
  assert.deepEqual(readConfig({}), defaultConfig)
  assert.deepEqual(readConfig({ CREDENCE_ENDPOINTS: '', CREDENCE_LOG_LEVEL: ' ' }), defaultConfig)
})

test('reads lists, limits and levels', () => {
  const config = readConfig({
    CREDENCE_CUSTOM_DOMAINS: 'login.example.com, SSO.example.com',
    CREDENCE_ALLOWED_HOSTS: 'credence.example.com',
    CREDENCE_LOG_LEVEL: 'warn',
    CREDENCE_LIMIT_VALIDATIONS: '5',
    CREDENCE_LIMIT_REQUESTS: '6',
    CREDENCE_LIMIT_TARGET: '7',
    CREDENCE_LIMIT_ATTEMPTS: '8',
    CREDENCE_VALIDATIONS_AT_ONCE: '9',
    CREDENCE_SYNC_AT_ONCE: '0',
    CREDENCE_REVALIDATE_HOURS: '12',
    DATABASE_URL: ' postgres://credence@db.example.com/credence ',
    CREDENCE_OPERATOR_FILE: '/etc/credence/operator.json',
  })
  assert.deepEqual(config, {
    ...defaultConfig,
    customDomains: ['login.example.com', 'sso.example.com'],
    allowedHosts: ['credence.example.com'],
    logLevel: 'warn',
    limits: {
      validationsPerCaller: 5,
      requestsPerCaller: 6,
      validationsPerTarget: 7,
      unprovenAttempts: 8,
    },
    validationsAtOnce: 9,
    syncsAtOnce: 0,
    revalidateEveryMs: 12 * 3_600_000,
    databaseUrl: 'postgres://credence@db.example.com/credence',
    operatorFile: '/etc/credence/operator.json',
  })
})

test('endpoints come from a file and must be loopback', () => {
  const endpoints = file({ 'oauth2.googleapis.com': 'http://127.0.0.1:7001' })
  assert.equal(
    readConfig({ CREDENCE_ENDPOINTS: endpoints }).endpoints.get('oauth2.googleapis.com')?.port,
    '7001',
  )
  for (const content of [{ 'acme.okta.com': 'http://10.0.0.1' }, 'hunter2', []])
    assert.throws(
      () => readConfig({ CREDENCE_ENDPOINTS: file(content) }),
      /^ConfigError: CREDENCE_ENDPOINTS: /,
    )
  assert.throws(
    () => readConfig({ CREDENCE_ENDPOINTS: join(folder, 'gone') }),
    /CREDENCE_ENDPOINTS must be the path of a readable file \(ENOENT\)/,
  )
})

test('a setting that is not understood is named, its value is not', () => {
  for (const name of [
    'CREDENCE_CUSTOM_DOMAINS',
    'CREDENCE_ALLOWED_HOSTS',
    'CREDENCE_LOG_LEVEL',
    'CREDENCE_LIMIT_VALIDATIONS',
    'CREDENCE_LIMIT_REQUESTS',
    'CREDENCE_LIMIT_TARGET',
    'CREDENCE_LIMIT_ATTEMPTS',
    'CREDENCE_REVALIDATE_HOURS',
    'CREDENCE_VALIDATIONS_AT_ONCE',
    'CREDENCE_SYNC_AT_ONCE',
    'CREDENCE_ENDPOINTS',
    'CREDENCE_OAUTH_ISSUERS',
  ])
    assert.throws(
      () => readConfig({ [name]: 'https://hunter2/' }),
      (error) =>
        error instanceof ConfigError && error.message.startsWith(name) && !error.message.includes('hunter2'),
    )
})

const issuer = {
  issuer: 'https://login.example.com',
  audience: 'https://credence.example.com',
  jwks_uri: 'https://login.example.com/keys',
  organization: 'acme',
}

test('issuers: one audience or several, keys by address or inline, an organisation or a claim', () => {
  assert.deepEqual(readOAuthIssuers(JSON.stringify([issuer])), [
    {
      issuer: issuer.issuer,
      audience: [issuer.audience],
      algorithms: tokenAlgorithms,
      keys: { jwksUri: new URL(issuer.jwks_uri) },
      organization: { name: 'acme' },
    },
  ])
  const { jwks_uri: _, organization: __, ...rest } = issuer
  assert.partialDeepStrictEqual(
    readOAuthIssuers(
      JSON.stringify([
        {
          ...rest,
          audience: ['a', 'b'],
          jwks: { keys: [{ kty: 'RSA' }] },
          organization_claim: 'org',
          algorithms: ['ES256'],
        },
      ]),
    )[0],
    {
      audience: ['a', 'b'],
      algorithms: ['ES256'],
      keys: { jwks: { keys: [{ kty: 'RSA' }] } },
      organization: { claim: 'org' },
    },
  )
})

test('issuers: what would weaken the check of tokens is refused', () => {
  const faults: [issuers: unknown, message: RegExp][] = [
    [[], /the list: /],
    [[{ ...issuer, audience: undefined }], /0\.audience: /],
    [[{ ...issuer, audience: [] }], /0\.audience/],
    [[{ ...issuer, algorithms: ['HS256'] }], /0\.algorithms\.0: /],
    [[{ ...issuer, algorithms: ['none'] }], /0\.algorithms\.0: /],
    [[{ ...issuer, jwks_uri: 'http://login.example.com/keys' }], /0\.jwks_uri: an https URL/],
    [[{ ...issuer, jwks_uri: 'file:///etc/keys' }], /0\.jwks_uri: an https URL/],
    [[{ ...issuer, jwks: { keys: [{}] } }], /exactly one of jwks and jwks_uri/],
    [[{ ...issuer, organization_claim: 'org' }], /exactly one of organization and organization_claim/],
    [[{ ...issuer, organization: undefined }], /exactly one of organization and organization_claim/],
    [[{ ...issuer, typo: true }], /typo/],
    [[issuer, issuer], /each issuer once/],
  ]
  for (const [issuers, message] of faults)
    assert.throws(() => readOAuthIssuers(JSON.stringify(issuers)), message, JSON.stringify(issuers))
  assert.throws(() => readOAuthIssuers('hunter2'), /not JSON/)
})
