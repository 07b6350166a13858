/** Looks up who somebody was at a moment, by exact names: many at once, and the same address elsewhere. */
import type { Kysely } from 'kysely'
import { findByKeys, type PrincipalRow } from '../store/entity-keys.ts'
import type { RevisionRow } from '../store/entity-rows.ts'
import type { Schema } from '../store/schema.ts'
import { fieldFormula } from './matching.ts'
import { type Entity, type EntityKind, kindNumbers } from './model.ts'
import { type QueryFieldName, queryFields } from './query-fields.ts'
import { anyOf, tsqueryOf } from './term-formula.ts'
import { fold, keysOf, termPrefix } from './terms.ts'

type Query = Kysely<Schema>

/** Entities that one name may lead to. Further ones are left out: nobody means so many. */
const mostEntitiesOfName = 100

/** The fields of terms that hold the exact names of a kind. */
const namingFields: Readonly<Record<EntityKind, readonly QueryFieldName[]>> = {
  identity: ['email', 'user', 'id'],
  group: ['email', 'id', 'name'],
  device: ['id', 'name'],
}

/** For each principal what was known of every entity that had this name then, whichever source it is of. */
export async function lookUpPrincipals(
  query: Query,
  wanted: {
    readonly organizationId: string
    readonly kind: EntityKind
    readonly principals: readonly string[]
    /** RFC 3339. */
    readonly at: string
    readonly withRaw: boolean
  },
): Promise<readonly (readonly RevisionRow[])[]> {
  const { organizationId, kind, principals, at, withRaw } = wanted
  const prefix = termPrefix(organizationId)
  const keys = principals.map(fold)
  const rows = await findByKeys(query, {
    organizationId,
    kind: kindNumbers[kind],
    keys,
    plainTerms: namingFields[kind].map((field) => `'${prefix}${field}:%1$s'`).join(' | '),
    terms: keys.map((key) => (isPlain(key) ? null : termsNaming(kind, key, prefix))),
    at,
    limit: mostEntitiesOfName,
    withRaw,
  })
  const found: PrincipalRow[][] = principals.map(() => [])
  for (const row of rows) if (isNamed(row, kind, keys[row.place] ?? '')) found[row.place]?.push(row)
  for (const entities of found)
    if (entities.length > 1) entities.sort((a, b) => (a.entity_id < b.entity_id ? -1 : 1))
  return found
}

/**
 * Whether a revision has the name as a whole. Terms do not tell: the words of a group's name are terms, and so is what
 * stands before the "@" of a user name.
 */
function isNamed({ attributes, is_label }: PrincipalRow, kind: EntityKind, key: string): boolean {
  if (is_label) return true
  const entity = { kind, attributes: JSON.parse(attributes) } as Entity
  return keysOf(entity).includes(key)
}

/** Whether a key is one word without a quote or backslash: in quotes, it stands for itself in a tsquery. */
const isPlain = (key: string) => /^[!-&(-[\]-~]*$/.test(key)

/** A tsquery for the terms that an exact name stands in. */
function termsNaming(kind: EntityKind, key: string, prefix: string): string {
  const value = { value: key, isPrefix: false }
  const formulas = namingFields[kind].map((field) => fieldFormula(queryFields[field], value))
  return tsqueryOf(anyOf(formulas), prefix)
}

export interface Related {
  readonly row: RevisionRow
  /** The addresses that both had. */
  readonly sharedAddresses: readonly string[]
}

/** Other entities of the kind that had one of its addresses at the moment. That they are the same person is not said. */
export async function relatedEntities(
  query: Query,
  wanted: {
    readonly organizationId: string
    readonly kind: EntityKind
    readonly at: string
    readonly withRaw: boolean
  },
  revision: RevisionRow,
): Promise<readonly Related[]> {
  const addresses = addressesIn(revision.attributes)
  const found = await lookUpPrincipals(query, { ...wanted, principals: addresses })
  const related = new Map<string, { row: RevisionRow; sharedAddresses: string[] }>()
  for (const [place, rows] of found.entries()) {
    for (const row of rows) {
      if (row.entity_id === revision.entity_id) continue
      const known = related.get(row.entity_id) ?? { row, sharedAddresses: [] }
      known.sharedAddresses.push(addresses[place] ?? '')
      related.set(row.entity_id, known)
    }
  }
  return [...related.values()]
}

function addressesIn(attributes: string): readonly string[] {
  const {
    name,
    email_addr,
    email_addrs = [],
  }: {
    readonly name?: string
    readonly email_addr?: string
    readonly email_addrs?: readonly string[]
  } = JSON.parse(attributes)
  const all = [name, email_addr, ...email_addrs].filter((one) => one?.includes('@') === true)
  return [...new Set(all.map((one) => fold(one ?? '')))]
}
