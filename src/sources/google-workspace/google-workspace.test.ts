import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import {
  createGoogleSandbox,
  type GoogleSandbox,
  type ServiceAccountKeyFile,
} from '../../../sandbox/google/index.ts'
import { type Fault, type RunningSandbox, startSandbox } from '../../../sandbox/index.ts'
import { createOutbound, type Outbound } from '../../outbound/outbound.ts'
import { type CheckReport, type Report, reportSchema } from '../../validation/report.ts'
import { validate } from '../../validation/validate.ts'
import { scopes } from './access.ts'
import { googleWorkspace } from './index.ts'

let google: GoogleSandbox
let running: RunningSandbox
let outbound: Outbound
before(async () => {
  google = await createGoogleSandbox({ users: 60, groups: 30, seed: 'google-workspace' })
  running = await startSandbox({ providers: [google] })
  outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
  })
})
after(() => running.close())
beforeEach(() => {
  running.setFaults([])
  running.forgetRequests()
})

type KeyFileName = keyof GoogleSandbox['keyFiles']

interface Given {
  readonly keyFile?: KeyFileName | Record<string, unknown>
  readonly admin?: string
  readonly domain?: string
  readonly timeoutMs?: number
  readonly now?: () => Date
  readonly onCheck?: (check: CheckReport) => void
}

function ask(given: Given = {}): Promise<Report> {
  const { keyFile = 'good', admin = google.admins.super, domain = google.domains.primary } = given
  return run(
    {
      service_account_json: typeof keyFile === 'string' ? google.keyFiles[keyFile] : keyFile,
      admin_email: admin,
    },
    domain,
    given,
  )
}

async function run(
  secrets: Record<string, unknown>,
  domain: string,
  given: Given = {},
  operatorKeyFile: ServiceAccountKeyFile = google.keyFiles.good,
): Promise<Report> {
  const reading = googleWorkspace.readCredentials(secrets)
  assert.ok(reading.ok)
  const { operator } = googleWorkspace
  const credentials = operator?.needed(reading.credentials)
    ? operator.complete(reading.credentials, { service_account: JSON.stringify(operatorKeyFile) })
    : reading.credentials
  const report = await validate(
    googleWorkspace,
    { domain, credentials },
    { openHttp: (rules, signal) => outbound.open(rules, signal), now: given.now ?? (() => new Date()) },
    {
      // Longer than a busy machine takes: what a limit does is another test's.
      timeoutMs: given.timeoutMs ?? 60_000,
      ...(given.onCheck && { onCheck: given.onCheck }),
    },
  )
  return reportSchema.parse(report)
}

const failures = (report: Report) =>
  report.checks.flatMap(({ id, cause, required }) =>
    cause !== undefined && required ? [`${id} ${cause.code}`] : [],
  )

test('good credentials are valid: every capability was read, and the organisation is named', async () => {
  const report = await ask()
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(report.subject, {
    principal: 'test@example.com',
    organization: google.customerId,
    domain: 'example.com',
  })
  assert.ok(report.checks.every(({ status }) => status === 'passed'))
  assert.deepEqual(
    report.capabilities.map(({ entity_type, available }) => `${entity_type} ${available}`),
    [
      'users true',
      'groups true',
      'memberships true',
      'roles true',
      'devices true',
      'change_log true',
      'sign_in_activity true',
      'mfa true',
    ],
  )
})

test("the seed's form is valid with the operator's service account", async () => {
  const report = await run({ admin_email: 'test@example.com' }, 'siem-test.com')
  assert.equal(report.verdict, 'valid')
  assert.equal(report.subject.domain, 'siem-test.com')
})

test("a customer is not blamed for the operator's service account", async () => {
  const broken = [
    { ...google.keyFiles.good, private_key: 'x' },
    google.keyFiles.deletedKey,
    google.keyFiles.deletedAccount,
    google.keyFiles.apiDisabled,
  ]
  for (const keyFile of broken) {
    const report = await run({ admin_email: 'test@example.com' }, 'example.com', {}, keyFile)
    assert.equal(report.verdict, 'indeterminate')
    assert.ok(failures(report).every((failure) => failure.endsWith('google_operator_account_unusable')))
  }
  // What the customer can repair is told to the customer.
  const { verdict } = await run(
    { admin_email: 'test@example.com' },
    'example.com',
    {},
    google.keyFiles.notDelegated,
  )
  assert.equal(verdict, 'invalid')
})

test('a clock that is ten minutes ahead is diagnosed as such', async () => {
  const report = await ask({ now: () => new Date(Date.now() + 600_000) })
  assert.equal(report.verdict, 'indeterminate')
  assert.deepEqual(failures(report), ['token google_clock_skew'])
})

