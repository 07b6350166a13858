/** What ends a limit, and what it ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Limit } from './limit.ts'

const watched = (limit: Limit) => {
  let ends = 0
  limit.onEnd(() => {
    ends++
  })
  return () => ends
}

test('ends once: by hand, after its time, or with the limit around it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const outer = new Limit()
  const inner = new Limit({ ms: 50, within: outer })
  const timed = new Limit({ ms: 50 })
  const ends = [watched(outer), watched(inner), watched(timed)]
  outer.end()
  outer.end()
  assert.deepEqual([...ends.map((count) => count()), inner.isOver], [1, 1, 0, true])
  t.mock.timers.tick(50)
  assert.deepEqual(
    ends.map((count) => count()),
    [1, 1, 1],
  )
  assert.equal(new Limit({ within: outer }).isOver, true)
  assert.equal(watched(outer)(), 1, 'what comes too late is called at once')
})

test('released, it outlives its time and the limit around it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const outer = new Limit()
  const inner = new Limit({ ms: 50, within: outer })
  inner.release()
  t.mock.timers.tick(50)
  outer.end()
  assert.equal(inner.isOver, false)
})

test('a pause is cut short by the end', async () => {
  const limit = new Limit()
  const paused = limit.pause(60_000)
  limit.end()
  await paused
})
