/** Turns Graph's users, groups and devices into entities. Pure: the same document always gives the same entity. */
import type {
  Activity,
  Device,
  DeviceAttributes,
  Group,
  GroupAttributes,
  Identity,
  IdentityAttributes,
  IdentityStatus,
} from '../../entities/model.ts'
import { smallRaw } from '../raw-document.ts'
import { isObject } from './access.ts'
import type { GraphObject } from './client.ts'
import { claimOf, idOf, membersOf, setOf, textOf, textsOf, timeOf } from './values.ts'

/** An entity, or why the record is none. */
export type Read<E> = { readonly entity: E } | { readonly reason: string }

/**
 * Properties asked for. All of them are to be had in a list, live in the directory's own store, so that delta queries
 * follow them, and need no permission beyond `User.Read.All`.
 *
 * @see https://learn.microsoft.com/graph/api/resources/user#properties
 */
export const userProperties = [
  'id',
  'userPrincipalName',
  'mail',
  'otherMails',
  'proxyAddresses',
  'displayName',
  'givenName',
  'surname',
  'jobTitle',
  'department',
  'companyName',
  'employeeId',
  'employeeType',
  'employeeHireDate',
  'employeeOrgData',
  'officeLocation',
  'city',
  'state',
  'country',
  'usageLocation',
  'preferredLanguage',
  'businessPhones',
  'mobilePhone',
  'accountEnabled',
  'userType',
  'creationType',
  'externalUserState',
  'createdDateTime',
  'lastPasswordChangeDateTime',
  'onPremisesSamAccountName',
  'onPremisesDomainName',
  'onPremisesSecurityIdentifier',
  'onPremisesDistinguishedName',
  'onPremisesSyncEnabled',
] as const

const mappedOfUser: ReadonlySet<string> = new Set([
  ...allBut(userProperties, [
    'proxyAddresses',
    'usageLocation',
    'preferredLanguage',
    'businessPhones',
    'mobilePhone',
    'userType',
    'creationType',
    'lastPasswordChangeDateTime',
    'onPremisesSamAccountName',
    'onPremisesDomainName',
    'onPremisesDistinguishedName',
    'onPremisesSyncEnabled',
  ]),
  'manager',
  // Changes by itself.
  'signInActivity',
])

/** The properties that the model takes in: all but those that the raw document keeps. */
function allBut<P extends string>(properties: readonly P[], kept: readonly NoInfer<P>[]): P[] {
  return properties.filter((property) => !kept.includes(property))
}

export function identityOf(user: GraphObject): Read<Identity> {
  const uid = idOf(user.id)
  const name = textOf(user.userPrincipalName)
  const enabled = user.accountEnabled === null ? 'unknown' : claimOf(user.accountEnabled)
  if (uid === undefined) return { reason: 'it has no id' }
  if (name === undefined) return { reason: 'userPrincipalName is missing' }
  if (enabled === undefined) return { reason: 'accountEnabled is missing' }
  const email = textOf(user.mail)
  const organisation = isObject(user.employeeOrgData) ? user.employeeOrgData : {}
  const manager = isObject(user.manager) ? idOf(user.manager.id) : undefined
  const externalState = textOf(user.externalUserState)
  const attributes: IdentityAttributes = {
    uid,
    ...membersOf({ uid_alt: textOf(user.onPremisesSecurityIdentifier) }),
    name,
    ...membersOf({
      email_addr: email,
      email_addrs: setOf([email, ...textsOf(user.otherMails), ...proxyAddresses(user.proxyAddresses)]),
      full_name: textOf(user.displayName),
      given_name: textOf(user.givenName),
      surname: textOf(user.surname),
      type: user.userType === 'Guest' ? ('Guest' as const) : undefined,
    }),
    status: statusOf(enabled, externalState),
    ...membersOf({
      status_detail: statusDetailOf(enabled, externalState),
      job_title: textOf(user.jobTitle),
      department: textOf(user.department),
      division: textOf(organisation.division),
      cost_center: textOf(organisation.costCenter),
      company: textOf(user.companyName),
      manager: membersOf({ uid: manager }),
      employee_uid: textOf(user.employeeId),
      employee_type: textOf(user.employeeType),
      office_location: textOf(user.officeLocation),
      location: membersOf({
        city: textOf(user.city),
        region: textOf(user.state),
        country: textOf(user.country),
      }),
      phone_number: textOf(user.mobilePhone) ?? textsOf(user.businessPhones)[0],
      hire_time: timeOf(user.employeeHireDate),
      created_time: timeOf(user.createdDateTime),
    }),
  }
  const raw = smallRaw(user, mappedOfUser)
  return { entity: { kind: 'identity', attributes, ...(raw !== undefined && { raw }) } }
}

/** It may be null: then nobody says whether the account is blocked. @see https://graph.microsoft.com/v1.0/$metadata */
type Enabled = boolean | 'unknown'

/**
 * A blocked account says neither for how long nor why. A guest who has not accepted the invitation cannot sign in yet.
 * Whom nobody calls blocked is taken for somebody who may sign in, which overlooks no one.
 *
 * @see https://learn.microsoft.com/entra/external-id/user-properties
 */
function statusOf(enabled: Enabled, externalState: string | undefined): IdentityStatus {
  if (enabled === false) return 'suspended'
  return externalState === 'PendingAcceptance' ? 'inactive' : 'active'
}

