/** A process that runs the least server that reads an entity: a Fastify route, a pool, one read by primary key. */
import { fastify } from 'fastify'
import pg from 'pg'
import { answerQuestions } from './child.ts'
import type { LookupAddress } from './lookup-process.ts'

const text = `select entity_id, first_seen_at, last_seen_at, attributes from entity_revisions
  where organization_id = $1 and kind = 1 and entity_id = $2 and first_seen_at <= $3 and ended_at > $3`

const server = fastify()
let pool: pg.Pool | undefined

const answers = {
  start({ connection, organizationId }: Pick<LookupAddress, 'connection' | 'organizationId'>) {
    // As many connections as the server has.
    const own = new pg.Pool({ ...connection, max: 10 })
    pool = own
    server.get<{ Params: { id: string } }>('/entities/:id', async ({ params }) => {
      const { rows } = await own.query(text, [organizationId, params.id, new Date()])
      const revisions = rows.map(({ attributes, first_seen_at, last_seen_at }) => ({
        attributes: JSON.parse(attributes),
        first_seen_at,
        last_seen_at,
      }))
      return { data: { id: params.id, type: 'siem_entity_identity', attributes: { revisions } } }
    })
    return server.listen({ host: '127.0.0.1', port: 0 })
  },
}
export type BareLookupAnswers = typeof answers

answerQuestions(answers, async () => {
  await server.close()
  await pool?.end()
})
