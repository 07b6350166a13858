/** Entities as a run stages them: documents in one canonical text, with their ids and terms. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Activity,
  type Entity,
  type EntityKind,
  entityId,
  type Fact,
  type Membership,
} from '../entities/model.ts'
import { keysOf, labelOf, termsOf } from '../entities/terms.ts'
import { cleanText } from '../outbound/clean-text.ts'
import type { Page } from '../sources/reading.ts'
import {
  documentHash,
  type Stage,
  type StagedDocument,
  type StagedEntity,
  type StagedPage,
} from '../store/sync-stage.ts'
import type { Unreadable } from './progress.ts'

export interface Staged {
  readonly page: StagedPage
  /** Entities, memberships and facts. */
  readonly rows: number
  readonly unreadable: readonly Unreadable[]
}

export interface Owner {
  readonly organizationId: string
  readonly configId: string
  /** Name of the source, for the terms. */
  readonly source: string
}

/** Entities that are staged before others have a turn of the event loop. */
const atATime = 200
/** In characters; no provider's is longer, and an index takes no more. */
const maxUidLength = 512

/** An id as a key may be kept; what a provider would have to be mistaken to send is not. */
const isUid = (uid: string) =>
  uid !== '' && uid.length <= maxUidLength && !uid.includes('\0') && uid.isWellFormed()

export interface Subjects {
  readonly list: string
  /** Of which the list tells the entities: an unreadable one of them is there all the same. */
  readonly kinds: readonly EntityKind[]
  /** Whose members or groups the page tells: when some cannot be read, all that are known stay. */
  readonly told?: { readonly kind: EntityKind; readonly uid: string }
}

export async function stagePage(
  owner: Owner,
  stage: Pick<Stage, 'unchanged'>,
  page: Page,
  { list, kinds, told }: Subjects,
): Promise<Staged> {
  const read: Read[] = []
  const unreadable: Unreadable[] = []
  for (const [index, entity] of (page.entities ?? []).entries()) {
    if (index > 0 && index % atATime === 0) await nextTurn()
    if (isUid(entity.attributes.uid)) read.push(readEntity(owner, entity))
    else unreadable.push({ list, kind: entity.kind, reason: 'its id is none that could be kept' })
  }
  const entities = await stageEntities(owner, stage, read)
  for (const { kind, uid, reason } of page.unreadable ?? [])
    unreadable.push({
      list,
      kind,
      ...(uid !== undefined && isUid(uid) && { uid }),
      reason: cleanText(reason),
    })
  const memberships = (page.memberships ?? []).filter(isKept)
  const facts = (page.facts ?? []).filter(({ uid }) => isUid(uid)).map(cleanFact)
  return {
    page: {
      entities,
      memberships,
      facts,
      wholeFacts: (page.wholeFacts ?? []).filter(({ uid }) => isUid(uid)),
      activities: (page.activities ?? [])
        .filter(({ uid }) => isUid(uid))
        .map(({ kind, uid, activity }) => ({ kind, uid, activity: activityText(activity) })),
      removed: (page.removed ?? []).filter(({ uid }) => isUid(uid)),
      changedGroups: (page.changedGroups ?? []).filter(({ uid }) => isUid(uid)),
      kept: [
        ...unreadable.flatMap(({ kind, uid }) =>
          uid === undefined || !kinds.includes(kind) ? [] : { kind, uid },
        ),
        ...(told !== undefined && unreadable.length > 0 ? [told] : []),
      ],
    },
    rows: entities.length + memberships.length + facts.length,
    unreadable,
  }
}

/** Tells nothing. */
export const emptyPage: StagedPage = {
  entities: [],
  memberships: [],
  facts: [],
  activities: [],
  removed: [],
  changedGroups: [],
}

/** Nothing was told of it: what is known stays. */
export const unreadPage = (kept: { readonly kind: EntityKind; readonly uid: string }) => ({
  page: { ...emptyPage, kept: [kept] },
  rows: 0,
  isUnread: true,
})

const isKept = ({ group, member }: Membership) => isUid(group) && isUid(member)

