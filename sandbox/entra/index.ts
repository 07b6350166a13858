/** A strict stand-in for Microsoft Entra ID and Graph in all four clouds, with apps for each scenario. */
import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { freshKeys, type RsaKeys } from '../keys.ts'
import type { LivingDirectory } from '../living-directory.ts'
import type { ExampleAttributes, ProviderSandbox, SandboxAnswer, SandboxRequest } from '../provider.ts'
import { createGraph, errorBody } from './graph.ts'
import { createSignIn } from './sign-in.ts'
import { type CloudName, clouds, federation, makeTenants, type Tenant } from './tenants.ts'

export interface EntraSandboxOptions {
  readonly users: number
  readonly groups: number
  readonly devices?: number
  /** As in DirectoryOptions. */
  readonly largestGroup?: number
  /**
   * What a directory of people in groups has not: groups, devices and apps in groups, and a group that holds a role.
   * None of it by default.
   */
  readonly isVaried?: boolean
  /** Whether Graph enforces Microsoft's published limits. Without limits by default. */
  readonly isLimited?: boolean
  readonly seed: string
  /** Keys of its certificates and its token signer; new ones by default. */
  readonly keys?: RsaKeys
  /** When its registrations are made: decides which of their secrets have expired. */
  readonly now?: Date
}

/** `secrets` as they go over the wire. */
export interface SecretCredentials {
  readonly tenant_id: string
  readonly client_id: string
  readonly client_secret: string
  readonly cloud?: CloudName
}

export interface CertificateCredentials {
  readonly tenant_id: string
  readonly client_id: string
  readonly certificate: string
  readonly private_key: string
}

export interface EntraSandbox extends ProviderSandbox {
  /** The tenant in the global cloud with Entra ID P1. */
  readonly domain: string
  readonly tenantId: string
  /** The people of that tenant. */
  readonly directory: LivingDirectory
  /** Credentials by scenario. */
  readonly apps: {
    /** Every permission that a full sync needs. */
    readonly full: SecretCredentials
    /** The five permissions that registrations made for a SIEM usually carry. */
    readonly usual: SecretCredentials
    readonly leastPrivilege: SecretCredentials
    readonly certificate: CertificateCredentials
    /** A sound pair whose certificate was never uploaded. */
    readonly unregisteredCertificate: CertificateCredentials
    readonly wrongSecret: SecretCredentials
    /** The ID of a client secret in place of its value. */
    readonly secretId: SecretCredentials
    readonly expiredSecret: SecretCredentials
    /** Ends ten days from now. */
    readonly expiringSecret: SecretCredentials
    /** No application permission at all. */
    readonly noConsent: SecretCredentials
    /** Users, but no groups. */
    readonly noGroups: SecretCredentials
    /** More than reading. */
    readonly writer: SecretCredentials
    /** Refused at the sign-in service. */
    readonly disabled: SecretCredentials
    /** Refused by Graph. */
    readonly disabledInGraph: SecretCredentials
    readonly missingInGraph: SecretCredentials
    readonly unknownApp: SecretCredentials
    readonly unknownTenant: SecretCredentials
    /** Of the operator of a Credence server. */
    readonly operator: SecretCredentials
    /** A tenant without Entra ID P1, whose domain is `withoutPremiumDomain`. */
    readonly withoutPremium: SecretCredentials
    /** Tenants of other clouds, with `cloud` set. */
    readonly usGov: SecretCredentials
    readonly usGovDod: SecretCredentials
    readonly china: SecretCredentials
  }
  readonly domains: {
    readonly withoutPremium: string
    readonly usGov: string
    readonly usGovDod: string
    readonly china: string
  }
  /** Credentials with a token of the outside issuer; the claims given replace the usual ones. */
  federated(claims?: {
    readonly issuer?: string
    readonly subject?: string
    readonly audience?: string
    readonly issuedAt?: Date
    readonly lifetimeSeconds?: number
  }): Promise<{ readonly tenant_id: string; readonly client_id: string; readonly federated_token: string }>
}

