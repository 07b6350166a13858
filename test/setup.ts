/** Before all tests: a PostgreSQL for them, and a folder where processes keep what they have compiled, for the next one. */
import { join } from 'node:path'
import { startServerOfRun } from './postgres-server.ts'

let end: (() => Promise<void>) | undefined

export async function globalSetup(): Promise<void> {
  process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '..', 'node_modules', '.cache', 'compiled')
  end = await startServerOfRun()
}

export async function globalTeardown(): Promise<void> {
  await end?.()
}
