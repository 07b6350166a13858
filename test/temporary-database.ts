/** A database of its own for a test, on the PostgreSQL of this machine; dropped when the test ends. */
import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import pg from 'pg'
import { type Database, type DatabaseOptions, openDatabase } from '../src/store/database.ts'
import type { Lasting } from './running-command.ts'

const server = 'postgres://postgres@127.0.0.1:5432'

export interface TemporaryDatabase {
  readonly url: string
  /** Opens it; closed when the test ends. */
  open(options?: Partial<DatabaseOptions>): Promise<Database>
}

export async function temporaryDatabase(test: Lasting): Promise<TemporaryDatabase> {
  const name = `credence_test_${randomBytes(8).toString('hex')}`
  await onServer(`create database ${name}`)
  const opened: Database[] = []
  test.after(async () => {
    await Promise.all(opened.map((database) => database.close()))
    await onServer(`drop database ${name} with (force)`)
  })
  const url = `${server}/${name}`
  return {
    url,
    async open(options = {}) {
      const database = await openDatabase({ url, dataDirectory: '', ...options })
      opened.push(database)
      return database
    },
  }
}

/** Resolves when a statement in this database waits for a lock that another holds. */
export async function someoneWaits({ query }: Pick<Database, 'query'>): Promise<void> {
  for (;;) {
    const { rows } = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    `.execute(query)
    if (rows.length > 0) return
  }
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client(`${server}/postgres`)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
