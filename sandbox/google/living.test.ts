import assert from 'node:assert/strict'
import { test } from 'node:test'
import { importPKCS8, SignJWT } from 'jose'
import { freshKeys } from '../keys.ts'
import { createGoogleSandbox, type GoogleSandboxOptions } from './index.ts'

const keys = freshKeys()
const start = Date.UTC(2026, 10, 24, 12)
const day = 86_400_000

type Item = Readonly<Record<string, unknown>>
type Body = Readonly<Record<string, unknown>>

/** A sandbox, and what an administrator reads of it at some moment. */
async function world(options: Partial<GoogleSandboxOptions> = {}) {
  const google = await createGoogleSandbox({
    users: 20,
    groups: 6,
    devices: 0,
    seed: 'living',
    keys,
    ...options,
  })
  const tokens = new Map<string, string>()
  const tokenOf = async (subject: string, at: number): Promise<string> => {
    const known = tokens.get(`${subject} ${at}`)
    if (known !== undefined) return known
    const { client_email, private_key } = google.keyFiles.good
    const scopes = ['directory.user', 'directory.group', 'directory.rolemanagement', 'reports.audit']
    const assertion = await new SignJWT({
      scope: scopes.map((name) => `https://www.googleapis.com/auth/admin.${name}.readonly`).join(' '),
    })
      .setProtectedHeader({ alg: 'RS256' })
      .setIssuer(client_email)
      .setSubject(subject)
      .setAudience('https://oauth2.googleapis.com/token')
      .setIssuedAt(at / 1000)
      .setExpirationTime(at / 1000 + 3600)
      .sign(await importPKCS8(private_key, 'RS256'))
    const { body } = await google.handle({
      method: 'POST',
      url: new URL('https://oauth2.googleapis.com/token'),
      headers: new Headers({ 'content-type': 'application/x-www-form-urlencoded' }),
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion,
      }).toString(),
      now: new Date(at),
      faults: new Set(),
    })
    const { access_token } = body as { access_token: string }
    tokens.set(`${subject} ${at}`, access_token)
    return access_token
  }
  const ask = async (path: string, at = start, subject = google.admins.super) => {
    const answer = await google.handle({
      method: 'GET',
      url: new URL(`https://admin.googleapis.com/admin/${path}`),
      headers: new Headers({ authorization: `Bearer ${await tokenOf(subject, at)}` }),
      body: '',
      now: new Date(at),
      faults: new Set(),
    })
    return { status: answer.status, body: answer.body as Body }
  }
  const get = async (path: string, at = start): Promise<Body> => {
    const { status, body } = await ask(path, at)
    assert.equal(status, 200, JSON.stringify(body))
    return body
  }
  const list = async (path: string, member: string, at = start): Promise<readonly Item[]> => {
    const items: Item[] = []
    let token: unknown
    do {
      const page = await get(`${path}${token === undefined ? '' : `&pageToken=${token}`}`, at)
      items.push(...((page[member] as Item[] | undefined) ?? []))
      token = page.nextPageToken
    } while (token !== undefined)
    return items
  }
  return { google, directory: google.directory, ask, get, list }
}

const users = 'directory/v1/users?customer=my_customer&maxResults=7'
const groups = 'directory/v1/groups?customer=my_customer&maxResults=4'
const log = 'reports/v1/activity/users/all/applications/groups_enterprise'
const idOf = (item: Item | undefined) => String(item?.id)
const reasonOf = ({ body }: { readonly body: unknown }) =>
  (body as { error: { errors: { reason: string }[] } }).error.errors[0]?.reason

