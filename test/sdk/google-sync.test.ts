/** Google's sandbox, read by the reader, driven by the engine, into a real database. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createGoogleSandbox } from '../../sandbox/google/index.ts'
import { startSandbox } from '../../sandbox/index.ts'
import { createOutbound } from '../../src/outbound/outbound.ts'
import { googleWorkspace } from '../../src/sources/google-workspace/index.ts'
import { readCredentials } from '../../src/sources/google-workspace/secrets.ts'
import type { AnySource } from '../../src/sources/registry.ts'
import type { SyncMode } from '../../src/store/schema.ts'
import { performRun } from '../../src/sync/perform.ts'
import { freshDatabase } from '../fresh-database.ts'
import { contentOf, createWorld, emptyDirectory, newRun, newTenant, partsOf } from '../sync-world.ts'

const database = await freshDatabase({ after })

async function scene() {
  const google = await createGoogleSandbox({ users: 600, groups: 12, seed: 'sync', isVaried: true })
  const running = await startSandbox({ providers: [google] })
  after(() => running.close())
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
  })
  const reading = readCredentials({
    service_account_json: google.keyFiles.good,
    admin_email: google.admins.super,
  })
  assert.ok(reading.ok)
  const { credentials } = reading
  const tenant = await newTenant(database)
  const parts = partsOf(database, createWorld(emptyDirectory()))
  const run = async (mode: SyncMode) => {
    const end = await performRun(
      {
        ...parts,
        openHttp: (rules, signal) => outbound.open(rules, signal, Number.POSITIVE_INFINITY, 4 * 1024 * 1024),
        async unseal(configId) {
          const opened = await parts.unseal(configId, 'sync')
          return (
            opened && {
              ...opened,
              source: googleWorkspace as AnySource,
              target: { domain: google.domains.primary, credentials },
            }
          )
        },
      },
      await newRun(database, tenant, { mode }),
      { signal: new AbortController().signal, attemptsBefore: 0 },
    )
    assert.deepEqual(parts.troubles, [])
    assert.ok(end.kind === 'succeeded')
    return end.merge
  }
  return { google, running, run, content: () => contentOf(database, tenant) }
}

test('a second full run changes nothing, and a full run finds nothing that an increment before it had not', async () => {
  const { google, run, content } = await scene()
  const first = await run('full')
  assert.equal(first.counts.identity.added, 600)
  assert.equal(first.counts.group.added, 12)
  const second = await run('full')
  for (const { added, changed, removed } of Object.values(second.counts))
    assert.deepEqual([added, changed, removed], [0, 0, 0])

  const { directory } = google
  directory.change({ what: 'leave', person: 30 })
  directory.change({ what: 'hire' })
  directory.change({ what: 'edit', person: 40, edit: { title: 'Admiral', status: 'suspended' } })
  directory.change({ what: 'rename', group: 3, name: 'Renamed' })
  const [out = 0] = directory.members(4, 0, 1)
  const within = Array.from({ length: 600 }, (_, index) => index).find(
    (index) => directory.hasPerson(index) && !directory.isMember(4, index),
  )
  directory.change({ what: 'quit', group: 4, person: out })
  directory.change({ what: 'join', group: 4, person: within ?? 0 })
  const increment = await run('incremental')
  assert.equal(increment.counts.identity.added, 1)
  assert.equal(increment.counts.identity.removed, 1)
  const known = await content()
  await run('full')
  assert.deepEqual(await content(), known)
})

test('a run goes on without the lists whose scopes are not delegated, and takes nobody for gone for them', async () => {
  const { running, run } = await scene()
  await run('full')
  running.setFaults([
    {
      path: '/(?:devices|roleassignments|roles)',
      kind: 'status',
      status: 403,
      body: { error: { code: 403, errors: [{ reason: 'forbidden' }] } },
    },
  ])
  const { counts } = await run('full')
  assert.deepEqual([counts.device.removed, counts.identity.changed], [0, 0])
  assert.ok(counts.device.open > 0)
})
