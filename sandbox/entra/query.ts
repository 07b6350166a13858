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
  readonly count: number
  at(index: number): GraphObject
  readonly properties: readonly string[]
  /** What is returned without `$select`; all properties by default. */
  readonly defaults?: readonly string[]
  /** Query options that the operation's page names beyond `$select`; all known ones by default. */
  readonly options?: readonly string[]
  /** Largest page by the properties selected, where it is not 999. */
  largestPage?(selected: ReadonlySet<string>): number
  readonly expand?: Readonly<Record<string, (entry: GraphObject) => unknown>>
}

const largestPage = 999
const defaultPage = 100

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

export const pick = (entry: GraphObject, selected: ReadonlySet<string>): GraphObject =>
  Object.fromEntries(Object.entries(entry).filter(([name]) => selected.has(name) || name.startsWith('@')))

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

/** `property eq literal`, `startswith(property,'text')`, and several of them joined by `and`. */
function readFilter(
  options: ReadonlyMap<string, string>,
  properties: readonly string[],
): Predicate | undefined {
  const filter = options.get('$filter')
  if (filter === undefined) return undefined
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
  const cap = collection.largestPage?.(selected) ?? largestPage
  const size = Math.min(readTop(options) ?? defaultPage, cap)
  const scope = request.url.pathname
  const token = options.get('$skiptoken')
  const { from, isEmptied } =
    token === undefined ? { from: 0, isEmptied: false } : openToken(token, request.seal, scope)

  const value: GraphObject[] = []
  let next = from
  if (!(request.isEmptying && token !== undefined && !isEmptied)) {
    for (; next < collection.count && value.length < size; next++) {
      const entry = collection.at(next)
      if (matches !== undefined && !matches(entry)) continue
      value.push({ ...pick(entry, selected), ...expandedOf(entry, expanded, collection) })
    }
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
    ...(isCounted && matches === undefined && { '@odata.count': collection.count }),
    ...(link !== undefined && { '@odata.nextLink': link }),
    value,
  }
}

function readExpand(
  options: ReadonlyMap<string, string>,
  { expand = {}, type }: Collection,
): readonly string[] {
  const wanted = options.get('$expand')
  if (wanted === undefined) return []
  const names = wanted.split(/,(?![^(]*\))/).map((part) => part.replace(/\(.*\)$/, '').trim())
  const unknown = names.find((name) => !Object.hasOwn(expand, name))
  if (unknown !== undefined)
    throw new GraphRefusal(
      400,
      'BadRequest',
      `Parsing OData Select and Expand failed: Could not find a property named '${unknown}' on type '${type}'.`,
    )
  return names
}

function expandedOf(entry: GraphObject, names: readonly string[], { expand = {} }: Collection): GraphObject {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = expand[name]?.(entry)
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

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
