/** Reads who is in which group, owner by owner: each group's members, or each user's groups, whichever takes fewer requests. */
import type { MembershipWalk } from '../sources/reading.ts'
import type { Stage } from '../store/sync-stage.ts'
import { SyncFailure } from './failures.ts'
import type { OwnerProgress, Progress, WalkProgress } from './progress.ts'
import { type ReadingParts, readChain, type Step, Unread } from './reading.ts'
import { Room } from './room.ts'
import { unreadPage } from './staging.ts'

/** In progress, results and errors, beside the names of lists. */
export const membershipsName = 'memberships'

/** Owners asked of the stage at a time. */
const ownersPerLook = 1_000
/** Owners that a provider may refuse to tell of, which are left as they are known: above, it refuses memberships as such. */
const maxRefused = 20

type Walk = MembershipWalk<unknown>

export interface WalkOwner {
  readonly uid: string
  readonly memberCount?: number
}

/** Counts the requests of each walk by what is staged, and takes the cheaper one. */
export async function chooseWalk(
  stage: Pick<Stage, 'sumCalls'>,
  walks: readonly [Walk, ...Walk[]],
): Promise<Pick<WalkProgress, 'by' | 'calls'>> {
  const counted: { by: Walk['by']; calls: number }[] = []
  for (const { by, calls } of walks) counted.push({ by, calls: await stage.sumCalls(by, calls) })
  const calls = Object.fromEntries(counted.map((one) => [one.by, one.calls]))
  // Asking groups tells of groups and devices as members too: it is preferred where both cost the same.
  const [cheapest] = counted.sort((one, other) => one.calls - other.calls || (one.by === 'group' ? -1 : 1))
  return { by: cheapest?.by ?? walks[0].by, calls }
}

export const newWalk = (chosen: Pick<WalkProgress, 'by' | 'calls'>): WalkProgress => ({
  ...chosen,
  begunTo: '',
  open: {},
  owners: 0,
  pages: 0,
  seen: 0,
  unreadable: 0,
  isEnded: false,
  refused: 0,
  gone: 0,
})

/**
 * Goes on with the walk that the progress names, to its end.
 *
 * @param ownersAfter the next owners, in the order of their ids
 * @param isWhole whether every owner is asked, so that one at least would tell
 * @throws SyncFailure, ReadingStopped, and what a commit throws
 */
export async function walkMemberships(
  parts: ReadingParts,
  walk: Walk,
  session: unknown,
  ownersAfter: (uid: string, limit: number) => Promise<readonly WalkOwner[]>,
  isWhole: boolean,
): Promise<void> {
  const { recorder, pace } = parts
  const queue = ownersInOrder(recorder, walk, ownersAfter)
  const room = new Room(pace.membersAtOnce)
  const work = async () => {
    for (;;) {
      const next = await queue.next()
      if (next.done === true) return
      const { value: owner } = next
      await room.for(owner.membersOfPage, () => readOwner(parts, walk, session, owner))
    }
  }
  await Promise.all(Array.from({ length: pace.ownersAtOnce }, work))
  if (isWhole) refuseUnanswered(recorder.progress)
  recorder.note((progress) => changed(progress, () => ({ isEnded: true })))
}

/** @throws SyncFailure when several owners were asked, and none told anything */
function refuseUnanswered({ memberships }: Progress): void {
  const { refused = 0, gone = 0, pages = 0, error } = memberships ?? {}
  if (refused + gone > 1 && pages === 0 && error !== undefined) throw new SyncFailure(error)
}

/**
 * Asks people for their groups. Whoever is gone meanwhile has none; whoever is refused is counted with the groups that are.
 *
 * @throws SyncFailure, ReadingStopped, and what a commit throws
 */
export async function readNewcomers(
  parts: ReadingParts,
  walk: Walk,
  session: unknown,
  uids: readonly string[],
): Promise<void> {
  const queue = uids.values()
  const work = async () => {
    for (const uid of queue) {
      await readChain(parts, {
        list: membershipsName,
        title: 'Memberships',
        capability: 'memberships',
        kinds: [],
        read: (cursor) => walk.read(session, uid, cursor),
        // Asked again by whoever goes on: there are few of them.
        record: (progress) => progress,
      }).catch((error: unknown) => {
        if (!(error instanceof Unread)) throw error
        if (isGone(error)) return
        failUnlessOfFew(parts, error)
        parts.recorder.note((progress) => changed(progress, (now) => refusedOnce(now, error)))
      })
    }
  }
  await Promise.all(Array.from({ length: parts.pace.ownersAtOnce }, work))
}

