/** In which groups somebody is whom an increment meets for the first time. */
import type { Membership } from '../../entities/model.ts'
import type { MembershipWalk } from '../reading.ts'
import { objectsIn, type Place } from './graph-page.ts'
import { readListPage } from './list-page.ts'
import { largestPage } from './lists.ts'
import { permissions } from './permissions.ts'
import type { ReadingSession } from './reading-session.ts'
import { idOf } from './values.ts'

/**
 * Direct memberships. Beside groups, Graph tells of roles and administrative units, which are none.
 *
 * @see https://learn.microsoft.com/graph/api/user-list-memberof
 */
export const newcomers: MembershipWalk<ReadingSession> = {
  by: 'identity',
  calls: () => 1,
  read(session, member, cursor) {
    const place: Place = {
      operation: 'read memberships of a user',
      path: `/users/${member}/memberOf`,
      needs: [permissions.groups],
    }
    const first = `${place.path}?$top=${largestPage}&$select=id`
    return readListPage(session, place, first, cursor, (records) => ({
      memberships: objectsIn(records)
        .filter((record) => record['@odata.type'] === '#microsoft.graph.group')
        .flatMap(({ id }): Membership[] => {
          const group = idOf(id)
          return group === undefined ? [] : [{ group, member, change: 'added' }]
        }),
    }))
  },
}
