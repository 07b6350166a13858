/** One budget for each account at a provider, shared by nodes: never a storm, and nothing that a provider says stalls it for long. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import fc from 'fast-check'
import type { HttpAnswer, HttpClient, HttpRequest } from '../src/outbound/http.ts'
import type { RateNews } from '../src/sources/reading.ts'
import { createProviderBudgets } from '../src/store/provider-budgets.ts'
import { type BudgetRules, createBudgets } from '../src/sync/budget.ts'
import { freshDatabase } from './fresh-database.ts'

/** A provider that grants `points` in each window and refuses what is more. */
function windowed(points: number, perMs: number) {
  const asked: number[] = []
  let refused = 0
  let refusedUntil = 0
  let askedWhileRefused = 0
  const rules: BudgetRules = {
    bucketOf: ({ url }) => ({ bucket: new URL(url).pathname, cost: 1 }),
    documented: () => ({ points, perMs }),
    newsIn: ({ status, headers }): RateNews =>
      status === 429
        ? { throttledForMs: Number(headers.get('wait')) }
        : { remaining: Number(headers.get('left')), resetInMs: perMs - (Date.now() % perMs) },
  }
  const http: HttpClient = {
    async request() {
      const at = Date.now()
      const current = Math.floor(at / perMs)
      const used = asked.filter((other) => Math.floor(other / perMs) === current).length
      if (at < refusedUntil) askedWhileRefused += 1
      if (used >= points) {
        refused += 1
        refusedUntil = (current + 1) * perMs
        return answer(429, { wait: String(refusedUntil - at) })
      }
      asked.push(at)
      return answer(200, { left: String(points - used - 1) })
    },
  }
  return {
    rules,
    http,
    asked,
    refused: () => refused,
    askedWhileRefused: () => askedWhileRefused,
    busiest: () =>
      Math.max(...[...Map.groupBy(asked, (at) => Math.floor(at / perMs)).values()].map((all) => all.length)),
  }
}

const answer = (status: number, headers: Record<string, string>): HttpAnswer => ({
  status,
  headers: new Headers(headers),
  text: '',
  json: () => ({}),
  receivedAt: new Date(),
})
const request = (path = '/users'): HttpRequest => ({
  operation: 'read users',
  method: 'GET',
  url: `https://acme.example${path}`,
})
const { signal } = new AbortController()
const now = () => new Date()

async function nodes(t: TestContext, count: number) {
  const database = await freshDatabase(t)
  return Array.from({ length: count }, () => createBudgets({ store: createProviderBudgets(database), now }))
}

test('two nodes and four configurations together stay within the share, and the provider refuses nothing', async (t) => {
  const provider = windowed(200, 1_000)
  const [one, other] = await nodes(t, 2)
  const use = { calls: 0, throttled: 0 }
  const clients = [one, one, other, other].map((budgets) =>
    budgets?.of('okta', 'acme', provider.rules).spending(provider.http, signal, use, 50),
  )
  await Promise.all(clients.flatMap((client) => Array.from({ length: 60 }, () => client?.request(request()))))
  assert.deepEqual(use, { calls: 240, throttled: 0 })
  // A lease of each node may be used late, in the window after its own.
  assert.ok(provider.busiest() <= 200, `${provider.busiest()} in one window`)
})

test('after a refusal nobody asks until the provider grants again, however many wait, and all are answered', async (t) => {
  const provider = windowed(20, 1_000)
  const rules: BudgetRules = {
    ...provider.rules,
    // What the documents say is ten times what is granted, and answers tell nothing until it is too late.
    documented: () => ({ points: 200, perMs: 1_000 }),
    newsIn: (heard, bucket) => (heard.status === 429 ? provider.rules.newsIn(heard, bucket) : undefined),
  }
  const [budgets] = await nodes(t, 1)
  const use = { calls: 0, throttled: 0 }
  const client = budgets?.of('okta', 'acme', rules).spending(provider.http, signal, use, 90)
  const answers = await Promise.all(Array.from({ length: 60 }, () => client?.request(request())))
  assert.ok(answers.every((one) => one?.status === 200))
  assert.equal(use.throttled, provider.refused())
  assert.ok(use.throttled > 0)
  // Those that were on their way when the first was refused.
  assert.ok(provider.askedWhileRefused() <= 8, `${provider.askedWhileRefused()} asked in vain`)
})