function statusDetailOf(enabled: Enabled, externalState: string | undefined): string | undefined {
  if (enabled !== 'unknown') return externalState
  const unknown = 'accountEnabled unknown'
  return externalState === undefined ? unknown : `${externalState}, ${unknown}`
}

/** `SMTP:` marks the primary address, `smtp:` the others; entries of other protocols are no e-mail addresses. */
const proxyAddresses = (value: unknown): readonly string[] =>
  textsOf(value)
    .filter((address) => /^smtp:/i.test(address))
    .map((address) => address.slice('smtp:'.length))

/** @see https://learn.microsoft.com/graph/api/resources/signinactivity */
export function signInActivityOf(user: GraphObject): Activity | undefined {
  const { signInActivity: told } = user
  if (!isObject(told)) return undefined
  // The other two count attempts that failed as well; Microsoft fills this one since December 2023.
  const time = timeOf(told.lastSuccessfulSignInDateTime) ?? timeOf(told.lastSignInDateTime)
  return time === undefined ? undefined : { last_login_time: time }
}

/** @see https://learn.microsoft.com/graph/api/resources/group#properties */
export const groupProperties = [
  'id',
  'displayName',
  'description',
  'mail',
  'mailEnabled',
  'proxyAddresses',
  'securityEnabled',
  'groupTypes',
  'membershipRule',
  'visibility',
  'createdDateTime',
  'onPremisesSamAccountName',
  'onPremisesSecurityIdentifier',
  'onPremisesSyncEnabled',
] as const

const mappedOfGroup: ReadonlySet<string> = new Set([
  'id',
  'displayName',
  'description',
  'mail',
  'createdDateTime',
])

/**
 * A group's `displayName` may be null: then its address is its name, or its id.
 *
 * @see https://graph.microsoft.com/v1.0/$metadata
 */
export function groupOf(group: GraphObject): Read<Group> {
  const uid = idOf(group.id)
  const { displayName } = group
  const email = textOf(group.mail)
  if (uid === undefined) return { reason: 'it has no id' }
  const isTold = typeof displayName === 'string' || displayName === null
  if (!isTold) return { reason: 'displayName is missing' }
  const name = textOf(displayName) ?? email ?? uid
  const attributes: GroupAttributes = {
    uid,
    name,
    ...membersOf({
      email_addr: email,
      email_addrs: setOf([email, ...proxyAddresses(group.proxyAddresses)]),
      desc: textOf(group.description),
      type: groupTypeOf(group),
      created_time: timeOf(group.createdDateTime),
    }),
  }
  const raw = smallRaw(group, mappedOfGroup)
  return { entity: { kind: 'group', attributes, ...(raw !== undefined && { raw }) } }
}

/** @see https://learn.microsoft.com/graph/api/resources/groups-overview#group-types-in-microsoft-entra-id-and-microsoft-graph */
function groupTypeOf({ groupTypes, mailEnabled, securityEnabled }: GraphObject): string | undefined {
  if (Array.isArray(groupTypes) && groupTypes.includes('Unified')) return 'Unified'
  if (mailEnabled === true) return securityEnabled === true ? 'mail-enabled security' : 'distribution'
  return securityEnabled === true ? 'security' : undefined
}

/** @see https://learn.microsoft.com/graph/api/resources/device#properties */
export const deviceProperties = [
  'id',
  'deviceId',
  'displayName',
  'accountEnabled',
  'operatingSystem',
  'operatingSystemVersion',
  'manufacturer',
  'model',
  'trustType',
  'isCompliant',
  'isManaged',
  'registrationDateTime',
] as const

/** Changes by itself. Asked for in lists, and left out of what delta queries follow. */
export const deviceActivityProperty = 'approximateLastSignInDateTime'

const mappedOfDevice: ReadonlySet<string> = new Set([
  ...allBut(deviceProperties, ['trustType']),
  'registeredOwners',
  deviceActivityProperty,
])

/** Computers are shown by their host name, phones by whatever their owner called them. */
const isHostLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i

export function deviceOf(device: GraphObject): Read<Device> {
  const uid = idOf(device.id)
  if (uid === undefined) return { reason: 'it has no id' }
  const name = textOf(device.displayName)
  const enabled = claimOf(device.accountEnabled)
  const trust = textOf(device.trustType)
  const attributes: DeviceAttributes = {
    uid,
    ...membersOf({
      uid_alt: idOf(device.deviceId),
      name,
      hostname: name !== undefined && isHostLabel.test(name) ? name.toLowerCase() : undefined,
      os: membersOf({ name: textOf(device.operatingSystem), version: textOf(device.operatingSystemVersion) }),
      model: textOf(device.model),
      vendor_name: textOf(device.manufacturer),
      status: enabled === undefined ? undefined : enabled ? 'enabled' : 'disabled',
      is_managed: claimOf(device.isManaged),
      is_compliant: claimOf(device.isCompliant),
      // `Workplace` means "bring your own device"; `AzureAd` and `ServerAd` are joined to the organisation.
      is_personal: trust === undefined ? undefined : trust === 'Workplace',
      created_time: timeOf(device.registrationDateTime),
    }),
  }
  const seen = timeOf(device[deviceActivityProperty])
  const raw = smallRaw(device, mappedOfDevice)
  return {
    entity: {
      kind: 'device',
      attributes,
      ...(raw !== undefined && { raw }),
      ...(seen !== undefined && { activity: { last_seen_time: seen } }),
    },
  }
}
