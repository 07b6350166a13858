import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { freshDatabase } from '../../test/fresh-database.ts'
import { connect, type Database, openDatabase } from './database.ts'
import { findById, findByKey, findByKeys } from './entity-keys.ts'
import { createSightings } from './sightings.ts'

const folder = await mkdtemp(join(tmpdir(), 'credence-prepared-'))
const open: Database[] = []
after(async () => {
  for (const database of open.reverse()) await database.close()
  await rm(folder, { recursive: true, force: true })
})

const organizationId = '11111111-1111-4111-8111-111111111111'
const configId = '22222222-2222-4222-8222-222222222222'
const idOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const at = '2026-11-24T09:00:00.000Z'
const span = { from: at, to: at }

/** People with an address each, one revision and enough of a document to fill a table. */
async function addPeople({ pool }: Database, count: number): Promise<void> {
  await pool.query('insert into organizations (id, name) values ($1, $2)', [organizationId, 'Large'])
  await pool.query(
    `insert into integration_configs (id, organization_id, integration_type, domain, name)
    values ($1, $2, 'OKTA', 'example.okta.com', 'Large')`,
    [configId, organizationId],
  )
  const id = `('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid`
  await pool.query(
    `insert into entity_revisions (organization_id, kind, entity_id, first_seen_at, config_id, opened_in, content_hash, uid,
      attributes, terms)
    select $1, 1, ${id}, '2026-01-01'::timestamptz + n * interval '1 minute', $2, n, ${id}, n::text, json_build_object('uid', n::text, 'name', repeat('x', 200)),
      array_to_tsvector(array['11111111:email:' || n || '@example.com'])
    from generate_series(1, $3::integer) as n`,
    [organizationId, configId, count],
  )
  await pool.query(
    `insert into entity_keys (organization_id, key, kind, entity_id, config_id)
    select $1, n || '@example.com', 1, ${id}, $2 from generate_series(1, $3::integer) as n`,
    [organizationId, configId, count],
  )
  await pool.query('analyze entity_revisions')
  await pool.query('analyze entity_keys')
}

/** Looks the same person up in each way, several times, and tells what was found by each. */
async function lookUp({ query }: Database, n: number): Promise<readonly (readonly string[])[]> {
  const key = `${n}@example.com`
  const terms = `'11111111:email:${key}'`
  const common = { organizationId, kind: 1, withRaw: false, limit: 10 }
  const found: string[][] = []
  // The planner makes up its mind about a statement at its sixth time.
  for (let time = 0; time < 7; time++) {
    const sightings = createSightings(query)
    const answers = [
      await findById(query, sightings, {
        organizationId,
        kinds: [1, 2, 3],
        id: idOf(n),
        span,
        withRaw: false,
      }),
      await findByKey(query, sightings, { ...common, key, terms, span }),
      await findByKeys(query, {
        ...common,
        keys: [key],
        plainTerms: "'11111111:email:%1$s'",
        terms: [null],
        at,
      }),
    ]
    found.push(...answers.map((rows) => rows.map(({ entity_id }) => entity_id)))
  }
  return found
}

const preparedIn = async ({ pool }: Database) =>
  (
    await pool.query<{ name: string; statement: string }>(
      'select name, statement from pg_prepared_statements',
    )
  ).rows

test('look-ups are prepared once there is much to look up, with plans that read no table from end to end', async () => {
  const before = await openDatabase({ dataDirectory: folder, poolSize: 1 })
  open.push(before)
  await lookUp(before, 4711)
  assert.deepEqual(await preparedIn(before), [])

  await addPeople(before, 15_000)
  const database = await connect({ dataDirectory: folder, poolSize: 1 })
  open.push(database)
  const found = await lookUp(database, 4711)
  assert.deepEqual(found, Array(21).fill([idOf(4711)]))
  assert.deepEqual(await lookUp(database, 15_001), Array(21).fill([]))

  const prepared = await preparedIn(database)
  assert.deepEqual(prepared.map(({ name }) => name).sort(), [
    'entities_by_key',
    'entities_by_keys',
    'entity_by_id',
  ])
  for (const { name, statement } of prepared) {
    const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(
      `explain (generic_plan) ${statement}`,
    )
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    assert.doesNotMatch(plan, /Seq Scan on entity_/, name)
    assert.match(plan, /Index Scan (?:Backward )?using entity_revisions_pkey/, name)
  }
})

test('nothing is prepared in the database of an operator, before which a pooler may stand', async (t) => {
  const database = await freshDatabase(t)
  await addPeople(database, 15_000)
  await lookUp(database, 4711)
  const clients = await Promise.all(Array.from({ length: 4 }, () => database.pool.connect()))
  for (const client of clients) {
    const { rows } = await client.query('select name from pg_prepared_statements')
    client.release()
    assert.deepEqual(rows, [])
  }
})
