/** The Microsoft clouds: each has a sign-in authority and a Graph of its own, and no token crosses between them. */

/** @see https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud */
export interface Cloud {
  readonly name: CloudName
  /** For people. */
  readonly title: string
  readonly authority: string
  /** @see https://learn.microsoft.com/graph/deployments */
  readonly graph: string
  /**
   * What the discovery documents of its tenants call the cloud (`cloud_instance_name`).
   *
   * @see https://learn.microsoft.com/graph/api/resources/crosscloudazureactivedirectorytenant
   */
  readonly instance: string
  readonly portal: string
  /**
   * What the issuer of a federated token puts into `aud`, unless the federated credential says otherwise.
   *
   * @see https://learn.microsoft.com/graph/api/resources/federatedidentitycredential
   */
  readonly exchangeAudience: string
}

export const cloudNames = ['global', 'us-gov', 'us-gov-dod', 'china'] as const
export type CloudName = (typeof cloudNames)[number]

export const clouds: Readonly<Record<CloudName, Cloud>> = {
  global: {
    name: 'global',
    title: 'the global cloud',
    authority: 'login.microsoftonline.com',
    graph: 'graph.microsoft.com',
    instance: 'microsoftonline.com',
    portal: 'https://entra.microsoft.com',
    exchangeAudience: 'api://AzureADTokenExchange',
  },
  'us-gov': {
    name: 'us-gov',
    title: 'US Government L4 (GCC High)',
    authority: 'login.microsoftonline.us',
    graph: 'graph.microsoft.us',
    instance: 'microsoftonline.us',
    portal: 'https://entra.microsoft.us',
    exchangeAudience: 'api://AzureADTokenExchangeUSGov',
  },
  'us-gov-dod': {
    name: 'us-gov-dod',
    title: 'US Government L5 (DoD)',
    authority: 'login.microsoftonline.us',
    graph: 'dod-graph.microsoft.us',
    instance: 'microsoftonline.us',
    portal: 'https://entra.microsoft.us',
    exchangeAudience: 'api://AzureADTokenExchangeUSGov',
  },
  china: {
    name: 'china',
    title: 'China operated by 21Vianet',
    // Microsoft's page on Graph deployments still names login.chinacloudapi.cn; the page on national clouds is newer.
    authority: 'login.partner.microsoftonline.cn',
    graph: 'microsoftgraph.chinacloudapi.cn',
    instance: 'partner.microsoftonline.cn',
    portal: 'https://entra.microsoftonline.cn',
    exchangeAudience: 'api://AzureADTokenExchangeChina',
  },
}

export const isCloudName = (text: string): text is CloudName => Object.hasOwn(clouds, text)

/** The cloud that a discovery document speaks of; undefined when it says nothing, or something unheard of. */
export function cloudOfInstance(instance: unknown, subScope: unknown): Cloud | undefined {
  const found = Object.values(clouds).find((cloud) => cloud.instance === instance)
  // L4 and L5 share an authority; tenants of L5 say so in `tenant_region_sub_scope`.
  return found?.name === 'us-gov' && subScope === 'DOD' ? clouds['us-gov-dod'] : found
}
