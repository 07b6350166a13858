/** Syncs for a server whose test is about something else: whatever is asked for, nobody works on it. */
import { createSync, type Sync, type SyncParts } from '../src/sync/sync.ts'

export const idleSync = (parts: Pick<SyncParts, 'database' | 'sources' | 'now'>): Sync =>
  createSync({
    ...parts,
    budgets: { standing: () => [] },
    accounts: { of: () => undefined },
    onWork: () => {},
  })
