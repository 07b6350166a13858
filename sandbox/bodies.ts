/** Bodies that no honest server sends, made while they are sent. */
import { constants, crc32, deflateRawSync } from 'node:zlib'

const mebibyte = 2 ** 20
const pieceBytes = 4 * mebibyte

/** What `gzipBomb` expands to, in bytes: 10 GB. */
export const bombBytes = 10 * 2 ** 30

/**
 * A gzip stream of `expandedBytes` zeros (a multiple of 4 MiB), about a thousandth of that on the wire. One
 * compressed piece that ends on a byte boundary is repeated, so that memory stays flat and hardly any time is spent.
 */
export function* gzipBomb(expandedBytes: number = bombBytes): Generator<Buffer> {
  const zeros = Buffer.alloc(pieceBytes)
  const piece = deflateRawSync(zeros, { level: 9, finishFlush: constants.Z_FULL_FLUSH })
  // RFC 1952: magic, deflate, no flags, no time, best compression, unknown system.
  yield Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255])
  let checksum = 0
  for (let sent = 0; sent < expandedBytes; sent += pieceBytes) {
    yield piece
    checksum = crc32(zeros, checksum)
  }
  const tail = Buffer.alloc(10)
  tail.writeUInt16LE(0x0003, 0) // An empty last block.
  tail.writeUInt32LE(checksum, 2)
  tail.writeUInt32LE(expandedBytes % 2 ** 32, 6)
  yield tail
}

/** The beginning of a JSON document that never ends. */
export function* endlessJson(): Generator<Buffer> {
  yield Buffer.from('{"padding":"')
  const piece = Buffer.alloc(64 * 1024, 'x')
  for (;;) yield piece
}

/** JSON nested 100,000 deep in 200 KB: within every limit on size. */
export const deepJson = (): string => `${'['.repeat(100_000)}${']'.repeat(100_000)}`

export const captivePortalPage = `<!DOCTYPE html>
<html>
<head><title>Welcome to Airport Wi-Fi</title></head>
<body><h1>Welcome</h1><p>Accept the terms of use to go online.</p><form method="post" action="/accept"><button>Accept</button></form></body>
</html>
`
