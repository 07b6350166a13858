/** How an Okta organisation is read. */
import { defineReader } from '../reading.ts'
import { readHost } from './domain.ts'
import { enrolledFactorList } from './enrolled-factors.ts'
import { changedDevices, changedGroups, changedUsers } from './increments.ts'
import { deviceList, groupList, userList } from './lists.ts'
import { groupsByUser, membersByGroup } from './memberships.ts'
import { ratesOf } from './rates.ts'
import { type OktaReading, openReading } from './reading-session.ts'
import { roleAssignmentList } from './role-assignments.ts'
import type { OktaCredentials } from './secrets.ts'
import { systemLog } from './system-log.ts'

export const createReader = (customDomains: readonly string[]) =>
  defineReader<OktaCredentials, OktaReading>({
    open: ({ domain, credentials }, tools) =>
      openReading(credentials, readHost(domain, customDomains), tools),
    lists: [userList, groupList, deviceList, roleAssignmentList, enrolledFactorList],
    memberships: [membersByGroup, groupsByUser],
    newcomers: groupsByUser,
    increments: [changedUsers, changedGroups, changedDevices, systemLog],
    rates: ratesOf(customDomains),
  })
