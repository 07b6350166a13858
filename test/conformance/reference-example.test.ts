/** The reference's own example, run word for word by curl against `credence demo` as a process of its own. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { UnparsedObject } from '@datadog/datadog-api-client/dist/packages/datadog-api-client-common/util.js'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import { datadogClient, refusalOf, validate } from './datadog-client.ts'

/** @see https://docs.datadoghq.com/api/latest/security-monitoring/validate-entity-context-sync-credentials/ */
const example = `curl -X POST "https://api.datadoghq.com/api/v2/security_monitoring/configuration/integration_config/validate" \\
-H "Accept: application/json" \\
-H "Content-Type: application/json" \\
-H "DD-API-KEY: \${DD_API_KEY}" \\
-H "DD-APPLICATION-KEY: \${DD_APP_KEY}" \\
-d @- << EOF
{
  "data": {
    "attributes": {
      "domain": "siem-test.com",
      "integration_type": "GOOGLE_WORKSPACE",
      "secrets": {
        "admin_email": "test@example.com"
      }
    },
    "type": "integration_config"
  }
}
EOF`

interface Examples {
  readonly valid: ExampleAttributes
  readonly invalid: readonly { readonly title: string; readonly attributes: ExampleAttributes }[]
}
interface Demo {
  readonly url: string
  readonly api_key: string
  readonly application_key: string
  readonly examples: Readonly<Record<'google_workspace' | 'okta' | 'entra_id', Examples>>
}

let folder: string
let child: ChildProcess
let demo: Demo
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'credence-demo-'))
  child = spawn(
    process.execPath,
    ['src/cli/main.ts', 'demo', '--port', '0', '--json', '--data-dir', folder],
    {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, CREDENCE_LOG_LEVEL: 'error' },
    },
  )
  assert.ok(child.stdout)
  const [line] = await once(createInterface(child.stdout), 'line')
  demo = JSON.parse(line)
})
after(async () => {
  if (child.exitCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await rm(folder, { recursive: true, force: true })
})

const isCurlHere = spawnSync('curl', ['--version']).status === 0

test('the example of the reference, with nothing changed but the host, is answered 200', {
  skip: isCurlHere ? false : 'curl is not installed',
}, async () => {
  // What curl prints besides the body is its user's setting, so that the command itself stays as it is.
  await writeFile(join(folder, '.curlrc'), 'silent\nshow-error\nwrite-out = "%{http_code}"\n')
  const { stdout } = await promisify(execFile)(
    'sh',
    ['-c', example.replace('https://api.datadoghq.com', demo.url)],
    {
      env: {
        PATH: process.env.PATH,
        CURL_HOME: folder,
        DD_API_KEY: demo.api_key,
        DD_APP_KEY: demo.application_key,
      },
    },
  )
  assert.equal(stdout, '200')
})

describe("the demo's examples are what they are said to be", () => {
  const client = () =>
    datadogClient({
      origin: demo.url,
      keys: { apiKey: demo.api_key, applicationKey: demo.application_key },
    })
  for (const source of ['google_workspace', 'okta', 'entra_id'] as const) {
    test(source, async () => {
      const { valid, invalid } = demo.examples[source]
      await validate(client(), new UnparsedObject(valid))
      assert.ok(invalid.length >= 4)
      for (const { title, attributes } of invalid) {
        const { code } = await refusalOf(validate(client(), new UnparsedObject(attributes)))
        assert.equal(code, 400, title)
      }
    })
  }
})
