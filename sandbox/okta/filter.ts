/** Filter expressions, as far as Okta documents them for lists of users, groups and devices. */
import { refuse } from './errors.ts'

type Test = (document: unknown) => boolean

export interface Filter {
  readonly test: Test
  /** What matches has one of its times of change at or after this one, so that little has to be looked at. RFC 3339. */
  readonly changedFrom: string | undefined
}

const comparisons: Readonly<Record<string, (left: string, right: string) => boolean>> = {
  eq: (left, right) => left === right,
  gt: (left, right) => left > right,
  ge: (left, right) => left >= right,
  lt: (left, right) => left < right,
  le: (left, right) => left <= right,
  sw: (left, right) => left.toLowerCase().startsWith(right.toLowerCase()),
  co: (left, right) => left.toLowerCase().includes(right.toLowerCase()),
}

const timesOfChange = ['lastUpdated', 'lastMembershipUpdated']
const boundsBelow = ['eq', 'gt', 'ge']

/**
 * Reads `status eq "ACTIVE" and (lastUpdated gt "2026-01-01T00:00:00.000Z" or id eq "00u…")`. Times are compared as
 * text, which is right for Okta's: they are all in UTC and of one length. A property of a list's items matches when
 * one of them does.
 *
 * @see https://developer.okta.com/docs/api/#filter
 */
export function readFilter(expression: string, properties: readonly string[]): Filter {
  const tokens = expression.match(/"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+/g) ?? []
  let position = 0
  const take = () => tokens[position++]
  const word = () => tokens[position]?.toLowerCase()

  const either = (): Filter => {
    const parts = [both()]
    while (word() === 'or') {
      position++
      parts.push(both())
    }
    const bounds = parts.map(({ changedFrom }) => changedFrom)
    return {
      test: (document) => parts.some(({ test }) => test(document)),
      changedFrom: bounds.every((bound) => bound !== undefined) ? bounds.sort()[0] : undefined,
    }
  }
  const both = (): Filter => {
    const parts = [single()]
    while (word() === 'and') {
      position++
      parts.push(single())
    }
    const bounds = parts.flatMap(({ changedFrom }) => changedFrom ?? [])
    return {
      test: (document) => parts.every(({ test }) => test(document)),
      changedFrom: bounds.sort().at(-1),
    }
  }
  const single = (): Filter => {
    const property = take()
    if (property === '(') {
      const inner = either()
      if (take() !== ')') throw refuse('E0000031')
      return inner
    }
    const operator = take()?.toLowerCase() ?? ''
    const compare = comparisons[operator]
    const value = take()
    if (property === undefined || !properties.includes(property) || compare === undefined)
      throw refuse('E0000031')
    if (value === undefined || !value.startsWith('"')) throw refuse('E0000031')
    const wanted = value.slice(1, -1).replace(/\\(.)/g, '$1')
    const path = property.split('.')
    return {
      test: (document) => valuesAt(document, path).some((found) => compare(found, wanted)),
      changedFrom: timesOfChange.includes(property) && boundsBelow.includes(operator) ? wanted : undefined,
    }
  }

  const filter = either()
  if (position < tokens.length) throw refuse('E0000031')
  return filter
}

/** The texts at a path; several where it leads through a list. */
function valuesAt(value: unknown, path: readonly string[]): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => valuesAt(item, path))
  const [name, ...rest] = path
  if (name === undefined) return typeof value === 'string' ? [value] : []
  return typeof value === 'object' && value !== null
    ? valuesAt((value as Record<string, unknown>)[name], rest)
    : []
}

/**
 * Leaves of a user what `fields` names, as `id,status,profile:(login,email)`; `id` always stays.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user/other/listusers
 */
export function readFields(fields: string): (user: Readonly<Record<string, unknown>>) => unknown {
  const profileFields = /\bprofile:\(([^)]*)\)/.exec(fields)?.[1]
  const names = new Set(['id', ...namesIn(fields.replace(/\bprofile:\([^)]*\)/, ''))])
  const profileNames = profileFields === undefined ? undefined : new Set(namesIn(profileFields))
  return (user) => ({
    ...Object.fromEntries(Object.entries(user).filter(([name]) => names.has(name))),
    ...(profileNames !== undefined && {
      profile: Object.fromEntries(
        Object.entries(user.profile as object).filter(([name]) => profileNames.has(name)),
      ),
    }),
  })
}

const namesIn = (list: string) =>
  list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
