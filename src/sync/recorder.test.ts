/** When what was read is committed, and what whoever watches sees of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { Stage } from '../store/sync-stage.ts'
import { newProgress } from './progress.ts'
import { createRecorder, type Totals } from './recorder.ts'
import { emptyPage } from './staging.ts'

/** Pages of ten rows; what is not hurried waits for longer than a test takes, unless said otherwise. */
function begin({ pages = 0, lookMs = 60_000 }: { readonly pages?: number; readonly lookMs?: number } = {}) {
  const commits: Totals[] = []
  const use = { calls: 0, throttled: 0 }
  const stage: Pick<Stage, 'commit'> = {
    commit: async (_pages, _progress, totals) => {
      commits.push(totals)
    },
  }
  const recorder = createRecorder(
    stage,
    {
      progress: newProgress({ mode: 'full', revision: 1, beganAt: '2026-11-24T00:00:00Z', starts: 1 }),
      totals: { pages, seen: pages * 10, providerCalls: 0, throttled: 0 },
      use,
    },
    { rowsWaiting: 1_000, rowsAtOnce: 100, lingerMs: 60_000, lookMs },
    assert.ifError,
  )
  return {
    commits,
    use,
    recorder,
    async add(count: number) {
      for (let n = 0; n < count; n += 1) {
        use.calls += 1
        await recorder.add({ page: emptyPage, rows: 10 }, (progress) => progress)
      }
    },
    async committed(count: number) {
      while (commits.length < count) await wait(1)
    },
  }
}

test('the first page is committed as soon as it is there, and those after it together', async () => {
  const { recorder, commits, add, committed } = begin()
  await add(1)
  await committed(1)
  assert.partialDeepStrictEqual(commits, [{ pages: 1, seen: 10, providerCalls: 1 }])
  await add(5)
  await wait(20)
  assert.equal(commits.length, 1)
  await add(5)
  await committed(2)
  assert.partialDeepStrictEqual(commits[1], { pages: 11, seen: 110, providerCalls: 11 })
  await recorder.close()
})

test('the first page that is read after a crash waits for others, as a run that goes on has told of itself', async () => {
  const { recorder, commits, add } = begin({ pages: 3 })
  await add(1)
  await wait(20)
  assert.deepEqual(commits, [])
  await recorder.close()
  assert.partialDeepStrictEqual(commits, [{ pages: 4, seen: 40 }])
})

test('requests are counted while no page comes', async () => {
  const { recorder, commits, use, committed } = begin({ lookMs: 5 })
  use.calls = 3
  await committed(1)
  assert.partialDeepStrictEqual(commits[0], { pages: 0, seen: 0, providerCalls: 3 })
  await recorder.close()
})
