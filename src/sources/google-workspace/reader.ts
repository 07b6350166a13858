/**
 * How Google Workspace is read: users, groups and their members by the Directory API, roles and devices where their
 * scopes are delegated.
 */
import { defineReader } from '../reading.ts'
import { increments } from './increments.ts'
import { lists } from './lists.ts'
import { byGroup } from './memberships.ts'
import { newcomers } from './newcomers.ts'
import { rates } from './rates.ts'
import { type GoogleReading, openReading } from './reading-session.ts'
import type { GoogleCredentials } from './secrets.ts'

export const reader = defineReader<GoogleCredentials, GoogleReading>({
  open: openReading,
  lists,
  memberships: [byGroup],
  newcomers,
  increments,
  rates,
})
