/** A source opened for one run: with its credentials, within its account's budget. */
import type { OpenedConfig } from '../configs/opened.ts'
import { maxPageBytes } from '../outbound/outbound.ts'
import type { EntityReader } from '../sources/reading.ts'
import type { EntityType } from '../sources/source.ts'
import type { BudgetUse } from './budget.ts'
import type { RunParts } from './parts.ts'

export type AnyReader = EntityReader<unknown, unknown>

/** With those lists alone that a configuration wants. @param required the capabilities that it requires */
export function withWantedLists(reader: AnyReader, required: readonly EntityType[]): AnyReader {
  const lists = reader.lists.filter(
    ({ isOnRequest, capability }) => isOnRequest !== true || required.includes(capability),
  )
  return { ...reader, lists }
}

export interface RunSession {
  /** The source's own. */
  readonly session: unknown
  /** Requests made so far. */
  readonly use: BudgetUse
  close(): Promise<void>
}

export function openSession(
  { openHttp, budgets, sparing, settingsOf, now }: RunParts,
  { row, source, target }: OpenedConfig,
  reader: AnyReader,
  signal: AbortSignal,
): RunSession {
  // Without a time of its own nothing is asked a second time behind our back: repeating is counted and paced here.
  const http = openHttp(source.egress(target), signal, 0, maxPageBytes)
  const use: BudgetUse = { calls: 0, throttled: 0 }
  const budget = budgets.of(source.name, reader.rates.account(target), reader.rates)
  const { budgetShare, limits } = settingsOf(row)
  const spending = budget.spending(http, signal, use, budgetShare, limits)
  const spared = sparing(spending, { organizationId: row.organization_id, source, target, signal })
  return {
    session: reader.open(target, { http: spared, signal, now }),
    use,
    close: () => http.close(),
  }
}
