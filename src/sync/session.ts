/** A source opened for one run: with its credentials, within its account's budget. */
import type { OpenedConfig } from '../configs/opened.ts'
import { requiredBy } from '../configs/settings.ts'
import { maxPageBytes } from '../outbound/outbound.ts'
import type { EntityReader } from '../sources/reading.ts'
import type { AnySource } from '../sources/registry.ts'
import type { ConfigRow } from '../store/configs.ts'
import type { BudgetUse } from './budget.ts'
import type { RunParts } from './parts.ts'

export type AnyReader = EntityReader<unknown, unknown>

/** The source's reader with the lists that a configuration wants. */
export function readerFor(
  source: AnySource,
  { settings }: Pick<ConfigRow, 'settings'>,
): AnyReader | undefined {
  const reader: AnyReader | undefined = source.reader
  if (reader === undefined) return undefined
  const required = requiredBy(source, settings)
  return {
    ...reader,
    lists: reader.lists.filter(
      ({ isOnRequest, capability }) => isOnRequest !== true || required.includes(capability),
    ),
  }
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
