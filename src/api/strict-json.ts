/** Reads JSON that comes from strangers: what other parsers quietly accept or repair is refused, with its position. */

/** The text is not JSON as it has to be here. Says where and what was expected, never what was there. */
export class JsonFault extends Error {
  override readonly name = 'JsonFault'
  /** Both count from 1; columns in UTF-16 code units. */
  readonly line: number
  readonly column: number

  constructor(what: string, text: string, at: number) {
    const before = text.slice(0, at)
    const line = before.split('\n').length
    const column = at - before.lastIndexOf('\n')
    // Expected, and told by its position: a stack would cost more than the parsing.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(`${what} at line ${line}, column ${column}`)
    Error.stackTraceLimit = stackTraceLimit
    this.line = line
    this.column = column
  }
}

/** Objects and lists within each other, the outermost counted. */
export const maxDepth = 32

/** Keys that reach an object's prototype in careless code further on. */
const prototypeKeys = new Set(['__proto__', 'constructor', 'prototype'])

/** Everything a string may hold as it is. Sticky, as the others: each match starts where reading is. */
const plainRun = /[ !#-[\]-\uffff]*/y
const numberForm = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const hexForm = /[0-9a-fA-F]{4}/y

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

/**
 * Parses `text` as `JSON.parse` does, and refuses besides: keys given twice, prototype keys, nesting beyond
 * `maxDepth`, NUL and lone surrogates in strings, numbers that a double cannot hold exactly enough.
 *
 * @throws JsonFault at the first of these
 */
export function parseStrictJson(text: string): unknown {
  let at = 0

  const fail = (what: string, where = at): never => {
    throw new JsonFault(what, text, where)
  }

  const skipBlanks = () => {
    for (;;) {
      const code = text.charCodeAt(at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      at += 1
    }
  }

  const readValue = (depth: number): unknown => {
    skipBlanks()
    switch (text[at]) {
      case '{':
        return readObject(depth + 1)
      case '[':
        return readList(depth + 1)
      case '"':
        return readString()
      case 't':
        return readWord('true', true)
      case 'f':
        return readWord('false', false)
      case 'n':
        return readWord('null', null)
      default:
        return readNumber()
    }
  }

  const readWord = <V>(word: string, value: V): V => {
    if (!text.startsWith(word, at)) fail('expected a value')
    at += word.length
    return value
  }

  const readNumber = (): number => {
    numberForm.lastIndex = at
    const digits = numberForm.exec(text)?.[0]
    if (digits === undefined)
      return fail(at >= text.length ? 'the document ends too early' : 'expected a value')
    const value = Number(digits)
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) fail('a number is too large')
    at += digits.length
    return value
  }

  const readObject = (depth: number): Record<string, unknown> => {
    if (depth > maxDepth) fail(`nesting deeper than ${maxDepth} levels`)
    const members: Record<string, unknown> = {}
    at += 1
    skipBlanks()
    if (text[at] === '}') {
      at += 1
      return members
    }
    for (;;) {
      skipBlanks()
      const keyAt = at
      if (text[at] !== '"') fail('expected a key in double quotes')
      const key = readString()
      if (prototypeKeys.has(key)) fail('a key that is not allowed', keyAt)
      if (Object.hasOwn(members, key)) fail('a key is given twice', keyAt)
      skipBlanks()
      if (text[at] !== ':') fail('expected a colon')
      at += 1
      members[key] = readValue(depth)
      skipBlanks()
      if (text[at] === '}') break
      if (text[at] !== ',') fail('expected a comma or the end of the object')
      at += 1
    }
    at += 1
    return members
  }

  const readList = (depth: number): unknown[] => {
    if (depth > maxDepth) fail(`nesting deeper than ${maxDepth} levels`)
    const items: unknown[] = []
    at += 1
    skipBlanks()
    if (text[at] === ']') {
      at += 1
      return items
    }
    for (;;) {
      items.push(readValue(depth))
      skipBlanks()
      if (text[at] === ']') break
      if (text[at] !== ',') fail('expected a comma or the end of the list')
      at += 1
    }
    at += 1
    return items
  }

  const readString = (): string => {
    const start = at
    at += 1
    let value = ''
    for (;;) {
      plainRun.lastIndex = at
      const run = plainRun.exec(text)?.[0] ?? ''
      value += run
      at += run.length
      const next = text[at]
      if (next === '"') break
      if (next === '\\') value += readEscape()
      else if (next === undefined) fail('a string without end', start)
      else fail('a control character in a string')
    }
    at += 1
    if (value.includes('\0')) fail('a string with a NUL character', start)
    if (!value.isWellFormed()) fail('a string with half of a surrogate pair', start)
    return value
  }

  const readEscape = (): string => {
    const letter = text[at + 1] ?? ''
    if (letter === 'u') {
      hexForm.lastIndex = at + 2
      const digits = hexForm.exec(text)?.[0] ?? fail('expected four hexadecimal digits')
      at += 6
      return String.fromCharCode(Number.parseInt(digits, 16))
    }
    const meant = escapes[letter] ?? fail('an escape that JSON does not know')
    at += 2
    return meant
  }

  const document = readValue(0)
  skipBlanks()
  if (at < text.length) fail('expected the end of the document')
  return document
}
