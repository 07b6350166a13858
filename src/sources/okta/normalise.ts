/** Okta's users, groups and devices as entities. Pure, and in one form: equal records become equal text. */

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
import { cleanValue } from '../../outbound/clean-text.ts'
import { smallRaw } from '../raw-document.ts'
import { isRecord } from './answers.ts'

/** A record that is none of its kind, and why. */
export interface Unreadable {
  readonly uid?: string
  readonly reason: string
}

/**
 * Every status that Okta documents. `ACTIVATING` is on the way to `ACTIVE`.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user the schema of UserStatus
 */
const statuses: ReadonlyMap<unknown, IdentityStatus> = new Map<string, IdentityStatus>([
  ['ACTIVE', 'active'],
  ['PASSWORD_EXPIRED', 'active'],
  ['RECOVERY', 'active'],
  ['LOCKED_OUT', 'locked'],
  ['SUSPENDED', 'suspended'],
  ['STAGED', 'inactive'],
  ['PROVISIONED', 'inactive'],
  ['ACTIVATING', 'inactive'],
  ['DEPROVISIONED', 'deactivated'],
])

/** What the model holds, and what changes by itself. */
const mappedOfUser: ReadonlySet<string> = new Set([
  ...['id', 'status', 'created', 'lastLogin', 'lastUpdated', 'credentials', 'transitioningToStatus'],
  ...[
    ...['login', 'email', 'secondEmail', 'displayName', 'firstName', 'lastName', 'title', 'department'],
    ...['division', 'costCenter', 'organization', 'manager', 'employeeNumber', 'userType', 'city', 'state'],
    ...['countryCode', 'primaryPhone', 'mobilePhone', 'timezone'],
  ].map((name) => `profile.${name}`),
])
const mappedWithManagerId: ReadonlySet<string> = new Set([...mappedOfUser, 'profile.managerId'])

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user */
export function identityOf(record: unknown): Identity | Unreadable {
  const uid = uidOf(record)
  if (uid === undefined || !isRecord(record)) return { reason: 'a user without an id' }
  if (!isRecord(record.profile)) return { uid, reason: 'a user without a profile' }
  const { profile } = record
  const name = textIn(profile.login)
  if (name === undefined) return { uid, reason: 'a user without a login' }
  const status = statuses.get(record.status)
  if (status === undefined) return { uid, reason: 'a user without a status that Okta documents' }

  const email = textIn(profile.email)
  const [given, surname] = [textIn(profile.firstName), textIn(profile.lastName)]
  const manager = managerOf(textIn(profile.manager), textIn(profile.managerId))
  const attributes = known<IdentityAttributes>({
    uid,
    name,
    email_addr: email,
    email_addrs: addressesOf([email, textIn(profile.secondEmail)]),
    full_name: textIn(profile.displayName) ?? ([given, surname].filter(Boolean).join(' ') || undefined),
    given_name: given,
    surname,
    status,
    status_detail: String(record.status),
    job_title: textIn(profile.title),
    department: textIn(profile.department),
    division: textIn(profile.division),
    cost_center: textIn(profile.costCenter),
    company: textIn(profile.organization),
    manager,
    employee_uid: textIn(profile.employeeNumber),
    employee_type: textIn(profile.userType),
    location: locationOf(textIn(profile.city), textIn(profile.state), textIn(profile.countryCode)),
    phone_number: textIn(profile.primaryPhone) ?? textIn(profile.mobilePhone),
    time_zone: textIn(profile.timezone),
    created_time: timeIn(record.created),
    modified_time: timeIn(record.lastUpdated),
  })
  const isManagerIdTold = manager?.uid !== undefined || manager?.email_addr !== undefined
  return known<Identity>({
    kind: 'identity',
    attributes,
    raw: smallRaw(record, isManagerIdTold ? mappedWithManagerId : mappedOfUser),
    activity: activityOf({ last_login_time: timeIn(record.lastLogin) }),
  })
}

