/** What the routes of entities take: kinds, moments, queries, page tokens; and how faults in them are told. */
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type EntityKind, entityKinds, entityTypes } from '../../entities/model.ts'
import { MomentFault, readMoment } from '../../entities/moments.ts'
import { PageTokenFault, type PlaceWord, readPageToken } from '../../entities/page-token.ts'
import { parseQuery, QueryFault } from '../../entities/query-parser.ts'
import type { QueryTree } from '../../entities/query-tree.ts'
import type { Span } from '../../store/entity-search.ts'
import { errorSchema, forbidden, RequestError } from '../errors.ts'
import { expecting } from './validate.ts'

export const entitiesPath = '/api/v2/credence/entities'

/** What the routes of entities have in common: who may ask, and how they may refuse. */
export const access = 'siem_entities_read'
export const refusals = { 400: errorSchema, 403: errorSchema, 429: errorSchema, 503: errorSchema }

const kinds = new Map(entityKinds.map((kind) => [entityTypes[kind], kind]))
const typeNames = [...kinds.keys()]

export const typeSchema = z
  .enum(typeNames, expecting(`one of ${typeNames.join(', ')}`))
  .optional()
  .meta({ description: 'Which entities; identities unless given.' })

export const anyTypeSchema = z
  .enum(typeNames, expecting(`one of ${typeNames.join(', ')}`))
  .optional()
  .meta({ description: 'Which entities; all of them unless given.' })

export const kindOf = (type: string | undefined): EntityKind =>
  (type === undefined ? undefined : kinds.get(type)) ?? 'identity'

export const kindsOf = (type: string | undefined): readonly EntityKind[] =>
  type === undefined ? entityKinds : [kindOf(type)]

const text = () => z.string(expecting('a text')).optional()

export const querySchema = text().meta({
  description:
    'Words that must all match: an e-mail address, a user name, a principal id, part of a name, a group, the address of the last sign-in; `field:value`, `"several words"`, `prefix*`, `-not`, `OR`, parentheses.',
  examples: ['ada.lovelace@example.com', 'department:sales -mfa:true'],
})

const momentForms = 'RFC 3339, Unix seconds, or relative to now'

export const defaultFrom = 'now-7d'
export const defaultTo = 'now'

export const fromSchema = text().meta({
  description: `Begin of the time looked at: ${momentForms}. \`${defaultFrom}\` unless given.`,
  examples: [defaultFrom],
})
export const toSchema = text().meta({
  description: `End of the time looked at: ${momentForms}. \`${defaultTo}\` unless given.`,
  examples: [defaultTo],
})
export const asOfSchema = text().meta({
  description: `A moment instead of a stretch of time: ${momentForms}.`,
  examples: ['now-1d'],
})

export const limitSchema = (most: number, by: number, what: string) =>
  z
    .string(expecting(`a whole number from 1 to ${most}`))
    .regex(/^[1-9]\d{0,3}$/, `expected a whole number from 1 to ${most}`)
    .transform(Number)
    .refine((limit) => limit <= most, `expected a whole number from 1 to ${most}`)
    .optional()
    .meta({ description: `${what}: 1 to ${most}, ${by} unless given.` })

export const pageTokenSchema = z
  .string(expecting('a token of an earlier answer'))
  .max(1_000, 'expected a token of an earlier answer')
  .optional()
  .meta({ description: '`next_token` of the page before, with the same query.' })

export const includeRawSchema = z
  .union([z.string(), z.array(z.string())])
  .optional()
  .meta({ description: '`raw` shows what else the source said.', examples: ['raw'] })

export const wantsRaw = (include: string | readonly string[] | undefined) =>
  [include ?? []].flat().some((list) => list.split(',').includes('raw'))

export function organizationOf({ caller }: FastifyRequest): string {
  if (caller === null) throw forbidden()
  return caller.organization.id
}

/** Reads a parameter; what is wrong with it is told under its name. */
export function reading<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw asRefusal(name, error)
  }
}

/** The same where a fault is found on the way. */
export async function readingLate<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw asRefusal(name, error)
  }
}

const asRefusal = (name: string, error: unknown) =>
  error instanceof MomentFault || error instanceof QueryFault || error instanceof PageTokenFault
    ? new RequestError('invalid_request', `${name}: ${error.message}`)
    : error

export const readQuery = (query: string | undefined): QueryTree | undefined =>
  query === undefined ? undefined : reading('query', () => parseQuery(query))

/** The time that a request asks about, by the clock of this node. */
export interface AskedTime {
  readonly span: Span
  /** What is later was not known then. */
  readonly momentMs: number
}

export function readTime(
  asked: {
    readonly from?: string | undefined
    readonly to?: string | undefined
    readonly as_of?: string | undefined
  },
  now: Date,
): AskedTime {
  const { from = defaultFrom, to = defaultTo, as_of } = asked
  if (as_of !== undefined) {
    if (from !== defaultFrom || to !== defaultTo)
      throw new RequestError('invalid_request', 'as_of: expected no from and no to beside it')
    const { at, ms } = readAt('as_of', as_of, now)
    return { span: { from: at, to: at }, momentMs: ms }
  }
  return readStretch(from, to, now)
}

export function readStretch(from: string, to: string, now: Date): AskedTime {
  const [begin, end] = [readAt('from', from, now), readAt('to', to, now)]
  if (begin.ms > end.ms)
    throw new RequestError('invalid_request', 'from: expected a time that is not after to')
  return { span: { from: begin.at, to: end.at }, momentMs: end.ms }
}

export function readAt(name: string, asked: string, now: Date): { readonly at: string; readonly ms: number } {
  const ms = reading(name, () => readMoment(asked, now.getTime()))
  return { at: new Date(ms).toISOString(), ms }
}

/** The words of a token; undefined for the first page. */
export const readPlace = (
  question: readonly unknown[],
  place: readonly PlaceWord[],
  token: string | undefined,
) =>
  token === undefined || token === ''
    ? undefined
    : reading('page_token', () => readPageToken(question, place, token))
