/** A process that runs the server with its embedded database and syncs one configuration. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { sql } from 'kysely'
import { request } from 'undici'
import { z } from 'zod'
import type { ExampleAttributes } from '../sandbox/provider.ts'
import { defaultConfig } from '../src/config.ts'
import { createOutbound } from '../src/outbound/outbound.ts'
import { type RunningService, startService } from '../src/service.ts'
import { createKey } from '../src/store/keys.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { answerQuestions } from './child.ts'

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'
const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
let service: RunningService | undefined
let headers: Readonly<Record<string, string>> = {}
let configId = ''

const created = z.object({ data: z.object({ id: z.string() }) })
const runSchema = z.object({
  id: z.string(),
  attributes: z.looseObject({
    status: z.string(),
    mode: z.string(),
    pages: z.number(),
    seen: z.number(),
    changed: z.number(),
    removed: z.number(),
    provider_calls: z.number(),
    throttled: z.number(),
    started_at: z.string().optional(),
    ended_at: z.string().optional(),
  }),
})
const runsSchema = z.object({ data: z.array(runSchema) })
const oneRunSchema = z.object({ data: runSchema })

async function ask(method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> {
  const answer = await request(`${service?.url}${path}`, {
    method,
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.body.text()
  if (answer.statusCode !== 200)
    throw new Error(`${method} ${path} was answered ${answer.statusCode} ${text}`)
  return JSON.parse(text)
}

export interface EndedRun {
  readonly status: string
  readonly mode: string
  readonly ms: number
  readonly pages: number
  readonly seen: number
  readonly changed: number
  readonly removed: number
  readonly providerCalls: number
  readonly throttled: number
}

const isActive = ({ attributes: { status } }: z.infer<typeof runSchema>) =>
  status === 'queued' || status === 'running'

/** Waits for the end of the newest run. */
async function ended(): Promise<EndedRun> {
  for (;;) {
    const [run] = runsSchema.parse(await ask('GET', `/api/v2/credence/sync/${configId}/runs`)).data
    if (run !== undefined && !isActive(run)) {
      const { started_at = '', ended_at = '', provider_calls, ...counts } = run.attributes
      return {
        status: counts.status,
        mode: counts.mode,
        ms: Date.parse(ended_at) - Date.parse(started_at),
        pages: counts.pages,
        seen: counts.seen,
        changed: counts.changed,
        removed: counts.removed,
        throttled: counts.throttled,
        providerCalls: provider_calls,
      }
    }
    await wait(100)
  }
}

const answers = {
  async start({
    endpoints: addresses,
    authority,
  }: {
    endpoints: Readonly<Record<string, string>>
    authority: string
  }) {
    const endpoints = new Map(Object.entries(addresses).map(([host, origin]) => [host, new URL(origin)]))
    service = await startService({
      dataDir,
      config: { ...defaultConfig, logLevel: 'silent', vaultKeys: { text: generateVaultKey() }, endpoints },
      outbound: createOutbound({ endpoints, endpointAuthorities: authority === '' ? [] : [authority] }),
    })
    const keys = await createKey({
      database: service.database,
      permissions: ['integrations_read', 'manage_integrations', 'siem_entities_read'],
    })
    headers = { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key }
  },
  /** Makes the configuration, and waits for the first run, which begins by itself. */
  async firstSync({ attributes, settings }: { attributes: ExampleAttributes; settings: object }) {
    const made = await ask('POST', configsPath, {
      data: {
        type: 'integration_config',
        attributes: { ...attributes, name: 'bench', settings: { sync: settings } },
      },
    })
    configId = created.parse(made).data.id
    return ended()
  },
  async sync(mode: 'full' | 'incremental') {
    const run = await ask('POST', `/api/v2/credence/sync/${configId}/runs`, {
      data: { type: 'sync_run', attributes: { mode } },
    })
    oneRunSchema.parse(run)
    return ended()
  },
  async revisions() {
    if (service === undefined) throw new Error('not started')
    const { rows } = await sql<{ count: number }>`select count(*) as count from entity_revisions`.execute(
      service.database.query,
    )
    return rows[0]?.count ?? 0
  },
  /** Most memory that was ever resident, in MiB. */
  peakMemory: () => process.resourceUsage().maxRSS / 1024,
  cpuMs: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
}
export type SyncServerAnswers = typeof answers

answerQuestions(answers, async () => {
  await service?.close()
  await rm(dataDir, { recursive: true, force: true })
})