test('who was hired, renamed, moved or signed in is seen so at once, and has another ETag', async () => {
  const { directory, list } = await world()
  const before = await list(users, 'users')
  directory.change({ what: 'hire', edit: { givenName: 'Grace', userName: 'grace' } }, new Date(start))
  directory.change(
    { what: 'edit', person: 7, edit: { title: 'Admiral', status: 'suspended' } },
    new Date(start),
  )
  directory.change({ what: 'sign_in', person: 8, ip: '192.0.2.1' }, new Date(start))
  const after = await list(users, 'users')
  assert.equal(after.length, 21)
  assert.partialDeepStrictEqual(after[20], {
    primaryEmail: 'grace@example.com',
    name: { givenName: 'Grace' },
    lastLoginTime: '1970-01-01T00:00:00.000Z',
  })
  assert.partialDeepStrictEqual(after[7], { suspended: true, organizations: [{ title: 'Admiral' }] })
  assert.equal(after[8]?.lastLoginTime, new Date(start).toISOString())
  const changed = before.flatMap(({ etag }, index) => (after[index]?.etag === etag ? [] : [index]))
  assert.deepEqual(changed, [7, 8])
})

test('a deleted user is in the list of deleted ones alone, for twenty days, and restored under the same id', async () => {
  const { directory, ask, list } = await world()
  const ada = (await list(users, 'users'))[9]
  directory.change({ what: 'leave', person: 9 }, new Date(start))
  const there = async (at: number) =>
    (await list(users, 'users', at)).some((user) => idOf(user) === idOf(ada))
  const deleted = (at: number) => list(`${users}&showDeleted=true`, 'users', at)
  assert.equal(await there(start), false)
  assert.deepEqual(
    (await deleted(start)).map(({ id, deletionTime }) => [id, deletionTime]),
    [[ada?.id, new Date(start).toISOString()]],
  )
  assert.equal((await ask(`directory/v1/users/${idOf(ada)}`)).status, 404)
  assert.deepEqual(await deleted(start + 20 * day), [])
  directory.change({ what: 'return', person: 9 }, new Date(start + day))
  assert.equal(await there(start + day), true)
  assert.deepEqual(await deleted(start + day), [])
})

test('groups are founded, renamed and dissolved, and count their members', async () => {
  const { directory, ask, list } = await world()
  const before = await list(groups, 'groups')
  const outside =
    Array.from({ length: 20 }, (_, index) => index).find((index) => !directory.isMember(2, index)) ?? 0
  directory.change({ what: 'found', name: 'Engines' }, new Date(start))
  directory.change({ what: 'rename', group: 1, name: 'Renamed' }, new Date(start))
  directory.change({ what: 'join', group: 2, person: outside }, new Date(start))
  directory.change({ what: 'dissolve', group: 3 }, new Date(start))
  const after = await list(groups, 'groups')
  assert.deepEqual(
    after.map(({ name }) => name),
    [before[0]?.name, 'Renamed', before[2]?.name, before[4]?.name, before[5]?.name, 'Engines'],
  )
  assert.equal(Number(after[2]?.directMembersCount), Number(before[2]?.directMembersCount) + 1)
  assert.notEqual(after[1]?.etag, before[1]?.etag)
  // The ETag of a group says nothing of its members.
  assert.equal(after[2]?.etag, before[2]?.etag)
  assert.equal((await ask(`directory/v1/groups/${idOf(before[3])}/members`)).status, 404)
})

test('a varied organisation has groups, everybody and outsiders in groups, and roles that are given to groups', async () => {
  const { list } = await world({ isVaried: true })
  const all = await list(groups, 'groups')
  const found = new Set<string>()
  for (const group of all)
    for (const member of await list(`directory/v1/groups/${idOf(group)}/members?maxResults=3`, 'members'))
      found.add(`${member.type} ${member.id === undefined ? 'without' : 'with'} id`)
  assert.deepEqual([...found].sort(), [
    'CUSTOMER with id',
    'GROUP with id',
    'USER with id',
    'USER without id',
  ])
  const assignments = await list('directory/v1/customer/my_customer/roleassignments?maxResults=2', 'items')
  const types = assignments.map(({ assigneeType }) => assigneeType)
  assert.equal(types.filter((type) => type === 'USER').length, 3 + 5)
  assert.equal(types.at(-1), 'GROUP')
})

