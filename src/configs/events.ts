/** What a configuration tells the rest of the program about: changes of its state, in the transaction that makes them. */
import type { Transaction } from 'kysely'
import type { ConfigState, Schema } from '../store/schema.ts'

/** The state of a configuration's credentials changed. Holds no secret. */
export interface ConfigStateChange {
  readonly configId: string
  readonly organizationId: string
  readonly integrationType: string
  /** Canonical. */
  readonly domain: string
  readonly name: string
  /** `initializing` for a configuration that was just made. */
  readonly from: ConfigState
  readonly to: ConfigState
  /** Codes of the causes that decided; none when the credentials are valid. */
  readonly reason: readonly string[]
  readonly at: Date
}

/** Told of each change before it is committed: what it writes with `transaction` happens with the change or not at all. */
export type OnStateChange = (change: ConfigStateChange, transaction: Transaction<Schema>) => Promise<void>
