/** What a delta query has to tell of a tenant's directory: which objects a change touched, and who came to or left a group. */
import type { Happening, LivingDirectory } from '../living-directory.ts'

export interface UserNote {
  readonly sequence: number
  readonly index: number
  /** Properties and relationships that changed; undefined for somebody who came or went. */
  readonly properties?: readonly string[]
  /** Whose report the user was until then, when that manager has left. */
  readonly formerManager?: number
}

export interface GroupNote {
  readonly sequence: number
  readonly index: number
  readonly properties?: readonly string[]
  /** Person who came or went; whether they are there now is for the directory to say. */
  readonly member?: number
}

export interface Journal {
  readonly users: readonly UserNote[]
  readonly groups: readonly GroupNote[]
}

/** Properties of a user that follow from an edit of a person. */
const touched: Readonly<Record<string, readonly string[]>> = {
  givenName: ['givenName', 'displayName'],
  familyName: ['surname', 'displayName'],
  userName: ['userPrincipalName', 'mail', 'proxyAddresses'],
  title: ['jobTitle'],
  department: ['department', 'employeeOrgData'],
  city: ['city', 'officeLocation'],
  countryCode: ['country', 'usageLocation'],
  managerIndex: ['manager'],
  status: ['accountEnabled', 'userType', 'externalUserState', 'creationType'],
  // Registered methods are kept elsewhere: no delta query tells of them.
  hasMfa: [],
}

export function keepJournal(directory: LivingDirectory): Journal {
  const users: UserNote[] = []
  const groups: GroupNote[] = []
  /** People whose manager is not the one they were made with. */
  const moved = new Set<number>()

  const reportsOf = (manager: number): readonly number[] => {
    const born = Array.from({ length: 8 }, (_, position) => manager * 8 + 1 + position)
    return [...new Set([...born, ...moved])].filter(
      (index) => directory.hasPerson(index) && directory.person(index).managerIndex === manager,
    )
  }

  const note = ({ sequence, change, person = 0, group = 0 }: Happening) => {
    switch (change.what) {
      case 'hire':
        if (change.edit?.managerIndex !== undefined) moved.add(person)
        users.push({ sequence, index: person })
        if (directory.hasGroup(0)) groups.push({ sequence, index: 0, member: person })
        break
      case 'edit': {
        if (change.edit.managerIndex !== undefined) moved.add(person)
        const properties = Object.keys(change.edit).flatMap((name) => touched[name] ?? [])
        if (properties.length > 0) users.push({ sequence, index: person, properties })
        break
      }
      case 'leave':
      case 'return':
        users.push({ sequence, index: person })
        for (const index of reportsOf(person))
          users.push({
            sequence,
            index,
            properties: ['manager'],
            ...(change.what === 'leave' && { formerManager: person }),
          })
        for (let index = 0; index < directory.groupCount; index++)
          if (directory.group(index).membersVersion === sequence)
            groups.push({ sequence, index, member: person })
        break
      case 'found':
      case 'dissolve':
        groups.push({ sequence, index: group })
        break
      case 'rename':
        groups.push({ sequence, index: group, properties: ['displayName'] })
        break
      case 'join':
      case 'quit':
        groups.push({ sequence, index: group, member: person })
        break
      case 'sign_in':
        // Kept elsewhere.
        break
    }
  }
  directory.changesSince(0).forEach(note)
  directory.onChange(note)
  return { users, groups }
}
