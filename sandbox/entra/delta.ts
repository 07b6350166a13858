/**
 * Delta queries: what there is, page by page, and then what changed since.
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { SandboxRequest } from '../provider.ts'
import { deviceOf, type GraphObject, groupOf, idOf, userOf } from './directory-objects.ts'
import type { Journal } from './journal.ts'
import { contextOf, GraphRefusal, pick, readOptions, readSelect } from './query.ts'
import type { Tenant } from './tenants.ts'

export type Followed = 'users' | 'groups' | 'devices'

/** Where a round stands. */
interface State {
  readonly of: Followed
  /** Text of `$select`; undefined for the default. */
  readonly select: string | undefined
  /** Number of the last happening already told; undefined when everything has to be told. */
  readonly since: number | undefined
  /** Number of the last happening of this round. */
  readonly until: number
  readonly from: number
  readonly madeAt: number
}

/** A link's token cannot be followed any more: everything has to be read again. */
export class DeltaGone extends GraphRefusal {
  /** A new first request. */
  readonly location: string

  constructor(url: URL) {
    super(
      410,
      'syncStateNotFound',
      'The sync state generation is not found. Restart with a full synchronization.',
    )
    this.location = `${url.origin}${url.pathname}?$deltatoken=`
  }
}

/** @see https://learn.microsoft.com/graph/delta-query-overview#token-duration */
const tokenLifeMs = 7 * 86_400_000
/** Objects of one page, and members told in one page; larger groups come in several parts. Graph chooses them freely. */
const objectsOfPage = 100
const membersOfPage = 500
/** How many changes told before are told again when replays are asked for. */
const replayedChanges = 10
/** How long a deleted user can be restored. */
const restorableMs = 30 * 86_400_000

const relationships = { users: ['manager'], groups: ['members', 'owners'], devices: [] } as const

interface Like {
  readonly type: string
  readonly properties: readonly string[]
  readonly defaults?: readonly string[]
}

export function answerDelta(
  request: SandboxRequest,
  { directory }: Tenant,
  journal: Journal,
  of: Followed,
  like: Like,
  seal: string,
): GraphObject {
  const { url, now } = request
  if (request.faults.has('lost_delta_token')) throw new DeltaGone(url)
  const state = readState(url, of, seal, now, directory.sequence)
  const options = new Map(state.select === undefined ? [] : [['$select', state.select]])
  const selected = new Set([
    'id',
    ...readSelect(options, {
      ...like,
      properties: [...like.properties, ...relationships[of]],
      // Members are told by default. @see https://learn.microsoft.com/graph/delta-query-groups
      defaults: [...(like.defaults ?? like.properties), ...(of === 'groups' ? ['members'] : [])],
    }),
  ])
  const isReplayed = request.faults.has('delta_replays')
  const isMinimal = isReplayed || /\breturn=minimal\b/.test(request.headers.get('prefer') ?? '')
  const context = { '@odata.context': contextOf(url, options) }
  const link = (name: '$skiptoken' | '$deltatoken', next: Partial<State>) =>
    `${url.origin}${url.pathname}?${name}=${sealed({ ...state, madeAt: now.getTime(), ...next }, seal)}`
  const end = () => link('$deltatoken', { since: state.until, from: 0 })

  const tokenAsked = url.searchParams.get('$deltatoken') ?? url.searchParams.get('$deltaToken')
  if (tokenAsked === 'latest') return { ...context, '@odata.deltaLink': end(), value: [] }

  const parts =
    state.since === undefined
      ? everything(state)
      : replayed(
          changes(isReplayed ? state.since - replayedChanges : state.since, state.until, selected),
          isReplayed,
        )
  const value = parts.slice(0, objectsOfPage).map((part) => part())
  return {
    ...context,
    ...(parts.length > objectsOfPage
      ? { '@odata.nextLink': link('$skiptoken', { from: state.from + objectsOfPage }) }
      : { '@odata.deltaLink': end() }),
    value,
  }

  /** Objects from `from` on, each made when it is needed; one more than a page is enough to know that there are more. */
  function everything({ from }: State): readonly (() => GraphObject)[] {
    const wanted = objectsOfPage + 1
    const found: (() => GraphObject)[] = []
    if (of === 'users')
      for (let index = 0, seen = 0; index < directory.userCount && found.length < wanted; index++) {
        if (!directory.hasPerson(index) || seen++ < from) continue
        found.push(() => user(index, undefined, undefined))
      }
    else if (of === 'devices')
      for (let index = from; index < directory.deviceCount && found.length < wanted; index++)
        found.push(() => pick(deviceOf(directory.device(index)), selected))
    else
      for (let index = 0, seen = 0; index < directory.groupCount && found.length < wanted; index++) {
        if (!directory.hasGroup(index)) continue
        const { memberCount } = directory.group(index)
        const isTold = selected.has('members') && memberCount > 0
        for (let at = 0; at < (isTold ? memberCount : 1) && found.length < wanted; at += membersOfPage) {
          if (seen++ < from) continue
          const members = isTold
            ? directory.members(index, at, membersOfPage).map((member) => memberOf(member, true))
            : undefined
          found.push(() => group(index, undefined, members))
        }
      }
    return found
  }

  function changes(since: number, until: number, tracked: ReadonlySet<string>) {
    const isNew = ({ sequence }: { readonly sequence: number }) => sequence > since && sequence <= until
    if (of === 'devices') return []
    if (of === 'users') {
      const notes = journal.users
        .filter(isNew)
        .filter(({ properties }) => properties === undefined || properties.some((name) => tracked.has(name)))
      return [...Map.groupBy(notes, ({ index }) => index)].map(
        ([index, all]) =>
          () =>
            user(index, changedIn(all), all.at(-1)?.formerManager),
      )
    }
    const notes = journal.groups
      .filter(isNew)
      .filter(({ properties, member }) =>
        member === undefined
          ? properties === undefined || properties.some((name) => tracked.has(name))
          : tracked.has('members'),
      )
    return [...Map.groupBy(notes, ({ index }) => index)].flatMap(([index, all]) => {
      const members = [...new Set(all.flatMap(({ member }) => member ?? []))]
      const isOthers = all.some(({ member }) => member === undefined)
      const changed = isOthers
        ? changedIn(all.filter(({ member }) => member === undefined))
        : new Set<string>()
      if (members.length === 0 || !directory.hasGroup(index)) return [() => group(index, changed, undefined)]
      return Array.from(
        { length: Math.ceil(members.length / membersOfPage) },
        (_, part) => () =>
          group(
            index,
            changed,
            members
              .slice(part * membersOfPage, (part + 1) * membersOfPage)
              .map((member) => memberOf(member, directory.isMember(index, member))),
          ),
      )
    })
  }

  /** Each change twice, the last first. */
  function replayed(parts: readonly (() => GraphObject)[], isOn: boolean): readonly (() => GraphObject)[] {
    const all = isOn ? [...parts.toReversed(), ...parts] : parts
    return all.slice(state.from)
  }

  function memberOf(member: number, isIn: boolean): GraphObject {
    return {
      '@odata.type': '#microsoft.graph.user',
      id: idOf(directory.person(member).key),
      ...(!isIn && { '@removed': { reason: 'deleted' } }),
    }
  }

  /** @param changed its properties that changed; undefined when it came or went, or everything is told */
  function user(index: number, changed: ReadonlySet<string> | undefined, formerManager: number | undefined) {
    const person = directory.person(index)
    if (!directory.hasPerson(index)) {
      const isRestorable = now.getTime() - person.updatedAt.getTime() < restorableMs
      return { id: idOf(person.key), '@removed': { reason: isRestorable ? 'changed' : 'deleted' } }
    }
    const { managerIndex } = person
    const isManaged = managerIndex !== undefined && directory.hasPerson(managerIndex)
    const isManagerTold = selected.has('manager') && (changed?.has('manager') ?? true)
    const former = formerManager === undefined ? [] : [memberOf(formerManager, false)]
    const managers = isManaged ? [memberOf(managerIndex, true)] : former
    return {
      ...shown(userOf(person, directory), changed),
      ...(isManagerTold && managers.length > 0 && { 'manager@delta': managers }),
    }
  }

  function group(
    index: number,
    changed: ReadonlySet<string> | undefined,
    members: readonly GraphObject[] | undefined,
  ): GraphObject {
    const described = directory.group(index)
    // Security groups cannot be restored.
    if (!directory.hasGroup(index)) return { id: idOf(described.key), '@removed': { reason: 'deleted' } }
    return {
      ...shown(groupOf(described), changed),
      ...(members !== undefined && { 'members@delta': members }),
    }
  }

  /** What was never set is left out; with `return=minimal` what has not changed, too. */
  function shown(object: GraphObject, changed: ReadonlySet<string> | undefined): GraphObject {
    return Object.fromEntries(
      Object.entries(pick(object, selected)).filter(
        ([name, held]) =>
          name === 'id' ||
          (isMinimal && changed !== undefined ? changed.has(name) : held !== null || changed?.has(name)),
      ),
    )
  }
}

