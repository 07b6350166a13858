/** What a provider that does not answer costs, and whom: its host is spared, and nobody else waits for it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, beforeEach, test } from 'node:test'
import type { Fault } from '../sandbox/faults.ts'
import { type RunningSandbox, startSandbox } from '../sandbox/index.ts'
import { createOktaSandbox, type OktaSandbox } from '../sandbox/okta/index.ts'
import { systemRequester } from '../src/configs/requester.ts'
import { type CircuitNews, createCircuits } from '../src/outbound/circuits.ts'
import { createOutbound, type Outbound } from '../src/outbound/outbound.ts'
import { googleWorkspace } from '../src/sources/google-workspace/index.ts'
import { createOkta } from '../src/sources/okta/index.ts'
import type { RunOptions } from '../src/sync/parts.ts'
import { performRun } from '../src/sync/perform.ts'
import { createSparing, type Sparing } from '../src/sync/sparing.ts'
import { createCapacity } from '../src/validation/capacity.ts'
import { readRequest } from '../src/validation/guarded-validation.ts'
import { createGuessGuard } from '../src/validation/guess-guard.ts'
import type { Report } from '../src/validation/report.ts'
import { freshDatabase } from './fresh-database.ts'
import { openNode, quick as quickJobs } from './jobs-node.ts'
import { gateOn } from './jobs-sync-world.ts'
import { startWorld, until } from './jobs-world.ts'
import { createWorld, directoryOf, newRun, newTenant, partsOf, quick } from './sync-world.ts'
import { answering } from './sync-worlds.ts'

const okta = createOkta({ customDomains: [] })
let organization: OktaSandbox
let running: RunningSandbox
let outbound: Outbound
const database = await freshDatabase({ after })

before(async () => {
  organization = await createOktaSandbox({ users: 450, groups: 30, devices: 4, seed: 'hanging' })
  running = await startSandbox({ providers: [organization] })
  outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
    limits: { requestMs: 800 },
  })
})
after(() => running.close())
beforeEach(() => {
  running.setFaults([])
  running.forgetRequests()
})

/** Circuits as a server has them, with less patience. */
function circuitsFor(coolDownMs: number) {
  const opened: CircuitNews[] = []
  const closed: CircuitNews[] = []
  const circuits = createCircuits({
    coolDownMs,
    onOpen: (news) => opened.push(news),
    onClose: (news) => closed.push(news),
  })
  return { opened, closed, sparing: createSparing(circuits) }
}

const target = () => {
  const reading = okta.readCredentials({ api_token: organization.apiTokens.superAdmin })
  assert.ok(reading.ok)
  return { domain: organization.host, credentials: reading.credentials }
}

/** Asks for a full run of the organisation at Okta, and performs it. */
async function synchronise(sparing: Sparing, attempts: number) {
  const tenant = await newTenant(database)
  const world = createWorld(directoryOf({ users: 1, groups: 1 }))
  const parts = {
    ...partsOf(database, world, {
      pace: { ...quick, attempts, pauseMs: 20, longestPauseMs: 50, longestWaitMs: 50 },
    }),
    openHttp: outbound.open,
    sparing,
  }
  const end = await performRun(
    {
      ...parts,
      async unseal(id, reason) {
        const opened = await parts.unseal(id, reason)
        return opened && { ...opened, source: okta as never, target: target() }
      },
    },
    await newRun(database, tenant),
    { signal: new AbortController().signal, attemptsBefore: 0 },
  )
  return { end, tenant }
}

for (const kind of ['hang', 'reset', 'unavailable'] as const)
  test(`a run spares an organisation that fails (${kind}), tries now and then, and goes on where it was`, async () => {
    const { opened, closed, sparing } = circuitsFor(400)
    running.setFaults([{ kind, provider: 'okta' }])
    const ended = synchronise(sparing, 100)
    // Opened, and again for each request that tried in vain.
    await until(() => opened.length === 3)
    const whileFailing = running.requests().length
    running.setFaults([])
    const { end } = await ended
    assert.equal(end.kind, 'succeeded')
    assert.equal(closed.length, 1)
    // What was under way side by side when it opened, and one request for each trial.
    assert.ok(whileFailing <= 5 + 8 + 3, String(whileFailing))
  })

test('a run that gives up says that the provider was spared, why, and nothing of the credentials', async () => {
  const { sparing } = circuitsFor(60_000)
  running.setFaults([{ kind: 'unavailable', provider: 'okta' }])
  const { end } = await synchronise(sparing, 3)
  assert.ok(end.kind === 'failed')
  assert.equal(end.error.code, 'okta_circuit_open')
  assert.match(
    end.error.explanation,
    /of the last one, it answered 503\. .* says nothing about the credentials/,
  )
  assert.match(end.error.title, /acme\.okta\.com has not answered lately and is asked again in \d+ s/)
})

test('Google’s 503 for too many requests spares nobody: it is a limit, which the budget keeps', async () => {
  const { opened, sparing } = circuitsFor(60_000)
  const answering503 = (reason: string) => ({
    request: async () => {
      const body = { error: { code: 503, message: reason, errors: [{ reason }] } }
      const text = JSON.stringify(body)
      return { status: 503, headers: new Headers(), text, json: () => body, receivedAt: new Date() }
    },
  })
  const ask = async (reason: string) => {
    const reading = googleWorkspace.readCredentials({ admin_email: 'admin@example.com' })
    assert.ok(reading.ok)
    const http = sparing(answering503(reason), {
      organizationId: 'one',
      source: googleWorkspace as never,
      target: { domain: 'example.com', credentials: reading.credentials },
    })
    const url =
      'https://admin.googleapis.com/admin/reports/v1/activity/users/all/applications/groups_enterprise'
    for (let times = 0; times < 5; times += 1) await http.request({ operation: 'read', method: 'GET', url })
  }
  await ask('rateLimitExceeded')
  assert.deepEqual(opened, [])
  await ask('backendError')
  assert.equal(opened.length, 1)
})

