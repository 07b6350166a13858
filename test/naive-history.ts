/** What the store has to know after each run, told in the plainest way: everything anew, in maps, without a database. */
import {
  type Activity,
  type Entity,
  type EntityKind,
  entityKinds,
  type FactName,
} from '../src/entities/model.ts'
import type { Page } from '../src/sources/reading.ts'
import type { Merge } from '../src/store/merge.ts'
import type { StagedPage } from '../src/store/sync-stage.ts'
import { canonicalJson } from '../src/sync/staging.ts'

/** What was known of an entity for a while. */
export interface Known {
  readonly kind: EntityKind
  readonly uid: string
  readonly attributes: Entity['attributes']
  readonly raw: unknown
  readonly facts: Readonly<Record<string, unknown>>
  readonly groups: readonly { readonly uid: string; readonly name: string }[]
  readonly openedIn: number
  readonly closedIn?: number
  readonly lastSeenIn?: number
  activity: Activity
}

export type ToldPage = Page & Pick<StagedPage, 'kept'>

export type Told = Pick<
  Merge,
  'mode' | 'completeKinds' | 'provenKinds' | 'areMembershipsComplete' | 'completeFacts'
> & { readonly pages: readonly ToldPage[] }

export interface Outcome {
  readonly open: ReadonlyMap<string, Known>
  readonly added: number
  readonly changed: number
  readonly removed: Readonly<Record<EntityKind, number>>
  readonly isTooMuch: boolean
}

const keyOf = (kind: EntityKind, uid: string) => `${kind} ${uid}`

export class NaiveHistory {
  /** Number of the last merge. */
  sequence = 0
  open: ReadonlyMap<string, Known> = new Map()
  readonly closed: Known[] = []
  /** What was open after each merge, by its number. */
  readonly states: ReadonlyMap<string, Known>[] = [new Map()]
  /** The merge that each kind was last proved by. */
  readonly seenIn = new Map<EntityKind, number>()
  /** The increment that last told of each entity. */
  readonly toldIn = new Map<string, number>()

