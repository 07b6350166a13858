/**
 * Which account at its provider a configuration was read with, as far as this node has done so: telling it takes the
 * credentials, which nobody opens to look at a budget.
 */
import type { OpenedConfig } from '../configs/opened.ts'

export interface Account {
  readonly source: string
  readonly account: string
}

export interface Accounts {
  note(opened: OpenedConfig): void
  of(configId: string): Account | undefined
}

/** Configurations remembered at a time; the longest unread are forgotten. */
const capacity = 10_000

export function createAccounts(): Accounts {
  const accounts = new Map<string, Account>()
  return {
    note({ row, source, target }) {
      if (source.reader === undefined) return
      accounts.delete(row.id)
      accounts.set(row.id, { source: source.name, account: source.reader.rates.account(target) })
      const [oldest] = accounts.keys()
      if (accounts.size > capacity && oldest !== undefined) accounts.delete(oldest)
    },
    of: (configId) => accounts.get(configId),
  }
}
