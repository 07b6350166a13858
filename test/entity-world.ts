/** Entities with a history that a test makes up, written to the tables as merges leave them. */
import { createHash, randomUUID } from 'node:crypto'
import { type Entity, type EntityKind, entityId, kindNumbers } from '../src/entities/model.ts'
import { keysOf, labelOf, roleTerms, termPrefix, termsOf } from '../src/entities/terms.ts'
import type { Database } from '../src/store/database.ts'

export interface MadeConfig {
  readonly id: string
  readonly source: string
  readonly domain: string
}

export interface MadeRevision {
  readonly config: MadeConfig
  readonly entity: Entity
  /** Times of merges; without an end it is open. */
  readonly from: Date
  readonly to?: Date
  readonly lastSeen?: Date
  readonly roles?: readonly string[]
  readonly hasMfa?: boolean
  readonly groups?: readonly { readonly uid: string; readonly name: string }[]
}

export async function makeConfig(
  database: Database,
  organizationId: string,
  source = 'okta',
  domain = `${randomUUID()}.example`,
): Promise<MadeConfig> {
  const { rows } = await database.pool.query<{ id: string }>(
    `insert into integration_configs (organization_id, integration_type, domain, name, settings, state)
    values ($1, $2, $3, 'Made up', '{}', 'valid') returning id`,
    [organizationId, source.toUpperCase().replaceAll('-', '_'), domain],
  )
  return { id: rows[0]?.id ?? '', source, domain }
}

export const idOf = (organizationId: string, { config, entity }: Pick<MadeRevision, 'config' | 'entity'>) =>
  entityId(organizationId, config.id, entity.kind, entity.attributes.uid)

/** The terms of a revision, as the merge makes them, without what stands before each. */
export function termsOfRevision({ entity, config, roles = [], hasMfa, groups = [] }: MadeRevision): string[] {
  const own = entity.kind === 'identity' ? entity.attributes : undefined
  const mfa = hasMfa ?? own?.has_mfa
  return [
    ...termsOf(entity, config.source),
    ...groups.map(({ uid }) => `group:${uid}`),
    ...roles.flatMap(roleTerms),
    ...(own !== undefined && (own.is_privileged || roles.length > 0) ? ['privileged:true'] : []),
    ...(mfa === undefined ? [] : [`mfa:${mfa}`]),
    ...(entity.activity?.last_login_ip ? [`ip:${entity.activity.last_login_ip.toLowerCase()}`] : []),
  ]
}

const factsOf = ({ roles, hasMfa }: MadeRevision) =>
  roles === undefined && hasMfa === undefined
    ? '{}'
    : // As jsonb writes it.
      `{${[...(roles ? [`"roles": ${JSON.stringify(roles)}`] : []), ...(hasMfa === undefined ? [] : [`"has_mfa": ${hasMfa}`])].join(', ')}}`

/** Writes a history at once. `at` is the time of the organisation's last merge, `seen` of the last sighting. */
export async function writeHistory(
  database: Database,
  organizationId: string,
  revisions: readonly MadeRevision[],
  at: Date,
): Promise<void> {
  const times = [...new Set([...revisions.flatMap(({ from, to }) => [from, to ?? at]), at].map(Number))].sort(
    (a, b) => a - b,
  )
  const sequenceOf = (time: Date) => times.indexOf(time.getTime()) + 1
  const rows = revisions.map((revision) => {
    const { config, entity, from, to, lastSeen, groups = [] } = revision
    const facts = factsOf(revision)
    const documents = [
      JSON.stringify(entity.attributes),
      facts,
      JSON.stringify(groups),
      JSON.stringify(entity.raw ?? {}),
    ]
    const hex = createHash('md5').update(documents.join('\n')).digest('hex')
    return {
      kind: kindNumbers[entity.kind],
      entity_id: idOf(organizationId, revision),
      first_seen_at: from,
      ended_at: to ?? 'infinity',
      last_seen_at: to === undefined ? null : (lastSeen ?? from),
      config_id: config.id,
      opened_in: sequenceOf(from),
      closed_in: to === undefined ? null : sequenceOf(to),
      content_hash: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
      uid: entity.attributes.uid,
      label: labelOf(entity),
      attributes: documents[0],
      facts,
      group_uids: groups.map(({ uid }) => uid).sort(),
      groups: documents[2],
      activity: JSON.stringify(entity.activity ?? {}),
      raw: documents[3],
      terms: termsOfRevision(revision).map((term) => termPrefix(organizationId) + term),
      keys: keysOf(entity),
    }
  })
  await database.pool.query(
    `insert into entity_revisions (organization_id, kind, entity_id, first_seen_at, ended_at, last_seen_at, config_id,
      opened_in, closed_in, content_hash, uid, label, attributes, facts, group_uids, groups, activity, raw, terms)
    select $1, kind, entity_id, first_seen_at, ended_at, last_seen_at, config_id, opened_in, closed_in, content_hash, uid, label,
      attributes, facts, group_uids, groups, activity, raw, array_to_tsvector(terms)
    from json_to_recordset($2) as made (kind smallint, entity_id uuid, first_seen_at timestamptz, ended_at timestamptz,
      last_seen_at timestamptz, config_id uuid, opened_in bigint, closed_in bigint, content_hash uuid, uid text, label text,
      attributes text, facts text, group_uids text[], groups text, activity text, raw text, terms text[])`,
    [organizationId, JSON.stringify(rows)],
  )
  await database.pool.query(
    `insert into entity_keys (organization_id, key, kind, entity_id, config_id)
    select $1, key, kind, entity_id, config_id
    from json_to_recordset($2) as made (kind smallint, entity_id uuid, config_id uuid, keys text[]), unnest(keys) as key
    on conflict do nothing`,
    [organizationId, JSON.stringify(rows)],
  )
  await setClock(database, organizationId, times.length, at)
}

/** Counts what is open anew, and sets time and number of the last merge. */
export async function setClock(
  database: Database,
  organizationId: string,
  sequence: number,
  at: Date,
): Promise<void> {
  await database.pool.query(
    `insert into entity_clocks (organization_id, sequence, at) values ($1, $2, $3)
    on conflict (organization_id) do update set sequence = excluded.sequence, at = excluded.at`,
    [organizationId, sequence, at],
  )
  await database.pool.query(
    `insert into entity_sightings (config_id, kind, organization_id, seen_at, open_count)
    select config_id, kind, $1, $2, count(*) filter (where ended_at = 'infinity') from entity_revisions
    where organization_id = $1 group by config_id, kind
    on conflict (config_id, kind) do update set seen_at = excluded.seen_at, open_count = excluded.open_count`,
    [organizationId, at],
  )
}

export async function makeOrganization(database: Database): Promise<string> {
  const { rows } = await database.pool.query<{ id: string }>(
    'insert into organizations (name) values ($1) returning id',
    [`made-up-${randomUUID()}`],
  )
  return rows[0]?.id ?? ''
}

/** A person with what tests mostly tell apart. */
export const person = (
  uid: string,
  more: Partial<Extract<Entity, { kind: 'identity' }>['attributes']> = {},
  activity?: Entity['activity'],
): Extract<Entity, { kind: 'identity' }> => ({
  kind: 'identity',
  attributes: { uid, name: `${uid}@example.com`, status: 'active', ...more },
  ...(activity && { activity }),
})

export const entityType = (kind: EntityKind) => `siem_entity_${kind}`
