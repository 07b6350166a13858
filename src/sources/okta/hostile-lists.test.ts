/** Answers that no Okta gives, lists that change while they are read, and links that lead astray. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readFilter } from '../../../sandbox/okta/filter.ts'
import { openOkta, type PlainAnswer, reader, readFull, speaking } from '../../../test/okta-reading.ts'
import type { EntityKind } from '../../entities/model.ts'
import type { SourceError } from '../../outbound/source-error.ts'
import { type Json, MarkLost, type Page } from '../reading.ts'

const host = 'acme.okta.com'
const at = new Date('2026-11-24T09:00:00Z')

const session = (answer: (url: URL) => PlainAnswer) =>
  openOkta(
    host,
    { kind: 'api_token', apiToken: '00secret' },
    speaking((url) => answer(url), at),
    () => at,
  )

const userOf = (number: number, lastUpdated = '2026-01-01T00:00:00.000Z') => ({
  id: `00u${number}`,
  status: 'ACTIVE',
  created: '2026-01-01T00:00:00.000Z',
  lastUpdated,
  profile: { login: `user${number}@acme.com` },
})
const next = (link: string) => ({ link: `<https://${host}/api/v1/x>; rel="self", <${link}>; rel="next"` })
const users = 'https://acme.okta.com/api/v1/users'

const listNamed = (name: string) => {
  const list = reader.lists.find((one) => one.name === name)
  assert.ok(list)
  return list
}
const incrementNamed = (name: string) => {
  const increment = reader.increments.find((one) => one.name === name)
  assert.ok(increment)
  return increment
}

async function failureOf(read: () => Promise<unknown>): Promise<SourceError> {
  return read().then(
    () => assert.fail('it was read'),
    (error: SourceError) => error,
  )
}

const astray = {
  'its own page': (asked: URL) => asked.href,
  'another host': () => 'https://acme.evil.example/api/v1/users?after=2',
  'another organisation': () => 'https://acme2.okta.com/api/v1/users?after=2',
  'another port': () => 'https://acme.okta.com:8443/api/v1/users?after=2',
  'another scheme': () => 'http://acme.okta.com/api/v1/users?after=2',
  'a user before the host': () => 'https://acme.okta.com@evil.example/api/v1/users?after=2',
  'credentials of its own': () => 'https://a:b@acme.okta.com/api/v1/users?after=2',
  'another list': () => 'https://acme.okta.com/api/v1/groups?after=2',
  'a way around': () => 'https://acme.okta.com/api/v1/users/../api-tokens/current?after=2',
  'no URL': () => '/api/v1/users?after=2',
  'a cursor without end': () => `https://acme.okta.com/api/v1/users?after=${'2'.repeat(5000)}`,
}

for (const [what, link] of Object.entries(astray))
  test(`a next link to ${what} ends the list in an error, and is not followed`, async () => {
    const asked: string[] = []
    const error = await failureOf(() =>
      readFull(
        session((url) => {
          asked.push(url.href)
          if (url.pathname !== '/api/v1/users' || url.searchParams.get('limit') === '1')
            return { body: [userOf(1)] }
          return { body: [userOf(1)], headers: next(link(url)) }
        }),
      ),
    )
    assert.equal(error.code, 'unexpected_response', error.stack)
    assert.match(String(error.hints.next_link), /^(?:leads|is)/)
    assert.ok(asked.every((url) => url.startsWith(`https://${host}/`) && !url.includes('after=2')))
  })

test('links of role assignments, which are in the document, lead nowhere else either', async () => {
  const error = await failureOf(() =>
    listNamed('role_assignments').read(
      session(() => ({
        body: { value: [], _links: { next: { href: 'https://evil.example/api/v1/iam/assignees/users' } } },
      })),
      undefined,
    ),
  )
  assert.deepEqual(error.hints, { next_link: 'leads to another host' })
})

test('a page, a fragment or an error with 200 is no list', async () => {
  const answers: readonly PlainAnswer[] = [
    { text: '<html><body>Sign in</body></html>' },
    { text: '[{"id":"00u1","status":"ACT' },
    { text: '' },
    { body: { users: [] } },
    { body: { errorCode: 'E0000009', errorSummary: 'Internal Server Error' } },
  ]
  for (const answer of answers) {
    const error = await failureOf(() =>
      listNamed('users').read(
        session(() => answer),
        undefined,
      ),
    )
    assert.equal(error.code, 'unexpected_response', answer.text)
  }
})

test('an empty page in the middle is not the end', async () => {
  const pages: Readonly<Record<string, PlainAnswer>> = {
    '1': { body: [userOf(1)], headers: next(`${users}?after=2`) },
    '2': { body: [], headers: next(`${users}?after=3`) },
    '3': { body: [userOf(3)] },
  }
  const seen: string[] = []
  let cursor: Json | undefined
  do {
    const page: Page = await listNamed('users').read(
      session((url) =>
        /lastUpdated gt/.test(url.searchParams.get('filter') ?? '')
          ? { body: [] }
          : (pages[url.searchParams.get('after') ?? '1'] ?? { body: [] }),
      ),
      cursor,
    )
    seen.push(...(page.entities ?? []).map(({ attributes }) => attributes.uid))
    cursor = page.next
  } while (cursor !== undefined)
  assert.deepEqual(seen, ['00u1', '00u3'])
})

test('records that cannot be read are named and hold up nothing', async () => {
  const { entities, unreadable } = await listNamed('users').read(
    session(() => ({ body: [userOf(1), null, { id: '00u2' }, { ...userOf(3), status: 'RETIRED' }, 'x'] })),
    undefined,
  )
  assert.equal(entities?.length, 1)
  assert.deepEqual(unreadable, [
    { kind: 'identity', reason: 'a user without an id' },
    { kind: 'identity', uid: '00u2', reason: 'a user without a profile' },
    { kind: 'identity', uid: '00u3', reason: 'a user without a status that Okta documents' },
    { kind: 'identity', reason: 'a user without an id' },
  ])
})

test('a member without an id ends the run, as it would be one that is lost', async () => {
  const [byGroup] = reader.memberships
  assert.ok(byGroup)
  const error = await failureOf(() =>
    byGroup.read(
      session(() => ({ body: [userOf(1), { status: 'ACTIVE' }] })),
      '00g1',
      undefined,
    ),
  )
  assert.equal(error.code, 'unexpected_response')
})

/**
 * A list in the order of the last change, newest first, in pages by position: whoever is edited while it is read moves
 * to a page that was read already.
 */
