/** One whole life of configurations, keys, webhooks and backups at log level trace; then no secret of it is found anywhere. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import pg from 'pg'
import { createEntraSandbox } from '../sandbox/entra/index.ts'
import { createGoogleSandbox } from '../sandbox/google/index.ts'
import { startSandbox } from '../sandbox/index.ts'
import { createOktaSandbox } from '../sandbox/okta/index.ts'
import type { ProviderSandbox, SandboxAnswer, SandboxRequest } from '../sandbox/provider.ts'
import { openCluster, superuser } from '../src/store/embedded-cluster.ts'
import { openEmbeddedPostgres } from '../src/store/embedded-postgres.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { validatePath } from './api-server.ts'
import { configsPath } from './configs-server.ts'
import { newFolder } from './new-folder.ts'
import { type PlantedSecrets, plantSecrets } from './planted-secrets.ts'
import { type Ended, type Lasting, runCommand, startCommand } from './running-command.ts'

const issuer = 'https://login.example.com/'
const audience = 'https://credence.example.com/'
const organization = 'acme'

/** A secret of nobody, with what encodings and parsers stumble over in its middle. */
const canary = () =>
  `${randomBytes(12).toString('base64url')}-"\\/+=%?-${randomBytes(18).toString('base64url')}`

/** Answers that repeat what the request held, as careless providers do. */
const echoes: readonly ((said: string, isToken: boolean) => SandboxAnswer)[] = [
  (said, isToken) => ({ status: isToken ? 400 : 401, body: vendorError(said, isToken) }),
  (said, isToken) => ({
    status: 403,
    headers: { 'www-authenticate': 'Bearer' },
    body: vendorError(said, isToken),
  }),
  (said, isToken) => ({ status: 500, body: vendorError(said, isToken) }),
  (said) => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: `{"access_token": "${said}`,
  }),
  (said) => ({ status: 200, body: { access_token: { said }, id: [said], value: said, [said]: said } }),
  (said) => ({ status: 200, headers: { 'content-type': 'text/html' }, body: `<html><p>${said}</p>` }),
  (said) => ({
    status: 302,
    headers: { location: `https://evil.example/?said=${encodeURIComponent(said)}` },
  }),
]

const vendorError = (said: string, isToken: boolean) => ({
  errorCode: 'E0000011',
  errorSummary: said,
  errorCauses: [{ errorSummary: said }],
  error: isToken
    ? 'invalid_client'
    : { code: 'InvalidAuthenticationToken', message: said, errors: [{ message: said }] },
  error_description: said,
})

/** The provider, whose every token and signed assertion is planted too, and which repeats what it was told while `echo` is set. */
function watched(
  provider: ProviderSandbox,
  planted: PlantedSecrets,
  echo: { at: number | undefined },
): ProviderSandbox {
  const seen = new Set<string>()
  const plant = (what: string, secret: unknown) => {
    if (typeof secret !== 'string' || (secret.split('.').at(-1) ?? '').length < 24 || seen.has(secret)) return
    seen.add(secret)
    // Of a JSON Web Token, only the signature tells one from another, and makes it of use.
    planted.add(`${what} ${seen.size} at ${provider.name}`, secret.split('.').at(-1) ?? '')
  }
  return {
    ...provider,
    async handle(request: SandboxRequest) {
      const authorization = request.headers.get('authorization') ?? ''
      plant('authorization', authorization.replace(/^\S+ /, ''))
      const form = new URLSearchParams(request.body)
      for (const name of ['client_assertion', 'assertion', 'client_secret']) plant(name, form.get(name))
      const { pathname } = request.url
      const isToken = pathname.endsWith('/token')
      const answerWith = echo.at === undefined ? undefined : echoes[echo.at]
      if (answerWith !== undefined && !pathname.includes('.well-known'))
        return answerWith([authorization, request.body, ...form.values()].join(' '), isToken)
      const answer = await provider.handle(request)
      if (isToken)
        plant('access_token', (answer.body as { access_token?: unknown } | undefined)?.access_token)
      return answer
    },
  }
}

/** Every file below, the cluster's own among them. */
function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, entry)
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) yield path
  }
}

