/** A query as it was understood, and how it is written. */
import type { QueryFieldName } from './query-fields.ts'

export interface QueryTerm {
  readonly kind: 'term'
  /** Absent: a word that may stand in several fields. */
  readonly field?: QueryFieldName
  /** As it was written, without quotes. Empty with `isPrefix`: whatever the field holds. */
  readonly value: string
  /** `value*` */
  readonly isPrefix: boolean
  /** Where it begins in the text, from 0. */
  readonly at: number
}

export type QueryTree =
  /** `*` */
  | { readonly kind: 'all' }
  | QueryTerm
  | { readonly kind: 'not'; readonly of: QueryTree }
  /** At least two. */
  | { readonly kind: 'and' | 'or'; readonly of: readonly QueryTree[] }

/** What needs no quotes: no blank or mark of the language, and no minus before it. */
const bare = /^[^\s"()*:\\-][^\s"()*:\\]*$/
const words = new Set(['OR', 'AND', 'NOT'])

/** The query as text, such that it is understood as the same tree. */
export function printQuery(tree: QueryTree): string {
  switch (tree.kind) {
    case 'all':
      return '*'
    case 'term':
      return printTerm(tree)
    case 'not':
      return `-${inParentheses(tree.of)}`
    case 'and':
      return tree.of.map((part) => (part.kind === 'not' ? printQuery(part) : inParentheses(part))).join(' ')
    case 'or':
      return tree.of.map((part) => (part.kind === 'or' ? inParentheses(part) : printQuery(part))).join(' OR ')
  }
}

const inParentheses = (tree: QueryTree) =>
  tree.kind === 'term' || tree.kind === 'all' ? printQuery(tree) : `(${printQuery(tree)})`

function printTerm({ field, value, isPrefix }: QueryTerm): string {
  const isBare = value === '' ? isPrefix : bare.test(value) && !words.has(value)
  const written = isBare ? value : `"${value.replace(/["\\]/g, '\\$&')}"`
  return `${field === undefined ? '' : `${field}:`}${written}${isPrefix ? '*' : ''}`
}
