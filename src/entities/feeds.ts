/** Entities as streams of lines: all there was at a moment, and what changed since. */
import type { Kysely } from 'kysely'
import { type EventPlace, type EventRow, findBegun, findGone, lastSequence } from '../store/entity-events.ts'
import { finalMoment, findAt } from '../store/entity-export.ts'
import type { RevisionRow } from '../store/entity-rows.ts'
import { beforeAll } from '../store/entity-search.ts'
import type { Schema } from '../store/schema.ts'
import { type EntityKind, kindNumbers } from './model.ts'
import { inventoryEvent, managementEvent, type OcsfSubject } from './ocsf.ts'
import { attributesText, entityText, kindOfNumber, timeText } from './rendering.ts'

type Query = Kysely<Schema>

export const lineFormats = ['credence', 'ocsf'] as const
export type LineFormat = (typeof lineFormats)[number]

/** Entities read and written at a time: about a megabyte. */
const batchSize = 500

export interface Feed {
  readonly organizationId: string
  readonly kinds: readonly EntityKind[]
  readonly format: LineFormat
  readonly withRaw: boolean
}

/** Everything that there was at a moment, kind by kind, as pieces of whole lines. */
export async function* exportedLines(
  query: Query,
  { organizationId, kinds, format, withRaw }: Feed,
  moment: { readonly at: string; readonly ms: number },
): AsyncGenerator<string, undefined> {
  // Fixed before the first line: what is merged meanwhile is later.
  const at = await finalMoment(query, organizationId, moment.at)
  if (at === undefined) return undefined
  const line = (row: RevisionRow) =>
    format === 'ocsf'
      ? JSON.stringify(inventoryEvent(subjectOf(row, moment.ms), Date.parse(timeText(row.last_seen_at))))
      : entityText([row], moment.ms)
  for (const kind of kinds) {
    let afterId = beforeAll
    for (;;) {
      const rows = await findAt(query, {
        organizationId,
        kind: kindNumbers[kind],
        at,
        afterId,
        limit: batchSize,
        withRaw,
      })
      if (rows.length > 0) yield rows.map((row) => `${line(row)}\n`).join('')
      if (rows.length < batchSize) break
      afterId = rows.at(-1)?.entity_id ?? beforeAll
    }
  }
  return undefined
}

export const beforeAllChanges: EventPlace = { sequence: 0, id: beforeAll }

export const cursorText = ({ sequence, id }: EventPlace) => `${sequence}.${id}`

export function readCursor(text: string): EventPlace | undefined {
  const [, sequence, id] =
    /^(\d{1,15})(?:\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?$/i.exec(text) ?? []
  // A number alone: after all of that merge.
  return sequence === undefined ? undefined : { sequence: Number(sequence), id: id ?? afterAll }
}

const afterAll = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/**
 * What changed after a cursor, merge by merge, as pieces of whole lines. An empty piece says that all is told that
 * there was: who follows asks on, who does not stops.
 */
export async function* changeLines(
  query: Query,
  { organizationId, kinds, format, withRaw }: Feed,
  after: EventPlace,
): AsyncGenerator<string, never> {
  let cursor = after
  for (;;) {
    const until = { sequence: await lastSequence(query, organizationId), id: afterAll }
    const scope = {
      organizationId,
      kinds: kinds.map((kind) => kindNumbers[kind]),
      after: cursor,
      limit: batchSize,
      withRaw,
    }
    const begun = await findBegun(query, { ...scope, until })
    const lastBegun = begun.length < batchSize ? undefined : begun.at(-1)
    // No further than what begins is known: few of the revisions that ended are ends of entities.
    const gone = await findGone(query, {
      ...scope,
      until: lastBegun === undefined ? until : placeOf(lastBegun),
    })
    const rows = [...begun, ...gone].sort(byPlace).slice(0, batchSize)
    if (rows.length > 0) yield rows.map((row) => `${changeText(row, format)}\n`).join('')
    const last = rows.at(-1)
    if (last !== undefined) cursor = placeOf(last)
    if (rows.length < batchSize) yield ''
  }
}

const placeOf = ({ sequence, entity_id }: EventRow): EventPlace => ({ sequence, id: entity_id })

const byPlace = (a: EventRow, b: EventRow) => a.sequence - b.sequence || (a.entity_id < b.entity_id ? -1 : 1)

function changeText(row: EventRow, format: LineFormat): string {
  const { sequence, entity_id: id, change, at } = row
  const cursor = cursorText({ sequence, id })
  if (format === 'ocsf') {
    const event = managementEvent(subjectOf(row, Number.POSITIVE_INFINITY), change, at.getTime())
    return JSON.stringify({
      ...event,
      metadata: { ...(event.metadata as object), sequence, uid: cursor },
    })
  }
  return `{"sequence":${sequence},"cursor":"${cursor}","change":"${change}","at":"${at.toISOString()}","entity":${entityText([row], Number.POSITIVE_INFINITY)}}`
}

const subjectOf = (row: RevisionRow, momentMs: number): OcsfSubject => ({
  kind: kindOfNumber.get(row.kind) ?? 'identity',
  id: row.entity_id,
  attributes: JSON.parse(attributesText(row, momentMs)),
})
