/** A made-up organisation of any size: every person, group and device is a function of the seed and an index. */

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
  readonly groups: number
  readonly devices?: number
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
  /** Indexes of the members of a group, `from` first, at most `count`; ascending and without repeats. */
  members(groupIndex: number, from: number, count: number): readonly number[]
  isMember(groupIndex: number, personIndex: number): boolean
}

export function createDirectory(_options: DirectoryOptions): Directory {
  throw new Error('under construction')
}
