/** What a sync is refused, the validation of the same credentials has warned of, in the same words. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createEntraSandbox, type EntraSandbox } from '../sandbox/entra/index.ts'
import { createGoogleSandbox, type GoogleSandbox } from '../sandbox/google/index.ts'
import { type RunningSandbox, startSandbox } from '../sandbox/index.ts'
import { createOktaSandbox, type OktaSandbox } from '../sandbox/okta/index.ts'
import { createOutbound, maxPageBytes, type Outbound } from '../src/outbound/outbound.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import type { Cause } from '../src/sources/cause.ts'
import { type AnySource, createSources, sourceByIntegrationType } from '../src/sources/registry.ts'
import type { EntityType } from '../src/sources/source.ts'
import { diagnoseReading } from '../src/sync/failures.ts'
import { validate } from '../src/validation/validate.ts'

let google: GoogleSandbox
let okta: OktaSandbox
let entra: EntraSandbox
let running: RunningSandbox
let outbound: Outbound

before(async () => {
  const size = { users: 40, groups: 6, devices: 5 }
  ;[google, okta, entra] = await Promise.all([
    createGoogleSandbox({ ...size, seed: 'permissions' }),
    createOktaSandbox({ ...size, seed: 'permissions' }),
    createEntraSandbox({ ...size, seed: 'permissions' }),
  ])
  running = await startSandbox({ providers: [google, okta, entra] })
  outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
  })
})
after(() => running.close())

interface Given {
  readonly type: string
  readonly domain: string
  readonly secrets: Readonly<Record<string, unknown>>
}

const ofGoogle = (
  keyFile: keyof GoogleSandbox['keyFiles'],
  admin?: keyof GoogleSandbox['admins'],
): Given => ({
  type: 'GOOGLE_WORKSPACE',
  domain: 'example.com',
  secrets: {
    service_account_json: google.keyFiles[keyFile],
    ...(admin !== undefined && { admin_email: google.admins[admin] }),
  },
})
const ofOktaApp = (name: keyof OktaSandbox['serviceApps']): Given => {
  const { clientId, privateKey } = okta.serviceApps[name]
  return { type: 'OKTA', domain: okta.host, secrets: { client_id: clientId, private_key: privateKey } }
}
const ofOktaToken = (name: keyof OktaSandbox['apiTokens']): Given => ({
  type: 'OKTA',
  domain: okta.host,
  secrets: { api_token: okta.apiTokens[name] },
})
const ofEntra = (
  name: 'full' | 'usual' | 'leastPrivilege' | 'withoutPremium',
  domain = 'acme.com',
): Given => ({
  type: 'ENTRA_ID',
  domain,
  secrets: { ...entra.apps[name] },
})

interface Refused {
  readonly list: string
  readonly capability: EntityType
  readonly cause: Cause
}

/** Asks for the beginning of every list, of full runs and of increments: which are refused, and why. */
async function refusedTo({ source, target }: Pick<Opened, 'source' | 'target'>): Promise<readonly Refused[]> {
  const { reader } = source
  assert.ok(reader)
  const stop = new AbortController()
  const http = outbound.open(source.egress(target), stop.signal, 0, maxPageBytes)
  const session = reader.open(target, { http, signal: stop.signal, now: () => new Date() })
  const readings = [
    ...reader.lists.map(({ name, capability, read }) => ({
      list: name,
      capability,
      read: () => read(session, undefined),
    })),
    ...reader.increments.map((list) => ({
      list: list.name,
      capability: list.capability,
      read: async () => list.read(session, await list.begin(session), undefined),
    })),
  ]
  const refused: Refused[] = []
  for (const { list, capability, read } of readings)
    try {
      await read()
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      const { determinate, cause } = diagnoseReading({ source, target }, error, capability)
      assert.ok(determinate, `${list}: ${error.message}`)
      refused.push({ list, capability, cause })
    }
  await http.close()
  return refused
}

