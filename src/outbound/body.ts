/** Collects an answer's body and decodes it, under a limit that holds before and after decompression. */
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { AnswerRefused } from './failure.ts'

const tooLarge = (maxBytes: number) =>
  new AnswerRefused('too_large', `the body is larger than ${maxBytes} bytes`)

/** More pieces are not taken: a server that sends a few bytes in each keeps the parser busy, and no honest one does. */
const maxPieces = 16_384

/** Bytes that arrived, put together as they come, so that many small pieces take no more memory than one. */
export class BodyBytes {
  readonly #maxBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  #size = 0
  #pieces = 0
  #announced = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Takes the room for so many bytes at once, when a second piece comes.
   *
   * @param length `Content-Length`, if there is one
   */
  expect(length: unknown): void {
    if (typeof length === 'string' && /^\d{1,15}$/.test(length)) this.#announced = Number(length)
  }

  /** @throws AnswerRefused at the first byte or piece over the limit */
  add(chunk: Buffer): void {
    const size = this.#size + chunk.length
    if (size > this.#maxBytes || ++this.#pieces > maxPieces) throw tooLarge(this.#maxBytes)
    // Most bodies come in one piece, which is kept as it is. There is never room behind it.
    if (this.#size === 0) {
      this.#buffer = chunk
      this.#size = size
      return
    }
    if (size > this.#buffer.length) {
      const wanted = this.#announced >= size ? this.#announced : Math.max(4096, 2 * size)
      const grown = Buffer.allocUnsafe(Math.min(this.#maxBytes, wanted))
      this.#buffer.copy(grown, 0, 0, this.#size)
      this.#buffer = grown
    }
    chunk.copy(this.#buffer, this.#size)
    this.#size = size
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size)
  }
}

const utf8 = new TextDecoder()

/** Identity is asked for; servers that compress all the same may use one coding. Two or more serve bombs alone. */
const decoders = new Map([
  ['gzip', promisify(zlib.gunzip)],
  ['x-gzip', promisify(zlib.gunzip)],
  ['deflate', promisify(zlib.inflate)],
  ['br', promisify(zlib.brotliDecompress)],
])

/**
 * The body as text (UTF-8, a byte order mark dropped).
 *
 * @param contentEncodings all fields of this name
 * @throws AnswerRefused for a coding that is not accepted or whose result is over `maxBytes`; an error of zlib when the
 *   body is not in its coding
 */
export async function decodeBody(
  bytes: Buffer,
  contentEncodings: readonly string[],
  maxBytes: number,
): Promise<string> {
  const coding = contentEncodings.join().trim().toLowerCase()
  if (coding === '' || coding === 'identity') return utf8.decode(bytes)
  const decode = decoders.get(coding)
  if (decode === undefined)
    throw new AnswerRefused('unexpected_response', 'the content coding is not accepted')
  try {
    return utf8.decode(await decode(bytes, { maxOutputLength: maxBytes }))
  } catch (error) {
    // zlib stops there; the rest is never produced.
    if (error instanceof RangeError) throw tooLarge(maxBytes)
    throw error
  }
}
