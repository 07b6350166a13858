/** What the paths of Graph lead to: what a sync and a validation read, guarded by application permissions. */
import type { SandboxRequest } from '../provider.ts'
import type { Followed } from './delta.ts'
import {
  applicationOf,
  applicationProperties,
  deviceOf,
  deviceProperties,
  directoryRoleOf,
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
import { type Journal, keepJournal } from './journal.ts'
import { type Collection, GraphRefusal, pick } from './query.ts'
import type { App, Tenant } from './tenants.ts'

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

/** What of a tenant is worked out once. */
export interface Known {
  readonly journal: Journal
  /** Positions of devices by id. */
  deviceIndexes(): ReadonlyMap<string, number>
  /** A small group whose members have a role, in a varied tenant. */
  readonly roleGroup: number | undefined
  readonly isVaried: boolean
}

/** A caller whose token was accepted. */
export interface Caller {
  readonly tenant: Tenant
  readonly known: Known
  readonly app: App
  readonly roles: ReadonlySet<string>
}

type Like = Pick<Collection, 'type' | 'properties' | 'defaults'>

/** What a path leads to: a list, how many there are in it, what changed in it, or one object. */
export type Target =
  | { readonly list: Collection }
  | { readonly counted: Collection }
  | { readonly delta: Followed; readonly like: Like }
  | {
      readonly one: GraphObject | undefined
      readonly like: Like
      readonly id: string
    }

export function learn({ directory: people }: Tenant, isVaried: boolean): Known {
  let devices: ReadonlyMap<string, number> | undefined
  const groups = Array.from({ length: Math.min(20, people.groupCount) }, (_, index) => index)
  return {
    journal: keepJournal(people),
    deviceIndexes() {
      devices ??= new Map(
        Array.from({ length: people.deviceCount }, (_, index) => [idOf(people.device(index).key), index]),
      )
      return devices
    },
    roleGroup: isVaried
      ? groups.find((index) => [1, 2, 3, 4, 5].includes(people.group(index).memberCount))
      : undefined,
    isVaried,
  }
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
export function resolve(path: string, request: SandboxRequest, caller: Caller): Target {
  const { tenant, known } = caller
  const people = tenant.directory
  const users = { type: 'microsoft.graph.user', properties: userProperties, defaults: userDefaults }
  const groups = { type: 'microsoft.graph.group', properties: groupProperties }
  const devices = { type: 'microsoft.graph.device', properties: deviceProperties }
  const principals = { type: 'microsoft.graph.servicePrincipal', properties: servicePrincipalProperties }
  const applications = { type: 'microsoft.graph.application', properties: applicationProperties }
  const segments = path
    .replace(/\/$/, '')
    .replace(/\/(?:microsoft\.graph\.)?delta(?:\(\))?$/, '/delta')
    .split('/')
    .slice(1)
    .map((segment) => decoded(segment))
  const [first = '', id = '', relation = ''] = segments
  const isFunction = id === 'delta' || id === '$count'
  const shape = segments.map((segment, index) => (index === 1 && !isFunction ? '*' : segment)).join('/')
  const fixed = (
    like: Like,
    entries: readonly GraphObject[],
    options?: readonly string[],
    expand: readonly string[] = [],
  ) => ({
    list: {
      ...like,
      count: entries.length,
      at: (index: number) => entries[index] ?? {},
      ...(options !== undefined && { options }),
      expand: Object.fromEntries(
        expand.map((name) => [name, (index: number) => entries[index]?.[name] as GraphObject | undefined]),
      ),
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
    case 'users':
    case 'users/$count': {
      demand(caller, opens.users)
      if (/signInActivity/.test(request.url.searchParams.get('$select') ?? '')) demandAuditLog(caller)
      const list: Collection = {
        ...users,
        count: people.userCount,
        at: (index) => userOf(people.person(index), people),
        has: (index) => people.hasPerson(index),
        find: (wanted) => people.findPerson(keyOf(wanted)),
        largestPage: (selected) => (selected.has('signInActivity') ? signInPage : 999),
        expand: {
          manager(index) {
            const manager = people.person(index).managerIndex
            return manager === undefined || !people.hasPerson(manager)
              ? undefined
              : {
                  '@odata.type': '#microsoft.graph.user',
                  ...pick(userOf(people.person(manager), people), new Set(userDefaults)),
                }
          },
        },
      }
      return id === '$count' ? { counted: list } : { list }
    }
    case 'users/delta':
      demand(caller, opens.users)
      return {
        delta: 'users',
        like: { ...users, properties: userProperties.filter((name) => name !== 'signInActivity') },
      }
    case 'users/*': {
      demand(caller, opens.users)
      const index = people.findPerson(isGuid(id) ? keyOf(id) : id)
      return { one: index === undefined ? undefined : userOf(people.person(index), people), like: users, id }
    }
    case 'users/*/memberOf': {
      demand(caller, opens.groups)
      const person = people.findPerson(isGuid(id) ? keyOf(id) : id)
      if (person === undefined) return { one: undefined, like: users, id }
      const role = roleDefinitions[person]
      return fixed(
        {
          ...groups,
          properties: [...groupProperties, 'roleTemplateId'],
          type: 'microsoft.graph.directoryObject',
        },
        [
          ...(role === undefined ? [] : [directoryRoleOf(role)]),
          ...people
            .groupsOf(person)
            .map((index) => ({ '@odata.type': '#microsoft.graph.group', ...groupOf(people.group(index)) })),
        ],
      )
    }
    case 'groups':
      demand(caller, opens.groups)
      return {
        list: {
          ...groups,
          count: people.groupCount,
          at: (index) => groupOf(people.group(index)),
          has: (index) => people.hasGroup(index),
          find: (wanted) => people.findGroup(keyOf(wanted)),
        },
      }
    case 'groups/delta':
      demand(caller, opens.groups)
      return { delta: 'groups', like: groups }
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
      const { memberCount } = people.group(group)
      const others = known.isVaried && relation === 'members' ? otherMembersOf(group, caller) : []
      return {
        list: {
          ...users,
          count: memberCount + others.length,
          idAt(position) {
            if (position >= memberCount) {
              const { '@odata.type': type, id: other } = others[position - memberCount] ?? {}
              return { '@odata.type': type, id: other }
            }
            const [member = 0] = people.members(group, position, 1)
            return { '@odata.type': '#microsoft.graph.user', id: idOf(people.person(member).key) }
          },
          at(position) {
            if (position >= memberCount) return visible(others[position - memberCount] ?? {}, caller)
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
          find: (wanted) => known.deviceIndexes().get(wanted),
          expand: {
            registeredOwners(index) {
              const { ownerIndex } = people.device(index)
              return people.hasPerson(ownerIndex)
                ? [
                    {
                      '@odata.type': '#microsoft.graph.user',
                      ...visible(
                        pick(userOf(people.person(ownerIndex), people), new Set(userDefaults)),
                        caller,
                      ),
                    },
                  ]
                : []
            },
          },
        },
      }
    case 'devices/delta':
      demand(caller, opens.devices)
      return { delta: 'devices', like: devices }
    case 'devices/*': {
      demand(caller, opens.devices)
      const index = known.deviceIndexes().get(id.toLowerCase())
      return { one: index === undefined ? undefined : deviceOf(people.device(index)), like: devices, id }
    }
    case 'directory/*/microsoft.graph.user':
    case 'directory/*/microsoft.graph.group': {
      if (id !== 'deletedItems') break
      const isForUsers = relation === 'microsoft.graph.user'
      demand(caller, isForUsers ? opens.users : opens.groups)
      // Security groups are gone when they are deleted, and there are no others here.
      if (!isForUsers) return fixed(groups, [])
      return {
        list: {
          ...users,
          properties: [...userProperties, 'deletedDateTime'],
          count: people.userCount,
          has: (index) => !people.hasPerson(index),
          at: (index) => {
            const person = people.person(index)
            return {
              ...userOf(person, people),
              deletedDateTime: `${person.updatedAt.toISOString().slice(0, 19)}Z`,
            }
          },
        },
      }
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
            roleAssignmentsOf(people, known.roleGroup),
            ['$filter', '$expand'],
            ['principal', 'roleDefinition'],
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
          // Disabled users are left out.
          // @see https://learn.microsoft.com/graph/api/authenticationmethodsroot-list-userregistrationdetails
          has: (index) =>
            people.hasPerson(index) && ['active', 'invited'].includes(people.person(index).status),
          // Its page names $filter alone; Microsoft's own Get-EntraAuthenticationMethodUserRegistrationDetailReport sends $top.
          options: ['$filter', '$top'],
        },
      }
  }
  throw new GraphRefusal(
    400,
    'BadRequest',
    `Resource not found for the segment '${(relation || first).slice(0, 60)}'.`,
  )
}

/** Members of a group that are no people: the second group holds the third, a device, and an app. */
function otherMembersOf(
  group: number,
  { tenant: { directory: people, apps } }: Caller,
): readonly GraphObject[] {
  if (group !== 1) return []
  const [app] = apps
  return [
    ...(people.hasGroup(2) ? [{ '@odata.type': '#microsoft.graph.group', ...groupOf(people.group(2)) }] : []),
    ...(people.deviceCount > 0
      ? [{ '@odata.type': '#microsoft.graph.device', ...deviceOf(people.device(0)) }]
      : []),
    ...(app === undefined
      ? []
      : [{ '@odata.type': '#microsoft.graph.servicePrincipal', ...servicePrincipalOf(app) }]),
  ]
}

/** A member is shown with nothing but its ID to an app that may not read users. */
function visible(user: GraphObject, { roles }: Caller): GraphObject {
  if (opens.users.some((role) => roles.has(role))) return user
  return Object.fromEntries(
    Object.entries(user).map(([name, value]) => [name, name === 'id' || name.startsWith('@') ? value : null]),
  )
}

const isGuid = (text: string) => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)

export function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
