/** A stored configuration with everything it takes to ask its provider, for the server's own reasons. */
import { completedByOperator } from '../sources/operator-entry.ts'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import type { Target } from '../sources/source.ts'
import { type ConfigRow, findOwnerOfConfig } from '../store/configs.ts'
import { type Redact, redactor } from '../validation/redact.ts'
import type { ConfigsParts } from './parts.ts'
import { unseal } from './proving.ts'
import { ConfigRefusal } from './refusal.ts'
import { systemRequester } from './requester.ts'

export interface OpenedConfig {
  readonly row: ConfigRow
  readonly source: AnySource
  /** With the operator's part, where the credentials leave that to the operator. */
  readonly target: Target<unknown>
  /** Hides the secrets in whatever is shown or logged. */
  readonly redact: Redact
}

/**
 * Opens the secrets of a configuration; undefined when it is gone. That they were opened, and why, is in the audit
 * trail before they are handed out.
 *
 * @throws ConfigRefusal `sealed`, DatabaseUnavailable
 */
export async function openConfig(
  parts: Pick<ConfigsParts, 'database' | 'vault' | 'sources' | 'validation' | 'onTrouble'>,
  id: string,
  reason: string,
): Promise<OpenedConfig | undefined> {
  const organization = await findOwnerOfConfig(parts.database.query, id)
  if (organization === undefined) return undefined
  const requester = systemRequester(organization)
  try {
    const { row, secrets } = await unseal(parts, requester, id, reason)
    const source = sourceByIntegrationType(parts.sources, row.integration_type)
    if (source === undefined) throw new Error(`no source has the type ${row.integration_type}`)
    const reading = source.readCredentials(secrets)
    if (!reading.ok) throw new Error(`the secrets of configuration ${id} cannot be read as its source's`)
    const { domain } = row
    const credentials = await completedByOperator(
      source,
      { domain, credentials: reading.credentials },
      (key, canonicalDomain) =>
        parts.validation.operatorEntry(key, organization, canonicalDomain, requester.actor),
    )
    return {
      row,
      source,
      target: { domain, credentials },
      redact: redactor(() => source.secretsIn(credentials)),
    }
  } catch (error) {
    if (error instanceof ConfigRefusal && error.refusal.kind === 'config_not_found') return undefined
    throw error
  }
}
