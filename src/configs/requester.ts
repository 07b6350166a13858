/** Who asks for something to be done with configurations, and what is due to them meanwhile. */
import type { AnySource } from '../sources/registry.ts'
import type { Actor } from '../store/audit.ts'
import type { Redact } from '../validation/redact.ts'

export interface Requester {
  readonly organization: { readonly id: string; readonly name: string }
  /** How the audit trail names them; of the same organisation. */
  readonly actor: Actor
  /** Ends a validation that is wanted no more. */
  readonly signal?: AbortSignal
  /** Nobody waits for an answer. */
  readonly isUnattended?: boolean
  /** Counts a validation of a domain in canonical form; throws when there were too many. */
  countTarget(source: AnySource, domain: string): Promise<void>
  /** Told how to hide the secrets that are about to be used. */
  hide(redact: Redact): void
}

/** The server itself, on behalf of an organisation. */
export const systemRequester = (organization: Requester['organization']): Requester => ({
  organization,
  actor: { id: 'system', organizationId: organization.id },
  isUnattended: true,
  countTarget: async () => {},
  hide: () => {},
})
