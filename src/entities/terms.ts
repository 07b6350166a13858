/** What an entity is found by: terms for the search, keys for the look-up of exact names. */
import type { DeviceAttributes, Entity, GroupAttributes, IdentityAttributes } from './model.ts'

/** Longest value of a term or key, in characters. */
const longestValue = 200
/** Terms of one entity at most, and keys. */
const mostTerms = 200
const mostKeys = 100

/**
 * Terms of one field each, `<field>:<value>`, folded by `fold`: `email:ada@acme.com`, `user:ada.lovelace`, `id:00u1`,
 * `title:engineer`, `status:active`, `source:okta`. Names, titles, departments, managers and places are cut into
 * words: `name:ada`, `name:lovelace`. What depends on more than the entity's own document (`addedFields`) is added
 * where all of it is known.
 */
export function termsOf(entity: Entity, source: string): string[] {
  const terms = new Set<string>([`source:${fold(source)}`])
  const whole: Tell = (field, value) => {
    const folded = value === undefined ? '' : fold(value)
    if (folded !== '') terms.add(`${field}:${folded}`)
  }
  const words: Tell = (field, value) => {
    for (const word of value === undefined ? [] : wordsOf(value)) terms.add(`${field}:${word}`)
  }
  switch (entity.kind) {
    case 'identity':
      tellOfIdentity(entity.attributes, whole, words)
      break
    case 'group':
      tellOfGroup(entity.attributes, whole, words)
      break
    case 'device':
      tellOfDevice(entity.attributes, whole, words)
  }
  return [...terms].slice(0, mostTerms)
}

/** Fields of the terms that facts, groups and activity give an entity; `termsOf` makes none of them. */
export const addedFields = ['group', 'role', 'privileged', 'mfa', 'ip'] as const

/** Terms of a role that an identity has: its name as a whole, and each word of it. */
export function roleTerms(role: string): string[] {
  const whole = fold(role)
  return whole === '' ? [] : [...new Set([whole, ...wordsOf(role)])].map((value) => `role:${value}`)
}

/** Exact names in lower case: every e-mail address, the user name, the ids, a device's serial number and host name. */
export function keysOf(entity: Entity): string[] {
  const { attributes } = entity
  const names: (string | undefined)[] = [attributes.uid]
  if (entity.kind === 'device') {
    const { uid_alt, name, hostname, hw_info, imei, mac } = entity.attributes
    names.push(uid_alt, name, hostname, hw_info?.serial_number, imei, mac)
  } else {
    names.push(entity.attributes.name, ...addressesOf(entity.attributes))
    if (entity.kind === 'identity') names.push(entity.attributes.uid_alt)
  }
  const keys = names.map((name) => (name === undefined ? '' : fold(name)))
  return [...new Set(keys.filter((key) => key !== ''))].slice(0, mostKeys)
}

/** For people. */
export function labelOf({ attributes }: Entity): string {
  const named = attributes.name ?? ('hostname' in attributes ? attributes.hostname : undefined)
  return named === undefined || named === '' ? attributes.uid : named
}

/** Words of ASCII with one blank between two: all but the case is as it is compared. */
const isPlain = /^[!-~]+(?: [!-~]+)*$/

/** How values are compared: NFKC, lower case, accents kept, white space as one blank; at most 200 characters. */
export function fold(text: string): string {
  if (text.length <= longestValue && isPlain.test(text)) return text.toLowerCase()
  // What is cut off later needs no work; NFKC makes of one character 18 at most.
  const folded = text
    .slice(0, longestValue * 2)
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\s\0]+/g, ' ')
    .trim()
  if (folded.length <= longestValue) return folded
  // Never half of a character beyond the first 65,536.
  return folded
    .slice(0, longestValue)
    .replace(/[\uD800-\uDBFF]$/, '')
    .trimEnd()
}

/** What stands before every term of an organisation in the index, so that others' terms are never walked. */
export const termPrefix = (organizationId: string): string => `${organizationId.slice(0, 8)}:`

/** Told the value of a field, if there is one. */
type Tell = (field: string, value: string | undefined) => void

function tellOfIdentity(identity: IdentityAttributes, whole: Tell, words: Tell): void {
  whole('id', identity.uid)
  whole('id', identity.uid_alt)
  whole('user', identity.name)
  // What stands before its "@" as well.
  const at = identity.name.indexOf('@')
  if (at > 0) whole('user', identity.name.slice(0, at))
  for (const address of addressesOf(identity)) whole('email', address)
  whole('status', identity.status)
  whole('status', identity.status_detail)
  whole('type', identity.type ?? 'User')
  whole('employee', identity.employee_uid)
  whole('employee', identity.employee_type)
  whole('manager', identity.manager?.uid)
  whole('manager', identity.manager?.email_addr)
  words('name', identity.full_name)
  words('name', identity.given_name)
  words('name', identity.surname)
  words('title', identity.job_title)
  words('department', identity.department)
  words('department', identity.division)
  words('manager', identity.manager?.name)
  words('location', identity.office_location)
  words('location', identity.location?.city)
  words('location', identity.location?.region)
  words('country', identity.location?.country)
}

function tellOfGroup(group: GroupAttributes, whole: Tell, words: Tell): void {
  whole('id', group.uid)
  whole('name', group.name)
  whole('type', group.type)
  for (const address of addressesOf(group)) whole('email', address)
  words('name', group.name)
}

function tellOfDevice(device: DeviceAttributes, whole: Tell, words: Tell): void {
  whole('id', device.uid)
  whole('id', device.uid_alt)
  whole('id', device.hw_info?.serial_number)
  whole('id', device.imei)
  whole('id', device.mac)
  whole('name', device.hostname)
  whole('type', device.type)
  whole('status', device.status)
  whole('user', device.owner?.name)
  whole('email', device.owner?.email_addr)
  words('name', device.name)
  words('name', device.model)
}

function wordsOf(value: string): readonly string[] {
  const folded = fold(value)
  return folded === '' ? [] : folded.split(' ')
}

const addressesOf = ({
  email_addr,
  email_addrs = [],
}: {
  readonly email_addr?: string
  readonly email_addrs?: readonly string[]
}): readonly string[] => (email_addr === undefined ? email_addrs : [email_addr, ...email_addrs])
