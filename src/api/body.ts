/** Reads request bodies: their size, time, coding and spelling are bounded before a schema sees them. */
import { isUtf8 } from 'node:buffer'
import { gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { RequestError, unsupportedMediaType } from './errors.ts'
import { JsonFault, parseStrictJson } from './strict-json.ts'

/** Largest body, before and after decompression, in bytes. */
export const maxBodyBytes = 64 * 1024

/** How much of a body that is too large is read and dropped before the refusal, so that a sender busy sending still hears it. */
const maxDroppedBytes = 16 * 1024 * 1024

/** Longest time a body may take to arrive, in milliseconds. */
export const bodyTimeoutMs = 10_000

/** The codings of the official clients; `zstd1` is their word for Zstandard. */
const decoders: Readonly<Record<string, (coded: Buffer, options: { maxOutputLength: number }) => Buffer>> = {
  gzip: gunzipSync,
  deflate: inflateSync,
  zstd1: zstdDecompressSync,
}

/** How often bodies that take too long are looked for, in milliseconds. A timer for each would cost more than reading it. */
const sweepMs = 500

/** A body that is arriving. */
interface Arrival {
  readonly giveUpAt: number
  giveUp(): void
}

/** Takes JSON as the one kind of body there is; every other spelling of Content-Type is refused. */
export function acceptJsonBodies(server: FastifyInstance): void {
  const arriving = new Set<Arrival>()
  const sweep = setInterval(() => {
    const now = performance.now()
    for (const arrival of arriving) {
      // They came in this order, with the same time to arrive.
      if (arrival.giveUpAt > now) break
      arrival.giveUp()
    }
  }, sweepMs).unref()
  server.addHook('onClose', (_, done) => {
    clearInterval(sweep)
    done()
  })
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(
    'application/json',
    (
      request: FastifyRequest,
      payload: NodeJS.ReadableStream,
      done: (error: Error | null, body?: unknown) => void,
    ) => {
      const {
        'content-type': type = '',
        'content-encoding': coding,
        'content-length': length,
      } = request.headers
      if (!isUtf8Json(type)) throw new RequestError('unsupported_media_type', unsupportedMediaType)
      const decode = decoderOf(coding)
      const mostBytes = request.routeOptions.config.maxBodyBytes ?? maxBodyBytes
      collect(payload, Number(length ?? 0), mostBytes, arriving, (error, coded) => {
        if (error !== undefined) return done(error)
        if (coded.length === 0 && request.routeOptions.config.isBodyOptional === true)
          return done(null, undefined)
        let body: unknown
        try {
          body = parse(decode === undefined ? coded : decompress(decode, coded, mostBytes))
        } catch (fault) {
          return done(fault as Error)
        }
        done(null, body)
      })
    },
  )
}

/** Fastify has found the media type to be JSON's; a charset other than UTF-8 would be read as something it is not. */
function isUtf8Json(type: string): boolean {
  if (type === 'application/json') return true
  const charsets = [...type.matchAll(/;\s*charset\s*=\s*("[^"]*"|[^;\s]*)/gi)]
  return charsets.every(([, charset]) => /^"?utf-?8"?$/i.test(charset ?? ''))
}

function decoderOf(coding: string | undefined) {
  const name = coding?.trim().toLowerCase() ?? ''
  if (name === '' || name === 'identity') return undefined
  const decode = Object.hasOwn(decoders, name) ? decoders[name] : undefined
  if (decode === undefined)
    throw new RequestError(
      'unsupported_media_type',
      `Unsupported content encoding: send one of ${Object.keys(decoders).join(', ')}, or none`,
    )
  return decode
}

const tooLarge = (mostBytes: number) =>
  new RequestError('too_large', `Body too large: at most ${mostBytes} bytes`)

/** Hands over the whole body as it came over the wire, or why there is none; once. */
function collect(
  payload: NodeJS.ReadableStream,
  announcedBytes: number,
  mostBytes: number,
  arriving: Set<Arrival>,
  handOver: (error: RequestError | undefined, body: Buffer) => void,
): void {
  const chunks: Buffer[] = []
  let received = 0
  let isTooLarge = announcedBytes > mostBytes
  const end = (error: RequestError | undefined) => {
    // What the stream still tells afterwards has been decided already.
    if (!arriving.delete(arrival)) return
    handOver(error, chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
  }
  const arrival: Arrival = {
    giveUpAt: performance.now() + bodyTimeoutMs,
    giveUp: () =>
      end(new RequestError('timed_out', `The body did not arrive within ${bodyTimeoutMs / 1000} seconds`)),
  }
  arriving.add(arrival)
  payload.on('data', (chunk: Buffer) => {
    received += chunk.length
    if (received > mostBytes) isTooLarge = true
    if (!isTooLarge) chunks.push(chunk)
    else if (received > maxDroppedBytes) end(tooLarge(mostBytes))
  })
  const onError = () => end(new RequestError('invalid_request', 'The body was cut off'))
  payload.on('end', () => end(isTooLarge ? tooLarge(mostBytes) : undefined))
  payload.on('error', onError)
  payload.on('close', onError)
  if (announcedBytes > maxDroppedBytes) end(tooLarge(mostBytes))
}

function decompress(
  decode: (coded: Buffer, options: { maxOutputLength: number }) => Buffer,
  coded: Buffer,
  mostBytes: number,
): Buffer {
  try {
    return decode(coded, { maxOutputLength: mostBytes })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(mostBytes)
    throw new RequestError(
      'invalid_request',
      'body: its bytes are not in the coding that Content-Encoding names',
    )
  }
}

function parse(bytes: Buffer): unknown {
  if (bytes.length === 0)
    throw new RequestError('invalid_request', 'body: expected a JSON document, got nothing')
  if (!isUtf8(bytes)) throw new RequestError('invalid_request', 'body: not valid UTF-8')
  try {
    return parseStrictJson(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof JsonFault)
      throw new RequestError('invalid_request', `body: malformed JSON: ${error.message}`)
    throw error
  }
}
