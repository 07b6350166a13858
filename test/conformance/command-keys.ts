/** Key pairs as an operator makes them: by the command, whether or not a server runs. */
import assert from 'node:assert/strict'
import { type Lasting, runCommand } from '../running-command.ts'
import type { KeyPair } from './server.ts'

export async function createKeyPair(
  test: Lasting,
  permissions: string,
  organization: string,
  options: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<KeyPair> {
  const { code, stdout, stderr } = await runCommand(
    test,
    [
      ...['keys', 'create', '--permissions', permissions, '--organization', organization, '--json'],
      ...options,
    ],
    environment,
  )
  assert.equal(code, 0, stderr)
  const { api_key, application_key } = JSON.parse(stdout)
  return { apiKey: api_key, applicationKey: application_key }
}