/** `managerId` is free text, written by whatever feeds the profile: told as an id only where it looks like Okta's. */
function managerOf(name: string | undefined, id: string | undefined): IdentityAttributes['manager'] {
  const manager = known<NonNullable<IdentityAttributes['manager']>>({
    uid: id !== undefined && /^00u[0-9A-Za-z]{17}$/.test(id) ? id : undefined,
    name,
    email_addr: id !== undefined && isAddress(id) ? id.toLowerCase() : undefined,
  })
  return Object.keys(manager).length === 0 ? undefined : manager
}

function locationOf(
  city: string | undefined,
  region: string | undefined,
  country: string | undefined,
): IdentityAttributes['location'] {
  if (city === undefined && region === undefined && country === undefined) return undefined
  return known<NonNullable<IdentityAttributes['location']>>({ city, region, country })
}

const mappedOfGroup: ReadonlySet<string> = new Set([
  ...['id', 'type', 'created', 'lastUpdated', 'lastMembershipUpdated', 'profile.name', 'profile.description'],
])

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group */
export function groupOf(record: unknown): Group | Unreadable {
  const uid = uidOf(record)
  if (uid === undefined || !isRecord(record)) return { reason: 'a group without an id' }
  const profile = isRecord(record.profile) ? record.profile : {}
  const name = textIn(profile.name)
  if (name === undefined) return { uid, reason: 'a group without a name' }
  return known<Group>({
    kind: 'group',
    attributes: known<GroupAttributes>({
      uid,
      name,
      desc: textIn(profile.description),
      type: textIn(record.type),
      created_time: timeIn(record.created),
      modified_time: timeIn(record.lastUpdated),
    }),
    raw: smallRaw(record, mappedOfGroup),
    memberCount: memberCountIn(record),
    membersTag: timeIn(record.lastMembershipUpdated),
  })
}

/** `_embedded.stats.usersCount`, where it was asked for with `expand=stats`. */
function memberCountIn({ _embedded: embedded }: Readonly<Record<string, unknown>>): number | undefined {
  const stats = isRecord(embedded) && isRecord(embedded.stats) ? embedded.stats : {}
  const { usersCount: count } = stats
  return Number.isSafeInteger(count) && Number(count) >= 0 ? Number(count) : undefined
}

/** Where the platform tells: Okta's macOS and Windows devices may be of either form. */
const typesOfPlatform: ReadonlyMap<unknown, string> = new Map([
  ['ANDROID', 'Mobile'],
  ['IOS', 'Mobile'],
])
const systems: ReadonlyMap<unknown, string> = new Map([
  ['ANDROID', 'Android'],
  ['IOS', 'iOS'],
  ['MACOS', 'macOS'],
  ['WINDOWS', 'Windows'],
])

const mappedOfDevice: ReadonlySet<string> = new Set([
  ...['id', 'status', 'created', 'lastUpdated', 'resourceId', 'resourceDisplayName', 'resourceType'],
  ...[
    ...['displayName', 'platform', 'osVersion', 'model', 'manufacturer', 'serialNumber', 'imei', 'managed'],
    ...['sid', 'udid'],
  ].map((name) => `profile.${name}`),
])

/**
 * A device is updated "when Okta collects and saves device signals during authentication, and when the lifecycle state
 * of the device changes": of an active one, that tells when it was seen last, and not that it was modified.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/device the schema of Device
 */
export function deviceOf(record: unknown): Device | Unreadable {
  const uid = uidOf(record)
  if (uid === undefined || !isRecord(record)) return { reason: 'a device without an id' }
  if (!isRecord(record.profile)) return { uid, reason: 'a device without a profile' }
  const { profile } = record
  const serial = textIn(profile.serialNumber)
  const name = textIn(profile.displayName)
  return known<Device>({
    kind: 'device',
    attributes: known<DeviceAttributes>({
      uid,
      uid_alt: textIn(profile.sid) ?? textIn(profile.udid),
      name,
      type: typesOfPlatform.get(profile.platform),
      os: systemOf(profile),
      model: textIn(profile.model),
      vendor_name: textIn(profile.manufacturer),
      hw_info: serial === undefined ? undefined : { serial_number: serial },
      imei: textIn(profile.imei),
      status: textIn(record.status),
      is_managed: typeof profile.managed === 'boolean' ? profile.managed : managementOf(record),
      created_time: timeIn(record.created),
    }),
    raw: smallRaw(record, mappedOfDevice),
    activity:
      record.status === 'ACTIVE' ? activityOf({ last_seen_time: timeIn(record.lastUpdated) }) : undefined,
  })
}

