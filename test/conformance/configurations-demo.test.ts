/** Datadog's client keeps configurations on `credence demo`, a process of its own with its embedded PostgreSQL. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startCommand } from '../running-command.ts'
import { createKeyPair } from './command-keys.ts'
import { type ConfigurationsServer, describeConfigurations } from './configurations.ts'

interface Demo extends Pick<ConfigurationsServer, 'examples'> {
  readonly url: string
  readonly api_key: string
  readonly application_key: string
}

describeConfigurations('the demo', async (file) => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-configurations-'))
  file.after(() => rmSync(folder, { recursive: true, force: true }))
  const command = startCommand(file, ['demo', '--json', '--port', '0', '--data-dir', folder], {
    CREDENCE_LOG_LEVEL: 'error',
  })
  const { url, api_key, application_key, examples } = JSON.parse(await command.line()) as Demo
  const inFolder = ['--data-dir', folder]
  return {
    origin: url,
    keys: { apiKey: api_key, applicationKey: application_key },
    reader: await createKeyPair(file, 'integrations_read', 'default', inFolder),
    stranger: await createKeyPair(file, 'integrations_read,manage_integrations', 'another', inFolder),
    examples,
  }
})
