/** Microsoft's Graph client follows what the sandbox tells of changes, deletions, counts and roles, and understands its refusals. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type Client, GraphError, type PageCollection, PageIterator } from '@microsoft/microsoft-graph-client'
import { idOf } from '../../sandbox/entra/directory-objects.ts'
import { createEntraSandbox, type EntraSandbox } from '../../sandbox/entra/index.ts'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { graph, redirectTo, tokenOf } from './graph-client.ts'

let entra: EntraSandbox
let sandbox: RunningSandbox
let client: Client
let restore = () => {}

before(async () => {
  entra = await createEntraSandbox({
    users: 230,
    groups: 12,
    devices: 130,
    seed: 'sdk delta',
    isVaried: true,
  })
  sandbox = await startSandbox({ providers: [entra] })
  restore = redirectTo(sandbox)
  client = graph(entra.apps.full)
})
afterEach(() => sandbox.setFaults([]))
after(async () => {
  restore()
  await sandbox.close()
})

interface Told {
  readonly id: string
  readonly '@removed'?: { readonly reason: string }
  readonly 'members@delta'?: readonly Told[]
  readonly 'manager@delta'?: readonly Told[]
  readonly [name: string]: unknown
}

/** All pages of a round, as the library walks them, and the link that ends it. */
async function round(start: string): Promise<{ told: readonly Told[]; deltaLink: string; pages: number }> {
  const told: Told[] = []
  let pages = 1
  const first: PageCollection = await client.api(start).get()
  const iterator = new PageIterator(client, first, (object: Told) => {
    told.push(object)
    return true
  })
  const next = first['@odata.nextLink']
  if (next !== undefined) pages += 1
  await iterator.iterate()
  const deltaLink = iterator.getDeltaLink()
  assert.ok(deltaLink !== undefined)
  return { told, deltaLink, pages }
}

const user = (index: number) => idOf(entra.directory.person(index).key)
const group = (index: number) => idOf(entra.directory.group(index).key)

for (const [list, count] of [
  ['users', 230],
  ['devices', 130],
] as const)
  test(`a first round of ${list} tells of all of them, page by page, and the next of nothing`, async () => {
    const { told, deltaLink, pages } = await round(`/${list}/delta?$select=displayName`)
    assert.equal(new Set(told.map(({ id }) => id)).size, count)
    assert.ok(pages > 1)
    assert.deepEqual(Object.keys(told[0] ?? {}).sort(), ['displayName', 'id'])
    assert.deepEqual((await round(deltaLink)).told, [])
  })

test('a first round of groups tells the members of all of them, large ones in parts', async () => {
  const { told } = await round('/groups/delta?$select=displayName,members')
  const members = told.flatMap((one) => (one['members@delta'] ?? []).map(({ id }) => `${one.id} ${id}`))
  let expected = 0
  for (let index = 0; index < 12; index++) expected += entra.directory.group(index).memberCount
  assert.equal(new Set(members).size, expected)
})

test('a round from now on tells what happens, with tombstones, and the properties that were asked for', async () => {
  const { told, deltaLink } = await round('/users/delta?$select=jobTitle,manager&$deltatoken=latest')
  assert.deepEqual(told, [])
  entra.directory.change({ what: 'edit', person: 5, edit: { title: 'Principal' } })
  entra.directory.change({ what: 'edit', person: 6, edit: { city: 'Not asked for' } })
  entra.directory.change({ what: 'edit', person: 7, edit: { managerIndex: 3 } })
  entra.directory.change({ what: 'leave', person: 200 })
  const { person: hired = -1 } = entra.directory.change({ what: 'hire' })
  const next = await round(deltaLink)
  const byId = new Map(next.told.map((one) => [one.id, one]))
  assert.deepEqual([...byId.keys()].sort(), [user(5), user(7), user(200), user(hired)].sort())
  assert.equal(byId.get(user(5))?.jobTitle, 'Principal')
  assert.equal(byId.get(user(7))?.['manager@delta']?.[0]?.id, user(3))
  assert.deepEqual(byId.get(user(200)), { id: user(200), '@removed': { reason: 'changed' } })
  assert.deepEqual((await round(next.deltaLink)).told, [])
})