test('the key file may come as text, the domain as a URL, and be an alias', async () => {
  const text = JSON.stringify(google.keyFiles.good)
  const secrets = { service_account_json: text, admin_email: google.admins.super }
  for (const domain of ['https://EXAMPLE.com/', google.domains.secondary, google.domains.alias])
    assert.equal((await run(secrets, domain)).verdict, 'valid', domain)
})

test("nothing is asked of other hosts than Google's two, and one request proves each capability", async () => {
  await ask()
  const asked = running.requests().map(({ method, host, path }) => `${method} ${host}${path}`)
  assert.equal(asked.filter((request) => request === 'POST oauth2.googleapis.com/token').length, 1)
  const reads = asked.filter((request) => request.startsWith('GET admin.googleapis.com/admin/'))
  assert.equal(reads.length, 9)
  assert.equal(new Set(reads).size, reads.length)
  assert.equal(asked.length, 10)
})

const scenarios: [string, () => Given, string[]][] = [
  ['a deleted key', () => ({ keyFile: 'deletedKey' }), ['token google_key_rejected']],
  ['a disabled key', () => ({ keyFile: 'disabled' }), ['token google_key_disabled']],
  [
    'a deleted service account',
    () => ({ keyFile: 'deletedAccount' }),
    ['token google_service_account_unknown'],
  ],
  [
    'a policy of the organisation',
    () => ({ keyFile: 'blockedByPolicy' }),
    ['token google_blocked_by_policy'],
  ],
  ['no delegation', () => ({ keyFile: 'notDelegated' }), ['token google_delegation_missing']],
  [
    'one scope that is not delegated',
    () => ({ keyFile: 'withoutGroups' }),
    ['scope_groups google_scope_missing'],
  ],
  [
    'an administrator that does not exist',
    () => ({ admin: google.admins.unknown }),
    ['token google_admin_unknown'],
  ],
  ['a suspended administrator', () => ({ admin: google.admins.suspended }), ['token google_admin_refused']],
  [
    'somebody who is no administrator',
    () => ({ admin: google.admins.notAdmin }),
    ['administrator', 'domain_ownership', 'users', 'groups'].map((id) => `${id} google_admin_not_authorized`),
  ],
  [
    'an administrator who may read users alone',
    () => ({ admin: google.admins.helpDesk }),
    ['groups google_admin_not_authorized'],
  ],
  [
    'a project without the Admin SDK',
    () => ({ keyFile: 'apiDisabled' }),
    ['admin_sdk', 'domain_ownership', 'users', 'groups'].map((id) => `${id} google_admin_sdk_disabled`),
  ],
  [
    'a domain of somebody else',
    () => ({ domain: google.domains.foreign }),
    ['domain_ownership google_domain_not_owned'],
  ],
  [
    'a domain of somebody else, with the scopes that are required alone',
    () => ({ domain: google.domains.foreign, keyFile: 'requiredOnly' }),
    ['domain_ownership google_domain_not_owned'],
  ],
  [
    'a domain that is not verified',
    () => ({ domain: google.domains.unverified }),
    ['domain_ownership google_domain_unverified'],
  ],
]

for (const [situation, given, expected] of scenarios) {
  test(`${situation} is invalid, with its own cause`, async () => {
    const report = await ask(given())
    assert.equal(report.verdict, 'invalid')
    assert.deepEqual(failures(report), expected)
  })
}

test('is valid with the required scopes alone, and names what is missing', async () => {
  for (const domain of [google.domains.primary, google.domains.secondary]) {
    const report = await ask({ keyFile: 'requiredOnly', domain })
    assert.equal(report.verdict, 'valid')
    assert.deepEqual(
      report.warnings.map(({ check }) => check).filter((check) => check.startsWith('scope_')),
      ['scope_roles', 'scope_chromeos', 'scope_mobile', 'scope_group_log'],
    )
    assert.deepEqual(
      report.capabilities.find(({ entity_type }) => entity_type === 'roles'),
      { entity_type: 'roles', available: false, missing: [scopes.roles] },
    )
  }
})

