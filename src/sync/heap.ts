/** How much memory the process takes for garbage. */
import { setFlagsFromString } from 'node:v8'

/**
 * Reading lists makes much short-lived data, for which V8 by default takes hundreds of megabytes rather than collect
 * it. From now on old space is collected once it has grown by a third. How large new space may become is settled when
 * Node starts: bin/credence.js and the npm scripts ask for 8 MiB a half, where it would be 32.
 *
 * @see https://nodejs.org/api/v8.html#v8setflagsfromstringflags
 * @see https://nodejs.org/api/cli.html#--max-semi-space-sizesize-in-mib
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=33')
}