  /** What a run would come to; `since` is the merge before the run began, for one that was approved later. */
  outcomeOf(told: Told, fuse: Merge['fuse'], since = this.sequence): Outcome {
    const newer = fuse === 'approved' ? this.touchedSince(since) : new Set<string>()
    const entities = lastEntities(told.pages)
    const facts = lastFacts(told)
    const whole = namesToldWhole(told)
    const activities = lastActivities(told.pages)
    const kept = new Set(
      told.pages.flatMap((page) => (page.kept ?? []).map(({ kind, uid }) => keyOf(kind, uid))),
    )
    const present = new Map<string, Omit<Known, 'groups' | 'openedIn'>>()

    for (const key of new Set([...this.open.keys(), ...entities.keys()])) {
      const known = this.open.get(key)
      const entity = newer.has(key) ? undefined : entities.get(key)
      if (entity === null) continue
      if (entity === undefined) {
        const isMissed = known !== undefined && told.completeKinds.includes(known.kind)
        if (known === undefined || (isMissed && !kept.has(key) && !newer.has(key))) continue
      }
      const subject = entity ?? known
      if (subject === undefined) continue
      present.set(key, {
        kind: subject.kind,
        uid: subject.attributes.uid,
        attributes: subject.attributes,
        raw: subject.raw ?? {},
        facts: newer.has(key)
          ? (known?.facts ?? {})
          : factsAfter(told, known?.facts ?? {}, facts.get(key) ?? {}, whole.get(key) ?? []),
        activity: activityAfter(
          known?.activity,
          activityAfter(entity?.activity, newer.has(key) ? {} : activities.get(key)),
        ),
      })
    }

    const names = new Map<string, string>()
    for (const { kind, attributes } of present.values())
      if (kind === 'group') names.set(attributes.uid, attributes.name ?? '')
    const renewed = new Set(told.pages.flatMap((page) => page.changedGroups ?? []).map(({ uid }) => uid))
    const memberships = lastMemberships(told.pages)
    const open = new Map<string, Known>()
    let [added, changed, lost, before] = [0, 0, 0, 0]
    for (const { groups } of this.open.values()) before += groups.length
    for (const [key, one] of present) {
      const known = this.open.get(key)
      const was = (known?.groups ?? []).map(({ uid }) => uid)
      const is = new Set<string>()
      const isOld =
        told.areMembershipsComplete && !newer.has(key)
          ? () => false
          : (uid: string) =>
              newer.has(key) ||
              (!(renewed.has(uid) && !kept.has(keyOf('group', uid))) &&
                memberships.get(`${uid} ${one.uid}`) !== 'removed')
      for (const uid of was) if (isOld(uid)) is.add(uid)
      if (!newer.has(key))
        for (const [pair, change] of memberships) {
          const [uid = '', member] = pair.split(' ')
          if (member === one.uid && change !== 'removed') is.add(uid)
        }
      const groups = [...is]
        .filter((uid) => names.has(uid))
        .sort()
        .map((uid) => ({ uid, name: names.get(uid) ?? '' }))
      lost += known === undefined ? 0 : was.filter((uid) => !groups.some((group) => group.uid === uid)).length
      const isSame = known !== undefined && contentOf({ ...one, groups }) === contentOf(known)
      if (known === undefined) added += 1
      else if (!isSame) changed += 1
      open.set(
        key,
        isSame ? { ...known, activity: one.activity } : { ...one, groups, openedIn: this.sequence + 1 },
      )
    }
    const removed = { identity: 0, group: 0, device: 0 }
    const were = { identity: 0, group: 0, device: 0 }
    for (const [key, { kind }] of this.open) {
      were[kind] += 1
      if (!open.has(key)) removed[kind] += 1
    }
    return {
      open,
      added,
      changed,
      removed,
      isTooMuch:
        fuse !== 'approved' &&
        told.mode === 'full' &&
        (entityKinds.some((kind) => isTooMuch(fuse, removed[kind], were[kind])) ||
          isTooMuch(fuse, lost, before) ||
          told.completeKinds.some(
            (kind) =>
              were[kind] > 0 &&
              ![...entities].some(([key, entity]) => key.startsWith(kind) && entity !== null),
          ) ||
          (told.areMembershipsComplete && memberships.size === 0 && lost > 0)),
    }
  }

  /** Has a merge take place. */
  accept({ provenKinds, mode, pages }: Told, { open }: Outcome): void {
    this.sequence += 1
    if (mode === 'incremental') for (const key of keysTold(pages)) this.toldIn.set(key, this.sequence)
    for (const [key, known] of this.open) {
      if (open.get(key)?.openedIn === known.openedIn) continue
      this.closed.push({
        ...known,
        closedIn: this.sequence,
        lastSeenIn: Math.max(known.openedIn, this.seenIn.get(known.kind) ?? 0),
      })
    }
    for (const { kind, openedIn } of open.values())
      if (openedIn === this.sequence && !this.seenIn.has(kind)) this.seenIn.set(kind, this.sequence)
    for (const kind of provenKinds) this.seenIn.set(kind, this.sequence)
    this.open = open
    this.states.push(open)
  }

  private touchedSince(since: number): Set<string> {
    const touched = [...this.open.values(), ...this.closed].filter(
      ({ openedIn, closedIn = 0 }) => openedIn > since || closedIn > since,
    )
    const told = [...this.toldIn].filter(([, sequence]) => sequence > since)
    return new Set([...touched.map(({ kind, uid }) => keyOf(kind, uid)), ...told.map(([key]) => key)])
  }
}

/** Of whom pages tell more than their activity. */
const keysTold = (pages: readonly ToldPage[]): string[] =>
  pages.flatMap((page) => {
    const {
      entities = [],
      removed = [],
      facts = [],
      wholeFacts = [],
      memberships = [],
      changedGroups = [],
    } = page
    return [
      ...entities.map(({ kind, attributes }) => keyOf(kind, attributes.uid)),
      ...[...removed, ...facts, ...wholeFacts].map(({ kind, uid }) => keyOf(kind, uid)),
      ...memberships.flatMap(({ group, member }) => [
        keyOf('group', group),
        ...entityKinds.map((kind) => keyOf(kind, member)),
      ]),
      ...changedGroups.map(({ uid }) => keyOf('group', uid)),
    ]
  })

