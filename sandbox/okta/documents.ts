/** The directory's people, groups and devices as Okta's documents. */
import { createHash } from 'node:crypto'
import { lastChangeAt } from '../directory.ts'
import type { LivingDirectory, LivingGroup, LivingPerson } from '../living-directory.ts'
import { oktaId, type ServiceApp } from './principals.ts'

export type Document = Readonly<Record<string, unknown>>

/** Ids hold ten digits of a key and the index, so that they are found again without a table. */
const idOf = (prefix: string, { key, index }: { readonly key: string; readonly index: number }) =>
  `${prefix}${key.slice(0, 10)}${index.toString(36).padStart(7, '0')}`

const indexIn = (id: string, prefix: string) =>
  id.length === 20 && id.startsWith(prefix) ? Number.parseInt(id.slice(13), 36) : Number.NaN

/**
 * Invited people were sent their activation and never used it.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user
 */
export const statuses: Readonly<Record<LivingPerson['status'], string>> = {
  active: 'ACTIVE',
  suspended: 'SUSPENDED',
  deactivated: 'DEPROVISIONED',
  invited: 'PROVISIONED',
}

/** Okta's times of change are whole seconds. */
const inSeconds = (time: Date) => `${time.toISOString().slice(0, -5)}.000Z`

/** What happened since the organisation was made, in a form that lists are answered from. */
class Changed {
  readonly #indexes = new Set<number>()
  #sorted: readonly number[] | undefined

  add(index: number): void {
    if (this.#indexes.has(index)) return
    this.#indexes.add(index)
    this.#sorted = undefined
  }

  /** Ascending. */
  list(): readonly number[] {
    this.#sorted ??= [...this.#indexes].sort((one, other) => one - other)
    return this.#sorted
  }
}

export class Documents {
  readonly directory: LivingDirectory
  readonly #seed: string
  readonly #changedUsers = new Changed()
  readonly #changedGroups = new Changed()
  /** How often somebody came back after they were deleted: Okta gives them a new id each time. */
  readonly #returns = new Map<number, number>()

  constructor(directory: LivingDirectory, seed: string) {
    this.directory = directory
    this.#seed = seed
    directory.onChange(({ change: { what }, person, group }) => {
      if (what === 'return' && person !== undefined)
        this.#returns.set(person, (this.#returns.get(person) ?? 0) + 1)
      if (person !== undefined) this.#changedUsers.add(person)
      if (group !== undefined) this.#changedGroups.add(group)
      // Coming and going changes the members of groups that the change does not name.
      if (what === 'hire' || what === 'return' || what === 'leave') this.#noteGroupsOf(what)
    })
  }

  #noteGroupsOf(what: 'hire' | 'return' | 'leave'): void {
    const { groupCount } = this.directory
    const last = what === 'leave' ? groupCount : Math.min(1, groupCount)
    for (let index = 0; index < last; index++)
      if (this.directory.group(index).membersVersion === this.directory.sequence)
        this.#changedGroups.add(index)
  }

  /** Indexes of all users that may have changed at or after `from`; undefined where that would be most of them. */
  usersChangedFrom(from: string | undefined): readonly number[] | undefined {
    return isAfterMaking(from) ? this.#changedUsers.list() : undefined
  }

  groupsChangedFrom(from: string | undefined): readonly number[] | undefined {
    return isAfterMaking(from) ? this.#changedGroups.list() : undefined
  }

  user(index: number, origin: string, isWithCredentials = true): Document {
    const person = this.directory.person(index)
    const id = this.#userIdOf(person)
    const manager = person.managerIndex === undefined ? undefined : this.#managerOf(person.managerIndex)
    const changed = inSeconds(person.updatedAt)
    const created = inSeconds(person.createdAt)
    const activated = person.status === 'invited' ? null : created
    return {
      id,
      status: statuses[person.status],
      created,
      activated,
      statusChanged: changed,
      lastLogin: person.lastSignInAt === undefined ? null : inSeconds(person.lastSignInAt),
      lastUpdated: changed,
      passwordChanged: activated,
      type: { id: this.#userType() },
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
        ...manager,
      },
      ...(isWithCredentials && { credentials: { provider: { type: 'OKTA', name: 'OKTA' } } }),
      _links: { self: { href: `${origin}/api/v1/users/${id}` } },
    }
  }

