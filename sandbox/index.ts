/** The sandboxes, started together: strict stand-ins for Google Workspace, Okta and Microsoft Entra ID on loopback. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issueServerIdentity } from './authority.ts'
import { createControlServer } from './control.ts'
import { createFaultBoard, type Fault } from './faults.ts'
import type { ProviderSandbox } from './provider.ts'
import { createRequestLog, type SeenRequest } from './request-log.ts'
import { type LoopbackServer, listen, serveProvider } from './server.ts'

export type { Fault } from './faults.ts'
export type { SeenRequest } from './request-log.ts'

export interface SandboxOptions {
  /** Which providers to serve. */
  readonly providers: readonly ProviderSandbox[]
  /** First of consecutive ports (control, then one per provider, in order); 0 picks free ones. */
  readonly port?: number
  /** Serve the providers over TLS with a certificate by a local authority, made on the spot. Default true. */
  readonly tls?: boolean
  /** Where the authority's certificate is written as `ca.pem`; a private temporary folder by default. */
  readonly directory?: string
  readonly now?: () => Date
}

export interface RunningSandbox {
  /** Provider host → loopback origin: what CREDENCE_ENDPOINTS takes. */
  readonly endpoints: Readonly<Record<string, string>>
  /** PEM of the local authority, and the file that holds it; absent without TLS. */
  readonly authority?: string
  readonly caFile?: string
  /** Origin of the control interface: GET, POST and DELETE `/_sandbox/faults`, GET and POST `/_sandbox/changes`, GET and DELETE `/_sandbox/requests`. */
  readonly control: string
  /** Replaces all faults. */
  setFaults(faults: readonly Fault[]): void
  /** The last 10,000, oldest first. */
  requests(): readonly SeenRequest[]
  forgetRequests(): void
  /** Ends all connections at once, also those that hang. */
  close(): Promise<void>
}

/** @throws the system's error, with its `code`, when a port is taken */
export async function startSandbox(options: SandboxOptions): Promise<RunningSandbox> {
  const { providers, port = 0, tls = true, now = () => new Date() } = options
  if (port !== 0 && port + providers.length > 65_535)
    throw new RangeError(`${providers.length + 1} consecutive ports from ${port} on do not exist`)
  const faults = createFaultBoard()
  const log = createRequestLog()
  const hosts = providers.flatMap((provider) => provider.hosts)
  const identity = tls
    ? issueServerIdentity([...new Set([...hosts, 'localhost', '127.0.0.1'])], now())
    : undefined

  const servers: LoopbackServer[] = []
  let temporary: string | undefined
  const close = async () => {
    await Promise.all(servers.map((server) => server.close()))
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
  try {
    const control = await listen(createControlServer(faults, log, providers), port)
    servers.push(control)
    const endpoints: Record<string, string> = {}
    for (const [index, provider] of providers.entries()) {
      const served = { provider, faults, log, now, ...(identity && { identity }) }
      const server = await serveProvider(served, port === 0 ? 0 : port + 1 + index)
      servers.push(server)
      for (const host of provider.hosts)
        endpoints[host] = `${tls ? 'https' : 'http'}://127.0.0.1:${server.port}`
    }
    let caFile: string | undefined
    if (identity !== undefined) {
      if (options.directory === undefined) temporary = await mkdtemp(join(tmpdir(), 'credence-sandbox-'))
      else await mkdir(options.directory, { recursive: true, mode: 0o700 })
      caFile = join(options.directory ?? temporary ?? '', 'ca.pem')
      await writeFile(caFile, identity.authority, { mode: 0o600 })
    }
    return {
      endpoints,
      ...(identity && { authority: identity.authority }),
      ...(caFile !== undefined && { caFile }),
      control: `http://127.0.0.1:${control.port}`,
      setFaults: faults.set,
      requests: log.list,
      forgetRequests: log.forget,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
