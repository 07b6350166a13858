/** A process that runs the server on a database of its own with configurations to read. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningService, startService } from '../src/service.ts'
import type { Connection } from '../src/store/embedded-postgres.ts'
import { createKey } from '../src/store/keys.ts'
import { answerQuestions } from './child.ts'
import { connectionOf, unhindered } from './server-setup.ts'

export interface ReadsAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly ids: readonly string[]
  readonly organizationId: string
  readonly connection: Connection
}

const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
let service: RunningService | undefined

const answers = {
  /** Starts the server; its one organisation has so many configurations. */
  async start(count: number): Promise<ReadsAddress> {
    service = await startService({
      dataDir,
      config: unhindered(),
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
    return {
      url,
      headers: { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key },
      ids: rows.map(({ id }) => id),
      organizationId,
      connection: connectionOf(database),
    }
  },
}
export type ReadsAnswers = typeof answers

answerQuestions(answers, async () => {
  await service?.close()
  await rm(dataDir, { recursive: true, force: true })
})
