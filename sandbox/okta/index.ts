/** A strict Okta organisation on loopback: its token endpoint, its API, and credentials for every case. */
import { randomBytes } from 'node:crypto'
import { freshKeys, type RsaKeys } from '../keys.ts'
import { createLivingDirectory, type LivingDirectory } from '../living-directory.ts'
import type { ExampleAttributes, ProviderSandbox, SandboxAnswer, SandboxRequest } from '../provider.ts'
import { OktaApi, readOnlyMode } from './api.ts'
import { Documents } from './documents.ts'
import { apiError, noSuchOrganization, Refusal } from './errors.ts'
import { Pager } from './paging.ts'
import {
  type AppName,
  appNames,
  createApps,
  createTokens,
  credentialsOf,
  oktaId,
  type ServiceAppCredentials,
  type TokenName,
  tokenNames,
} from './principals.ts'
import { ProofVerifier } from './proofs.ts'
import { RateLimits } from './rate-limits.ts'
import { SystemLog } from './system-log.ts'
import { TokenEndpoint, tokenPath } from './token-endpoint.ts'

export type { AppName, ServiceAppCredentials, TokenName } from './principals.ts'

export interface OktaSandboxOptions {
  readonly users: number
  readonly groups: number
  readonly seed: string
  /** Keys of its apps; new ones by default. */
  readonly keys?: RsaKeys
  /** Domain of its people's addresses: `acme.com` by default. */
  readonly mailDomain?: string
  /** `acme.okta.com` by default. */
  readonly host?: string
  /** A custom domain, at which the organisation answers as well. */
  readonly customDomain?: string
  /** Classic Engine instead of Identity Engine: no devices, and no scope for them. */
  readonly isClassic?: boolean
  /** The last day of a trial. */
  readonly expiresAt?: Date
  /** Requests a minute in each bucket, or those that Okta published; many by default, so that only a fault throttles. */
  readonly requestsPerMinute?: number | 'documented'
  /** Length of the minutes that requests are counted in, in ms; 60,000 by default. */
  readonly rateWindowMs?: number
  /** People with an administrator's role besides those who made the API tokens; none by default. */
  readonly administrators?: number
  /** See `DirectoryOptions`. */
  readonly devices?: number
  readonly largestGroup?: number
}

export interface OktaSandbox extends ProviderSandbox {
  readonly name: 'okta'
  readonly host: string
  /** A host under okta.com that no organisation has. */
  readonly unknownHost: string
  readonly customDomain: string | undefined
  readonly organizationId: string
  readonly directory: LivingDirectory
  readonly apiTokens: Readonly<Record<TokenName, string>>
  readonly serviceApps: Readonly<Record<AppName, ServiceAppCredentials>>
}

