/** The lists of a full run: users, groups, devices, and what else is told of them. */
import type { Fact } from '../../entities/model.ts'
import type { EntityList, Page } from '../reading.ts'
import { authenticationMethods } from './authentication-methods.ts'
import { objectsIn, type Place } from './graph-page.ts'
import { readListPage } from './list-page.ts'
import {
  deviceActivityProperty,
  deviceOf,
  deviceProperties,
  groupOf,
  groupProperties,
  identityOf,
  signInActivityOf,
  userProperties,
} from './normalise.ts'
import { permissions } from './permissions.ts'
import type { ReadingSession } from './reading-session.ts'
import { roleAssignments } from './role-assignments.ts'
import { sortOut } from './sorted-out.ts'
import { idOf } from './values.ts'

/** @see https://learn.microsoft.com/graph/api/user-list#optional-query-parameters */
export const largestPage = 999
/**
 * Largest page when a relationship is expanded, whatever `$top` says.
 *
 * @see https://developer.microsoft.com/graph/known-issues/?search=13635
 */
const expandedPage = 100
/**
 * Largest page of users with their sign-in activity. Microsoft has named 120 and 500; links are followed, so that
 * only the plan depends on it.
 *
 * @see https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/1898
 */
const signInPage = 120

const pagesOf = (count: number | undefined, size: number) =>
  count === undefined ? undefined : Math.max(1, Math.ceil(count / size))

export const users: Place = { operation: 'read users', path: '/users', needs: [permissions.users] }
export const groups: Place = { operation: 'read groups', path: '/groups', needs: [permissions.groups] }
export const devices: Place = { operation: 'read devices', path: '/devices', needs: [permissions.devices] }
const signIns: Place = {
  operation: 'read sign-in activity',
  path: '/users',
  needs: [permissions.users, permissions.auditLog],
}

/** `$select` and `$expand`, the same in full runs and when a changed object is read again: one content, one revision. */
export const userShape = `$select=${userProperties.join()}&$expand=manager($select=id)`
export const groupShape = `$select=${groupProperties.join()}`
export const deviceShape = `$select=${[...deviceProperties, deviceActivityProperty].join()}`
export const ownersShape = '$expand=registeredOwners'

const list = (
  described: Omit<EntityList<ReadingSession>, 'read'> & {
    readonly place: Place
    readonly query: string
    readonly turn: (records: readonly unknown[]) => Page
  },
): EntityList<ReadingSession> => {
  const { place, query, turn, ...rest } = described
  const first = `${place.path}?${query}`
  return {
    ...rest,
    read: (session, cursor) => readListPage(session, place, first, cursor, turn),
  }
}

export const lists: readonly EntityList<ReadingSession>[] = [
  list({
    name: 'users',
    title: 'Users',
    capability: 'users',
    required: true,
    kinds: ['identity'],
    place: users,
    query: `$top=${largestPage}&${userShape}`,
    calls: ({ identities }) => pagesOf(identities, expandedPage),
    turn: (records) => sortOut('identity', records, identityOf),
  }),
  list({
    name: 'groups',
    title: 'Groups',
    capability: 'groups',
    required: true,
    kinds: ['group'],
    place: groups,
    query: `$top=${largestPage}&${groupShape}`,
    calls: ({ groups: count }) => pagesOf(count, largestPage),
    turn: (records) => sortOut('group', records, groupOf),
  }),
  list({
    name: 'devices',
    title: 'Devices',
    capability: 'devices',
    required: false,
    kinds: ['device'],
    place: devices,
    query: `$top=${largestPage}&${deviceShape}`,
    calls: ({ devices: count }) => pagesOf(count, largestPage),
    turn: (records) => sortOut('device', records, deviceOf),
  }),
  list({
    name: 'device_owners',
    title: 'Owners of devices',
    capability: 'devices',
    required: false,
    facts: ['owners'],
    place: { ...devices, operation: 'read owners of devices' },
    query: `$top=${largestPage}&$select=id&${ownersShape}`,
    calls: ({ devices: count }) => pagesOf(count, expandedPage),
    turn: ownersIn,
  }),
  roleAssignments,
  authenticationMethods,
  list({
    name: 'sign_in_activity',
    title: 'Last sign-ins',
    capability: 'sign_in_activity',
    required: false,
    place: signIns,
    query: `$top=${signInPage}&$select=id,signInActivity`,
    calls: ({ identities }) => pagesOf(identities, signInPage),
    turn: (records) => ({
      activities: objectsIn(records).flatMap((record) => {
        const uid = idOf(record.id)
        const activity = signInActivityOf(record)
        return uid === undefined || activity === undefined
          ? []
          : [{ kind: 'identity' as const, uid, activity }]
      }),
    }),
  }),
]

export function ownersIn(records: readonly unknown[]): Pick<Page, 'facts'> {
  return { facts: objectsIn(records).flatMap(ownersOf) }
}

/** One device has one registered owner at most today. @see https://learn.microsoft.com/graph/api/resources/device#relationships */
function ownersOf({ id, registeredOwners }: Readonly<Record<string, unknown>>): Fact[] {
  const uid = idOf(id)
  if (uid === undefined || !Array.isArray(registeredOwners)) return []
  return objectsIn(registeredOwners).flatMap((owner): Fact[] => {
    const value = idOf(owner.id)
    return value === undefined ? [] : [{ kind: 'device', uid, name: 'owners', value }]
  })
}