test('members who come and go are told, also by being deleted', async () => {
  const { deltaLink } = await round('/groups/delta?$select=displayName,members&$deltatoken=latest')
  const people = Array.from({ length: 100 }, (_, index) => index).slice(20)
  const joining = people.find((person) => !entra.directory.isMember(3, person)) ?? -1
  const [leaving = -1] = entra.directory.members(4, 0, 1)
  entra.directory.change({ what: 'join', group: 3, person: joining })
  entra.directory.change({ what: 'rename', group: 5, name: 'Renamed' })
  entra.directory.change({ what: 'dissolve', group: 6 })
  if (leaving > 10) entra.directory.change({ what: 'leave', person: leaving })
  const { told } = await round(deltaLink)
  const byId = new Map(told.map((one) => [one.id, one]))
  assert.deepEqual(byId.get(group(3))?.['members@delta'], [
    { '@odata.type': '#microsoft.graph.user', id: user(joining) },
  ])
  assert.equal(byId.get(group(5))?.displayName, 'Renamed')
  assert.equal(byId.get(group(5))?.['members@delta'], undefined)
  assert.deepEqual(byId.get(group(6)), { id: group(6), '@removed': { reason: 'deleted' } })
  if (leaving > 10)
    assert.deepEqual(byId.get(group(4))?.['members@delta'], [
      { '@odata.type': '#microsoft.graph.user', id: user(leaving), '@removed': { reason: 'deleted' } },
    ])
})

test('with return=minimal only what changed is told', async () => {
  const { deltaLink } = await round('/users/delta?$select=displayName,jobTitle&$deltatoken=latest')
  entra.directory.change({ what: 'edit', person: 9, edit: { title: 'Minimal' } })
  const { value } = await client.api(deltaLink).header('Prefer', 'return=minimal').get()
  assert.deepEqual(value, [{ id: user(9), jobTitle: 'Minimal' }])
})

test('deleted users can be listed by their type', async () => {
  entra.directory.change({ what: 'leave', person: 150 })
  const { value } = await client
    .api('/directory/deletedItems/microsoft.graph.user')
    .select('id,deletedDateTime')
    .get()
  assert.ok(value.some(({ id }: Told) => id === user(150)))
  await assert.rejects(client.api('/directory/deletedItems').get(), GraphError)
})

test('users are counted, where consistency is declared', async () => {
  let there = 0
  for (let index = 0; index < entra.directory.userCount; index++)
    if (entra.directory.hasPerson(index)) there++
  assert.equal(await client.api('/users/$count').header('ConsistencyLevel', 'eventual').get(), String(there))
  await assert.rejects(client.api('/users/$count').get(), (error: unknown) => {
    assert.ok(error instanceof GraphError)
    return error.statusCode === 400
  })
})

test('users are read by their ids, fifteen at a time', async () => {
  const ids = (count: number) => Array.from({ length: count }, (_, index) => `'${user(index)}'`).join()
  const { value } = await client
    .api('/users')
    .filter(`id in (${ids(15)})`)
    .expand('manager($select=id)')
    .get()
  assert.equal(value.length, 15)
  assert.deepEqual(Object.keys(value[1].manager).sort(), ['@odata.type', 'id'])
  await assert.rejects(
    client
      .api('/users')
      .filter(`id in (${ids(16)})`)
      .get(),
    (error: unknown) => {
      assert.ok(error instanceof GraphError)
      return error.code === 'Request_UnsupportedQuery' && /Max allowed: 15/.test(error.message)
    },
  )
})

