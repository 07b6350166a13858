import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import type { CheckReport } from '../validation/report.ts'
import { showCheckList } from './check-list.ts'
import { plainStyle } from './terminal.ts'

/** What a terminal shows after `written`: lines, moves up and erasing below are all that is used. */
function screenAfter(written: string): string[] {
  const lines = ['']
  let row = 0
  for (const [, up, isErase, isNewline, text] of written.matchAll(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal acts on
    /\x1b\[(\d+)A\r|(\x1b\[J)|(\n)|([^\n\x1b]+)/g,
  )) {
    if (up !== undefined) row -= Number(up)
    if (isErase !== undefined) {
      lines.length = row
      lines.push('')
    }
    if (isNewline !== undefined) {
      row += 1
      lines[row] ??= ''
    }
    if (text !== undefined) lines[row] += text
  }
  return lines
}

function terminal(rows: number, columns: number) {
  let written = ''
  const stream = Object.assign(new PassThrough(), { rows, columns, isTTY: true })
  stream.on('data', (chunk) => {
    written += chunk
  })
  return {
    stream: stream as unknown as NodeJS.WriteStream,
    screen: () => screenAfter(written),
    written: () => written,
  }
}

const check = (id: string, stage: CheckReport['stage']): CheckReport => ({
  id,
  stage,
  title: `Check ${id}`,
  status: 'passed',
  required: true,
  proves: 'something',
  duration_ms: 1,
})
const checks = [check('a', 'shape'), check('b', 'access'), check('c', 'access')]
const options = { heading: 'Okta', checks, style: plainStyle, isDumb: false }

test('each check changes in its place as it ends, in whatever order, and the list goes away at the end', () => {
  const { stream, screen } = terminal(24, 80)
  const list = showCheckList(stream, options)
  list.ended({ ...check('c', 'access'), status: 'unknown' })
  assert.deepEqual(screen(), ['Okta', '', 'Shape', '  · Check a', 'Access', '  · Check b', '  ? Check c', ''])
  list.ended(check('a', 'shape'))
  assert.deepEqual(screen(), ['Okta', '', 'Shape', '  ✓ Check a', 'Access', '  · Check b', '  ? Check c', ''])
  list.clear()
  assert.deepEqual(screen(), [''])
})

for (const [why, rows, columns, isDumb] of [
  ['is too low', 8, 80, false],
  ['is too narrow', 24, 20, false],
  ['cannot move its cursor', 24, 80, true],
] as const) {
  test(`a terminal that ${why} gets a line for each check as it ends`, () => {
    const { stream, written } = terminal(rows, columns)
    const list = showCheckList(stream, { ...options, isDumb })
    list.ended(check('c', 'access'))
    list.ended(check('a', 'shape'))
    list.clear()
    assert.equal(written(), 'Okta\n  ✓ Check c\n  ✓ Check a\n\n')
  })
}
