/** When the entities of configurations were seen last, known for a second. */
import type { Kysely } from 'kysely'
import { momentText, rowsOf } from './entity-rows.ts'
import type { Schema } from './schema.ts'

/** Of a configuration and a kind, as `momentText`; undefined where it never was synchronised. */
export type SeenAt = (configId: string, kind: number) => string | undefined

export interface Sightings {
  of(organizationId: string): Promise<SeenAt>
}

/** Syncs are minutes apart, and reading this takes as long as reading an entity. */
const knownForMs = 1_000
const mostOrganizations = 1_000

export function createSightings(query: Kysely<Schema>): Sightings {
  const known = new Map<string, { readonly seen: Promise<SeenAt>; readonly untilMs: number }>()
  return {
    of(organizationId) {
      const nowMs = performance.now()
      const last = known.get(organizationId)
      if (last !== undefined && last.untilMs > nowMs) return last.seen
      const seen = readSightings(query, organizationId)
      // A failure is told to those who wait for it, and to nobody else.
      seen.catch(() => known.delete(organizationId))
      if (known.size >= mostOrganizations) known.clear()
      known.set(organizationId, { seen, untilMs: nowMs + knownForMs })
      return seen
    },
  }
}

async function readSightings(query: Kysely<Schema>, organizationId: string): Promise<SeenAt> {
  const rows = await rowsOf<{ readonly config_id: string; readonly kind: number; readonly seen_at: string }>(
    query,
    `select s.config_id, s.kind, ${momentText('s.seen_at')} as seen_at
    from integration_configs c join entity_sightings s on s.config_id = c.id where c.organization_id = $1`,
    [organizationId],
  )
  const times = new Map(rows.map(({ config_id, kind, seen_at }) => [`${config_id} ${kind}`, seen_at]))
  return (configId, kind) => times.get(`${configId} ${kind}`)
}
