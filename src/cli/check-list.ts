/** The list of checks on a terminal while a validation runs: each line changes as its check ends. */
import type { CheckReport } from '../validation/report.ts'
import { checkLine, type ListedCheck, stagedLines } from './report-text.ts'
import { plainStyle, type Style } from './terminal.ts'

export interface CheckList {
  ended(check: CheckReport): void
  /** Takes the list away, so that the report can stand in its place. */
  clear(): void
}

/** Cursor to the start of the line `count` lines up, and everything below it erased. */
const upAndErase = (count: number) => `\x1b[${count}A\r\x1b[J`

/** Columns that a line may gain when its check ends: ` (does not apply)`. */
const longestRemark = 17

export interface CheckListOptions {
  readonly heading: string
  readonly checks: readonly Omit<ListedCheck, 'status'>[]
  readonly style: Style
  /** The terminal cannot move its cursor (TERM=dumb). */
  readonly isDumb: boolean
}

/**
 * Shows the checks as open and redraws the list as they end. A terminal that cannot take a line back, or that is too
 * small for the list, gets a line for each check in order of ending instead.
 */
export function showCheckList(
  stream: NodeJS.WriteStream,
  { heading, checks, style, isDumb }: CheckListOptions,
): CheckList {
  let listed: readonly ListedCheck[] = checks.map(({ id, stage, title, required }) => ({
    id,
    stage,
    title,
    required,
    status: 'pending',
  }))
  if (isDumb || !fits(stream, stagedLines(listed, plainStyle))) {
    stream.write(`${heading}\n`)
    return {
      ended: (check) => stream.write(`${checkLine(check, style)}\n`),
      clear: () => stream.write('\n'),
    }
  }

  let height = 0
  const draw = () => {
    const lines = [heading, '', ...stagedLines(listed, style)]
    stream.write(`${height === 0 ? '' : upAndErase(height)}${lines.join('\n')}\n`)
    height = lines.length
  }
  draw()
  return {
    ended(check) {
      listed = listed.map((other) => (other.id === check.id ? check : other))
      draw()
    },
    clear: () => stream.write(upAndErase(height)),
  }
}

/** A line that the terminal folds, or a list that scrolls, could not be taken back. */
const fits = ({ rows, columns }: NodeJS.WriteStream, lines: readonly string[]) =>
  lines.length + 3 < rows && lines.every((line) => line.length + longestRemark < columns)
