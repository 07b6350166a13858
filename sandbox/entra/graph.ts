/** Microsoft Graph v1.0 of the Entra sandbox: what a sync and a validation read, guarded by application permissions. */
import { createPublicKey, type KeyObject, randomUUID } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import {
  applicationOf,
  applicationProperties,
  deviceOf,
  deviceProperties,
  type GraphObject,
  groupOf,
  groupProperties,
  idOf,
  keyOf,
  organizationOf,
  organizationProperties,
  registrationOf,
  registrationProperties,
  roleAssignmentProperties,
  roleAssignmentsOf,
  roleDefinitionProperties,
  roleDefinitions,
  servicePrincipalOf,
  servicePrincipalProperties,
  userDefaults,
  userOf,
  userProperties,
} from './directory-objects.ts'
import { type Collection, contextOf, GraphRefusal, pageOf, pick, readOptions, readSelect } from './query.ts'
import { graphAppId } from './sign-in.ts'
import { type App, type CloudName, clouds, type Tenant } from './tenants.ts'

const directory = ['Directory.Read.All', 'Directory.ReadWrite.All']

/** Application permissions that open an operation, from its reference page. @see https://learn.microsoft.com/graph/api/overview */
const opens = {
  users: ['User.Read.All', 'User.ReadWrite.All', ...directory],
  groups: [
    'GroupMember.Read.All',
    'GroupMember.ReadWrite.All',
    'Group.Read.All',
    'Group.ReadWrite.All',
    ...directory,
  ],
  devices: ['Device.Read.All', 'Device.ReadWrite.All', ...directory],
  applications: [
    'Application.Read.All',
    'Application.ReadWrite.OwnedBy',
    'Application.ReadWrite.All',
    ...directory,
  ],
  organization: ['Organization.Read.All', 'Organization.ReadWrite.All', ...directory],
  domains: ['Domain.Read.All', 'Domain.ReadWrite.All', ...directory],
  roles: [
    'RoleManagement.Read.Directory',
    'RoleManagement.Read.All',
    'RoleManagement.ReadWrite.Directory',
    ...directory,
  ],
  auditLog: ['AuditLog.Read.All'],
} as const

/** A caller whose token was accepted. */
interface Caller {
  readonly tenant: Tenant
  readonly app: App
  readonly roles: ReadonlySet<string>
}

/** What a path leads to: a list, or one object. */
type Target =
  | { readonly list: Collection }
  | {
      readonly one: GraphObject | undefined
      readonly like: Pick<Collection, 'type' | 'properties' | 'defaults'>
      readonly id: string
    }

export interface Graph {
  /** @param cloud whose Graph was asked */
  handle(request: SandboxRequest, cloud: CloudName): Promise<SandboxAnswer>
}

