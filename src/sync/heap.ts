/** How much memory the process takes for garbage. */
import { setFlagsFromString } from 'node:v8'

let holders = 0

/**
 * Reading lists makes much short-lived data, for which V8 by default takes hundreds of megabytes rather than collect
 * it. As long as anybody holds the heap small, old space is collected once it has grown by not quite half; validations
 * would take more processor time with that. How far it may grow is settled by each collection for the next one, so
 * that a server holds it while it starts, too.
 *
 * How large new space may become is settled when Node starts: bin/credence.js and the npm scripts ask for 8 MiB a half,
 * where it would be 32, and for it to be collected while old space is being marked, too, or it grows beyond that
 * meanwhile (`--no-separate-gc-phases`).
 *
 * @returns to be called once, when it may grow again
 * @see https://nodejs.org/api/v8.html#v8setflagsfromstringflags
 * @see https://nodejs.org/api/cli.html#--max-semi-space-sizesize-in-mib
 */
export function keepHeapSmall(): () => void {
  holders += 1
  setFlagsFromString('--heap-growing-percent=45')
  return () => {
    holders -= 1
    // V8's own way.
    if (holders === 0) setFlagsFromString('--heap-growing-percent=0')
  }
}
