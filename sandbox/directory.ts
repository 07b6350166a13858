/**
 * A made-up organisation of any size: every person, group and device is a function of the seed and an index. The one
 * in which things happen is in living-directory.ts: sandboxes make theirs with `createLivingDirectory`.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import { departments, familyNames, givenNames, groupSubjects, places, titles } from './names.ts'

export interface Person {
  readonly index: number
  /** 32 hex digits, stable for seed and index. Providers form their own ids from it. */
  readonly key: string
  readonly givenName: string
  readonly familyName: string
  /** Unique in the directory, lower-case ASCII: `ada.lovelace17`. */
  readonly userName: string
  readonly email: string
  readonly title: string
  readonly department: string
  readonly employeeNumber: string
  readonly city: string
  readonly countryCode: string
  /** Index of the manager; undefined at the top. */
  readonly managerIndex: number | undefined
  readonly status: 'active' | 'suspended' | 'deactivated' | 'invited'
  readonly hasMfa: boolean
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly lastSignInAt: Date | undefined
}

export interface Group {
  readonly index: number
  readonly key: string
  readonly name: string
  /** Lower-case ASCII local part, unique. */
  readonly mailNickname: string
  readonly description: string
  readonly memberCount: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

export interface Device {
  readonly index: number
  readonly key: string
  readonly name: string
  readonly serialNumber: string
  readonly platform: 'CHROMEOS' | 'ANDROID' | 'IOS' | 'MACOS' | 'WINDOWS'
  readonly osVersion: string
  readonly ownerIndex: number
  readonly lastSeenAt: Date
}

export interface DirectoryOptions {
  readonly domain: string
  /** Whole number ≥ 1; the person at index 0 is the first administrator and active. */
  readonly users: number
  /** Whole number ≥ 0; the group at index 0 holds everybody. */
  readonly groups: number
  /** Four for five people by default. */
  readonly devices?: number
  /** Between 0 and 1: the largest groups but group 0 have the people's number to this power. 0.75 by default. */
  readonly largestGroup?: number
  readonly seed: string
}

export interface Directory {
  readonly domain: string
  readonly userCount: number
  readonly groupCount: number
  readonly deviceCount: number
  person(index: number): Person
  group(index: number): Group
  device(index: number): Device
  /** Index of the person with this e-mail address, key or user name. */
  findPerson(emailOrKeyOrUserName: string): number | undefined
  /** Index of the group with this key, nickname or e-mail address. */
  findGroup(keyOrNickname: string): number | undefined
  /**
   * Indexes of the members of a group, ascending and without repeats: at most `count`, after the first `from` of
   * them were left out.
   */
  members(groupIndex: number, from: number, count: number): readonly number[]
  isMember(groupIndex: number, personIndex: number): boolean
}

/** Most people, groups or devices: the product of two such numbers is still exact. */
export const largestCount = 50_000_000

const kinds = { person: 1, group: 2, device: 3 } as const
type Kind = keyof typeof kinds

/** The organisation's calendar. Fixed, so that the same seed gives the same data on every day. */
const foundedAt = Date.UTC(2017, 0, 9)
const lastHireAt = Date.UTC(2026, 8, 30)
/** Nobody and nothing was made to have changed later. In ms since 1970. */
export const lastChangeAt = Date.UTC(2026, 10, 20)

export function createDirectory(options: DirectoryOptions): Directory {
  const userCount = wholeNumber('users', options.users, 1)
  const groupCount = wholeNumber('groups', options.groups, 0)
  const deviceCount = wholeNumber('devices', options.devices ?? Math.ceil(userCount * 0.8), 0)
  const { domain, largestGroup = 0.75 } = options
  const keys = keysOf(options.seed)
  const draw = drawsOf(options.seed)

  const person = (index: number): Person => {
    within('person', index, userCount)
    const given = pick(givenNames, draw('given', index))
    const family = pick(familyNames, draw('family', index))
    const place = pick(places, draw('place', index))
    const userName = `${given.ascii}.${family.ascii}${index}`
    const status = index === 0 ? 'active' : statusOf(draw('status', index))
    const createdAt = between(foundedAt, lastHireAt, index === 0 ? 0 : draw('created', index))
    return {
      index,
      key: keys.keyOf('person', index),
      givenName: given.name,
      familyName: family.name,
      userName,
      email: `${userName}@${domain}`,
      title: index === 0 ? 'Head of IT' : pick(titles, draw('title', index)),
      department: index === 0 ? 'IT' : pick(departments, draw('department', index)),
      employeeNumber: String(100_000 + index),
      city: place.city,
      countryCode: place.countryCode,
      managerIndex: index === 0 ? undefined : Math.floor((index - 1) / 8),
      status,
      hasMfa: index === 0 || (status !== 'invited' && draw('mfa', index) < 0.85),
      createdAt,
      updatedAt: between(createdAt.getTime(), lastChangeAt, draw('updated', index)),
      lastSignInAt:
        status === 'invited' || (index !== 0 && draw('neverSignedIn', index) < 0.05)
          ? undefined
          : between(createdAt.getTime(), lastChangeAt, draw('signedIn', index) ** 0.2),
    }
  }

  /**
   * Group 0 holds everybody, every 25th nobody; the rest lie between 1 and the people's number to a power below 1,
   * most of them near the lower end.
   */
  const memberCount = (index: number): number => {
    if (index === 0) return userCount
    if (index % 25 === 24) return 0
    return Math.max(1, Math.floor(userCount ** (largestGroup * draw('size', index) ** 2)))
  }

  const group = (index: number): Group => {
    within('group', index, groupCount)
    const department = pick(departments, draw('groupDepartment', index))
    const subject = pick(groupSubjects, draw('groupSubject', index))
    const createdAt = between(foundedAt, lastHireAt, index === 0 ? 0 : draw('groupCreated', index))
    return {
      index,
      key: keys.keyOf('group', index),
      name: index === 0 ? 'Everybody' : `${department} ${subject} ${index}`,
      mailNickname: index === 0 ? 'everybody0' : `${slug(department)}-${slug(subject)}-${index}`,
      description: index === 0 ? 'Everybody in the organisation' : `${subject} of ${department}`,
      memberCount: memberCount(index),
      createdAt,
      updatedAt: between(createdAt.getTime(), lastChangeAt, draw('groupUpdated', index)),
    }
  }

  const device = (index: number): Device => {
    within('device', index, deviceCount)
    const model = pick(models, draw('model', index))
    return {
      index,
      key: keys.keyOf('device', index),
      name: `${model.prefix}-${String(index).padStart(6, '0')}`,
      serialNumber: `${model.prefix}${index.toString(36).toUpperCase().padStart(7, '0')}`,
      platform: model.platform,
      osVersion: pick(model.osVersions, draw('osVersion', index)),
      ownerIndex: Math.floor(draw('owner', index) * userCount),
      lastSeenAt: between(lastHireAt, lastChangeAt, draw('seen', index)),
    }
  }

  /**
   * A group of s members cuts the people into s stretches of almost equal length and takes one person from each.
   * So any member is known from its position, and membership from a person's index, without a list.
   */
  const memberAt = (groupIndex: number, size: number, position: number): number => {
    const start = Math.floor((position * userCount) / size)
    const end = Math.floor(((position + 1) * userCount) / size)
    return start + Math.floor(draw('member', groupIndex, position) * (end - start))
  }

  /** A local part, or an address of this organisation, in lower case; undefined for an address elsewhere. */
  const localPart = (text: string): string | undefined => {
    const at = text.lastIndexOf('@')
    if (at === -1) return text
    return text.slice(at + 1) === domain ? text.slice(0, at) : undefined
  }

  /** The index that a name ends with, provided that the thing at this index really bears the name. */
  const findByName = (text: string, count: number, nameAt: (index: number) => string): number | undefined => {
    const local = localPart(text)
    const digits = local?.match(/\d{1,10}$/)?.[0]
    if (digits === undefined) return undefined
    const index = Number(digits)
    return index < count && nameAt(index) === local ? index : undefined
  }

  return {
    domain,
    userCount,
    groupCount,
    deviceCount,
    person,
    group,
    device,
    findPerson(text) {
      const wanted = text.toLowerCase()
      return (
        keys.indexOf('person', wanted, userCount) ??
        findByName(wanted, userCount, (index) => person(index).userName)
      )
    },
    findGroup(text) {
      const wanted = text.toLowerCase()
      return (
        keys.indexOf('group', wanted, groupCount) ??
        findByName(wanted, groupCount, (index) => group(index).mailNickname)
      )
    },
    members(groupIndex, from, count) {
      within('group', groupIndex, groupCount)
      const size = memberCount(groupIndex)
      const first = Math.max(0, from)
      const length = Math.max(0, Math.min(count, size - first))
      return Array.from({ length }, (_, offset) => memberAt(groupIndex, size, first + offset))
    },
    isMember(groupIndex, personIndex) {
      within('group', groupIndex, groupCount)
      if (!Number.isInteger(personIndex) || personIndex < 0 || personIndex >= userCount) return false
      const size = memberCount(groupIndex)
      if (size === 0) return false
      // The stretch a person lies in: the last one that starts at or before them.
      const position = Math.ceil(((personIndex + 1) * size) / userCount) - 1
      return memberAt(groupIndex, size, position) === personIndex
    },
  }
}

/** Keys are single blocks of AES-128 under a key made from the seed: unique, and read back without a table. */
function keysOf(seed: string) {
  const key = createHash('sha256').update(`keys\0${seed}`).digest().subarray(0, 16)
  // ECB without padding turns each block of 16 bytes into one of 16 bytes, so that one object serves all of them.
  const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  const decipher = createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  return {
    keyOf(kind: Kind, index: number): string {
      const block = Buffer.alloc(16)
      block.writeUInt32BE(kinds[kind], 8)
      block.writeUInt32BE(index, 12)
      return cipher.update(block).toString('hex')
    },
    indexOf(kind: Kind, text: string, count: number): number | undefined {
      if (!/^[0-9a-f]{32}$/.test(text)) return undefined
      const block = decipher.update(Buffer.from(text, 'hex'))
      const index = block.readUInt32BE(12)
      const isOurs = block.readBigUInt64BE(0) === 0n && block.readUInt32BE(8) === kinds[kind]
      return isOurs && index < count ? index : undefined
    },
  }
}

/** Numbers from 0 up to but not including 1, each fixed by the seed, what it is drawn for, and one or two indexes. */
function drawsOf(seed: string) {
  const start = createHash('sha256').update(`draws\0${seed}`).digest().readUInt32BE(0)
  const purposes = new Map<string, number>()
  return (purpose: string, index: number, position = 0): number => {
    let state = purposes.get(purpose)
    if (state === undefined) {
      state = start
      for (const character of purpose) state = scramble(state ^ character.charCodeAt(0))
      purposes.set(purpose, state)
    }
    return scramble(scramble(state ^ index) ^ position) / 2 ** 32
  }
}

/** The finaliser of MurmurHash3: each bit of the input changes half of the output's. */
function scramble(value: number): number {
  let h = (value + 0x9e3779b9) | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

interface Model {
  readonly platform: Device['platform']
  readonly prefix: string
  readonly osVersions: readonly [string, ...string[]]
}

const models: readonly [Model, ...Model[]] = [
  { platform: 'CHROMEOS', prefix: 'CHR', osVersions: ['138.0.7204.255', '139.0.7258.172', '140.0.7339.242'] },
  { platform: 'ANDROID', prefix: 'AND', osVersions: ['14', '15', '16'] },
  { platform: 'IOS', prefix: 'IPH', osVersions: ['17.7.2', '18.6.2', '26.1'] },
  { platform: 'MACOS', prefix: 'MAC', osVersions: ['14.8.1', '15.7.1', '26.1'] },
  { platform: 'WINDOWS', prefix: 'WIN', osVersions: ['10.0.19045', '10.0.22631', '10.0.26100'] },
]

function statusOf(draw: number): Person['status'] {
  if (draw < 0.92) return 'active'
  if (draw < 0.95) return 'suspended'
  return draw < 0.98 ? 'deactivated' : 'invited'
}

function pick<T>(list: readonly [T, ...T[]], draw: number): T {
  return list[Math.floor(draw * list.length)] ?? list[0]
}

/** Whole seconds, as the strictest of the providers' time formats has no fractions. */
function between(from: number, to: number, draw: number): Date {
  return new Date(Math.floor((from + draw * (to - from)) / 1000) * 1000)
}

const slug = (text: string) => text.toLowerCase().replaceAll(' ', '-')

function wholeNumber(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least || value > largestCount)
    throw new RangeError(`${name} must be a whole number from ${least} to ${largestCount}`)
  return value
}

function within(kind: string, index: number, count: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= count)
    throw new RangeError(`no ${kind} ${index}: the directory has ${count}`)
}
