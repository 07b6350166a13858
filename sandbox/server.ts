/** Serves one provider sandbox on loopback, and plays the faults that strike its answers. */
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import type { ServerIdentity } from './authority.ts'
import { captivePortalPage, deepJson, endlessJson, gzipBomb } from './bodies.ts'
import type { FaultBoard } from './faults.ts'
import type { ProviderSandbox, SandboxAnswer, SandboxRequest } from './provider.ts'
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
      else
        send(response, 500, {}, Buffer.from('{"sandbox":"defect, see its process warnings"}'), served.now())
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
    send(response, 400, { connection: 'close' }, Buffer.from('no valid Host or path'), now)
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
  const reply = (status: number, headers: Readonly<Record<string, string>>, body: Buffer) => {
    seen.answered(status)
    send(response, status, headers, body, now)
  }
  const body = await readBody(incoming)
  if (body === undefined) {
    reply(413, { connection: 'close' }, Buffer.from(`a body of more than ${maxBodyBytes} bytes`))
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
  const honest = async () => encode(await provider.handle(request))
  const json = { 'content-type': 'application/json' }

  switch (fault?.kind) {
    case undefined: {
      const answer = await honest()
      reply(answer.status, answer.headers, answer.body)
      return
    }
    case 'throttled':
    case 'unavailable': {
      const answer = encode(provider[fault.kind](request))
      reply(answer.status, answer.headers, answer.body)
      return
    }
    case 'status': {
      const answer = encode({
        status: fault.status ?? 500,
        body: fault.body,
        ...(fault.headers && { headers: fault.headers }),
      })
      reply(answer.status, answer.headers, answer.body)
      return
    }
    case 'html':
      reply(200, { 'content-type': 'text/html; charset=utf-8' }, Buffer.from(captivePortalPage))
      return
    case 'truncated': {
      const answer = await honest()
      reply(answer.status, answer.headers, firstHalf(answer.body))
      return
    }
    case 'deep_json':
      reply(200, json, Buffer.from(deepJson()))
      return
    case 'redirect':
      reply(302, { location: fault.location ?? '' }, Buffer.alloc(0))
      return
    case 'cut': {
      const answer = await honest()
      seen.answered(answer.status)
      const hangUp = () => incoming.socket.destroy()
      if (answer.body.length === 0) {
        // Half of an answer without a body ends within its status line.
        incoming.socket.write('HTTP/1.1 ', hangUp)
        return
      }
      begin(response, answer.status, answer.headers, now, answer.body.length)
      response.write(firstHalf(answer.body), hangUp)
      return
    }
    case 'reset':
      reset()
      return
    case 'hang':
      if (!response.closed) await once(response, 'close')
      return
    case 'drip': {
      const answer = await honest()
      seen.answered(answer.status)
      begin(response, answer.status, answer.headers, now, answer.body.length)
      response.flushHeaders()
      for (const byte of answer.body) {
        await pause(fault.ms ?? 100, undefined, { signal: gone.signal })
        response.write(Buffer.of(byte))
      }
      response.end()
      return
    }
    case 'endless':
    case 'gzip_bomb': {
      seen.answered(200)
      const isBomb = fault.kind === 'gzip_bomb'
      begin(response, 200, { ...json, ...(isBomb && { 'content-encoding': 'gzip' }) }, now)
      await pipeline(Readable.from(isBomb ? gzipBomb() : endlessJson()), response)
      return
    }
    default:
      throw new Error(`the provider plays ${fault?.kind} itself`)
  }
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

interface EncodedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

function encode(answer: SandboxAnswer): EncodedAnswer {
  const { status, headers = {}, body } = answer
  if (body === undefined) return { status, headers, body: Buffer.alloc(0) }
  const hasType = Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')
  const isText = typeof body === 'string'
  const type = isText ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  return {
    status,
    headers: hasType ? headers : { 'content-type': type, ...headers },
    body: Buffer.from(isText ? body : JSON.stringify(body)),
  }
}

const firstHalf = (bytes: Buffer): Buffer => bytes.subarray(0, Math.floor(bytes.length / 2))

/** Status line and headers; the clock of `Date` is the sandbox's. */
function begin(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  now: Date,
  length?: number,
): void {
  response.statusCode = status
  response.setHeader('date', now.toUTCString())
  // RFC 9110, 8.6: no Content-Length with 204.
  if (length !== undefined && status !== 204) response.setHeader('content-length', length)
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
}

function send(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  now: Date,
): void {
  begin(response, status, headers, now, body.length)
  response.end(body)
}
