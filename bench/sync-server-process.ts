/** A process that runs the server with its embedded database and syncs one configuration. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import type { ExampleAttributes } from '../sandbox/provider.ts'
import { defaultConfig } from '../src/config.ts'
import { createOutbound } from '../src/outbound/outbound.ts'
import { type RunningService, startService } from '../src/service.ts'
import { createKey } from '../src/store/keys.ts'
import { generateVaultKey } from '../src/vault/keys.ts'
import { answerQuestions } from './child.ts'
import { firstSync, syncAgain } from './sync-client.ts'

const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
let service: RunningService | undefined
let headers: Readonly<Record<string, string>> = {}
let configId = ''

const address = () => ({ url: service?.url ?? '', headers })

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
  async firstSync({ attributes, settings }: { attributes: ExampleAttributes; settings: object }) {
    const first = await firstSync(address(), attributes, settings)
    configId = first.configId
    return first.run
  },
  sync: (mode: 'full' | 'incremental') => syncAgain(address(), configId, mode),
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
