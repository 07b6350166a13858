import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createFaultBoard, type Fault, faultKinds, faultSchema } from './faults.ts'

const users = { method: 'GET', url: new URL('https://acme.okta.com/api/v1/users?limit=1') }

function board(...faults: Fault[]) {
  const board = createFaultBoard()
  board.set(faults)
  return board
}

test('waits add up, provider faults gather, and the first other fault wins', () => {
  const struck = board(
    { kind: 'latency', ms: 100 },
    { kind: 'repeated_next_link' },
    { kind: 'hang' },
    { kind: 'reset' },
    { kind: 'latency' },
  ).strike('okta', users)
  assert.equal(struck.latencyMs, 1100)
  assert.deepEqual(struck.played, new Set(['repeated_next_link']))
  assert.equal(struck.fault?.kind, 'hang')
})

test('a fault whose turn has not come is not used up', () => {
  const faults = board({ kind: 'hang', times: 2 }, { kind: 'reset', times: 1 })
  assert.equal(faults.strike('okta', users).fault?.kind, 'hang')
  assert.deepEqual(faults.list(), [
    { kind: 'hang', times: 1 },
    { kind: 'reset', times: 1 },
  ])
  assert.equal(faults.strike('okta', users).fault?.kind, 'hang')
  assert.equal(faults.strike('okta', users).fault?.kind, 'reset')
  assert.deepEqual(faults.strike('okta', users), { latencyMs: 0, played: new Set(), fault: undefined })
})

test('the path is matched without its query', () => {
  assert.equal(board({ kind: 'hang', path: 'users$' }).strike('okta', users).fault?.kind, 'hang')
  assert.equal(board({ kind: 'hang', path: 'limit' }).strike('okta', users).fault, undefined)
})

test('setting faults replaces those before; none switches all off', () => {
  const faults = board({ kind: 'hang' })
  faults.set([{ kind: 'reset' }])
  assert.equal(faults.strike('okta', users).fault?.kind, 'reset')
  faults.set([])
  assert.equal(faults.strike('okta', users).fault, undefined)
})

test('every kind can be set, and a kind that does not exist cannot', () => {
  for (const kind of Object.keys(faultKinds))
    assert.equal(faultSchema.safeParse({ kind, location: 'https://elsewhere.test/' }).success, true)
  assert.equal(faultSchema.safeParse({ kind: 'toString' }).success, false)
})

test('the documentation has a line for every kind', () => {
  const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'sandbox.md'), 'utf8')
  for (const kind of Object.keys(faultKinds)) assert.ok(page.includes(`\n| \`${kind}\` |`), kind)
})