test('the log of groups tells newest first who came and went, page by page', async () => {
  const { directory, get, list } = await world()
  for (let minute = 0; minute < 5; minute++)
    directory.change({ what: 'hire' }, new Date(start + minute * 60_000))
  directory.change({ what: 'quit', group: 0, person: 20 }, new Date(start + 300_000))
  directory.change({ what: 'edit', person: 6, edit: { title: 'x' } }, new Date(start + 300_000))
  const at = start + 400_000
  const entries = await list(`${log}?maxResults=2`, 'items', at)
  const told = (items: readonly Item[]) =>
    items.map(({ id, events }) => [(id as Item).time, (events as Item[])[0]?.name])
  assert.deepEqual(
    told(entries),
    [300, 240, 180, 120, 60, 0].map((seconds, index) => [
      new Date(start + seconds * 1000).toISOString(),
      index === 0 ? 'remove_member' : 'add_member',
    ]),
  )
  assert.partialDeepStrictEqual(entries[0], {
    kind: 'admin#reports#activity',
    id: { applicationName: 'groups_enterprise' },
    events: [{ parameters: [{ name: 'group_id', value: 'everybody0@example.com' }] }],
  })
  const since = new Date(start + 100_000).toISOString()
  assert.equal((await list(`${log}?startTime=${since}&maxResults=3`, 'items', at)).length, 4)
  assert.equal((await list(`${log}?eventName=remove_member&maxResults=3`, 'items', at)).length, 1)
  assert.deepEqual(await list(`${log}?maxResults=3`, 'items', start + 181 * day), [])
  assert.deepEqual(await get(`${log}?maxResults=1&fields=kind,items(events(name))`, at), {
    kind: 'admin#reports#activities',
    items: [{ events: [{ name: 'remove_member' }] }],
  })
})

test('the log of groups refuses what is not in order, and administrators without the right to it', async () => {
  const { google, directory, ask, get } = await world()
  directory.change({ what: 'hire' }, new Date(start - 2_000))
  directory.change({ what: 'hire' }, new Date(start - 1_000))
  const { nextPageToken } = await get(`${log}?maxResults=1`)
  for (const [query, status] of [
    ['maxResults=0', 400],
    ['maxResults=1001', 400],
    ['startTime=yesterday', 400],
    [`startTime=${new Date(start + 1).toISOString()}`, 400],
    [`startTime=${new Date(start - 5).toISOString()}&endTime=${new Date(start - 9).toISOString()}`, 400],
    ['pageToken=1.nonsense', 400],
    [`pageToken=${nextPageToken}&eventName=add_member`, 400],
    [`pageToken=${nextPageToken}`, 200],
  ] as const)
    assert.equal((await ask(`${log}?${query}`)).status, status, query)
  assert.equal((await ask('reports/v1/activity/users/all/applications/drive')).status, 400)
  assert.equal((await ask('reports/v1/usage')).status, 404)
  const stranger = await ask(log, start, google.admins.reader)
  assert.deepEqual([stranger.status, reasonOf(stranger)], [403, 'forbidden'])
})

test('a quota is counted for each administrator, API and minute, and refused in the form of the API', async () => {
  const { google, ask } = await world({ requestsPerMinute: 2 })
  const path = 'directory/v1/users?customer=my_customer'
  const statuses = async (asked: readonly [string, number, string?][]) => {
    const answers: (readonly [number, string?])[] = []
    for (const [where, at, subject] of asked) {
      const answer = await ask(where, at, subject)
      answers.push(answer.status === 200 ? [200] : [answer.status, reasonOf(answer)])
    }
    return answers
  }
  assert.deepEqual(
    await statuses([
      [path, start],
      [path, start + 1_000],
      [path, start + 2_000],
      [path, start + 2_000, google.admins.reader],
      [log, start],
      [log, start],
      [log, start],
      [path, start + 60_000],
    ]),
    [
      [200],
      [200],
      [403, 'userRateLimitExceeded'],
      [200],
      [200],
      [200],
      [503, 'userRateLimitExceeded'],
      [200],
    ],
  )
})
