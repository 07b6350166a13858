/** `credence sandbox`: strict stand-ins for the providers on this machine, until a signal ends them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { largestCount } from '../../sandbox/directory.ts'
import type { RunningSandbox } from '../../sandbox/index.ts'
import type { Organisation } from '../../sandbox/organisation.ts'
import { CommandError } from './exit-codes.ts'
import { port } from './serve-command.ts'
import { stopSignal } from './stop-signal.ts'
import { jsonLine, printable, type Style, styleOf, write } from './terminal.ts'

interface SandboxCommandOptions {
  readonly port: number
  readonly users: number
  readonly groups: number
  readonly seed: string
  readonly json?: boolean
}

export function addSandboxCommand(program: Command): void {
  program
    .command('sandbox')
    .description('run strict stand-ins for Google Workspace, Okta and Microsoft Entra ID on this machine')
    .option(
      '--port <number>',
      'first of four ports: control, Google, Okta, Entra; 0 picks free ones',
      port,
      0,
    )
    .option('--users <number>', 'people in each directory', count(1), 250)
    .option('--groups <number>', 'groups in each directory', count(1), 25)
    .option('--seed <text>', 'the same seed makes the same directories', 'credence')
    .option('--json', 'print where everything is as one JSON object')
    .action(run)
}

const count = (least: number) => (text: string) => {
  const value = Number(text)
  if (!/^\d{1,10}$/.test(text) || value < least || value > largestCount)
    throw new InvalidArgumentError(`It is a whole number from ${least} to ${largestCount}.`)
  return value
}

async function run(options: SandboxCommandOptions): Promise<void> {
  const stopped = stopSignal()
  const folder = await mkdtemp(join(tmpdir(), 'credence-sandbox-'))
  try {
    const { organisation, sandbox } = await start(options, folder)
    try {
      const files = await writeFiles(organisation, sandbox, folder)
      const text = options.json
        ? jsonLine(asDocument(organisation, sandbox, files))
        : guide(options, organisation, sandbox, files, styleOf(process.stdout))
      await write(process.stdout, text)
      await stopped
    } finally {
      await sandbox.close()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function start({ port, users, groups, seed }: SandboxCommandOptions, folder: string) {
  // Slow to load, and needed by no other command.
  const { startSandbox } = await import('../../sandbox/index.ts')
  const { createOrganisation } = await import('../../sandbox/organisation.ts')
  const organisation = await createOrganisation({ users, groups, seed })
  try {
    const sandbox = await startSandbox({ providers: organisation.providers, port, directory: folder })
    return { organisation, sandbox }
  } catch (error) {
    throw describePorts(error, port)
  }
}

/** What kept the ports from being opened, in one line; any other error as it came. */
function describePorts(error: unknown, port: number): unknown {
  if (error instanceof RangeError) return new CommandError(`${error.message}; choose a lower --port`)
  const code = error instanceof Error && 'syscall' in error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE')
    return new CommandError(
      `one of the ports from 127.0.0.1:${port} on is taken by another program; choose another --port, or 0 for free ones`,
    )
  return code === 'EACCES'
    ? new CommandError(`this user may not listen on 127.0.0.1:${port}; choose a --port above 1023`)
    : error
}

interface Files {
  readonly endpoints: string
  readonly ca: string
  readonly serviceAccount: string
  readonly oktaToken: string
  readonly oktaPrivateKey: string
  readonly entraSecret: string
}

/** Writes what programs take from files. The folder is private already; each file is too, should it be copied. */
async function writeFiles(
  { google, okta, entra }: Organisation,
  sandbox: RunningSandbox,
  folder: string,
): Promise<Files> {
  const file = async (name: string, text: string) => {
    const path = join(folder, name)
    await writeFile(path, text, { mode: 0o600 })
    return path
  }
  const pretty = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`
  return {
    endpoints: await file('endpoints.json', pretty(sandbox.endpoints)),
    ca: sandbox.caFile ?? '',
    serviceAccount: await file('google-service-account.json', pretty(google.serviceAccount)),
    oktaToken: await file('okta-api-token.txt', okta.apiToken),
    oktaPrivateKey: await file('okta-private-key.pem', okta.privateKey),
    entraSecret: await file('entra-client-secret.txt', entra.clientSecret),
  }
}

/** The object that other programs read: names and shape are fixed. */
const asDocument = ({ google, okta, entra }: Organisation, sandbox: RunningSandbox, files: Files) => ({
  endpoints: sandbox.endpoints,
  ca_file: files.ca,
  control: sandbox.control,
  google_workspace: {
    domain: google.domain,
    admin_email: google.adminEmail,
    service_account_file: files.serviceAccount,
  },
  okta: {
    domain: okta.domain,
    api_token: okta.apiToken,
    client_id: okta.clientId,
    private_key_file: files.oktaPrivateKey,
    key_id: okta.keyId,
  },
  entra_id: {
    domain: entra.domain,
    tenant_id: entra.tenantId,
    client_id: entra.clientId,
    client_secret: entra.clientSecret,
  },
})

function guide(
  { users, groups, seed }: SandboxCommandOptions,
  { google, okta, entra }: Organisation,
  sandbox: RunningSandbox,
  files: Files,
  style: Style,
): string {
  const heading = (text: string) => style.paint('bold', text)
  const hosts = Object.entries(sandbox.endpoints)
  const widest = Math.max(...hosts.map(([host]) => host.length))
  return `${[
    heading(
      `Google Workspace, Okta and Microsoft Entra ID, ${users} people and ${groups} groups each (seed ${JSON.stringify(printable(seed))})`,
    ),
    ...hosts.map(([host, origin]) => `  ${host.padEnd(widest)}  ${origin}`),
    `  ${'control'.padEnd(widest)}  ${sandbox.control}`,
    '',
    heading('Point Credence at them, in another terminal'),
    `  export CREDENCE_ENDPOINTS=${files.endpoints} NODE_EXTRA_CA_CERTS=${files.ca}`,
    `  credence validate google-workspace --domain ${google.domain} --admin-email ${google.adminEmail} --service-account-file ${files.serviceAccount}`,
    `  credence validate okta --domain ${okta.domain} --api-token-file ${files.oktaToken}`,
    `  credence validate okta --domain ${okta.domain} --client-id ${okta.clientId} --private-key-file ${files.oktaPrivateKey} --key-id ${okta.keyId}`,
    `  credence validate entra-id --domain ${entra.domain} --tenant-id ${entra.tenantId} --client-id ${entra.clientId} --client-secret-file ${files.entraSecret}`,
    '',
    heading("Point a vendor's SDK at them"),
    `  Trust ${files.ca}, and send requests to the origins above with the provider's name as Host;`,
    '  docs/sandbox.md shows it for each SDK.',
    '',
    heading('Make something go wrong'),
    `  curl -H 'content-type: application/json' -d '{"faults":[{"kind":"throttled","provider":"okta","times":3}]}' ${sandbox.control}/_sandbox/faults`,
    '',
    `Nothing here is real, nothing leaves this machine. Ctrl-C ends it and removes ${folderOf(files)}.`,
  ].join('\n')}\n`
}

const folderOf = (files: Files) => files.endpoints.slice(0, -'/endpoints.json'.length)
