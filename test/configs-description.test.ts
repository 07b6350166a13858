import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAcme } from './acme-source.ts'
import { configsPath, startConfigsServer } from './configs-server.ts'

test('the description names every operation of configurations as the clients do', async (t) => {
  const acme = createAcme()
  const server = await startConfigsServer(t, { outbound: acme.outbound, sources: [acme.source] })
  const client = await server.client()
  const up = configsPath.split('/').slice(1).map(() => '..').join('/')
  const { status, body } = await client.call('GET', `/${up}/openapi.json`)
  assert.equal(status, 200)
  console.error(JSON.stringify(Object.fromEntries(Object.entries(body.paths).filter(([p]) => p.includes('integration_config'))), null, 1).slice(0, 6000))
})
