/** A database of its own for each test. */
import { randomBytes } from 'node:crypto'
import { after } from 'node:test'
import { type Database, openDatabase } from '../src/store/database.ts'
import { addressOf, administer, findServer } from './postgres-server.ts'
import type { Lasting } from './running-command.ts'

export const server = await findServer()

/** What lasts until all tests of this file are over. */
const ends: (() => unknown)[] = []
const file: Lasting = { after: (end) => ends.push(end) }
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** Address of a new database with the tables of this release and no rows, which ends with the test, or with the file. */
export const freshDatabaseUrl = (test: Lasting = file) =>
  newDatabaseUrl(test, `template ${server.template} strategy file_copy`)

/** The same without tables, as an operator gives it to the first node. */
export const emptyDatabaseUrl = (test: Lasting = file) => newDatabaseUrl(test, '')

async function newDatabaseUrl(test: Lasting, how: string): Promise<string> {
  const name = `credence_test_${randomBytes(6).toString('hex')}`
  await administer(server.url, `create database ${name} ${how}`)
  test.after(() => administer(server.url, `drop database if exists ${name} with (force)`))
  return addressOf(server.url, name)
}

/** A new database with tables, opened. */
export async function freshDatabase(test: Lasting): Promise<Database & { readonly url: string }> {
  const url = await freshDatabaseUrl(test)
  return { ...(await openedDatabase(test, url)), url }
}

/** Another's database, opened for as long as the test takes. */
export async function openedDatabase(test: Lasting, url: string): Promise<Database> {
  const database = await openDatabase({ url, dataDirectory: '', poolSize: 4 })
  test.after(() => database.close())
  return database
}
