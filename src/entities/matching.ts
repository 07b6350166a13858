/** From a query's tree to what revisions have to be like, configuration by configuration. */
import type { Alternative, Match } from '../store/entity-search.ts'
import {
  addressFields,
  freeTextFields,
  type QueryField,
  type QueryFieldName,
  queryFields,
} from './query-fields.ts'
import { QueryFault } from './query-parser.ts'
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

/** What the terms of a query name in a stretch of time. */
export interface NamesOfGroups {
  /** Ids of the groups that a term names at a moment; before the first change where there is none. */
  readonly of: (term: QueryTerm, configId: string, at: string) => readonly string[]
  /** When it is other groups that have one of the names, in the order of time: between two moments they are the same. */
  changesIn(configId: string): readonly string[]
}

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
  const terms = conditionOf(formula, organizationId)
  return { alternatives: terms === undefined ? [] : [terms], isIndexed: isIndexed(formula) }
}

/**
 * What it asks for of each configuration, those that are asked the same together: where groups got or lost a name that
 * is asked for, of each stretch of time in which they had it.
 *
 * @throws QueryFault where too many groups have the names
 */
export function matchByConfig(
  organizationId: string,
  tree: QueryTree,
  configs: readonly KnownConfig[],
  groups: NamesOfGroups,
): Match {
  const found = new Map<string, { alternative: Alternative; configIds: string[] }>()
  const formulas: TermFormula[] = []
  for (const config of configs) {
    for (const { stretch, formula } of formulasOf(tree, config, groups)) {
      const terms = conditionOf(formula, organizationId)
      if (terms === undefined) continue
      if (Buffer.byteLength(terms.terms ?? '') > mostBytes) throw tooManyGroups(tree)
      formulas.push(formula)
      const alternative = { ...terms, ...stretch }
      const key = JSON.stringify(alternative)
      const known = found.get(key)
      if (known === undefined) found.set(key, { alternative, configIds: [config.id] })
      else known.configIds.push(config.id)
    }
  }
  return {
    alternatives: [...found.values()].map(({ alternative, configIds }) =>
      configIds.length === configs.length ? alternative : { ...alternative, configIds },
    ),
    isIndexed: formulas.every(isIndexed),
  }
}

/** Of a tsquery: PostgreSQL takes a MiB of terms. */
const mostBytes = 1_000_000

const tooManyGroups = (tree: QueryTree) =>
  new QueryFault(
    'the groups named are too many to look for at once: name fewer, or more of their names,',
    groupTermsIn(tree)[0]?.at ?? 0,
  )

/** The formula for each stretch in which it is the same. */
function formulasOf(
  tree: QueryTree,
  config: KnownConfig,
  groups: NamesOfGroups,
): readonly { readonly stretch: Pick<Alternative, 'within'>; readonly formula: TermFormula }[] {
  const changes = groups.changesIn(config.id)
  // Before the first change, whatever the moment.
  return ['', ...changes].map((from, at) => {
    const until = changes[at]
    const within = { ...(from !== '' && { from }), ...(until !== undefined && { until }) }
    return {
      stretch: changes.length === 0 ? {} : { within },
      formula: formulaOf(tree, config, (term, configId) => groups.of(term, configId, from)),
    }
  })
}

/** Nothing for what no revision is like. */
function conditionOf(formula: TermFormula, organizationId: string): Pick<Alternative, 'terms'> | undefined {
  if (formula.kind === 'never') return undefined
  return formula.kind === 'always' ? {} : { terms: tsqueryOf(formula, termPrefix(organizationId)) }
}
