/** What is told of a run besides its counts. */
import type { MergeResult } from '../store/merge.ts'
import type { RunError } from './failures.ts'
import type { ListProgress, Progress, Unreadable, WalkProgress } from './progress.ts'

export interface RunOutcome {
  /** Pages and rows read of each list. */
  readonly lists: Readonly<Record<string, Pick<ListProgress, 'pages' | 'seen'>>>
  /** What the run went without, and why. */
  readonly leftOut: readonly RunError[]
  readonly unreadable: { readonly count: number; readonly named: readonly Unreadable[] }
  /** How memberships were read: each group was asked for its members, or each user for their groups. */
  readonly memberships?: Pick<WalkProgress, 'by' | 'calls' | 'owners' | 'pages' | 'seen' | 'refused'>
}

export function outcomeOf({ lists, memberships, unmarked, unreadable }: Progress): RunOutcome {
  return {
    lists: Object.fromEntries(
      Object.entries(lists).map(([name, { pages, seen }]) => [name, { pages, seen }]),
    ),
    leftOut: [
      ...[...Object.values(lists), ...(memberships === undefined ? [] : [memberships])].flatMap(
        ({ error }) => error ?? [],
      ),
      ...unmarked,
    ],
    unreadable,
    ...(memberships !== undefined && { memberships: walkOf(memberships) }),
  }
}

const walkOf = ({
  by,
  calls,
  owners,
  pages,
  seen,
  refused,
}: WalkProgress): NonNullable<RunOutcome['memberships']> => ({ by, calls, owners, pages, seen, refused })

/** As a run's row keeps it. */
export function resultDocument(
  { memberships, ...outcome }: RunOutcome,
  merged?: MergeResult,
): Readonly<Record<string, unknown>> {
  return {
    ...outcome,
    memberships: { ...memberships, ...merged?.memberships },
    ...(merged !== undefined && {
      counts: merged.counts,
      held: merged.held,
      sample: merged.sample,
    }),
  }
}
