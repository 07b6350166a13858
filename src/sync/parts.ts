/** What a run is made of, handed in by whoever has it performed; and how it ends. */
import type { Transaction } from 'kysely'
import type { OpenedConfig } from '../configs/opened.ts'
import type { Outbound } from '../outbound/outbound.ts'
import type { ConfigRow } from '../store/configs.ts'
import type { Database } from '../store/database.ts'
import type { Fuse, MergeResult } from '../store/merge.ts'
import type { Schema, SyncMode } from '../store/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Budgets } from './budget.ts'
import type { RunError } from './failures.ts'
import type { Pace } from './pace.ts'
import type { RunOutcome } from './result.ts'
import type { Sparing } from './sparing.ts'

export interface RunParts {
  readonly database: Database
  readonly openHttp: Outbound['open']
  /** The configuration with its secrets; undefined when it is gone. @throws ConfigRefusal `sealed` */
  unseal(configId: string, reason: string): Promise<OpenedConfig | undefined>
  readonly budgets: Budgets
  readonly sparing: Sparing
  settingsOf(row: ConfigRow): {
    readonly fuse: Fuse
    /** In percent. */
    readonly budgetShare: number
    /** What the provider grants where it does not tell: points of a window, by the name of the bucket. */
    readonly limits?: Readonly<Record<string, number>>
  }
  now(): Date
  readonly log: Log
  readonly metrics: RunMetrics
  /** Told what an operator has to look at. */
  onTrouble(error: unknown): void
  readonly pace?: Partial<Pace>
}

export interface RunMetrics {
  /** A page was read. `list` is a list's name, or `memberships`. */
  onPage(source: string, list: string, entities: number): void
  onEnd(source: string, mode: SyncMode, end: RunEnd, seconds: number): void
}

export type RunEnd =
  | {
      /** `dry`: counted, and nothing written. `quarantined`: waits for approval. */
      readonly kind: 'succeeded' | 'quarantined' | 'dry'
      readonly merge: MergeResult
      readonly outcome: RunOutcome
    }
  /** What it had read is dropped: the next run begins anew. */
  | {
      readonly kind: 'failed'
      readonly error: RunError
      /** What is missing can only be mended by a full run, at once. */
      readonly isFullWanted: boolean
    }
  | { readonly kind: 'cancelled' }
  /** Another node has taken it over, or it has ended or is gone: nothing was written here. */
  | { readonly kind: 'lost' }
  /** The signal aborted. What was read is kept, and the run goes on from there when it is performed again. */
  | { readonly kind: 'stopped' }

export interface RunOptions {
  /** Stops the run between pages, to go on later. */
  readonly signal: AbortSignal
  /** How often the job was begun before, and never settled. */
  readonly attemptsBefore: number
  /**
   * Does what has to be done in the transaction that ends the run (the job, due times), however it ends there. What it
   * throws undoes all of it, and is thrown on.
   */
  settle?(transaction: Transaction<Schema>, end: RunEnd): Promise<void>
}
