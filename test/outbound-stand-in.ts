/** Hosts for outbound tests: raw loopback servers that say exactly what a test wants, and certificates of every quality. */
import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { issueCertificate } from '../sandbox/certificate.ts'
import { createOutbound, type OutboundOptions } from '../src/outbound/outbound.ts'

/** The provider host of most tests. */
export const host = 'acme.okta.com'

export interface StandIn {
  readonly port: number
  readonly origin: URL
  /** Connections accepted so far. */
  connections(): number
  /** Request heads and bodies, as they came. */
  readonly received: string[]
  /** Bytes written so far, as far as the system took them. */
  bytesSent(): number
  /** Resolves once every connection so far has ended. */
  allClosed(): Promise<void>
  close(): Promise<void>
}

/** Answers each request that has arrived completely; `turn` counts from 1 over all connections. */
export type Say = (socket: net.Socket, turn: number, request: string) => void

export async function startStandIn(say: Say, secure?: tls.TlsOptions): Promise<StandIn> {
  const received: string[] = []
  const sockets = new Set<net.Socket>()
  let connections = 0
  let turn = 0
  let bytesOfClosed = 0
  const accept = (socket: net.Socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      bytesOfClosed += socket.bytesWritten
      sockets.delete(socket)
    })
    let pending = ''
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      const length = /\r\ncontent-length: (\d+)/i.exec(pending)?.[1] ?? '0'
      const end = pending.indexOf('\r\n\r\n') + 4
      if (end < 4 || pending.length < end + Number(length)) return
      received.push(pending)
      const request = pending
      pending = ''
      say(socket, ++turn, request)
    })
  }
  const server = secure === undefined ? net.createServer(accept) : tls.createServer(secure, accept)
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    origin: new URL(`${secure === undefined ? 'http' : 'https'}://127.0.0.1:${port}`),
    connections: () => connections,
    received,
    bytesSent: () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, bytesOfClosed),
    async allClosed() {
      await Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A complete answer of status 200 (or `status`) with `body`, and any further header lines. */
export const answer = (
  body: string | Buffer,
  { status = '200 OK', headers = [] as readonly string[] } = {},
) =>
  Buffer.concat([
    Buffer.from(
      [`HTTP/1.1 ${status}`, `content-length: ${Buffer.byteLength(body)}`, ...headers, '', ''].join('\r\n'),
      'latin1',
    ),
    Buffer.from(body),
  ])

/** Writes `piece` again and again, as fast as the other side reads, until the connection ends. */
export function writeForever(socket: net.Socket, piece: Buffer): void {
  const write = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', write)
  write()
}

/** A client whose `host` is the stand-in, and which ends after ten seconds at the latest. */
export function clientOf(
  standIn: { readonly origin: URL },
  options: OutboundOptions = {},
  signal = AbortSignal.timeout(10_000),
) {
  return createOutbound({ endpoints: new Map([[host, standIn.origin]]), ...options }).open(
    [{ labelUnder: '.okta.com', chosenBy: 'provider' }],
    signal,
  )
}

export const get = (path = '/') =>
  ({ operation: 'read users', method: 'GET', url: `https://${host}${path}` }) as const

export interface Certificate {
  readonly key: string
  readonly cert: string
}

interface Authority {
  readonly subject: string
  readonly keys: KeyPairKeyObjectResult
  readonly certificate: string
}

const dayMs = 24 * 60 * 60 * 1000
const makeKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const validity = () => ({
  notBefore: new Date(Date.now() - 2 * dayMs),
  notAfter: new Date(Date.now() + dayMs),
})

export function makeAuthority(subject = 'Test authority'): Authority {
  const keys = makeKeys()
  const certificate = issueCertificate({
    subject,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    use: 'authority',
    ...validity(),
  })
  return { subject, keys, certificate }
}

/** A server certificate for `hosts`, by `authority` or by itself. */
export function makeCertificate(
  hosts: readonly string[],
  authority?: Authority,
  { notAfter = validity().notAfter } = {},
): Certificate {
  const keys = makeKeys()
  const cert = issueCertificate({
    subject: 'server',
    publicKey: keys.publicKey,
    ...(authority && { issuer: { subject: authority.subject, publicKey: authority.keys.publicKey } }),
    signingKey: (authority?.keys ?? keys).privateKey,
    use: 'server',
    hosts,
    ...validity(),
    notAfter,
  })
  return { key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert }
}
