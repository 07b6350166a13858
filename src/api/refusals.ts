/** Refused authentications on their way into the audit trail: counted by address, and written now and then, so that nobody fills it. */
import type { FastifyRequest } from 'fastify'
import { recordAudit } from '../store/audit.ts'
import type { Database } from '../store/database.ts'

/** What was shown and not accepted. */
export type ShownCredentials = 'nothing' | 'keys' | 'access_token' | 'bearer_token' | 'keys_in_address'

export interface RefusalTrail {
  note(request: FastifyRequest, shown: ShownCredentials): void
  /** Writes what was noted. */
  close(): Promise<void>
}

/** How long refusals are gathered, in milliseconds. */
const gatherMs = 10_000
/** Most entries written at a time; what does not fit is counted in one of them. */
const maxEntries = 20

interface Entry {
  readonly address: string | null
  readonly shown: ShownCredentials | 'various'
  readonly requestId: string | null
  count: number
}

export function createRefusalTrail(
  database: Pick<Database, 'query'>,
  onTrouble: (error: unknown) => void,
): RefusalTrail {
  const entries = new Map<string, Entry>()
  let timer: NodeJS.Timeout | undefined

  const write = async () => {
    clearTimeout(timer)
    timer = undefined
    const gathered = [...entries.values()]
    entries.clear()
    for (const { address, shown, requestId, count } of gathered) {
      await recordAudit(
        database.query,
        { id: 'unknown', ...(address && { address }), ...(requestId && { requestId }) },
        { action: 'authentication.refuse', outcome: 'refused', details: { shown, count } },
      )
    }
  }
  const writeOrTell = () => write().catch(onTrouble)

  return {
    note({ ip, id }, shown) {
      const own = JSON.stringify([ip, shown])
      const name = entries.has(own) || entries.size < maxEntries ? own : 'others'
      const entry = entries.get(name)
      if (entry !== undefined) entry.count += 1
      else if (name === own) entries.set(own, { address: ip, shown, requestId: id, count: 1 })
      else entries.set(name, { address: null, shown: 'various', requestId: null, count: 1 })
      timer ??= setTimeout(writeOrTell, gatherMs).unref()
    },
    close: writeOrTell,
  }
}
