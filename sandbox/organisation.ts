/** One made-up organisation at all three providers, with the credentials that open it. */
import { createEntraSandbox } from './entra/index.ts'
import { createGoogleSandbox } from './google/index.ts'
import { freshKeys, type RsaKeys } from './keys.ts'
import type { LivingDirectory } from './living-directory.ts'
import { createOktaSandbox } from './okta/index.ts'
import type { ProviderSandbox } from './provider.ts'

export interface OrganisationOptions {
  /** People in each directory. */
  readonly users: number
  readonly groups: number
  /** Decides people, identifiers, tokens and secrets. */
  readonly seed: string
  /** Keys of service accounts and apps; new ones by default. */
  readonly keys?: RsaKeys
}

export interface Organisation {
  /** In the order of their ports. */
  readonly providers: readonly ProviderSandbox[]
  readonly google: {
    readonly sandbox: ProviderSandbox
    readonly domain: string
    readonly adminEmail: string
    /** The key file of a service account. */
    readonly serviceAccount: Readonly<Record<string, unknown>>
    /** The service account of a Credence server's operator, and the domains whose owner trusts it. */
    readonly operator: {
      readonly domains: readonly string[]
      readonly serviceAccount: Readonly<Record<string, unknown>>
    }
  }
  readonly okta: {
    readonly sandbox: ProviderSandbox
    readonly directory: LivingDirectory
    readonly domain: string
    readonly apiToken: string
    /** A service app; its private key is PEM. */
    readonly clientId: string
    readonly privateKey: string
    readonly keyId: string
  }
  readonly entra: {
    readonly sandbox: ProviderSandbox
    readonly domain: string
    readonly tenantId: string
    readonly clientId: string
    readonly clientSecret: string
    /** The registration of a Credence server's operator, and the domains whose owner trusts it. */
    readonly operator: {
      readonly domains: readonly string[]
      readonly tenantId: string
      readonly clientId: string
      readonly clientSecret: string
    }
  }
}

export async function createOrganisation(options: OrganisationOptions): Promise<Organisation> {
  const shared = { ...options, keys: options.keys ?? freshKeys() }
  const [google, okta, entra] = await Promise.all([
    createGoogleSandbox(shared),
    createOktaSandbox(shared),
    createEntraSandbox(shared),
  ])
  const { plain } = okta.serviceApps
  const { full, operator } = entra.apps
  return {
    providers: [google, okta, entra],
    google: {
      sandbox: google,
      domain: google.domains.primary,
      adminEmail: google.admins.super,
      serviceAccount: { ...google.keyFiles.good },
      operator: { domains: [google.domains.secondary], serviceAccount: { ...google.keyFiles.good } },
    },
    okta: {
      sandbox: okta,
      directory: okta.directory,
      domain: okta.host,
      apiToken: okta.apiTokens.readOnly,
      ...plain,
    },
    entra: {
      sandbox: entra,
      domain: entra.domain,
      tenantId: entra.tenantId,
      clientId: full.client_id,
      clientSecret: full.client_secret,
      operator: {
        domains: [entra.domain],
        tenantId: operator.tenant_id,
        clientId: operator.client_id,
        clientSecret: operator.client_secret,
      },
    },
  }
}
