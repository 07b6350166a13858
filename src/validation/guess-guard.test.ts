import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Admission, createGuessGuard, type TrialEnd } from './guess-guard.ts'

const subject = ['organization', 'OKTA', 'acme.okta.com', 'robot']
const trial = (credentials: string, of: readonly string[] = subject) => ({ subject: of, credentials })

function guardAt(attemptsPerMinute = 10, capacity?: number) {
  let nowMs = 0
  const guard = createGuessGuard({
    attemptsPerMinute,
    ...(capacity !== undefined && { capacity }),
    monotonicMs: () => nowMs,
  })
  const attempt = async (credentials: string, end: TrialEnd, of?: readonly string[]) => {
    const admission = await guard.admit(trial(credentials, of))
    if (admission.isAdmitted) admission.settle(end)
    return admission.isAdmitted
  }
  return {
    guard,
    attempt,
    pass: (ms: number) => {
      nowMs += ms
    },
  }
}

const admitted = (admission: Admission) => {
  assert.ok(admission.isAdmitted)
  return admission
}

test('admits ten wrong credentials a minute and no more, whatever they are', async () => {
  const { guard, attempt, pass } = guardAt()
  for (let guess = 0; guess < 10; guess += 1) {
    assert.equal(await attempt(`guess ${guess}`, guess % 2 === 0 ? 'invalid' : 'indeterminate'), true)
    pass(1_000)
  }
  const refusal = await guard.admit(trial('one more'))
  assert.deepEqual(refusal, { isAdmitted: false, retryAfterSeconds: 50 })
  pass(50_000)
  assert.equal(await attempt('one more', 'invalid'), true)
  assert.equal(await attempt('and another', 'invalid'), false)
})

test('counts each principal, domain, type and organisation by itself', async () => {
  const { attempt } = guardAt(1)
  assert.equal(await attempt('guess', 'invalid'), true)
  assert.equal(await attempt('guess', 'invalid'), false)
  for (let part = 0; part < subject.length; part += 1)
    assert.equal(await attempt('guess', 'invalid', subject.with(part, 'other')), true)
  // Parts that run into each other are still different parts.
  assert.equal(await attempt('guess', 'invalid', ['a', 'bc']), true)
  assert.equal(await attempt('guess', 'invalid', ['ab', 'c']), true)
})

test('credentials that proved valid cost nothing for ten minutes', async () => {
  const { attempt, pass } = guardAt(1)
  assert.equal(await attempt('right', 'valid'), true)
  assert.equal(await attempt('wrong', 'invalid'), true)
  for (let again = 0; again < 100; again += 1) assert.equal(await attempt('right', 'valid'), true)
  assert.equal(await attempt('right', 'indeterminate'), true)
  assert.equal(await attempt('right', 'valid'), true)
  pass(10 * 60_000)
  assert.equal(await attempt('wrong', 'invalid'), true)
  assert.equal(await attempt('right', 'valid'), false)
})

test('credentials that stop being valid cost again', async () => {
  const { attempt } = guardAt(1)
  assert.equal(await attempt('key', 'valid'), true)
  assert.equal(await attempt('key', 'invalid'), true)
  assert.equal(await attempt('key', 'invalid'), true)
  assert.equal(await attempt('key', 'invalid'), false)
})

test('an attempt that sent nothing is given back', async () => {
  const { attempt } = guardAt(1)
  for (let again = 0; again < 20; again += 1) assert.equal(await attempt('malformed', 'nothing_sent'), true)
})

test('the same credentials wait for the trial under way, once, and are free when it ends well', async () => {
  const { guard } = guardAt(1)
  const first = admitted(await guard.admit(trial('key')))
  const waiting = Array.from({ length: 50 }, () => guard.admit(trial('key')))
  first.settle('valid')
  for (const later of await Promise.all(waiting)) admitted(later).settle('valid')
})

test('when the trial under way ends badly, each that waited costs an attempt', async () => {
  const { guard } = guardAt(3)
  const first = admitted(await guard.admit(trial('key')))
  const waiting = Array.from({ length: 50 }, () => guard.admit(trial('key')))
  first.settle('invalid')
  const later = await Promise.all(waiting)
  assert.equal(later.filter(({ isAdmitted }) => isAdmitted).length, 2)
})

test('forgetting would hand attempts back: without room, a new subject waits', async () => {
  const { guard, attempt, pass } = guardAt(1, 3)
  for (const name of ['a', 'b', 'c']) assert.equal(await attempt('guess', 'invalid', [name]), true)
  assert.equal((await guard.admit(trial('guess', ['d']))).isAdmitted, false)
  assert.equal(await attempt('guess', 'invalid', ['a']), false)
  pass(60_000)
  assert.equal(await attempt('guess', 'invalid', ['d']), true)
})

test('however trials come and end, no minute holds more than ten that did not prove valid', async () => {
  const step = fc.record({
    credentials: fc.nat({ max: 4 }),
    isRight: fc.boolean(),
    passMs: fc.nat({ max: 20_000 }),
    settleLater: fc.nat({ max: 5 }),
    end: fc.constantFrom<TrialEnd>('invalid', 'indeterminate', 'nothing_sent'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const limit = 3
      let nowMs = 0
      const guard = createGuessGuard({ attemptsPerMinute: limit, monotonicMs: () => nowMs })
      const failedAt: number[] = []
      const due: { at: number; settle(): void }[] = []
      const settleUntil = (at: number) => {
        for (const one of due.filter((pending) => pending.at <= at)) {
          due.splice(due.indexOf(one), 1)
          one.settle()
        }
      }
      const asked: Promise<void>[] = []
      for (const [at, { credentials, isRight, passMs, settleLater, end }] of steps.entries()) {
        nowMs += passMs
        asked.push(
          guard.admit(trial(`${isRight ? 'right' : 'wrong'} ${credentials}`)).then((admission) => {
            if (!admission.isAdmitted) return
            const startedAt = nowMs
            const outcome = isRight ? 'valid' : end
            due.push({
              at: at + settleLater,
              settle: () => {
                if (outcome === 'invalid' || outcome === 'indeterminate') failedAt.push(startedAt)
                admission.settle(outcome)
              },
            })
          }),
        )
        // Whatever is admitted or settled is so before the clock goes on.
        await new Promise(setImmediate)
        settleUntil(at)
        await new Promise(setImmediate)
      }
      for (let round = 0; round < steps.length + 2; round += 1) {
        settleUntil(Number.POSITIVE_INFINITY)
        await new Promise(setImmediate)
        if (due.length === 0) break
      }
      await Promise.all(asked)
      for (const start of failedAt)
        assert.ok(failedAt.filter((other) => other >= start && other < start + 60_000).length <= limit)
    }),
    { numRuns: 300 },
  )
})