function systemOf(profile: Readonly<Record<string, unknown>>): DeviceAttributes['os'] {
  const name = systems.get(profile.platform) ?? textIn(profile.platform)
  const version = textIn(profile.osVersion)
  if (name === undefined && version === undefined) return undefined
  return known<NonNullable<DeviceAttributes['os']>>({ name, version })
}

/**
 * Whether management software is on the device, which Okta tells for each of its users (`expand=userSummary`); undefined
 * without users.
 */
function managementOf(record: Readonly<Record<string, unknown>>): boolean | undefined {
  const told = usersOf(record).map(({ managementStatus }) => managementStatus)
  if (told.includes('MANAGED')) return true
  return told.includes('NOT_MANAGED') ? false : undefined
}

/** Ids of a device's users, as `expand=userSummary` embeds them. */
export const ownersOf = (record: unknown): readonly string[] =>
  isRecord(record) ? [...new Set(usersOf(record).flatMap(({ user }) => uidOf(user) ?? []))].sort() : []

function usersOf({
  _embedded: embedded,
}: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const users = isRecord(embedded) ? embedded.users : undefined
  return Array.isArray(users) ? users.filter(isRecord) : []
}

/** Okta's ids are letters and digits; what else might change a path that it is put in is no id. */
export function uidOf(record: unknown): string | undefined {
  const id = isRecord(record) ? record.id : undefined
  return typeof id === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(id) ? id : undefined
}

/** Longest text kept, in characters: attributes of a profile that somebody filled with a novel. */
const maxTextLength = 512
/** Most text is a line of plain characters, which needs no cleaning. */
const isPlain = /^[!-~](?:[ -~]{0,78}[!-~])?$/

/** A line of text as somebody wrote it, without what nobody sees; undefined when empty. */
function textIn(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  if (typeof value !== 'string' || value === '') return undefined
  if (isPlain.test(value) && !value.includes('  ')) return value
  return cleanValue(value, maxTextLength) || undefined
}

/** Already in the form that is told, whatever the month. */
const isCanonicalTime =
  /^(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

/** RFC 3339 in UTC with milliseconds, whichever of its forms Okta used. */
export function timeIn(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (isCanonicalTime.test(value)) return value
  const time = Date.parse(value)
  if (Number.isNaN(time)) return undefined
  const text = new Date(time).toISOString()
  // Years beyond 9999 are written in a form that is not RFC 3339's, and there was no year 0.
  return text.length === 24 && !text.startsWith('0000') ? text : undefined
}

const isAddress = (text: string) => /^[^\s@]{1,64}@[^\s@]{1,255}$/.test(text)

function addressesOf(addresses: readonly (string | undefined)[]): readonly string[] | undefined {
  const unique = new Set(addresses.flatMap((address) => address?.toLowerCase() ?? []))
  return unique.size === 0 ? undefined : [...unique].sort()
}

function activityOf(
  activity: { readonly [K in keyof Activity]: Activity[K] | undefined },
): Activity | undefined {
  return Object.values(activity).every((value) => value === undefined) ? undefined : known<Activity>(activity)
}

/** Without the members that are unknown, in the order in which they are written here. */
function known<T extends object>(members: { readonly [K in keyof T]: T[K] | undefined }): T {
  const told: Partial<Record<keyof T, unknown>> = {}
  for (const name in members) if (members[name] !== undefined) told[name] = members[name]
  return told as T
}
