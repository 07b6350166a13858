/** The sandboxes, started together: strict stand-ins for Google Workspace, Okta and Microsoft Entra ID on loopback. */
import type { ProviderSandbox } from './provider.ts'

export interface SandboxOptions {
  /** Which providers to serve. */
  readonly providers: readonly ProviderSandbox[]
  /** First of consecutive ports (control, then one per provider, in order); 0 picks free ones. */
  readonly port?: number
  /** Serve the providers over TLS with a certificate by a local authority, made on the spot. Default true. */
  readonly tls?: boolean
  /** Where the authority's certificate is written as PEM; a private temporary folder by default. */
  readonly directory?: string
  readonly now?: () => Date
}

/** A fault and the requests it strikes. */
export interface Fault {
  readonly provider?: 'google' | 'okta' | 'entra'
  readonly method?: string
  /** Regular expression that the path must match; every path by default. */
  readonly path?: string
  readonly kind:
    | 'latency' // waits `ms` before answering
    | 'throttled' // the vendor's 429
    | 'unavailable' // the vendor's 503
    | 'status' // `status` with `headers` and `body`
    | 'html' // a captive portal's page with 200
    | 'cut' // closes the connection after half of the answer
    | 'reset' // closes the connection without an answer
    | 'truncated' // half of the JSON document, correctly framed
    | 'hang' // never answers
    | 'drip' // a byte at a time, `ms` apart
    | 'endless' // a body without end
    | 'gzip_bomb' // a small body that decompresses to 10 GB
    | 'deep_json' // nesting beyond any API's
    | 'redirect' // 302 to `location`
    | 'repeated_next_link'
    | 'empty_middle_page'
  readonly ms?: number
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly location?: string
  /** How many requests it strikes before it switches itself off; all by default. */
  readonly times?: number
}

/** A request as the sandbox saw it. Secrets are not kept. */
export interface SeenRequest {
  readonly provider: string
  readonly method: string
  readonly host: string
  readonly path: string
  readonly status: number
  readonly at: Date
}

export interface RunningSandbox {
  /** Provider host → loopback origin: what CREDENCE_ENDPOINTS takes. */
  readonly endpoints: Readonly<Record<string, string>>
  /** PEM of the local authority, and the file that holds it; absent without TLS. */
  readonly authority?: string
  readonly caFile?: string
  /** Origin of the control interface: POST and DELETE `/_sandbox/faults`, GET `/_sandbox/requests`. */
  readonly control: string
  /** Replaces all faults. */
  setFaults(faults: readonly Fault[]): void
  requests(): readonly SeenRequest[]
  forgetRequests(): void
  close(): Promise<void>
}

export async function startSandbox(_options: SandboxOptions): Promise<RunningSandbox> {
  throw new Error('under construction')
}
