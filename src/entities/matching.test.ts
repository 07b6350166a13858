import assert from 'node:assert/strict'
import { test } from 'node:test'
import { matchByConfig, type NamesOfGroups } from './matching.ts'
import { parseQuery, QueryFault } from './query-parser.ts'
import type { QueryTree } from './query-tree.ts'

const organizationId = '0b0e9a4e-1f2a-4c3d-8e4f-5a6b7c8d9e0f'
const configs = [
  { id: 'okta', domain: 'acme.okta.com' },
  { id: 'google', domain: 'acme.com' },
]

const read = (query: string): QueryTree => {
  const tree = parseQuery(query)
  assert.ok(tree !== undefined)
  return tree
}

/** So many groups of a name, with ids as long as providers make them at most. */
const crowd =
  (size: number): NamesOfGroups['of'] =>
  ({ value }) =>
    Array.from({ length: size }, (_, n) => `${value}-${n}`.padEnd(128, 'x'))

test('groups that several words of a query name are looked for once', () => {
  const groups = { of: crowd(1_000), changesIn: () => [] }
  const once = matchByConfig(organizationId, read('group:team'), configs, groups)
  const often = matchByConfig(
    organizationId,
    read(Array.from({ length: 40 }, () => 'group:team').join(' OR ')),
    configs,
    groups,
  )
  assert.deepEqual(often, once)
})

test('more groups than can be looked for at once are a fault of the query', () => {
  const names = Array.from({ length: 20 }, (_, n) => `group:team${n}`)
  for (const query of [names.join(' OR '), names.join(' AND '), names.map((name) => `-${name}`).join(' ')]) {
    const ask = (size: number) =>
      matchByConfig(organizationId, read(`source:okta (${query})`), configs, {
        of: crowd(size),
        changesIn: () => [],
      })
    assert.ok(ask(10).alternatives.length > 0)
    assert.throws(
      () => ask(1_000),
      (error) => error instanceof QueryFault && error.position > 0,
    )
  }
})

test('where a group got the name within the time, it is asked for from then on alone', () => {
  const groups: NamesOfGroups = {
    of: (_, configId, at) => (configId === 'okta' && at >= '2026-02' ? ['g1'] : []),
    changesIn: (configId) => (configId === 'okta' ? ['2026-02'] : []),
  }
  const { alternatives } = matchByConfig(organizationId, read('group:crew'), configs, groups)
  assert.deepEqual(
    alternatives.map(({ configIds, within }) => ({ configIds, within })),
    [{ configIds: ['okta'], within: { from: '2026-02' } }],
  )
  const others = matchByConfig(organizationId, read('-group:crew'), configs, groups)
  assert.deepEqual(
    others.alternatives.map(({ configIds, terms, within }) => [configIds, terms !== undefined, within]),
    [
      [['okta'], false, { until: '2026-02' }],
      [['okta'], true, { from: '2026-02' }],
      [['google'], false, undefined],
    ],
  )
})