function movingList(count: number, pageSize: number) {
  let order = Array.from({ length: count }, (_, number) => userOf(number))
  const edited = new Set<number>()
  return {
    edit(number: number) {
      edited.add(number)
      const moved = userOf(number, '2026-11-24T09:00:00.000Z')
      order = [moved, ...order.filter(({ id }) => id !== moved.id)]
    },
    answer(url: URL): PlainAnswer {
      const bound = /lastUpdated g[te] "([^"]+)"/.exec(url.searchParams.get('filter') ?? '')?.[1] ?? ''
      const matching = order.filter(({ lastUpdated }) => lastUpdated >= bound)
      const start = Number(url.searchParams.get('after') ?? 0)
      const end = start + pageSize
      const more = new URL(url)
      more.searchParams.set('after', String(end))
      return {
        body: matching.slice(start, end),
        ...(end < matching.length && { headers: next(more.href) }),
      }
    },
  }
}

test('users who move between pages while they are read are all seen, whoever comes twice', async () => {
  const list = movingList(50, 10)
  let edits = 49
  const seen = new Set<string>()
  const known = session((url) => {
    const answer = list.answer(url)
    // From the far end: each would slip from a page to come to one that was read.
    if (edits > 20) list.edit(edits--)
    return answer
  })
  let cursor: Json | undefined
  do {
    const page: Page = await listNamed('users').read(known, cursor)
    for (const { attributes } of page.entities ?? []) seen.add(attributes.uid)
    cursor = page.next
  } while (cursor !== undefined)
  assert.equal(seen.size, 50)
})

test('an empty list of users or groups is a refusal, in an increment too', async () => {
  for (const name of ['users', 'groups']) {
    const error = await failureOf(() =>
      listNamed(name).read(
        session(() => ({ body: [] })),
        undefined,
      ),
    )
    assert.equal(error.code, 'refused')
    assert.deepEqual(error.hints, { nothing_visible: true })
  }
  for (const name of ['changed_users', 'changed_groups']) {
    const error = await failureOf(() =>
      incrementNamed(name).read(
        session(() => ({ body: [] })),
        at.toISOString(),
        undefined,
      ),
    )
    assert.deepEqual(error.hints, { nothing_visible: true })
  }
})

