import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SyncFailure } from './failures.ts'
import { follow, type Trail } from './progress.ts'

/** Cursors that are followed until one is refused, at most `limit`. */
function followed(cursorAt: (step: number) => number, limit: number): number {
  let trail: Trail | undefined
  for (let step = 0; step < limit; step += 1) {
    try {
      trail = follow(trail, cursorAt(step), false, 'Users')
    } catch (error) {
      assert.ok(error instanceof SyncFailure && error.error.code === 'sync_list_loops')
      return step
    }
  }
  return limit
}

test('a loop of any length, from any page on, is met before it was gone through three times', () => {
  fc.assert(
    fc.property(fc.nat(300), fc.integer({ min: 1, max: 300 }), (before, length) => {
      const cursorAt = (step: number) => (step < before ? step : before + ((step - before) % length))
      const bound = 3 * (before + length) + 3
      const steps = followed(cursorAt, bound)
      assert.ok(steps < bound, `${steps} steps for ${length} after ${before}`)
      assert.ok(steps >= before + length, 'nothing had come twice')
    }),
  )
})

test('a list whose cursors are all different is followed to its end', () => {
  assert.equal(
    followed((step) => step, 20_000),
    20_000,
  )
})

test('what is remembered of a list does not grow with it', () => {
  let trail: Trail | undefined
  for (let step = 0; step < 5_000; step += 1) trail = follow(trail, step, false, 'Users')
  assert.ok(JSON.stringify(trail).length < 200)
})