interface Opened {
  readonly source: AnySource
  readonly target: { readonly domain: string; readonly credentials: unknown }
}

function open({ type, domain, secrets }: Given): Opened {
  const source = sourceByIntegrationType(createSources(), type)
  assert.ok(source)
  const reading = source.readCredentials(secrets)
  assert.ok(reading.ok)
  return { source, target: { domain, credentials: reading.credentials } }
}

const cases: readonly (readonly [who: string, given: () => Given, refused: readonly string[]])[] = [
  ['Google Workspace with everything', () => ofGoogle('good', 'super'), []],
  [
    'Google Workspace with the required scopes alone',
    () => ofGoogle('requiredOnly', 'super'),
    ['role_assignments', 'chromeos_devices', 'mobile_devices', 'role_assignments', 'group_log'],
  ],
  ['Google Workspace without the scope of the log', () => ofGoogle('withoutReports', 'super'), ['group_log']],
  [
    'Google Workspace with every scope, for an administrator who may see no reports, roles and devices',
    () => ofGoogle('good', 'reader'),
    ['role_assignments', 'chromeos_devices', 'mobile_devices', 'role_assignments', 'group_log'],
  ],
  ['an Okta app of a Super Administrator', () => ofOktaApp('superAdmin'), []],
  [
    'an Okta app with the required scopes alone',
    () => ofOktaApp('requiredScopesOnly'),
    ['devices', 'role_assignments', 'changed_devices', 'system_log'],
  ],
  [
    'an Okta app without the scope of the log',
    () => ofOktaApp('withoutLogsScope'),
    ['role_assignments', 'system_log'],
  ],
  ['an API token of a Read-only Administrator', () => ofOktaToken('readOnly'), ['role_assignments']],
  [
    'an API token of an administrator of groups',
    () => ofOktaToken('groupAdmin'),
    ['devices', 'role_assignments', 'changed_devices', 'system_log'],
  ],
  ['an Entra app with every permission', () => ofEntra('full'), []],
  [
    'an Entra app with the permissions that a SIEM usually has',
    () => ofEntra('usual'),
    ['authentication_methods', 'sign_in_activity'],
  ],
  [
    'an Entra app with the least that is required',
    () => ofEntra('leastPrivilege'),
    ['devices', 'device_owners', 'role_assignments', 'authentication_methods', 'sign_in_activity', 'devices'],
  ],
]

for (const [who, given, expected] of cases)
  test(`${who} is valid, and warned of all that a sync is refused`, async () => {
    const opened = open(given())
    const { source, target } = opened
    const report = await validate(source, target, { openHttp: outbound.open, now: () => new Date() })
    const refused = await refusedTo(opened)
    assert.equal(report.verdict, 'valid')
    assert.deepEqual(
      refused.map(({ list }) => list),
      expected,
    )
    for (const { list, capability, cause } of refused) {
      const told = report.capabilities.find(({ entity_type }) => entity_type === capability)
      assert.equal(told?.available, false, list)
      assert.ok(told.missing.length > 0, list)
      assert.ok(
        report.warnings.some(({ code, title }) => code === cause.code && title === cause.title),
        `${list}: ${JSON.stringify(cause)} is none of ${JSON.stringify(report.warnings)}`,
      )
    }
    // Nor is anything called unavailable that a sync reads.
    const lists = [...(source.reader?.lists ?? []), ...(source.reader?.increments ?? [])]
    for (const { entity_type, available } of report.capabilities)
      if (lists.some(({ capability }) => capability === entity_type))
        assert.equal(available, !refused.some(({ capability }) => capability === entity_type), entity_type)
  })

test('every optional check of what is read says what a sync goes without', () => {
  for (const { name, checks } of createSources())
    for (const { id, capability, required, stage, without } of checks)
      if (capability !== undefined && stage !== 'health')
        assert.equal(without !== undefined, !required, `${name} ${id}`)
})
