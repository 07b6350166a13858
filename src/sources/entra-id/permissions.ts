/** The Graph application permissions that each read needs, and what else grants it. */
import type { Need } from '../source.ts'

/** One permission that a read depends on. */
export interface Permission {
  /** The least privileged one, which remedies name. */
  readonly name: string
  /** Every application permission that opens the read, `name` included. */
  readonly grantedBy: readonly string[]
}

const directory = ['Directory.Read.All', 'Directory.ReadWrite.All']

const permission = (name: string, ...others: readonly string[]): Permission => ({
  name,
  grantedBy: [name, ...others],
})

/** Each list is that of the operation's reference page, "Application" row. @see https://learn.microsoft.com/graph/api/overview */
export const permissions = {
  /** @see https://learn.microsoft.com/graph/api/user-list */
  users: permission('User.Read.All', 'User.ReadWrite.All', ...directory),
  /** Also the members. @see https://learn.microsoft.com/graph/api/group-list-members */
  groups: permission(
    'GroupMember.Read.All',
    'GroupMember.ReadWrite.All',
    'Group.Read.All',
    'Group.ReadWrite.All',
    ...directory,
  ),
  /** @see https://learn.microsoft.com/graph/api/device-list */
  devices: permission('Device.Read.All', 'Device.ReadWrite.All', ...directory),
  /** @see https://learn.microsoft.com/graph/api/serviceprincipal-list */
  applications: permission(
    'Application.Read.All',
    'Application.ReadWrite.All',
    'Application.ReadWrite.OwnedBy',
    ...directory,
  ),
  /** @see https://learn.microsoft.com/graph/api/rbacapplication-list-roleassignments */
  roles: permission(
    'RoleManagement.Read.Directory',
    'RoleManagement.Read.All',
    'RoleManagement.ReadWrite.Directory',
    ...directory,
  ),
  /** @see https://learn.microsoft.com/graph/api/authenticationmethodsroot-list-userregistrationdetails */
  auditLog: permission('AuditLog.Read.All'),
  /** @see https://learn.microsoft.com/graph/api/organization-list */
  organization: permission('Organization.Read.All', 'Organization.ReadWrite.All', ...directory),
} as const

/** Whether `roles`, the permissions that a token carries, include one that grants `permission`. */
export const isGranted = (permission: Permission, roles: ReadonlySet<string>) =>
  permission.grantedBy.some((name) => roles.has(name))

/** Whether a permission allows more than reading: all that only read say so in their second part. */
export const canDoMoreThanRead = (role: string) => !/\.Read(?:Basic)?(?:\.|$)/.test(role)

export const apiPermissionsPath =
  'Microsoft Entra admin center > App registrations > (your app) > API permissions'

export const needOf = (permission: Permission, docs: string): Need => ({
  kind: 'permission',
  name: permission.name,
  grantAt: `${apiPermissionsPath} > Microsoft Graph > Application permissions`,
  docs,
})
