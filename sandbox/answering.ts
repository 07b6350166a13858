/** Sends a provider's answer, as it is or as a fault has it. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { captivePortalPage, deepJson, endlessJson, gzipBomb } from './bodies.ts'
import type { Struck } from './faults.ts'
import type { ProviderSandbox, SandboxAnswer, SandboxRequest } from './provider.ts'

/** A request that waits for its answer. */
export interface Exchange {
  readonly provider: ProviderSandbox
  readonly request: SandboxRequest
  readonly response: ServerResponse
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal
  /** Notes the status that was sent. */
  answered(status: number): void
  /** Closes the connection. */
  cut(): void
  /** Closes it with a TCP reset. */
  reset(): void
}

type Headers = Readonly<Record<string, string>>

const json: Headers = { 'content-type': 'application/json' }

/** Resolves when everything was handed over; rejects when the client leaves before. */
export async function answer(fault: Struck['fault'], exchange: Exchange): Promise<void> {
  const { provider, request, response, gone } = exchange
  const honest = async () => encode(await provider.handle(request))
  const begin = (status: number, headers: Headers, length?: number) => {
    exchange.answered(status)
    prepare(response, request.now, status, headers, length)
  }
  const reply = ({ status, headers, body }: EncodedAnswer) => {
    exchange.answered(status)
    send(response, request.now, status, headers, body)
  }

  switch (fault?.kind) {
    case undefined:
      return reply(await honest())
    case 'throttled':
    case 'unavailable':
      return reply(encode(provider[fault.kind](request)))
    case 'status': {
      const { status = 500, headers = {}, body } = fault
      return reply(encode({ status, headers, body }))
    }
    case 'html': {
      const headers = { 'content-type': 'text/html; charset=utf-8' }
      return reply({ status: 200, headers, body: Buffer.from(captivePortalPage) })
    }
    case 'truncated': {
      const whole = await honest()
      return reply({ ...whole, body: firstHalf(whole.body) })
    }
    case 'deep_json':
      return reply({ status: 200, headers: json, body: Buffer.from(deepJson()) })
    case 'redirect':
      return reply({ status: 302, headers: { location: fault.location ?? '' }, body: Buffer.alloc(0) })
    case 'cut': {
      const { status, headers, body } = await honest()
      if (body.length < 2) {
        // Half of an answer without a body ends within its status line.
        exchange.answered(status)
        response.socket?.write('HTTP/1.1 ', exchange.cut)
        return
      }
      begin(status, headers, body.length)
      response.write(firstHalf(body), exchange.cut)
      return
    }
    case 'reset':
      return exchange.reset()
    case 'hang':
      if (!response.closed) await once(response, 'close')
      return
    case 'drip': {
      const { status, headers, body } = await honest()
      begin(status, headers, body.length)
      response.flushHeaders()
      for (const byte of body) {
        await pause(fault.ms ?? 100, undefined, { signal: gone })
        response.write(Buffer.of(byte))
      }
      response.end()
      return
    }
    case 'endless':
      begin(200, json)
      return pipeline(Readable.from(endlessJson()), response)
    case 'gzip_bomb':
      begin(200, { ...json, 'content-encoding': 'gzip' })
      return pipeline(Readable.from(gzipBomb()), response)
  }
}

interface EncodedAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

function encode({ status, headers = {}, body }: SandboxAnswer): EncodedAnswer {
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
function prepare(
  response: ServerResponse,
  now: Date,
  status: number,
  headers: Headers,
  length?: number,
): void {
  response.statusCode = status
  response.setHeader('date', now.toUTCString())
  // RFC 9110, 8.6: no Content-Length with 204.
  if (length !== undefined && status !== 204) response.setHeader('content-length', length)
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
}

export function send(
  response: ServerResponse,
  now: Date,
  status: number,
  headers: Headers,
  body: Buffer,
): void {
  prepare(response, now, status, headers, body.length)
  response.end(body)
}
