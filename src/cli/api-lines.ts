/** Asks a Credence server for lines, and writes them as they come, however many there are. */
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Agent, request } from 'undici'
import { JsonRefused, parseBoundedJson } from '../outbound/bounded-json.ts'
import type { ApiAnswer } from './api-client.ts'
import { CouldNotTell } from './exit-codes.ts'
import type { ServerAccess } from './profiles.ts'
import { write } from './terminal.ts'

/** A server that follows sends something at least every 15 s. */
const longestSilenceMs = 60_000

/** What could steer a terminal, and JSON does not escape by itself. */
const unprintable = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu

const escaped = (text: string) =>
  text.replace(unprintable, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )

/** Takes a text piece by piece, cut anywhere, and gives it back without its empty lines: they only say that the server is there. */
export function withoutEmptyLines(): (piece: string) => string {
  let isLineBegun = false
  return (piece) => {
    const kept = piece.replace(/\n+/g, (_, at: number) => (at > 0 || isLineBegun ? '\n' : ''))
    if (piece !== '') isLineBegun = !piece.endsWith('\n')
    return kept
  }
}

/**
 * Writes the lines of a successful answer to standard output.
 *
 * @returns the answer where it was another
 * @throws CouldNotTell when there is none, or when it breaks off
 */
export async function writeLines(
  server: ServerAccess,
  path: string,
  timeoutMs: number,
): Promise<ApiAnswer | undefined> {
  const agent = new Agent({
    allowH2: false,
    connections: 1,
    connect: { timeout: timeoutMs, minVersion: 'TLSv1.2' },
    headersTimeout: timeoutMs,
    bodyTimeout: longestSilenceMs,
  })
  let hasBegun = false
  try {
    const { statusCode: status, body } = await request(`${server.url}${path}`, {
      dispatcher: agent,
      headers: {
        accept: 'application/x-ndjson, application/json',
        ...(server.apiKey !== undefined && { 'dd-api-key': server.apiKey }),
        'dd-application-key': server.applicationKey,
      },
    })
    if (status !== 200) return { status, document: documentOf(await body.text()) }
    hasBegun = true
    const kept = withoutEmptyLines()
    await pipeline(
      body.setEncoding('utf8'),
      new Writable({
        decodeStrings: false,
        write: (text: string, _, done) => {
          write(process.stdout, escaped(kept(text))).then(() => done(), done)
        },
      }),
    )
    return undefined
  } catch (error) {
    if (error instanceof Error && 'syscall' in error && error.syscall === 'write') throw error
    throw new CouldNotTell(
      hasBegun
        ? `${server.url} broke off: what was printed is not all of it`
        : `${server.url} could not be asked; is it running, and CREDENCE_URL right?`,
    )
  } finally {
    await agent.destroy()
  }
}

function documentOf(text: string): unknown {
  try {
    return parseBoundedJson(text)
  } catch (error) {
    if (error instanceof JsonRefused) return undefined
    throw error
  }
}
