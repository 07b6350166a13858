import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { costOf } from '../../../sandbox/entra/throttling.ts'
import { entraId } from './index.ts'
import { reader } from './reader.ts'

const { rates } = reader
const graph = (path: string) =>
  rates.bucketOf({ method: 'GET', url: `https://graph.microsoft.com/v1.0${path}` })
const news = (
  status: number,
  headers: Readonly<Record<string, string>> = {},
  text = '{}',
  bucket = 'directory',
) => rates.newsIn({ status, headers: new Headers(headers), text }, bucket)

test('requests cost what Microsoft publishes', () => {
  for (const [path, cost] of [
    ['/users', 2],
    ['/users?$select=id', 1],
    ['/users?$top=999&$select=id&$expand=manager($select=id)', 2],
    ['/users?$top=15&$select=id&$expand=manager($select=id)', 1],
    ['/users/$count', 1],
    ['/users/delta?$deltatoken=x', 1],
    ['/users/00000000-0000-0000-0000-000000000000/memberOf?$select=id', 1],
    ['/groups?$top=999&$select=id', 1],
    ['/groups/00000000-0000-0000-0000-000000000000/members', 3],
    ['/groups/00000000-0000-0000-0000-000000000000/members?$top=999&$select=id', 2],
    ['/groups/00000000-0000-0000-0000-000000000000/transitiveMembers?$expand=x', 6],
    ['/devices?$expand=registeredOwners', 2],
    ['/roleManagement/directory/roleAssignments?$expand=principal', 2],
  ] as const) {
    assert.deepEqual(graph(path), { bucket: 'directory', cost }, path)
    const url = new URL(`https://graph.microsoft.com${path}`)
    assert.equal(costOf(url.pathname, url.searchParams), cost, `the sandbox's ${path}`)
  }
})

test('reports and sign-in have limits of their own', () => {
  assert.deepEqual(graph('/reports/authenticationMethods/userRegistrationDetails'), {
    bucket: 'reports',
    cost: 1,
  })
  assert.deepEqual(rates.documented('reports'), { points: 5, perMs: 10_000 })
  const token = 'https://login.microsoftonline.com/acme.com/oauth2/v2.0/token'
  assert.equal(rates.bucketOf({ method: 'POST', url: token }).bucket, 'sign_in')
})

test('the number of users tells the limit, and until then the smallest holds', () => {
  assert.deepEqual(rates.documented('directory'), { points: 3_500, perMs: 10_000 })
  for (const [text, points] of [
    ['0', 3_500],
    ['49', 3_500],
    ['50', 5_000],
    ['500', 5_000],
    ['\uFEFF501', 8_000],
    ['999999999999', 8_000],
  ] as const)
    assert.deepEqual(news(200, {}, text)?.limit, { points, perMs: 10_000 })
  for (const text of ['', '{}', '-1', '1e3', '1.5', '9'.repeat(30), '"5"', '5 6'])
    assert.equal(news(200, {}, text), undefined, text)
  assert.equal(news(403, {}, '600'), undefined)
  assert.equal(news(200, {}, '600', 'reports'), undefined)
})

test('a throttled answer asks for a wait between a second and an hour, whatever it says', () => {
  for (const [told, wait] of [
    ['10', 10_000],
    ['0', 1_000],
    ['1000000000000', 3_600_000],
    ['-1', 10_000],
    ['NaN', 10_000],
    ['Fri, 01 Jan 2999 00:00:00 GMT', 10_000],
  ] as const)
    assert.deepEqual(news(429, { 'retry-after': told }), { throttledForMs: wait }, told)
  assert.deepEqual(news(429), { throttledForMs: 10_000 })
  assert.deepEqual(news(509, {}, '', 'reports'), { throttledForMs: 10_000 })
  const date = 'Tue, 24 Nov 2026 12:00:00 GMT'
  assert.deepEqual(news(429, { date, 'retry-after': 'Tue, 24 Nov 2026 12:00:30 GMT' }), {
    throttledForMs: 30_000,
  })
  fc.assert(
    fc.property(fc.string(), (told) => {
      const headers = { 'retry-after': told.replace(/[^\x20-\x7e]/g, '') }
      const wait = news(429, headers)?.throttledForMs ?? assert.fail()
      assert.ok(wait >= 1_000 && wait <= 3_600_000)
    }),
  )
})

test('use of the limit beyond 0.8 is news, and nonsense is none', () => {
  const header = 'x-ms-throttle-limit-percentage'
  assert.deepEqual(news(200, { [header]: '0.9' }), { remaining: 799, resetInMs: 10_000 })
  assert.deepEqual(news(200, { [header]: '1.8' }), { remaining: 0, resetInMs: 10_000 })
  for (const told of ['', 'NaN', '-1', '1e9', '99999999999', 'full'])
    assert.equal(news(200, { [header]: told }), undefined)
})

test('an account is a tenant in a cloud, whoever asks', () => {
  const tenant = '11111111-2222-4333-8444-555555555555'
  const account = (secrets: object) => {
    const read = entraId.readCredentials({
      tenant_id: tenant,
      client_id: tenant,
      client_secret: 'x',
      ...secrets,
    })
    assert.ok(read.ok)
    return rates.account({ domain: 'acme.com', credentials: read.credentials })
  }
  assert.equal(account({}), `global ${tenant}`)
  assert.equal(account({ tenant_id: tenant.toUpperCase(), client_id: 'other' }), `global ${tenant}`)
  assert.equal(account({ cloud: 'china' }), `china ${tenant}`)
})
