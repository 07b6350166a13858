/** Serves a provider sandbox on loopback. */
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { answer, send } from './answering.ts'
import type { ServerIdentity } from './authority.ts'
import type { FaultBoard } from './faults.ts'
import type { ProviderSandbox, SandboxRequest } from './provider.ts'
import type { RequestLog } from './request-log.ts'

/** Larger than any request a directory API is sent. */
const maxBodyBytes = 1024 * 1024

export interface ServedProvider {
  readonly provider: ProviderSandbox
  readonly faults: FaultBoard
  readonly log: RequestLog
  /** TLS when given. */
  readonly identity?: ServerIdentity
  now(): Date
}

export interface LoopbackServer {
  readonly port: number
  /** Ends every connection at once, also those that hang, and stops listening. */
  close(): Promise<void>
}

export function serveProvider(served: ServedProvider, port: number): Promise<LoopbackServer> {
  const { identity } = served
  const server =
    identity === undefined
      ? createHttpServer()
      : createHttpsServer({ key: identity.key, cert: identity.certificate })
  // TLS hides the connection itself, which a reset needs: it is found again by the client's port.
  const connections = new Map<number, Socket>()
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket
    if (remotePort === undefined) return
    connections.set(remotePort, socket)
    socket.once('close', () => connections.delete(remotePort))
  })
  const reset = (request: IncomingMessage) => {
    const connection = connections.get(request.socket.remotePort ?? 0)
    if (connection === undefined) request.socket.destroy()
    else connection.resetAndDestroy()
  }
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    serve(served, request, response, () => reset(request)).catch((error: unknown) => {
      // The client is gone, which is no news; anything else is a defect of the sandbox and must be seen.
      if (response.destroyed) return
      process.emitWarning(error instanceof Error ? error : String(error))
      if (response.headersSent) response.destroy()
      else send(response, served.now(), 500, {}, Buffer.from('a defect of the sandbox, see its warnings'))
    })
  })
  return listen(server, port)
}

/** Listens on loopback. @throws the system's error when the port is taken */
export async function listen(server: HttpServer, port: number): Promise<LoopbackServer> {
  const sockets = new Set<Socket>()
  const track = (socket: Socket) => {
    sockets.add(socket)
    // A connection that the other side drops is an event of every day here.
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
  }
  server.on('connection', track)
  server.on('secureConnection', track)
  // Longer than clients keep idle connections, so that none is closed while a request is on its way.
  server.keepAliveTimeout = 120_000
  server.listen({ host: '127.0.0.1', port })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function serve(
  served: ServedProvider,
  incoming: IncomingMessage,
  response: ServerResponse,
  reset: () => void,
): Promise<void> {
  const { provider, identity } = served
  const now = served.now()
  const host = incoming.headers.host ?? ''
  const url = meantUrl(identity === undefined ? 'http' : 'https', host, incoming.url ?? '')
  if (url === undefined) {
    send(response, now, 400, { connection: 'close' }, Buffer.from('no valid Host or path'))
    return
  }
  const method = incoming.method ?? 'GET'
  const seen = served.log.add({
    provider: provider.name,
    method,
    host: url.host,
    path: url.pathname,
    at: now,
  })
  const body = await readBody(incoming)
  if (body === undefined) {
    seen.answered(413)
    send(
      response,
      now,
      413,
      { connection: 'close' },
      Buffer.from(`a body of more than ${maxBodyBytes} bytes`),
    )
    return
  }
  const { latencyMs, played, fault } = served.faults.strike(provider.name, { method, url })
  const request: SandboxRequest = {
    method,
    url,
    headers: headersOf(incoming),
    body: body.toString('utf8'),
    now,
    faults: played,
  }
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  if (latencyMs > 0) await pause(latencyMs, undefined, { signal: gone.signal })
  await answer(fault, {
    provider,
    request,
    response,
    gone: gone.signal,
    answered: seen.answered,
    cut: () => incoming.socket.destroy(),
    reset,
  })
}

/** The URL as the client meant it; undefined when its Host header or path is malformed. */
function meantUrl(scheme: string, host: string, target: string): URL | undefined {
  if (!/^[A-Za-z0-9.-]+(?::\d{1,5})?$/.test(host) || !target.startsWith('/')) return undefined
  return URL.parse(`${scheme}://${host}${target}`) ?? undefined
}

/** Undefined when it is too large. */
async function readBody(incoming: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBodyBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function headersOf(incoming: IncomingMessage): Headers {
  const headers = new Headers()
  const raw = incoming.rawHeaders
  for (let index = 0; index < raw.length; index += 2) headers.append(raw[index] ?? '', raw[index + 1] ?? '')
  return headers
}
