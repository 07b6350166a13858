/** Who is in which group: by asking each group, or by asking each user. */
import type { Membership } from '../../entities/model.ts'
import type { Json, MembershipWalk, Page } from '../reading.ts'
import { askedOf, unexpected } from './answers.ts'
import { uidOf } from './normalise.ts'
import { readPageOrSmaller, withLimit } from './page-size.ts'
import { type ListPage, readPage } from './pages.ts'
import { mostMembersPerPage, type OktaReading } from './reading-session.ts'

/** The page size that Okta recommends for members. */
const recommendedMembersPerPage = 200

/**
 * Okta recommends pages of 200 and gives up to 1000, its default: five times fewer requests, of which only so many a
 * minute are allowed. An organisation whose users make such a page too large or too slow is asked for 200, as is one
 * that had another reason for a 500: that costs requests, and no member.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group/other/listgroupusers
 */
export const membersByGroup: MembershipWalk<OktaReading> = {
  by: 'group',
  calls: ({ memberCount = 0 }) => Math.max(1, Math.ceil(memberCount / mostMembersPerPage)),
  async read(session, group, cursor) {
    const begun = positionIn(cursor) ?? `/api/v1/groups/${encodeURIComponent(group)}/users`
    const at = withLimit(begun, session.membersPerPage)
    const request = {
      operation: 'read the members of a group',
      scope: 'okta.groups.read',
      target: at,
    } as const
    const page = await readPageOrSmaller(session, request, recommendedMembersPerPage, () => {
      session.membersPerPage = recommendedMembersPerPage
    })
    return membershipsOf(page, at, (member) => ({ group, member }))
  },
}

/**
 * No paging is documented for it; a next link is followed all the same.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/userresources/other/listusergroups
 */
export const groupsByUser: MembershipWalk<OktaReading> = {
  by: 'identity',
  calls: () => 1,
  async read(session, member, cursor) {
    const at = positionIn(cursor) ?? `/api/v1/users/${encodeURIComponent(member)}/groups`
    const page = await readPage(session, {
      operation: 'read the groups of a user',
      scope: 'okta.users.read',
      target: at,
    })
    return membershipsOf(page, at, (group) => ({ group, member }))
  },
}

function membershipsOf(page: ListPage, at: string, membershipOf: (uid: string) => Membership): Page {
  const memberships = page.records.map((record) => {
    const uid = uidOf(record)
    // A member without an id would be one that is not seen, and so lost.
    if (uid === undefined) throw unexpected('read memberships', askedOf(at))
    return membershipOf(uid)
  })
  return { memberships, ...(page.next !== undefined && { next: page.next }) }
}

const positionIn = (cursor: Json | undefined) => (typeof cursor === 'string' ? cursor : undefined)
