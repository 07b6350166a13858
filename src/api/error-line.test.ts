import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redactor } from '../validation/redact.ts'
import { errorLine } from './error-line.ts'

const thrownBy = (work: () => unknown): unknown => {
  try {
    work()
  } catch (error) {
    return error
  }
  assert.fail('nothing was thrown')
}

test('tells what happened and where', () => {
  const line = errorLine(new RangeError('too far', { cause: new Error('a wall') }))
  assert.partialDeepStrictEqual(line, {
    type: 'RangeError',
    message: 'too far',
    cause: { message: 'a wall' },
  })
  assert.match(line.stack ?? '', /error-line\.test\.ts/)
})

test('leaves out words in which the runtime repeats its input', () => {
  const careless = [() => JSON.parse('{"token": hunter2}'), () => new URL('https://hunter2:x y/')]
  for (const work of careless) {
    const line = errorLine(thrownBy(work))
    assert.ok(!JSON.stringify(line).includes('hunter2'))
    assert.equal(line.message, 'withheld, as it may repeat input')
  }
})

test('hides the secrets it is told of, in causes too, and never ends in a circle', () => {
  const error = new Error('refused hunter2', { cause: new Error('hunter2 again') })
  assert.ok(
    !JSON.stringify(
      errorLine(
        error,
        redactor(() => ['hunter2']),
      ),
    ).includes('hunter2'),
  )
  const circle = new Error('round')
  circle.cause = circle
  assert.ok(JSON.stringify(errorLine(circle)).length < 20_000)
})

test('what is no error at all is not repeated', () => {
  assert.deepEqual(errorLine('hunter2'), {
    type: 'string',
    message: 'something other than an error was thrown',
  })
})
