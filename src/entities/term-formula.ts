/** What the terms of a revision have to be like, as a formula; and the same in PostgreSQL's words. */

export type TermFormula =
  | { readonly kind: 'always' | 'never' }
  | { readonly kind: 'has'; readonly term: string; readonly isPrefix: boolean }
  | { readonly kind: 'not'; readonly of: TermFormula }
  | { readonly kind: 'and' | 'or'; readonly of: readonly TermFormula[] }

export const always: TermFormula = { kind: 'always' }
export const never: TermFormula = { kind: 'never' }

export const has = (term: string, isPrefix = false): TermFormula => ({ kind: 'has', term, isPrefix })

export function not(of: TermFormula): TermFormula {
  if (of.kind === 'always') return never
  if (of.kind === 'never') return always
  return of.kind === 'not' ? of.of : { kind: 'not', of }
}

export const allOf = (parts: readonly TermFormula[]) => joined('and', parts, always, never)
export const anyOf = (parts: readonly TermFormula[]) => joined('or', parts, never, always)

/** `neutral` changes nothing beside others, `decisive` decides alone. */
function joined(
  kind: 'and' | 'or',
  parts: readonly TermFormula[],
  neutral: TermFormula,
  decisive: TermFormula,
): TermFormula {
  const flat = withoutRepetition(parts.flatMap((part) => (part.kind === kind ? part.of : [part])))
  if (flat.some((part) => part.kind === decisive.kind)) return decisive
  const [first, ...more] = flat.filter((part) => part.kind !== neutral.kind)
  if (first === undefined) return neutral
  return more.length === 0 ? first : { kind, of: [first, ...more] }
}

/** Each term once: the same group may be named by many words of a query. */
function withoutRepetition(parts: readonly TermFormula[]): readonly TermFormula[] {
  const terms = new Set<string>()
  return parts.filter((part) => {
    if (part.kind !== 'has') return true
    const size = terms.size
    return terms.add(`${part.isPrefix} ${part.term}`).size > size
  })
}

/** Whether what fulfils it has one of its terms for certain, so that an index of terms finds it all. */
export function isIndexed(formula: TermFormula): boolean {
  switch (formula.kind) {
    case 'always':
    case 'not':
      return false
    case 'never':
    case 'has':
      return true
    case 'and':
      return formula.of.some(isIndexed)
    case 'or':
      return formula.of.every(isIndexed)
  }
}

/**
 * The formula for a cast to `tsquery`. Terms stand in quotes, in which quotes and backslashes alone have a meaning.
 * Constants have no such form; within formulas there are none.
 *
 * @param prefix what stands before every term in the index
 * @see https://www.postgresql.org/docs/current/datatype-textsearch.html#DATATYPE-TSQUERY
 */
export function tsqueryOf(formula: TermFormula, prefix: string): string {
  switch (formula.kind) {
    case 'always':
    case 'never':
      throw new Error('a constant has no tsquery')
    case 'has':
      return `'${(prefix + formula.term).replace(/['\\]/g, '$&$&')}'${formula.isPrefix ? ':*' : ''}`
    case 'not':
      return `!(${tsqueryOf(formula.of, prefix)})`
    case 'and':
    case 'or':
      return formula.of
        .map((part) => `(${tsqueryOf(part, prefix)})`)
        .join(formula.kind === 'and' ? ' & ' : ' | ')
  }
}

/** Whether terms fulfil it: what PostgreSQL answers to `tsqueryOf`. */
export function isFulfilled(formula: TermFormula, terms: ReadonlySet<string>): boolean {
  switch (formula.kind) {
    case 'always':
      return true
    case 'never':
      return false
    case 'has':
      return formula.isPrefix
        ? [...terms].some((term) => term.startsWith(formula.term))
        : terms.has(formula.term)
    case 'not':
      return !isFulfilled(formula.of, terms)
    case 'and':
      return formula.of.every((part) => isFulfilled(part, terms))
    case 'or':
      return formula.of.some((part) => isFulfilled(part, terms))
  }
}
