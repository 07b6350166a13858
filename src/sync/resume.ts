/** Where a run begins: at the page where it stood, or anew where that cannot be gone on from. */
import type { ConfigRow } from '../store/configs.ts'
import { type ClaimedRun, turnIntoFull } from '../store/run-claims.ts'
import type { SyncMode } from '../store/schema.ts'
import { openStage, type Stage } from '../store/sync-stage.ts'
import { failureOf } from './failures.ts'
import type { RunParts } from './parts.ts'
import { newProgress, type Progress, readProgress } from './progress.ts'
import type { Totals } from './recorder.ts'
import type { AnyReader } from './session.ts'

export interface Beginning {
  readonly stage: Stage
  /** What to go on from. */
  readonly progress: Progress
  /** What is staged already. */
  readonly kept: Pick<Totals, 'pages' | 'seen'>
}

/** An increment needs marks of these credentials, of every list that it cannot do without. */
export async function modeOf(
  { database }: Pick<RunParts, 'database'>,
  run: ClaimedRun,
  { revision }: Pick<ConfigRow, 'revision'>,
  { increments }: Pick<AnyReader, 'increments'>,
): Promise<SyncMode> {
  const marks = run.marksRevision === revision ? (run.marks ?? {}) : {}
  const isMarked = ({ name }: { readonly name: string }) => marks[name] !== undefined
  if (run.mode === 'full') return 'full'
  if (increments.some(isMarked) && increments.every((list) => !list.required || isMarked(list)))
    return 'incremental'
  await turnIntoFull(database, run)
  return 'full'
}

/** Anew where what is staged is gone, or was read with other credentials. */
export async function beginRun(
  { database, now }: Pick<RunParts, 'database' | 'now'>,
  run: ClaimedRun,
  { revision }: Pick<ConfigRow, 'revision'>,
  mode: SyncMode,
): Promise<Beginning> {
  const stage = await openStage(database, run)
  const known = readProgress(run.progress)
  if (known?.revision === revision && known.mode === mode && !stage.isEmpty)
    return { stage, progress: known, kept: run }
  const starts = Number(run.progress.starts)
  const progress = newProgress({ mode, revision, beganAt: now().toISOString(), starts })
  const kept = { pages: 0, seen: 0 }
  if (stage.isEmpty) return { stage, progress, kept }
  await stage.drop()
  return { stage: await openStage(database, run), progress, kept }
}

/** What an approved run has read, as it was when it was quarantined. @throws SyncFailure when it is no longer so */
export async function readBefore(
  { database }: Pick<RunParts, 'database'>,
  run: ClaimedRun,
  { revision }: Pick<ConfigRow, 'revision'>,
): Promise<Progress> {
  const stage = await openStage(database, run)
  const known = readProgress(run.progress)
  if (known === undefined || stage.isEmpty) throw failureOf('sync_stage_lost')
  if (known.revision !== revision) throw failureOf('sync_approval_outdated')
  return known
}
