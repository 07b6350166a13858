/** What keeps a configuration from being made, changed or found: answers that callers expect, not failures. */
import type { AnySource } from '../sources/registry.ts'
import type { Report } from '../validation/report.ts'

export type Refusal =
  /** The organisation has no configuration of this id; another's is not told from none. */
  | { readonly kind: 'config_not_found'; readonly id: string }
  | { readonly kind: 'type_not_found'; readonly type: string }
  /** Nothing of this type is there, nor can it be made from what the operator holds. */
  | { readonly kind: 'nothing_to_activate'; readonly type: string; readonly remedy: string }
  | { readonly kind: 'none_of_type'; readonly type: string }
  /** Another configuration of the organisation has this type, domain and instance. */
  | { readonly kind: 'taken'; readonly by: string; readonly type: string; readonly domain: string }
  /** Each text names the field and what was expected there. */
  | { readonly kind: 'invalid_request'; readonly errors: readonly [string, ...string[]] }
  /** The provider refused, or nobody could tell: the report says which. Nothing was stored. */
  | { readonly kind: 'not_proven'; readonly report: Report }
  /** Too many unproven credentials were tried on this account. */
  | { readonly kind: 'attempts_spent'; readonly source: string; readonly retryAfterSeconds: number }
  /** As many validations of the source are under way as there may be. */
  | { readonly kind: 'no_place'; readonly retryAfterSeconds: number }
  /** Others kept changing the configuration while this change was being validated. */
  | { readonly kind: 'contended' }
  /** The vault neither opens nor seals with the keys that are configured. */
  | { readonly kind: 'sealed' }

/** Thrown where a refusal ends an operation; its message is for the log and holds no input. */
export class ConfigRefusal extends Error {
  override readonly name = 'ConfigRefusal'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.kind)
    this.refusal = refusal
  }
}

export const invalidRequest = (...errors: readonly [string, ...string[]]) =>
  new ConfigRefusal({ kind: 'invalid_request', errors })

export const configNotFound = (id: string) => new ConfigRefusal({ kind: 'config_not_found', id })

/** @throws ConfigRefusal for what the source does not read as a domain */
export function canonicalDomain(source: AnySource, given: string): string {
  const reading = source.readDomain(given)
  if (reading.ok) return reading.domain
  const { title, remedy } = reading.diagnosis.cause
  throw invalidRequest(`data.attributes.domain: ${title}. ${remedy}`)
}
