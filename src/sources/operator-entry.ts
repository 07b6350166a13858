/** Credentials that leave the secret to the operator, completed by the operator's. */
import type { AnySource } from './registry.ts'

/**
 * `credentials` completed where they need it and the operator bound its own to the domain. Anywhere else they stay as
 * they are, and the source's own check of their shape says the same of every domain.
 *
 * @param entryFor the operator's entry that serves this domain (in canonical form), if there is one
 */
export async function completedByOperator<C>(
  source: AnySource,
  { domain, credentials }: { readonly domain: string; readonly credentials: C },
  entryFor: (key: string, domain: string) => unknown,
): Promise<C> {
  const canonical = source.readDomain(domain)
  if (!canonical.ok || source.operator?.needed(credentials) !== true) return credentials
  const entry = await entryFor(source.operator.key, canonical.domain)
  return entry === undefined ? credentials : source.operator.complete(credentials, entry)
}
