/** Turns what a run has staged into revisions: exact, minimal, and all of it or nothing. */
import type { Transaction } from 'kysely'
import type { EntityKind, FactName } from '../entities/model.ts'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import type { RunHandle } from './sync-stage.ts'

/** Above both, removals need approval. */
export interface Fuse {
  /** Share of what there is of a kind, in percent. */
  readonly percent: number
  readonly atLeast: number
}

export interface Merge {
  readonly run: RunHandle
  readonly mode: 'full' | 'incremental'
  /** Kinds of which every list was read to its end: those not seen are gone. None in increments. */
  readonly completeKinds: readonly EntityKind[]
  /** Kinds of which this run proves that everything open is as it is known: their sighting becomes the merge's time. */
  readonly provenKinds: readonly EntityKind[]
  /** Every group's (or user's) memberships were read: they take the place of all there are. */
  readonly areMembershipsComplete: boolean
  /** These facts take the place of all there are; others stay as they are. */
  readonly completeFacts: readonly FactName[]
  readonly fuse: Fuse | 'approved'
  /** The node's clock. The merge's time is later than that of every merge of the organisation before. */
  readonly now: Date
  /** Counts and shows what would change, and writes nothing. */
  readonly isDryRun?: boolean
  /**
   * Does what has to be done in the same transaction (the run's end, the state, the job): the run's row is locked.
   * What it throws undoes everything.
   */
  finish(transaction: Transaction<Schema>, result: MergeResult): Promise<void>
}

export interface KindCounts {
  readonly seen: number
  readonly added: number
  readonly changed: number
  readonly removed: number
  /** Open after it. */
  readonly open: number
}

/** A change that a dry run found, or a removal that a quarantine holds. */
export interface Sample {
  readonly kind: EntityKind
  readonly entityId: string
  readonly uid: string
  readonly label: string
  readonly change: 'added' | 'changed' | 'removed'
}

export interface MergeResult {
  /** `quarantined`: the fuse held everything back, and what would go is in `sync_removals`. */
  readonly kind: 'merged' | 'quarantined' | 'dry'
  /** Time and number of the merge; of no meaning when nothing was written. */
  readonly at: Date
  readonly sequence: number
  readonly counts: Readonly<Record<EntityKind, KindCounts>>
  /** Memberships that would go or went, and that there were. */
  readonly memberships: { readonly before: number; readonly lost: number; readonly gained: number }
  /** Why the fuse held: `removals`, `memberships`, `empty_list`. */
  readonly held?: readonly {
    readonly kind: EntityKind | 'membership'
    readonly why: string
    readonly count: number
    readonly of: number
  }[]
  /** At most 20 in dry runs and quarantines. */
  readonly sample: readonly Sample[]
}

/** @throws RunLost, RunCancelled, DatabaseUnavailable */
export declare function merge(database: Database, what: Merge): Promise<MergeResult>
