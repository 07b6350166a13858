/** A process that runs the server on a database of its own with a million identities to look up. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CompiledQuery } from 'kysely'
import { differentEntities } from '../src/entities/differences.ts'
import { beforeAllChanges, changeLines, exportedLines } from '../src/entities/feeds.ts'
import { lookUpPrincipals } from '../src/entities/lookup.ts'
import { entityId } from '../src/entities/model.ts'
import { parseQuery } from '../src/entities/query-parser.ts'
import { recentEntities } from '../src/entities/recent.ts'
import { searchEntities } from '../src/entities/search.ts'
import { type RunningService, startService } from '../src/service.ts'
import type { Connection } from '../src/store/embedded-postgres.ts'
import { findById } from '../src/store/entity-keys.ts'
import { createKey } from '../src/store/keys.ts'
import { isPrepared } from '../src/store/prepared.ts'
import { createSightings } from '../src/store/sightings.ts'
import { createLog } from '../src/telemetry/log.ts'
import { answerQuestions } from './child.ts'
import { loadDirectory } from './lookup-rows.ts'
import { connectionOf, unhindered } from './server-setup.ts'

export interface LookupAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly organizationId: string
  readonly configId: string
  readonly connection: Connection
  readonly loadedInSeconds: number
}

/** A statement of a question, and what the planner would do. */
export interface Planned {
  readonly question: string
  /** Whole tables, or whole indexes, of entities that it reads from end to end. */
  readonly scans: readonly string[]
}

const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
let service: RunningService | undefined
let organizationId = ''
let configId = ''
/** How long each request was in the server, in milliseconds; as the log tells. */
let durations: number[] = []

const log = createLog('info', {
  write(line) {
    const [, ms] = /"duration_ms":([\d.]+)/.exec(line) ?? []
    if (ms !== undefined) durations.push(Number(ms))
  },
})

const answers = {
  /** Starts the server; its one organisation has so many identities. */
  async start(count: number): Promise<LookupAddress> {
    service = await startService({
      dataDir,
      log,
      config: unhindered(),
    })
    const { database, url } = service
    const keys = await createKey({ database, permissions: ['read-only'] })
    organizationId = (await database.query.selectFrom('organizations').select('id').executeTakeFirstOrThrow())
      .id
    const { rows } = await database.pool.query<{ id: string }>(
      `insert into integration_configs (organization_id, integration_type, domain, name, settings, state)
      values ($1, 'OKTA', 'example.okta.com', 'Example', '{}', 'valid') returning id`,
      [organizationId],
    )
    configId = rows[0]?.id ?? ''
    const began = performance.now()
    await loadDirectory(database, { organizationId, configId, count, at: new Date(Date.now() - 60_000) })
    return {
      url,
      headers: { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key },
      organizationId,
      configId,
      connection: connectionOf(database),
      loadedInSeconds: (performance.now() - began) / 1000,
    }
  },

  /** How long the requests since the last question were in the server. */
  takeDurations(): number[] {
    const taken = durations
    durations = []
    return taken
  },

  /** What the planner does with everything that is asked for entities. */
  async plans(): Promise<readonly Planned[]> {
    const { query } = (service as RunningService).database
    const planned: Planned[] = []
    for (const [question, ask] of Object.entries(questions)) {
      const scans = new Set<string>()
      const watched = new Proxy(query, {
        get: (target, name) =>
          name === 'executeQuery'
            ? async (statement: CompiledQuery) => {
                for (const explained of explanationsOf(statement)) {
                  const { rows } = await target.executeQuery<{ 'QUERY PLAN': readonly [{ Plan: PlanNode }] }>(
                    explained,
                  )
                  for (const scan of scansIn(rows[0]?.['QUERY PLAN'][0].Plan)) scans.add(scan)
                }
                return target.executeQuery(statement)
              }
            : Reflect.get(target, name),
      })
      await ask(watched)
      planned.push({ question, scans: [...scans] })
    }
    return planned
  },
}
export type LookupAnswers = typeof answers

