/** Where a round of delta queries stands, as a cursor or mark of ours. */
import { type Json, MarkLost } from '../reading.ts'
import { isObject } from './access.ts'
import { leadsTo, type Place } from './graph-page.ts'
import { idOf } from './values.ts'

export interface Standing {
  /** Path and query of the next page, or of the next round. */
  readonly link: string
  /** Objects of which the directory's list did not show what was told: the next round looks them up once more. */
  readonly doubts: readonly string[]
}

/** Most ids of one kind that are kept: with the longest link, a cursor is not longer than 16,384 characters. */
const mostDoubts = 40

/** The link alone where nothing else has to be known. */
export function writeStanding({ link, doubts }: Standing): Json {
  return doubts.length === 0 ? link : { link, doubts: doubts.slice(-mostDoubts) }
}

/**
 * A stored link is looked at again: one that leads elsewhere is no mark of ours.
 *
 * @throws MarkLost
 */
export function readStanding(delta: Place, stored: Json): Standing {
  const { link, doubts = [] } = isObject(stored) ? stored : { link: stored }
  if (typeof link !== 'string' || !leadsTo(delta, link)) throw new MarkLost()
  return { link, doubts: idsIn(doubts) }
}

function idsIn(stored: unknown): readonly string[] {
  if (!Array.isArray(stored) || stored.length > mostDoubts) throw new MarkLost()
  return stored.map((id) => {
    if (idOf(id) !== id) throw new MarkLost()
    return id
  })
}
