/** How much memory a process takes for garbage while it reads lists. */
import { setFlagsFromString } from 'node:v8'

/**
 * Whether the process was started with a bound on new space, as bin/credence.js and the npm scripts do: V8 takes that
 * bound at its start alone.
 *
 * @see https://nodejs.org/api/cli.html#--max-semi-space-sizesize-in-mib
 */
const isNewSpaceBounded = process.execArgv.some((option) => /^--max[-_]semi[-_]space[-_]size/.test(option))

let readers = 0

/**
 * Reading lists makes much short-lived data, for which V8 by default takes hundreds of megabytes rather than collect
 * it. As long as anybody reads, old space is collected once it has grown by half, which takes about a tenth more
 * processor time; and where new space has no bound, it stays as small as it is and old space is collected far sooner,
 * which takes up to half more.
 *
 * @returns to be called when the reading has ended
 * @see https://nodejs.org/api/v8.html#v8setflagsfromstringflags
 */
export function keepHeapSmall(): () => void {
  if (readers++ === 0) bound()
  let isOver = false
  return () => {
    if (isOver) return
    isOver = true
    if (--readers === 0) unbound()
  }
}

function bound(): void {
  setFlagsFromString(`--heap-growing-percent=${isNewSpaceBounded ? 50 : 10}`)
  if (!isNewSpaceBounded) setFlagsFromString('--semi-space-growth-factor=1')
}

/** V8's own defaults. */
function unbound(): void {
  setFlagsFromString('--heap-growing-percent=0')
  if (!isNewSpaceBounded) setFlagsFromString('--semi-space-growth-factor=2')
}
