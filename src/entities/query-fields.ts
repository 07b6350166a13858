/** The fields that a query may name, and which terms of src/entities/terms.ts each is looked for in. */

export interface QueryField {
  /** Fields of terms; any of them will do. */
  readonly terms: readonly string[]
  /** Its terms are single words: a value of several has to have all of them. */
  readonly isOfWords?: true
  /** Its values are true and false. */
  readonly isFlag?: true
}

/** Names as queries write them. */
export const queryFields = {
  email: { terms: ['email'] },
  user: { terms: ['user'] },
  name: { terms: ['name'], isOfWords: true },
  id: { terms: ['id'] },
  /** By name, e-mail address or id; turned into the ids of groups before anything is searched. */
  group: { terms: ['group'] },
  department: { terms: ['department'], isOfWords: true },
  title: { terms: ['title'], isOfWords: true },
  status: { terms: ['status'] },
  type: { terms: ['type'] },
  role: { terms: ['role'], isOfWords: true },
  manager: { terms: ['manager'], isOfWords: true },
  source: { terms: ['source'] },
  /** Of the configuration, which knows it; no term. */
  domain: { terms: [] },
  ip: { terms: ['ip'] },
  mfa: { terms: ['mfa'], isFlag: true },
  privileged: { terms: ['privileged'], isFlag: true },
  location: { terms: ['location', 'country'], isOfWords: true },
  country: { terms: ['country'], isOfWords: true },
  employee: { terms: ['employee'] },
} as const satisfies Readonly<Record<string, QueryField>>

export type QueryFieldName = keyof typeof queryFields

export const queryFieldNames = Object.keys(queryFields) as readonly QueryFieldName[]

export const isQueryField = (name: string): name is QueryFieldName => Object.hasOwn(queryFields, name)

/** Where a word without a field is looked for, besides the groups of that name. */
export const freeTextFields = [
  'email',
  'user',
  'id',
  'name',
  'ip',
] as const satisfies readonly QueryFieldName[]

/** Where a word with an "@" is looked for: it is an address, and nothing else. */
export const addressFields = ['email', 'user', 'id'] as const satisfies readonly QueryFieldName[]
