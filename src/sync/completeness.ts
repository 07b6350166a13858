/** What a run has proved: of what everything was told, so that what was not told is gone. */
import { type EntityKind, entityKinds, type FactName, factNames } from '../entities/model.ts'
import type { EntityList, EntityReader } from '../sources/reading.ts'
import type { Merge } from '../store/merge.ts'
import type { Progress } from './progress.ts'

export type Proved = Pick<Merge, 'completeKinds' | 'provenKinds' | 'areMembershipsComplete' | 'completeFacts'>

export const provedBy = (
  reader: Pick<EntityReader<unknown, unknown>, 'lists' | 'memberships' | 'increments'>,
  progress: Progress,
): Proved => (progress.mode === 'full' ? provedByFull(reader, progress) : provedByIncrement(reader, progress))

function provedByFull(
  { lists, memberships: walks }: Pick<EntityReader<unknown, unknown>, 'lists' | 'memberships'>,
  { lists: read, memberships: walk, unnamedKinds }: Progress,
): Proved {
  const hasEnded = ({ name }: { readonly name: string }) => read[name]?.state === 'ended'
  /** Ended, and every record of it understood. */
  const isWhole = (list: { readonly name: string }) => hasEnded(list) && read[list.name]?.unreadable === 0
  const listsOf = (kind: EntityKind) => lists.filter(({ kinds }) => kinds?.includes(kind))
  /** Some of them, and each as asked. */
  const all = <T>(items: readonly T[], is: (item: T) => boolean) => items.length > 0 && items.every(is)

  const completeKinds = entityKinds.filter(
    (kind) => all(listsOf(kind), hasEnded) && !unnamedKinds.includes(kind),
  )
  /** Nobody asked for it: what it told once is known no longer. */
  const isUnwanted = ({ name, isOnRequest }: EntityList<unknown>) =>
    isOnRequest === true && read[name] === undefined
  const completeFacts: FactName[] = factNames.filter((name) =>
    all(
      lists.filter(({ facts }) => facts?.includes(name)),
      (list) => isWhole(list) || isUnwanted(list),
    ),
  )
  const isWalkWhole =
    walk?.isEnded === true &&
    // Those who could not be listed could not be asked for.
    (walk.by === 'group'
      ? // Groups that are known by name only, and those that told not all, keep their members one by one.
        all(listsOf(walk.by), hasEnded) && !unnamedKinds.includes(walk.by)
      : walk.refused === 0 && walk.gone === 0 && walk.unreadable === 0 && all(listsOf(walk.by), isWhole))
  const areListsWhole = all(
    lists.filter(({ capability }) => capability === 'memberships'),
    isWhole,
  )
  return {
    completeKinds,
    provenKinds: completeKinds,
    areMembershipsComplete: walks.length > 0 ? isWalkWhole : areListsWhole,
    completeFacts,
  }
}

function provedByIncrement(
  { increments }: Pick<EntityReader<unknown, unknown>, 'increments'>,
  { lists: read, memberships: walk }: Progress,
): Proved {
  // Whoever may be a member of a group that was not told whole may be in other groups than is known.
  const areMembersTold = walk === undefined || (walk.refused === 0 && walk.unreadable === 0)
  const areWhole = (lists: readonly { readonly name: string }[]) =>
    lists.length > 0 &&
    lists.every(({ name }) => read[name]?.state === 'ended' && read[name].unreadable === 0)
  return {
    completeKinds: [],
    provenKinds: entityKinds.filter(
      (kind) => areMembersTold && areWhole(increments.filter(({ kinds }) => kinds.includes(kind))),
    ),
    areMembershipsComplete: false,
    completeFacts: factNames.filter((name) =>
      areWhole(increments.filter(({ facts }) => facts?.includes(name))),
    ),
  }
}
