/** Who came into a group and who left it, as delta queries tell. */
import type { Membership } from '../../entities/model.ts'
import type { Page } from '../reading.ts'
import { isObject } from './access.ts'
import type { GraphObject } from './client.ts'
import { objectsIn } from './graph-page.ts'
import { isKnownMember } from './memberships.ts'
import type { Told } from './round.ts'
import { hasTold } from './told-ids.ts'
import { idOf } from './values.ts'

type Change = NonNullable<Membership['change']>
/** What a page says of each member of a group. */
type Moves = ReadonlyMap<string, ReadonlySet<Change>>

export interface ChangedMembers {
  readonly page: Pick<Page, 'memberships' | 'changedGroups'>
  /** Groups with members who came, and with members who went. */
  readonly joined: readonly string[]
  readonly left: readonly string[]
}

/**
 * `members@delta` lists who came and who went. The members of these groups are read anew, whole:
 * - one that is told of without it: renamed, or restored with members that nobody tells of
 * - one of whose member both is said, on a page or, as it may be, on several: they come in any order
 * - one that the last round left open, whose members could not be asked for
 *
 * @param changed the delta's objects, of groups that are there
 * @param settled groups that were left open, and are there
 * @param before what former pages have told
 * @see https://learn.microsoft.com/graph/delta-query-groups
 */
export function membersIn(
  changed: readonly GraphObject[],
  settled: readonly string[],
  before: Pick<Told, 'joined' | 'left'>,
): ChangedMembers {
  const { moves, untold } = movesIn(changed)
  const renewed = new Set([...settled, ...untold])
  const joined: string[] = []
  const left: string[] = []
  for (const [group, members] of moves) {
    const changes = new Set([...members.values()].flatMap((said) => [...said]))
    if (changes.has('added')) joined.push(group)
    if (changes.has('removed')) left.push(group)
    const isUnclear =
      [...members.values()].some((said) => said.size > 1) ||
      (changes.has('removed') && hasTold(before.joined, group)) ||
      (changes.has('added') && hasTold(before.left, group))
    if (isUnclear) renewed.add(group)
  }
  const memberships = [...moves].flatMap(([group, members]) =>
    [...members].flatMap(([member, said]): Membership[] => {
      if (!renewed.has(group)) return [...said].map((change) => ({ group, member, change }))
      // Who is in the group is found when it is read. Who is not may have been told as added by a page before.
      const isGone = said.has('removed') && (said.size === 1 || hasTold(before.joined, group))
      return isGone ? [{ group, member, change: 'removed' }] : []
    }),
  )
  return {
    page: {
      ...(memberships.length > 0 && { memberships }),
      ...(renewed.size > 0 && { changedGroups: [...renewed].map((uid) => ({ uid })) }),
    },
    joined,
    left,
  }
}

/** @returns also the groups that were told of without members */
function movesIn(changed: readonly GraphObject[]): {
  readonly moves: ReadonlyMap<string, Moves>
  readonly untold: ReadonlySet<string>
} {
  const moves = new Map<string, Map<string, Set<Change>>>()
  const untold = new Set<string>()
  for (const object of changed) {
    const group = idOf(object.id)
    if (group === undefined) continue
    const told = object['members@delta']
    if (!Array.isArray(told)) {
      untold.add(group)
      continue
    }
    const members = moves.get(group) ?? new Map<string, Set<Change>>()
    moves.set(group, members)
    for (const member of objectsIn(told).filter(isKnownMember)) {
      const uid = idOf(member.id)
      if (uid === undefined) continue
      const change = isObject(member['@removed']) ? 'removed' : 'added'
      members.set(uid, (members.get(uid) ?? new Set()).add(change))
    }
  }
  return { moves, untold }
}
