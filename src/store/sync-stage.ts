/** What a run has read and not merged yet: tables of its own, filled page by page together with its progress. */
import type { EntityKind, Fact, Membership } from '../entities/model.ts'
import type { Database } from './database.ts'

/** A run as the node that works on it holds it. */
export interface RunHandle {
  readonly id: string
  readonly organizationId: string
  readonly configId: string
  /** The number that this node took the run over with; with another one in the row, nothing is written. */
  readonly fence: number
}

/** Another node has taken the run over, or it is gone with its configuration: nothing was written. */
export class RunLost extends Error {
  override readonly name = 'RunLost'
}

/** Somebody asked for the run to be cancelled: nothing was written. */
export class RunCancelled extends Error {
  override readonly name = 'RunCancelled'
}

/** An entity as it is staged: documents as JSON text, terms and keys as src/entities/terms.ts makes them. */
export interface StagedEntity {
  readonly kind: EntityKind
  readonly uid: string
  readonly entityId: string
  readonly attributes: string
  readonly activity: string
  readonly raw: string
  readonly terms: readonly string[]
  readonly keys: readonly string[]
  /** For people: user name, group's or device's name. */
  readonly label: string
  readonly memberCount?: number
  readonly membersTag?: string
}

export interface StagedPage {
  readonly entities: readonly StagedEntity[]
  readonly memberships: readonly Membership[]
  readonly facts: readonly Fact[]
  readonly activities: readonly {
    readonly kind: EntityKind
    readonly uid: string
    readonly activity: string
  }[]
  readonly removed: readonly { readonly kind: EntityKind; readonly uid: string }[]
  /** In increments: groups whose members this run reads anew, whole. Named before their members come. */
  readonly changedGroups: readonly { readonly uid: string; readonly memberCount?: number }[]
}

export interface StageCounts {
  readonly identities: number
  readonly groups: number
  readonly devices: number
}

export interface Stage {
  /** Whether nothing is staged: at the start, and after a crash of the database that took the pages with it. Progress then starts anew. */
  readonly isEmpty: boolean
  /**
   * Keeps pages and the progress that counts them, in one transaction: all of it or nothing.
   *
   * @throws RunLost, RunCancelled, DatabaseUnavailable
   */
  commit(
    pages: readonly StagedPage[],
    progress: object,
    totals: {
      readonly pages: number
      readonly seen: number
      readonly providerCalls: number
      readonly throttled: number
    },
  ): Promise<void>
  counts(): Promise<StageCounts>
  /** Requests that a walk takes in all, by what was staged: `calls(memberCount)` summed over its owners. */
  sumCalls(
    by: 'group' | 'identity',
    calls: (owner: { readonly memberCount?: number }) => number,
  ): Promise<number>
  /** Those whose members or groups a full run has to ask for, in the order of their ids. */
  owners(
    by: 'group' | 'identity',
    afterUid: string,
    limit: number,
  ): Promise<readonly { readonly uid: string; readonly memberCount?: number }[]>
  /** Groups whose members an increment has to read anew: named as changed, or with another `membersTag` than before. */
  changedGroups(
    afterUid: string,
    limit: number,
  ): Promise<readonly { readonly uid: string; readonly memberCount?: number }[]>
  /** Removes the tables. */
  drop(): Promise<void>
}

/** Opens the stage of a run, making its tables when it has none. */
export declare function openStage(database: Database, run: RunHandle): Promise<Stage>
