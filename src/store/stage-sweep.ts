/** Finds what runs have left behind: a node that dies after a run's end, or before a rejection is heard of, drops nothing. */
import { sql } from 'kysely'
import { type Database, inTransaction } from './database.ts'
import { dropStage } from './sync-stage.ts'

/** Drops the stages of runs that are over, or gone with their configuration; how many there were. */
export async function sweepStages(database: Pick<Database, 'query'>): Promise<number> {
  // Tables are looked for, not what is noted of them: a crash of the database empties that and leaves the tables.
  const { rows } = await sql<{ run_id: string }>`
    with staged as (
      select substring(tablename from '^entities_([0-9a-f]{32})$')::uuid as run_id
      from pg_tables where schemaname = 'sync_stage' and tablename ~ '^entities_[0-9a-f]{32}$'
    )
    select run_id from staged
    where not exists (
      select from sync_runs r
      where r.id = staged.run_id and r.status in ('queued', 'running', 'quarantined'))`.execute(
    database.query,
  )
  // None of these states is left again.
  for (const { run_id } of rows)
    await inTransaction(database, (transaction) => dropStage(transaction, run_id))
  return rows.length
}
