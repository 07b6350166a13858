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
  for (const [field, value] of wholeValues(entity)) {
    const folded = value === undefined ? '' : fold(value)
    if (folded !== '') terms.add(`${field}:${folded}`)
  }
  for (const [field, value] of wordedValues(entity)) {
    for (const word of value === undefined ? [] : wordsOf(value)) terms.add(`${field}:${word}`)
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

type Values = readonly (readonly [field: string, value: string | undefined])[]

function wholeValues(entity: Entity): Values {
  switch (entity.kind) {
    case 'identity':
      return wholeOfIdentity(entity.attributes)
    case 'group':
      return wholeOfGroup(entity.attributes)
    case 'device':
      return wholeOfDevice(entity.attributes)
  }
}

const wholeOfIdentity = (identity: IdentityAttributes): Values => [
  ['id', identity.uid],
  ['id', identity.uid_alt],
  ...userNameValues(identity.name),
  ...addressesOf(identity).map((address) => ['email', address] as const),
  ['status', identity.status],
  ['status', identity.status_detail],
  ['type', identity.type ?? 'User'],
  ['employee', identity.employee_uid],
  ['employee', identity.employee_type],
  ['manager', identity.manager?.uid],
  ['manager', identity.manager?.email_addr],
]

const wholeOfGroup = (group: GroupAttributes): Values => [
  ['id', group.uid],
  ['name', group.name],
  ['type', group.type],
  ...addressesOf(group).map((address) => ['email', address] as const),
]

const wholeOfDevice = (device: DeviceAttributes): Values => [
  ['id', device.uid],
  ['id', device.uid_alt],
  ['id', device.hw_info?.serial_number],
  ['id', device.imei],
  ['id', device.mac],
  ['name', device.hostname],
  ['type', device.type],
  ['status', device.status],
  ['user', device.owner?.name],
  ['email', device.owner?.email_addr],
]

/** The user name, and what stands before its "@". */
const userNameValues = (name: string): Values => {
  const at = name.indexOf('@')
  return at > 0
    ? [
        ['user', name],
        ['user', name.slice(0, at)],
      ]
    : [['user', name]]
}

function wordedValues(entity: Entity): Values {
  switch (entity.kind) {
    case 'identity': {
      const { attributes } = entity
      return [
        ['name', attributes.full_name],
        ['name', attributes.given_name],
        ['name', attributes.surname],
        ['title', attributes.job_title],
        ['department', attributes.department],
        ['department', attributes.division],
        ['manager', attributes.manager?.name],
        ['location', attributes.office_location],
        ['location', attributes.location?.city],
        ['location', attributes.location?.region],
        ['country', attributes.location?.country],
      ]
    }
    case 'group':
      return [['name', entity.attributes.name]]
    case 'device':
      return [
        ['name', entity.attributes.name],
        ['name', entity.attributes.model],
      ]
  }
}

const wordsOf = (value: string) =>
  fold(value)
    .split(' ')
    .filter((word) => word !== '')

const addressesOf = ({
  email_addr,
  email_addrs = [],
}: {
  readonly email_addr?: string
  readonly email_addrs?: readonly string[]
}): readonly string[] => (email_addr === undefined ? email_addrs : [email_addr, ...email_addrs])
