/** Long JSON documents, sent from their pieces. */
import type { FastifyReply } from 'fastify'

/**
 * Sends a document that is serialised already, in pieces. As one text, a million characters would be copied three times
 * on their way to the socket, and their memory collected late.
 */
export function sendJsonPieces(reply: FastifyReply, pieces: readonly string[]): void {
  reply.header('content-type', 'application/json').send(bytesOf(pieces))
}

/** UTF-8 has three bytes at most for what is one character of a text. */
const mostBytes = 3

function bytesOf(pieces: readonly string[]): Buffer {
  let characters = 0
  let longest = 0
  for (const { length } of pieces) {
    characters += length
    longest = Math.max(longest, length)
  }
  // Enough for what is ASCII, as nearly all of it is, whatever the last piece is.
  let bytes = Buffer.allocUnsafe(characters + mostBytes * longest)
  let length = 0
  for (const piece of pieces) {
    if (length + mostBytes * piece.length > bytes.length)
      bytes = Buffer.concat([bytes.subarray(0, length), Buffer.allocUnsafe(bytes.length)])
    length += bytes.write(piece, length)
  }
  return bytes.subarray(0, length)
}
