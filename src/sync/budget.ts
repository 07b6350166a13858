/**
 * One rate budget for each account at a provider, shared by its configurations, validations and nodes. Requests are
 * spread evenly over the provider's window, at a share of what it grants, on one schedule in the database; each node
 * takes about a second's turns at a time. A refusal because of a limit stops the schedule for all, and slows it down
 * until it has proved right again.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { HttpAnswer, HttpClient, HttpRequest } from '../outbound/http.ts'
import type { RateLimit, RateNews, RateRules } from '../sources/reading.ts'
import type { Source, Target } from '../sources/source.ts'
import type { ProviderBudgets } from '../store/provider-budgets.ts'

export interface BudgetUse {
  /** Requests made, retries included. */
  calls: number
  /** Answers that refused because of a limit. */
  throttled: number
}

export interface Budget {
  /**
   * The same client, whose requests wait for their turn within the account's budget, and are asked again after a
   * refusal that only the limit caused. What they come to is added to `use`.
   *
   * @param share how much of what the provider grants may be used, in percent
   * @param granted points of a window that the provider grants, by the name of the bucket, until an answer tells
   */
  spending(
    http: HttpClient,
    signal: AbortSignal,
    use: BudgetUse,
    share?: number,
    granted?: Readonly<Record<string, number>>,
  ): HttpClient
  /** The same client, whose requests never wait, but take turns away from those that do. For validations. */
  noting(http: HttpClient): HttpClient
}

/** How a budget stands, for people. */
export interface BudgetStanding {
  readonly source: string
  readonly account: string
  readonly bucket: string
  /** What the provider grants, as far as it told. */
  readonly limit: RateLimit
  /** Points a second that are used at most, after the share and what refusals taught. */
  readonly ratePerSecond: number
  readonly throttledUntil?: Date
}

/** What a budget has to know of a source. */
export type BudgetRules = Pick<RateRules<never>, 'bucketOf' | 'documented' | 'newsIn' | 'concurrency'>

export interface Budgets {
  of(source: string, account: string, rules: BudgetRules): Budget
  /** Of this node. */
  standing(source?: string, account?: string): readonly BudgetStanding[]
}

/** Used of what the provider grants unless a configuration says otherwise, in percent. */
export const defaultShare = 50
/** Even where all may be used, windows of theirs and ours do not begin together. In percent. */
const mostShare = 97
/** Turns taken from the schedule at a time, in milliseconds' worth of them. */
const leaseMs = 1_000
/** How far the schedule may lag and catch up: this long, and never more than this part of the provider's window. */
const toleranceMs = 1_000
const toleranceShare = 0.02
/** When so little of the provider's grant is left, others are using it: nothing is asked until it is back. */
const reserveShare = 0.02
/** Shortest and longest stop after a refusal, in milliseconds. */
const shortestStopMs = 1_000
const longestStopMs = 10 * 60_000
/** How often one request is asked again after refusals because of a limit. */
const maxRefusals = 8
/** A refusal halves the rate, down to this part of it; so much comes back in so long without another. */
const lowestPace = 0.1
const paceBack = 0.05
const paceBackMs = 10_000
/** Accounts and buckets remembered at a time; the oldest that nobody uses are forgotten. */
const capacity = 5_000

interface Schedule {
  readonly key: string
  readonly source: string
  readonly account: string
  readonly bucket: string
  limit: RateLimit
  /** Whether an answer has told the limit. */
  isTold: boolean
  /** Part of the rate that is used: 1, or less after refusals. */
  pace: number
  pacedAtMs: number
  /** On the clock that never goes back. */
  stoppedUntilMs: number
  /** Turns that were taken and not used: when the next may be used, how many there are, and how far apart. */
  next: { atMs: number; points: number; msPerPoint: number }
  /** Points used by requests that did not wait, and when they were last taken from the schedule. */
  owed: number
  settledAtMs: number
  share: number
  /** Those who wait, in order. */
  queue: Promise<unknown>
  underWay: number
  readonly waitingForPlace: (() => void)[]
}

export interface BudgetsParts {
  readonly store: ProviderBudgets
  /** Milliseconds on a clock that never goes back. */
  readonly monotonicMs?: () => number
  now(): Date
}