/** Validates as the server itself does (`isUnattended`), or for somebody who asked. */
async function validateBy(sparing: Sparing, isUnattended: boolean): Promise<Report> {
  const read = await readRequest(
    {
      tools: { openHttp: outbound.open, now: () => new Date() },
      guard: createGuessGuard({ attemptsPerMinute: 100 }),
      capacity: createCapacity(10),
      sparing,
      turn: async () => undefined,
      operatorEntry: () => undefined,
    },
    {
      organization: { id: 'one', name: 'One' },
      source: okta as never,
      domain: organization.host,
      secrets: { api_token: organization.apiTokens.superAdmin },
      isUnattended,
    },
  )
  assert.ok('request' in read)
  const admission = await read.request.admit()
  assert.ok(admission.isAdmitted)
  return admission.run({ timeoutMs: 3_000 })
}

const causesOf = ({ checks }: Report) =>
  new Set(
    checks.flatMap(({ required, status, cause }) =>
      required && status === 'unknown' ? (cause?.code ?? []) : [],
    ),
  )

test('a scheduled validation of what is spared asks nothing, and cannot tell', async () => {
  const { opened, closed, sparing } = circuitsFor(300)
  running.setFaults([{ kind: 'reset', provider: 'okta' }])
  while (opened.length === 0) await validateBy(sparing, true)
  running.forgetRequests()

  const report = await validateBy(sparing, true)
  assert.equal(report.verdict, 'indeterminate')
  assert.deepEqual(causesOf(report), new Set(['okta_circuit_open']))
  assert.ok((report.retry_after_seconds ?? 0) >= 1)
  assert.deepEqual(running.requests(), [])

  running.setFaults([])
  const healed = await until(async () => {
    const again = await validateBy(sparing, true)
    return again.verdict === 'valid' ? again : undefined
  })
  assert.equal(healed.verdict, 'valid')
  assert.equal(closed.length, 1)
})

test('a validation that somebody asks for is made whatever is spared, and opens and closes nothing', async () => {
  const { opened, closed, sparing } = circuitsFor(60_000)
  const faults: Fault[] = [{ kind: 'reset', provider: 'okta' }]
  running.setFaults(faults)
  for (let times = 0; times < 3; times += 1)
    assert.deepEqual(causesOf(await validateBy(sparing, false)), new Set(['okta_unreachable']))
  assert.deepEqual(opened, [])

  while (opened.length === 0) await validateBy(sparing, true)
  assert.deepEqual(causesOf(await validateBy(sparing, false)), new Set(['okta_unreachable']))
  running.setFaults([])
  assert.equal((await validateBy(sparing, false)).verdict, 'valid')
  assert.deepEqual(closed, [])
})

test('of the validations of a configuration, the scheduled ones alone spare', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  let spared = 0
  const node = await openNode(world.options, {
    sparing(http) {
      spared += 1
      return http
    },
  })
  t.after(() => node.close())
  const { isUnattended: _, ...somebody } = systemRequester(world.organization)
  await node.configs.validateStored(somebody, id)
  assert.equal(spared, 0)
  await node.configs.revalidate(id, 'scheduled validation')
  assert.equal(spared, 1)
})

test('syncs of a provider that hangs hold the places of that provider, and nobody else’s', async (t) => {
  const own = await freshDatabase(t)
  const gate = gateOn('users')
  const hanging = createWorld(directoryOf({ users: 5, groups: 1 }))
  hanging.faults.push(gate.fault)
  const living = createWorld(directoryOf({ users: 5, groups: 1 }))
  const other = { ...living.source, name: 'other', integrationType: 'OTHER' }
  const tenants = await Promise.all(Array.from({ length: 4 }, () => newTenant(own)))
  const [last, ...others] = tenants
  assert.ok(last)
  await own.query
    .updateTable('integration_configs')
    .set({ integration_type: 'OTHER' })
    .where('id', '=', last.configId)
    .execute()
  const node = await openNode(
    {
      databaseUrl: own.url,
      vaultKey: randomBytes(32).toString('base64'),
      endpoints: {},
      authority: '',
      settings: { ...quickJobs, syncsPerSource: 2 },
    },
    {
      now: () => new Date(),
      outbound: answering,
      sources: [hanging.source, other],
      runsOn: (database) => ({
        async perform(id: string, options: RunOptions) {
          const { config_id } = await database.query
            .selectFrom('sync_runs')
            .select('config_id')
            .where('id', '=', id)
            .executeTakeFirstOrThrow()
          const world = config_id === last.configId ? { ...living, source: other } : hanging
          return performRun(partsOf(database, world), id, options)
        },
      }),
    },
  )
  t.after(() => node.close())
  await own.query.updateTable('sync_states').set({ next_full_at: new Date() }).execute()
  await (await node.start()).started

  const runsOf = (configIds: readonly string[], status: string) =>
    own.query
      .selectFrom('sync_runs')
      .select('id')
      .where('config_id', 'in', configIds)
      .where('status', '=', status as 'running')
      .execute()
  const hung = others.map(({ configId }) => configId)
  await until(async () => (await runsOf([last.configId], 'succeeded')).length === 1)
  await until(() => gate.held() === 2)
  assert.equal((await runsOf(hung, 'running')).length, 2)
  assert.equal((await runsOf(hung, 'queued')).length, 1)

  gate.open()
  await until(async () => (await runsOf(hung, 'succeeded')).length === 3)
})
