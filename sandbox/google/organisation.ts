/** The made-up customer of Google Workspace: its domains, its administrators, and how the directory looks in Google's JSON. */
import { createHash } from 'node:crypto'
import type { Device, Group, Person } from '../directory.ts'
import type { LivingDirectory, LivingGroup, LivingPerson } from '../living-directory.ts'

export const customerId = 'C03sandb0x'
export const primaryDomain = 'example.com'
export const secondaryDomain = 'siem-test.com'
export const aliasDomain = 'example.net'
export const unverifiedDomain = 'example.org'
/** The address of the first administrator, whoever the directory's first person is. */
export const firstAdministrator = `test@${primaryDomain}`

export const domains = [
  { name: primaryDomain, isPrimary: true, verified: true },
  { name: secondaryDomain, isPrimary: false, verified: true },
  { name: unverifiedDomain, isPrimary: false, verified: false },
] as const

/** What administrators may read; the API asks for one of them per endpoint. */
export type Privilege = 'users' | 'groups' | 'domains' | 'roles' | 'devices' | 'reports'

/** The first people of the directory have parts to play. */
export const parts = {
  super: 0,
  /** A delegated administrator who may read users, groups and domains. */
  reader: 1,
  /** A delegated administrator who may read users alone. */
  helpDesk: 2,
  suspended: 3,
  notAdmin: 4,
} as const

const privileges: ReadonlyMap<number, readonly Privilege[]> = new Map([
  [parts.super, ['users', 'groups', 'domains', 'roles', 'devices', 'reports'] as const],
  [parts.reader, ['users', 'groups', 'domains'] as const],
  [parts.helpDesk, ['users'] as const],
])

/** Smallest number of people, so that every part is played. */
export const fewestUsers = Object.keys(parts).length

/** Every tenth person has an address in the secondary domain. */
export const isInSecondaryDomain = (index: number) => index % 10 === 9

const epoch = '1970-01-01T00:00:00.000Z'
export const etagOf = (...parts: readonly unknown[]) =>
  `"${createHash('sha256').update(parts.join('\0')).digest('base64url').slice(0, 27)}"`

/** Spreads the indexes that people's ids end with. */
const indexMask = 0x5bd1e995

/** Google's ids of people are 21 digits; here the last ten carry the index, so that none has to be searched for. */
const decimalId = ({ key, index }: Person) => {
  const digits = (value: bigint | number) => value.toString().padStart(10, '0')
  return `1${digits(BigInt(`0x${key}`) % 10n ** 10n)}${digits((index ^ indexMask) >>> 0)}`
}

export interface Variety {
  /**
   * What a directory of people in groups has not: groups in groups, groups with everybody or outsiders in them, and
   * many administrators. None of it by default.
   */
  readonly isVaried?: boolean
}

