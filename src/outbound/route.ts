/** The sockets of one client to one host. */
import type tls from 'node:tls'
import { Pool } from 'undici'
import { connect, type Dial, publicAddresses, type Resolve, type Target } from './connect.ts'
import { loopbackAddresses } from './endpoints.ts'
import type { Limit } from './limit.ts'

/** The provider itself, wherever on the public internet its name leads. */
export const providerTarget = (host: string, resolve: Resolve, secureContext: tls.SecureContext): Target => ({
  host,
  port: 443,
  secureContext,
  addresses: () => publicAddresses(host, resolve),
})

/** The operator's loopback origin that stands in for `host`. */
export function endpointTarget(host: string, origin: URL, secureContext: () => tls.SecureContext): Target {
  const isSecure = origin.protocol === 'https:'
  return {
    host,
    port: origin.port === '' ? (isSecure ? 443 : 80) : Number(origin.port),
    secureContext: isSecure ? secureContext() : undefined,
    addresses: async () => loopbackAddresses(origin),
  }
}

export interface RouteOptions {
  readonly dial: Dial
  readonly connectMs: number
  readonly headerBytes: number
  readonly sockets: number
  /** Ends connections that are being made. */
  readonly within: Limit
}

export class Route {
  readonly pool: Pool
  #isConnected = false

  constructor(target: Target, { dial, connectMs, headerBytes, sockets, within }: RouteOptions) {
    // For undici it is always the provider over https: the Host header and the path follow from that.
    this.pool = new Pool(`https://${target.host}`, {
      connections: sockets,
      pipelining: 1,
      allowH2: false,
      useMilo: false,
      maxHeaderSize: headerBytes,
      connect: (_options, callback) => {
        connect(target, { dial, timeoutMs: connectMs, within }).then(
          (socket) => {
            this.#isConnected = true
            callback(null, socket)
          },
          (error: Error) => callback(error, null),
        )
      },
    })
  }

  /** Ends every connection; what was still asked on one must have been given up before. */
  close(): Promise<void> {
    return this.pool.destroy(closed)
  }

  /** Whether any connection was made. Until then, running out of time means that the host is not there. */
  get isConnected(): boolean {
    return this.#isConnected
  }
}

/** What undici is told of sockets that are no longer needed. One for all, as errors are costly to make. */
const closed = new Error('closed')