/** All of every table that is not PostgreSQL's own, and what PostgreSQL itself remembers of values and statements. */
async function dump(client: pg.Client): Promise<string> {
  const { rows: tables } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`,
  )
  const names = tables.map(({ name }) => name)
  for (const expected of ['public.envelopes', 'public.audit_events', 'pgboss.job'])
    assert.ok(names.includes(expected), `${expected} is not among ${names.join()}`)
  let text = ''
  for (const name of [
    ...names,
    'pg_stats',
    'pg_stat_activity',
    'pg_prepared_statements',
    'pg_db_role_setting',
  ]) {
    const { rows } = await client.query<{ line: string }>(`select to_jsonb(t)::text as line from ${name} t`)
    text += `${name}\n${rows.map(({ line }) => line).join('\n')}\n`
  }
  return text
}

test('planted secrets are in no table, log, backup, metric or answer, in no form, and not in halves', {
  timeout: 600_000,
}, async (context) => {
  const ends: (() => unknown)[] = []
  const t: Lasting = { after: (end) => ends.push(end) }
  context.after(async () => {
    for (const end of ends.reverse()) await end()
  })
  const folder = newFolder(t)
  const file = (name: string, content: unknown) => {
    const path = join(folder, name)
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 })
    return path
  }
  const dataDir = join(folder, 'data')
  const planted = plantSecrets()
  const echo: { at: number | undefined } = { at: undefined }

  // The database, whose log is made to hold everything that the service tells it.
  const postgres = await openEmbeddedPostgres(dataDir)
  t.after(() => postgres.stop())
  const cluster = await openCluster(join(dataDir, 'postgres'))
  const { host, port, database, user } = postgres.connection
  const admin = new pg.Client({
    host,
    port,
    database,
    user: superuser,
    password: cluster.notes.superuserPassword,
  })
  await admin.connect()
  t.after(() => admin.end())
  for (const [name, value] of Object.entries({
    log_statement: 'all',
    log_min_messages: 'debug1',
    log_min_error_statement: 'debug1',
    log_error_verbosity: 'verbose',
    log_parameter_max_length: '-1',
    log_parameter_max_length_on_error: '-1',
  }))
    await admin.query(`alter role ${user} set ${name} = '${value}'`)
  planted.add('superuser password', cluster.notes.superuserPassword)
  planted.add('service password', cluster.notes.servicePassword)

  // The providers, and the operator's credentials for one of them.
  const size = { users: 8, groups: 2, seed: 'canaries' }
  const google = await createGoogleSandbox(size)
  const okta = await createOktaSandbox(size)
  const entra = await createEntraSandbox(size)
  const sandbox = await startSandbox({
    providers: [google, okta, entra].map((provider) => watched(provider, planted, echo)),
    tls: false,
  })
  t.after(sandbox.close)
  planted.add("operator's secret of Entra ID in the file", entra.apps.operator.client_secret)
  const operatorFile = file('operator.json', {
    entra_id: [{ ...entra.apps.operator, bindings: [{ organization, domain: entra.domain }] }],
  })

  // Keys of every kind.
  const vaultKeys = { old: generateVaultKey(), new: generateVaultKey() }
  for (const [name, key] of Object.entries(vaultKeys))
    planted.add(`vault key ${name}`, key.split(':')[1] ?? '')
  const signing = await generateKeyPair('ES256')
  const tokenFor = (key: typeof signing.privateKey) =>
    new SignJWT({ scope: 'integrations_read manage_integrations', jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject('planter')
      .setIssuedAt()
      .setExpirationTime('1 hour')
      .sign(key)
  const oauth = {
    valid: await tokenFor(signing.privateKey),
    forged: await tokenFor((await generateKeyPair('ES256')).privateKey),
  }
  for (const [name, token] of Object.entries(oauth))
    planted.add(`OAuth token, ${name}`, token.split('.')[2] ?? '')

  const settings = {
    CREDENCE_LOG_LEVEL: 'trace',
    CREDENCE_ENDPOINTS: file('endpoints.json', sandbox.endpoints),
    CREDENCE_OPERATOR_FILE: operatorFile,
    CREDENCE_OAUTH_ISSUERS: file('issuers.json', [
      { issuer, audience, jwks: { keys: [await exportJWK(signing.publicKey)] }, organization },
    ]),
    CREDENCE_LIMIT_ATTEMPTS: '100000',
    CREDENCE_LIMIT_TARGET: '100000',
    CREDENCE_LIMIT_VALIDATIONS: '100000',
  }
  /** What the commands and servers said, except where a secret is shown once on purpose. */
  const heard: string[] = []
  const keep = ({ stdout, stderr }: Ended) => heard.push(stdout, stderr)
  const run = async (
    args: readonly string[],
    vault: string,
    more: { input?: string; isShownOnce?: true } = {},
  ) => {
    const ended = await runCommand(
      t,
      [...args, '--data-dir', dataDir],
      { ...settings, CREDENCE_VAULT_KEY: vault },
      more.input,
    )
    if (more.isShownOnce) heard.push(ended.stderr)
    else keep(ended)
    return ended
  }
  const shownOnce = async (args: readonly string[]) => {
    const { code, stdout, stderr } = await run([...args, '--json'], vaultKeys.old, { isShownOnce: true })
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout)
  }
  const keysCreate = ['keys', 'create', '--permissions', 'admin', '--organization', organization]
  const keys = await shownOnce(keysCreate)
  planted.add('API key', keys.api_key)
  planted.add('application key', keys.application_key)
  const service = await shownOnce([...keysCreate, '--access-token', 'service'])
  planted.add('service access token', service.access_token)

  const registered = `Reg8Q~${randomBytes(24).toString('base64url')}`
  planted.add("operator's secret of Entra ID in the database", registered)
  const registration = await run(
    [
      ...['registrations', 'add', 'entra-id', '--name', 'ours', '--client-secret-stdin'],
      ...['--tenant-id', entra.apps.full.tenant_id, '--client-id', entra.apps.full.client_id],
    ],
    vaultKeys.old,
    { input: `${registered}\n` },
  )
  assert.equal(registration.code, 0, registration.stderr)

  // Every kind of credentials, those that work and those that do not.
  const attributesOf = (type: string, domain: string, secrets?: object) => ({
    domain,
    integration_type: type,
    name: `${type} ${randomUUID()}`,
    secrets,
  })
  const ofOkta = (secrets: object) => attributesOf('OKTA', okta.host, secrets)
  const ofGoogle = (secrets: object) => attributesOf('GOOGLE_WORKSPACE', google.domains.primary, secrets)
  const ofEntra = (secrets?: object) => attributesOf('ENTRA_ID', entra.domain, secrets)
  const keyFile = (file: object) => ({ service_account_json: file, admin_email: google.admins.super })
  const { plain, dpop } = okta.serviceApps
  const app = (one: typeof plain) => ({
    client_id: one.clientId,
    private_key: one.privateKey,
    key_id: one.keyId,
  })
  const federated = await entra.federated()
  const valid = {
    'Okta token': ofOkta({ api_token: okta.apiTokens.readOnly }),
    'Okta app': ofOkta(app(plain)),
    'Okta app with DPoP': ofOkta(app(dpop)),
    'Google key file': ofGoogle(keyFile(google.keyFiles.good)),
    'Entra secret': ofEntra(entra.apps.full),
    'Entra certificate': ofEntra(entra.apps.certificate),
    'Entra federated token': ofEntra(federated),
    "Entra with the operator's": ofEntra(),
  }
  planted.add('Okta token', okta.apiTokens.readOnly)
  planted.add('Okta app', plain.privateKey)
  if (dpop.privateKey !== plain.privateKey) planted.add('Okta app with DPoP', dpop.privateKey)
  planted.add('Google key file', google.keyFiles.good.private_key)
  planted.add('Entra certificate', entra.apps.certificate.private_key)
  planted.add('Entra federated token', federated.federated_token.split('.')[2] ?? '')

  const lost: Record<string, string> = {}
  const planting = (name: string) => {
    const secret = canary()
    lost[name] = secret
    planted.add(name, secret)
    return secret
  }
  const pem = (name: string) =>
    `-----BEGIN PRIVATE KEY-----\n${planting(name)}\n${randomBytes(40).toString('base64')}\n-----END PRIVATE KEY-----\n`
  const jwk = { kty: 'RSA', n: 'AQAB', e: 'AQAB', d: planting('wrong JWK'), p: planting('wrong prime') }
  const { wrongSecret, expiredSecret, unregisteredCertificate } = entra.apps
  const wrongToken = `00${randomBytes(30).toString('base64url')}`
  planted.add('wrong Okta token', wrongToken)
  const invalid = {
    'a wrong Okta token': ofOkta({ api_token: wrongToken }),
    'an Okta token that is none': ofOkta({ api_token: planting('no Okta token') }),
    'a pasted Okta token': ofOkta({ api_token: `SSWS ${planting('pasted')}` }),
    'a broken PEM at Okta': ofOkta({ client_id: plain.clientId, private_key: pem('broken PEM') }),
    'a broken JWK': ofOkta({ client_id: plain.clientId, private_key: jwk }),
    'a JWK as text': ofOkta({ client_id: plain.clientId, private_key: JSON.stringify(jwk) }),
    'two kinds at once': ofOkta({ api_token: planting('two kinds'), client_id: 'x', private_key: jwk }),
    'a token that is no text': ofOkta({ api_token: { [planting('member')]: planting('value') } }),
    'a broken key file': ofGoogle(keyFile({ ...google.keyFiles.good, private_key: pem('broken key file') })),
    'a key file as half a text': ofGoogle({
      service_account_json: JSON.stringify({ ...google.keyFiles.good, private_key: planting('half') }).slice(
        0,
        -9,
      ),
      admin_email: planting('administrator'),
    }),
    'an unknown member of a key file': ofGoogle(
      keyFile({
        ...google.keyFiles.good,
        token_uri: `https://evil.example/${encodeURIComponent(planting('address'))}`,
      }),
    ),
    'a wrong secret of Entra ID': ofEntra(wrongSecret),
    'an expired secret of Entra ID': ofEntra(expiredSecret),
    'a secret that cannot be one': ofEntra({ ...wrongSecret, client_secret: planting('no secret') }),
    'an unknown certificate': ofEntra(unregisteredCertificate),
    'a broken certificate': ofEntra({ ...unregisteredCertificate, private_key: pem('broken certificate') }),
    'a federated token that is none': ofEntra({
      ...federated,
      federated_token: `${planting('no token')}.${planting('no claims')}.${planting('no signature')}`,
    }),
    'an unknown type': { ...ofOkta({ api_token: planting('unknown type') }), integration_type: 'NOBODY' },
    'a settings member': { ...ofOkta({ api_token: planting('settings') }), settings: { require: [1] } },
    'a domain that is none': { ...ofOkta({ api_token: planting('no domain') }), domain: 'not a domain' },
  }
  for (const [name, { client_secret }] of Object.entries({ wrongSecret, expiredSecret }))
    planted.add(name, client_secret)
  planted.add('unknown certificate', unregisteredCertificate.private_key)

  // A server, asked in every way.
  const started = async (vault: string) => {
    const server = startCommand(t, ['serve', '--port', '0', '--json', '--data-dir', dataDir], {
      ...settings,
      CREDENCE_VAULT_KEY: vault,
    })
    const { url } = JSON.parse(await server.line()) as { url: string }
    const paired = { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key }
    const ask = async (
      method: string,
      path: string,
      body?: string | Buffer | object,
      headers: Record<string, string> = paired,
    ) => {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && {
          body:
            typeof body === 'string' || Buffer.isBuffer(body)
              ? (body as string)
              : JSON.stringify({ data: { type: 'integration_config', attributes: body } }),
        }),
      })
      const text = await answer.text()
      heard.push(JSON.stringify([...answer.headers]), text)
      return { status: answer.status, text, id: /"id":"([0-9a-f-]{36})"/.exec(text)?.[1] ?? '' }
    }
    return { server, ask, paired }
  }

  const first = await started(vaultKeys.old)
  const { ask, paired } = first
  const made: string[] = []
  for (const [name, attributes] of Object.entries(valid)) {
    const instance = name.toLowerCase().replaceAll(/[^a-z]+/g, '-')
    const { status, text, id } = await ask('POST', configsPath, { ...attributes, settings: { instance } })
    assert.equal(status, 200, `${name}: ${text}`)
    made.push(id)
    assert.equal((await ask('POST', `${validatePath}?include=report`, attributes)).status, 200, name)
  }
  for (const [name, attributes] of Object.entries(invalid)) {
    for (const [path, headers] of [
      [configsPath, paired],
      [`${validatePath}?include=report`, paired],
      [`${validatePath}?include=report`, { ...paired, accept: 'text/event-stream' }],
    ] as const) {
      const { status, text } = await ask('POST', path, attributes, headers)
      assert.ok(
        status === 400 || (status === 200 && headers !== paired && text.includes('"verdict":"invalid"')),
        `${name}: ${status} ${text}`,
      )
    }
    const [id = ''] = made
    const { secrets } = attributes
    assert.ok((await ask('PATCH', `${configsPath}/${id}`, { secrets })).status >= 400, name)
  }
  const [okta1 = '', ...others] = made

  // Providers that repeat what they were told.
  for (const at of echoes.keys()) {
    echo.at = at
    for (const [name, attributes] of Object.entries(valid)) {
      const { status, text } = await ask('POST', `${validatePath}?include=report`, attributes)
      assert.ok(status >= 400, `${name}: ${status} ${text}`)
      await ask('POST', configsPath, { ...attributes, settings: { instance: `echo-${at}` } })
    }
    for (const id of made) assert.ok((await ask('POST', `${configsPath}/${id}/validate`)).status >= 400)
  }
  // The same in a validation that the queue began.
  await ask('POST', `${configsPath}/okta/deactivate`)
  await ask('POST', `${configsPath}/okta/activate`)
  while (!/credence_jobs_total\{[^}]*validation\.okta/.test((await ask('GET', '/metrics')).text))
    assert.equal((await ask('GET', `${configsPath}/${okta1}`)).status, 200)
  echo.at = undefined

  // Bodies that cannot be read.
  const whole = JSON.stringify({ data: { type: 'integration_config', attributes: valid['Okta token'] } })
  const torn = JSON.stringify({ data: { attributes: ofOkta({ api_token: planting('torn body') }) } })
  for (const path of [configsPath, validatePath]) {
    for (const body of [
      whole.slice(0, -3),
      torn.slice(0, -1),
      torn.replace(':', ' '),
      `${torn}${torn}`,
      `${whole},`,
    ])
      assert.equal((await ask('POST', path, body)).status, 400)
    assert.equal(
      (await ask('POST', path, Buffer.concat([Buffer.from(torn), Buffer.from([0xff])]))).status,
      400,
    )
    assert.equal((await ask('POST', path, torn, { ...paired, 'content-type': 'text/plain' })).status, 415)
    assert.equal(
      (await ask('POST', path, gzipSync(torn), { ...paired, 'content-encoding': 'gzip' })).status,
      400,
    )
    assert.equal((await ask('POST', path, torn, { ...paired, 'content-encoding': 'gzip' })).status, 400)
    assert.equal(
      (await ask('POST', path, `{"data":"${'x'.repeat(3_000_000)}${lost['torn body']}"}`)).status,
      413,
    )
  }
  const inAddress = encodeURIComponent(planting('address of a request'))
  for (const path of [`?api_key=${inAddress}`, `/${inAddress}`, `?filter[integration_type]=${inAddress}`])
    await ask('GET', `${configsPath}${path}`)

  // Keys that are wrong, and those of the other kinds.
  const refused: Record<string, string>[] = [
    { 'dd-api-key': keys.api_key, 'dd-application-key': planting('wrong application key') },
    { 'dd-api-key': planting('wrong API key'), 'dd-application-key': keys.application_key },
    { authorization: `Bearer ${oauth.forged}` },
    { authorization: `Bearer ${oauth.valid.slice(0, -8)}` },
    { authorization: `Basic ${Buffer.from(`u:${planting('basic')}`).toString('base64')}` },
    { authorization: `Bearer ddsat_${planting('wrong access token')}` },
    { cookie: `session=${planting('cookie')}` },
  ]
  for (const headers of refused) assert.equal((await ask('GET', configsPath, undefined, headers)).status, 403)
  for (const headers of [
    { authorization: `Bearer ${oauth.valid}` },
    { authorization: `Bearer ${service.access_token}` },
    { 'dd-application-key': service.access_token },
  ] as Record<string, string>[])
    assert.equal((await ask('GET', configsPath, undefined, headers)).status, 200)
  await ask('GET', configsPath, undefined, {
    ...paired,
    'x-request-id': planting('request id'),
    origin: planting('origin'),
  })

  // Updates, webhooks, a backup, another vault key, deletion.
  const again = { secrets: { api_token: okta.apiTokens.readOnly } }
  assert.equal((await ask('PATCH', `${configsPath}/${okta1}`, again)).status, 200)
  const webhook = await shownOnce([
    'webhooks',
    'add',
    'https://hooks.example.com/',
    '--organization',
    organization,
  ])
  planted.add('webhook secret', webhook.secret.replace('whsec_', ''))
  await run(['webhooks', 'test', webhook.id], vaultKeys.old)
  const fullTables = await dump(admin)
  const backups = [join(folder, 'before.backup'), join(folder, 'after.backup')] as const
  assert.equal((await run(['backup', backups[0]], vaultKeys.old)).code, 0)
  keep(await first.server.stop())

  const both = `${vaultKeys.new},${vaultKeys.old}`
  const second = await started(both)
  const rotated = await run(['rotate-key', '--json'], both)
  assert.equal(rotated.code, 0, rotated.stderr)
  assert.deepEqual(JSON.parse(rotated.stdout).remaining, {})
  for (const id of made) await second.ask('POST', `${configsPath}/${id}/validate`)
  assert.equal((await second.ask('DELETE', `${configsPath}/${others.at(-1)}`)).status, 204)
  assert.equal((await run(['backup', backups[1]], both)).code, 0)
  for (const id of [okta1, ...others.slice(0, -1)])
    assert.equal((await second.ask('DELETE', `${configsPath}/${id}`)).status, 204)
  await second.ask('GET', '/metrics')
  keep(await second.server.stop())
  const looks = [
    ['audit', 'export'],
    ['vault', 'unsealed', '--since', 'now-1h', '--json'],
    ['webhooks', 'deliveries', '--json'],
    ['registrations', 'list', '--json'],
    ['doctor', '--offline', '--json'],
    ['rotate-key', '--retire', vaultKeys.old.split(':')[0] ?? ''],
  ]
  await Promise.all(looks.map((args) => run(args, both)))

  // Settings that are wrong.
  const wrongKey = `${vaultKeys.new.split(':')[0]}:${randomBytes(32).toString('base64')}`
  planted.add('wrong vault key', wrongKey.split(':')[1] ?? '')
  const password = `hunter2${randomBytes(18).toString('hex')}`
  planted.add('password of a database that is not there', password)
  const wrongSettings: Record<string, string>[] = [
    { CREDENCE_VAULT_KEY: wrongKey },
    { CREDENCE_VAULT_KEY: planting('no vault key') },
    {
      CREDENCE_VAULT_KEY: vaultKeys.new,
      CREDENCE_OPERATOR_FILE: file('torn.json', `{"entra_id": ["${planting('torn file')}`),
    },
    { CREDENCE_VAULT_KEY: vaultKeys.new, DATABASE_URL: `postgres://u:${password}@127.0.0.1:1/x` },
    { CREDENCE_VAULT_KEY: vaultKeys.new, DATABASE_URL: `postgres://u:${password}@[bad/x y` },
  ]
  const refusals = wrongSettings.map((environment) =>
    runCommand(t, ['serve', '--port', '0', '--data-dir', dataDir], { ...settings, ...environment }),
  )
  for (const ended of await Promise.all(refusals)) {
    assert.notEqual(ended.code, 0)
    keep(ended)
  }

  const places: [string, string | Buffer][] = [
    ['what was answered and said', heard.join('\n')],
    ['the tables before the deletions', fullTables],
    ['the tables', await dump(admin)],
    ['the log of PostgreSQL', readFileSync(cluster.log)],
    ...backups.map((path): [string, Buffer] => ['a backup', gunzipSync(readFileSync(path))]),
  ]
  await admin.query('checkpoint')
  for (const path of filesBelow(cluster.folder))
    places.push([`a file of PostgreSQL (${path})`, readFileSync(path)])

  // That the search finds what is there, and that the places hold what they should.
  planted.add('found', 'what-is-found-was-found-0123456789')
  for (const form of ['base64', 'base64url', 'hex', 'utf8'] as const)
    assert.ok(
      planted.foundIn(Buffer.from('x what-is-found-was-found-0123456789 x').toString(form)).length > 0,
      form,
    )
  assert.match(places[0]?.[1].toString() ?? '', /"level":"(?:trace|debug|info)"/)
  assert.match(
    fullTables,
    /"report": ?\{[\s\S]*integration_config\.create|integration_config\.create[\s\S]*"report": ?\{/,
  )
  assert.match(places[3]?.[1].toString() ?? '', /insert into "?envelopes"?[\s\S]*arameters: \$1 = /i)
  assert.match(places[4]?.[1].toString() ?? '', /"table":"envelopes"/)
  assert.ok(planted.count() > 60, String(planted.count()))
  assert.deepEqual(
    places.flatMap(([place, text]) => planted.foundIn(text).map((secret) => `${secret} in ${place}`)),
    [],
  )
})
