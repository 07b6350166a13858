/** In which groups somebody is whom an increment meets for the first time. */
import type { Membership } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { MembershipWalk } from '../reading.ts'
import { mayConcernOneObject } from './diagnosis.ts'
import { groupsPerPage } from './lists.ts'
import { idOf } from './normalise.ts'
import type { GoogleReading } from './reading-session.ts'

/**
 * A request for the groups of the user, and one for each of them: whether the list holds groups that a user is in
 * through others only, Google does not say, and a member's record is of direct members alone.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups/list `userKey`
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/members/get
 */
export const newcomers: MembershipWalk<GoogleReading> = {
  by: 'identity',
  calls: () => 1,
  async read(session, member, cursor) {
    const { items, next } = await session.page(
      {
        scope: 'groups',
        operation: 'read the groups of a user',
        about: 'group',
        path: 'groups',
        query: { userKey: member, maxResults: String(groupsPerPage) },
        kind: 'admin#directory#groups',
        member: 'groups',
        itemFields: 'id',
      },
      cursor,
    )
    const groups = items.flatMap(({ id }) => idOf(id) ?? [])
    const memberships: Membership[] = []
    const changedGroups: { readonly uid: string }[] = []
    for (const group of groups) {
      const answer = await askWhetherMember(session, group, member)
      if (answer === 'member') memberships.push({ group, member, change: 'added' })
      // Refused as a whole, it is asked again by every increment until it tells.
      if (answer === 'refused') changedGroups.push({ uid: group })
    }
    return { memberships, changedGroups, records: items.length, ...(next !== undefined && { next }) }
  },
}

async function askWhetherMember(
  session: GoogleReading,
  group: string,
  member: string,
): Promise<'member' | 'none' | 'refused'> {
  try {
    const { id } = await session.read('memberships', {
      operation: 'read a member of a group',
      about: 'group',
      path: `groups/${encodeURIComponent(group)}/members/${encodeURIComponent(member)}`,
      query: { fields: 'id' },
    })
    return id === member ? 'member' : 'none'
  } catch (error) {
    if (!(error instanceof SourceError) || error.code !== 'refused') throw error
    if (error.status === 404) return 'none'
    if (mayConcernOneObject(error)) return 'refused'
    throw error
  }
}
