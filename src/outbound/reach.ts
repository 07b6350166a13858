/** Tells whether a host can be reached by the way that requests take: name, address, TLS; nothing is asked of it. */
import tls from 'node:tls'
import { ConnectFailure, connect, dialByTcp, resolveBySystem } from './connect.ts'
import { endpointTarget, providerTarget } from './route.ts'
import type { SourceErrorCode } from './source-error.ts'

export interface Reach {
  /** Undefined when the host was reached. */
  readonly failure: { readonly code: SourceErrorCode; readonly network: string } | undefined
}

/** @param endpoints as of CREDENCE_ENDPOINTS: loopback origins that stand in for hosts */
export async function reach(
  host: string,
  { endpoints, timeoutMs }: { readonly endpoints: ReadonlyMap<string, URL>; readonly timeoutMs: number },
): Promise<Reach> {
  const endpoint = endpoints.get(host)
  const target =
    endpoint === undefined
      ? providerTarget(host, resolveBySystem, tls.createSecureContext({ minVersion: 'TLSv1.2' }))
      : endpointTarget(host, endpoint, () => tls.createSecureContext({ minVersion: 'TLSv1.2' }))
  try {
    const socket = await connect(target, { dial: dialByTcp, timeoutMs })
    socket.destroy()
    return { failure: undefined }
  } catch (error) {
    if (!(error instanceof ConnectFailure)) throw error
    return { failure: { code: error.code, network: error.network } }
  }
}
