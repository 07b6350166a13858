/**
 * Who is in which group, by asking each group: one request, and more only for the largest. Graph tells no sizes in its
 * list of groups, and asking for a size costs as much as asking for the members. Asking each user (`memberOf`) would
 * leave out the groups and devices that are in groups.
 */
import type { Membership } from '../../entities/model.ts'
import type { MembershipWalk } from '../reading.ts'
import { objectsIn, type Place } from './graph-page.ts'
import { readListPage } from './list-page.ts'
import { largestPage } from './lists.ts'
import { permissions } from './permissions.ts'
import type { ReadingSession } from './reading-session.ts'
import { idOf } from './values.ts'

/** What a member may be that we know: contacts and service principals are left out. */
const memberTypes: ReadonlySet<unknown> = new Set([
  '#microsoft.graph.user',
  '#microsoft.graph.group',
  '#microsoft.graph.device',
  // Absent where all entries are of one kind.
  undefined,
])

export const isKnownMember = (member: Readonly<Record<string, unknown>>) =>
  memberTypes.has(member['@odata.type'])

/** @see https://learn.microsoft.com/graph/api/group-list-members */
const byGroup: MembershipWalk<ReadingSession> = {
  by: 'group',
  calls: ({ memberCount = 0 }) => Math.max(1, Math.ceil(memberCount / largestPage)),
  read(session, group, cursor) {
    const place: Place = {
      operation: 'read memberships',
      path: `/groups/${group}/members`,
      needs: [permissions.groups],
    }
    const first = `${place.path}?$top=${largestPage}&$select=id`
    return readListPage(session, place, first, cursor, (records) => ({
      memberships: objectsIn(records)
        .filter(isKnownMember)
        .flatMap(({ id }): Membership[] => {
          const member = idOf(id)
          return member === undefined ? [] : [{ group, member }]
        }),
    }))
  },
}

export const memberships: readonly MembershipWalk<ReadingSession>[] = [byGroup]