test('an increment in which nothing changed asks whether anything can be seen, and has its mark', async () => {
  const asked: string[] = []
  const page = await incrementNamed('changed_users').read(
    session((url) => {
      asked.push(url.search)
      return { body: url.searchParams.has('filter') ? [] : [userOf(1)] }
    }),
    '2026-11-24T08:45:00.000Z',
    undefined,
  )
  assert.equal(page.mark, at.toISOString())
  assert.equal(asked.length, 2)
  assert.match(decodeURIComponent(asked[0] ?? '').replaceAll('+', ' '), /"2026-11-24T08:40:00\.000Z"/)
})

test('what begins with empty pages is no empty list, when a run begins or nothing has changed', async () => {
  const path = { changed_users: '/api/v1/users', changed_groups: '/api/v1/groups' }
  for (const [name, list] of Object.entries(path)) {
    const beginning = (emptyPages: number) =>
      session((url) => {
        const page = Number(url.searchParams.get('page') ?? 0)
        if (url.searchParams.has('filter')) return { body: [] }
        if (page === emptyPages) return { body: [{ id: '00x1' }] }
        return { body: [], headers: next(`https://${host}${list}?page=${page + 1}`) }
      })
    for (const emptyPages of [1, 4, 1000]) {
      assert.equal(await incrementNamed(name).begin(beginning(emptyPages)), at.toISOString())
      const page = await incrementNamed(name).read(beginning(emptyPages), at.toISOString(), undefined)
      assert.equal(page.mark, at.toISOString())
    }
  }
})

test('the mark is never later than either clock, whatever Okta’s Date says', async () => {
  const markAfter = async (date: string) =>
    incrementNamed('changed_users').begin(session(() => ({ body: [userOf(1)], headers: { date } })))
  assert.equal(await markAfter('Tue, 24 Nov 2026 08:59:30 GMT'), '2026-11-24T08:59:30.000Z')
  assert.equal(await markAfter('Fri, 01 Jan 2999 00:00:00 GMT'), at.toISOString())
  assert.equal(await markAfter('NaN'), '2026-11-24T08:00:00.000Z')
  assert.equal(await markAfter('Thu, 01 Jan 1970 00:00:00 GMT'), '1970-01-01T00:00:00.000Z')
})

test('marks that are none are lost marks', async () => {
  const answers = session(() => ({ body: [userOf(1)] }))
  for (const mark of [null, 17, 'yesterday', {}, { at: 'x' }] as Json[])
    for (const name of ['changed_users', 'system_log'])
      await assert.rejects(incrementNamed(name).read(answers, mark, undefined), MarkLost)
  const longAgo = new Date(at.getTime() - 90 * 86_400_000).toISOString()
  await assert.rejects(incrementNamed('system_log').read(answers, { at: longAgo }, undefined), MarkLost)
  const errorSummary = 'Invalid parameter: The since parameter is over 180 days prior to the current day.'
  const refusing = session(() => ({ status: 400, body: { errorCode: 'E0000053', errorSummary } }))
  await assert.rejects(incrementNamed('system_log').read(refusing, { at: longAgo }, undefined), MarkLost)
})

const eventOf = (eventType: string, more: object = {}) => ({
  eventType,
  published: '2026-11-24T08:59:00.123Z',
  outcome: { result: 'SUCCESS' },
  actor: { id: '00u1', type: 'User' },
  client: { ipAddress: '198.51.100.7' },
  target: [],
  ...more,
})
const target = (type: string, id: string) => ({
  target: [
    { type: 'AppInstance', id: '0oa1' },
    { type, id },
  ],
})

/** Everything that the log tells from a mark on, as one page. */
async function readLog(log: ReturnType<typeof session>, mark: Json): Promise<Page> {
  const pages: Page[] = []
  do pages.push(await incrementNamed('system_log').read(log, mark, pages.at(-1)?.next))
  while (pages.at(-1)?.next !== undefined)
  return {
    removed: pages.flatMap(({ removed = [] }) => removed),
    activities: pages.flatMap(({ activities = [] }) => activities),
    mark: pages.at(-1)?.mark ?? null,
  }
}

