/** Lets a test go on when something has come to wait in the database, so that it need not guess how long that takes. */
import { sql } from 'kysely'
import type { Database } from '../src/store/database.ts'

/** Resolves when a statement in this database waits for a lock that another holds. */
export async function someoneWaits({ query }: Pick<Database, 'query'>): Promise<void> {
  for (;;) {
    const { rows } = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    `.execute(query)
    if (rows.length > 0) return
  }
}
