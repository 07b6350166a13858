/** The directory's people, groups and devices as Okta's documents. */
import type { Directory, Group, Person } from '../directory.ts'
import { oktaId, type ServiceApp } from './principals.ts'

export type Document = Readonly<Record<string, unknown>>

/** Ids hold ten digits of the directory's key and the index, so that they are found again without a table. */
const idOf = (prefix: string, { key, index }: { readonly key: string; readonly index: number }) =>
  `${prefix}${key.slice(0, 10)}${index.toString(36).padStart(7, '0')}`

const indexIn = (id: string, prefix: string) =>
  id.length === 20 && id.startsWith(prefix) ? Number.parseInt(id.slice(13), 36) : Number.NaN

/**
 * Invited people were sent their activation and never used it.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user
 */
const statuses: Readonly<Record<Person['status'], string>> = {
  active: 'ACTIVE',
  suspended: 'SUSPENDED',
  deactivated: 'DEPROVISIONED',
  invited: 'PROVISIONED',
}

export class Documents {
  readonly directory: Directory
  readonly #seed: string

  constructor(directory: Directory, seed: string) {
    this.directory = directory
    this.#seed = seed
  }

  user(index: number, origin: string): Document {
    const person = this.directory.person(index)
    const id = idOf('00u', person)
    const manager = person.managerIndex === undefined ? undefined : this.directory.person(person.managerIndex)
    const changed = person.updatedAt.toISOString()
    return {
      id,
      status: statuses[person.status],
      created: person.createdAt.toISOString(),
      activated: person.status === 'invited' ? null : person.createdAt.toISOString(),
      statusChanged: changed,
      lastLogin: person.lastSignInAt?.toISOString() ?? null,
      lastUpdated: changed,
      passwordChanged: person.status === 'invited' ? null : person.createdAt.toISOString(),
      type: { id: oktaId('oty', this.#seed, 'default user type') },
      profile: {
        login: person.email,
        email: person.email,
        secondEmail: null,
        mobilePhone: null,
        firstName: person.givenName,
        lastName: person.familyName,
        displayName: `${person.givenName} ${person.familyName}`,
        title: person.title,
        department: person.department,
        employeeNumber: person.employeeNumber,
        city: person.city,
        countryCode: person.countryCode,
        ...(manager && { manager: `${manager.givenName} ${manager.familyName}`, managerId: manager.email }),
      },
      credentials: { provider: { type: 'OKTA', name: 'OKTA' } },
      _links: { self: { href: `${origin}/api/v1/users/${id}` } },
    }
  }

  userId(index: number): string {
    return idOf('00u', this.directory.person(index))
  }

  /** Index of the user with this id, login, or login without its domain. */
  findUser(idOrLogin: string): number | undefined {
    const index = indexIn(idOrLogin, '00u')
    if (index < this.directory.userCount && this.userId(index) === idOrLogin) return index
    return this.directory.findPerson(idOrLogin)
  }

  /** The directory's group of everybody is Okta's own group Everyone. */
  group(index: number, origin: string): Document {
    const group = this.directory.group(index)
    const id = idOf('00g', group)
    return {
      id,
      created: group.createdAt.toISOString(),
      lastUpdated: group.updatedAt.toISOString(),
      lastMembershipUpdated: group.updatedAt.toISOString(),
      objectClass: ['okta:user_group'],
      type: index === 0 ? 'BUILT_IN' : 'OKTA_GROUP',
      profile: profileOf(index, group),
      _links: {
        users: { href: `${origin}/api/v1/groups/${id}/users` },
        apps: { href: `${origin}/api/v1/groups/${id}/apps` },
      },
    }
  }

  findGroup(id: string): number | undefined {
    const index = indexIn(id, '00g')
    if (!(index < this.directory.groupCount)) return undefined
    return idOf('00g', this.directory.group(index)) === id ? index : undefined
  }

  /** Okta manages no ChromeOS devices: the directory's are no part of the organisation. */
  device(index: number, origin: string): Document | undefined {
    const device = this.directory.device(index)
    if (device.platform === 'CHROMEOS') return undefined
    const id = idOf('guo', device)
    const seen = device.lastSeenAt.toISOString()
    return {
      id,
      status: 'ACTIVE',
      created: seen,
      lastUpdated: seen,
      profile: {
        displayName: device.name,
        platform: device.platform,
        osVersion: device.osVersion,
        serialNumber: device.serialNumber,
        registered: true,
        secureHardwarePresent: true,
        diskEncryptionType: 'ALL_INTERNAL_VOLUMES',
      },
      resourceType: 'UDDevice',
      resourceDisplayName: { value: device.name, sensitive: false },
      resourceAlternateId: null,
      resourceId: id,
      _links: {
        self: { href: `${origin}/api/v1/devices/${id}`, hints: { allow: ['GET', 'PATCH', 'PUT'] } },
        users: { href: `${origin}/api/v1/devices/${id}/users`, hints: { allow: ['GET'] } },
      },
    }
  }

  findDevice(id: string): number | undefined {
    const index = indexIn(id, 'guo')
    if (!(index < this.directory.deviceCount)) return undefined
    const device = this.directory.device(index)
    return device.platform !== 'CHROMEOS' && idOf('guo', device) === id ? index : undefined
  }

  factors(userIndex: number, origin: string): readonly Document[] {
    const person = this.directory.person(userIndex)
    if (!person.hasMfa) return []
    const id = idOf('ufs', person)
    return [
      {
        id,
        factorType: 'push',
        provider: 'OKTA',
        vendorName: 'OKTA',
        status: 'ACTIVE',
        created: person.createdAt.toISOString(),
        lastUpdated: person.updatedAt.toISOString(),
        profile: {
          credentialId: person.email,
          deviceType: 'SmartPhone_IPhone',
          name: 'Phone',
          platform: 'IOS',
        },
        _links: { self: { href: `${origin}/api/v1/users/${this.userId(userIndex)}/factors/${id}` } },
      },
    ]
  }

  application(app: ServiceApp, origin: string): Document {
    return {
      id: app.clientId,
      name: 'oidc_client',
      label: app.label,
      status: app.state === 'deactivated' ? 'INACTIVE' : 'ACTIVE',
      lastUpdated: '2026-01-15T08:00:00.000Z',
      created: '2026-01-15T08:00:00.000Z',
      signOnMode: 'OPENID_CONNECT',
      settings: { oauthClient: { application_type: app.type, grant_types: ['client_credentials'] } },
      credentials: {
        oauthClient: { client_id: app.clientId, token_endpoint_auth_method: app.authentication },
      },
      _links: { self: { href: `${origin}/api/v1/apps/${app.clientId}` } },
    }
  }
}

const profileOf = (index: number, group: Group) =>
  index === 0
    ? { name: 'Everyone', description: 'All users in your organization' }
    : { name: group.name, description: group.description }
