/** The made-up tenants of the Entra sandbox, one or more per Microsoft cloud, and the apps registered in them. */
import { createHash, createHmac, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { issueCertificate } from '../certificate.ts'
import type { RsaKeys } from '../keys.ts'
import { createLivingDirectory, type LivingDirectory } from '../living-directory.ts'

export type CloudName = 'global' | 'us-gov' | 'us-gov-dod' | 'china'

/** @see https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud */
export const clouds: Readonly<
  Record<CloudName, { readonly authority: string; readonly graph: string; readonly instance: string }>
> = {
  global: {
    authority: 'login.microsoftonline.com',
    graph: 'graph.microsoft.com',
    instance: 'microsoftonline.com',
  },
  'us-gov': {
    authority: 'login.microsoftonline.us',
    graph: 'graph.microsoft.us',
    instance: 'microsoftonline.us',
  },
  'us-gov-dod': {
    authority: 'login.microsoftonline.us',
    graph: 'dod-graph.microsoft.us',
    instance: 'microsoftonline.us',
  },
  china: {
    authority: 'login.partner.microsoftonline.cn',
    graph: 'microsoftgraph.chinacloudapi.cn',
    instance: 'partner.microsoftonline.cn',
  },
}

export interface PasswordCredential {
  readonly keyId: string
  readonly displayName: string
  readonly value: string
  readonly startAt: Date
  readonly endAt: Date
}

export interface FederatedCredential {
  readonly issuer: string
  readonly subject: string
  readonly audience: string
  /** What the issuer publishes as its signing key. */
  readonly publicKey: KeyObject
}

/** An app registration with its service principal. */
export interface App {
  readonly clientId: string
  readonly objectId: string
  readonly servicePrincipalId: string
  readonly name: string
  /** Application permissions for Graph with admin consent. */
  readonly permissions: readonly string[]
  readonly passwords: readonly PasswordCredential[]
  readonly certificates: readonly X509Certificate[]
  readonly federated: readonly FederatedCredential[]
  /** `no token`: the sign-in service refuses; `missing`, `disabled`: Graph refuses the token. */
  readonly fault?: 'no token' | 'missing' | 'disabled'
}

export interface Tenant {
  readonly id: string
  readonly name: string
  readonly cloud: CloudName
  /** The first is the initial domain. */
  readonly domains: readonly string[]
  /** Whether it has Entra ID P1. */
  readonly isPremium: boolean
  readonly directory: LivingDirectory
  readonly apps: readonly App[]
}

/** The application permissions that registrations made for a SIEM usually carry. */
export const usualPermissions = [
  'Application.Read.All',
  'Directory.Read.All',
  'Group.Read.All',
  'Policy.Read.All',
  'User.Read.All',
] as const

/** What a full sync needs, one permission per kind of data. */
export const leastPermissions = ['User.Read.All', 'GroupMember.Read.All'] as const

export const everyPermission = [
  ...usualPermissions,
  'AuditLog.Read.All',
  'Device.Read.All',
  'GroupMember.Read.All',
  'Organization.Read.All',
  'RoleManagement.Read.Directory',
] as const

export interface TenantOptions {
  readonly users: number
  readonly groups: number
  readonly devices?: number
  readonly largestGroup?: number
  readonly seed: string
  readonly keys: RsaKeys
  readonly now: Date
}

export interface Made {
  readonly tenants: readonly Tenant[]
  /** Certificates in PEM by name of their key. */
  readonly certificates: Readonly<Record<'registered' | 'unregistered', string>>
  readonly keys: Readonly<Record<'registered' | 'unregistered' | 'issuer' | 'signing', KeyObject>>
  secretOf(app: string): string
  clientIdOf(app: string): string
}

export const federation = {
  issuer: 'https://token.actions.example',
  subject: 'repo:acme/directory-sync:ref:refs/heads/main',
  audience: 'api://AzureADTokenExchange',
} as const

const day = 86_400_000

export async function makeTenants(options: TenantOptions): Promise<Made> {
  const { users, groups, devices, largestGroup, seed, keys, now } = options
  const guidOf = (name: string) => asGuid(createHash('sha256').update(`${seed}\0${name}`).digest('hex'))
  /** Secrets look as Entra makes them: 40 characters with `8Q~` near the start. */
  const secretOf = (name: string) => {
    const text = createHmac('sha256', seed).update(name).digest('base64url').replaceAll('-', '~')
    return `${text.slice(0, 3)}8Q~${text.slice(3, 37)}`
  }
  const registered = await keys('entra-certificate')
  const unregistered = await keys('entra-other-certificate')
  const issuer = await keys('entra-federation')
  const signing = await keys('entra-signing')
  const certificate = (key: KeyObject) =>
    issueCertificate({
      subject: 'acme directory sync',
      publicKey: createPublicKey(key),
      signingKey: key,
      notBefore: new Date(now.getTime() - 30 * day),
      notAfter: new Date(now.getTime() + 335 * day),
      use: 'signature',
    })
  const certificates = { registered: certificate(registered), unregistered: certificate(unregistered) }

  const password = (app: string, days = 180): PasswordCredential => ({
    keyId: guidOf(`secret of ${app}`),
    displayName: 'directory sync',
    value: secretOf(app),
    startAt: new Date(now.getTime() - 30 * day),
    endAt: new Date(now.getTime() + days * day),
  })
  const app = (name: string, rest: Partial<App> = {}): App => ({
    clientId: guidOf(`client ${name}`),
    objectId: guidOf(`object ${name}`),
    servicePrincipalId: guidOf(`principal ${name}`),
    name,
    permissions: usualPermissions,
    passwords: [password(name)],
    certificates: [],
    federated: [],
    ...rest,
  })
  const directory = (domain: string, size: number) =>
    createLivingDirectory({
      domain,
      users: Math.max(1, Math.floor(users * size)),
      groups: Math.min(groups, Math.max(1, Math.floor(groups * size))),
      ...(devices !== undefined && { devices: Math.floor(devices * size) }),
      ...(largestGroup !== undefined && { largestGroup }),
      seed: `${seed} ${domain}`,
    })

  const acme: Tenant = {
    id: guidOf('tenant acme'),
    name: 'Acme',
    cloud: 'global',
    domains: ['acme.onmicrosoft.com', 'acme.com'],
    isPremium: true,
    directory: directory('acme.com', 1),
    apps: [
      app('full', { permissions: everyPermission }),
      app('usual'),
      app('least privilege', { permissions: leastPermissions }),
      app('certificate', {
        passwords: [],
        certificates: [new X509Certificate(certificates.registered)],
      }),
      app('federated', {
        passwords: [],
        federated: [{ ...federation, publicKey: createPublicKey(issuer) }],
      }),
      app('expired secret', { passwords: [password('expired secret', -1)] }),
      app('expiring secret', { passwords: [password('expiring secret', 10)] }),
      app('no consent', { permissions: [] }),
      app('no groups', { permissions: ['User.Read.All', 'Organization.Read.All'] }),
      app('writer', { permissions: [...everyPermission, 'User.ReadWrite.All'] }),
      app('disabled', { fault: 'no token' }),
      app('disabled in graph', { fault: 'disabled' }),
      app('missing in graph', { fault: 'missing' }),
      app('operator'),
    ],
  }
  const shop: Tenant = {
    id: guidOf('tenant shop'),
    name: 'Corner Shop',
    cloud: 'global',
    domains: ['cornershop.onmicrosoft.com', 'cornershop.example'],
    isPremium: false,
    directory: directory('cornershop.example', 0.1),
    apps: [app('shop', { permissions: everyPermission })],
  }
  const agency: Tenant = {
    id: guidOf('tenant agency'),
    name: 'Agency',
    cloud: 'us-gov',
    domains: ['agency.onmicrosoft.us', 'agency.example'],
    isPremium: true,
    directory: directory('agency.example', 0.1),
    apps: [app('agency', { permissions: everyPermission })],
  }
  const base: Tenant = {
    id: guidOf('tenant base'),
    name: 'Base',
    cloud: 'us-gov-dod',
    domains: ['base.onmicrosoft.us'],
    isPremium: true,
    directory: directory('base.onmicrosoft.us', 0.1),
    apps: [app('base', { permissions: everyPermission })],
  }
  const works: Tenant = {
    id: guidOf('tenant works'),
    name: 'Works',
    cloud: 'china',
    domains: ['works.partner.onmschina.cn'],
    isPremium: true,
    directory: directory('works.partner.onmschina.cn', 0.1),
    apps: [app('works', { permissions: everyPermission })],
  }
  return {
    tenants: [acme, shop, agency, base, works],
    certificates,
    keys: { registered, unregistered, issuer, signing },
    secretOf,
    clientIdOf: (name) => guidOf(`client ${name}`),
  }
}

/** The first 32 of `hex` as a version 4 GUID. */
export function asGuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
