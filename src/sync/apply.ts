/** Applies what a run has read, and ends the run with it. */
import type { Transaction } from 'kysely'
import { entityKinds } from '../entities/model.ts'
import { type Fuse, type MergeResult, merge, newRevisions } from '../store/merge.ts'
import { type ClaimedRun, endRun, type MergedRun, type Spent } from '../store/run-claims.ts'
import type { Schema } from '../store/schema.ts'
import { RunLost } from '../store/sync-stage.ts'
import { provedBy } from './completeness.ts'
import type { RunEnd, RunParts } from './parts.ts'
import type { Progress } from './progress.ts'
import { outcomeOf, resultDocument } from './result.ts'
import type { AnyReader } from './session.ts'

/** The configuration was changed since it was read: what was read is of other credentials. Nothing was applied. */
export class Outdated extends Error {
  override readonly name = 'Outdated'
}

export interface Reading {
  readonly reader: AnyReader
  readonly progress: Progress
  readonly spent: Spent
}

/**
 * @param settle in the same transaction
 * @returns how the run ended, and the runs that waited for approval and that it supersedes
 * @throws Outdated, RunLost, RunCancelled, StageLost, DatabaseUnavailable, and what `settle` throws
 */
export async function applyRun(
  { database, now }: Pick<RunParts, 'database' | 'now'>,
  run: ClaimedRun,
  { reader, progress, spent }: Reading,
  fuse: Fuse,
  settle: (transaction: Transaction<Schema>, end: RunEnd) => Promise<void>,
): Promise<{ readonly end: RunEnd; readonly superseded: readonly string[] }> {
  const outcome = outcomeOf(progress)
  const endOf = (merged: MergeResult): RunEnd => ({
    kind: merged.kind === 'merged' ? 'succeeded' : merged.kind,
    merge: merged,
    outcome,
  })
  let superseded: readonly string[] = []
  const result = await merge(database, {
    run,
    mode: progress.mode,
    ...provedBy(reader, progress),
    fuse: run.approvedBy === undefined ? fuse : 'approved',
    now: now(),
    isDryRun: run.isDryRun,
    async finish(transaction, merged) {
      await refuseOutdated(transaction, run.configId, progress.revision)
      superseded = await endRun(transaction, run, {
        status: merged.kind === 'quarantined' ? 'quarantined' : 'succeeded',
        at: merged.kind === 'merged' ? merged.at : now(),
        result: resultDocument(outcome, merged),
        ...sumsOf(merged),
        ...spent,
        ...(merged.kind === 'merged' && { knowledge: knowledgeOf(run, progress, merged.at) }),
      })
      await settle(transaction, endOf(merged))
    },
  })
  return { end: endOf(result), superseded }
}

async function refuseOutdated(
  transaction: Transaction<Schema>,
  configId: string,
  revision: number,
): Promise<void> {
  const config = await transaction
    .selectFrom('integration_configs')
    .select('revision')
    .where('id', '=', configId)
    .executeTakeFirst()
  if (config === undefined) throw new RunLost()
  if (config.revision !== revision) throw new Outdated()
}

const knowledgeOf = (
  run: ClaimedRun,
  { mode, marks, revision, beganAt }: Progress,
  at: Date,
): NonNullable<MergedRun['knowledge']> => ({
  ...(mode === 'full' && { completeAt: at }),
  // A list that an increment left out goes on from where it stood.
  marks: mode === 'full' ? marks : { ...run.marks, ...marks },
  marksRevision: revision,
  readSince: new Date(beganAt),
})

function sumsOf(merged: MergeResult): { readonly changed: number; readonly removed: number } {
  if (merged.kind === 'quarantined') return { changed: 0, removed: 0 }
  return {
    changed: newRevisions(merged),
    removed: entityKinds.reduce((total, kind) => total + merged.counts[kind].removed, 0),
  }
}
