/** Filter expressions, as far as Okta documents them for lists of users, groups and devices. */
import { refuse } from './errors.ts'

type Test = (document: unknown) => boolean

const comparisons: Readonly<Record<string, (left: string, right: string) => boolean>> = {
  eq: (left, right) => left === right,
  gt: (left, right) => left > right,
  ge: (left, right) => left >= right,
  lt: (left, right) => left < right,
  le: (left, right) => left <= right,
  sw: (left, right) => left.toLowerCase().startsWith(right.toLowerCase()),
}

/**
 * Reads `status eq "ACTIVE" and (lastUpdated gt "2026-01-01T00:00:00.000Z" or id eq "00u…")`. Times are compared as
 * text, which is right for Okta's: they are all in UTC and of one length.
 *
 * @see https://developer.okta.com/docs/api/#filter
 */
export function readFilter(expression: string, properties: readonly string[]): Test {
  const tokens = expression.match(/"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+/g) ?? []
  let position = 0
  const take = () => tokens[position++]
  const word = () => tokens[position]?.toLowerCase()

  const either = (): Test => {
    const tests = [both()]
    while (word() === 'or') {
      position++
      tests.push(both())
    }
    return (document) => tests.some((test) => test(document))
  }
  const both = (): Test => {
    const tests = [single()]
    while (word() === 'and') {
      position++
      tests.push(single())
    }
    return (document) => tests.every((test) => test(document))
  }
  const single = (): Test => {
    const property = take()
    if (property === '(') {
      const inner = either()
      if (take() !== ')') throw refuse('E0000031')
      return inner
    }
    const compare = comparisons[take()?.toLowerCase() ?? '']
    const value = take()
    if (property === undefined || !properties.includes(property) || compare === undefined)
      throw refuse('E0000031')
    if (value === undefined || !value.startsWith('"')) throw refuse('E0000031')
    const wanted = value.slice(1, -1).replace(/\\(.)/g, '$1')
    return (document) => {
      const found = memberAt(document, property)
      return typeof found === 'string' && compare(found, wanted)
    }
  }

  const test = either()
  if (position < tokens.length) throw refuse('E0000031')
  return test
}

function memberAt(document: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined,
      document,
    )
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
