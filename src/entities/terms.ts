/** What an entity is found by: terms for the search, keys for the look-up of exact names. */
import type { Entity } from './model.ts'

/**
 * Terms of one field each, `<field>:<value>`, folded by `fold`: `email:ada@acme.com`, `user:ada.lovelace`, `id:00u1`,
 * `name:ada`, `title:engineer`, `department:sales`, `status:active`, `type:admin`, `source:okta`, …
 * Groups (`group:<uid>`), roles (`role:…`), `privileged:true` and `mfa:true|false` are added by the merge, which alone
 * knows them all.
 */
export declare function termsOf(entity: Entity, source: string): string[]

/** Exact names in lower case: every e-mail address, the user name, the ids, a device's serial number and host name. */
export declare function keysOf(entity: Entity): string[]

/** For people. */
export declare function labelOf(entity: Entity): string

/** How values are compared: NFKC, lower case, accents kept, white space as one blank; at most 200 characters. */
export declare function fold(text: string): string

/** What stands before every term of an organisation in the index, so that others' terms are never walked. */
export const termPrefix = (organizationId: string): string => `${organizationId.slice(0, 8)}:`
