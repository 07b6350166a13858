/** What is said when the database, the vault or the keys refuse: one line each, status 1. */
import { DatabaseUnavailable, isUnavailable, unavailable } from '../store/database.ts'
import { EmbeddedPostgresError } from '../store/embedded-postgres.ts'
import { KeysError } from '../store/keys.ts'
import { OrganizationError } from '../store/organizations.ts'
import { VaultKeysError } from '../vault/keys.ts'
import { CommandError } from './exit-codes.ts'

const kinds = [
  DatabaseUnavailable,
  EmbeddedPostgresError,
  KeysError,
  OrganizationError,
  VaultKeysError,
] as const

/** What they say of themselves; undefined for any other error. */
export function describeStoreFailure(error: unknown): CommandError | undefined {
  for (const kind of kinds) if (error instanceof kind) return new CommandError(error.message)
  return isUnavailable(error) ? new CommandError(unavailable(error).message) : undefined
}