export function createGraph(tenants: readonly Tenant[], signingKey: KeyObject, seal: string): Graph {
  const publicKey = createPublicKey(signingKey)

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
      return { tenant, app, roles: new Set(Array.isArray(payload.roles) ? payload.roles.map(String) : []) }
    } catch (error) {
      if (error instanceof GraphRefusal) throw error
      if (error instanceof errors.JWTExpired)
        throw invalid('Lifetime validation failed, the token is expired.')
      if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud')
        throw invalid('Access token validation failure. Invalid audience.')
      throw invalid('Signing key is invalid.')
    }
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
        const target = resolve(path, request, caller)
        if (request.method !== 'GET')
          throw new GraphRefusal(
            405,
            'Request_BadRequest',
            'Specified HTTP method is not allowed for the request target.',
          )
        const body =
          'list' in target
            ? pageOf(target.list, {
                url: request.url,
                headers: request.headers,
                seal,
                isRepeating: request.faults.has('repeated_next_link'),
                isEmptying: request.faults.has('empty_middle_page'),
              })
            : single(target, request.url)
        return { status: 200, headers, body }
      } catch (error) {
        if (!(error instanceof GraphRefusal)) throw error
        return {
          status: error.status,
          headers: {
            ...headers,
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

function demand({ roles }: Caller, granting: readonly string[]): void {
  if (!granting.some((role) => roles.has(role)))
    throw new GraphRefusal(
      403,
      'Authorization_RequestDenied',
      'Insufficient privileges to complete the operation.',
    )
}

/** Reports and sign-ins: their service has words of its own for a missing licence or permission. */
function demandAuditLog({ roles, tenant }: Caller): void {
  if (!tenant.isPremium)
    throw new GraphRefusal(
      403,
      'Authentication_RequestFromNonPremiumTenantOrB2CTenant',
      "Neither tenant is B2C or tenant doesn't have premium license",
    )
  if (!opens.auditLog.some((role) => roles.has(role)))
    throw new GraphRefusal(
      403,
      'Authentication_MSGraphPermissionMissing',
      'Calling principal does not have required MSGraph permissions AuditLog.Read.All',
    )
}

/** Largest page of users with their sign-in activity (msgraph-sdk-powershell#1898). */
const signInPage = 120

/** Everything that can be asked, by path. Permissions are demanded before anything is looked up. */
function resolve(path: string, request: SandboxRequest, caller: Caller): Target {
  const { tenant } = caller
  const people = tenant.directory
  const users = { type: 'microsoft.graph.user', properties: userProperties, defaults: userDefaults }
  const groups = { type: 'microsoft.graph.group', properties: groupProperties }
  const devices = { type: 'microsoft.graph.device', properties: deviceProperties }
  const principals = { type: 'microsoft.graph.servicePrincipal', properties: servicePrincipalProperties }
  const applications = { type: 'microsoft.graph.application', properties: applicationProperties }
  const segments = path
    .replace(/\/$/, '')
    .split('/')
    .slice(1)
    .map((segment) => decoded(segment))
  const [first = '', id = '', relation = ''] = segments
  const shape = segments.map((segment, index) => (index === 1 ? '*' : segment)).join('/')
  const fixed = (
    like: Pick<Collection, 'type' | 'properties'>,
    entries: readonly GraphObject[],
    options?: readonly string[],
  ) => ({
    list: {
      ...like,
      count: entries.length,
      at: (index: number) => entries[index] ?? {},
      ...(options !== undefined && { options }),
    },
  })
  const byAppId = /^(applications|servicePrincipals)\(appId='([^']*)'\)$/.exec(path.slice(1))

  if (byAppId !== null) {
    demand(caller, opens.applications)
    const appId = byAppId[2]?.toLowerCase() ?? ''
    const app = tenant.apps.find(({ clientId }) => clientId === appId)
    return byAppId[1] === 'applications'
      ? { one: app && applicationOf(app), like: applications, id: appId }
      : { one: app && servicePrincipalOf(app), like: principals, id: appId }
  }

  switch (segments.length === 1 ? first : shape) {
    case 'organization':
      demand(caller, opens.organization)
      return fixed({ type: 'microsoft.graph.organization', properties: organizationProperties }, [
        organizationOf(tenant),
      ])
    case 'domains':
      demand(caller, opens.domains)
      return fixed(
        { type: 'microsoft.graph.domain', properties: ['id', 'isDefault', 'isInitial', 'isVerified'] },
        tenant.domains.map((name, index) => ({
          id: name,
          isDefault: index === tenant.domains.length - 1,
          isInitial: index === 0,
          isVerified: true,
        })),
      )
    case 'users': {
      demand(caller, opens.users)
      if (/signInActivity/.test(request.url.searchParams.get('$select') ?? '')) demandAuditLog(caller)
      return {
        list: {
          ...users,
          count: people.userCount,
          at: (index) => userOf(people.person(index), people),
          largestPage: (selected) => (selected.has('signInActivity') ? signInPage : 999),
          expand: {
            manager(user) {
              const index = people.findPerson(keyOf(String(user.id)))
              const manager = index === undefined ? undefined : people.person(index).managerIndex
              return manager === undefined
                ? undefined
                : {
                    '@odata.type': '#microsoft.graph.user',
                    ...pick(userOf(people.person(manager), people), new Set(userDefaults)),
                  }
            },
          },
        },
      }
    }
    case 'users/*': {
      demand(caller, opens.users)
      const index = people.findPerson(isGuid(id) ? keyOf(id) : id)
      return { one: index === undefined ? undefined : userOf(people.person(index), people), like: users, id }
    }
    case 'users/*/memberOf': {
      demand(caller, opens.groups)
      const person = people.findPerson(isGuid(id) ? keyOf(id) : id)
      const own = Array.from({ length: people.groupCount }, (_, index) => index).filter(
        (index) => person !== undefined && people.isMember(index, person),
      )
      return fixed(
        groups,
        own.map((index) => ({ '@odata.type': '#microsoft.graph.group', ...groupOf(people.group(index)) })),
      )
    }
    case 'groups':
      demand(caller, opens.groups)
      return { list: { ...groups, count: people.groupCount, at: (index) => groupOf(people.group(index)) } }
    case 'groups/*': {
      demand(caller, opens.groups)
      const index = people.findGroup(keyOf(id))
      return { one: index === undefined ? undefined : groupOf(people.group(index)), like: groups, id }
    }
    case 'groups/*/members':
    case 'groups/*/transitiveMembers': {
      demand(caller, opens.groups)
      const group = people.findGroup(keyOf(id))
      if (group === undefined) return { one: undefined, like: groups, id }
      return {
        list: {
          ...users,
          count: people.group(group).memberCount,
          at(position) {
            const [member = 0] = people.members(group, position, 1)
            return {
              '@odata.type': '#microsoft.graph.user',
              ...visible(userOf(people.person(member), people), caller),
            }
          },
        },
      }
    }
    case 'devices':
      demand(caller, opens.devices)
      return {
        list: {
          ...devices,
          count: people.deviceCount,
          at: (index) => deviceOf(people.device(index)),
          expand: {
            registeredOwners(device) {
              const index = deviceIndex(String(device.id), tenant)
              return index === undefined
                ? undefined
                : [
                    {
                      '@odata.type': '#microsoft.graph.user',
                      id: idOf(people.person(people.device(index).ownerIndex).key),
                    },
                  ]
            },
          },
        },
      }
    case 'devices/*': {
      demand(caller, opens.devices)
      const index = deviceIndex(id, tenant)
      return { one: index === undefined ? undefined : deviceOf(people.device(index)), like: devices, id }
    }
    case 'servicePrincipals':
      demand(caller, opens.applications)
      return fixed(principals, tenant.apps.map(servicePrincipalOf))
    case 'applications':
      demand(caller, opens.applications)
      return fixed(applications, tenant.apps.map(applicationOf))
    case 'applications/*':
    case 'servicePrincipals/*': {
      demand(caller, opens.applications)
      const isApplication = first === 'applications'
      const app = tenant.apps.find((one) => (isApplication ? one.objectId : one.servicePrincipalId) === id)
      return isApplication
        ? { one: app && applicationOf(app), like: applications, id }
        : { one: app && servicePrincipalOf(app), like: principals, id }
    }
    case 'roleManagement/*/roleAssignments':
    case 'roleManagement/*/roleDefinitions':
      if (id !== 'directory') break
      demand(caller, opens.roles)
      // The pages of both name $filter, $expand and $select alone.
      return relation === 'roleAssignments'
        ? fixed(
            { type: 'microsoft.graph.unifiedRoleAssignment', properties: roleAssignmentProperties },
            roleAssignmentsOf(people),
            ['$filter', '$expand'],
          )
        : fixed(
            { type: 'microsoft.graph.unifiedRoleDefinition', properties: roleDefinitionProperties },
            roleDefinitions,
            ['$filter', '$expand'],
          )
    case 'reports/*/userRegistrationDetails':
      if (id !== 'authenticationMethods') break
      demandAuditLog(caller)
      return {
        list: {
          type: 'microsoft.graph.userRegistrationDetails',
          properties: registrationProperties,
          count: people.userCount,
          at: (index) => registrationOf(people.person(index)),
          options: ['$filter'],
        },
      }
  }
  throw new GraphRefusal(
    400,
    'BadRequest',
    `Resource not found for the segment '${(relation || first).slice(0, 60)}'.`,
  )
}

/** A member is shown with nothing but its ID to an app that may not read users. */
function visible(user: GraphObject, { roles }: Caller): GraphObject {
  if (opens.users.some((role) => roles.has(role))) return user
  return Object.fromEntries(Object.entries(user).map(([name, value]) => [name, name === 'id' ? value : null]))
}

/** Devices are found by walking: only single reads and expansions ask. */
function deviceIndex(id: string, { directory: { deviceCount, device } }: Tenant): number | undefined {
  for (let index = 0; index < deviceCount; index++)
    if (idOf(device(index).key) === id.toLowerCase()) return index
  return undefined
}

const isGuid = (text: string) => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
