/**
 * Reads queries: words that must all be there, `field:value`, `"several words"`, `prefix*`, `-not`, `OR`, parentheses.
 * Whatever the text is, there is a tree or a QueryFault.
 */
import ipaddr from 'ipaddr.js'
import { isQueryField, queryFieldNames, queryFields } from './query-fields.ts'
import type { QueryTerm, QueryTree } from './query-tree.ts'
import { fold } from './terms.ts'

/** Says what was expected and where: positions count characters from 0. Repeats nothing of the text but known names. */
export class QueryFault extends Error {
  override readonly name = 'QueryFault'
  readonly position: number

  constructor(what: string, position: number) {
    super(`${what} at position ${position}`)
    this.position = position
  }
}

/** In characters. */
export const longestQuery = 2_000
const mostTerms = 50
/** Parentheses and negations within each other. */
const deepest = 32

/** Ends a word that is not in quotes. */
const wordEnd = /[\s"()]/
const blanks = /\s*/y

/** @returns undefined for a text of blanks alone @throws QueryFault */
export function parseQuery(text: string): QueryTree | undefined {
  if (text.length > longestQuery)
    throw new QueryFault(`expected at most ${longestQuery} characters`, longestQuery)
  if (!text.isWellFormed()) throw new QueryFault('expected whole characters', text.search(/\p{Cs}/u))
  const control = /[^\P{Cc}\s]/u.exec(text)
  if (control !== null) throw new QueryFault('expected no control character', control.index)

  let at = 0
  let terms = 0
  const fail = (what: string, where = at): never => {
    throw new QueryFault(what, where)
  }
  const skipBlanks = () => {
    blanks.lastIndex = at
    blanks.test(text)
    at = blanks.lastIndex
  }
  /** Takes a word of the language, which stands alone. */
  const takes = (word: string): boolean => {
    if (!text.startsWith(word, at)) return false
    const next = text[at + word.length]
    if (next !== undefined && !wordEnd.test(next)) return false
    at += word.length
    skipBlanks()
    return true
  }

  const readAny = (depth: number): QueryTree => {
    const parts = [readAll(depth)]
    while (takes('OR')) parts.push(readAll(depth))
    return several('or', parts)
  }

  const readAll = (depth: number): QueryTree => {
    const parts = [readOne(depth)]
    for (;;) {
      const isAnd = takes('AND')
      if (!isAnd && (at === text.length || text[at] === ')' || isAt('OR'))) break
      parts.push(readOne(depth))
    }
    return several('and', parts)
  }

  const isAt = (word: string) => {
    const before = at
    const isThere = takes(word)
    at = before
    return isThere
  }

  const readOne = (depth: number): QueryTree => {
    if (depth > deepest) fail(`expected at most ${deepest} levels of parentheses and negations`)
    if (text[at] === '-' || isAt('NOT')) {
      const isMinus = text[at] === '-'
      at += isMinus ? 1 : 'NOT'.length
      if (isMinus && (text[at] === undefined || /\s/.test(text[at] ?? ''))) fail('expected a term after "-"')
      skipBlanks()
      return { kind: 'not', of: readOne(depth + 1) }
    }
    if (text[at] === '(') {
      const opened = at
      at += 1
      skipBlanks()
      const inner = readAny(depth + 1)
      if (text[at] !== ')') fail(`expected ")" for the "(" of position ${opened}`)
      at += 1
      skipBlanks()
      return inner
    }
    const term = readTerm()
    skipBlanks()
    return term
  }

  const readTerm = (): QueryTree => {
    const start = at
    if (at === text.length) fail('expected a term')
    if (text[at] === ')') fail('expected a term before ")"')
    if (isAt('OR') || isAt('AND')) fail(`expected a term before "${text.slice(at, at + 3).trim()}"`)
    terms += 1
    if (terms > mostTerms) fail(`expected at most ${mostTerms} terms`)
    const field = readField()
    const valueAt = at
    const { value, isPrefix } = readValue(field)
    if (field === undefined && value === '' && isPrefix) return { kind: 'all' }
    // What is nothing when it is compared would match nothing, or everything.
    if (fold(value) === '' && !(isPrefix && value === ''))
      fail(field === undefined ? 'expected a value' : `expected a value after "${field}:"`, valueAt)
    const term: QueryTerm = { kind: 'term', ...(field && { field }), value, isPrefix, at: start }
    if (field !== undefined && 'isFlag' in queryFields[field] && !(value === '' && isPrefix))
      if (isPrefix || !/^(?:true|false)$/i.test(value))
        fail(`expected true or false after "${field}:"`, valueAt)
    return term
  }

  const readField = () => {
    const word = text.slice(at, at + wordLength(at))
    const colon = word.indexOf(':')
    if (colon === -1 || ipaddr.IPv6.isValid(word)) return undefined
    const name = word.slice(0, colon).toLowerCase()
    if (!isQueryField(name))
      return fail(`expected one of the fields ${queryFieldNames.join(', ')}, or quotes around the text,`)
    at += colon + 1
    return name
  }

  const wordLength = (from: number) => {
    const end = text.slice(from).search(wordEnd)
    return end === -1 ? text.length - from : end
  }

  const readValue = (field: string | undefined) => {
    if (text[at] === '"') {
      const value = readQuoted()
      const isPrefix = text[at] === '*'
      if (isPrefix) at += 1
      if (text[at] !== undefined && !/[\s)]/.test(text[at] ?? '')) fail('expected a blank after the quotes')
      return { value, isPrefix }
    }
    const word = text.slice(at, at + wordLength(at))
    if (word === '') fail(field === undefined ? 'expected a term' : `expected a value after "${field}:"`)
    const star = word.indexOf('*')
    if (star !== -1 && star !== word.length - 1)
      fail('expected "*" at the end of a term alone, or quotes around the text,', at + star)
    at += word.length
    if (text[at] === '"' || text[at] === '(') fail('expected a blank')
    return { value: star === -1 ? word : word.slice(0, -1), isPrefix: star !== -1 }
  }

  const readQuoted = (): string => {
    const opened = at
    at += 1
    let value = ''
    for (;;) {
      const letter = text[at]
      if (letter === undefined) fail(`expected a closing quote for that of position ${opened}`)
      if (letter === '"') break
      const isEscape = letter === '\\' && /["\\]/.test(text[at + 1] ?? '')
      value += isEscape ? text[at + 1] : letter
      at += isEscape ? 2 : 1
    }
    at += 1
    return value
  }

  skipBlanks()
  if (at === text.length) return undefined
  const tree = readAny(0)
  if (at < text.length) fail('expected "(" before this ")"')
  return tree
}

const several = (kind: 'and' | 'or', parts: readonly QueryTree[]): QueryTree => {
  const [only] = parts
  return only !== undefined && parts.length === 1 ? only : { kind, of: parts }
}
