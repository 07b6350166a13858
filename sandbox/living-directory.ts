/**
 * A made-up organisation in which things happen: people are hired, move, leave and return, groups are founded, renamed
 * and dissolved, their members come and go. It is the made-up organisation of directory.ts until the first change, and
 * costs memory for its changes alone.
 *
 * Each provider sandbox makes its directory with `createLivingDirectory` and exposes it as `directory`.
 */
import {
  createDirectory,
  type Directory,
  type DirectoryOptions,
  type Group,
  largestCount,
  type Person,
} from './directory.ts'

/** What of a person can be edited. A new `userName` changes the e-mail address with it. */
export type PersonEdit = Partial<
  Pick<
    Person,
    | 'givenName'
    | 'familyName'
    | 'userName'
    | 'title'
    | 'department'
    | 'city'
    | 'countryCode'
    | 'managerIndex'
    | 'status'
    | 'hasMfa'
  >
>

export type Change =
  /** Adds a person at index `userCount`, active, in group 0. */
  | { readonly what: 'hire'; readonly edit?: PersonEdit }
  | { readonly what: 'edit'; readonly person: number; readonly edit: PersonEdit }
  /** Deleted for good, out of all groups. */
  | { readonly what: 'leave'; readonly person: number }
  /** Somebody who left is there again under the same key, active, in group 0 alone. */
  | { readonly what: 'return'; readonly person: number }
  | { readonly what: 'sign_in'; readonly person: number; readonly ip: string }
  /** Adds an empty group at index `groupCount`. */
  | { readonly what: 'found'; readonly name: string }
  | { readonly what: 'rename'; readonly group: number; readonly name: string }
  | { readonly what: 'dissolve'; readonly group: number }
  | { readonly what: 'join' | 'quit'; readonly group: number; readonly person: number }

/** A change that took place. */
export interface Happening {
  /** From 1 on, without gaps. */
  readonly sequence: number
  readonly at: Date
  readonly change: Change
  /** Index of the person or group that a `hire` or `found` made, or that the change is about. */
  readonly person?: number
  readonly group?: number
}

export interface LivingPerson extends Person {
  readonly lastSignInIp: string | undefined
  /** Number of the last change of the person's own data (not of groups or sign-ins); 0 before any. */
  readonly version: number
}

export interface LivingGroup extends Group {
  /** When a member last came or went; `updatedAt` before any did. */
  readonly membersUpdatedAt: Date
  /** Numbers of the last change of the group itself, and of its members; 0 before any. */
  readonly version: number
  readonly membersVersion: number
}

/**
 * Indexes below `userCount` and `groupCount` whose bearer has left or was dissolved stay empty: `hasPerson` and
 * `hasGroup` tell, and `person`/`group` still describe what was there last. `findPerson`, `findGroup`, `members` and
 * `isMember` know only who is there.
 */
export interface LivingDirectory extends Directory {
  person(index: number): LivingPerson
  group(index: number): LivingGroup
  hasPerson(index: number): boolean
  hasGroup(index: number): boolean
  /** Indexes of the groups a person is in, ascending. Walks all groups. */
  groupsOf(personIndex: number): readonly number[]
  /** Number of the last happening; 0 before any. */
  readonly sequence: number
  /** Has something happen. @throws RangeError for a change of who or what is not there */
  change(change: Change, at?: Date): Happening
  /** What happened after `sequence`, oldest first, at most `limit`. */
  changesSince(sequence: number, limit?: number): readonly Happening[]
  /** Called after each happening. */
  onChange(listener: (happening: Happening) => void): void
}

interface PersonState {
  edit: PersonEdit
  isGone: boolean
  hiredAt?: Date
  updatedAt?: Date
  lastSignInAt?: Date
  lastSignInIp?: string
  version: number
}

interface GroupState {
  name?: string
  isGone: boolean
  foundedAt?: Date
  updatedAt?: Date
  membersUpdatedAt?: Date
  version: number
  membersVersion: number
  readonly added: Set<number>
  readonly removed: Set<number>
  /** Members in order, while nothing of them has changed. */
  list?: readonly number[]
}