/** Of a statement that is prepared the plan for whatever values, too. */
function explanationsOf(statement: CompiledQuery): readonly CompiledQuery[] {
  const explained = { ...statement, sql: `explain (format json) ${statement.sql}` }
  if (!isPrepared(statement.sql)) return [explained]
  const sql = `explain (format json, generic_plan) ${statement.sql}`
  return [explained, { ...statement, sql, parameters: [] }]
}

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Cond'?: string
  readonly 'Recheck Cond'?: string
  readonly Plans?: readonly PlanNode[]
}

const scansIn = (plan: PlanNode | undefined): readonly string[] => {
  if (plan === undefined) return []
  const relation = plan['Relation Name'] ?? ''
  const isOfEntities = relation === 'entity_revisions' || relation === 'entity_keys'
  const isScan =
    plan['Node Type'] === 'Seq Scan' ||
    (plan['Node Type'].startsWith('Index') && plan['Index Cond'] === undefined)
  return [
    ...(isOfEntities && isScan ? [`${plan['Node Type']} on ${relation}`] : []),
    ...(plan.Plans ?? []).flatMap(scansIn),
  ]
}

type Query = RunningService['database']['query']

const week = () => ({
  from: new Date(Date.now() - 7 * 86_400_000).toISOString(),
  to: new Date().toISOString(),
})
const at = (daysAgo: number) => new Date(Date.now() - daysAgo * 86_400_000).toISOString()

const search =
  (text: string, span = week()) =>
  async (query: Query) => {
    const tree = parseQuery(text)
    await searchEntities(query, createSightings(query), {
      organizationId,
      kind: 'identity',
      ...(tree && { tree }),
      span,
      limit: 100,
      withRaw: false,
    })
  }

const difference = (query: Query, from: number, to: number) =>
  differentEntities(
    query,
    { organizationId, kind: 1, span: { from: at(from), to: at(to) } },
    { alternatives: [{}], isIndexed: false },
    undefined,
    100,
  )

const questions: Readonly<Record<string, (query: Query) => Promise<unknown>>> = {
  'by e-mail address': search('person4711@example.com'),
  'by e-mail address at a moment': search('person4711@example.com', { from: at(40), to: at(40) }),
  'by id': search('id:00u00000000000004711'),
  'by a word': search('name4711'),
  'by a start': search('user:person4711*'),
  'by group': search('group:"group 17" department:sales'),
  'by address of the last sign-in': search('10.0.18.103'),
  'without a query': search(''),
  'without a query at a moment': search('', { from: at(2), to: at(2) }),
  'one entity': (query) =>
    findById(query, createSightings(query), {
      organizationId,
      kinds: [1, 2, 3],
      id: entityId(organizationId, configId, 'identity', '00u00000000000004711'),
      span: week(),
      withRaw: false,
    }),
  'recently updated': (query) =>
    recentEntities(query, {
      organizationId,
      kind: 'identity',
      span: week(),
      limit: 100,
      withRaw: false,
      revisions: 'all',
    }),
  'look-up of a thousand': (query) =>
    lookUpPrincipals(query, {
      organizationId,
      kind: 'identity',
      principals: Array.from({ length: 1_000 }, (_, n) => `person${n * 7}@example.com`),
      at: at(0),
      withRaw: false,
    }),
  'difference of a day': (query) => difference(query, 2.5, 1.5),
  'difference of a month': (query) => difference(query, 40, 10),
  'export, its first lines': async (query) =>
    exportedLines(
      query,
      { organizationId, kinds: ['identity'], format: 'credence', withRaw: false },
      { at: at(0), ms: Date.now() },
    ).next(),
  'changes, the first lines': async (query) =>
    changeLines(
      query,
      { organizationId, kinds: ['identity', 'group', 'device'], format: 'credence', withRaw: false },
      beforeAllChanges,
    ).next(),
}

answerQuestions(answers, async () => {
  await service?.close()
  await rm(dataDir, { recursive: true, force: true })
})
