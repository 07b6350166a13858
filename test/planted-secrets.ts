/** Secrets that a test plants, and the search for what is left of them, in whatever form. */

export interface PlantedSecrets {
  /** Looked for as a whole and in halves; a PEM or longer text piece by piece. */
  add(name: string, secret: string): void
  readonly count: () => number
  /** What of them is in `text`: their names and the form they are in, never the secrets themselves. */
  foundIn(text: string | Buffer): string[]
}

/** Shorter parts are too common to prove anything, in characters. */
const shortestPart = 12
/** A line of a PEM, and what an error message may hold of a longer text. */
const pieceLength = 64

export function plantSecrets(): PlantedSecrets {
  /** What betrays a secret, and the words for it. */
  const traces = new Map<string, string>()
  const names = new Set<string>()
  let index: Index | undefined
  return {
    count: () => names.size,
    add(name, secret) {
      if (secret.length < 2 * shortestPart) throw new Error(`${name} is too short to be looked for in halves`)
      if (names.has(name)) throw new Error(`${name} was planted before`)
      names.add(name)
      index = undefined
      const pieces =
        secret.length <= 2 * pieceLength
          ? [secret]
          : (secret.match(/[^\s-][^\n]{23,63}/g) ?? []).filter(isTelling)
      for (const [at, piece] of pieces.entries()) {
        const half = Math.ceil(piece.length / 2)
        for (const [part, text] of [
          ['whole', piece],
          ['first half', piece.slice(0, half)],
          ['second half', piece.slice(half)],
        ] as const)
          for (const [form, spelling] of spellingsOf(text))
            if (spelling.length >= shortestPart && !traces.has(spelling))
              traces.set(spelling, `${name} (piece ${at}, ${part}, ${form})`)
      }
    },
    foundIn(text) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text
      index ??= indexOf(traces)
      return [...search(bytes, index)].map((trace) => traces.get(trace) ?? '')
    },
  }
}

/** The frame of a PEM, and the header of a JSON Web Token, are the same in all of them. */
const isTelling = (piece: string) => !piece.startsWith('BEGIN ') && !piece.startsWith('END ')

function* spellingsOf(text: string): Iterable<readonly [string, string]> {
  if (text.length < shortestPart) return
  const bytes = Buffer.from(text)
  const json = JSON.stringify(text).slice(1, -1)
  yield ['plain', text]
  yield ['JSON', json]
  yield ['JSON in JSON', JSON.stringify(json).slice(1, -1)]
  yield ['percent-encoded', encodeURIComponent(text)]
  yield ['form-encoded', new URLSearchParams([['', text]]).toString().slice(1)]
  yield ['hex', bytes.toString('hex')]
  yield ['upper-case hex', bytes.toString('hex').toUpperCase()]
  // Within a longer text, base64 depends on where among three bytes it begins.
  for (const before of [0, 1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes])
    const from = before === 0 ? 0 : 4
    const to = Math.floor(shifted.length / 3) * 4
    yield [`base64, ${before} bytes into it`, shifted.toString('base64').slice(from, to)]
    yield [`base64url, ${before} bytes into it`, shifted.toString('base64url').slice(from, to)]
  }
}

/**
 * Thousands of traces are looked for in one pass: every run of bytes as long as the shortest trace is hashed, and what
 * has the hash of a trace's beginning is compared with it.
 */
interface Index {
  readonly byHash: ReadonlyMap<number, readonly string[]>
  /** Says of most hashes that they are no trace's. */
  readonly mayBe: Uint8Array
}

function indexOf(traces: ReadonlyMap<string, string>): Index {
  const byHash = Map.groupBy(traces.keys(), (trace) => hashOf(Buffer.from(trace)))
  const mayBe = new Uint8Array(1 << 20)
  for (const hash of byHash.keys()) mayBe[hash >>> 12] = 1
  return { byHash, mayBe }
}

function search(bytes: Buffer, { byHash, mayBe }: Index): ReadonlySet<string> {
  const found = new Set<string>()
  let hash = 0
  for (let end = 1; end <= bytes.length; end += 1) {
    hash = (Math.imul(hash, base) + (bytes[end - 1] as number)) | 0
    if (end < shortestPart) continue
    const start = end - shortestPart
    if (start > 0) hash = (hash - Math.imul(bytes[start - 1] as number, leaving)) | 0
    if (mayBe[hash >>> 12] === 0) continue
    for (const trace of byHash.get(hash >>> 0) ?? [])
      if (bytes.subarray(start, start + Buffer.byteLength(trace)).equals(Buffer.from(trace))) found.add(trace)
  }
  return found
}

const base = 0x01000193
/** The weight of the byte that leaves the run. */
const leaving = Array.from({ length: shortestPart }).reduce<number>((power) => Math.imul(power, base), 1)

const hashOf = (bytes: Buffer) =>
  bytes.subarray(0, shortestPart).reduce((hash, byte) => (Math.imul(hash, base) + byte) | 0, 0) >>> 0