export async function createEntraSandbox(options: EntraSandboxOptions): Promise<EntraSandbox> {
  const { users, groups, devices, largestGroup, seed, keys = freshKeys(), now = new Date() } = options
  const made = await makeTenants({
    users,
    groups,
    seed,
    keys,
    now,
    ...(devices !== undefined && { devices }),
    ...(largestGroup !== undefined && { largestGroup }),
  })
  const signIn = createSignIn(made.tenants, made.keys.signing)
  const graph = createGraph(made.tenants, made.keys.signing, {
    seal: seed,
    isVaried: options.isVaried ?? false,
    isLimited: options.isLimited ?? false,
  })
  const tenantOf = (name: string) => made.tenants.find((tenant) => tenant.name === name) as Tenant
  const acme = tenantOf('Acme')

  const secret = (app: string, tenant = acme, cloud?: CloudName): SecretCredentials => ({
    tenant_id: tenant.id,
    client_id: made.clientIdOf(app),
    client_secret: made.secretOf(app),
    ...(cloud !== undefined && { cloud }),
  })
  const certificate = (name: 'registered' | 'unregistered'): CertificateCredentials => ({
    tenant_id: acme.id,
    client_id: made.clientIdOf('certificate'),
    certificate: made.certificates[name],
    private_key: made.keys[name].export({ type: 'pkcs8', format: 'pem' }).toString(),
  })
  const usual = secret('usual')
  const usualApp = acme.apps.find(({ clientId }) => clientId === usual.client_id)
  const apps: EntraSandbox['apps'] = {
    full: secret('full'),
    usual,
    leastPrivilege: secret('least privilege'),
    certificate: certificate('registered'),
    unregisteredCertificate: certificate('unregistered'),
    wrongSecret: { ...usual, client_secret: made.secretOf('nobody') },
    secretId: { ...usual, client_secret: usualApp?.passwords[0]?.keyId ?? '' },
    expiredSecret: secret('expired secret'),
    expiringSecret: secret('expiring secret'),
    noConsent: secret('no consent'),
    noGroups: secret('no groups'),
    writer: secret('writer'),
    disabled: secret('disabled'),
    disabledInGraph: secret('disabled in graph'),
    missingInGraph: secret('missing in graph'),
    unknownApp: { ...usual, client_id: made.clientIdOf('nobody') },
    unknownTenant: { ...usual, tenant_id: made.clientIdOf('no tenant') },
    operator: secret('operator'),
    withoutPremium: secret('shop', tenantOf('Corner Shop')),
    usGov: secret('agency', tenantOf('Agency'), 'us-gov'),
    usGovDod: secret('base', tenantOf('Base'), 'us-gov-dod'),
    china: secret('works', tenantOf('Works'), 'china'),
  }
  const domain = 'acme.com'
  const attributes = (secrets: object, of = domain): ExampleAttributes => ({
    domain: of,
    integration_type: 'ENTRA_ID',
    secrets: { ...secrets },
  })

  return {
    name: 'entra',
    hosts: [...new Set(Object.values(clouds).flatMap((cloud) => [cloud.authority, cloud.graph]))],
    domain,
    tenantId: acme.id,
    directory: acme.directory,
    apps,
    domains: {
      withoutPremium: 'cornershop.example',
      usGov: 'agency.example',
      usGovDod: 'base.onmicrosoft.us',
      china: 'works.partner.onmschina.cn',
    },

    async federated(claims = {}) {
      const issuedAt = Math.floor((claims.issuedAt ?? new Date()).getTime() / 1000)
      const token = await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
        .setIssuer(claims.issuer ?? federation.issuer)
        .setSubject(claims.subject ?? federation.subject)
        .setAudience(claims.audience ?? federation.audience)
        .setIssuedAt(issuedAt)
        .setNotBefore(issuedAt)
        .setExpirationTime(issuedAt + (claims.lifetimeSeconds ?? 600))
        .sign(made.keys.issuer)
      return { tenant_id: acme.id, client_id: made.clientIdOf('federated'), federated_token: token }
    },

    async handle(request) {
      const host = request.url.hostname
      const cloud = (Object.keys(clouds) as CloudName[]).find((name) => clouds[name].graph === host)
      if (cloud !== undefined) return graph.handle(request, cloud)
      const authority = Object.values(clouds).find((candidate) => candidate.authority === host)?.authority
      if (authority !== undefined) return signIn.handle(request, authority)
      // Asked by address instead of name: the path tells which service of the global cloud is meant.
      return isGraphPath(request)
        ? graph.handle(request, 'global')
        : signIn.handle(request, clouds.global.authority)
    },

    throttled(request): SandboxAnswer {
      // @see https://learn.microsoft.com/graph/throttling, and microsoft-authentication-library-for-dotnet#2855
      return isGraphPath(request)
        ? {
            status: 429,
            headers: { 'retry-after': '10' },
            body: errorBody({ code: 'TooManyRequests', message: 'Too many requests' }, request, randomUUID()),
          }
        : {
            status: 429,
            headers: { 'retry-after': '60', 'content-type': 'text/plain' },
            body: 'Too Many Requests',
          }
    },

    unavailable(request): SandboxAnswer {
      return isGraphPath(request)
        ? {
            status: 503,
            body: errorBody(
              { code: 'serviceNotAvailable', message: 'The service is temporarily unavailable.' },
              request,
              randomUUID(),
            ),
          }
        : {
            status: 503,
            body: {
              error: 'temporarily_unavailable',
              error_description: 'AADSTS90033: A transient error has occurred. Please try again.',
              error_codes: [90033],
            },
          }
    },

    examples: () => ({
      valid: attributes(apps.full),
      invalid: [
        { title: 'The ID of the client secret instead of its value', attributes: attributes(apps.secretId) },
        { title: 'A wrong client secret', attributes: attributes(apps.wrongSecret) },
        { title: 'An expired client secret', attributes: attributes(apps.expiredSecret) },
        { title: 'No admin consent', attributes: attributes(apps.noConsent) },
        { title: 'No permission to read groups', attributes: attributes(apps.noGroups) },
        { title: 'A domain of another tenant', attributes: attributes(apps.usual, 'cornershop.example') },
        {
          title: 'A tenant of US Government asked for in the global cloud',
          attributes: attributes({ ...apps.usGov, cloud: 'global' }, 'agency.example'),
        },
      ],
    }),
  }
}

const isGraphPath = ({ url }: SandboxRequest) => /^\/(?:v1\.0|beta)(?:\/|$)/.test(url.pathname)
