/** The permissions a key or token may carry; each is an OAuth scope of the same name. */
export const permissions = ['integrations_read', 'manage_integrations', 'siem_entities_read'] as const
export type Permission = (typeof permissions)[number]

export const isPermission = (name: string): name is Permission => permissions.some((known) => known === name)