interface OpenOwner {
  readonly uid: string
  /** As far as is known: 0 where sizes are not told, and for one that was begun before. */
  readonly membersOfPage: number
  /** Absent for one that is begun now. */
  readonly known?: OwnerProgress
}

/**
 * Those that were begun before come first. Each is noted as open before it is handed out, so that none is missed by
 * whoever goes on; owners that take no request are passed over.
 */
async function* ownersInOrder(
  recorder: ReadingParts['recorder'],
  walk: Walk,
  ownersAfter: (uid: string, limit: number) => Promise<readonly WalkOwner[]>,
): AsyncGenerator<OpenOwner, undefined> {
  const { memberships } = recorder.progress
  for (const [uid, known] of Object.entries(memberships?.open ?? {})) yield { uid, known, membersOfPage: 0 }
  let after = memberships?.begunTo ?? ''
  for (;;) {
    const owners = await ownersAfter(after, ownersPerLook)
    for (const owner of owners) {
      const calls = walk.calls(owner)
      const isAsked = calls > 0
      after = owner.uid
      recorder.note((progress) =>
        changed(progress, (now) => ({
          begunTo: owner.uid,
          owners: now.owners + 1,
          ...(isAsked && { open: withOpen(now, owner.uid, {}) }),
        })),
      )
      if (isAsked) yield { uid: owner.uid, membersOfPage: (owner.memberCount ?? 0) / calls }
    }
    if (owners.length < ownersPerLook) return
  }
}

async function readOwner(
  parts: ReadingParts,
  walk: Walk,
  session: unknown,
  { uid, known }: OpenOwner,
): Promise<void> {
  const { recorder } = parts
  const owner = { kind: walk.by, uid }
  const read = (from: OwnerProgress) =>
    readChain(parts, {
      list: membershipsName,
      title: 'Memberships',
      capability: 'memberships',
      kinds: [],
      told: owner,
      ...(from.cursor !== undefined && {
        from: { cursor: from.cursor, ...(from.trail !== undefined && { trail: from.trail }) },
      }),
      read: (cursor) => walk.read(session, uid, cursor),
      record: (progress, { next, rows, unreadable }: Step) =>
        changed(progress, (now) => ({
          open: next === undefined ? withoutOpen(now, uid) : withOpen(now, uid, next),
          pages: now.pages + 1,
          seen: now.seen + rows,
          unreadable: now.unreadable + unreadable,
        })),
    })
  try {
    await read(known ?? {}).catch((error: unknown) => {
      const isGoingOn = recorder.progress.memberships?.open[uid]?.cursor !== undefined
      const isForgotten = error instanceof Unread && error.mayBeForgotten && error.status !== 404
      if (!isForgotten || !isGoingOn) throw error
      return read({})
    })
  } catch (error) {
    if (!(error instanceof Unread)) throw error
    // Gone since it was listed: the next run finds out.
    if (isGone(error))
      return recorder.add(unreadPage(owner), (progress) =>
        changed(progress, (now) => ({
          open: withoutOpen(now, uid),
          gone: now.gone + 1,
          error: now.error ?? error.error,
        })),
      )
    failUnlessOfFew(parts, error)
    await recorder.add(unreadPage(owner), (progress) =>
      changed(progress, (now) => ({ open: withoutOpen(now, uid), ...refusedOnce(now, error) })),
    )
  }
}

/** Not there any more when it was asked for. */
const isGone = ({ isFinal, status }: Unread) => isFinal && status === 404

/** @throws SyncFailure unless only this one, and few besides, may be refused */
function failUnlessOfFew({ recorder }: ReadingParts, { mayBeOfOne, error }: Unread): void {
  const refused = recorder.progress.memberships?.refused ?? 0
  if (!mayBeOfOne || refused >= maxRefused) throw new SyncFailure(error)
}

const refusedOnce = (now: WalkProgress, { error }: Unread) => ({
  refused: now.refused + 1,
  error: now.error ?? error,
})

function changed(progress: Progress, change: (now: WalkProgress) => Partial<WalkProgress>): Progress {
  const { memberships } = progress
  return memberships === undefined
    ? progress
    : { ...progress, memberships: { ...memberships, ...change(memberships) } }
}

const withOpen = ({ open }: WalkProgress, uid: string, owner: OwnerProgress): WalkProgress['open'] => ({
  ...open,
  [uid]: owner,
})

const withoutOpen = ({ open }: WalkProgress, uid: string): WalkProgress['open'] =>
  Object.fromEntries(Object.entries(open).filter(([one]) => one !== uid))