  /** What of somebody their reports' profiles repeat. A manager has eight of them, one after the other. */
  #managerOf(index: number): Document {
    if (this.#manager?.index !== index || this.#manager.sequence !== this.directory.sequence) {
      const { givenName, familyName, email } = this.directory.person(index)
      const profile = { manager: `${givenName} ${familyName}`, managerId: email }
      this.#manager = { index, sequence: this.directory.sequence, profile }
    }
    return this.#manager.profile
  }
  #manager: { readonly index: number; readonly sequence: number; readonly profile: Document } | undefined

  #userType(): string {
    this.#userTypeId ??= oktaId('oty', this.#seed, 'default user type')
    return this.#userTypeId
  }
  #userTypeId: string | undefined

  userId(index: number): string {
    return this.#userIdOf(this.directory.person(index))
  }

  #userIdOf({ key, index }: Pick<LivingPerson, 'key' | 'index'>): string {
    const returns = this.#returns.get(index)
    if (returns === undefined) return idOf('00u', { key, index })
    return idOf('00u', { key: createHash('sha256').update(`${key} ${returns}`).digest('hex'), index })
  }

  /** Index of the user with this id, login, or login without its domain, if they are there. */
  findUser(idOrLogin: string): number | undefined {
    const index = indexIn(idOrLogin, '00u')
    if (this.directory.hasPerson(index) && this.userId(index) === idOrLogin) return index
    return this.directory.findPerson(idOrLogin)
  }

  /** The directory's group of everybody is Okta's own group Everyone. */
  group(index: number, origin: string, isWithStats = false): Document {
    const group = this.directory.group(index)
    const id = idOf('00g', group)
    return {
      id,
      created: inSeconds(group.createdAt),
      lastUpdated: inSeconds(group.updatedAt),
      // A new name is no change of members.
      lastMembershipUpdated: inSeconds(group.membersVersion === 0 ? group.createdAt : group.membersUpdatedAt),
      objectClass: ['okta:user_group'],
      type: index === 0 ? 'BUILT_IN' : 'OKTA_GROUP',
      profile: profileOf(index, group),
      ...(isWithStats && {
        _embedded: {
          stats: {
            usersCount: group.memberCount,
            appsCount: 0,
            groupPushMappingsCount: 0,
            // Spelled like this in Okta's schema.
            hasAdminPrivlege: false,
            _links: { users: { href: `${origin}/api/v1/groups/${id}/users` } },
          },
        },
      }),
      _links: {
        users: { href: `${origin}/api/v1/groups/${id}/users` },
        apps: { href: `${origin}/api/v1/groups/${id}/apps` },
      },
    }
  }

  groupId(index: number): string {
    return idOf('00g', this.directory.group(index))
  }

  findGroup(id: string): number | undefined {
    const index = indexIn(id, '00g')
    return this.directory.hasGroup(index) && this.groupId(index) === id ? index : undefined
  }

  /** Okta manages no ChromeOS devices: the directory's are no part of the organisation. */
  device(index: number, origin: string, expand?: string | null): Document | undefined {
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
      ...(expand != null && {
        _embedded: { users: this.deviceUsers(index, origin, expand === 'userSummary') },
      }),
    }
  }

  /** Whoever was deleted has no device any more. */
  deviceUsers(index: number, origin: string, isSummary = false): readonly Document[] {
    const { ownerIndex, lastSeenAt } = this.directory.device(index)
    if (!this.directory.hasPerson(ownerIndex)) return []
    const user = this.user(ownerIndex, origin)
    const { login, email, firstName, lastName } = user.profile as Document
    return [
      {
        created: lastSeenAt.toISOString(),
        managementStatus: 'MANAGED',
        screenLockType: 'BIOMETRIC',
        user: isSummary
          ? { id: user.id, profile: { login, email, firstName, lastName }, _links: user._links }
          : user,
      },
    ]
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
        created: inSeconds(person.createdAt),
        lastUpdated: inSeconds(person.updatedAt),
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

const isAfterMaking = (from: string | undefined) => from !== undefined && Date.parse(from) > lastChangeAt

const profileOf = (index: number, group: LivingGroup) =>
  index === 0
    ? { name: 'Everyone', description: 'All users in your organization' }
    : { name: group.name, description: group.description }
