/** The provider's own document as it is kept: small, without secrets, in one canonical form. */
import { cleanFreeValue } from '../outbound/clean-text.ts'

/** Largest document kept, in bytes of its JSON text. */
export const maxRawBytes = 4096
/** Longest text kept, in characters. */
const maxTextLength = 512
const maxDepth = 6
/** Most members of an object, and items of a list, that are kept. */
const maxMembers = 200
const maxItems = 50
const maxNameLength = 128

export type RawDocument = { readonly [name: string]: RawValue }
type RawValue = string | number | boolean | readonly RawValue[] | RawDocument

/** Names what did not fit, as paths; a member of its own at the top. */
export const leftOut = '_left_out'

/** Compared with names in lower case and without separators: `recoveryEmail`, `client_secret`, `thumbnailPhotoUrl`. */
const secretNames =
  /password|passwd|passphrase|passcode|secret|token|credential|recovery|hash|photo|picture|thumbnail|avatar|privatekey|apikey|accesskey|bitlocker|^otp|^pin$/
/** Members that point elsewhere or number a version: `_links`, `_embedded`, `@odata.context`, `etag`. */
const pointers = /^[_@]|^links?$|^href$|etag$/i

/**
 * What of `record` is worth keeping besides what was mapped. Left out are the paths of `mapped` (what the model holds
 * already, and what changes by itself: `lastLogin`, `profile.login`; lists are walked through, so that
 * `organizations.title` means each of them), secrets by their name, pictures, links, and whatever is null or empty.
 * Members are sorted, lists too, as a directory's lists are sets: equal content is equal text. What does not fit is
 * left out, the largest first, and named in `_left_out`. Undefined when nothing is left.
 */
export function smallRaw(record: unknown, mapped: ReadonlySet<string>): RawDocument | undefined {
  if (!isRecord(record)) return undefined
  const document = keptMembers(record, '', mapped, 1)
  return document === undefined ? undefined : fitted(document)
}

function kept(
  value: unknown,
  path: string,
  mapped: ReadonlySet<string>,
  depth: number,
): RawValue | undefined {
  switch (typeof value) {
    case 'string':
      return keptText(value)
    case 'number':
    case 'boolean':
      return value
    default:
      if (depth > maxDepth) return undefined
      if (Array.isArray(value)) return keptItems(value, path, mapped, depth)
      return isRecord(value) ? keptMembers(value, path, mapped, depth) : undefined
  }
}

function keptMembers(
  record: Readonly<Record<string, unknown>>,
  path: string,
  mapped: ReadonlySet<string>,
  depth: number,
): RawDocument | undefined {
  const members: [string, RawValue][] = []
  const names = Object.keys(record)
  // Of too many, the first by their names.
  if (names.length > maxMembers) names.sort()
  for (const name of names) {
    if (members.length === maxMembers) break
    const memberPath = path === '' ? name : `${path}.${name}`
    const member = record[name]
    if (member === null || member === '') continue
    if (mapped.has(memberPath) || !isWorthKeeping(name, member)) continue
    const value = kept(member, memberPath, mapped, depth + 1)
    if (value !== undefined) members.push([name, value])
  }
  if (members.length === 0) return undefined
  members.sort(byName)
  const document: Record<string, RawValue> = {}
  // No name that begins with "_" is among them, `__proto__` would become the prototype.
  for (const [name, value] of members) document[name] = value
  return document
}

const byName = ([one]: readonly [string, RawValue], [other]: readonly [string, RawValue]) =>
  one < other ? -1 : 1

function keptItems(
  items: readonly unknown[],
  path: string,
  mapped: ReadonlySet<string>,
  depth: number,
): readonly RawValue[] | undefined {
  const values: RawValue[] = []
  for (const item of items) {
    const value = kept(item, path, mapped, depth + 1)
    if (value !== undefined) values.push(value)
  }
  if (values.length < 2) return values.length === 0 ? undefined : values
  return values
    .map((value) => ({ value, text: JSON.stringify(value) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .slice(0, maxItems)
    .map(({ value }) => value)
}

function isWorthKeeping(name: string, member: unknown): boolean {
  if (name.length > maxNameLength) return false
  switch (worthOf(name)) {
    case 'all':
      return true
    case 'claims':
      return typeof member === 'boolean' || (typeof member === 'string' && isTime.test(member))
    case 'nothing':
      return false
  }
}

/**
 * What of the members of a name is kept. Neither a claim nor a time is a secret: `changePasswordAtNextLogin`,
 * `passwordChanged`.
 */
type Worth = 'all' | 'claims' | 'nothing'

/** Records have the same names one after another. */
const worths = new Map<string, Worth>()
const mostWorths = 1_000

function worthOf(name: string): Worth {
  const known = worths.get(name)
  if (known !== undefined) return known
  const isRefused = pointers.test(name) || (!/^\w+$/.test(name) && keptText(name) !== name)
  const isSecret = () => secretNames.test(name.toLowerCase().replace(/[^a-z]/g, ''))
  const worth = isRefused ? 'nothing' : isSecret() ? 'claims' : 'all'
  if (worths.size >= mostWorths) worths.clear()
  worths.set(name, worth)
  return worth
}

const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/

/** Plain text in which no secret can hide: what needs no cleaning is most of all. */
const isPlain = (text: string) =>
  text.length <= maxTextLength &&
  !/[^\x20-\x7e]|\s\s|eyJ|ya29|-----|\b(?:Bearer|SSWS|DPoP|Basic)\s/i.test(text)

function keptText(text: string): string | undefined {
  const clean = isPlain(text) ? text : cleanFreeValue(text, maxTextLength)
  return clean === '' ? undefined : clean
}

/** Leaves out the largest values until the rest fits. */
function fitted(document: RawDocument): RawDocument {
  if (bytesOf(document) <= maxRawBytes) return document
  const leaves = leavesOf(document, []).sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1))
  for (let count = 1; ; count = Math.ceil(count * 1.25)) {
    const gone = new Set(leaves.slice(0, count).map(({ name }) => name))
    const rest = without(document, '', gone) ?? {}
    const named = { ...rest, [leftOut]: namedIn(gone) }
    if (bytesOf(named) <= maxRawBytes || count >= leaves.length) return named
  }
}

/** At most so many names are told of what was left out, and then how many more there are. */
const maxNamed = 10

function namedIn(gone: ReadonlySet<string>): readonly string[] {
  const names = [...gone].sort()
  if (names.length <= maxNamed) return names
  return [...names.slice(0, maxNamed), `and ${names.length - maxNamed} more`]
}

interface Leaf {
  readonly name: string
  readonly bytes: number
}

function leavesOf(document: RawDocument, path: readonly string[]): Leaf[] {
  return Object.entries(document).flatMap(([name, value]) =>
    isRecord(value)
      ? leavesOf(value as RawDocument, [...path, name])
      : [{ name: [...path, name].join('.'), bytes: bytesOf(value) + name.length }],
  )
}

function without(document: RawDocument, path: string, gone: ReadonlySet<string>): RawDocument | undefined {
  const members = Object.entries(document).flatMap(([name, value]): [string, RawValue][] => {
    const memberPath = path === '' ? name : `${path}.${name}`
    if (gone.has(memberPath)) return []
    const rest = isRecord(value) ? without(value as RawDocument, memberPath, gone) : value
    return rest === undefined ? [] : [[name, rest]]
  })
  return members.length === 0 ? undefined : Object.fromEntries(members)
}

const bytesOf = (value: RawValue) => Buffer.byteLength(JSON.stringify(value))

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
