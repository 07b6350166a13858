/** What the checks of one validation share: the organisation, the access, and answers that several of them look at. */
import type { HttpClient } from '../../outbound/http.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { SourceTools } from '../source.ts'
import { type Access, serviceAppAccess, tokenAccess } from './access.ts'
import {
  type Api,
  type OktaUser,
  type Organization,
  type RateLimit,
  readBuiltInGroups,
  readGroups,
  readOrganization,
  readOwner,
  readUsers,
} from './client.ts'
import { type HostReading, isOrganizationHost } from './domain.ts'
import { type KeyReading, readPrivateKey, type SigningKey } from './private-key.ts'
import type { OktaCredentials } from './secrets.ts'
import type { ServiceApp } from './token-request.ts'

export interface OktaSession {
  readonly credentials: OktaCredentials
  readonly domain: HostReading
  now(): Date
  /** The Okta host behind the operator's custom domain; resolves to the domain itself where that is Okta's. */
  readonly host: () => Promise<string>
  /** The private key of a service app. */
  readonly key: () => Promise<KeyReading>
  /** What the organisation at `host` says of itself. */
  readonly organization: () => Promise<Organization>
  readonly api: () => Promise<Api>
  readonly owner: () => Promise<OktaUser>
  readonly users: () => Promise<readonly OktaUser[]>
  /** The organisation's own groups, as far as they are visible. */
  readonly builtInGroups: () => Promise<readonly string[]>
  /** A group at least, if any is visible. */
  readonly groups: () => Promise<readonly string[]>
  /** The rate limit seen last, if any. */
  rateLimit(): RateLimit | undefined
}

export function openSession(
  credentials: OktaCredentials,
  domain: HostReading,
  { http, now }: SourceTools,
): OktaSession {
  let seen: RateLimit | undefined

  const wellFormed = () => {
    if (!domain.ok) throw new Error('the host is asked for only after the domain was found to be one')
    return domain
  }
  const discovery = once(async () => discover(http, wellFormed().host))
  const host = async () => (wellFormed().kind === 'custom' ? (await discovery()).host : wellFormed().host)
  const organization = once(async () =>
    wellFormed().kind === 'custom'
      ? (await discovery()).organization
      : readOrganization(http, wellFormed().host),
  )
  const key = once(async (): Promise<KeyReading> => {
    if (credentials.kind === 'api_token') throw new Error('an API token has no key')
    return readPrivateKey(credentials.privateKey)
  })
  const access = async (at: string): Promise<Access> => {
    if (credentials.kind === 'api_token') return tokenAccess(http, credentials.apiToken)
    const reading = await key()
    if (!reading.ok) throw new Error('access is asked for only after the key was found to be one')
    return serviceAppAccess(http, at, appOf(credentials, reading.key), now)
  }
  const api = once(async (): Promise<Api> => {
    const at = await host()
    return {
      host: at,
      access: await access(at),
      noteRateLimit: (limit) => {
        seen = limit
      },
    }
  })

  const builtInGroups = once(async () => readBuiltInGroups(await api()))

  return {
    credentials,
    domain,
    now,
    host,
    key,
    organization,
    api,
    owner: once(async () => readOwner(await api())),
    users: once(async () => readUsers(await api())),
    builtInGroups,
    groups: once(async () => {
      // One of the organisation's own is a group as good as any, and all but administrators of some groups see it.
      const builtIn = await builtInGroups().catch(nothingIfMisunderstood)
      return builtIn.length > 0 ? builtIn : readGroups(await api())
    }),
    rateLimit: () => seen,
  }
}

export const appOf = (
  { clientId, keyId }: Extract<OktaCredentials, { kind: 'service_app' }>,
  key: SigningKey,
): ServiceApp => ({ clientId, key, keyId: keyId ?? key.keyId })

/**
 * A custom domain is believed nothing: it only names an organisation, and that one, asked at its own Okta host, has
 * to name the custom domain. A token therefore never goes to a host that is not Okta's.
 *
 * @see https://developer.okta.com/docs/guides/custom-url-domain/main/
 */
async function discover(
  http: HttpClient,
  customHost: string,
): Promise<{ host: string; organization: Organization }> {
  const claimed = await readOrganization(http, customHost)
  const { canonicalHost } = claimed
  const refuse = (what: 'undiscoverable' | 'foreign') =>
    new SourceError({
      code: 'not_configured',
      operation: 'look the organisation up',
      hints: { custom_domain: what },
    })
  if (canonicalHost === undefined) throw refuse('undiscoverable')
  if (!isOrganizationHost(canonicalHost)) throw refuse('foreign')
  const genuine = await readOrganization(http, canonicalHost)
  if (genuine.id !== claimed.id) throw refuse('foreign')
  // Okta is known to leave links out: https://github.com/okta/terraform-provider-okta/issues/1804
  if (genuine.customHost === undefined) throw refuse('undiscoverable')
  if (genuine.customHost !== customHost) throw refuse('foreign')
  return { host: canonicalHost, organization: genuine }
}

/** A filter that is refused as such says nothing of the list without it. */
function nothingIfMisunderstood(error: unknown): readonly string[] {
  if (error instanceof SourceError && error.code === 'refused' && error.status === 400) return []
  throw error
}

/** Asked by several checks, done once. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
