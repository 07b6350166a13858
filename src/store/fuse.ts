/** When a run would remove too much at once for anybody to believe it. */
import { type EntityKind, entityKinds } from '../entities/model.ts'

/** Above both, removals need approval. */
export interface Fuse {
  /** Share of what there is of a kind, in percent. */
  readonly percent: number
  readonly atLeast: number
}

/** Why everything is held back. */
export interface Held {
  readonly kind: EntityKind | 'membership'
  readonly why: 'removals' | 'memberships' | 'empty_list'
  readonly count: number
  readonly of: number
}

/** What a run would do to a kind: `open` is what there was. */
export interface Losses {
  readonly seen: number
  readonly removed: number
  readonly open: number
  /** Whether its lists were read to their end. */
  readonly isComplete: boolean
}

export interface MembershipLosses {
  readonly told: number
  /** Of those that stay; whoever goes is counted with their kind. */
  readonly lost: number
  readonly before: number
  readonly isComplete: boolean
}

/** Empty when nothing holds the run back. */
export function heldBy(
  { percent, atLeast }: Fuse,
  kinds: Readonly<Record<EntityKind, Losses>>,
  memberships: MembershipLosses,
): Held[] {
  const isTooMuch = (lost: number, of: number) => lost >= atLeast && lost * 100 > percent * of
  const held: Held[] = []
  for (const kind of entityKinds) {
    const { seen, removed, open, isComplete } = kinds[kind]
    if (isComplete && seen === 0 && open > 0) held.push({ kind, why: 'empty_list', count: removed, of: open })
    else if (isTooMuch(removed, open)) held.push({ kind, why: 'removals', count: removed, of: open })
  }
  const { told, lost, before, isComplete } = memberships
  const loss = { kind: 'membership', count: lost, of: before } as const
  if (isComplete && told === 0 && lost > 0) held.push({ ...loss, why: 'empty_list' })
  else if (isTooMuch(lost, before)) held.push({ ...loss, why: 'memberships' })
  return held
}
