/** Who is in which group: read group by group. */
import type { Membership } from '../../entities/model.ts'
import type { MembershipWalk } from '../reading.ts'
import { idOf } from './normalise.ts'
import type { GoogleReading } from './reading-session.ts'

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/members/list */
const membersPerPage = 200

/**
 * Direct members, of whatever type: users, groups, and people of other organisations, whom nobody here knows. Left out
 * is the member `CUSTOMER`, which stands for everybody in the organisation: it is no membership of a person, and as
 * with members of nested groups, Google tells whom it comes to only where derived memberships are asked for.
 *
 * There is no walk by users (`groups?userKey=`): it tells nothing of groups within groups, so that these would come
 * and go with the walk that was taken, and it takes a request for every user.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/members#Member
 */
export const byGroup: MembershipWalk<GoogleReading> = {
  by: 'group',
  // Groups in the group are not counted in `memberCount`, so that a group of none is asked, too.
  calls: ({ memberCount = 0 }) => Math.max(1, Math.ceil(memberCount / membersPerPage)),
  async read(session, group, cursor) {
    const { items, next } = await session.page(
      {
        scope: 'memberships',
        operation: 'read members of a group',
        about: 'group',
        path: `groups/${encodeURIComponent(group)}/members`,
        query: { maxResults: String(membersPerPage) },
        kind: 'admin#directory#members',
        member: 'members',
        itemFields: 'id,type',
      },
      cursor,
    )
    const memberships = items.flatMap(({ id, type }): Membership[] => {
      const member = idOf(id)
      // Outsiders without a Google account have an address and no id.
      return member === undefined || type === 'CUSTOMER' ? [] : [{ group, member }]
    })
    return { memberships, records: items.length, ...(next !== undefined && { next }) }
  },
}
