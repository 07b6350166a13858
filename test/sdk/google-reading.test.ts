import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createGoogleSandbox, type GoogleSandbox } from '../../sandbox/google/index.ts'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { createOutbound } from '../../src/outbound/outbound.ts'
import { reader } from '../../src/sources/google-workspace/reader.ts'
import { readCredentials } from '../../src/sources/google-workspace/secrets.ts'
import type { Json, Page } from '../../src/sources/reading.ts'
import { callGoogle } from './google-process.ts'

const scopes = [
  'directory.user',
  'directory.group',
  'directory.group.member',
  'directory.rolemanagement',
  'reports.audit',
].map((name) => `https://www.googleapis.com/auth/admin.${name}.readonly`)

let google: GoogleSandbox
let running: RunningSandbox
before(async () => {
  google = await createGoogleSandbox({ users: 40, groups: 12, devices: 0, seed: 'reading', isVaried: true })
  running = await startSandbox({ providers: [google] })
  const { directory } = google
  const outside = Array.from({ length: 40 }, (_, index) => index).find(
    (index) => !directory.isMember(5, index),
  )
  directory.change({ what: 'hire', edit: { givenName: 'Grace', userName: 'grace' } })
  directory.change({ what: 'edit', person: 11, edit: { status: 'suspended' } })
  directory.change({ what: 'leave', person: 12 })
  directory.change({ what: 'leave', person: 13 })
  directory.change({ what: 'return', person: 13 })
  directory.change({ what: 'found', name: 'Engines' })
  directory.change({ what: 'dissolve', group: 7 })
  directory.change({ what: 'join', group: 5, person: outside ?? 0 })
})
after(() => running.close())

/** Everything, as our reader lists it. */
async function read(): Promise<{
  list(name: string): Promise<Page[]>
  members(group: string): Promise<Page[]>
  deleted(): Promise<Page[]>
}> {
  const reading = readCredentials({
    service_account_json: google.keyFiles.good,
    admin_email: google.admins.super,
  })
  assert.ok(reading.ok)
  const { signal } = new AbortController()
  const outbound = createOutbound({
    endpoints: new Map(Object.entries(running.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    ...(running.authority !== undefined && { endpointAuthorities: [running.authority] }),
  })
  const http = outbound.open(
    [
      { host: 'oauth2.googleapis.com', chosenBy: 'provider' },
      { host: 'admin.googleapis.com', chosenBy: 'provider' },
    ],
    signal,
  )
  const session = reader.open(
    { domain: 'example.com', credentials: reading.credentials },
    { http, signal, now: () => new Date() },
  )
  const pages = async (next: (cursor: Json | undefined) => Promise<Page> | undefined) => {
    const found: Page[] = []
    let cursor: Json | undefined
    do {
      const page: Page | undefined = await next(cursor)
      assert.ok(page !== undefined)
      found.push(page)
      cursor = page.next
    } while (cursor !== undefined)
    return found
  }
  return {
    list: (name) => pages((cursor) => reader.lists.find((one) => one.name === name)?.read(session, cursor)),
    members: (group) => pages((cursor) => reader.memberships[0]?.read(session, group, cursor)),
    deleted: () => pages((cursor) => reader.increments[0]?.read(session, '', cursor)),
  }
}

test("Google's libraries and our reader list the same after changes: users, deleted ones, groups, members, roles", async () => {
  const calls = [
    'everyUser',
    'everyDeletedUser',
    'everyGroup',
    'everyMember',
    'everyAssignment',
    'everyLogEntry',
  ]
  const [sdk, ours] = await Promise.all([callGoogle(google, running, calls, { scopes }), read()])

  const users = sdk.everyUser?.ok as { id: string; primaryEmail: string; suspended: boolean }[]
  const identities = (await ours.list('users')).flatMap(({ entities = [] }) => entities)
  assert.deepEqual(
    identities.map(({ attributes }) => [attributes.uid, attributes.name]),
    users.map(({ id, primaryEmail }) => [id, primaryEmail]),
  )
  assert.equal(users.length, 40)
  assert.equal(users.at(-1)?.primaryEmail, 'grace@example.com')
  assert.equal(users[11]?.suspended, true)

  const deleted = sdk.everyDeletedUser?.ok as { id: string; deletionTime: string }[]
  assert.equal(deleted.length, 1)
  assert.ok(Date.parse(deleted[0]?.deletionTime ?? '') > 0)
  assert.deepEqual(
    (await ours.deleted()).flatMap(({ removed = [] }) => removed),
    deleted.map(({ id }) => ({ kind: 'identity', uid: id })),
  )

  const groups = sdk.everyGroup?.ok as { id: string; name: string; directMembersCount: string }[]
  const found = (await ours.list('groups')).flatMap(({ entities = [] }) => entities)
  assert.deepEqual(
    found.map((one) => [one.attributes.uid, one.attributes.name, one.kind === 'group' && one.membersTag]),
    groups.map(({ id, name, directMembersCount }) => [id, name, directMembersCount]),
  )
  assert.equal(groups.length, 12)

  const members = sdk.everyMember?.ok as Record<string, [string, string | undefined][]>
  const types = new Set(Object.values(members).flatMap((list) => list.map(([type]) => type)))
  assert.deepEqual([...types].sort(), ['CUSTOMER', 'GROUP', 'USER'])
  for (const [group, list] of Object.entries(members)) {
    const pages = await ours.members(group)
    assert.deepEqual(
      pages.flatMap(({ memberships = [] }) => memberships.map(({ member }) => member)),
      list.flatMap(([type, id]) => (id == null || type === 'CUSTOMER' ? [] : [id])),
    )
  }

  const assignments = sdk.everyAssignment?.ok as [string, string, string][]
  const facts = (await ours.list('role_assignments')).flatMap((page) => page.facts ?? [])
  assert.deepEqual(
    facts.map(({ uid }) => uid),
    assignments.flatMap(([type, id]) => (type === 'GROUP' ? [] : [id])),
  )
  assert.ok(assignments.length > facts.length)

  const log = sdk.everyLogEntry?.ok as [string, string][]
  assert.deepEqual(
    log.map(([name]) => name),
    ['add_member', 'delete_group', 'create_group', 'add_member', 'add_member'],
  )
})

test("Google's libraries report what each of these lists refuses, with Google's status and reason", async () => {
  const expected = {
    brokenPage: [400, 'invalid'],
    deletedUsersElsewhere: [404, 'notFound'],
    membersOfNoGroup: [404, 'notFound'],
    groupsOfNobody: [404, 'notFound'],
    assignmentsElsewhere: [400, 'invalid'],
    logOfTomorrow: [400, 'invalidParameter'],
  }
  const results = await callGoogle(google, running, Object.keys(expected), { scopes })
  const told = Object.fromEntries(
    Object.entries(results).map(([call, { status, data }]) => {
      const error = data?.error as { readonly errors: readonly { readonly reason: string }[] } | undefined
      return [call, [status, error?.errors[0]?.reason]]
    }),
  )
  assert.deepEqual(told, expected)
})

test("Google's libraries are refused the log of groups without its scope", async () => {
  const { everyLogEntry } = await callGoogle(google, running, ['everyLogEntry'], {
    scopes: scopes.slice(0, 4),
  })
  assert.equal(everyLogEntry?.status, 403)
  assert.match(everyLogEntry.message ?? '', /insufficient authentication scopes/)
})
