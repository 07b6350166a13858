/** Users and groups of the Directory API in the words of the identity model. Pure. */
import type { Group, Identity, IdentityAttributes, IdentityStatus } from '../../entities/model.ts'
import { smallRaw } from '../raw-document.ts'
import { isObject, isText, type JsonObject } from './client.ts'

/**
 * What is asked of each user. Custom schemas are not: they are the customer's own and may hold anything. Home
 * addresses and private telephone numbers come along with the others and are dropped below.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users#User
 */
export const userFields = [
  'id,primaryEmail,name(givenName,familyName,fullName),aliases,nonEditableAliases,emails(address)',
  'externalIds,relations,organizations,addresses(type,primary,locality,region,country,countryCode)',
  'phones(value,type,primary),locations,orgUnitPath',
  'suspended,suspensionReason,suspensionTime,archived,archivalTime,agreedToTerms',
  'isAdmin,isDelegatedAdmin,isGuestUser,isEnrolledIn2Sv,isEnforcedIn2Sv,lastLoginTime,creationTime',
  'isMailboxSetup,includeInGlobalAddressList,changePasswordAtNextLogin,ipWhitelisted,customerId',
].join(',')

/** Mapped below, changing by itself, or private. */
const userMembersElsewhere = new Set([
  'kind',
  'id',
  'primaryEmail',
  'name',
  'aliases',
  'nonEditableAliases',
  'emails',
  'addresses',
  'phones',
  'organizations.title',
  'organizations.department',
  'organizations.costCenter',
  'organizations.name',
  'organizations.description',
  'orgUnitPath',
  'suspended',
  'suspensionReason',
  'archived',
  'isGuestUser',
  'isEnrolledIn2Sv',
  'lastLoginTime',
  'creationTime',
])

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups#Group */
export const groupFields =
  'id,email,name,description,aliases,nonEditableAliases,directMembersCount,adminCreated,externalIds'

const groupMembersElsewhere = new Set([
  'kind',
  'id',
  'email',
  'name',
  'description',
  'aliases',
  'nonEditableAliases',
  'directMembersCount',
])

/** A user; undefined when the record has no id or no address. */
export function identityOf(user: JsonObject): Identity | undefined {
  const uid = idOf(user.id)
  const name = textOf(user.primaryEmail)
  if (uid === undefined || name === undefined) return undefined
  const names = isObject(user.name) ? user.name : {}
  const job = chosen(user.organizations, ({ primary }) => primary === true)
  const home = chosen(user.addresses, ({ type, primary }) => type === 'work' || primary === true)
  // A home address is nobody's business here.
  const address = home?.type === 'home' ? undefined : home
  const desk = chosen(user.locations, ({ type }) => type === 'desk')
  const phone = itemsIn(user.phones).find(({ type }) => type === 'work')
  const lastLogin = timeOf(user.lastLoginTime)
  const attributes = known<IdentityAttributes>({
    uid,
    name,
    email_addr: name.toLowerCase(),
    email_addrs: addressesOf(user.primaryEmail, user.aliases, user.nonEditableAliases, user.emails),
    full_name: textOf(names.fullName),
    given_name: textOf(names.givenName),
    surname: textOf(names.familyName),
    type: isAdministrator(user) ? 'Admin' : user.isGuestUser === true ? 'Guest' : undefined,
    status: statusOf(user),
    status_detail: statusDetailOf(user),
    job_title: textOf(job?.title),
    department: textOf(job?.department),
    cost_center: textOf(job?.costCenter),
    company: textOf(job?.name),
    manager: managerOf(user.relations),
    employee_uid: textOf(chosen(user.externalIds, ({ type }) => type === 'organization', true)?.value),
    // The admin console keeps "Type of employee" here. https://support.google.com/a/answer/1710338
    employee_type: textOf(job?.description),
    office_location: textOf(job?.location) ?? placeOf(desk),
    location: locationOf(address),
    org_unit: textOf(user.orgUnitPath),
    phone_number: textOf(phone?.value),
    has_mfa: typeof user.isEnrolledIn2Sv === 'boolean' ? user.isEnrolledIn2Sv : undefined,
    is_privileged: isAdministrator(user) || undefined,
    created_time: timeOf(user.creationTime),
  })
  const raw = smallRaw(user, userMembersElsewhere)
  return {
    kind: 'identity',
    attributes,
    ...(raw !== undefined && { raw }),
    // The first second of 1970 stands for "never".
    ...(lastLogin !== undefined && Date.parse(lastLogin) > 0 && { activity: { last_login_time: lastLogin } }),
  }
}

