/** Whether the database answers, looked at now and then, so that nobody who asks has to wait for it. */
import type { Database } from './database.ts'
import { type DatabaseUnavailable, unavailable, unavailableBy } from './unavailable.ts'

export interface DatabaseWatch {
  isAnswering(): boolean
  stop(): void
}

/** Between two looks, in milliseconds. */
const pauseMs = 1_000
/** What takes longer does not count as an answer, in milliseconds. */
const patienceMs = 2_000

/** Starts from a database that answers; tells of every change. */
export function watchDatabase(
  database: Pick<Database, 'ping'>,
  tell: {
    readonly onLost: (reason: DatabaseUnavailable) => void
    readonly onFound: () => void
  },
): DatabaseWatch {
  let isAnswering = true
  let isStopped = false
  let timer: NodeJS.Timeout | undefined
  let giveUp: NodeJS.Timeout | undefined

  const look = async () => {
    const tooLate = new Promise<never>((_, reject) => {
      giveUp = setTimeout(() => reject(unavailableBy('query_timeout')), patienceMs).unref()
    })
    const reason = await Promise.race([database.ping(), tooLate]).then(
      () => undefined,
      (error: unknown) => unavailable(error),
    )
    clearTimeout(giveUp)
    if (isStopped) return
    if (isAnswering && reason !== undefined) tell.onLost(reason)
    if (!isAnswering && reason === undefined) tell.onFound()
    isAnswering = reason === undefined
    timer = setTimeout(look, pauseMs).unref()
  }
  timer = setTimeout(look, pauseMs).unref()

  return {
    isAnswering: () => isAnswering,
    stop() {
      isStopped = true
      clearTimeout(timer)
      clearTimeout(giveUp)
    },
  }
}
