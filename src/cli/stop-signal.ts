/** SIGINT and SIGTERM: the first one asks a server to end, a second one insists. */
import { constants } from 'node:os'

/** npm and shells pass a terminal's Ctrl-C on to a process that got it already: so soon, a repeat is an echo. In milliseconds. */
const echoMs = 200

/** Resolves at the first signal. From then on another one ends the process at once. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let firstAt: number | undefined
    const stop = (signal: NodeJS.Signals) => {
      if (firstAt === undefined) {
        firstAt = performance.now()
        resolve()
      } else if (performance.now() - firstAt > echoMs) {
        process.exit(128 + constants.signals[signal])
      }
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
}