export function organisationOf(directory: LivingDirectory, { isVaried = false }: Variety = {}) {
  const emailOf = (person: Person) => {
    if (person.index === parts.super) return firstAdministrator
    return isInSecondaryDomain(person.index) ? `${person.userName}@${secondaryDomain}` : person.email
  }
  const isSuspended = ({ index, status }: Person) => {
    if (index === parts.suspended) return true
    return index > parts.notAdmin && status === 'suspended'
  }
  const indexOfId = (id: string) => {
    const index = (Number(id.slice(11)) ^ indexMask) >>> 0
    return directory.hasPerson(index) && decimalId(directory.person(index)) === id ? index : undefined
  }
  /** Whether somebody has the role of the help desk. */
  const isHelpDesk = (index: number) =>
    index === parts.helpDesk || (isVaried && index > parts.notAdmin && index % 3 === 0)

  return {
    directory,
    emailOf,
    isSuspended,
    isHelpDesk,
    privilegesOf: (index: number): readonly Privilege[] => privileges.get(index) ?? [],

    /** The index of the person with this primary address, alias or id. */
    findUser(userKey: string): number | undefined {
      const key = userKey.toLowerCase()
      if (key === firstAdministrator || key === `test@${aliasDomain}`)
        return directory.hasPerson(parts.super) ? parts.super : undefined
      if (/^\d+$/.test(key)) return indexOfId(key)
      const [local, domain] = key.split('@')
      if (local === undefined || ![primaryDomain, secondaryDomain, aliasDomain].some((own) => own === domain))
        return undefined
      const index = directory.findPerson(local)
      if (index === undefined || index === parts.super) return undefined
      const isPrimary = emailOf(directory.person(index)) === key
      // An alias of the primary domain gives everybody there a second address.
      return isPrimary || (domain === aliasDomain && !isInSecondaryDomain(index)) ? index : undefined
    },

    findGroup(groupKey: string): number | undefined {
      return directory.findGroup(groupKey)
    },

    /** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users */
    user(person: LivingPerson) {
      const email = emailOf(person)
      const [local] = email.split('@')
      const aliases = isInSecondaryDomain(person.index) ? [] : [`${local}@${aliasDomain}`]
      const suspended = isSuspended(person)
      const manager = person.managerIndex === undefined ? undefined : directory.person(person.managerIndex)
      return {
        kind: 'admin#directory#user',
        id: decimalId(person),
        etag: etagOf('user', person.key, person.version, person.lastSignInAt?.toISOString()),
        primaryEmail: email,
        name: {
          givenName: person.givenName,
          familyName: person.familyName,
          fullName: `${person.givenName} ${person.familyName}`,
        },
        isAdmin: person.index === parts.super || person.index === parts.suspended,
        isDelegatedAdmin: person.index === parts.reader || isHelpDesk(person.index),
        lastLoginTime: person.lastSignInAt?.toISOString() ?? epoch,
        creationTime: person.createdAt.toISOString(),
        agreedToTerms: person.status !== 'invited',
        suspended,
        ...(suspended && { suspensionReason: 'ADMIN' }),
        archived: person.status === 'deactivated' && person.index > parts.notAdmin,
        changePasswordAtNextLogin: person.status === 'invited',
        ipWhitelisted: false,
        emails: [{ address: email, primary: true }, ...aliases.map((address) => ({ address }))],
        externalIds: [{ value: person.employeeNumber, type: 'organization' }],
        ...(manager && { relations: [{ value: emailOf(manager), type: 'manager' }] }),
        organizations: [
          { title: person.title, department: person.department, primary: true, customType: '' },
        ],
        addresses: [{ type: 'work', locality: person.city, countryCode: person.countryCode }],
        nonEditableAliases: aliases,
        customerId,
        orgUnitPath: '/',
        isMailboxSetup: person.status !== 'invited',
        isEnrolledIn2Sv: person.hasMfa,
        isEnforcedIn2Sv: person.index === parts.super,
        includeInGlobalAddressList: true,
      }
    },

    /** Whether somebody was deleted so lately that the account can be restored. */
    isDeleted: (index: number, now: Date) =>
      !directory.hasPerson(index) &&
      directory.person(index).updatedAt.getTime() > now.getTime() - restorableDays * 86_400_000,

    deletedUser(person: LivingPerson) {
      return { ...this.user(person), deletionTime: person.updatedAt.toISOString() }
    },

    /** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups */
    group(group: LivingGroup) {
      return {
        kind: 'admin#directory#group',
        id: groupId(group),
        etag: etagOf('group', group.key, group.version),
        email: groupEmail(group),
        name: group.name,
        directMembersCount: String(group.memberCount),
        description: group.description,
        adminCreated: true,
      }
    },

    /** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/members */
    member(person: Person, isOwner: boolean) {
      return {
        kind: 'admin#directory#member',
        etag: etagOf('member', person.key),
        id: decimalId(person),
        email: emailOf(person),
        role: isOwner ? 'OWNER' : 'MEMBER',
        type: 'USER',
        status: isSuspended(person) ? 'SUSPENDED' : 'ACTIVE',
      }
    },

    /** Members besides the people of the directory: a group, everybody, an outsider with and one without an account. */
    otherMembers({ index }: Group): readonly GoogleMember[] {
      if (!isVaried || index === 0) return []
      const member = (parts: Partial<GoogleMember>): GoogleMember => ({
        kind: 'admin#directory#member',
        etag: etagOf('member', index, parts.type, parts.email),
        role: 'MEMBER',
        status: 'ACTIVE',
        type: 'USER',
        ...parts,
      })
      const nested = index + 1
      return [
        ...(index % 2 === 1 && directory.hasGroup(nested)
          ? [
              member({
                id: groupId(directory.group(nested)),
                email: groupEmail(directory.group(nested)),
                type: 'GROUP',
              }),
            ]
          : []),
        ...(index % 3 === 1 ? [member({ id: customerId, type: 'CUSTOMER' })] : []),
        ...(index % 3 === 2
          ? [
              member({ id: '111222333444555666777', email: 'guest@initech.com' }),
              member({ email: 'news@initech.com' }),
            ]
          : []),
      ]
    },

    /** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/chromeosdevices */
    chromeDevice(device: Device) {
      return {
        kind: 'admin#directory#chromeosdevice',
        deviceId: device.key,
        etag: etagOf('chromeos', device.key),
        serialNumber: device.serialNumber,
        status: 'ACTIVE',
        lastSync: device.lastSeenAt.toISOString(),
        annotatedUser: emailOf(directory.person(device.ownerIndex)),
        annotatedAssetId: device.name,
        model: 'HP Chromebook 14',
        osVersion: device.osVersion,
        orgUnitPath: '/',
        recentUsers: [{ type: 'USER_TYPE_MANAGED', email: emailOf(directory.person(device.ownerIndex)) }],
      }
    },

    /** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/mobiledevices */
    mobileDevice(device: Device) {
      return {
        kind: 'admin#directory#mobiledevice',
        resourceId: Buffer.from(device.key, 'hex').toString('base64url'),
        deviceId: device.key,
        etag: etagOf('mobile', device.key),
        serialNumber: device.serialNumber,
        name: [device.name],
        email: [emailOf(directory.person(device.ownerIndex))],
        os: `${device.platform === 'ANDROID' ? 'Android' : 'iOS'} ${device.osVersion}`,
        type: device.platform === 'ANDROID' ? 'ANDROID' : 'IOS_SYNC',
        status: 'APPROVED',
        deviceCompromisedStatus: 'No compromise detected',
        encryptionStatus: 'ENCRYPTED',
        lastSync: device.lastSeenAt.toISOString(),
      }
    },
  }
}

