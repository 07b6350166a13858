/** Which ids the pages of a round have told, in so few characters that a cursor can keep them. */

/** Characters kept of each id, the first ones: they are random. One in 65,536 others is taken for it. */
const kept = 4
/** Most ids that are told apart. */
const mostIds = 400
/** What stands for more of them: any id may have been told. */
const any = '*'

/**
 * The ids' beginnings, one after the other. An id that was told is always found in it; one that was not may be found,
 * too, so that nothing may be wrong with that but its costs.
 */
export type ToldIds = string

export const noIds: ToldIds = ''

export const isToldIds = (value: unknown): value is ToldIds =>
  value === any ||
  (typeof value === 'string' && value.length <= kept * mostIds && /^(?:[0-9a-f]{4})*$/.test(value))

export function hasTold(told: ToldIds, id: string): boolean {
  if (told === any) return true
  const start = id.slice(0, kept)
  for (let at = 0; at < told.length; at += kept) if (told.startsWith(start, at)) return true
  return false
}

export function andTold(told: ToldIds, ids: Iterable<string>): ToldIds {
  let all = told
  for (const id of ids) if (!hasTold(all, id)) all += id.slice(0, kept)
  return all.length > kept * mostIds ? any : all
}