test('a bucket that is used up holds no other, and another account has a budget of its own', async (t) => {
  const provider = windowed(1_000, 60_000)
  const [budgets] = await nodes(t, 1)
  const use = { calls: 0, throttled: 0 }
  const of = (account: string) =>
    budgets?.of('okta', account, provider.rules).spending(provider.http, signal, use, 50)
  let isSlowOver = false
  const slow = Promise.all(Array.from({ length: 20 }, () => of('acme')?.request(request('/slow')))).then(
    () => {
      isSlowOver = true
    },
  )
  await of('acme')?.request(request('/other'))
  await of('globex')?.request(request('/slow'))
  assert.equal(isSlowOver, false)
  await slow
})

test('a limit that the provider has raised holds until an answer tells another one', async (t) => {
  const [budgets] = await nodes(t, 1)
  let told: number | undefined
  const rules: BudgetRules = {
    bucketOf: () => ({ bucket: 'directory', cost: 1 }),
    documented: () => ({ points: 60, perMs: 60_000 }),
    newsIn: () => (told === undefined ? undefined : { limit: { points: told, perMs: 60_000 } }),
  }
  const client = budgets
    ?.of('google', 'acme', rules)
    .spending({ request: async () => answer(200, {}) }, signal, { calls: 0, throttled: 0 }, 50, {
      directory: 60_000,
    })
  const ask = (count: number) => Promise.all(Array.from({ length: count }, () => client?.request(request())))
  const limit = () => budgets?.standing('google', 'acme')[0]?.limit.points
  await ask(50)
  assert.equal(limit(), 60_000)
  told = 30_000
  await ask(2)
  assert.equal(limit(), 30_000)
})

test('what waits ends when it is not wanted any more', async (t) => {
  const provider = windowed(1, 60_000)
  const [budgets] = await nodes(t, 1)
  const stop = new AbortController()
  const client = budgets
    ?.of('okta', 'acme', provider.rules)
    .spending(provider.http, stop.signal, { calls: 0, throttled: 0 })
  const waiting = Promise.all([client?.request(request()), client?.request(request())])
  await wait(50)
  stop.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
})

test('validations do not wait, and what they use is taken from who does, on whatever node', async (t) => {
  const provider = windowed(100, 1_000)
  const [here, there] = await nodes(t, 2)
  const budget = here?.of('okta', 'acme', provider.rules)
  const validation = budget?.noting(provider.http)
  await validation?.request(request())
  await wait(1_100)
  await Promise.all(Array.from({ length: 60 }, () => validation?.request(request())))
  const use = { calls: 0, throttled: 0 }
  const startedAt = Date.now()
  await Promise.all(
    [here, there].map((node) =>
      node?.of('okta', 'acme', provider.rules).spending(provider.http, signal, use, 50).request(request()),
    ),
  )
  // Sixty at fifty a second.
  assert.ok(Date.now() - startedAt >= 1_000)
  assert.equal(use.throttled, 0)
})

test('whatever a provider says of its limits, requests go on within the ceiling', async (t) => {
  const [budgets] = await nodes(t, 1)
  const odd = fc.constantFrom(
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    0,
    1e-9,
    1e12,
    60_000,
    5,
    1_700_000_000,
  )
  await fc.assert(
    fc.asyncProperty(
      fc.record(
        { remaining: odd, resetInMs: odd, limit: fc.record({ points: odd, perMs: odd }) },
        { requiredKeys: [] },
      ),
      fc.uuid(),
      async (news, account) => {
        const rules: BudgetRules = {
          bucketOf: () => ({ bucket: 'all', cost: 1 }),
          documented: () => ({ points: 1_000_000, perMs: 1_000 }),
          newsIn: () => news,
        }
        const http: HttpClient = { request: async () => answer(200, {}) }
        const client = budgets?.of('okta', account, rules).spending(http, signal, { calls: 0, throttled: 0 })
        await client?.request(request())
        const [standing] = budgets?.standing('okta', account) ?? []
        assert.ok(
          standing !== undefined && standing.ratePerSecond > 0 && Number.isFinite(standing.ratePerSecond),
        )
        const until = standing.throttledUntil?.getTime() ?? 0
        assert.ok(until <= Date.now() + 10 * 60_000)
      },
    ),
    { numRuns: 200 },
  )
})