export type Organisation = ReturnType<typeof organisationOf>

/** Days that a deleted account can be restored. @see https://support.google.com/a/answer/1397578 */
const restorableDays = 20

export interface GoogleMember {
  readonly kind: string
  readonly etag: string
  readonly id?: string
  readonly email?: string
  readonly role: string
  readonly type: string
  readonly status: string
}

export const groupEmail = (group: Group) => `${group.mailNickname}@${primaryDomain}`

/** Lower-case letters and digits that start like Google's; the directory's key stands behind them. */
export const groupId = (group: Group) => `03${group.key}`
export const keyOfGroupId = (id: string) => (/^03[0-9a-f]{32}$/.test(id) ? id.slice(2) : id)

export const roles = [
  {
    roleId: '17000000000001',
    roleName: '_SEED_ADMIN_ROLE',
    roleDescription: 'Super Admin',
    isSuperAdminRole: true,
  },
  {
    roleId: '17000000000002',
    roleName: '_READ_ONLY_ADMIN_ROLE',
    roleDescription: 'Reads users, groups and domains',
  },
  { roleId: '17000000000003', roleName: '_HELP_DESK_ADMIN_ROLE', roleDescription: 'Help Desk Admin' },
].map((role) => ({
  kind: 'admin#directory#role',
  etag: etagOf('role', role.roleId),
  isSystemRole: true,
  isSuperAdminRole: false,
  rolePrivileges: [],
  ...role,
}))
