/** Connects a socket to an address that was vetted, and proves that it is there before a byte of TLS is sent. */
import { lookup } from 'node:dns/promises'
import net from 'node:net'
import tls from 'node:tls'
import { Limit } from './limit.ts'
import { isPublicAddress, isSameAddress } from './public-address.ts'
import type { SourceErrorCode } from './source-error.ts'

/** Every address of a name; rejects with the code of getaddrinfo. */
export type Resolve = (host: string) => Promise<readonly string[]>

/** Starts a TCP connection to an address and port. */
export type Dial = (address: string, port: number) => net.Socket

/** No connection was made. `network` is the code of the system or of TLS, never text from outside. */
export class ConnectFailure extends Error {
  override readonly name = 'ConnectFailure'
  readonly code: SourceErrorCode
  readonly network: string

  constructor(code: SourceErrorCode, network: string) {
    super(`${code} ${network}`)
    this.code = code
    this.network = network
  }
}

export interface Target {
  /** Name in the certificate and in SNI. */
  readonly host: string
  readonly port: number
  /** Undefined speaks plain HTTP: only to a loopback endpoint of the operator. */
  readonly secureContext: tls.SecureContext | undefined
  /** The addresses that may be connected to, best first. Rejects when there is none, or when any is not allowed. */
  addresses(): Promise<readonly string[]>
}

/** All addresses as the operating system knows them, in its order of preference. */
export const resolveBySystem: Resolve = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address)

export const dialByTcp: Dial = (address, port) => net.connect({ host: address, port, noDelay: true })

/**
 * The public addresses of `host`. One address that is not public spoils all: an honest provider has none, and a name
 * that mixes them is being used to reach inside.
 *
 * @throws ConnectFailure `dns_failed` when the name has no address, `forbidden_host` when one is not public
 */
export async function publicAddresses(host: string, resolve: Resolve): Promise<readonly string[]> {
  let addresses: readonly string[]
  try {
    addresses = await resolve(host)
  } catch (error) {
    throw new ConnectFailure('dns_failed', networkCode(error) ?? 'ENOTFOUND')
  }
  if (addresses.length === 0) throw new ConnectFailure('dns_failed', 'ENODATA')
  if (!addresses.every(isPublicAddress)) throw new ConnectFailure('forbidden_host', 'ADDRESS_NOT_PUBLIC')
  return addresses
}

/** Milliseconds that one address may keep the next from being tried. RFC 8305, section 8, recommends 250. */
const nextAddressAfterMs = 250

/** More addresses of one name are not tried. */
const maxAddresses = 8

/**
 * A socket to `target`, with TLS finished where it has a secure context, within `timeoutMs`.
 *
 * @throws ConnectFailure
 */
export async function connect(
  target: Target,
  { dial, timeoutMs, within }: { dial: Dial; timeoutMs: number; within?: Limit },
): Promise<net.Socket> {
  const limit = new Limit({ ms: timeoutMs, ...(within && { within }) })
  try {
    const addresses = await withinLimit(target.addresses(), limit, 'dns_failed')
    const socket = await connectFirst(
      bothFamilies(addresses).slice(0, maxAddresses),
      target.port,
      dial,
      limit,
    )
    if (target.secureContext === undefined) return socket
    return await secure(socket, target.host, target.secureContext, limit)
  } finally {
    limit.release()
  }
}

function withinLimit<T>(promise: Promise<T>, limit: Limit, code: SourceErrorCode): Promise<T> {
  return new Promise((resolve, reject) => {
    const onLimit = () => reject(new ConnectFailure(code, 'ETIMEDOUT'))
    limit.onEnd(onLimit)
    promise.then(resolve, reject).finally(() => limit.forget(onLimit))
  })
}

/** The addresses in their order, but the families by turns, so that a family without a route holds up nothing (RFC 8305, section 4). */
function bothFamilies(addresses: readonly string[]): readonly string[] {
  if (addresses.length < 2) return addresses
  const first = net.isIP(addresses[0] ?? '')
  const same = addresses.filter((address) => net.isIP(address) === first)
  const other = addresses.filter((address) => net.isIP(address) !== first)
  return same
    .flatMap((address, index) => [address, ...other.slice(index, index + 1)])
    .concat(other.slice(same.length))
}

/** The first socket that connects, each address being given a head start over the next (as in RFC 8305). */
function connectFirst(
  addresses: readonly string[],
  port: number,
  dial: Dial,
  limit: Limit,
): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const open = new Set<net.Socket>()
    let next = 0
    let isOver = false
    let timer: NodeJS.Timeout | undefined
    let lastFailure: ConnectFailure | undefined

    const end = () => {
      isOver = true
      clearTimeout(timer)
      limit.forget(onLimit)
      for (const socket of open) socket.destroy()
    }
    const onLimit = () => {
      end()
      reject(new ConnectFailure('unreachable', 'ETIMEDOUT'))
    }
    const tryNext = () => {
      clearTimeout(timer)
      const address = addresses[next++]
      if (address === undefined) {
        if (open.size > 0) return
        end()
        reject(lastFailure ?? new ConnectFailure('unreachable', 'EADDRNOTAVAIL'))
        return
      }
      timer = setTimeout(tryNext, nextAddressAfterMs)
      const socket = dial(address, port)
      open.add(socket)
      const onFailure = (failure: ConnectFailure) => {
        open.delete(socket)
        socket.destroy()
        lastFailure = failure
        if (!isOver) tryNext()
      }
      const onError = (error: Error) =>
        onFailure(new ConnectFailure('unreachable', networkCode(error) ?? 'ECONNREFUSED'))
      // Stays, as a socket that is dropped may still report an error.
      socket.on('error', () => undefined)
      socket.once('error', onError)
      socket.once('connect', () => {
        socket.removeListener('error', onError)
        if (!isSameAddress(socket.remoteAddress ?? '', address))
          return onFailure(new ConnectFailure('forbidden_host', 'PEER_MISMATCH'))
        open.delete(socket)
        end()
        resolve(socket)
      })
    }
    if (limit.isOver) return onLimit()
    limit.onEnd(onLimit)
    tryNext()
  })
}

/**
 * TLS over a connected socket. The certificate is verified whatever NODE_TLS_REJECT_UNAUTHORIZED says, and no session
 * is kept, so that none is shared.
 */
function secure(
  socket: net.Socket,
  host: string,
  secureContext: tls.SecureContext,
  limit: Limit,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const tlsSocket = tls.connect({
      socket,
      servername: host,
      secureContext,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
    })
    const fail = (failure: ConnectFailure) => {
      limit.forget(onLimit)
      tlsSocket.destroy()
      socket.destroy()
      reject(failure)
    }
    const onLimit = () => fail(new ConnectFailure('unreachable', 'ETIMEDOUT'))
    const onError = (error: Error) => fail(new ConnectFailure('tls_failed', networkCode(error) ?? 'EPROTO'))
    const onClose = () => fail(new ConnectFailure('tls_failed', 'ECONNRESET'))
    tlsSocket.on('error', () => undefined)
    tlsSocket.once('error', onError)
    tlsSocket.once('close', onClose)
    tlsSocket.once('secureConnect', () => {
      limit.forget(onLimit)
      tlsSocket.removeListener('error', onError)
      tlsSocket.removeListener('close', onClose)
      resolve(tlsSocket)
    })
    limit.onEnd(onLimit)
  })
}

/** The code of an error of Node or OpenSSL, if it has one. Messages are never used: they may quote what was received. */
export function networkCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? code : undefined
}