test('says of the log of groups what grants it, and what a sync goes without', async () => {
  const withoutScope = await ask({ keyFile: 'withoutReports' })
  const withoutPrivilege = await ask({ admin: google.admins.reader })
  for (const [report, missing] of [
    [withoutScope, [scopes.groupLog, 'Reports']],
    [withoutPrivilege, ['Reports']],
  ] as const) {
    assert.equal(report.verdict, 'valid')
    assert.deepEqual(
      report.capabilities.find(({ entity_type }) => entity_type === 'change_log'),
      { entity_type: 'change_log', available: false, missing },
    )
  }
  const checkIn = ({ checks }: Report, id: string) => checks.find((check) => check.id === id)
  const refused = checkIn(withoutScope, 'scope_group_log')
  assert.match(refused?.cause?.remedy ?? '', /add: https:[^,]*admin\.reports\.audit\.readonly\./)
  assert.match(refused?.without ?? '', /next full run/)
  assert.equal(checkIn(withoutScope, 'group_log')?.status, 'skipped')
  assert.match(
    checkIn(withoutPrivilege, 'group_log')?.cause?.remedy ?? '',
    / a role with these privileges: Reports /,
  )
})

test('proves the primary domain by the organisation where that is what may be read', async () => {
  const report = await ask({ keyFile: 'withCustomer' })
  assert.equal(report.verdict, 'valid')
  assert.ok(running.requests().some(({ path }) => path.endsWith('/customers/my_customer')))
})

test('a delegated administrator with the needed privileges is enough, without a remark', async () => {
  const report = await ask({ admin: google.admins.reader, keyFile: 'requiredOnly' })
  assert.equal(report.verdict, 'valid')
  assert.ok(report.warnings.every(({ check }) => check.startsWith('scope_')))
})

test('a service account with a role of its own needs no administrator; one without is told so', async () => {
  const withRole = await run({ service_account_json: google.keyFiles.withRole }, google.domains.primary)
  assert.equal(withRole.verdict, 'valid')
  assert.equal(withRole.subject.organization, google.customerId)
  const foreign = await run({ service_account_json: google.keyFiles.withRole }, google.domains.foreign)
  assert.equal(foreign.verdict, 'invalid')
  const without = await run({ service_account_json: google.keyFiles.good }, google.domains.primary)
  assert.equal(without.verdict, 'invalid')
  assert.ok(failures(without).every((failure) => failure.endsWith('google_admin_email_missing')))
})

test("the key file's token_uri is never asked", async () => {
  const report = await ask({
    keyFile: { ...google.keyFiles.good, token_uri: 'https://admin.googleapis.com/steal' },
  })
  assert.deepEqual(failures(report), ['service_account google_token_uri_foreign'])
  assert.deepEqual(running.requests(), [])
})

const token = { provider: 'google', path: '^/token$' } as const
const directory = { provider: 'google', path: '^/admin/' } as const

/** Whatever the provider or the way to it does, it is neither valid nor invalid. */
const disturbances: [string, Fault[], string][] = [
  ['the token endpoint throttles', [{ ...token, kind: 'throttled' }], 'google_rate_limited'],
  ['the API throttles', [{ ...directory, kind: 'throttled' }], 'google_rate_limited'],
  ['the token endpoint is down', [{ ...token, kind: 'unavailable' }], 'google_unavailable'],
  ['the API is down', [{ ...directory, kind: 'unavailable' }], 'google_unavailable'],
  ['a captive portal answers for tokens', [{ ...token, kind: 'html' }], 'google_unexpected_response'],
  ['a captive portal answers for the API', [{ ...directory, kind: 'html' }], 'google_unexpected_response'],
  ['tokens are cut off', [{ ...token, kind: 'truncated' }], 'google_unexpected_response'],
  ["the API's answers are cut off", [{ ...directory, kind: 'truncated' }], 'google_unexpected_response'],
  ['connections are reset', [{ kind: 'reset' }], 'google_unreachable'],
  ['connections are cut in the middle of answers', [{ ...directory, kind: 'cut' }], 'google_unreachable'],
  ['answers never end', [{ ...directory, kind: 'endless' }], 'google_too_large'],
  ['answers are bombs', [{ ...directory, kind: 'gzip_bomb' }], 'google_too_large'],
  ['answers are nested without end', [{ ...directory, kind: 'deep_json' }], 'google_unexpected_response'],
  [
    'the token endpoint redirects',
    [{ ...token, kind: 'redirect', location: 'https://evil.example/' }],
    'google_redirected',
  ],
  [
    'the API redirects',
    [{ ...directory, kind: 'redirect', location: 'http://169.254.169.254/' }],
    'google_redirected',
  ],
]

for (const [situation, faults, code] of disturbances) {
  test(`${situation}: could not tell`, async () => {
    running.setFaults(faults)
    const report = await ask()
    assert.equal(report.verdict, 'indeterminate')
    assert.ok(failures(report).length > 0)
    for (const failure of failures(report)) assert.match(failure, new RegExp(`${code}$`))
  })
}

