/** The dashboard shows what there is: every metric it names exists, with the labels it asks for. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createMetrics } from './metrics.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string }[]
}

const dashboard = JSON.parse(
  readFileSync(new URL('../../docs/grafana-dashboard.json', import.meta.url), 'utf8'),
) as {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly query: string | { readonly query: string } }[] }
}

const expressions = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.templating.list.map(({ query }) => (typeof query === 'string' ? query : query.query)),
]

/** Of every metric, with something told of it, so that its labels show. */
async function exposed(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const metrics = createMetrics()
  try {
    metrics.countRequest('GET', '/', 200, 1)
    metrics.countValidation('okta', 'valid', 1)
    metrics.countRefusedTrial('okta')
    metrics.countJob('webhooks', 'delivered')
    metrics.observeJobDelay('webhooks', 1)
    metrics.setJobsWaiting('webhooks', 1)
    metrics.setConfigs([{ integrationType: 'OKTA', state: 'valid', enabled: true, count: 1 }])
    metrics.countSync('okta', 'full', 'succeeded', 1)
    metrics.countSyncPage('okta', 'users')
    metrics.countSyncEntities('okta', 'identity', { seen: 1, added: 1, changed: 1, removed: 1 })
    metrics.countSyncCalls('okta', 1, 1)
    metrics.countCircuitOpening('okta')
    metrics.setSyncs([{ source: 'okta', lagSeconds: 1, quarantined: 1 }])
    metrics.setBudgets([{ source: 'okta', bucket: 'users', ratePerSecond: 1 }])
    const labels = new Map<string, Set<string>>()
    for (const [, name = '', given = ''] of (await metrics.text()).matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
      const known = labels.get(name) ?? new Set()
      for (const [, label = ''] of given.matchAll(/(\w+)="/g)) known.add(label)
      labels.set(name, known)
    }
    return labels
  } finally {
    metrics.close()
  }
}

test('every metric that the dashboard names exists, and every metric is on it', async () => {
  const known = await exposed()
  const named = new Set(
    expressions.flatMap((text) => [...text.matchAll(/\bcredence_\w+/g)].map(([name]) => name)),
  )
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  )
  const family = (name: string) => name.replace(/_(?:bucket|sum|count)$/, '')
  const families = new Set([...named].map(family))
  assert.deepEqual(
    [...new Set([...known.keys()].map(family))].filter((name) => !families.has(name)),
    [],
  )
})

test('every label that the dashboard asks for is one of its metric', async () => {
  const known = await exposed()
  for (const expression of expressions)
    for (const [, name = '', filters = ''] of expression.matchAll(/\b(credence_\w+)\{([^}]*)\}/g)) {
      const asked = [...filters.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = '']) => label)
      // Which server it was scraped from is Prometheus' own label.
      const unknown = asked.filter((label) => label !== 'instance' && !known.get(name)?.has(label))
      assert.deepEqual(unknown, [], expression)
    }
})

test('every panel has an id and a place of its own', () => {
  const { panels } = dashboard
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const one of panels)
    for (const other of panels) {
      if (one === other) continue
      const [a, b] = [one.gridPos, other.gridPos]
      const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
      assert.ok(isApart, `${one.title} lies on ${other.title}`)
      assert.ok(a.x + a.w <= 24, one.title)
    }
})
