/** Who is asking, and what they may do: decided by the matched route and the headers, before a body is read. */
import type { FastifyRequest } from 'fastify'
import type { Key, KeyRing, Organization } from '../store/keys.ts'
import type { Permission } from '../store/permissions.ts'
import { forbidden, permissionMissing } from './errors.ts'
import type { TokenVerifier } from './oauth.ts'

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
   */
  callerOf(request: FastifyRequest, access: Exclude<Access, 'public'>): Caller | Promise<Caller>
}

/** @see https://docs.datadoghq.com/account_management/api-app-keys/ for the headers */
export function createAuthentication(keys: KeyRing, tokens: TokenVerifier): Authentication {
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

  const byKeys = ({ headers }: FastifyRequest): Caller => {
    const apiKey = textOf(headers['dd-api-key'])
    const applicationKey = textOf(headers['dd-application-key'])
    if (applicationKey === undefined) throw forbidden()
    if (isAccessToken(applicationKey)) return callerByKey(keys.findAccessToken(applicationKey))
    if (apiKey === undefined) throw forbidden()
    return callerByKey(keys.findPair(apiKey, applicationKey))
  }

  const byIssuedToken = async (token: string): Promise<Caller> => {
    const proven = await tokens.verify(token)
    if (proven === undefined) throw forbidden()
    return {
      id: `token:${JSON.stringify([proven.issuer, proven.subject])}`,
      organization: keys.organization(proven.organization),
      permissions: proven.scopes,
    }
  }

  const judge = (request: FastifyRequest, access: Access): Caller | Promise<Caller> => {
    if (hasKeysInQuery(request.query)) throw forbidden()
    if (access === 'api_key') return callerByKey(keys.findApiKey(textOf(request.headers['dd-api-key']) ?? ''))
    // A bearer token is judged alone: keys beside it must not rescue one that was refused.
    const token = bearerToken(request.headers.authorization)
    if (token === undefined) return byKeys(request)
    return isAccessToken(token) ? callerByKey(keys.findAccessToken(token)) : byIssuedToken(token)
  }

  return {
    callerOf(request, access) {
      const refreshed = keys.refreshed()
      return refreshed === undefined ? judge(request, access) : refreshed.then(() => judge(request, access))
    },
  }
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
