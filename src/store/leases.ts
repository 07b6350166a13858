/** Points of rate limits, leased from the windows that all nodes share and spent here without asking again. */
import { setTimeout as wait } from 'node:timers/promises'
import { type RateWindows, windowMs } from './rate-windows.ts'

/** How a limit stands after one more point was asked for. */
export interface Spending {
  readonly isGranted: boolean
  /** Points that may still be granted in this window, as far as this node knows; a whole number, never below 0. */
  readonly remaining: number
  /** Whole seconds until the window ends: 1 to 60. */
  readonly resetSeconds: number
  /** Puts a granted point back, for this node to grant again within the window. */
  giveBack(): void
}

export interface Leases {
  /**
   * Asks for a point of `key`, of which all nodes together grant at most `limit` in a calendar minute. A promise only
   * where the database has to be asked. While it is slow or away, a small share is granted here without it.
   */
  spend(key: string, limit: number): Spending | Promise<Spending>
}

/** A lease is this part of what is left, so that little of it lies idle when the limit is near. */
const parts = 20
/** Part of a limit that a node grants in a window without the database: as many nodes stay within the limit. */
const partsWithoutDatabase = 10
/** Longest wait of a request for the database, in milliseconds. */
const patienceMs = 1_000
/** How long nobody waits for the database after it failed or was slow, in milliseconds. */
const avoidanceMs = 2_000

interface Lease {
  /** End of the window, on the clock that never goes back; nothing was leased yet when it is 0. */
  endsAtMs: number
  /** Leased and not spent. */
  left: number
  /** What all nodes had taken when the database was last asked. */
  taken: number
  /** How many requests wait for the next lease. */
  waiting: number
  asking: Promise<void> | undefined
  /** Number of the minute, by our own clock, in which `borrowed` points were granted without the database. */
  minute: number
  borrowed: number
}

export function createLeases(
  windows: RateWindows,
  options: {
    /** Milliseconds since 1970. */
    readonly now?: () => number
    /** Milliseconds on a clock that never goes back. */
    readonly monotonicMs?: () => number
  } = {},
): Leases {
  const now = options.now ?? Date.now
  const clock = options.monotonicMs ?? (() => performance.now())
  const leases = new Map<string, Lease>()
  let avoidUntilMs = Number.NEGATIVE_INFINITY
  let sweepAtMs = clock() + windowMs

  /** Forgets what is over, here and in the database, once a minute. */
  const sweep = () => {
    const at = clock()
    if (at < sweepAtMs) return
    sweepAtMs = at + windowMs
    const minute = minuteOf(now())
    for (const [key, lease] of leases) {
      if (lease.endsAtMs <= at && lease.minute < minute && lease.waiting === 0 && lease.asking === undefined)
        leases.delete(key)
    }
    windows.deleteOld().catch(() => undefined)
  }

  const leaseOf = (key: string): Lease => {
    const known = leases.get(key)
    if (known !== undefined) return known
    const made = { endsAtMs: 0, left: 0, taken: 0, waiting: 0, asking: undefined, minute: 0, borrowed: 0 }
    leases.set(key, made)
    return made
  }

  const spendLeased = (lease: Lease, limit: number): Spending | undefined => {
    const remainingMs = lease.endsAtMs - clock()
    if (remainingMs <= 0) return undefined
    const isGranted = lease.left > 0
    if (!isGranted && lease.taken < limit) return undefined
    if (isGranted) lease.left -= 1
    const { endsAtMs } = lease
    return {
      isGranted,
      remaining: lease.left + Math.max(0, limit - lease.taken),
      resetSeconds: secondsOf(remainingMs),
      giveBack: () => {
        if (isGranted && lease.endsAtMs === endsAtMs) lease.left += 1
      },
    }
  }

  const borrow = (lease: Lease, limit: number): Spending => {
    const at = now()
    if (lease.minute !== minuteOf(at)) Object.assign(lease, { minute: minuteOf(at), borrowed: 0 })
    const share = Math.max(1, Math.floor(limit / partsWithoutDatabase))
    const isGranted = lease.borrowed < share
    if (isGranted) lease.borrowed += 1
    const { minute } = lease
    return {
      isGranted,
      remaining: Math.max(0, share - lease.borrowed),
      resetSeconds: secondsOf(windowMs - (at % windowMs)),
      giveBack: () => {
        if (isGranted && lease.minute === minute && lease.borrowed > 0) lease.borrowed -= 1
      },
    }
  }

  const ask = async (key: string, lease: Lease, limit: number): Promise<void> => {
    // Whoever asks in the same turn is asked for too.
    await Promise.resolve()
    const askedAtMs = clock()
    const isSameWindow = askedAtMs < lease.endsAtMs
    const unspent = Math.max(0, limit - (isSameWindow ? lease.taken : 0))
    const wanted = Math.max(1, lease.waiting, Math.floor(unspent / parts))
    const debt = lease.minute === minuteOf(now()) ? lease.borrowed : 0
    const { before, remainingMs } = await windows.take(key, wanted + debt)
    const granted = Math.min(wanted + debt, Math.max(0, limit - before))
    lease.borrowed -= Math.min(debt, lease.borrowed)
    // Counted from before the question: the window ends here no later than there.
    const endsAtMs = askedAtMs + remainingMs
    const isContinued = lease.endsAtMs > askedAtMs && Math.abs(lease.endsAtMs - endsAtMs) < windowMs / 2
    lease.left = (isContinued ? lease.left : 0) + Math.max(0, granted - debt)
    lease.taken = before + wanted + debt
    if (!isContinued) lease.endsAtMs = endsAtMs
  }

  const avoid = () => {
    avoidUntilMs = clock() + avoidanceMs
  }

  const spendWhenLeased = async (key: string, lease: Lease, limit: number): Promise<Spending> => {
    const givesUpAtMs = clock() + patienceMs
    lease.waiting += 1
    try {
      for (;;) {
        lease.asking ??= ask(key, lease, limit)
          .catch(avoid)
          .finally(() => {
            lease.asking = undefined
          })
        await within(lease.asking, givesUpAtMs - clock())
        const spent = spendLeased(lease, limit)
        if (spent !== undefined) return spent
        if (clock() >= givesUpAtMs) avoid()
        if (clock() < avoidUntilMs) return borrow(lease, limit)
      }
    } finally {
      lease.waiting -= 1
    }
  }

  return {
    spend(key, limit) {
      sweep()
      const lease = leaseOf(key)
      const spent = spendLeased(lease, limit)
      if (spent !== undefined) return spent
      return clock() < avoidUntilMs ? borrow(lease, limit) : spendWhenLeased(key, lease, limit)
    },
  }
}

const minuteOf = (ms: number) => Math.floor(ms / windowMs)

const secondsOf = (ms: number) => Math.min(windowMs / 1000, Math.max(1, Math.ceil(ms / 1000)))

/** Waits for `work`, and no longer than `limitMs`. */
async function within(work: Promise<void>, limitMs: number): Promise<void> {
  const enough = new AbortController()
  try {
    await Promise.race([
      work,
      wait(Math.max(0, limitMs), undefined, { signal: enough.signal }).catch(() => undefined),
    ])
  } finally {
    enough.abort()
  }
}
