/** One page of a Graph collection, and the links that lead on from it. */
import { SourceError } from '../../outbound/source-error.ts'
import { isObject } from './access.ts'
import { askedAt, type Client, type GraphObject, unusable } from './client.ts'
import type { Cloud } from './clouds.ts'
import type { Permission } from './permissions.ts'

/** Where a collection is read from. */
export interface Place {
  readonly operation: string
  /** Below `/v1.0`, without query: `/users/delta`. Links that lead anywhere else are not followed. */
  readonly path: string
  readonly needs: readonly Permission[]
}

export interface GraphPage {
  readonly value: readonly unknown[]
  /** Path and query below `/v1.0`, on the same host. */
  readonly next?: string
  readonly delta?: string
}

/** Longest link followed, in characters. Graph's own are a few hundred to two thousand long. */
const longestLink = 8192

/**
 * Reads one page of the collection at `place`.
 *
 * @param at path and query below `/v1.0`
 * @throws SourceError `unexpected_response` with the hint `link` when a link leads elsewhere or nowhere
 * @see https://learn.microsoft.com/graph/paging
 */
export async function readGraphPage(
  client: Client,
  cloud: Cloud,
  place: Place,
  at: string,
): Promise<GraphPage> {
  if (!leadsTo(place, at)) throw badLink(place, 'other_path')
  const body = await client.read(place.operation, at, place.needs)
  if (!Array.isArray(body.value)) throw unusable(place.operation, askedAt(at))
  const next = linkIn(body, '@odata.nextLink', cloud, place)
  if (next === at) throw badLink(place, 'repeats')
  const delta = next === undefined ? linkIn(body, '@odata.deltaLink', cloud, place) : undefined
  return {
    value: body.value,
    ...(next !== undefined && { next }),
    ...(delta !== undefined && { delta }),
  }
}

/** Whether a stored link, path and query below `/v1.0`, leads to `place` and nowhere else. */
export function leadsTo(place: Place, link: string): boolean {
  const url = URL.parse(`https://graph.invalid/v1.0${link}`)
  return (
    url !== null &&
    link.length <= longestLink &&
    url.host === 'graph.invalid' &&
    url.hash === '' &&
    // Nothing in it was rewritten: no `..`, no backslash, no line break.
    url.href === `https://graph.invalid/v1.0${link}` &&
    isPathOf(place, url.pathname)
  )
}

/** Graph's own spelling of a function's name, and its short form. @see https://learn.microsoft.com/graph/delta-query-overview */
const plainPath = (path: string) =>
  path
    .toLowerCase()
    .replace(/\/microsoft\.graph\.delta(?:\(\))?$/, '/delta')
    .replace(/\/delta\(\)$/, '/delta')

const isPathOf = ({ path }: Place, pathname: string) => plainPath(pathname) === `/v1.0${path.toLowerCase()}`

function linkIn(
  body: GraphObject,
  name: '@odata.nextLink' | '@odata.deltaLink',
  cloud: Cloud,
  place: Place,
): string | undefined {
  const link = body[name]
  if (link === undefined || link === null) return undefined
  const url = typeof link === 'string' && link.length <= longestLink ? URL.parse(link) : null
  if (url === null) throw badLink(place, 'malformed')
  const isOurs =
    url.protocol === 'https:' &&
    url.host === cloud.graph &&
    url.username === '' &&
    url.password === '' &&
    url.hash === ''
  if (!isOurs) throw badLink(place, 'other_host')
  if (!isPathOf(place, url.pathname)) throw badLink(place, 'other_path')
  return `${url.pathname.slice('/v1.0'.length)}${url.search}`
}

export const badLink = (
  { operation, path }: Place,
  link: 'malformed' | 'other_host' | 'other_path' | 'repeats' | 'missing',
) =>
  new SourceError({
    code: 'unexpected_response',
    operation,
    asked: askedAt(path),
    status: 200,
    hints: { link },
  })

/** Entries of a page that are objects; Graph's have an `id`, which is a GUID for all that lives in the directory. */
export const objectsIn = (value: readonly unknown[]): readonly GraphObject[] => value.filter(isObject)
