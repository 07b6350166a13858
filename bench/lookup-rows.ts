/** Made-up identities with a history, and their way into the tables. */
import pg from 'pg'
import type { Identity } from '../src/entities/model.ts'
import { entityId, kindNumbers } from '../src/entities/model.ts'
import { keysOf, termPrefix, termsOf } from '../src/entities/terms.ts'
import { arrayText, copyInto, copyRow, tsvectorText } from '../src/store/copy.ts'
import type { Database } from '../src/store/database.ts'

export const revisionsEach = 3
const day = 86_400_000

const givenNames = ['Ada', 'Grace', 'Alan', 'Edsger', 'Barbara', 'Donald', 'Radia', 'Leslie']
const departments = [
  'Sales',
  'Research',
  'Engineering',
  'Finance',
  'Legal',
  'Support',
  'Marketing',
  'Operations',
]
const titles = ['Engineer', 'Analyst', 'Manager', 'Director', 'Assistant']
const cities = ['Berlin', 'Paris', 'Madrid', 'Rome', 'Vienna']

/** Spreads what follows from a number over a list. */
const of = <T>(list: readonly T[], n: number): T => list[n % list.length] as T

export const emailOf = (n: number) => `person${n}@example.com`

function identity(n: number, revision: number): Identity {
  const given = of(givenNames, n)
  const surname = `Name${n % 50_000}`
  return {
    kind: 'identity',
    attributes: {
      uid: `00u${String(n).padStart(17, '0')}`,
      name: emailOf(n),
      email_addr: emailOf(n),
      email_addrs: [emailOf(n), `alias${n}@example.org`],
      full_name: `${given} ${surname}`,
      given_name: given,
      surname,
      status: 'active',
      job_title: `${of(['Junior', 'Senior', 'Principal'], revision)} ${of(titles, n)}`,
      department: of(departments, n + revision),
      cost_center: `CC-${n % 400}`,
      company: 'Example',
      manager: {
        uid: `00u${String(n % 1_000).padStart(17, '0')}`,
        name: `Ada Name${n % 1_000}`,
        email_addr: emailOf(n % 1_000),
      },
      employee_uid: String(100_000 + n),
      location: { city: of(cities, n), country: 'Germany' },
      created_time: '2020-01-01T00:00:00.000Z',
    },
    activity: {
      last_login_ip: `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`,
      last_login_time: '2026-01-01T08:00:00.000Z',
    },
  }
}

