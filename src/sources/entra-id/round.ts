/** Where a round of delta queries stands, as a cursor or mark of ours. */
import { type Json, MarkLost } from '../reading.ts'
import { isObject } from './access.ts'
import { leadsTo, type Place } from './graph-page.ts'
import { isToldIds, noIds, type ToldIds } from './told-ids.ts'
import { idOf } from './values.ts'

/**
 * What the pages of a round have told that later ones may contradict: the same object can show up on any page, in
 * any order.
 *
 * @see https://learn.microsoft.com/graph/delta-query-overview#optional-query-parameters
 */
export interface Told {
  /** Objects that were removed. */
  readonly removed: ToldIds
  /** Groups with members who came, and with members who went. */
  readonly joined: ToldIds
  readonly left: ToldIds
}

export const nothingTold: Told = { removed: noIds, joined: noIds, left: noIds }

/** Objects of which the directory's list did not show what was told: the next round looks them up once more. */
export interface Doubts {
  /** Told as there. */
  readonly there: readonly string[]
  /** Told as removed, and listed all the same. */
  readonly gone: readonly string[]
}

export const noDoubts: Doubts = { there: [], gone: [] }

export interface Standing {
  /** Path and query of the next page, or of the next round. */
  readonly link: string
  readonly doubts: Doubts
  /** Of this round. */
  readonly told: Told
}

/** Most ids of one kind that are kept: with the longest link, a cursor is not longer than 16,384 characters. */
const mostDoubts = 40

/** The link alone where nothing else has to be known. */
export function writeStanding({ link, doubts, told }: Standing): Json {
  const all = {
    there: [...new Set(doubts.there)].slice(-mostDoubts),
    gone: [...new Set(doubts.gone)].slice(-mostDoubts),
    ...told,
  }
  const members = Object.entries(all).filter(([, ids]) => ids.length > 0)
  return members.length === 0 ? link : { link, ...Object.fromEntries(members) }
}

/**
 * A stored link is looked at again: one that leads elsewhere is no mark of ours.
 *
 * @throws MarkLost
 */
export function readStanding(delta: Place, stored: Json): Standing {
  const { link, there, gone, ...told } = isObject(stored) ? stored : { link: stored }
  if (typeof link !== 'string' || !leadsTo(delta, link)) throw new MarkLost()
  const toldOf = (name: keyof Told) => {
    const ids = told[name] ?? noIds
    if (!isToldIds(ids)) throw new MarkLost()
    return ids
  }
  return {
    link,
    doubts: { there: idsIn(there), gone: idsIn(gone) },
    told: { removed: toldOf('removed'), joined: toldOf('joined'), left: toldOf('left') },
  }
}

function idsIn(stored: unknown = []): readonly string[] {
  if (!Array.isArray(stored) || stored.length > mostDoubts) throw new MarkLost()
  return stored.map((id) => {
    if (idOf(id) !== id) throw new MarkLost()
    return id
  })
}
