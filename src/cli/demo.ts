/** `credence demo`: the server and the sandboxes in one process, with keys and examples, until a signal ends it. */
import { join } from 'node:path'
import type { Command } from 'commander'
import type { LivingDirectory } from '../../sandbox/living-directory.ts'
import type { Organisation } from '../../sandbox/organisation.ts'
import { ConfigError, readConfig, variable } from '../config.ts'
import { createOutbound } from '../outbound/outbound.ts'
import { dataDirOption, describeFailure } from './data-dir.ts'
import {
  type DemoKeys,
  demoKeys,
  demoVaultKeyFile,
  type ExampleFile,
  writeExamples,
  writeOperatorFile,
  writePrivately,
} from './demo-folder.ts'
import { curlConfigOf, showDemo } from './demo-guide.ts'
import { createDemoClock, type DemoClock } from './demo-history.ts'
import { CommandError } from './exit-codes.ts'
import { describeListening, port } from './serve-command.ts'
import { stopSignal } from './stop-signal.ts'
import { jsonLine, styleOf, write } from './terminal.ts'

interface DemoOptions {
  readonly port: number
  readonly dataDir: string
  readonly json?: boolean
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('run the server against stand-ins of the providers, with keys and examples to try')
    .option('--port <number>', 'port of the server; 0 picks a free one', port, 8080)
    .addOption(dataDirOption().default('.credence/demo'))
    .option('--json', 'print server, keys and examples as one JSON object')
    .action(run)
}

async function run(options: DemoOptions): Promise<void> {
  const stopped = stopSignal()
  const demo = await start(options)
  try {
    const curlConfig = join(options.dataDir, 'curl.conf')
    await writePrivately(curlConfig, curlConfigOf(demo))
    if (options.json) await write(process.stdout, jsonLine(asDocument(demo)))
    else await showDemo({ ...demo, curlConfig, dataDir: options.dataDir }, styleOf(process.stdout))
    await stopped
  } finally {
    await demo.close()
  }
}

interface Demo {
  readonly url: string
  readonly keys: DemoKeys
  readonly examples: readonly ExampleFile[]
  readonly vaultKeyFile: string
  readonly clock: DemoClock
  /** Of the Okta organisation. */
  readonly directory: LivingDirectory
  close(): Promise<void>
}

async function start({ port, dataDir, json }: DemoOptions): Promise<Demo> {
  // Slow to load, and needed by no other command.
  const { startSandbox } = await import('../../sandbox/index.ts')
  const { createOrganisation } = await import('../../sandbox/organisation.ts')
  const { KeyFileError, storedKeys } = await import('../../sandbox/keys.ts')
  const { startService } = await import('../service.ts')
  const { describeStoreFailure } = await import('./store-failure.ts')
  const clock = createDemoClock()
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one()
  }
  try {
    const settings = readConfig()
    const organisation = await createOrganisation({
      users: 250,
      groups: 25,
      seed: 'demo',
      keys: storedKeys(join(dataDir, 'sandbox', 'keys')),
    })
    const sandbox = await startSandbox({
      providers: organisation.providers,
      directory: join(dataDir, 'sandbox'),
      now: clock.now,
    })
    closers.push(sandbox.close)
    const endpoints = new Map(
      Object.entries(sandbox.endpoints).map(([host, origin]) => [host, new URL(origin)]),
    )
    const vaultKeyFile = await demoVaultKeyFile(dataDir)
    const config = {
      ...settings,
      // Everything that the demo has is in its folder.
      databaseUrl: undefined,
      vaultKeys: { file: vaultKeyFile },
      endpoints,
      operatorFile: await writeOperatorFile(dataDir, organisation),
      // Between the examples, a line for each request would only be in the way.
      ...(!json && variable('CREDENCE_LOG_LEVEL') === undefined && { logLevel: 'error' as const }),
    }
    const examples = await writeExamples(dataDir, examplesOf(organisation))
    const service = await startService({
      port,
      dataDir,
      config,
      now: clock.now,
      outbound: createOutbound({
        endpoints,
        now: clock.now,
        endpointAuthorities: sandbox.authority === undefined ? [] : [sandbox.authority],
      }),
    })
    closers.push(service.close)
    const keys = await demoKeys(dataDir, service.database)
    return {
      url: service.url,
      keys,
      examples,
      vaultKeyFile,
      clock,
      directory: organisation.okta.directory,
      close,
    }
  } catch (error) {
    await close()
    if (error instanceof ConfigError || error instanceof KeyFileError) throw new CommandError(error.message)
    throw (
      describeListening(error, '127.0.0.1', port) ??
      describeStoreFailure(error) ??
      describeFailure(error, dataDir)
    )
  }
}

function examplesOf({ google, okta, entra }: Organisation): Omit<ExampleFile, 'path'>[] {
  const sandboxes = { google_workspace: google.sandbox, okta: okta.sandbox, entra_id: entra.sandbox }
  return Object.entries(sandboxes).flatMap(([source, sandbox]) => {
    const { valid, invalid } = sandbox.examples()
    return [
      { source, title: 'Valid', isValid: true, attributes: valid },
      ...invalid.map(({ title, attributes }) => ({ source, title, isValid: false, attributes })),
    ]
  })
}

/** The object that other programs read: names and shape are fixed. */
function asDocument({ url, keys, examples }: Demo) {
  const of = (source: string) => ({
    valid: examples.find((example) => example.source === source && example.isValid)?.attributes,
    invalid: examples
      .filter((example) => example.source === source && !example.isValid)
      .map(({ title, attributes }) => ({ title, attributes })),
  })
  return {
    url,
    api_key: keys.api_key,
    application_key: keys.application_key,
    examples: { google_workspace: of('google_workspace'), okta: of('okta'), entra_id: of('entra_id') },
  }
}
