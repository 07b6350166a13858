/** The part of OData that Graph's directory answers to: $select, $top, $filter, $expand, $count and pages. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { GraphObject } from './directory-objects.ts'

/** A refusal in Graph's terms. */
export class GraphRefusal extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** A list of which any entry can be made by its position. */
export interface Collection {
  /** `microsoft.graph.user`. */
  readonly type: string
  /** Positions, from 0 on; some may be empty. */
  readonly count: number
  at(index: number): GraphObject
  /** The entry with nothing but its id, which is made faster. */
  idAt?(index: number): GraphObject
  /** Whether there is an entry at a position; there is one at each by default. */
  has?(index: number): boolean
  /** The position of the entry with this id, if it is known without looking at all of them. */
  find?(id: string): number | undefined
  readonly properties: readonly string[]
  /** What is returned without `$select`; all properties by default. */
  readonly defaults?: readonly string[]
  /** Query options that the operation's page names beyond `$select`; all known ones by default. */
  readonly options?: readonly string[]
  /** Largest page by the properties selected, where it is not 999. */
  largestPage?(selected: ReadonlySet<string>): number
  /** Relationships: one object, or a list of them, or none. */
  readonly expand?: Readonly<
    Record<string, (index: number) => GraphObject | readonly GraphObject[] | undefined>
  >
}

const largestPage = 999
const defaultPage = 100
/** Largest page when a relationship is expanded. @see https://developer.microsoft.com/graph/known-issues/?search=13635 */
const largestExpandedPage = 100
/** Most expressions in a filter. @see https://learn.microsoft.com/graph/filter-query-parameter */
const mostExpressions = 15

const knownOptions = ['$select', '$top', '$filter', '$expand', '$count', '$skiptoken']

/** The query options of a request, keys in lower case with their `$`, which Graph does not insist on. */
export function readOptions(
  url: URL,
  allowed: readonly string[] = knownOptions,
): ReadonlyMap<string, string> {
  const options = new Map<string, string>()
  for (const [name, value] of url.searchParams) {
    const option = (name.startsWith('$') ? name : `$${name}`).toLowerCase()
    if (option === '$skip')
      throw new GraphRefusal(400, 'Request_UnsupportedQuery', "'$skip' is not supported by the service.")
    if (option === '$orderby')
      throw new GraphRefusal(400, 'Request_UnsupportedQuery', 'Sorting not supported for current query.')
    if (!knownOptions.includes(option))
      throw new GraphRefusal(
        400,
        'BadRequest',
        `The query parameter '${name.slice(0, 60)}' is not supported.`,
      )
    if (option !== '$select' && option !== '$skiptoken' && !allowed.includes(option))
      throw new GraphRefusal(400, 'Request_UnsupportedQuery', `The query option '${option}' is not allowed.`)
    options.set(option, value)
  }
  return options
}

/** The properties that are selected, or those returned by default. Nothing else is returned, not even `id`. */
export function readSelect(
  options: ReadonlyMap<string, string>,
  { type, properties, defaults = properties }: Pick<Collection, 'type' | 'properties' | 'defaults'>,
): ReadonlySet<string> {
  const select = options.get('$select')
  if (select === undefined) return new Set(defaults)
  const names = select.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !properties.includes(name))
  if (unknown !== undefined)
    throw new GraphRefusal(
      400,
      'BadRequest',
      `Parsing OData Select and Expand failed: Could not find a property named '${unknown}' on type '${type}'.`,
    )
  return new Set(names)
}

export function pick(entry: GraphObject, selected: ReadonlySet<string>): GraphObject {
  const picked: Record<string, unknown> = {}
  for (const name in entry) if (selected.has(name) || name.startsWith('@')) picked[name] = entry[name]
  return picked
}

function readTop(options: ReadonlyMap<string, string>): number | undefined {
  const top = options.get('$top')
  if (top === undefined) return undefined
  if (!/^\d{1,9}$/.test(top))
    throw new GraphRefusal(
      400,
      'BadRequest',
      `Invalid value '${top.slice(0, 20)}' for $top query option found. The $top query option requires a non-negative integer value.`,
    )
  const size = Number(top)
  if (size < 1 || size > largestPage)
    throw new GraphRefusal(
      400,
      'Request_UnsupportedQuery',
      `Invalid page size specified: '${size}'. Must be between 1 and ${largestPage} inclusive.`,
    )
  return size
}

type Predicate = (entry: GraphObject) => boolean

