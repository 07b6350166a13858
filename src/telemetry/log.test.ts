import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from './log.ts'

function logInto(): { log: ReturnType<typeof createLog>; lines: () => Record<string, unknown>[] } {
  const written: string[] = []
  const log = createLog('info', { write: (line) => written.push(line) })
  return { log, lines: () => written.map((line) => JSON.parse(line)) }
}

test('a line is JSON with level, time and message', () => {
  const { log, lines } = logInto()
  log.warn({ route: '/healthz' }, 'slow')
  const [line] = lines()
  assert.partialDeepStrictEqual(line, { level: 'warn', route: '/healthz', msg: 'slow' })
  assert.match(String(line?.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

test('members named as secrets are hidden, however deep they are', () => {
  const { log, lines } = logInto()
  log.info(
    { api_key: 'hunter2', request: { headers: { authorization: 'hunter2', accept: 'json' } } },
    'careless',
  )
  assert.ok(!JSON.stringify(lines()).includes('hunter2'))
  assert.partialDeepStrictEqual(lines()[0], {
    api_key: '[redacted]',
    request: { headers: { authorization: '[redacted]', accept: 'json' } },
  })
})

test('an error that is logged as it is shows its kind alone', () => {
  const { log, lines } = logInto()
  log.error({ err: new TypeError('hunter2') }, 'careless')
  log.error(new TypeError('careless'))
  assert.deepEqual(lines()[0]?.err, { type: 'TypeError' })
  assert.deepEqual(lines()[1]?.err, { type: 'TypeError' })
})
