/** The permissions a key or token may carry; each is an OAuth scope of the same name. */
export const permissions = ['integrations_read', 'manage_integrations', 'siem_entities_read'] as const
export type Permission = (typeof permissions)[number]

export const isPermission = (name: string): name is Permission => permissions.some((known) => known === name)

/** Roles: names for sets of permissions, taken in their place where a key is made. */
export const roles = {
  'read-only': ['integrations_read', 'siem_entities_read'],
  admin: permissions,
} as const satisfies Readonly<Record<string, readonly Permission[]>>

const isRole = (name: string): name is keyof typeof roles => Object.hasOwn(roles, name)

/** What a list of permissions and roles may hold, for people. */
export const permissionNames = [...permissions, ...Object.keys(roles)].join(', ')

/** Each permission once, roles resolved; and the names that are neither. */
export function resolvePermissions(names: readonly string[]): {
  readonly permissions: readonly Permission[]
  readonly unknown: readonly string[]
} {
  const found = new Set<Permission>()
  const unknown: string[] = []
  for (const name of names) {
    if (isPermission(name)) found.add(name)
    else if (isRole(name)) for (const permission of roles[name]) found.add(permission)
    else unknown.push(name)
  }
  return { permissions: [...found], unknown }
}
