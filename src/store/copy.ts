/** COPY: many rows at once, in PostgreSQL's text format. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'

/** Sent at a time, in characters; between two, others have their turn. */
const pieceLength = 65_536

/**
 * A field. NUL, which PostgreSQL keeps in no text, becomes the replacement character.
 *
 * @see https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export function copyField(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) return '\\N'
  if (typeof value === 'boolean') return value ? 't' : 'f'
  if (typeof value === 'number') return String(value)
  return /[\\\t\n\r\0]/.test(value) ? value.replace(/[\\\t\n\r\0]/g, (found) => escapes[found] ?? '') : value
}

const escapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\0': '\uFFFD',
}

/** A row, its fields as `copyField` makes them. */
export function copyRow(...fields: readonly Parameters<typeof copyField>[0][]): string {
  let row = ''
  let separator = ''
  for (const field of fields) {
    row += separator + copyField(field)
    separator = '\t'
  }
  return `${row}\n`
}

/** The text of an array of texts. @see https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
export function arrayText(values: readonly string[]): string {
  let text = ''
  for (const value of values) {
    const escaped = /["\\]/.test(value) ? value.replace(/["\\]/g, '\\$&') : value
    text += `${text === '' ? '"' : ',"'}${escaped}"`
  }
  return `{${text}}`
}

/**
 * The text of a tsvector without positions.
 *
 * @param prefix stands before every term
 * @see https://www.postgresql.org/docs/current/datatype-textsearch.html
 */
export function tsvectorText(terms: readonly string[], prefix: string): string {
  let text = ''
  for (const term of terms) {
    const escaped = /['\\]/.test(term) ? term.replace(/['\\]/g, '$&$&') : term
    text += `${text === '' ? "'" : " '"}${prefix}${escaped}'`
  }
  return text
}

/** @param into table and columns, as SQL */
export async function copyInto(client: pg.ClientBase, into: string, rows: Iterable<string>): Promise<void> {
  await pipeline(Readable.from(piecesOf(rows)), client.query(copyFrom(`copy ${into} from stdin`)))
}

function* piecesOf(rows: Iterable<string>): Generator<string> {
  let piece = ''
  for (const row of rows) {
    piece += row
    if (piece.length < pieceLength) continue
    yield piece
    piece = ''
  }
  if (piece !== '') yield piece
}