test('an expanded relationship makes pages smaller, whatever was asked for', async () => {
  const page: PageCollection = await client.api('/users').top(999).expand('manager($select=id)').get()
  assert.equal(page.value.length, 100)
  assert.ok(page['@odata.nextLink'])
  await assert.rejects(client.api('/users').expand('manager,memberOf').get(), GraphError)
})

test('a user is in groups and has roles, and a group may hold groups, devices and apps', async () => {
  const types = (list: PageCollection) => new Set(list.value.map((one) => one['@odata.type']))
  const memberOf = await client.api(`/users/${user(0)}/memberOf`).get()
  assert.deepEqual(types(memberOf), new Set(['#microsoft.graph.directoryRole', '#microsoft.graph.group']))
  const members = await client
    .api(`/groups/${group(1)}/members`)
    .top(999)
    .get()
  for (const type of ['group', 'device']) assert.ok(types(members).has(`#microsoft.graph.${type}`))
  const roles = await client.api('/roleManagement/directory/roleAssignments').expand('principal').get()
  assert.ok(
    roles.value.some(
      ({ principal }: { principal: Told }) => principal['@odata.type'] === '#microsoft.graph.group',
    ),
  )
})

for (const [title, path, status, code] of [
  ['an unknown token', '/users/delta?$deltatoken=unknown', 400, 'BadRequest'],
  ['a page size', '/users/delta?$top=5', 400, 'Request_UnsupportedQuery'],
  ['an expanded relationship', '/groups/delta?$expand=members', 400, 'Request_UnsupportedQuery'],
  ['sign-in activity', '/users/delta?$select=signInActivity', 400, 'BadRequest'],
  ['a relationship that is none', '/devices/delta?$select=manager', 400, 'BadRequest'],
] as const)
  test(`a delta query with ${title} is refused with ${status} ${code}`, async () => {
    await assert.rejects(client.api(path).get(), (error: unknown) => {
      assert.ok(error instanceof GraphError)
      assert.equal(error.statusCode, status)
      assert.equal(error.code, code)
      return true
    })
  })

test('a lost token is 410 with the place to begin anew', async () => {
  const { deltaLink } = await round('/users/delta?$deltatoken=latest')
  sandbox.setFaults([{ provider: 'entra', path: '/delta$', kind: 'lost_delta_token' }])
  await assert.rejects(client.api(deltaLink).get(), (error: unknown) => {
    assert.ok(error instanceof GraphError)
    assert.equal(error.statusCode, 410)
    assert.equal(error.code, 'syncStateNotFound')
    assert.match(error.headers?.get('location') ?? '', /\/users\/delta\?\$deltatoken=$/)
    return true
  })
})

test('a delta query needs the permission of its list', async () => {
  await assert.rejects(graph(entra.apps.noGroups).api('/groups/delta').get(), (error: unknown) => {
    assert.ok(error instanceof GraphError)
    return error.code === 'Authorization_RequestDenied'
  })
})

test("Microsoft's published limits are enforced where they are asked for", async () => {
  const limited = await createEntraSandbox({ users: 10, groups: 2, seed: 'sdk limits', isLimited: true })
  const running = await startSandbox({ providers: [limited] })
  const back = redirectTo(running)
  try {
    const asking = graph(limited.apps.full)
    const report = '/reports/authenticationMethods/userRegistrationDetails'
    for (let count = 0; count < 5; count++) assert.equal((await asking.api(report).get()).value.length, 10)
    const answer = await fetch(`https://graph.microsoft.com/v1.0${report}`, {
      headers: { authorization: `Bearer ${await tokenOf(limited.apps.full)}` },
    })
    assert.equal(answer.status, 429)
    assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
    assert.match(answer.headers.get('x-ms-throttle-scope') ?? '', /^Tenant_Application\/ReadWrite\//)
    // The library waits as long as it is asked to, and asks again.
    assert.equal((await asking.api(report).get()).value.length, 10)
  } finally {
    back()
    await running.close()
  }
})
