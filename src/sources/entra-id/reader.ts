/** How Entra ID is read: the lists of a full run, who is in which group, and what changed since. */
import { defineReader } from '../reading.ts'
import { increments } from './delta.ts'
import { lists } from './lists.ts'
import { memberships } from './memberships.ts'
import { newcomers } from './newcomers.ts'
import { rates } from './rates.ts'
import { openReading, type ReadingSession } from './reading-session.ts'
import type { Credentials } from './secrets.ts'

export const reader = defineReader<Credentials, ReadingSession>({
  open: openReading,
  lists,
  memberships,
  newcomers,
  increments,
  rates,
})