const idsIn = (filter: string | undefined): readonly string[] | undefined => {
  const list = /^\s*id in \(\s*('[^']*'(?:\s*,\s*'[^']*')*)\s*\)\s*$/i.exec(filter ?? '')?.[1]
  const ids = list?.split(',').map((part) => part.trim().slice(1, -1).toLowerCase())
  if (ids !== undefined && ids.length > mostExpressions)
    throw new GraphRefusal(
      400,
      'Request_UnsupportedQuery',
      `Too many child clauses specified in search filter expression containing 'OR' operators: ${ids.length}. Max allowed: ${mostExpressions}.`,
    )
  return ids
}

/** `id in (…)`, `property eq literal`, `startswith(property,'text')`, and several of the latter joined by `and`. */
function readFilter(
  options: ReadonlyMap<string, string>,
  properties: readonly string[],
): Predicate | undefined {
  const filter = options.get('$filter')
  if (filter === undefined) return undefined
  const ids = idsIn(filter)
  if (ids !== undefined) return (entry) => ids.includes(String(entry.id))
  const unsupported = () => new GraphRefusal(400, 'Request_UnsupportedQuery', 'Unsupported Query.')
  const predicates = filter.split(/ and /i).map((part): Predicate => {
    const equal = /^\s*(\w+) eq ('(?:[^']|'')*'|true|false|null)\s*$/.exec(part)
    const starts = /^\s*startswith\(\s*(\w+)\s*,\s*'((?:[^']|'')*)'\s*\)\s*$/i.exec(part)
    const property = equal?.[1] ?? starts?.[1]
    if (property === undefined || !properties.includes(property)) throw unsupported()
    if (starts !== null) {
      const start = (starts[2] ?? '').replaceAll("''", "'").toLowerCase()
      return (entry) =>
        String(entry[property] ?? '')
          .toLowerCase()
          .startsWith(start)
    }
    const literal = equal?.[2] ?? ''
    if (literal.startsWith("'")) {
      const text = literal.slice(1, -1).replaceAll("''", "'").toLowerCase()
      return (entry) => typeof entry[property] === 'string' && entry[property].toLowerCase() === text
    }
    const value = literal === 'null' ? null : literal === 'true'
    return (entry) => entry[property] === value
  })
  return (entry) => predicates.every((holds) => holds(entry))
}

/** Where the next page begins. */
interface Position {
  readonly from: number
  /** Whether the empty page that a fault asks for was already given. */
  readonly isEmptied: boolean
}

export interface PageRequest {
  readonly url: URL
  readonly headers: Headers
  /** Key under which skip tokens are signed: opaque ones that nobody makes up. */
  readonly seal: string
  readonly isRepeating: boolean
  readonly isEmptying: boolean
}

/** One page of a list, with the link to the next one. */
export function pageOf(collection: Collection, request: PageRequest): GraphObject {
  const options = readOptions(request.url, collection.options)
  const selected = readSelect(options, collection)
  const expanded = readExpand(options, collection)
  const matches = readFilter(options, collection.properties)
  const cap = Math.min(
    collection.largestPage?.(selected) ?? largestPage,
    expanded.size > 0 ? largestExpandedPage : largestPage,
  )
  const size = Math.min(readTop(options) ?? defaultPage, cap)
  const scope = request.url.pathname
  const token = options.get('$skiptoken')
  const { from, isEmptied } =
    token === undefined ? { from: 0, isEmptied: false } : openToken(token, request.seal, scope)

  const { has = () => true } = collection
  const { at, idAt } = collection
  const isIdAlone = selected.size === 1 && selected.has('id')
  const picked = isIdAlone && idAt !== undefined ? idAt : (index: number) => pick(at(index), selected)
  const shown = (index: number) =>
    expanded.size === 0 ? picked(index) : { ...picked(index), ...expandedOf(index, expanded, collection) }
  const ids = collection.find === undefined ? undefined : idsIn(options.get('$filter'))
  if (ids !== undefined)
    return {
      '@odata.context': contextOf(request.url, options),
      value: ids
        .map((id) => collection.find?.(id))
        .filter((index) => index !== undefined && has(index))
        .slice(0, size)
        .map((index) => shown(index ?? 0)),
    }

  const value: GraphObject[] = []
  let next = from
  if (!(request.isEmptying && token !== undefined && !isEmptied)) {
    for (; next < collection.count && value.length < size; next++) {
      if (!has(next) || (matches !== undefined && !matches(collection.at(next)))) continue
      value.push(shown(next))
    }
    while (next < collection.count && !has(next)) next++
  }
  const isEmpty = request.isEmptying && token !== undefined && !isEmptied
  const link =
    next < collection.count
      ? request.isRepeating
        ? request.url.href
        : linkTo(request.url, sealToken({ from: next, isEmptied: isEmptied || isEmpty }, request.seal, scope))
      : undefined
  const isCounted =
    options.get('$count') === 'true' && request.headers.get('consistencylevel')?.toLowerCase() === 'eventual'
  return {
    '@odata.context': contextOf(request.url, options),
    ...(isCounted && matches === undefined && { '@odata.count': countOf(collection) }),
    ...(link !== undefined && { '@odata.nextLink': link }),
    value,
  }
}