export async function createOktaSandbox(options: OktaSandboxOptions): Promise<OktaSandbox> {
  const { users, groups, seed, keys = freshKeys(), customDomain, isClassic = false } = options
  const host = options.host ?? 'acme.okta.com'
  const directory = createLivingDirectory({
    domain: options.mailDomain ?? 'acme.com',
    users,
    groups,
    seed,
    ...(options.devices !== undefined && { devices: options.devices }),
    ...(options.largestGroup !== undefined && { largestGroup: options.largestGroup }),
  })
  const documents = new Documents(directory, seed)
  const pager = new Pager(seed)
  const tokens = createTokens(seed, users)
  const apps = await createApps(seed, keys)
  const organizationId = oktaId('00o', seed, 'organisation')
  const proofs = new ProofVerifier()
  const tokenEndpoint = new TokenEndpoint({ host, seed, apps: Object.values(apps), proofs, isClassic })
  const api = new OktaApi({
    host,
    organizationId,
    documents,
    pager,
    log: new SystemLog(documents, pager, seed),
    administrators: Math.min(options.administrators ?? 0, users),
    tokens: Object.values(tokens),
    apps: Object.values(apps),
    tokenEndpoint,
    proofs,
    isClassic,
    expiresAt: options.expiresAt,
  })
  const rateLimits = new RateLimits({
    requestsPerMinute: options.requestsPerMinute ?? 1_000_000,
    ...(options.rateWindowMs !== undefined && { windowMs: options.rateWindowMs }),
  })
  const unknownHost = host.replace('.', '-old.')

  /** At its own hosts the organisation is always known by https, also where its sandbox is reached without TLS. */
  const addressOf = (url: URL): URL => {
    if (url.hostname !== host && url.hostname !== customDomain) return url
    return new URL(`https://${url.hostname}${url.pathname}${url.search}`)
  }

  const organization = (): SandboxAnswer => ({
    status: 200,
    body: {
      id: organizationId,
      _links: {
        organization: { href: `https://${host}` },
        ...(customDomain !== undefined && { alternate: { href: `https://${customDomain}` } }),
      },
      pipeline: isClassic ? 'v1' : 'idx',
    },
  })

  const route = async (request: SandboxRequest): Promise<SandboxAnswer> => {
    const { pathname } = request.url
    if (pathname === '/.well-known/okta-organization')
      return request.method === 'GET' ? organization() : apiError('E0000022')
    return pathname === tokenPath ? tokenEndpoint.handle(request) : api.handle(request)
  }

  const apiTokens = Object.fromEntries(tokenNames.map((name) => [name, tokens[name].value])) as Record<
    TokenName,
    string
  >
  const serviceApps = Object.fromEntries(appNames.map((name) => [name, credentialsOf(apps[name])])) as Record<
    AppName,
    ServiceAppCredentials
  >

  return {
    name: 'okta',
    hosts: [host, unknownHost, ...(customDomain === undefined ? [] : [customDomain])],
    host,
    unknownHost,
    customDomain,
    organizationId,
    directory,
    apiTokens,
    serviceApps,
    async handle(received) {
      if (received.url.hostname === unknownHost) return noSuchOrganization
      const request = { ...received, url: addressOf(received.url) }
      const { headers, isExceeded } = rateLimits.count(request)
      const answer = isExceeded ? rateLimits.exceeded(request) : await answerOrRefusal(() => route(request))
      return {
        ...answer,
        headers: {
          'x-okta-request-id': randomBytes(16).toString('base64url'),
          ...headers,
          ...answer.headers,
        },
      }
    },
    throttled: (request) => rateLimits.exceeded(request),
    unavailable: readOnlyMode,
    examples: () => examplesOf({ host, unknownHost, apiTokens, serviceApps }),
  }
}

async function answerOrRefusal(answer: () => Promise<SandboxAnswer>): Promise<SandboxAnswer> {
  try {
    return await answer()
  } catch (error) {
    if (error instanceof Refusal) return error.answer
    throw error
  }
}

function examplesOf({
  host,
  unknownHost,
  apiTokens,
  serviceApps,
}: Pick<OktaSandbox, 'host' | 'unknownHost' | 'apiTokens' | 'serviceApps'>) {
  const withToken = (api_token: string, domain = host): ExampleAttributes => ({
    domain,
    integration_type: 'OKTA',
    secrets: { api_token },
  })
  const withApp = ({ clientId, privateKey, keyId }: ServiceAppCredentials): ExampleAttributes => ({
    domain: host,
    integration_type: 'OKTA',
    secrets: { client_id: clientId, private_key: privateKey, key_id: keyId },
  })
  return {
    valid: withToken(apiTokens.readOnly),
    invalid: [
      { title: 'The API token was revoked', attributes: withToken(apiTokens.revoked) },
      {
        title: 'The API token was pasted with its scheme',
        attributes: withToken(`SSWS ${apiTokens.readOnly}`),
      },
      { title: 'No organisation has this domain', attributes: withToken(apiTokens.readOnly, unknownHost) },
      {
        title: 'The domain is the address of the Admin Console',
        attributes: withToken(apiTokens.readOnly, host.replace('.', '-admin.')),
      },
      { title: 'The service app has no administrator role', attributes: withApp(serviceApps.withoutRole) },
      {
        title: 'The service app is not granted okta.groups.read',
        attributes: withApp(serviceApps.withoutGroupsScope),
      },
      { title: 'The service app is set to a client secret', attributes: withApp(serviceApps.clientSecret) },
    ],
  }
}