test('the log tells who is gone for good and who signed in, by types and not by places', async () => {
  const page = await readLog(
    session((url) => ({
      body: [
        eventOf('user.lifecycle.delete.completed', target('User', '00u2')),
        eventOf('group.lifecycle.delete', target('UserGroup', '00g2')),
        eventOf('device.lifecycle.delete', target('UDDevice', 'guo2')),
        eventOf('user.lifecycle.delete.completed', {
          ...target('User', '00u3'),
          outcome: { result: 'FAILURE' },
        }),
        eventOf('user.lifecycle.deactivate', target('User', '00u4')),
        eventOf('user.session.start'),
        eventOf('user.session.start', { published: '2026-11-24T08:00:00Z', client: { ipAddress: '::1' } }),
        eventOf('user.session.start', {
          outcome: { result: 'FAILURE' },
          actor: { id: '00u5', type: 'User' },
        }),
        eventOf('user.session.start', { actor: { id: '00u6', type: 'User' }, client: { ipAddress: '<b>' } }),
        null,
      ].slice(0, /user\.session/.test(url.search) ? undefined : 0),
      headers: next('https://acme.okta.com/api/v1/logs?after=7'),
    })),
    { at: at.toISOString() },
  )
  const gone: readonly { kind: EntityKind; uid: string }[] = [
    { kind: 'identity', uid: '00u2' },
    { kind: 'group', uid: '00g2' },
    { kind: 'device', uid: 'guo2' },
  ]
  assert.deepEqual(page.removed, gone)
  assert.deepEqual(page.activities, [
    {
      kind: 'identity',
      uid: '00u1',
      activity: { last_login_time: '2026-11-24T08:59:00.000Z', last_login_ip: '198.51.100.7' },
    },
    { kind: 'identity', uid: '00u6', activity: { last_login_time: '2026-11-24T08:59:00.000Z' } },
  ])
  assert.partialDeepStrictEqual(page.mark, { at: at.toISOString(), link: '/api/v1/logs?after=7' })
})

/** The mark of a log that was read to its end for now. */
async function markWithLink(link: string) {
  const log = session(() => ({ body: [], headers: next(`https://${host}${link}`) }))
  const { mark } = await readLog(log, { at: at.toISOString() })
  return mark as { readonly [name: string]: Json }
}

test('the log is gone on with by Okta’s link, and by the time where the link is not known any more', async () => {
  const asked: string[] = []
  const page = await readLog(
    session((url) => {
      asked.push(url.search)
      return url.searchParams.has('after')
        ? { status: 400, body: { errorCode: 'E0000029', errorSummary: 'Invalid paging request.' } }
        : { body: [], headers: next('https://acme.okta.com/api/v1/logs?after=9') }
    }),
    { ...(await markWithLink('/api/v1/logs?after=7')), at: '2026-11-24T08:45:00.000Z' },
  )
  assert.equal(asked[0], '?after=7')
  assert.match(asked[1] ?? '', /since=2026-11-24T08%3A40%3A00\.000Z/)
  assert.doesNotMatch(asked[1] ?? '', /until/)
  assert.partialDeepStrictEqual(page.mark, { at: at.toISOString(), link: '/api/v1/logs?after=9' })
})

test('a link of another filter is not gone on with, as it keeps telling what that one asked for', async () => {
  for (const mark of [
    { link: '/api/v1/logs?after=7', filter: 'eventType eq "user.session.start"' },
    { after: '/api/v1/logs?after=7' },
  ] as { readonly [name: string]: Json }[]) {
    const asked: string[] = []
    await incrementNamed('system_log').read(
      session((url) => {
        asked.push(url.search)
        return { body: [] }
      }),
      { at: '2026-11-24T08:45:00.000Z', ...mark },
      undefined,
    )
    assert.match(asked[0] ?? '', /since=2026-11-24T08%3A40%3A00\.000Z/)
  }
})