const isTooMuch = (fuse: Exclude<Merge['fuse'], 'approved'>, lost: number, of: number) =>
  lost >= fuse.atLeast && lost / of > fuse.percent / 100

export const contentOf = ({
  attributes,
  raw,
  facts,
  groups,
}: Pick<Known, 'attributes' | 'raw' | 'facts' | 'groups'>) =>
  canonicalJson([
    attributes,
    raw,
    Object.entries(facts).sort(([one], [other]) => (one < other ? -1 : 1)),
    groups,
  ])

function lastEntities(pages: readonly ToldPage[]): Map<string, Entity | null> {
  const last = new Map<string, Entity | null>()
  for (const { entities = [], removed = [] } of pages) {
    for (const entity of entities) last.set(keyOf(entity.kind, entity.attributes.uid), entity)
    for (const { kind, uid } of removed) last.set(keyOf(kind, uid), null)
  }
  return last
}

function lastFacts({ pages, mode, completeFacts }: Told): Map<string, Record<string, unknown>> {
  const last = new Map<string, Record<string, unknown>>()
  for (const page of pages) {
    for (const { kind, uid, names } of mode === 'full' ? [] : (page.wholeFacts ?? []))
      for (const name of names) delete last.get(keyOf(kind, uid))?.[name]
    for (const { kind, uid, name, value } of page.facts ?? []) {
      if (mode === 'full' && !completeFacts.includes(name)) continue
      const key = keyOf(kind, uid)
      const facts = last.get(key) ?? {}
      last.set(key, facts)
      if (name === 'has_mfa') facts[name] = value
      else
        facts[name] = [...new Set([...((facts[name] as string[] | undefined) ?? []), String(value)])].sort()
    }
  }
  return last
}

function namesToldWhole({ pages, mode }: Told): Map<string, FactName[]> {
  const whole = new Map<string, FactName[]>()
  for (const { kind, uid, names } of mode === 'full'
    ? []
    : pages.flatMap(({ wholeFacts = [] }) => wholeFacts))
    whole.set(keyOf(kind, uid), [...(whole.get(keyOf(kind, uid)) ?? []), ...names])
  return whole
}

function factsAfter(
  { completeFacts }: Told,
  known: Readonly<Record<string, unknown>>,
  told: Readonly<Record<string, unknown>>,
  whole: readonly FactName[],
) {
  const left = Object.entries(known).filter(
    ([name]) => ![...completeFacts, ...whole].includes(name as FactName),
  )
  return { ...Object.fromEntries(left), ...told }
}

function lastActivities(pages: readonly ToldPage[]): Map<string, Activity> {
  const last = new Map<string, Activity>()
  for (const { kind, uid, activity } of pages.flatMap(({ activities = [] }) => activities)) {
    const key = keyOf(kind, uid)
    if (signedInAt(activity) >= signedInAt(last.get(key))) last.set(key, activity)
  }
  return last
}

const signedInAt = (activity: Activity | undefined) => activity?.last_login_time ?? ''

/** The address goes with the time, and no sign-in before the known one counts. */
function activityAfter(known: Activity = {}, told: Activity = {}): Activity {
  const { last_login_time, last_login_ip, ...others } = told
  if (last_login_time !== undefined && last_login_time < signedInAt(known)) return { ...known, ...others }
  if (last_login_time === undefined || last_login_time === known.last_login_time) return { ...known, ...told }
  const { last_login_ip: _earlier, ...rest } = known
  return { ...rest, ...told }
}

function lastMemberships(pages: readonly ToldPage[]): Map<string, 'added' | 'removed'> {
  const last = new Map<string, 'added' | 'removed'>()
  for (const { group, member, change = 'added' } of pages.flatMap(({ memberships = [] }) => memberships))
    last.set(`${group} ${member}`, change)
  return last
}
