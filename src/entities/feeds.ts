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

/** About how long a piece is, in characters: whoever does not read has the server hold a few of them. */
const pieceLength = 64 * 1024
/** Lines read at a time, at first: nobody knows yet how long they are. */
const firstLines = 50
const mostLines = 200

/** How many lines are about a piece, by those that were read last. */
const linesOfPiece = (lines: number, length: number) =>
  Math.max(1, Math.min(mostLines, Math.floor((pieceLength * lines) / length)))

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
  /** Apart from the loop, which would hold the rows for as long as nobody reads on. */
  const read = async (kind: EntityKind, afterId: string, limit: number) => {
    const wanted = { organizationId, kind: kindNumbers[kind], at, afterId, limit, withRaw }
    const rows = await findAt(query, wanted)
    return {
      text: rows.map((row) => `${line(row)}\n`).join(''),
      count: rows.length,
      lastId: rows.at(-1)?.entity_id ?? afterId,
    }
  }
  let limit = firstLines
  for (const kind of kinds) {
    let afterId = beforeAll
    for (;;) {
      const { text, count, lastId } = await read(kind, afterId, limit)
      if (count > 0) yield text
      if (count < limit) break
      afterId = lastId
      limit = linesOfPiece(count, text.length)
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
  /** Apart from the loop, which would hold the rows for as long as nobody reads on. */
  const read = async (from: EventPlace, limit: number) => {
    const until = { sequence: await lastSequence(query, organizationId), id: afterAll }
    const scope = {
      organizationId,
      kinds: kinds.map((kind) => kindNumbers[kind]),
      after: from,
      limit,
      withRaw,
    }
    const begun = await findBegun(query, { ...scope, until })
    const lastBegun = begun.length < limit ? undefined : begun.at(-1)
    // No further than what begins is known: few of the revisions that ended are ends of entities.
    const gone = await findGone(query, {
      ...scope,
      until: lastBegun === undefined ? until : placeOf(lastBegun),
    })
    const rows = [...begun, ...gone].sort(byPlace).slice(0, limit)
    const last = rows.at(-1)
    return {
      text: rows.map((row) => `${changeText(row, format)}\n`).join(''),
      count: rows.length,
      place: last === undefined ? from : placeOf(last),
    }
  }
  let cursor = after
  let limit = firstLines
  for (;;) {
    const { text, count, place } = await read(cursor, limit)
    if (count > 0) yield text
    cursor = place
    if (count < limit) yield ''
    if (count > 0) limit = linesOfPiece(count, text.length)
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
