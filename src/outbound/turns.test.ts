import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Turns } from './turns.ts'

test('a burst begins in order, so many in each turn of the event loop', async () => {
  const turns = new Turns(2)
  const begun: number[] = []
  for (let caller = 1; caller <= 5; caller++) turns.take().then(() => begun.push(caller))
  const seen: number[][] = []
  for (let turn = 0; turn < 4; turn++) {
    await Promise.resolve().then(() => undefined)
    seen.push([...begun])
    await nextTurn()
  }
  assert.deepEqual(seen[0], [1, 2])
  assert.deepEqual(seen.at(-1), [1, 2, 3, 4, 5])
  for (const [turn, now] of seen.entries()) assert.ok(now.length <= 2 * (turn + 1), `turn ${turn}: ${now}`)
})

test('nobody waits where there is no burst', async () => {
  const turns = new Turns(1)
  for (let turn = 0; turn < 3; turn++) {
    let isThrough = false
    turns.take().then(() => {
      isThrough = true
    })
    await Promise.resolve()
    assert.ok(isThrough)
    await nextTurn()
  }
})