test('failed sign-ins, of which there may be any number, are not asked for', async () => {
  const flood = Array.from({ length: 2500 }, () =>
    eventOf('user.session.start', { outcome: { result: 'FAILURE' } }),
  )
  const events = [
    ...flood,
    eventOf('user.lifecycle.delete.completed', target('User', '00u2')),
    eventOf('user.session.start'),
    ...flood,
  ]
  const log = session((url) => {
    const { test } = readFilter(url.searchParams.get('filter') ?? '', ['eventType', 'outcome.result'])
    return {
      body: events.filter(test).slice(0, Number(url.searchParams.get('limit'))),
      headers: next(`${url.origin}/api/v1/logs?after=1`),
    }
  })
  const page = await readLog(log, { at: at.toISOString() })
  assert.deepEqual(new Set(page.removed?.map(({ uid }) => uid)), new Set(['00u2']))
  assert.deepEqual(
    page.activities?.map(({ uid }) => uid),
    ['00u1'],
  )
  assert.ok(page.mark)
})

test('a changed device of which the last owner was taken off is told to have none', async () => {
  const device = (id: string, users: readonly unknown[]) => ({
    id,
    status: 'ACTIVE',
    profile: { displayName: id },
    _embedded: { users },
  })
  const body = [device('guo1', []), device('guo2', [{ user: { id: '00u1' } }])]
  const page = await incrementNamed('changed_devices').read(
    session(() => ({ body })),
    at.toISOString(),
    undefined,
  )
  assert.deepEqual(
    page.wholeFacts,
    ['guo1', 'guo2'].map((uid) => ({ kind: 'device', uid, names: ['owners'] })),
  )
  assert.deepEqual(page.facts, [{ kind: 'device', uid: 'guo2', name: 'owners', value: '00u1' }])
})

/** A log of deletions, each at its second after nine o'clock, in pages of a thousand. */
function logOfDeletions(seconds: readonly number[]) {
  const asked: URLSearchParams[] = []
  const written = (second: number) => new Date(at.getTime() + second * 1000).toISOString()
  const log = session(({ origin, searchParams }) => {
    asked.push(searchParams)
    const [since, after] = [searchParams.get('since') ?? '', Number(searchParams.get('after') ?? 0)]
    const body = seconds
      .filter((second) => written(second) > since)
      .slice(after, after + 1000)
      .map((second) => eventOf('device.lifecycle.delete', target('UDDevice', `guo${second}`)))
    const more = new URLSearchParams(searchParams)
    more.set('after', String(after + body.length))
    return { body, headers: next(`${origin}/api/v1/logs?${more}`) }
  })
  return { log, asked }
}

test('whoever was deleted is told of again for as long as a list may tell of them as if they were there', async () => {
  const { log, asked } = logOfDeletions([-30 * 60 - 1, -30 * 60, -11 * 60, -60])
  const mark = { ...(await markWithLink('/api/v1/logs?after=4')), at: '2026-11-24T08:59:00.000Z' }
  const told = await readLog(log, { ...mark, since: '2026-11-24T08:50:00.000Z' })
  assert.deepEqual(
    told.removed?.map(({ uid }) => uid),
    ['guo-660', 'guo-60'],
  )
  // A quarter of an hour before the mark before, and what clocks may differ by.
  assert.equal(asked.at(-1)?.get('since'), '2026-11-24T08:30:00.000Z')
  assert.doesNotMatch(asked.at(-1)?.get('filter') ?? '', /session/)
  assert.partialDeepStrictEqual(told.mark, { at: at.toISOString(), since: mark.at })
})

test('deletions are told again however many they are, and as the last word', async () => {
  const many = Array.from({ length: 2500 }, (_, second) => second - 2600)
  const { log } = logOfDeletions(many)
  const told = await readLog(log, { at: '2026-11-24T08:59:59.000Z', since: '2026-11-24T08:00:00.000Z' })
  const again = told.removed?.slice(-many.length).map(({ uid }) => uid)
  assert.deepEqual(
    again,
    many.map((second) => `guo${second}`),
  )
})

test('an increment after a long pause does not ask the log for more than it can be asked for', async () => {
  const { log, asked } = logOfDeletions([])
  const longAgo = (days: number) => new Date(at.getTime() - days * 86_400_000).toISOString()
  await readLog(log, { at: longAgo(88), since: longAgo(176) })
  assert.equal(asked.length, 2)
  for (const since of asked.map((one) => one.get('since') ?? '')) assert.ok(since > longAgo(90))
})
