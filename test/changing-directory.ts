/** Many small directories in one, which change as they are told, and tell of themselves as providers do. */
import type { Activity, Entity, Fact, Membership } from '../src/entities/model.ts'
import type { ToldPage } from './naive-history.ts'

export const changes = [
  'hire',
  'leave',
  'edit',
  'annotate',
  'sign in',
  'found',
  'rename',
  'dissolve',
  'join',
  'part',
  'nest',
  'grant',
  'revoke',
  'enrol',
  'deliver',
  'scrap',
] as const

/** One change in one of the small directories; what `a`, `b` and `v` mean depends on it. */
export interface Change {
  readonly island: number
  readonly what: (typeof changes)[number]
  readonly a: number
  readonly b: number
  readonly v: number
}

interface User {
  title: string
  note: string
  roles: string[]
  hasMfa?: boolean
  activity: Activity
}

export interface Directory {
  readonly users: Map<string, User>
  readonly groups: Map<string, { name: string; members: string[] }>
  readonly devices: Map<string, { model: string }>
}

export const emptyDirectory = (): Directory => ({ users: new Map(), groups: new Map(), devices: new Map() })

export function apply({ users, groups, devices }: Directory, { island, what, a, b, v }: Change): void {
  const uid = `${island}u${a}`
  const groupUid = `${island}g${b}`
  const user = users.get(uid)
  const group = groups.get(groupUid)
  const add = (list: string[], value: string) => {
    if (!list.includes(value)) list.push(value)
  }
  const drop = (list: string[], value: string) => {
    if (list.includes(value)) list.splice(list.indexOf(value), 1)
  }
  switch (what) {
    case 'hire':
      if (user === undefined) users.set(uid, { title: `t${v}`, note: '', roles: [], activity: {} })
      break
    case 'leave':
      users.delete(uid)
      // Some providers go on telling of members that are gone.
      if (v > 0) for (const { members } of groups.values()) drop(members, uid)
      break
    case 'edit':
      if (user !== undefined) user.title = `t${v}`
      break
    case 'annotate':
      if (user !== undefined) user.note = ['', 'tab\tand\nline', 'back\\slash "quoted"', "it's ✓ 𝒳"][v] ?? ''
      break
    case 'sign in':
      if (user !== undefined)
        user.activity = {
          ...(b > 0 && { last_login_ip: `10.0.0.${v}` }),
          last_login_time: `2026-01-0${a + 1}T0${v}:00:00.000Z`,
        }
      break
    case 'found':
      if (group === undefined) groups.set(groupUid, { name: `n${v}`, members: [] })
      break
    case 'rename':
      if (group !== undefined) group.name = `n${v}`
      break
    case 'dissolve':
      groups.delete(groupUid)
      break
    case 'join':
      if (group !== undefined) add(group.members, uid)
      break
    case 'part':
      if (group !== undefined) drop(group.members, uid)
      break
    case 'nest':
      if (group !== undefined) add(group.members, `${island}g${v % 3}`)
      break
    case 'grant':
      if (user !== undefined) add(user.roles, `Role ${v}`)
      break
    case 'revoke':
      if (user !== undefined) drop(user.roles, `Role ${v}`)
      break
    case 'enrol':
      if (user !== undefined) user.hasMfa = v > 0
      break
    case 'deliver':
      // Devices and users may have the same id.
      devices.set(uid, { model: `m${v}` })
      break
    case 'scrap':
      devices.delete(uid)
      break
  }
}

const userEntity = (uid: string, { title, note, activity }: User): Entity => ({
  kind: 'identity',
  attributes: { uid, name: `${uid}@acme.example`, status: 'active', job_title: title },
  ...(note !== '' && { raw: { note } }),
  activity,
})

const groupEntity = (uid: string, name: string): Entity => ({ kind: 'group', attributes: { uid, name } })

const deviceEntity = (uid: string, model: string): Entity => ({ kind: 'device', attributes: { uid, model } })

const factsOf = (uid: string, { roles, hasMfa }: User): Fact[] => [
  ...roles.map((value): Fact => ({ kind: 'identity', uid, name: 'roles', value })),
  ...(hasMfa === undefined ? [] : [{ kind: 'identity', uid, name: 'has_mfa', value: hasMfa } as const]),
]

/** How much of itself a directory tells in a full run. */
export interface Fullness {
  /** Users of one small directory in so many are left out, as by a provider that fails; 0 for none. */
  readonly missing: number
  /** The same for users that cannot be read. */
  readonly unreadable: number
  /** Whether the list of devices is read to its end, or half of it. */
  readonly hasDevices: boolean
  readonly hasMemberships: boolean
}

