/** A process that runs the server on a database of its own with configurations to read. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultConfig } from '../src/config.ts'
import { type RunningService, startService } from '../src/service.ts'
import { createKey } from '../src/store/keys.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { answerQuestions } from './child.ts'

/** High enough to be out of the way: what is measured here is not the limiting. */
const unlimited = 1_000_000_000

export interface ReadsAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly ids: readonly string[]
  readonly organizationId: string
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly password: string
    readonly database: string
  }
}

const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
let service: RunningService | undefined

const answers = {
  /** Starts the server; its one organisation has so many configurations. */
  async start(count: number): Promise<ReadsAddress> {
    service = await startService({
      dataDir,
      config: {
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
      },
    })
    const { database, url } = service
    const keys = await createKey({ database, permissions: ['read-only'] })
    const { id: organizationId } = await database.query
      .selectFrom('organizations')
      .select('id')
      .executeTakeFirstOrThrow()
    const { rows } = await database.pool.query<{ id: string }>(
      `insert into integration_configs (organization_id, integration_type, domain, name, settings, state)
      select $1, 'OKTA', 'org-' || n || '.okta.com', 'Organisation ' || n, '{"region": "eu"}', 'valid'
      from generate_series(1, $2::integer) n returning id`,
      [organizationId, count],
    )
    await database.pool.query('analyze integration_configs')
    const { host = '', port = 0, user = '', password, database: name = '' } = database.connection
    return {
      url,
      headers: { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key },
      ids: rows.map(({ id }) => id),
      organizationId,
      connection: { host, port, user, password: String(password), database: name },
    }
  },
}
export type ReadsAnswers = typeof answers

answerQuestions(answers, async () => {
  await service?.close()
  await rm(dataDir, { recursive: true, force: true })
})
