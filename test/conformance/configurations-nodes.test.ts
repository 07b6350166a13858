/** Datadog's client keeps configurations on three `credence serve` processes that share a PostgreSQL, behind a balancer. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Agent, fetch } from 'undici'
import { startSandbox } from '../../sandbox/index.ts'
import { createOrganisation } from '../../sandbox/organisation.ts'
import { demoOrganization, writeOperatorFile } from '../../src/cli/demo-folder.ts'
import { generateVaultKey } from '../../src/vault/keys.ts'
import { freshDatabaseUrl } from '../fresh-database.ts'
import { startCommand } from '../running-command.ts'
import { type Balancer, startBalancer } from './balancer.ts'
import { createKeyPair } from './command-keys.ts'
import { describeConfigurations } from './configurations.ts'

let balancer: Balancer

describeConfigurations('three nodes behind a balancer', async (file) => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-configurations-'))
  file.after(() => rmSync(folder, { recursive: true, force: true }))
  const organisation = await createOrganisation({ users: 10, groups: 2, seed: 'nodes' })
  // Without TLS: the nodes trust the certificates of public authorities alone.
  const sandbox = await startSandbox({ providers: organisation.providers, tls: false })
  file.after(sandbox.close)
  const endpoints = join(folder, 'endpoints.json')
  writeFileSync(endpoints, JSON.stringify(sandbox.endpoints))
  const environment = {
    DATABASE_URL: await freshDatabaseUrl(file),
    CREDENCE_VAULT_KEY: generateVaultKey(),
    CREDENCE_ENDPOINTS: endpoints,
    CREDENCE_OPERATOR_FILE: await writeOperatorFile(folder, organisation),
    CREDENCE_LOG_LEVEL: 'warn',
  }
  const start = async () => {
    const command = startCommand(file, ['serve', '--port', '0', '--data-dir', folder, '--json'], environment)
    return Number(new URL(JSON.parse(await command.line()).url).port)
  }
  // Each request on a connection of its own, so that it goes to another node than the one before.
  const dispatcher = new Agent({ pipelining: 0 })
  file.after(() => dispatcher.close())
  const ports = await Promise.all([start(), start(), start()])
  balancer = await startBalancer(file, ports)
  const keys = (permissions: string, organization: string) =>
    createKeyPair(file, permissions, organization, [], environment)
  const both = 'integrations_read,manage_integrations'
  return {
    origin: `http://127.0.0.1:${balancer.port}`,
    fetch: ((url: string, init: object) =>
      fetch(url, { ...init, dispatcher })) as unknown as typeof globalThis.fetch,
    keys: await keys(both, demoOrganization),
    reader: await keys('integrations_read', demoOrganization),
    stranger: await keys(both, 'another'),
    examples: {
      okta: organisation.okta.sandbox.examples(),
      google_workspace: organisation.google.sandbox.examples(),
      entra_id: organisation.entra.sandbox.examples(),
    },
  }
})

// Last: otherwise one node could have answered everything above.
test('each node had its share', () => {
  for (const connections of balancer.given) assert.ok(connections > 20, balancer.given.join())
})