/** All it is, in pieces of one item each. */
export function tellAll({ users, groups, devices }: Directory, fullness: Fullness): ToldPage[] {
  const isIn = (uid: string, one: number) => one > 0 && Number.parseInt(uid, 10) % one === 0
  const told: ToldPage[] = []
  for (const [uid, user] of users) {
    if (isIn(uid, fullness.missing)) continue
    told.push(
      isIn(uid, fullness.unreadable)
        ? { kept: [{ kind: 'identity', uid }] }
        : { entities: [userEntity(uid, user)] },
    )
    for (const fact of factsOf(uid, user)) told.push({ facts: [fact] })
  }
  for (const [uid, { name }] of groups) told.push({ entities: [groupEntity(uid, name)] })
  const half = <T>(list: readonly T[], isWhole: boolean) => list.slice(isWhole ? 0 : list.length / 2)
  for (const [uid, { model }] of half([...devices], fullness.hasDevices))
    told.push({ entities: [deviceEntity(uid, model)] })
  const memberships = [...groups].flatMap(([group, { members }]) =>
    members.map((member) => ({ group, member })),
  )
  for (const membership of half(memberships, fullness.hasMemberships))
    told.push({ memberships: [membership] })
  return told
}

/** Of every other user, facts are told whole: those that are not told are gone. */
function factPieces(uid: string, user: User): ToldPage[] {
  const facts = factsOf(uid, user)
  if (Number.parseInt(uid, 10) % 2 === 0) return facts.map((fact) => ({ facts: [fact] }))
  return [{ wholeFacts: [{ kind: 'identity', uid, names: ['roles', 'has_mfa'] }], facts }]
}

/** What is different from before, in pieces of one item each. */
export function tellChanges(before: Directory, now: Directory): ToldPage[] {
  const told: ToldPage[] = []
  for (const [uid, user] of now.users) {
    const was = before.users.get(uid)
    if (was === undefined || was.title !== user.title || was.note !== user.note)
      told.push({ entities: [userEntity(uid, user)] })
    else if (JSON.stringify(was.activity) !== JSON.stringify(user.activity))
      told.push({ activities: [{ kind: 'identity', uid, activity: user.activity }] })
    if (JSON.stringify(was?.roles) !== JSON.stringify(user.roles) || was?.hasMfa !== user.hasMfa)
      for (const piece of factPieces(uid, user)) told.push(piece)
  }
  for (const [uid, { name, members }] of now.groups) {
    const was = before.groups.get(uid)
    if (was?.name !== name) told.push({ entities: [groupEntity(uid, name)] })
    const isWhole = was === undefined || members.length % 2 === 0
    if (isWhole && members.join() !== was?.members.join()) {
      told.push({ changedGroups: [{ uid, memberCount: members.length }] })
      for (const member of members) told.push({ memberships: [{ group: uid, member }] })
    }
    if (isWhole) continue
    const change = (member: string, change: NonNullable<Membership['change']>) =>
      told.push({ memberships: [{ group: uid, member, change }] })
    for (const member of members) if (!was.members.includes(member)) change(member, 'added')
    for (const member of was.members) if (!members.includes(member)) change(member, 'removed')
  }
  for (const [uid, { model }] of now.devices)
    if (before.devices.get(uid)?.model !== model) told.push({ entities: [deviceEntity(uid, model)] })
  const goneFrom = (was: ReadonlyMap<string, unknown>, is: ReadonlyMap<string, unknown>) =>
    [...was.keys()].filter((uid) => !is.has(uid))
  for (const uid of goneFrom(before.users, now.users)) told.push({ removed: [{ kind: 'identity', uid }] })
  for (const uid of goneFrom(before.groups, now.groups)) told.push({ removed: [{ kind: 'group', uid }] })
  for (const uid of goneFrom(before.devices, now.devices)) told.push({ removed: [{ kind: 'device', uid }] })
  return told
}

/** Pieces together in pages of the sizes given, over and over. */
export function paged(pieces: readonly ToldPage[], sizes: readonly number[]): ToldPage[] {
  const pages: ToldPage[] = []
  for (let at = 0, turn = 0; at < pieces.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    pages.push(joined(pieces.slice(at, at + size)))
    at += size
  }
  return pages
}

function joined(pieces: readonly ToldPage[]): ToldPage {
  const all = <K extends keyof ToldPage>(name: K) =>
    pieces.flatMap((piece) => (piece[name] ?? []) as readonly unknown[])
  return {
    entities: all('entities'),
    memberships: all('memberships'),
    facts: all('facts'),
    wholeFacts: all('wholeFacts'),
    activities: all('activities'),
    removed: all('removed'),
    changedGroups: all('changedGroups'),
    kept: all('kept'),
  } as ToldPage
}

export const copyOf = (directory: Directory): Directory => structuredClone(directory)