/** How many entries there are. */
export function countOf({ count, has }: Collection): number {
  if (has === undefined) return count
  let present = 0
  for (let index = 0; index < count; index++) if (has(index)) present++
  return present
}

/** The relationships to expand, each with the properties selected of it; all that are shown by default without. */
function readExpand(
  options: ReadonlyMap<string, string>,
  { expand = {}, type }: Collection,
): ReadonlyMap<string, ReadonlySet<string> | undefined> {
  const wanted = options.get('$expand')
  if (wanted === undefined) return new Map()
  const parts = wanted.split(/,(?![^(]*\))/).map((part) => /^\s*(\w+)\s*(?:\((.*)\))?\s*$/.exec(part))
  if (parts.length > 1)
    throw new GraphRefusal(
      400,
      'BadRequest',
      `Parsing OData Select and Expand failed: The result of parsing $expand contained at least ${parts.length} items, but the maximum allowed is 1.`,
    )
  return new Map(
    parts.map((part) => {
      const [text = '', name = '', inner] = part ?? []
      if (!Object.hasOwn(expand, name))
        throw new GraphRefusal(
          400,
          'BadRequest',
          `Parsing OData Select and Expand failed: Could not find a property named '${name || text}' on type '${type}'.`,
        )
      const select = inner === undefined ? undefined : /^\$select=([\w,\s]+)$/.exec(inner)?.[1]
      if (inner !== undefined && select === undefined)
        throw new GraphRefusal(400, 'Request_UnsupportedQuery', 'Unsupported Query.')
      return [name, select && new Set(select.split(',').map((property) => property.trim()))] as const
    }) as readonly (readonly [string, ReadonlySet<string> | undefined])[],
  )
}

function expandedOf(
  index: number,
  expanded: ReadonlyMap<string, ReadonlySet<string> | undefined>,
  { expand = {} }: Collection,
): GraphObject {
  return Object.fromEntries(
    [...expanded].flatMap(([name, selected]) => {
      const value = expand[name]?.(index)
      if (value === undefined) return []
      const shown = (entry: GraphObject) => (selected === undefined ? entry : pick(entry, selected))
      return [[name, isList(value) ? value.map(shown) : shown(value)]]
    }),
  )
}

const isList = (value: GraphObject | readonly GraphObject[]): value is readonly GraphObject[] =>
  Array.isArray(value)

export function contextOf(url: URL, options: ReadonlyMap<string, string>, suffix = ''): string {
  const [, version = 'v1.0', rest = ''] = /^\/([^/]+)\/(.*)$/.exec(url.pathname) ?? []
  const select = options.get('$select')
  return `${url.origin}/${version}/$metadata#${rest}${select === undefined ? '' : `(${select})`}${suffix}`
}

function linkTo(url: URL, token: string): string {
  const query = [...url.searchParams]
    .filter(([name]) => !/^\$?skiptoken$/i.test(name))
    .map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll('%2C', ',')}`)
  return `${url.origin}${url.pathname}?${[...query, `$skiptoken=${token}`].join('&')}`
}

const signatureOf = (text: string, seal: string, scope: string) =>
  createHmac('sha256', seal).update(`${scope}\0${text}`).digest('base64url').slice(0, 22)

function sealToken({ from, isEmptied }: Position, seal: string, scope: string): string {
  const text = Buffer.from(JSON.stringify([from, isEmptied])).toString('base64url')
  return `${text}.${signatureOf(text, seal, scope)}`
}

function openToken(token: string, seal: string, scope: string): Position {
  const [text = '', signature = ''] = token.split('.')
  const expected = Buffer.from(signatureOf(text, seal, scope))
  const given = Buffer.from(signature)
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new GraphRefusal(
      400,
      'Directory_ExpiredPageToken',
      'The specified page token value has expired and can no longer be included in your request.',
    )
  const [from, isEmptied] = JSON.parse(Buffer.from(text, 'base64url').toString()) as [number, boolean]
  return { from, isEmptied }
}
