/** Google's partial responses: the `fields` parameter, as in `nextPageToken,users(id,name/fullName)`. */
import { invalidParameter } from './errors.ts'

interface Selection extends Map<string, Selection> {}

/**
 * What `fields` keeps of `value`.
 *
 * @throws GoogleRefusal when it is not well formed
 * @see https://developers.google.com/workspace/admin/directory/v1/guides/performance#partial
 */
export function selectFields(value: unknown, fields: string): unknown {
  const tokens = fields.match(/[A-Za-z0-9_@]+|[*(),/]/g) ?? []
  if (tokens.length === 0 || tokens.join('') !== fields.replaceAll(' ', '')) throw malformed(fields)
  let position = 0

  const list = (): Selection => {
    const selection: Selection = new Map()
    do {
      merge(selection, ...path())
    } while (tokens[position] === ',' && position++ < tokens.length)
    return selection
  }
  const path = (): [string, Selection] => {
    const name = tokens[position++]
    if (name === undefined || !/^[\w@*]+$/.test(name)) throw malformed(fields)
    if (tokens[position] === '/') {
      position++
      return [name, new Map([path()])]
    }
    if (tokens[position] !== '(') return [name, new Map()]
    position++
    const inner = list()
    if (tokens[position++] !== ')') throw malformed(fields)
    return [name, inner]
  }

  const selection = list()
  if (position !== tokens.length) throw malformed(fields)
  return keep(value, selection)
}

/** An empty selection stands for the whole; it wins over a part of the same name. */
function merge(into: Selection, name: string, selection: Selection): void {
  const present = into.get(name)
  if (present === undefined) into.set(name, selection)
  else if (present.size === 0 || selection.size === 0) into.set(name, new Map())
  else for (const [inner, part] of selection) merge(present, inner, part)
}

function keep(value: unknown, selection: Selection): unknown {
  if (selection.size === 0 || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => keep(item, selection))
  const everything = selection.get('*')
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) => {
      const part = selection.get(name) ?? everything
      return part === undefined ? [] : [[name, keep(member, part)]]
    }),
  )
}

const malformed = (fields: string) => invalidParameter('fields', `Invalid field selection ${fields}`)
