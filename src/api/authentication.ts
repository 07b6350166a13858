/** Who is asking, and what they may do: decided by the matched route and the headers, before a body is read. */
import type { FastifyRequest } from 'fastify'
import type { KeyRing } from '../store/key-ring.ts'
import type { Key } from '../store/keys.ts'
import { type Organization, OrganizationError } from '../store/organizations.ts'
import type { Permission } from '../store/permissions.ts'
import { forbidden, permissionMissing, RequestError } from './errors.ts'
import type { TokenVerifier } from './oauth.ts'
import type { RefusalTrail, ShownCredentials } from './refusals.ts'

/**
 * What a route asks of its callers. Every route declares one; one that does not keeps the server from starting.
 * - `public`: nothing
 * - `api_key`: an API key alone
 * - `authenticated`: key pair or token, whatever they permit
 * - a permission: key pair or token with it
 */
export type Access = 'public' | 'api_key' | 'authenticated' | Permission

/** Someone who proved who they are. */
export interface Caller {
  /** Tells callers apart in limits and logs: `key:<id>`, or issuer and subject of a token. Holds no secret. */
  readonly id: string
  readonly organization: Organization
  /** Names of what the caller may do: permissions of the key, or scopes of the token. */
  readonly permissions: ReadonlySet<string>
  /** The key, unless it was a token of an issuer. */
  readonly key?: Key
}

/** Query parameters in which older clients send keys; they end in logs, so that such a request is refused whole. */
const keyParameters = ['api_key', 'application_key', 'dd-api-key', 'dd-application-key', 'access_token']

/** Whether keys were put into the address. */
export const hasKeysInQuery = (query: unknown) =>
  typeof query === 'object' &&
  query !== null &&
  Object.keys(query).some((name) => keyParameters.includes(name.toLowerCase()))

export interface Authentication {
  /**
   * The caller of a route that is not public; a promise only where something has to be waited for.
   *
   * @throws RequestError `forbidden` when keys or token are missing or wrong
   * @throws DatabaseUnavailable when nobody can tell
   */
  callerOf(request: FastifyRequest, access: Exclude<Access, 'public'>): Caller | Promise<Caller>
}

/** @see https://docs.datadoghq.com/account_management/api-app-keys/ for the headers */
export function createAuthentication(
  keys: KeyRing,
  tokens: TokenVerifier,
  refusals: Pick<RefusalTrail, 'note'>,
): Authentication {
  /** Callers by key, made once for each: keys do not change while they are in force. */
  const callers = new WeakMap<Key, Caller>()
  const callerByKey = (key: Key | undefined): Caller => {
    if (key === undefined) throw forbidden()
    const known = callers.get(key)
    if (known !== undefined) return known
    const caller = {
      id: `key:${key.id}`,
      organization: key.organization,
      permissions: new Set(key.permissions),
      key,
    }
    callers.set(key, caller)
    return caller
  }
  const caller = (key: ReturnType<KeyRing['findApiKey']>): Caller | Promise<Caller> =>
    key instanceof Promise ? key.then(callerByKey) : callerByKey(key)

  const byKeys = ({ headers }: FastifyRequest): Caller | Promise<Caller> => {
    const apiKey = textOf(headers['dd-api-key'])
    const applicationKey = textOf(headers['dd-application-key'])
    if (applicationKey === undefined) throw forbidden()
    if (isAccessToken(applicationKey)) return caller(keys.findAccessToken(applicationKey))
    if (apiKey === undefined) throw forbidden()
    return caller(keys.findPair(apiKey, applicationKey))
  }

  const byIssuedToken = async (token: string): Promise<Caller> => {
    const proven = await tokens.verify(token)
    if (proven === undefined) throw forbidden()
    return {
      id: `token:${JSON.stringify([proven.issuer, proven.subject])}`,
      organization: await organizationOf(proven.organization),
      permissions: proven.scopes,
    }
  }

  const organizationOf = async (nameOrId: string): Promise<Organization> => {
    try {
      return await keys.organization(nameOrId)
    } catch (error) {
      // The issuer named something that is no organisation's name.
      throw error instanceof OrganizationError ? forbidden() : error
    }
  }

  const judge = (request: FastifyRequest, access: Access): Caller | Promise<Caller> => {
    if (hasKeysInQuery(request.query)) throw forbidden()
    if (access === 'api_key') return caller(keys.findApiKey(textOf(request.headers['dd-api-key']) ?? ''))
    // A bearer token is judged alone: keys beside it must not rescue one that was refused.
    const token = bearerToken(request.headers.authorization)
    if (token === undefined) return byKeys(request)
    return isAccessToken(token) ? caller(keys.findAccessToken(token)) : byIssuedToken(token)
  }

  return {
    callerOf(request, access) {
      const noteRefusal = (error: unknown): never => {
        if (error instanceof RequestError && error.code === 'forbidden')
          refusals.note(request, shownBy(request))
        throw error
      }
      try {
        const found = judge(request, access)
        return found instanceof Promise ? found.catch(noteRefusal) : found
      } catch (error) {
        return noteRefusal(error)
      }
    },
  }
}

function shownBy({ query, headers }: FastifyRequest): ShownCredentials {
  if (hasKeysInQuery(query)) return 'keys_in_address'
  const token = bearerToken(headers.authorization) ?? textOf(headers['dd-application-key'])
  if (token !== undefined && isAccessToken(token)) return 'access_token'
  if (bearerToken(headers.authorization) !== undefined) return 'bearer_token'
  return token === undefined && headers['dd-api-key'] === undefined ? 'nothing' : 'keys'
}

/** @throws RequestError `forbidden` when the caller lacks what the route asks for */
export function demandPermission(caller: Caller, access: Access): void {
  if (access === 'public' || access === 'api_key' || access === 'authenticated') return
  if (!caller.permissions.has(access)) throw permissionMissing()
}

const isAccessToken = (text: string) => text.startsWith('ddpat_') || text.startsWith('ddsat_')

const textOf = (header: string | string[] | undefined) =>
  typeof header === 'string' && header !== '' ? header : undefined

const bearerToken = (header: string | undefined) =>
  header === undefined ? undefined : /^bearer +(\S+)$/i.exec(header)?.[1]
