/** Okta's own SDK and our reader find the same organisation, before and after things happened in it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { createOktaSandbox, type OktaSandbox } from '../../sandbox/okta/index.ts'
import type { Entity } from '../../src/entities/model.ts'
import { createOutbound, maxPageBytes } from '../../src/outbound/outbound.ts'
import { type Known, openOkta, readFull, readIncrement } from '../okta-reading.ts'

const script = join(import.meta.dirname, 'okta-whole-sdk.ts')
let okta: OktaSandbox
let running: RunningSandbox

before(async () => {
  okta = await createOktaSandbox({ users: 230, groups: 25, seed: 'okta whole' })
  running = await startSandbox({ providers: [okta] })
})
after(() => running.close())

interface Listed {
  readonly users: readonly { id: string; status: string; login: string; title: string }[]
  readonly groups: readonly { id: string; name: string; type: string }[]
  readonly memberships: readonly string[]
  readonly devices: readonly { id: string; name: string }[]
  readonly changed: readonly string[]
  readonly events: readonly { eventType: string; targets: readonly string[] }[]
}

async function listWithSdk(since: Date): Promise<Listed> {
  const until = new Date(Date.now() + 60_000)
  const instructions = {
    orgUrl: running.endpoints[okta.host],
    token: okta.apiTokens.superAdmin,
    since: since.toISOString(),
    until: until.toISOString(),
  }
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(instructions)], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NODE_EXTRA_CA_CERTS: running.caFile },
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  })
  return JSON.parse(stdout)
}

function session() {
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    endpointAuthorities: [running.authority ?? ''],
  })
  const rules = [{ host: okta.host, chosenBy: 'provider' }] as const
  const http = outbound.open(rules, new AbortController().signal, Number.POSITIVE_INFINITY, maxPageBytes)
  return openOkta(okta.host, { kind: 'api_token', apiToken: okta.apiTokens.superAdmin }, http)
}

function assertSame(known: Known, { users, groups, memberships, devices }: Listed) {
  const of = <K extends Entity['kind']>(kind: K) =>
    [...known.entities.values()].filter((entity) => entity.kind === kind) as Extract<Entity, { kind: K }>[]
  const sorted = <T>(rows: readonly T[]) => rows.map((row) => JSON.stringify(row)).sort()
  assert.deepEqual(
    sorted(
      of('identity').map(({ attributes: { uid, status_detail, name, job_title } }) => ({
        id: uid,
        status: status_detail,
        login: name,
        title: job_title,
      })),
    ),
    sorted(users),
  )
  assert.deepEqual(
    sorted(of('group').map(({ attributes: { uid, name, type } }) => ({ id: uid, name, type }))),
    sorted(groups),
  )
  assert.deepEqual(
    sorted(of('device').map(({ attributes: { uid, name } }) => ({ id: uid, name }))),
    sorted(devices),
  )
  assert.deepEqual([...known.memberships].sort(), [...memberships].sort())
}

test('lists of users, groups, members and devices are the SDK’s, also after changes', async () => {
  const started = new Date(Date.now() - 60_000)
  const known = await readFull(session())
  assertSame(known, await listWithSdk(started))

  const { directory } = okta
  const gone = [...known.entities.values()].find(
    (entity) => entity.kind === 'identity' && entity.attributes.name === directory.person(11).email,
  )
  directory.change({ what: 'hire' })
  directory.change({ what: 'edit', person: 10, edit: { title: 'Lead', userName: 'grace.hopper' } })
  directory.change({ what: 'edit', person: 12, edit: { status: 'deactivated' } })
  directory.change({ what: 'leave', person: 11 })
  directory.change({ what: 'found', name: 'Rowing' })
  directory.change({ what: 'join', group: directory.groupCount - 1, person: 13 })
  directory.change({ what: 'dissolve', group: 3 })
  await readIncrement(session(), known)
  const listed = await listWithSdk(started)
  assertSame(known, listed)
  assert.equal(listed.changed.length, 3)
  assert.ok(
    listed.events.some(
      ({ eventType, targets }) =>
        eventType === 'user.lifecycle.delete.completed' && targets.includes(gone?.attributes.uid ?? ''),
    ),
  )
})
