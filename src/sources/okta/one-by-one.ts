/** Lists of what Okta tells of one user at a time: a page of users first, and then a few of them side by side. */
import type { Fact } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { EntityList, Json } from '../reading.ts'
import { askedOf, isRecord, isText, unexpected } from './answers.ts'
import { uidOf } from './normalise.ts'
import type { ListPage } from './pages.ts'
import type { OktaReading, ReadingRequest } from './reading-session.ts'

/** Users who are asked for side by side, as one page. */
const askedAtOnce = 10

/** A list read to its end is a page of users first, and then what is told of a few of them at a time. */
interface Progress {
  /** Path and query of the next page of users. */
  readonly at: string | undefined
  /** Users who are still to be asked for. */
  readonly pending: readonly string[]
}

interface OneByOne
  extends Pick<EntityList<OktaReading>, 'name' | 'title' | 'capability' | 'isOnRequest' | 'facts'> {
  /** Of the first page of users; those that follow differ in their target. */
  readonly users: ReadingRequest
  readonly usersPerPage: number
  /** How many users that is. */
  countIn(known: Parameters<EntityList<OktaReading>['calls']>[0]): number | undefined
  readPage(session: OktaReading, request: ReadingRequest): Promise<ListPage>
  /** A list of one user's. */
  requestOf(uid: string): ReadingRequest
  factsOf(uid: string, told: readonly unknown[]): readonly Fact[]
}

export function oneByOneList({
  users,
  usersPerPage,
  countIn,
  readPage,
  requestOf,
  factsOf,
  ...description
}: OneByOne): EntityList<OktaReading> {
  const askFor = async (session: OktaReading, uid: string): Promise<readonly Fact[]> => {
    const request = requestOf(uid)
    try {
      const { body } = await session.get(request)
      if (!Array.isArray(body)) throw unexpected(request.operation, askedOf(request.target))
      return factsOf(uid, body)
    } catch (error) {
      // Gone since the users were listed.
      if (error instanceof SourceError && error.status === 404) return []
      throw error
    }
  }
  return {
    ...description,
    required: false,
    // Each user is asked for, too.
    calls(known) {
      const count = countIn(known)
      return count === undefined ? undefined : Math.max(1, Math.ceil(count / usersPerPage)) + count
    },
    async read(session, cursor) {
      const { at, pending } = progressIn(cursor) ?? { at: users.target, pending: [] }
      if (pending.length === 0 && at !== undefined) {
        const page = await readPage(session, { ...users, target: at })
        const ids = page.records.map(uidOf)
        if (!ids.every(isText)) throw unexpected(users.operation, askedOf(at))
        return goingOn({}, { at: page.next, pending: ids })
      }
      const [now, later] = [pending.slice(0, askedAtOnce), pending.slice(askedAtOnce)]
      const facts = await Promise.all(now.map((uid) => askFor(session, uid)))
      return goingOn({ facts: facts.flat() }, { at, pending: later })
    },
  }
}

function goingOn(page: { readonly facts?: readonly Fact[] }, { at, pending }: Progress) {
  if (at === undefined && pending.length === 0) return page
  return { ...page, next: { pending, ...(at !== undefined && { at }) } }
}

function progressIn(cursor: Json | undefined): Progress | undefined {
  if (!isRecord(cursor)) return undefined
  const { at, pending } = cursor
  return {
    at: isText(at) ? at : undefined,
    pending: Array.isArray(pending) ? pending.filter(isText) : [],
  }
}