const cleanFact = (fact: Fact): Fact =>
  typeof fact.value === 'string' ? ({ ...fact, value: storable(fact.value) } as Fact) : fact

/** An entity with what it would be staged as. */
interface Read {
  readonly entity: Entity
  readonly staged: Omit<StagedEntity, 'document'>
  readonly texts: Pick<StagedDocument, 'attributes' | 'raw'>
}

/** Most entities are as they were known: what they are found by is not made once more, nor their document staged. */
async function stageEntities(
  { source }: Owner,
  stage: Pick<Stage, 'unchanged'>,
  read: readonly Read[],
): Promise<StagedEntity[]> {
  const unchanged = await stage.unchanged(read.map(({ staged }) => staged))
  const entities: StagedEntity[] = []
  for (const [index, { entity, staged, texts }] of read.entries()) {
    if (index > 0 && index % atATime === 0) await nextTurn()
    if (unchanged.has(staged.entityId)) entities.push(staged)
    else {
      const terms = termsOf(entity, source).map(storable)
      entities.push({ ...staged, document: { ...texts, terms, keys: keysOf(entity).map(storable) } })
    }
  }
  return entities
}

function readEntity({ organizationId, configId }: Owner, entity: Entity): Read {
  const { kind, attributes, raw, activity } = entity
  const texts = {
    attributes: canonicalJson(attributes),
    raw: raw === undefined ? '{}' : canonicalJson(raw),
  }
  const staged = {
    kind,
    uid: attributes.uid,
    entityId: entityId(organizationId, configId, kind, attributes.uid),
    documentHash: documentHash(texts),
    activity: activityText(activity),
    label: storable(labelOf(entity)),
    ...('memberCount' in entity && entity.memberCount !== undefined && { memberCount: entity.memberCount }),
    ...('membersTag' in entity &&
      entity.membersTag !== undefined && { membersTag: storable(entity.membersTag) }),
  }
  return { entity, staged, texts }
}

const activityText = (activity: Activity | undefined) =>
  activity === undefined ? '{}' : canonicalJson(activity)

/** PostgreSQL keeps neither NUL nor half a surrogate pair. */
function storable(text: string): string {
  const whole = text.isWellFormed() ? text : text.toWellFormed()
  return whole.includes('\0') ? whole.replaceAll('\0', '') : whole
}

/** The same text for equal documents, in whatever order their members came. */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(inOrder(value)) ?? 'null'
  return unstorable.test(text) ? JSON.stringify(JSON.parse(text, storableMember)) : text
}

/** How JSON writes NUL and half a surrogate pair, or text that looks so. */
const unstorable = /\\u(?:0000|d[89a-f])/

const storableMember = (_name: string, value: unknown): unknown => {
  if (typeof value === 'string') return storable(value)
  if (!isObject(value)) return value
  return Object.keys(value).every((name) => storable(name) === name)
    ? value
    : Object.fromEntries(Object.entries(value).map(([name, member]) => [storable(name), member]))
}

/** The value itself where its members are in order already. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(inOrder)
    return items.every((item, at) => item === value[at]) ? value : items
  }
  if (!isObject(value)) return value
  const names = Object.keys(value)
  const order = orderOf(names)
  if (order === names && names.every((name) => inOrder(value[name]) === value[name])) return value
  // By assignment, a member of the name `__proto__` would become the prototype.
  if (order.includes('__proto__'))
    return Object.fromEntries(order.map((name) => [name, inOrder(value[name])]))
  const copy: Record<string, unknown> = {}
  for (const name of order) copy[name] = inOrder(value[name])
  return copy
}

/** Most documents have the members of one before, in the same order: they are sorted once. */
const orders = new Map<string, readonly string[]>()
const mostOrders = 1_000

/** `names` sorted; themselves when they are. */
function orderOf(names: readonly string[]): readonly string[] {
  if (names.every((name, at) => at === 0 || (names[at - 1] ?? '') < name)) return names
  const key = JSON.stringify(names)
  const known = orders.get(key)
  if (known !== undefined) return known
  const order = names.toSorted()
  if (orders.size >= mostOrders) orders.clear()
  orders.set(key, order)
  return order
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
