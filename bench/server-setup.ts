/** The server as benchmarks set it up, and how others reach its database. */
import { type Config, defaultConfig } from '../src/config.ts'
import type { Database } from '../src/store/database.ts'
import type { Connection } from '../src/store/embedded-postgres.ts'
import { generateVaultKey } from '../src/vault/keys.ts'

/** High enough to be out of the way: what is measured is not the limiting. */
const unlimited = 1_000_000_000

/** With limits out of the way, no log, no syncs and a vault key of its own. */
export const unhindered = (): Config => ({
  ...defaultConfig,
  syncsAtOnce: 0,
  logLevel: 'silent',
  vaultKeys: { text: generateVaultKey() },
  limits: {
    validationsPerCaller: unlimited,
    requestsPerCaller: unlimited,
    validationsPerTarget: unlimited,
    unprovenAttempts: unlimited,
  },
})

export function connectionOf({ connection }: Pick<Database, 'connection'>): Connection {
  const { host = '', port = 0, user = '', password, database = '' } = connection
  return { host, port, user, password: String(password), database }
}
