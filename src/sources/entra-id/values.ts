/** Reads the values of Graph's documents: what is absent, empty or of the wrong type is undefined. */

/** Longest text kept, in characters. Most of Graph's properties end at 64 to 256. */
const longestText = 512

/** Most texts are: words with one blank between two, of which nothing has to be changed. */
const plain = /^[!-~]+(?: [!-~]+)*$/

/** One line without characters that are not seen; spelt as it is otherwise. */
export function textOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (value.length <= longestText && plain.test(value)) return value
  const text = value
    .slice(0, 8 * longestText)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  if (text === '') return undefined
  return text.length <= longestText ? text : text.slice(0, longestText).toWellFormed()
}

export const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.map(textOf).filter((text) => text !== undefined) : []

export const claimOf = (value: unknown): boolean | undefined =>
  typeof value === 'boolean' ? value : undefined

const guid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** An object's id, in lower case. */
export const idOf = (value: unknown): string | undefined =>
  typeof value === 'string' && guid.test(value) ? value.toLowerCase() : undefined

const dateTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/

/** Already in the form that is told, on a day that every month has. */
const plainTime = /^(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/

/** RFC 3339 in whole seconds. Year 1 and year 9999, which Graph writes for "never", are left out. */
export function timeOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (plainTime.test(value)) return value
  if (!dateTime.test(value)) return undefined
  const time = new Date(value)
  const year = time.getUTCFullYear()
  return year >= 1900 && year < 9999 ? `${time.toISOString().slice(0, 19)}Z` : undefined
}

/** The members that have a value; undefined when none has. */
export function membersOf<T extends object>(object: T): Present<T> | undefined {
  let found: Partial<T> | undefined
  for (const name in object) {
    if (object[name] === undefined) continue
    found ??= {}
    found[name] = object[name]
  }
  return found as Present<T> | undefined
}

/** The same with members that may be undefined left out instead. */
export type Present<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K]
} & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> }

/** Lower case, sorted, without repeats; undefined when there is none. */
export function setOf(values: readonly (string | undefined)[]): readonly string[] | undefined {
  const set = new Set(values.flatMap((value) => (value === undefined ? [] : [value.toLowerCase()])))
  return set.size === 0 ? undefined : [...set].sort()
}
