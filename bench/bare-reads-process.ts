/** A process that runs the least server that reads configurations: a Fastify route, a pool, the same SQL, the same document. */
import { fastify } from 'fastify'
import pg from 'pg'
import { createSources } from '../src/sources/registry.ts'
import { answerQuestions } from './child.ts'
import type { ReadsAddress } from './reads-process.ts'

/** As `configsIn` of src/store/configs.ts has it. */
const columns = [
  'id',
  'organization_id',
  'integration_type',
  'domain',
  'instance',
  'name',
  'enabled',
  'settings',
  'state',
  'revision',
  'created_at',
  'modified_at',
  'validated_at',
  'next_validation_at',
  'credentials_expire_at',
]
  .map((name) => `"${name}"`)
  .join(', ')
const own = `select ${columns} from "integration_configs" where "organization_id" = $1`
const types = createSources().map(({ integrationType }) => integrationType)
const listed = types.map((_, at) => `$${at + 2}`).join(', ')
const listText = `${own} and "integration_type" in (${listed}) order by "created_at", "id"`
const getText = `${own} and "id" = $2`

const documentOf = (row: Record<string, unknown>) => ({
  id: row.id,
  type: 'integration_config',
  attributes: {
    created_at: row.created_at,
    domain: row.domain,
    enabled: row.enabled,
    integration_type: row.integration_type,
    modified_at: row.modified_at,
    name: row.name,
    settings: row.settings,
    state: row.state,
  },
})

const server = fastify()
let pool: pg.Pool | undefined

const answers = {
  start({ connection, organizationId }: Pick<ReadsAddress, 'connection' | 'organizationId'>) {
    // As many connections as the server has.
    const own = new pg.Pool({ ...connection, max: 10 })
    pool = own
    server.get('/configs', async () => {
      const { rows } = await own.query(listText, [organizationId, ...types])
      return { data: rows.map(documentOf) }
    })
    server.get<{ Params: { id: string } }>('/configs/:id', async ({ params }) => {
      const { rows } = await own.query(getText, [organizationId, params.id])
      return { data: documentOf(rows[0]) }
    })
    return server.listen({ host: '127.0.0.1', port: 0 })
  },
}
export type BareReadsAnswers = typeof answers

answerQuestions(answers, async () => {
  await server.close()
  await pool?.end()
})
