/** How much memory a run's process takes for garbage. */
import { setFlagsFromString } from 'node:v8'

/**
 * Reading lists makes much short-lived data, for which V8 by default takes hundreds of megabytes rather than collect
 * it: new space then stays as small as it is, and old space is collected once it has grown by this part. It costs up to
 * half more processor time, and stays so for as long as the process runs.
 *
 * @see https://nodejs.org/api/v8.html#v8setflagsfromstringflags
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=10')
}
