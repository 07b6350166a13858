/** What the checks of one validation share: tokens, each requested once, and the reads that several checks judge. */
import { SourceError } from '../../outbound/source-error.ts'
import type { SourceTools, Target } from '../source.ts'
import { requestToken, type ScopeName, scopes, widerScopes } from './access.ts'
import { type DirectoryRequest, isText, itemsOf, readDirectory, tokenOperation } from './client.ts'
import { isScopeRefusal, isUnknownToWhatAnswers, mayConcernOneScope } from './diagnosis.ts'
import { canonicalDomain, type GoogleCredentials, type KeyReading, readPrivateKey } from './secrets.ts'

/** The administrator as the directory shows it. */
export interface Administrator {
  readonly isSuper: boolean | undefined
  readonly isDelegated: boolean | undefined
  readonly isActive: boolean
  /** Google's id of the organisation: `C01abc2de`. */
  readonly customerId: string | undefined
}

/** One user of the directory, as far as the checks look at it. */
export interface DirectoryUser {
  readonly customerId: string | undefined
  readonly addresses: readonly string[]
  readonly isEnrolledIn2Sv: unknown
  readonly lastLoginTime: unknown
}

export interface GoogleSession {
  readonly credentials: GoogleCredentials
  /** Canonical; undefined when the customer's spelling is none. */
  readonly domain: string | undefined
  /** Whether the service account acts for an administrator, or in its own name by a role of its own. */
  readonly hasAdministrator: boolean
  readonly privateKey: KeyReading
  token(scope: ScopeName): Promise<string>
  /** The service account's own token, without an administrator. */
  ownToken(): Promise<string>
  read(scope: ScopeName, request: DirectoryRequest): Promise<Readonly<Record<string, unknown>>>
  administrator(): Promise<Administrator>
  /**
   * The first users of the whole organisation. Without an administrator, those of the domain: Google then does not
   * know whose organisation is meant.
   */
  firstUsers(): Promise<readonly DirectoryUser[]>
  /** How the organisation is named in paths. */
  customerKey(): Promise<string>
  /** The id of the first group; undefined when there is none. */
  firstGroup(): Promise<string | undefined>
}

/** Asks at once and at most once for each key. A failure that nobody waits for yet is no unhandled rejection. */
function once<V, K = void>(ask: (key: K) => Promise<V>): (key: K) => Promise<V> {
  const asked = new Map<K, Promise<V>>()
  return (key) => {
    let answer = asked.get(key)
    if (answer === undefined) {
      answer = ask(key)
      answer.catch(() => undefined)
      asked.set(key, answer)
    }
    return answer
  }
}

/**
 * Tokens by scope. One token for all scopes is asked for first: where everything is delegated, or the key is no
 * good, that one request settles it. Google refuses it as a whole when a single scope is not delegated; then each
 * scope is asked for alone, side by side.
 */
function openTokens(request: (scope: string) => Promise<string>): (scope: ScopeName) => Promise<string> {
  const whole = once(() => request(Object.values(scopes).join(' ')))
  const alone = once((scope: ScopeName) => request(scopes[scope]))
  const single = async (scope: ScopeName): Promise<string> => {
    try {
      return await alone(scope)
    } catch (error) {
      const wider = widerScopes[scope]
      if (wider === undefined || !(error instanceof SourceError) || !isScopeRefusal(error)) throw error
      return alone(wider).catch((thrown: unknown) => {
        throw thrown instanceof SourceError && isScopeRefusal(thrown) ? error : thrown
      })
    }
  }
  return async (scope) => {
    try {
      return await whole()
    } catch (error) {
      if (!(error instanceof SourceError) || !mayConcernOneScope(error)) throw error
      return single(scope)
    }
  }
}

