import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { Room } from './room.ts'

describe('room for what is held at a time', () => {
  test('given work of any sizes, then no more is under way than there is room for, in order, and all of it ends', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.record({ need: fc.integer({ min: 0, max: 30 }), turns: fc.integer({ min: 0, max: 4 }) })),
        async (size, works) => {
          const room = new Room(size)
          const begun: number[] = []
          let held = 0
          await Promise.all(
            works.map(({ need, turns }, index) =>
              room.for(need, async () => {
                begun.push(index)
                held += Math.min(need, size)
                assert.ok(held <= size)
                for (let left = turns; left > 0; left -= 1) await turn()
                held -= Math.min(need, size)
              }),
            ),
          )
          assert.deepEqual(
            begun,
            works.map((_, index) => index),
          )
        },
      ),
    )
  })

  test('given work that fails, then its room is free again', async () => {
    const room = new Room(1)
    const failed = room.for(1, () => Promise.reject(new Error('no')))
    const next = room.for(1, async () => 'done')
    await assert.rejects(failed, { message: 'no' })
    assert.equal(await next, 'done')
  })
})