const hex = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`

interface Directory {
  readonly organizationId: string
  readonly configId: string
  readonly count: number
  /** Time of the last merge. */
  readonly at: Date
}

/** When each revision of an identity began: in the last week for one of a hundred, weeks before for the others. */
function beginnings(n: number, at: Date): readonly Date[] {
  const lastDays = n % 100 === 0 ? 1 + (n % 5) : 8 + (n % 50)
  return [120 + (n % 30), 70 + (n % 40), lastDays].map((days) => new Date(at.getTime() - days * day))
}

function* revisionRows({ organizationId, configId, count, at }: Directory): Generator<string> {
  const prefix = termPrefix(organizationId)
  for (let n = 0; n < count; n++) {
    const began = beginnings(n, at)
    const groups = Array.from({ length: 5 }, (_, k) => ({
      uid: `00g${(n * 7 + k * 991) % 5_000}`,
      name: `Group ${(n * 7 + k * 991) % 5_000}`,
    }))
    for (const [revision, from] of began.entries()) {
      const entity = identity(n, revision)
      const to = began[revision + 1]
      const terms = [
        ...termsOf(entity, 'okta'),
        ...groups.map(({ uid }) => `group:${uid}`),
        `mfa:${n % 2 === 0}`,
        `ip:${entity.activity?.last_login_ip}`,
      ]
      yield copyRow(
        organizationId,
        kindNumbers.identity,
        entityId(organizationId, configId, 'identity', entity.attributes.uid),
        from.toISOString(),
        to?.toISOString() ?? 'infinity',
        to === undefined ? null : new Date(to.getTime() - day / 24).toISOString(),
        configId,
        revision + 1,
        to === undefined ? null : revision + 2,
        hex(n * revisionsEach + revision),
        entity.attributes.uid,
        entity.attributes.name,
        JSON.stringify(entity.attributes),
        `{"has_mfa": ${n % 2 === 0}}`,
        arrayText(groups.map(({ uid }) => uid).sort()),
        JSON.stringify(groups),
        JSON.stringify(entity.activity),
        '{"locale":"de"}',
        tsvectorText(terms, prefix),
      )
    }
  }
}

function* keyRows({ organizationId, configId, count }: Directory): Generator<string> {
  for (let n = 0; n < count; n++) {
    const entity = identity(n, 0)
    const id = entityId(organizationId, configId, 'identity', entity.attributes.uid)
    for (const key of keysOf(entity)) yield copyRow(organizationId, key, kindNumbers.identity, id, configId)
  }
}

function* groupRows({ organizationId, configId, at }: Directory): Generator<string> {
  const prefix = termPrefix(organizationId)
  const from = new Date(at.getTime() - 150 * day).toISOString()
  for (let n = 0; n < 5_000; n++) {
    const attributes = { uid: `00g${n}`, name: `Group ${n}` }
    yield copyRow(
      organizationId,
      kindNumbers.group,
      entityId(organizationId, configId, 'group', attributes.uid),
      from,
      'infinity',
      null,
      configId,
      1,
      null,
      hex(2 ** 40 + n),
      attributes.uid,
      attributes.name,
      JSON.stringify(attributes),
      '{}',
      '{}',
      '[]',
      '{}',
      '{}',
      tsvectorText(termsOf({ kind: 'group', attributes }, 'okta'), prefix),
    )
  }
}

const columns =
  'organization_id, kind, entity_id, first_seen_at, ended_at, last_seen_at, config_id, opened_in, closed_in, content_hash, uid, label, attributes, facts, group_uids, groups, activity, raw, terms'

/** Loads by COPY, and builds the indexes afterwards. */
export async function loadDirectory(database: Database, directory: Directory): Promise<void> {
  const { organizationId, configId, count, at } = directory
  // Loading takes longer than the server lets any statement take.
  const { query_timeout: _, ...connection } = database.connection
  const client = new pg.Client(connection)
  await client.connect()
  const run = (text: string, values: unknown[] = []) => client.query(text, values)
  try {
    await run("set maintenance_work_mem = '1GB'")
    const { rows: indexes } = await client.query<{ indexdef: string; indexname: string }>(
      "select indexdef, indexname from pg_indexes where tablename in ('entity_revisions', 'entity_keys') and indexname not like '%_pkey'",
    )
    for (const { indexname } of indexes) await run(`drop index ${indexname}`)
    await copyInto(client, `entity_revisions (${columns})`, revisionRows(directory))
    await copyInto(client, `entity_revisions (${columns})`, groupRows(directory))
    // In the order of keys, as merges write them, which fills the pages of their index.
    await run('create temporary table loaded_keys (like entity_keys)')
    await copyInto(
      client,
      'loaded_keys (organization_id, key, kind, entity_id, config_id)',
      keyRows(directory),
    )
    await run('insert into entity_keys select * from loaded_keys order by key')
    for (const { indexdef } of indexes) await run(indexdef)
    await run('insert into entity_clocks (organization_id, sequence, at) values ($1, $2, $3)', [
      organizationId,
      revisionsEach,
      at,
    ])
    await run(
      'insert into entity_sightings (config_id, kind, organization_id, seen_at, open_count) values ($1, 1, $2, $3, $4), ($1, 2, $2, $3, 5000)',
      [configId, organizationId, at, count],
    )
    await run('vacuum (analyze) entity_revisions')
    await run('vacuum (analyze) entity_keys')
    await run('analyze')
  } finally {
    await client.end()
  }
}
