/** The database and the vault of commands that work on a data directory themselves, whether or not a server runs on it. */
import { readDatabaseUrl, readVaultKeySettings } from '../config.ts'
import { type Database, openDatabase } from '../store/database.ts'
import { openVault } from '../store/vault-keys.ts'
import { loadVaultKeys, VaultKeysError } from '../vault/keys.ts'
import type { Vault, VaultKey } from '../vault/vault.ts'
import { describeFailure } from './data-dir.ts'
import { CommandError, UsageError } from './exit-codes.ts'
import { describeStoreFailure } from './store-failure.ts'

/** These commands do one thing at a time. */
const poolSize = 2

/**
 * Opens the database, that of DATABASE_URL where it is set, for as long as `use` takes.
 *
 * @throws CommandError
 */
export async function withDatabase<T>(
  dataDirectory: string,
  use: (database: Database) => Promise<T>,
): Promise<T> {
  const url = readDatabaseUrl()
  try {
    const database = await openDatabase({ dataDirectory, poolSize, ...(url !== undefined && { url }) })
    try {
      return await use(database)
    } finally {
      await database.close()
    }
  } catch (error) {
    throw describeStoreFailure(error) ?? describeFailure(error, dataDirectory)
  }
}

/** @throws UsageError when the environment gives none that can be understood */
export async function configuredVaultKeys(): Promise<[VaultKey, ...VaultKey[]]> {
  try {
    return await loadVaultKeys(readVaultKeySettings())
  } catch (error) {
    if (error instanceof VaultKeysError) throw new UsageError(error.message)
    throw error
  }
}

/** @throws CommandError when the keys are not those of the database */
export async function openVaultOf(
  database: Database,
  keys: readonly [VaultKey, ...VaultKey[]],
): Promise<Vault> {
  try {
    return await openVault(database, keys)
  } catch (error) {
    if (error instanceof VaultKeysError) throw new CommandError(error.message)
    throw error
  }
}