export function createBudgets({
  store,
  now,
  monotonicMs: clock = () => performance.now(),
}: BudgetsParts): Budgets {
  const schedules = new Map<string, Schedule>()

  const scheduleOf = (source: string, account: string, bucket: string, rules: BudgetRules): Schedule => {
    const key = JSON.stringify([source, account, bucket])
    const known = schedules.get(key)
    if (known !== undefined) return known
    for (const [oldest, { underWay }] of schedules) {
      if (schedules.size < capacity) break
      if (underWay === 0) schedules.delete(oldest)
    }
    const made: Schedule = {
      key,
      source,
      account,
      bucket,
      limit: rules.documented(bucket),
      isTold: false,
      pace: 1,
      pacedAtMs: clock(),
      stoppedUntilMs: Number.NEGATIVE_INFINITY,
      next: { atMs: 0, points: 0, msPerPoint: 0 },
      owed: 0,
      settledAtMs: Number.NEGATIVE_INFINITY,
      share: defaultShare,
      queue: Promise.resolve(),
      underWay: 0,
      waitingForPlace: [],
    }
    schedules.set(key, made)
    return made
  }

  const paceOf = (schedule: Schedule): number => {
    const steps = Math.floor((clock() - schedule.pacedAtMs) / paceBackMs)
    if (steps > 0) {
      schedule.pace = Math.min(1, schedule.pace + steps * paceBack)
      schedule.pacedAtMs += steps * paceBackMs
    }
    return schedule.pace
  }

  /** Points a millisecond. */
  const rateOf = (schedule: Schedule, share: number) =>
    (schedule.limit.points / schedule.limit.perMs) * (Math.min(share, mostShare) / 100) * paceOf(schedule)

  const stop = (schedule: Schedule, forMs: number) => {
    const atMs = clock()
    schedule.stoppedUntilMs = Math.max(schedule.stoppedUntilMs, atMs + forMs)
    schedule.next.points = 0
    return store.block(schedule.key, forMs)
  }

  const learn = async (schedule: Schedule, news: RateNews | undefined): Promise<void> => {
    if (news === undefined) return
    const { limit, remaining, resetInMs, throttledForMs } = news
    if (limit !== undefined && isSensible(limit)) {
      schedule.limit = limit
      schedule.isTold = true
    }
    if (throttledForMs !== undefined) {
      schedule.pace = Math.max(lowestPace, paceOf(schedule) / 2)
      schedule.pacedAtMs = clock()
      await stop(schedule, within(throttledForMs, shortestStopMs, longestStopMs))
    } else if (remaining !== undefined && remaining <= schedule.limit.points * reserveShare) {
      await stop(schedule, within(resetInMs ?? schedule.limit.perMs, 0, longestStopMs))
    }
  }

  /** Waits for the turn of a request of `cost` points. Whoever came first goes first. */
  const turn = async (
    schedule: Schedule,
    cost: number,
    share: number,
    signal: AbortSignal,
  ): Promise<void> => {
    schedule.share = share
    const mine = schedule.queue.then(async () => {
      for (let left = cost; left > 0; ) {
        signal.throwIfAborted()
        const stoppedMs = schedule.stoppedUntilMs - clock()
        if (stoppedMs > 0) {
          await wait(stoppedMs, undefined, { signal })
          continue
        }
        const tolerated = toleratedMs(schedule)
        const { next } = schedule
        if (next.points === 0 || clock() - next.atMs > tolerated + leaseMs) {
          const rate = rateOf(schedule, share)
          const points = Math.max(1, Math.floor(rate * leaseMs))
          const owed = settle(schedule)
          const askedAtMs = clock()
          const { startsInMs } = await store.take(schedule.key, points + owed, 1 / rate, tolerated)
          schedule.next = { atMs: askedAtMs + startsInMs + owed / rate, points, msPerPoint: 1 / rate }
          continue
        }
        const waitMs = next.atMs - clock()
        // Timers are late rather than early, and count whole milliseconds.
        if (waitMs > 1) {
          await wait(waitMs, undefined, { signal })
          continue
        }
        next.points -= 1
        next.atMs += next.msPerPoint
        left -= 1
      }
    })
    schedule.queue = mine.catch(() => undefined)
    await mine
  }

  const settle = (schedule: Schedule): number => {
    const { owed } = schedule
    schedule.owed = 0
    schedule.settledAtMs = clock()
    return owed
  }

  /** Takes what is owed from the schedule, so that those who wait on other nodes wait for it too. Once in a while. */
  const settleBeside = (schedule: Schedule) => {
    if (clock() - schedule.settledAtMs < leaseMs) return
    const owed = settle(schedule)
    store.take(schedule.key, owed, 1 / rateOf(schedule, schedule.share), toleratedMs(schedule)).catch(() => {
      schedule.owed += owed
    })
  }

  const place = async (schedule: Schedule, most: number): Promise<void> => {
    while (schedule.underWay >= most)
      await new Promise<void>((resolve) => schedule.waitingForPlace.push(resolve))
    schedule.underWay += 1
  }
  const leave = (schedule: Schedule) => {
    schedule.underWay -= 1
    schedule.waitingForPlace.shift()?.()
  }

  return {
    of: (source, account, rules) => ({
      spending: (http, signal, use, share = defaultShare, granted = {}) => ({
        async request(request: HttpRequest): Promise<HttpAnswer> {
          const { bucket, cost } = rules.bucketOf(request)
          const schedule = scheduleOf(source, account, bucket, rules)
          const points = Object.hasOwn(granted, bucket) ? granted[bucket] : undefined
          if (points !== undefined && !schedule.isTold) schedule.limit = { ...schedule.limit, points }
          const most =
            rules.concurrency === undefined
              ? Number.POSITIVE_INFINITY
              : Math.max(1, Math.floor((rules.concurrency * share) / 100))
          for (let refusals = 0; ; refusals += 1) {
            await place(schedule, most)
            let answer: HttpAnswer
            try {
              await turn(schedule, cost, share, signal)
              use.calls += 1
              answer = await http.request(request)
            } finally {
              leave(schedule)
            }
            const news = rules.newsIn(answer, bucket)
            await learn(schedule, news)
            if (news?.throttledForMs === undefined) return answer
            use.throttled += 1
            if (refusals === maxRefusals) return answer
          }
        },
      }),
      noting: (http) => ({
        async request(request) {
          const { bucket, cost } = rules.bucketOf(request)
          const schedule = scheduleOf(source, account, bucket, rules)
          schedule.owed += cost
          settleBeside(schedule)
          const answer = await http.request(request)
          // Only a refusal is worth telling the other nodes at once; of all else not even the headers are read.
          const news = answer.status < 400 ? undefined : rules.newsIn(answer, bucket)
          if (news?.throttledForMs !== undefined) await learn(schedule, news).catch(() => undefined)
          return answer
        },
      }),
    }),

    standing: (source, account) =>
      [...schedules.values()]
        .filter(
          (one) =>
            (source === undefined || one.source === source) &&
            (account === undefined || one.account === account),
        )
        .map((schedule) => {
          const stoppedMs = schedule.stoppedUntilMs - clock()
          return {
            source: schedule.source,
            account: schedule.account,
            bucket: schedule.bucket,
            limit: schedule.limit,
            ratePerSecond: rateOf(schedule, schedule.share) * 1_000,
            ...(stoppedMs > 0 && { throttledUntil: new Date(now().getTime() + stoppedMs) }),
          }
        }),
  }
}

const toleratedMs = ({ limit }: Schedule) => Math.min(toleranceMs, limit.perMs * toleranceShare)

/** What a provider says of itself may be anything. */
const isSensible = ({ points, perMs }: RateLimit) =>
  Number.isFinite(points) && points >= 1 && points <= 1e9 && perMs >= 100 && perMs <= 86_400_000

const within = (value: number, least: number, most: number) =>
  Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : least

/** Has the requests of a validation count against the budget of the account that they go to. */
export function notingValidations(budgets: Budgets) {
  return <C>(
    { name, reader, readDomain }: Pick<Source<C>, 'name' | 'reader' | 'readDomain'>,
    target: Target<C>,
    http: HttpClient,
  ): HttpClient =>
    reader === undefined || !readDomain(target.domain).ok
      ? http
      : budgets.of(name, reader.rates.account(target), reader.rates).noting(http)
}
