/** What delta queries say of an object, beside what the directory's list shows of it. */
import { isDeepStrictEqual } from 'node:util'
import { isObject } from './access.ts'
import type { GraphObject } from './client.ts'
import { objectsIn } from './graph-page.ts'

/** Relationships are told as annotations, and their targets are no properties. */
const relationships: ReadonlySet<string> = new Set(['id', 'manager', 'members'])

/**
 * The properties that `objects`, all of them one object's, tell. One that they tell in two ways is left out: they
 * come in any order.
 *
 * @param properties that are followed
 * @see https://learn.microsoft.com/graph/delta-query-overview#resource-representation-in-the-delta-query-response
 */
export function newsIn(objects: readonly GraphObject[], properties: readonly string[]): GraphObject {
  const news: Record<string, unknown> = {}
  const unclear = new Set<string>()
  const take = (name: string, value: unknown) => {
    if (Object.hasOwn(news, name) && !isDeepStrictEqual(news[name], value)) unclear.add(name)
    news[name] = value
  }
  for (const object of objects) {
    for (const name of properties)
      if (!relationships.has(name) && Object.hasOwn(object, name)) take(name, object[name])
    const managers = object['manager@delta']
    if (Array.isArray(managers)) take('manager', managerIn(objectsIn(managers)))
  }
  for (const name of unclear) delete news[name]
  return news
}

/** Who was the manager before may be told as removed beside who is. @see https://learn.microsoft.com/graph/delta-query-users */
const managerIn = (told: readonly GraphObject[]) =>
  told.filter((manager) => !isObject(manager['@removed'])).map(({ id }) => ({ id }))[0] ?? null