export function createLivingDirectory(options: DirectoryOptions): LivingDirectory {
  const base = createDirectory(options)
  // People and groups do not depend on how many there are.
  const endless = createDirectory({ ...options, users: largestCount, groups: largestCount, devices: 0 })
  const people = new Map<number, PersonState>()
  const groups = new Map<number, GroupState>()
  const gone = new Set<number>()
  const namesNow = new Map<string, number>()
  const happenings: Happening[] = []
  const listeners: ((happening: Happening) => void)[] = []
  let userCount = base.userCount
  let groupCount = base.groupCount

  const within = (kind: string, index: number, count: number) => {
    if (!Number.isInteger(index) || index < 0 || index >= count)
      throw new RangeError(`no ${kind} ${index}: the directory has ${count}`)
  }
  const hasPerson = (index: number) =>
    Number.isInteger(index) && index >= 0 && index < userCount && !gone.has(index)
  const hasGroup = (index: number) =>
    Number.isInteger(index) && index >= 0 && index < groupCount && groups.get(index)?.isGone !== true
  const needPerson = (index: number) => {
    if (!hasPerson(index)) throw new RangeError(`no person ${index} is there`)
  }
  const needGroup = (index: number) => {
    if (!hasGroup(index)) throw new RangeError(`no group ${index} is there`)
  }
  const personState = (index: number): PersonState => {
    const state = people.get(index) ?? { edit: {}, isGone: false, version: 0 }
    people.set(index, state)
    return state
  }
  const groupState = (index: number): GroupState => {
    const state = groups.get(index) ?? {
      isGone: false,
      version: 0,
      membersVersion: 0,
      added: new Set<number>(),
      removed: new Set<number>(),
    }
    groups.set(index, state)
    return state
  }

  const person = (index: number): LivingPerson => {
    within('person', index, userCount)
    const born = endless.person(index)
    const state = people.get(index)
    if (state === undefined) return { ...born, lastSignInIp: undefined, version: 0 }
    const { hiredAt, edit, lastSignInAt } = state
    const userName = edit.userName ?? born.userName
    return {
      ...born,
      ...(hiredAt !== undefined && {
        status: 'active',
        createdAt: hiredAt,
        updatedAt: hiredAt,
        lastSignInAt: undefined,
      }),
      ...edit,
      userName,
      email: `${userName}@${options.domain}`,
      ...(state.updatedAt !== undefined && { updatedAt: state.updatedAt }),
      ...(lastSignInAt !== undefined && { lastSignInAt }),
      lastSignInIp: state.lastSignInIp,
      version: state.version,
    }
  }

  const baseMembers = (index: number, from: number, count: number): readonly number[] =>
    index < base.groupCount ? base.members(index, from, count) : []
  const baseCount = (index: number) => (index < base.groupCount ? base.group(index).memberCount : 0)
  const isBaseMember = (index: number, who: number) =>
    index < base.groupCount && who < base.userCount && base.isMember(index, who)

  /** Members in order; undefined while the group is as it was made. */
  const changedMembers = (index: number): readonly number[] | undefined => {
    const state = groups.get(index)
    if (state === undefined || (state.added.size === 0 && state.removed.size === 0)) return undefined
    state.list ??= [
      ...baseMembers(index, 0, baseCount(index)).filter((who) => !state.removed.has(who)),
      ...state.added,
    ].sort((one, other) => one - other)
    return state.list
  }

  const group = (index: number): LivingGroup => {
    within('group', index, groupCount)
    const born = endless.group(index)
    const state = groups.get(index)
    const updatedAt = state?.updatedAt ?? state?.foundedAt ?? born.updatedAt
    return {
      ...born,
      ...(state?.name !== undefined && { name: state.name }),
      ...(state?.foundedAt !== undefined && { createdAt: state.foundedAt }),
      updatedAt,
      memberCount: changedMembers(index)?.length ?? baseCount(index),
      membersUpdatedAt: state?.membersUpdatedAt ?? updatedAt,
      version: state?.version ?? 0,
      membersVersion: state?.membersVersion ?? 0,
    }
  }

  const isMember = (groupIndex: number, who: number): boolean => {
    within('group', groupIndex, groupCount)
    if (!hasPerson(who) || !hasGroup(groupIndex)) return false
    const state = groups.get(groupIndex)
    if (state?.added.has(who) === true) return true
    return isBaseMember(groupIndex, who) && state?.removed.has(who) !== true
  }

  /** Every group that has a person, found without asking what is known to be empty. */
  const groupsOf = (who: number): number[] => {
    const found: number[] = []
    for (let index = 0; index < groupCount; index++) if (isMember(index, who)) found.push(index)
    return found
  }

  const move = (groupIndex: number, who: number, isIn: boolean, at: Date) => {
    const state = groupState(groupIndex)
    if (isIn) {
      if (!state.removed.delete(who)) state.added.add(who)
    } else if (!state.added.delete(who)) state.removed.add(who)
    delete state.list
    state.membersUpdatedAt = at
    state.membersVersion = happenings.length + 1
  }

  const touch = (index: number, at: Date): PersonState => {
    const state = personState(index)
    state.updatedAt = at
    state.version = happenings.length + 1
    return state
  }

  const rename = (index: number, userName: string | undefined) => {
    if (userName === undefined) return
    const holder = findPerson(userName)
    if (holder !== undefined && holder !== index) throw new RangeError(`the user name ${userName} is taken`)
    namesNow.set(userName, index)
  }

  const findPerson = (text: string): number | undefined => {
    const wanted = text.toLowerCase()
    const suffix = `@${options.domain}`
    const local = wanted.endsWith(suffix) ? wanted.slice(0, -suffix.length) : wanted
    const found = namesNow.get(local) ?? endless.findPerson(wanted)
    if (found === undefined || !hasPerson(found)) return undefined
    const bearer = person(found)
    // Whoever was renamed is not found by the old name.
    return bearer.key === wanted || bearer.userName === local ? found : undefined
  }

  const takePlace = (change: Change, at: Date): Pick<Happening, 'person' | 'group'> => {
    switch (change.what) {
      case 'hire': {
        const index = userCount
        rename(index, change.edit?.userName)
        userCount += 1
        const state = touch(index, at)
        state.hiredAt = at
        state.edit = { ...change.edit }
        if (hasGroup(0)) move(0, index, true, at)
        return { person: index }
      }
      case 'edit': {
        needPerson(change.person)
        rename(change.person, change.edit.userName)
        const state = touch(change.person, at)
        state.edit = { ...state.edit, ...change.edit }
        return { person: change.person }
      }
      case 'leave':
        needPerson(change.person)
        for (const index of groupsOf(change.person)) move(index, change.person, false, at)
        gone.add(change.person)
        touch(change.person, at)
        return { person: change.person }
      case 'return': {
        within('person', change.person, userCount)
        if (hasPerson(change.person)) throw new RangeError(`person ${change.person} is there`)
        gone.delete(change.person)
        const state = touch(change.person, at)
        state.edit = { ...state.edit, status: 'active' }
        if (hasGroup(0)) move(0, change.person, true, at)
        return { person: change.person }
      }
      case 'sign_in': {
        needPerson(change.person)
        const state = personState(change.person)
        state.lastSignInAt = at
        state.lastSignInIp = change.ip
        return { person: change.person }
      }
      case 'found': {
        const index = groupCount
        groupCount += 1
        const state = groupState(index)
        state.name = change.name
        state.foundedAt = at
        state.version = happenings.length + 1
        return { group: index }
      }
      case 'rename': {
        needGroup(change.group)
        const state = groupState(change.group)
        state.name = change.name
        state.updatedAt = at
        state.version = happenings.length + 1
        return { group: change.group }
      }
      case 'dissolve':
        needGroup(change.group)
        groupState(change.group).isGone = true
        groupState(change.group).version = happenings.length + 1
        return { group: change.group }
      case 'join':
      case 'quit': {
        needGroup(change.group)
        needPerson(change.person)
        const isIn = change.what === 'join'
        if (isMember(change.group, change.person) === isIn)
          throw new RangeError(`person ${change.person} is ${isIn ? 'in' : 'not in'} group ${change.group}`)
        move(change.group, change.person, isIn, at)
        return { group: change.group, person: change.person }
      }
    }
  }

  return {
    domain: base.domain,
    get userCount() {
      return userCount
    },
    get groupCount() {
      return groupCount
    },
    deviceCount: base.deviceCount,
    person,
    group,
    device: base.device,
    hasPerson,
    hasGroup,
    findPerson,
    findGroup(text) {
      const found = endless.findGroup(text)
      return found !== undefined && hasGroup(found) ? found : undefined
    },
    members(index, from, count) {
      within('group', index, groupCount)
      if (!hasGroup(index)) return []
      const changed = changedMembers(index)
      return changed === undefined
        ? baseMembers(index, from, count)
        : changed.slice(Math.max(0, from), Math.max(0, from) + Math.max(0, count))
    },
    isMember,
    groupsOf,
    get sequence() {
      return happenings.length
    },
    change(change, at = new Date()) {
      const about = takePlace(change, at)
      const happening = { sequence: happenings.length + 1, at, change, ...about }
      happenings.push(happening)
      for (const listener of listeners) listener(happening)
      return happening
    },
    changesSince: (sequence, limit = Number.POSITIVE_INFINITY) =>
      happenings.slice(sequence, sequence + limit),
    onChange: (listener) => listeners.push(listener),
  }
}