export function openSession(target: Target<GoogleCredentials>, tools: SourceTools): GoogleSession {
  const { credentials } = target
  const privateKey = readPrivateKey(credentials.text('private_key') ?? '')

  const request = async (scope: string, subject: string | undefined) => {
    const email = credentials.text('client_email')
    // The shape checks, which come first, have found both.
    if (!privateKey.ok || email === undefined)
      throw new SourceError({ code: 'not_configured', operation: tokenOperation })
    const account = { email, keyId: credentials.text('private_key_id'), key: privateKey.key }
    return (await requestToken(tools, account, subject, scope)).text
  }
  const token = openTokens((scope) => request(scope, credentials.adminEmail))
  const renewedToken = openTokens((scope) => request(scope, credentials.adminEmail))

  const read = async (scope: ScopeName, request: DirectoryRequest) => {
    const ask = async (bearer: string) => readDirectory(tools.http, bearer, request, () => tools.now())
    const first = await token(scope)
    try {
      return await ask(first)
    } catch (error) {
      // A token may be revoked while it is under way; only the refusal of a second one says something.
      if (!(error instanceof SourceError) || error.code !== 'refused' || error.status !== 401) throw error
      return ask(await renewedToken(scope))
    }
  }

  const administrator = once(async (): Promise<Administrator> => {
    const operation = 'read the administrator'
    const user = await read('users', {
      operation,
      about: 'administrator',
      path: `users/${encodeURIComponent(credentials.adminEmail ?? '')}`,
      query: { fields: 'kind,id,primaryEmail,isAdmin,isDelegatedAdmin,suspended,archived,customerId' },
    }).catch(async (error: unknown) => {
      if (!isUnknownToWhatAnswers(error)) throw error
      // Tokens are issued for active accounts only, and the list is open to administrators only.
      await firstUsers().catch(() => Promise.reject(error))
      return undefined
    })
    if (user === undefined)
      return { isSuper: undefined, isDelegated: undefined, isActive: true, customerId: undefined }
    if (!isText(user.id) || !isText(user.primaryEmail))
      throw new SourceError({ code: 'unexpected_response', operation, status: 200 })
    return {
      isSuper: booleanOf(user.isAdmin),
      isDelegated: booleanOf(user.isDelegatedAdmin),
      isActive: user.suspended !== true && user.archived !== true,
      customerId: customerIdOf(user.customerId),
    }
  })

  const hasAdministrator = credentials.adminEmail !== undefined
  const domain = canonicalDomain(target.domain)
  const everybody: Readonly<Record<string, string>> = hasAdministrator
    ? { customer: 'my_customer' }
    : { domain: domain ?? '' }
  const firstUsers = once(() => listUsers(read, everybody, hasAdministrator ? 'customer' : 'domain'))
  const customerKey = async () =>
    hasAdministrator ? 'my_customer' : ((await firstUsers())[0]?.customerId ?? 'my_customer')

  const firstGroup = once(async (): Promise<string | undefined> => {
    const operation = 'read groups'
    const body = await read('groups', {
      operation,
      about: hasAdministrator ? 'customer' : 'domain',
      path: 'groups',
      query: { ...everybody, maxResults: '1', fields: 'kind,groups(id,email)' },
    })
    const [group] = itemsOf(
      body,
      { kind: 'admin#directory#groups', member: 'groups', texts: ['id'] },
      operation,
    )
    return group === undefined ? undefined : String(group.id)
  })

  return {
    credentials,
    domain,
    hasAdministrator,
    privateKey,
    token,
    ownToken: () => request(scopes.users, undefined),
    read,
    administrator,
    firstUsers,
    customerKey,
    firstGroup,
  }
}

/** The first users of an organisation (`customer`) or of one domain (`domain`). */
export async function listUsers(
  read: GoogleSession['read'],
  whose: Readonly<Record<string, string>>,
  about: 'customer' | 'domain',
): Promise<readonly DirectoryUser[]> {
  const operation = about === 'domain' ? 'read users of the domain' : 'read users'
  const body = await read('users', {
    operation,
    about,
    path: 'users',
    query: {
      ...whose,
      maxResults: '1',
      fields:
        'kind,users(id,primaryEmail,aliases,nonEditableAliases,customerId,isEnrolledIn2Sv,lastLoginTime)',
    },
  })
  return itemsOf(
    body,
    { kind: 'admin#directory#users', member: 'users', texts: ['id', 'primaryEmail'] },
    operation,
  ).map(({ primaryEmail, aliases, nonEditableAliases, customerId, isEnrolledIn2Sv, lastLoginTime }) => ({
    customerId: customerIdOf(customerId),
    // Addresses in alias domains are those that nobody can edit.
    addresses: [primaryEmail, aliases, nonEditableAliases].flat().filter(isText),
    isEnrolledIn2Sv,
    lastLoginTime,
  }))
}

/** Letters and digits, such as `C01abc2de`. */
const customerIdOf = (value: unknown) => (isText(value) && /^\w{1,40}$/.test(value) ? value : undefined)
const booleanOf = (value: unknown) => (typeof value === 'boolean' ? value : undefined)
