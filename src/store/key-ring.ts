/** The keys as a running server sees them: each read from the database when it is first used, and again every second. */
import { timingSafeEqual } from 'node:crypto'
import { type Database, inTransaction } from './database.ts'
import { digestOf, findHeldKeys, type HeldKey, type Key } from './keys.ts'
import { ensureOrganization, type Organization } from './organizations.ts'
import { isUnavailable, unavailable, unavailableBy } from './unavailable.ts'

/** Look-ups answer at once where the key is known well enough; where the database has to be asked, with a promise. */
export interface KeyRing {
  /** The pair to which both keys belong. @throws DatabaseUnavailable where nobody can tell */
  findPair(apiKey: string, applicationKey: string): Maybe<Key>
  findApiKey(apiKey: string): Maybe<Key>
  findAccessToken(token: string): Maybe<Key>
  /** The organisation of that name or id; made when there is none. @throws OrganizationError */
  organization(nameOrId: string): Organization | Promise<Organization>
}

type Maybe<T> = T | undefined | Promise<T | undefined>

/** From this age on, what is known of a key is read again while it is still used, in milliseconds. */
const freshMs = 1_000
/** Oldest knowledge of a key that is used: with the time a look-up takes, a revocation counts within it, in milliseconds. */
const lifeMs = 2_000
/** How long a text that is no key is known as that: keys made meanwhile should work at once, in milliseconds. */
const strangerLifeMs = 500
const organizationLifeMs = 60_000
/** Most keys remembered at a time, and most texts that are none. */
const capacity = 50_000
/** Most texts looked up in one statement. */
const maxBatch = 1_000
/** How long a request waits for the database, in milliseconds. */
const patienceMs = 2_000

interface Known {
  readonly held: HeldKey | undefined
  /** When the look-up began. */
  readonly readAtMs: number
}

export function openKeyRing(
  database: Database,
  options: {
    /** Milliseconds on a clock that never goes back. */
    readonly monotonicMs?: () => number
  } = {},
): KeyRing {
  const clock = options.monotonicMs ?? (() => performance.now())
  const keys = memory<Known>(capacity)
  // Apart from the keys: however many texts a stranger tries, no key is forgotten for them.
  const strangers = memory<Known>(capacity)
  const organizations = memory<{ readonly organization: Organization; readonly readAtMs: number }>(capacity)
  const lookUp = batched((digests) => findHeldKeys(database, digests), maxBatch)

  /** Look-ups under way, so that many requests with one key ask once. */
  const reading = new Map<string, Promise<HeldKey | undefined>>()

  const read = (digest: string): Promise<HeldKey | undefined> => {
    const underWay = reading.get(digest)
    if (underWay !== undefined) return underWay
    const readAtMs = clock()
    const begun = within(patienceMs, lookUp(digest))
      .then((held) => {
        keys.delete(digest)
        strangers.delete(digest)
        const belongs = held === undefined ? strangers : keys
        belongs.set(digest, { held, readAtMs })
        return held
      })
      .finally(() => reading.delete(digest))
    reading.set(digest, begun)
    return begun
  }

  const find = (digest: string): Maybe<HeldKey> => {
    const known = keys.get(digest) ?? strangers.get(digest)
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : clock() - known.readAtMs
    if (known === undefined || ageMs >= (known.held === undefined ? strangerLifeMs : lifeMs))
      return read(digest)
    // Whoever needs it after its life is told when the database does not answer.
    if (known.held !== undefined && ageMs >= freshMs) read(digest).catch(() => undefined)
    return known.held
  }

  const findFirst = (text: string, accepts: (key: Key) => boolean): Maybe<Key> => {
    const given = digestOf(text)
    const judge = (held: HeldKey | undefined) =>
      isEqual(given, held?.first) && held !== undefined && accepts(held.key) ? held.key : undefined
    return whenKnown(find(given), judge)
  }

  return {
    findPair(apiKey, applicationKey) {
      const given = digestOf(apiKey)
      return whenKnown(find(given), (held) => {
        // Both digests are compared in any case, so that a wrong API key takes as long as a wrong application key.
        const first = isEqual(given, held?.first)
        const second = isEqual(digestOf(applicationKey), held?.second)
        return first && second ? held?.key : undefined
      })
    },
    findApiKey: (apiKey) => findFirst(apiKey, ({ kind }) => kind === 'pair'),
    findAccessToken: (token) => findFirst(token, ({ kind }) => kind !== 'pair'),
    organization(nameOrId) {
      const known = organizations.get(nameOrId)
      if (known !== undefined && clock() - known.readAtMs < organizationLifeMs) return known.organization
      const readAtMs = clock()
      const ensured = inTransaction(database, (transaction) =>
        ensureOrganization(transaction, nameOrId, { id: 'system' }),
      )
      return within(patienceMs, ensured).then((organization) => {
        organizations.set(nameOrId, { organization, readAtMs })
        return organization
      })
    },
  }
}

const whenKnown = <T, R>(value: T | Promise<T>, use: (value: T) => R): R | Promise<R> =>
  value instanceof Promise ? value.then(use) : use(value)

const nothing = Buffer.alloc(64, '0')

/**
 * Compares digests. A look-up by digest tells a stranger's clock nothing: without the text nobody can choose the
 * digest; this comparison keeps it true of all of its bytes.
 */
const isEqual = (given: string, expected: string | undefined) =>
  timingSafeEqual(Buffer.from(given), expected === undefined ? nothing : Buffer.from(expected)) &&
  expected !== undefined

/** A map that forgets what was set first when it is full. */
function memory<T>(size: number) {
  const entries = new Map<string, T>()
  return {
    get: (name: string) => entries.get(name),
    delete: (name: string) => entries.delete(name),
    set(name: string, value: T) {
      entries.delete(name)
      entries.set(name, value)
      if (entries.size > size) for (const [oldest] of entries) return entries.delete(oldest)
      return undefined
    },
  }
}

/** One look-up for all that is wanted while another is under way; the same text is looked up once. */
function batched<T>(lookUpAll: (names: readonly string[]) => Promise<Map<string, T>>, size: number) {
  const waiting = new Map<string, PromiseWithResolvers<T | undefined>>()
  let isRunning = false

  const run = async () => {
    isRunning = true
    // What is wanted in the same turn goes with the first one.
    await Promise.resolve()
    while (waiting.size > 0) {
      const batch: [name: string, answer: PromiseWithResolvers<T | undefined>][] = []
      for (const one of waiting) {
        if (batch.length === size) break
        batch.push(one)
        waiting.delete(one[0])
      }
      try {
        const found = await lookUpAll(batch.map(([name]) => name))
        for (const [name, { resolve }] of batch) resolve(found.get(name))
      } catch (error) {
        for (const [, { reject }] of batch) reject(error)
      }
    }
    isRunning = false
  }

  return (name: string): Promise<T | undefined> => {
    const known = waiting.get(name) ?? Promise.withResolvers<T | undefined>()
    waiting.set(name, known)
    if (!isRunning) void run()
    return known.promise
  }
}

/** @throws DatabaseUnavailable when it takes longer, or for what the database says of itself */
async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailableBy('query_timeout')), limitMs)
  })
  try {
    return await Promise.race([work, tooLate])
  } catch (error) {
    throw isUnavailable(error) ? unavailable(error) : error
  } finally {
    clearTimeout(timer)
  }
}
