/** Has the vendors' SDKs reach sandboxes. */
import tls from 'node:tls'

/** The SDKs know the vendors' hosts alone: connections to them go to the sandboxes, names and certificates unchanged. */
export function redirectSdks(endpoints: Readonly<Record<string, string>>): void {
  const connect = tls.connect as (options: tls.ConnectionOptions, listener?: () => void) => tls.TLSSocket
  const redirected: typeof connect = (options, listener) => {
    const origin = endpoints[options.host ?? '']
    if (origin === undefined) throw new Error(`a connection to ${options.host}, which no sandbox plays`)
    const { hostname, port } = new URL(origin)
    const servername = options.servername ?? options.host
    return connect(
      { ...options, host: hostname, port: Number(port), ...(servername && { servername }) },
      listener,
    )
  }
  Object.assign(tls, { connect: redirected })
}
