/** Links of the Link header: where a list goes on, which is followed only within the list itself. */
import { SourceError } from '../../outbound/source-error.ts'
import { askedOf } from './answers.ts'

export interface Link {
  readonly target: string
  /** Relation types, in lower case. */
  readonly relations: readonly string[]
}

/**
 * The links of a header; undefined when it is none of RFC 8288's. Whoever took a header that cannot be read for one
 * without a next link would take a part of a list for all of it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8288#section-3
 */
export function linksIn(header: string): readonly Link[] | undefined {
  const links: Link[] = []
  let at = 0
  /** What the pattern, which is sticky, finds at this place. */
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(header)
    if (found === null) return undefined
    at = pattern.lastIndex
    return found[1] ?? ''
  }
  const takeValue = () => take(quoted)?.replace(/\\(.)/g, '$1') ?? take(token) ?? ''

  take(emptyItems)
  while (at < header.length) {
    const target = take(targetInBrackets)
    if (target === undefined) return undefined
    let relation: string | undefined
    while (take(semicolon) !== undefined) {
      const name = take(parameterName)?.toLowerCase()
      const value = take(equals) === undefined ? '' : takeValue()
      // Of several, the first counts.
      if (name === 'rel') relation ??= value
    }
    links.push({ target, relations: relation?.toLowerCase().split(/\s+/) ?? [] })
    if (at < header.length && take(comma) === undefined) return undefined
  }
  return links
}

const emptyItems = /[ \t,]*/y
const targetInBrackets = /<([^>]*)>[ \t]*/y
const semicolon = /;[ \t]*/y
const parameterName = /([^\s=;,"<>]+)[ \t]*/y
const equals = /=[ \t]*/y
const quoted = /"((?:[^"\\]|\\.)*)"[ \t]*/y
const token = /([^\s;,"]*)[ \t]*/y
const comma = /,[ \t,]*/y

/** The request whose answer has a link. */
interface Asked {
  readonly operation: string
  /** Path and query. */
  readonly target: string
}

/** Cursors of Okta are some dozens of characters; what grows beyond this would never end. In characters. */
const longestTarget = 4096

/**
 * Path and query of the next page; undefined at the end of the list.
 *
 * @param isEndless whether the list grows at its end, so that its last page may link to itself
 * @see https://developer.okta.com/docs/api/#link-header
 * @throws SourceError `unexpected_response`, with the hint `next_link` where the link is one that no list of Okta has
 */
export function nextTargetIn(
  headers: Headers,
  asked: Asked,
  host: string,
  isEndless = false,
): string | undefined {
  const links = linksIn(headers.get('link') ?? '')
  if (links === undefined) throw refusalOf(asked, 'is in a header that cannot be read')
  const next = links.find(({ relations }) => relations.includes('next'))
  return next === undefined ? undefined : targetOf(next.target, asked, host, isEndless)
}

/** @throws SourceError as {@link nextTargetIn} does */
export function targetOf(link: string, asked: Asked, host: string, isEndless = false): string {
  const url = URL.parse(link)
  if (url === null) throw refusalOf(asked, 'is no URL')
  if (url.origin !== `https://${host}` || url.username !== '' || url.password !== '')
    throw refusalOf(asked, 'leads to another host')
  if (url.pathname !== asked.target.split('?')[0]) throw refusalOf(asked, 'leads to another list')
  const next = `${url.pathname}${url.search}`
  if (next === asked.target && !isEndless) throw refusalOf(asked, 'leads to its own page')
  if (next.length > longestTarget) throw refusalOf(asked, `is longer than ${longestTarget} characters`)
  return next
}

/** Empty pages at the beginning of a list that are passed over to find whether anything is in it. */
const mostEmptyPages = 5

/**
 * The first page with something in it: one that is empty and names a next one says nothing of the list, which ends
 * where "you don't receive another `next` link". What is returned without records is the end of an empty list, or has
 * a next page: then nothing is known.
 *
 * @see https://developer.okta.com/docs/api/#link-header
 */
export async function firstFilled<P extends { readonly records: readonly unknown[]; readonly next?: string }>(
  target: string,
  read: (target: string) => Promise<P>,
): Promise<P> {
  let page = await read(target)
  for (let empty = 1; empty <= mostEmptyPages; empty++) {
    if (page.records.length > 0 || page.next === undefined) break
    page = await read(page.next)
  }
  return page
}

const refusalOf = ({ operation, target }: Asked, problem: string) =>
  new SourceError({
    code: 'unexpected_response',
    operation,
    asked: askedOf(target),
    status: 200,
    hints: { next_link: problem },
  })