test('answers that never come end with the time limit: could not tell', async () => {
  for (const fault of [
    { ...token, kind: 'hang' },
    { ...directory, kind: 'hang' },
    { ...directory, kind: 'drip', ms: 60_000 },
  ] as const) {
    running.setFaults([fault])
    const report = await ask({ timeoutMs: 400 })
    assert.equal(report.verdict, 'indeterminate')
    assert.ok(failures(report).every((failure) => failure.endsWith('google_timed_out')))
  }
})

test('names the host that could not be reached', async () => {
  for (const [fault, host, id] of [
    [{ ...token, kind: 'reset' }, 'oauth2.googleapis.com', 'token'],
    [{ ...directory, kind: 'reset' }, 'admin.googleapis.com', 'users'],
  ] as const) {
    running.setFaults([fault])
    const check = (await ask()).checks.find((candidate) => candidate.id === id)
    assert.equal(check?.cause?.title, `${host} could not be reached`)
  }
})

test('one capability that is disturbed leaves the others proved', async () => {
  running.setFaults([{ provider: 'google', path: '/members$', kind: 'unavailable' }])
  const report = await ask()
  assert.equal(report.verdict, 'indeterminate')
  assert.deepEqual(failures(report), ['memberships google_unavailable'])
})

test('passes on the wait that Google asks for', async () => {
  running.setFaults([
    {
      ...directory,
      kind: 'status',
      status: 429,
      headers: { 'retry-after': '42' },
      body: { error: { code: 429, message: 'x', errors: [{ reason: 'rateLimitExceeded', message: 'x' }] } },
    },
  ])
  const report = await ask()
  assert.equal(report.verdict, 'indeterminate')
  assert.equal(report.retry_after_seconds, 42)
})

test('checks are told as they end', async () => {
  const told: string[] = []
  const report = await ask({ onCheck: ({ id }) => told.push(id) })
  assert.deepEqual([...told].sort(), report.checks.map(({ id }) => id).sort())
  assert.ok(told.indexOf('token') < told.indexOf('users'))
})

test('no secret is in any report, even where Google repeats it', async () => {
  const { private_key } = google.keyFiles.good
  const canary = 'canary-5f0c9d2e'
  const body = private_key.replaceAll('\n', '')
  const echo = {
    error: 'invalid_grant',
    error_description: `no: ${body.slice(40, 240)} ${canary} eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln`,
  }
  const given: [Given, Fault[]][] = [
    [{}, []],
    [{}, [{ ...token, kind: 'status', status: 400, body: echo }]],
    [
      {},
      [
        {
          ...token,
          kind: 'status',
          status: 400,
          body: { error: private_key, error_description: private_key },
        },
      ],
    ],
    [
      {},
      [
        {
          ...directory,
          kind: 'status',
          status: 403,
          body: {
            error: {
              code: 403,
              message: Buffer.from(canary).toString('base64'),
              errors: [{ reason: canary }],
            },
          },
        },
      ],
    ],
    [{ keyFile: 'deletedKey' }, []],
  ]
  for (const [what, faults] of given) {
    running.setFaults(faults)
    const keyFile = { ...google.keyFiles[(what.keyFile as KeyFileName) ?? 'good'], refresh_token: canary }
    const text = JSON.stringify(await ask({ ...what, keyFile }))
    const lines = keyFile.private_key
      .split('\n')
      .filter((line) => line.length > 30 && !line.startsWith('---'))
    for (const secret of [canary, ...lines]) {
      const encoded = Buffer.from(secret)
      for (const form of [
        secret,
        encoded.toString('base64'),
        encoded.toString('hex'),
        encodeURIComponent(secret),
      ])
        assert.ok(!text.includes(form))
    }
    assert.doesNotMatch(text, /PRIVATE KEY|eyJ|ya29/)
  }
})

test('many validations at once do not disturb each other', async () => {
  const givens: Given[] = Array.from({ length: 20 }, (_, index) =>
    index % 2 === 0 ? {} : { keyFile: 'withoutGroups' },
  )
  const reports = await Promise.all(givens.map((given) => ask(given)))
  assert.deepEqual(
    reports.map(({ verdict }) => verdict),
    givens.map((given) => (given.keyFile === undefined ? 'valid' : 'invalid')),
  )
})

test("the demo's examples are what they say", async () => {
  const { valid, invalid } = google.examples()
  assert.equal((await run({ ...valid.secrets }, valid.domain)).verdict, 'valid')
  assert.ok(invalid.length >= 5)
  for (const { title, attributes } of invalid)
    assert.equal((await run({ ...attributes.secrets }, attributes.domain)).verdict, 'invalid', title)
})
