/** The operator's Entra app registrations, as an organisation that they serve sees them. */
import { z } from 'zod'
import { type ConfigRow, configsIn } from '../store/configs.ts'
import type { ConfigsParts } from './parts.ts'

export interface EntraRegistrations {
  readonly registrations: readonly {
    readonly tenantId: string
    readonly clientId: string
    /** Configurations on its domains whose credentials are invalid. */
    readonly errorCount: number
  }[]
  /** The configuration in use, if there is one. */
  readonly config: ConfigRow | undefined
}

const attributesSchema = z.object({ tenant_id: z.string(), client_id: z.string() })

export async function readEntraRegistrations(
  { database, sources, operatorRegistrations }: ConfigsParts,
  organization: { readonly id: string; readonly name: string },
): Promise<EntraRegistrations> {
  const source = sources.find(({ operator }) => operator?.key === 'entra_id')
  if (source?.operator === undefined) return { registrations: [], config: undefined }
  const [held, configs] = await Promise.all([
    operatorRegistrations(source.operator.key, organization),
    configsIn(database.query).list(organization.id, [source.integrationType]),
  ])
  return {
    registrations: held.map(({ attributes, domains }) => {
      const { tenant_id, client_id } = attributesSchema.parse(attributes)
      return {
        tenantId: tenant_id,
        clientId: client_id,
        errorCount: configs.filter(({ domain, state }) => state === 'invalid' && domains.includes(domain))
          .length,
      }
    }),
    config: configs.find(({ enabled }) => enabled) ?? configs[0],
  }
}
