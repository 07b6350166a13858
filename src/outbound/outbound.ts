/** The only way out: opens clients that reach what a source may reach and nothing else. */
import type { EgressRule, HttpClient } from './http.ts'

export interface OutboundOptions {
  /**
   * Loopback origins that stand in for provider hosts, from CREDENCE_ENDPOINTS: host → origin. Path, query, Host
   * header and, for https, the name in the certificate stay the provider's.
   */
  readonly endpoints?: ReadonlyMap<string, URL>
  /** Authorities trusted for `endpoints` alone, in PEM (the demo's own; others come by NODE_EXTRA_CA_CERTS). */
  readonly endpointAuthorities?: readonly string[]
}

export interface Outbound {
  /** A client of its own sockets for one validation; nothing is shared with any other. */
  open(rules: readonly EgressRule[], signal: AbortSignal): HttpClient & { close(): Promise<void> }
}

export function createOutbound(_options: OutboundOptions = {}): Outbound {
  throw new Error('under construction')
}
