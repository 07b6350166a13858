/** Pages as Okta gives them: `limit`, an opaque `after`, and links in the Link header. */
import { createHmac } from 'node:crypto'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { refuse } from './errors.ts'

export interface PageLimits {
  readonly standard: number
  readonly most: number
}

export interface Listing {
  /** What the list is of: a cursor of another list is refused. */
  readonly kind: string
  readonly limits: PageLimits
  /** The list's items from an offset on. */
  from(offset: number): Iterable<Item>
}

export interface Item {
  readonly document: unknown
  /** Where the list goes on after it. Offsets mean the same however the list changes meanwhile. */
  readonly end: number
}

/** A list by index, in which some indexes may have no item. */
export const byIndex = (count: number, at: (index: number) => unknown): Listing['from'] =>
  function* (offset) {
    for (let index = offset; index < count; index++) {
      const document = at(index)
      if (document !== undefined) yield { document, end: index + 1 }
    }
  }

/** A list of which only some indexes, ascending, come into question. */
export const byCandidates = (
  candidates: readonly number[],
  at: (index: number) => unknown,
): Listing['from'] =>
  function* (offset) {
    for (const index of candidates) {
      const document = index < offset ? undefined : at(index)
      if (document !== undefined) yield { document, end: index + 1 }
    }
  }

export interface Page {
  readonly items: readonly unknown[]
  /** `after` of the next page. */
  readonly next: string | undefined
}

export class Pager {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = secret
  }

  /** One page, as far as `after` and `limit` of the request ask for it. */
  read(request: SandboxRequest, { kind, limits, from }: Listing): Page {
    const { searchParams } = request.url
    const limit = limitOf(searchParams.get('limit'), limits)
    const after = searchParams.get('after')
    const start = after === null ? 0 : this.offsetIn(after, kind)
    const items: unknown[] = []
    let end = start
    let hasMore = false
    for (const item of from(start)) {
      hasMore = items.length === limit
      if (hasMore) break
      items.push(item.document)
      end = item.end
    }
    if (request.faults.has('repeated_next_link') && after !== null) return { items, next: after }
    const isEmptied = request.faults.has('empty_middle_page') && after !== null && hasMore
    return { items: isEmptied ? [] : items, next: hasMore ? this.cursor(kind, end) : undefined }
  }

  /** The page as a JSON array, with its links. */
  answer(request: SandboxRequest, listing: Listing): SandboxAnswer {
    const { items, next } = this.read(request, listing)
    const self = `<${request.url.href}>; rel="self"`
    return {
      status: 200,
      headers: {
        link: next === undefined ? self : `${self}, <${nextUrl(request, next)}>; rel="next"`,
      },
      body: items,
    }
  }

  cursor(kind: string, offset: number): string {
    return `200${offset.toString(36)}.${this.#sign(`${kind} ${offset}`)}`
  }

  offsetIn(after: string, kind: string): number {
    const digits = /^200([0-9a-z]{1,8})\./.exec(after)?.[1]
    const offset = digits === undefined ? Number.NaN : Number.parseInt(digits, 36)
    if (Number.isNaN(offset) || this.cursor(kind, offset) !== after) throw refuse('E0000029')
    return offset
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#secret).update(text).digest('base64url').slice(0, 16)
  }
}

export function nextUrl({ url }: SandboxRequest, after: string): string {
  const next = new URL(url)
  next.searchParams.set('after', after)
  return next.href
}

function limitOf(text: string | null, { standard, most }: PageLimits): number {
  if (text === null) return standard
  const limit = Number(text)
  if (!/^-?\d{1,9}$/.test(text)) throw refuse('E0000037', 'limit')
  if (limit < 1) throw refuse('E0000001', 'limit')
  return Math.min(limit, most)
}
