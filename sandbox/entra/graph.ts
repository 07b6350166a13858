/** Microsoft Graph v1.0 of the Entra sandbox: who asks, and how an answer looks. */
import { createPublicKey, type KeyObject, randomUUID } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { answerDelta, DeltaGone } from './delta.ts'
import type { GraphObject } from './directory-objects.ts'
import {
  type Collection,
  contextOf,
  countOf,
  GraphRefusal,
  pageOf,
  pick,
  readOptions,
  readSelect,
} from './query.ts'
import { type Caller, decoded, learn, resolve, type Target } from './resources.ts'
import { graphAppId } from './sign-in.ts'
import { type CloudName, clouds, type Tenant } from './tenants.ts'
import { createThrottling } from './throttling.ts'

export interface Graph {
  /** @param cloud whose Graph was asked */
  handle(request: SandboxRequest, cloud: CloudName): Promise<SandboxAnswer>
}

export interface GraphOptions {
  /** Key under which tokens in links are signed. */
  readonly seal: string
  /** Nested groups, devices and service principals in groups, roles by a group. */
  readonly isVaried: boolean
  /** Whether Microsoft's published limits are enforced. */
  readonly isLimited: boolean
}

export function createGraph(
  tenants: readonly Tenant[],
  signingKey: KeyObject,
  { seal, isVaried, isLimited }: GraphOptions,
): Graph {
  const publicKey = createPublicKey(signingKey)
  const throttling = createThrottling()
  const known = new Map(tenants.map((tenant) => [tenant.id, learn(tenant, isVaried)]))

  async function authenticate(request: SandboxRequest, cloud: CloudName): Promise<Caller> {
    const header = request.headers.get('authorization') ?? ''
    const token = /^Bearer +(\S+)$/i.exec(header)?.[1]
    const invalid = (message: string) => new GraphRefusal(401, 'InvalidAuthenticationToken', message)
    if (token === undefined) throw invalid('Access token is empty.')
    if (token.split('.').length !== 3)
      throw invalid('IDX14100: JWT is not well formed, there are no dots (.).')
    try {
      const { payload } = await jwtVerify(token, publicKey, {
        algorithms: ['RS256'],
        audience: [`https://${clouds[cloud].graph}`, graphAppId],
        currentDate: request.now,
        clockTolerance: 300,
      })
      const tenant = tenants.find(({ id }) => id === payload.tid)
      const app = tenant?.apps.find(({ clientId }) => clientId === payload.appid)
      if (tenant === undefined || app === undefined || tenant.cloud !== cloud)
        throw invalid('InvalidCloudInstance')
      if (app.fault === 'missing')
        throw new GraphRefusal(
          401,
          'Authorization_IdentityNotFound',
          'The identity of the calling application could not be established.',
        )
      if (app.fault === 'disabled')
        throw new GraphRefusal(
          401,
          'Authorization_IdentityDisabled',
          'The identity of the calling application is disabled.',
        )
      const learnt = known.get(tenant.id) ?? learn(tenant, isVaried)
      return {
        tenant,
        known: learnt,
        app,
        roles: new Set(Array.isArray(payload.roles) ? payload.roles.map(String) : []),
      }
    } catch (error) {
      if (error instanceof GraphRefusal) throw error
      if (error instanceof errors.JWTExpired)
        throw invalid('Lifetime validation failed, the token is expired.')
      if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud')
        throw invalid('Access token validation failure. Invalid audience.')
      throw invalid('Signing key is invalid.')
    }
  }

  function chargeOf({ tenant, app }: Caller, path: string, { url, now }: SandboxRequest) {
    return throttling.charge({
      path: `/${path.split('/').slice(1).map(decoded).join('/')}`,
      query: url.searchParams,
      now,
      tenantId: tenant.id,
      clientId: app.clientId,
      users: tenant.directory.userCount,
    })
  }

  function bodyOf(target: Exclude<Target, { counted: Collection }>, caller: Caller, request: SandboxRequest) {
    if ('delta' in target)
      return answerDelta(request, caller.tenant, caller.known.journal, target.delta, target.like, seal)
    if (!('list' in target)) return single(target, request.url)
    return pageOf(target.list, {
      url: request.url,
      headers: request.headers,
      seal,
      isRepeating: request.faults.has('repeated_next_link'),
      isEmptying: request.faults.has('empty_middle_page'),
    })
  }

  return {
    async handle(request, cloud) {
      const requestId = randomUUID()
      const headers = {
        'request-id': requestId,
        'client-request-id': request.headers.get('client-request-id') ?? requestId,
        'odata-version': '4.0',
        'content-type':
          'application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8',
      }
      try {
        const [, version = '', path = ''] = /^\/([^/]+)(\/.*)?$/.exec(request.url.pathname) ?? []
        if (version !== 'v1.0' && version !== 'beta')
          throw new GraphRefusal(400, 'BadRequest', `Invalid version: ${version.slice(0, 20)}`)
        const caller = await authenticate(request, cloud)
        const charge = isLimited ? chargeOf(caller, path, request) : undefined
        if (charge?.isThrottled === true)
          return {
            status: 429,
            headers: { ...headers, ...charge.headers },
            body: errorBody({ code: 'TooManyRequests', message: 'Too many requests' }, request, requestId),
          }
        const target = resolve(path, request, caller)
        if (request.method !== 'GET')
          throw new GraphRefusal(
            405,
            'Request_BadRequest',
            'Specified HTTP method is not allowed for the request target.',
          )
        const charged = { ...headers, ...charge?.headers }
        if ('counted' in target)
          return {
            status: 200,
            headers: { ...charged, 'content-type': 'text/plain' },
            body: numberOf(target.counted, request),
          }
        return { status: 200, headers: charged, body: bodyOf(target, caller, request) }
      } catch (error) {
        if (!(error instanceof GraphRefusal)) throw error
        return {
          status: error.status,
          headers: {
            ...headers,
            ...(error instanceof DeltaGone && { location: error.location }),
            ...(error.status === 401 && {
              'www-authenticate': `Bearer realm="", authorization_uri="https://${clouds[cloud].authority}/common/oauth2/authorize", client_id="${graphAppId}"`,
            }),
          },
          body: errorBody(error, request, requestId),
        }
      }
    },
  }
}

/** @see https://learn.microsoft.com/graph/api/user-list#example-3-get-only-a-count-of-users */
function numberOf(collection: Collection, { headers }: SandboxRequest): string {
  if (headers.get('consistencylevel')?.toLowerCase() !== 'eventual')
    throw new GraphRefusal(
      400,
      'Request_BadRequest',
      '$count is not currently supported. The ConsistencyLevel header has to be eventual.',
    )
  return String(countOf(collection))
}

/** @see https://learn.microsoft.com/graph/errors */
export const errorBody = (
  { code, message }: { readonly code: string; readonly message: string },
  request: SandboxRequest,
  requestId: string,
) => ({
  error: {
    code,
    message,
    innerError: {
      date: request.now.toISOString().slice(0, 19),
      'request-id': requestId,
      'client-request-id': request.headers.get('client-request-id') ?? requestId,
    },
  },
})

function single({ one, like, id }: Extract<Target, { id: string }>, url: URL): GraphObject {
  const options = readOptions(url, [])
  const selected = readSelect(options, like)
  if (one === undefined)
    throw new GraphRefusal(
      404,
      'Request_ResourceNotFound',
      `Resource '${id}' does not exist or one of its queried reference-property objects are not present.`,
    )
  return { '@odata.context': contextOf(url, options, '/$entity'), ...pick(one, selected) }
}