/** A group; undefined when the record has no id. */
export function groupOf(group: JsonObject): Group | undefined {
  const uid = idOf(group.id)
  if (uid === undefined) return undefined
  const email = textOf(group.email)
  const memberCount = countOf(group.directMembersCount)
  const raw = smallRaw(group, groupMembersElsewhere)
  return {
    kind: 'group',
    attributes: known<Group['attributes']>({
      uid,
      name: textOf(group.name) ?? email ?? uid,
      email_addr: email?.toLowerCase(),
      email_addrs: addressesOf(group.email, group.aliases, group.nonEditableAliases, undefined),
      desc: textOf(group.description),
    }),
    ...(raw !== undefined && { raw }),
    // The ETag is not documented to change with the members; their number does whenever one comes or goes, and is the
    // same again once another has gone or come.
    ...(memberCount !== undefined && { memberCount, membersTag: String(memberCount) }),
  }
}

const isAdministrator = (user: JsonObject) => user.isAdmin === true || user.isDelegatedAdmin === true

/**
 * Archived users keep their data and cannot sign in: https://support.google.com/a/answer/9048836. Who never signed in
 * has not agreed to the terms.
 */
function statusOf(user: JsonObject): IdentityStatus {
  if (user.archived === true) return 'deactivated'
  if (user.suspended === true) return 'suspended'
  return user.agreedToTerms === false ? 'inactive' : 'active'
}

function statusDetailOf(user: JsonObject): string | undefined {
  if (user.archived === true) return 'ARCHIVED'
  return user.suspended === true ? textOf(user.suspensionReason) : undefined
}

function managerOf(relations: unknown): IdentityAttributes['manager'] {
  const email = textOf(itemsIn(relations).find(({ type }) => type === 'manager')?.value)
  return email === undefined ? undefined : { email_addr: email.toLowerCase() }
}

function placeOf(desk: JsonObject | undefined): string | undefined {
  const parts = [desk?.buildingId, desk?.floorName, desk?.floorSection].map(textOf)
  return textOf(parts.filter((part) => part !== undefined).join(' '))
}

function locationOf(address: JsonObject | undefined): IdentityAttributes['location'] {
  const location = known<NonNullable<IdentityAttributes['location']>>({
    city: textOf(address?.locality),
    region: textOf(address?.region),
    country: textOf(address?.countryCode) ?? textOf(address?.country),
  })
  return Object.keys(location).length === 0 ? undefined : location
}

/** The item that fits; otherwise the first, unless `onlyThat`. */
function chosen(
  list: unknown,
  fits: (item: JsonObject) => boolean,
  onlyThat = false,
): JsonObject | undefined {
  const items = itemsIn(list)
  return items.find(fits) ?? (onlyThat ? undefined : items[0])
}

const itemsIn = (list: unknown): readonly JsonObject[] => (Array.isArray(list) ? list.filter(isObject) : [])

/** Most addresses kept of one user or group: Google allows 30 aliases. https://support.google.com/a/answer/33327 */
const maxAddresses = 100

function addressesOf(
  primary: unknown,
  aliases: unknown,
  fixed: unknown,
  emails: unknown,
): readonly string[] | undefined {
  const all = [primary, aliases, fixed, itemsIn(emails).map(({ address }) => address)]
    .flat()
    .flatMap((address) => textOf(address)?.toLowerCase() ?? [])
    .filter((address) => address.includes('@'))
  const first = [...new Set(all)].slice(0, maxAddresses)
  return first.length === 0 ? undefined : first.sort()
}

/** Longest text of a member, in characters; Google's own limits are below, but for descriptions. */
const maxTextLength = 1024

/** Most texts are: nothing of them has to be changed. */
const isPlainText = /^[!-~](?:[ -~]{0,254}[!-~])?$/

/** One line of well-formed text without control characters; undefined when nothing is in it. */
export function textOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (isPlainText.test(value)) return value
  const text = value
    .slice(0, maxTextLength)
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
  return text === '' ? undefined : text
}

/** An id as it is: one that would have to be changed to be kept is none. */
export const idOf = (value: unknown): string | undefined =>
  isText(value) && /^[\x21-\x7e]{1,256}$/.test(value) ? value : undefined

/** Google's own form of a time, on a day that every month has. */
const isPlainTime =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

/** RFC 3339 in UTC. */
export function timeOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (isPlainTime.test(value)) return value
  const time = /^\d{4}-\d{2}-\d{2}T/.test(value) ? Date.parse(value) : Number.NaN
  return Number.isFinite(time) ? new Date(time).toISOString() : undefined
}

/** Google writes int64 as text. */
function countOf(value: unknown): number | undefined {
  const count = typeof value === 'string' && /^\d{1,12}$/.test(value) ? Number(value) : value
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : undefined
}

/** The members that have a value, in the order given: equal content is equal text. */
export function known<T extends object>(members: { readonly [K in keyof T]: T[K] | undefined }): T {
  const found: Partial<T> = {}
  for (const name in members) if (members[name] !== undefined) found[name] = members[name]
  return found as T
}
