/** From a query's tree to what revisions have to be like, configuration by configuration. */
import type { Alternative, Match } from '../store/entity-search.ts'
import {
  addressFields,
  freeTextFields,
  type QueryField,
  type QueryFieldName,
  queryFields,
} from './query-fields.ts'
import type { QueryTerm, QueryTree } from './query-tree.ts'
import {
  allOf,
  always,
  anyOf,
  has,
  isIndexed,
  never,
  not,
  type TermFormula,
  tsqueryOf,
} from './term-formula.ts'
import { fold, termPrefix } from './terms.ts'

/** What a query can ask of a configuration; its entities have it in common. */
export interface KnownConfig {
  readonly id: string
  readonly domain: string
}

/** Ids of groups in a configuration, by the term that names them. */
export type GroupsNamed = (term: QueryTerm, configId: string) => readonly string[]

/** Terms that may name groups: these have to be looked up before. */
export function groupTermsIn(tree: QueryTree): readonly QueryTerm[] {
  switch (tree.kind) {
    case 'all':
      return []
    case 'term':
      return mayNameGroup(tree) ? [tree] : []
    case 'not':
      return groupTermsIn(tree.of)
    default:
      return tree.of.flatMap(groupTermsIn)
  }
}

/** An address names no group in free text, and `group:*` needs no names. */
const mayNameGroup = ({ field, value, isPrefix }: QueryTerm) =>
  field === 'group' ? !(value === '' && isPrefix) : field === undefined && !isAddress(value)

const isAddress = (value: string) => value.includes('@')

/** What a group is like that a term names: a tsquery over the terms of groups. */
export function groupNamed(term: QueryTerm, organizationId: string): string {
  const formula = anyOf([
    fieldFormula(queryFields.name, term),
    fieldFormula(queryFields.email, term),
    // Part of an id names nothing.
    ...(term.isPrefix ? [] : [fieldFormula(queryFields.id, term)]),
  ])
  return tsqueryOf(formula, termPrefix(organizationId))
}

/** Whether the tree asks for what only a configuration knows. */
export function dependsOnConfig(tree: QueryTree): boolean {
  if (tree.kind === 'all') return false
  if (tree.kind === 'term') return tree.field === 'domain' || mayNameGroup(tree)
  return tree.kind === 'not' ? dependsOnConfig(tree.of) : tree.of.some(dependsOnConfig)
}

/** The formula of a tree for one configuration; for any of them where none is given. */
export function formulaOf(
  tree: QueryTree,
  config?: KnownConfig,
  groups: GroupsNamed = () => [],
): TermFormula {
  switch (tree.kind) {
    case 'all':
      return always
    case 'term':
      return termFormula(tree, config, groups)
    case 'not':
      return not(formulaOf(tree.of, config, groups))
    case 'and':
      return allOf(tree.of.map((part) => formulaOf(part, config, groups)))
    case 'or':
      return anyOf(tree.of.map((part) => formulaOf(part, config, groups)))
  }
}

function termFormula(term: QueryTerm, config: KnownConfig | undefined, groups: GroupsNamed): TermFormula {
  const { field, value } = term
  const isOfGroup = () =>
    anyOf(config === undefined ? [] : groups(term, config.id).map((uid) => has(`group:${uid}`)))
  switch (field) {
    case undefined: {
      const fields: readonly QueryFieldName[] = isAddress(value) ? addressFields : freeTextFields
      const found = fields.map((name) => fieldFormula(queryFields[name], term))
      return anyOf(isAddress(value) ? found : [...found, isOfGroup()])
    }
    case 'group':
      return mayNameGroup(term) ? isOfGroup() : has('group:', true)
    case 'domain':
      return config !== undefined && isValue(config.domain, term) ? always : never
    case 'source':
      return has(`source:${fold(value).replaceAll('_', '-')}`, term.isPrefix)
    case 'privileged':
      // Told of those alone who are.
      return /^false$/i.test(value) ? not(has('privileged:true')) : has('privileged:true')
    default:
      return fieldFormula(queryFields[field], term)
  }
}

const isValue = (held: string, { value, isPrefix }: QueryTerm) =>
  isPrefix ? fold(held).startsWith(fold(value)) : fold(held) === fold(value)

export function fieldFormula(
  field: QueryField,
  { value, isPrefix }: Pick<QueryTerm, 'value' | 'isPrefix'>,
): TermFormula {
  const folded = fold(value)
  const words = folded.split(' ')
  return anyOf(
    field.terms.flatMap((name) => {
      const whole = has(`${name}:${folded}`, isPrefix)
      if (field.isOfWords === undefined || words.length < 2) return [whole]
      return [
        whole,
        allOf(words.map((word, at) => has(`${name}:${word}`, isPrefix && at === words.length - 1))),
      ]
    }),
  )
}

/** What a query without a domain and without names of groups asks for, whatever the configuration. */
export function matchOf(organizationId: string, formula: TermFormula): Match {
  const alternative = alternativeOf(formula, organizationId)
  return { alternatives: alternative === undefined ? [] : [alternative], isIndexed: isIndexed(formula) }
}

/** What it asks for of each configuration, those that are asked the same together. */
export function matchByConfig(
  organizationId: string,
  tree: QueryTree,
  configs: readonly KnownConfig[],
  groups: GroupsNamed,
): Match {
  const found = new Map<string, { alternative: Alternative; configIds: string[]; isIndexed: boolean }>()
  for (const config of configs) {
    const formula = formulaOf(tree, config, groups)
    const alternative = alternativeOf(formula, organizationId)
    if (alternative === undefined) continue
    const key = alternative.terms ?? ''
    const known = found.get(key)
    if (known === undefined)
      found.set(key, { alternative, configIds: [config.id], isIndexed: isIndexed(formula) })
    else known.configIds.push(config.id)
  }
  const asked = [...found.values()]
  return {
    alternatives: asked.map(({ alternative, configIds }) =>
      configIds.length === configs.length ? alternative : { ...alternative, configIds },
    ),
    isIndexed: asked.every((one) => one.isIndexed),
  }
}

/** Nothing for what no revision is like. */
function alternativeOf(formula: TermFormula, organizationId: string): Alternative | undefined {
  if (formula.kind === 'never') return undefined
  return formula.kind === 'always' ? {} : { terms: tsqueryOf(formula, termPrefix(organizationId)) }
}
