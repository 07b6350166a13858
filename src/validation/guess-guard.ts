/** Keeps validation from serving as an oracle for guessing: few credentials that are not known to be valid reach a provider. */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto'

/** Length of the window in which attempts count, in milliseconds. It slides: no minute, wherever it starts, holds more. */
const windowMs = 60_000
/** How long credentials that proved valid need no attempt, in milliseconds. */
const provenMs = 10 * 60_000
/** Most subjects and proven credentials remembered at a time. */
const defaultCapacity = 50_000

/** Whose account is tried, and with what. Every part is text; the order is the caller's. */
export interface Trial {
  /** Organisation, integration type, domain and principal: what a guesser holds fast. */
  readonly subject: readonly string[]
  /** What a guesser changes. Only a fingerprint of it is kept. */
  readonly credentials: string
}

/** `nothing_sent`: no request left for the provider, so that nothing was tried. */
export type TrialEnd = 'valid' | 'invalid' | 'indeterminate' | 'nothing_sent'

export type Admission =
  | {
      readonly isAdmitted: true
      /** To be called once, whatever happens. */
      settle(end: TrialEnd): void
    }
  | {
      readonly isAdmitted: false
      /** Whole seconds until an attempt is free again: 1 to 60. */
      readonly retryAfterSeconds: number
    }

export interface GuessGuard {
  /**
   * Asks to try credentials. Those that proved valid lately always may; others cost one of the subject's attempts,
   * which is given back when they turn out valid or nothing was sent. While the same credentials are being tried,
   * a later trial waits for that verdict first, once.
   */
  admit(trial: Trial): Promise<Admission>
}

/** An attempt as all nodes count them. */
export interface SharedAttempt {
  readonly isGranted: boolean
  /** Whole seconds until an attempt is free again: 1 to 60. */
  readonly resetSeconds: number
  giveBack(): void
}

export function createGuessGuard(options: {
  readonly attemptsPerMinute: number
  /** Takes an attempt of a subject from those of all nodes together; without it this node counts alone. */
  readonly spendShared?: (subject: string) => SharedAttempt | Promise<SharedAttempt>
  readonly capacity?: number
  /** Milliseconds on a clock that never goes back. */
  readonly monotonicMs?: () => number
}): GuessGuard {
  const {
    attemptsPerMinute,
    spendShared,
    capacity = defaultCapacity,
    monotonicMs: clock = () => performance.now(),
  } = options
  // A key of this process alone: what is kept is of no use to anyone who reads its memory later.
  const key = createSecretKey(randomBytes(32))
  /** Starts of the attempts that count, oldest first, by subject; the subject tried last is the last entry. */
  const attempts = new Map<string, number[]>()
  /** Until when credentials need no attempt, by fingerprint; the oldest proof is the first entry. */
  const proven = new Map<string, number>()
  const underWay = new Map<string, Promise<void>>()

  const fingerprint = (parts: readonly string[]) => {
    const hmac = createHmac('sha256', key)
    // Each part with its length before it: no two lists of parts are the same bytes.
    for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part)
    return hmac.digest('base64')
  }

  const isProven = (credentials: string) => (proven.get(credentials) ?? Number.NEGATIVE_INFINITY) > clock()

  const remember = (credentials: string) => {
    proven.delete(credentials)
    proven.set(credentials, clock() + provenMs)
    for (const oldest of proven.keys()) {
      if (proven.size <= capacity && isProven(oldest)) break
      proven.delete(oldest)
    }
  }

  /** The subject's attempts within the window. Subjects without any are forgotten, the longest idle first. */
  const recent = (subject: string): number[] => {
    const since = clock() - windowMs
    for (const [idle, starts] of attempts) {
      if ((starts.at(-1) ?? since) > since) break
      attempts.delete(idle)
    }
    return (attempts.get(subject) ?? []).filter((start) => start > since)
  }

  const record = (subject: string, starts: number[]) => {
    attempts.delete(subject)
    if (starts.length > 0) attempts.set(subject, starts)
  }

  /** Takes one attempt of the subject; its start, or how long until there is one. */
  const spend = (subject: string): { start: number } | { waitMs: number } => {
    const starts = recent(subject)
    const [oldest] = starts
    if (starts.length >= attemptsPerMinute && oldest !== undefined)
      return { waitMs: oldest + windowMs - clock() }
    // Forgetting a subject would give its attempts back: with no room left, a new one has to wait.
    if (!attempts.has(subject) && attempts.size >= capacity) return { waitMs: windowMs }
    const start = clock()
    record(subject, [...starts, start])
    return { start }
  }

  const giveBack = (subject: string, start: number) => {
    const starts = recent(subject)
    const at = starts.indexOf(start)
    if (at >= 0) record(subject, starts.toSpliced(at, 1))
  }

  return {
    async admit(trial) {
      const subject = fingerprint(trial.subject)
      const credentials = fingerprint([...trial.subject, trial.credentials])
      // Without one nothing is waited for, not even a turn: of many that come at once, the first makes the others wait.
      const earlier = isProven(credentials) ? undefined : underWay.get(credentials)
      if (earlier !== undefined) await earlier

      const isFree = isProven(credentials)
      const spent = isFree ? undefined : spend(subject)
      if (spent !== undefined && 'waitMs' in spent) return refusal(Math.ceil(spent.waitMs / 1000))

      const verdict = Promise.withResolvers<void>()
      if (!isFree && !underWay.has(credentials)) underWay.set(credentials, verdict.promise)
      const conclude = () => {
        if (underWay.get(credentials) === verdict.promise) underWay.delete(credentials)
        verdict.resolve()
      }
      // Told to wait for the verdict before the other nodes are asked: what comes meanwhile need not ask them.
      const shared = spent && (await spendShared?.(JSON.stringify(trial.subject)))
      if (spent !== undefined && shared?.isGranted === false) {
        giveBack(subject, spent.start)
        conclude()
        return refusal(shared.resetSeconds)
      }
      return {
        isAdmitted: true,
        settle(end) {
          if (end === 'valid') remember(credentials)
          else if (end === 'invalid') proven.delete(credentials)
          if (spent !== undefined && (end === 'valid' || end === 'nothing_sent')) {
            giveBack(subject, spent.start)
            shared?.giveBack()
          }
          conclude()
        },
      }
    },
  }
}

const refusal = (seconds: number): Admission => ({
  isAdmitted: false,
  retryAfterSeconds: Math.min(60, Math.max(1, seconds)),
})