function changedIn(
  notes: readonly { readonly properties?: readonly string[] }[],
): ReadonlySet<string> | undefined {
  return notes.some(({ properties }) => properties === undefined)
    ? undefined
    : new Set(notes.flatMap(({ properties }) => properties ?? []))
}

function readState(url: URL, of: Followed, seal: string, now: Date, sequence: number): State {
  const named = new Map([...url.searchParams].map(([name, value]) => [name.toLowerCase(), value]))
  const token = named.get('$deltatoken') || named.get('$skiptoken')
  if (token !== undefined && token !== '' && token !== 'latest') {
    const state = opened(token, seal)
    if (state?.of !== of) throw new GraphRefusal(400, 'BadRequest', 'Badly formed token.')
    if (now.getTime() - state.madeAt > tokenLifeMs)
      throw new GraphRefusal(
        400,
        'syncStateNotFound',
        'The sync state generation is not found. The delta token is expired and data must be synchronized again.',
      )
    return state.since !== undefined && state.from === 0 ? { ...state, until: sequence } : state
  }
  const rest = new URL(url)
  for (const name of [...rest.searchParams.keys()])
    if (name.toLowerCase() === '$deltatoken') rest.searchParams.delete(name)
  const select = readOptions(rest, []).get('$select')
  return { of, select, since: undefined, until: sequence, from: 0, madeAt: now.getTime() }
}

const signatureOf = (text: string, seal: string) =>
  createHmac('sha256', seal).update(`delta\0${text}`).digest('base64url').slice(0, 22)

function sealed({ of, select = null, since = null, until, from, madeAt }: SealedState, seal: string): string {
  const text = Buffer.from(JSON.stringify([of, select, since, until, from, madeAt])).toString('base64url')
  return `${text}.${signatureOf(text, seal)}`
}

type SealedState = Omit<State, 'select' | 'since'> & {
  readonly select?: string | null | undefined
  readonly since?: number | null | undefined
}

function opened(token: string, seal: string): State | undefined {
  const [text = '', signature = ''] = token.split('.')
  const expected = Buffer.from(signatureOf(text, seal))
  const given = Buffer.from(signature)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
  const [of, select, since, until, from, madeAt] = JSON.parse(
    Buffer.from(text, 'base64url').toString(),
  ) as readonly [Followed, string | null, number | null, number, number, number]
  return { of, select: select ?? undefined, since: since ?? undefined, until, from, madeAt }
}
