/** Reads Entra ID as a sync does, page by page, into maps: a small stand-in for the engine. */
import assert from 'node:assert/strict'
import type { Activity, Entity, EntityKind, Fact } from '../src/entities/model.ts'
import { createOutbound, type Outbound } from '../src/outbound/outbound.ts'
import { entraId } from '../src/sources/entra-id/index.ts'
import { reader } from '../src/sources/entra-id/reader.ts'
import type { ReadingSession } from '../src/sources/entra-id/reading-session.ts'
import type { IncrementList, Json, Page } from '../src/sources/reading.ts'
import type { SourceTools, Target } from '../src/sources/source.ts'

export interface Known {
  readonly entities: Map<string, Entity>
  /** `group member`. */
  readonly memberships: Set<string>
  /** Of an entity and name, its values. */
  readonly facts: Map<string, Set<string | boolean>>
  readonly activities: Map<string, Activity>
  readonly unreadable: NonNullable<Page['unreadable']>[number][]
  /** Optional lists that were refused. */
  readonly leftOut: string[]
  marks: Record<string, Json>
  pages: number
}

export const keyOf = (kind: EntityKind, uid: string) => `${kind} ${uid}`

export const entraOutbound = (sandbox: {
  readonly endpoints: Readonly<Record<string, string>>
  readonly authority?: string
}): Outbound =>
  createOutbound({
    endpoints: new Map(Object.entries(sandbox.endpoints).map(([host, origin]) => [host, new URL(origin)])),
    endpointAuthorities: [sandbox.authority ?? ''],
  })

/** A session of one run, and how to end it. */
export function openRun(
  outbound: Outbound,
  secrets: object,
  { domain = 'acme.com', now = () => new Date() }: { domain?: string; now?: () => Date } = {},
) {
  const read = entraId.readCredentials({ ...secrets })
  assert.ok(read.ok)
  const target: Target<typeof read.credentials> = { domain, credentials: read.credentials }
  const stop = new AbortController()
  const http = outbound.open(entraId.egress(target), stop.signal, Number.POSITIVE_INFINITY, 4 * 1024 * 1024)
  const tools: SourceTools = { http, signal: stop.signal, now }
  return { session: reader.open(target, tools), target, close: () => http.close() }
}

/** More pages than any list of these tests has. */
const mostPages = 2_000

/** All pages of a list, each handed over as it comes. */
export async function walk(
  read: (cursor: Json | undefined) => Promise<Page>,
  take: (page: Page) => void,
): Promise<Page> {
  let cursor: Json | undefined
  for (let pages = 0; pages < mostPages; pages++) {
    // A cursor is stored between pages.
    const page = await read(cursor === undefined ? undefined : JSON.parse(JSON.stringify(cursor)))
    take(page)
    if (page.next === undefined) return page
    assert.notDeepEqual(page.next, cursor)
    cursor = page.next
  }
  throw new Error('the list does not end')
}

export async function readAll(
  session: ReadingSession,
  only: readonly string[] = reader.lists.map(({ name }) => name),
): Promise<Known> {
  const known: Known = {
    entities: new Map(),
    memberships: new Set(),
    facts: new Map(),
    activities: new Map(),
    unreadable: [],
    leftOut: [],
    marks: {},
    pages: 0,
  }
  const attempt = async (name: string, required: boolean, work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      if (required) throw error
      known.leftOut.push(name)
    }
  }
  for (const list of reader.increments)
    await attempt(`changes of ${list.name}`, list.required, async () => {
      known.marks[list.name] = await list.begin(session)
    })
  for (const list of reader.lists.filter(({ name }) => only.includes(name)))
    await attempt(list.name, list.required, async () => {
      await walk(
        (cursor) => list.read(session, cursor),
        (page) => takeIn(known, page),
      )
    })
  const [walkOf] = reader.memberships
  assert.ok(walkOf)
  for (const { kind, attributes } of [...known.entities.values()])
    if (kind === walkOf.by)
      await walk(
        (cursor) => walkOf.read(session, attributes.uid, cursor),
        (page) => takeIn(known, page),
      )
  return known
}

/** Follows every list of an increment to its end. @param seen is handed each page */
export async function readChanges(
  session: ReadingSession,
  known: Known,
  lists: readonly IncrementList<ReadingSession>[] = reader.increments,
  seen: (page: Page) => void = () => {},
): Promise<void> {
  const again = new Set<string>()
  for (const list of lists) {
    const mark = known.marks[list.name]
    if (mark === undefined) continue
    const end = await walk(
      (cursor) => list.read(session, mark, cursor),
      (page) => {
        seen(page)
        takeIn(known, page)
        for (const { uid } of page.changedGroups ?? []) again.add(uid)
      },
    )
    assert.ok(end.mark !== undefined)
    known.marks[list.name] = end.mark
  }
  const [byGroup] = reader.memberships
  for (const uid of again) {
    for (const membership of known.memberships)
      if (membership.startsWith(`${uid} `)) known.memberships.delete(membership)
    await walk(
      (cursor) => byGroup?.read(session, uid, cursor) ?? assert.fail(),
      (page) => takeIn(known, page),
    )
  }
}

function takeIn(known: Known, page: Page): void {
  known.pages += 1
  for (const entity of page.entities ?? [])
    known.entities.set(keyOf(entity.kind, entity.attributes.uid), entity)
  for (const { kind, uid } of page.removed ?? []) {
    known.entities.delete(keyOf(kind, uid))
    for (const membership of known.memberships)
      if (membership.split(' ').includes(uid)) known.memberships.delete(membership)
  }
  for (const { group, member, change } of page.memberships ?? [])
    known.memberships[change === 'removed' ? 'delete' : 'add'](`${group} ${member}`)
  for (const fact of page.facts ?? []) addFact(known, fact)
  for (const { uid, activity } of page.activities ?? []) known.activities.set(uid, activity)
  known.unreadable.push(...(page.unreadable ?? []))
}

function addFact(known: Known, { uid, name, value }: Fact): void {
  const key = `${name} ${uid}`
  known.facts.set(key, (known.facts.get(key) ?? new Set()).add(value))
}
