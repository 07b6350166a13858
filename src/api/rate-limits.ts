/** Limits per caller and per target, in calendar-aligned windows, and the headers that tell about them. */
import type { FastifyReply } from 'fastify'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'

/** Length of a window, in seconds. Windows start at whole multiples of it since 1970. */
export const periodSeconds = 60

/** Requests per window. */
export interface Limits {
  /** Validations of one caller. */
  readonly validationsPerCaller: number
  /** Other requests of one caller. */
  readonly requestsPerCaller: number
  /** Validations of one target: organisation, integration type and domain. */
  readonly validationsPerTarget: number
  /** Unproven credentials that reach a provider, per target and principal; the guess guard counts them. */
  readonly unprovenAttempts: number
}

export type LimitName = 'validations' | 'requests' | 'validations_per_target' | 'unproven_attempts'

/** How a limit stands after one more request. */
export interface Standing {
  readonly name: LimitName
  readonly limit: number
  readonly remaining: number
  /** Seconds until a request is sure to be counted anew: 1 to the period. */
  readonly resetSeconds: number
  readonly isExceeded: boolean
}

export interface RateLimits {
  /** Counts a request of a caller. */
  countCaller(name: 'validations' | 'requests', callerId: string): Promise<Standing>
  /** Counts a validation of a target, whoever of the organisation asks. */
  countTarget(organizationId: string, integrationType: string, domain: string): Promise<Standing>
}

/** @param now milliseconds since 1970 */
export function createRateLimits(limits: Limits, now: () => number): RateLimits {
  const limiter = (name: LimitName, points: number) => {
    const counts = new RateLimiterMemory({ keyPrefix: name, points, duration: periodSeconds })
    return (key: string): Promise<Standing> => {
      const seconds = Math.floor(now() / 1000)
      const stand = ({ consumedPoints }: RateLimiterRes): Standing => ({
        name,
        limit: points,
        remaining: Math.max(0, points - consumedPoints),
        resetSeconds: periodSeconds - (seconds % periodSeconds),
        isExceeded: consumedPoints > points,
      })
      // The number of the window is part of the key: a count never outlives its window, and the library forgets it soon after.
      return counts
        .consume(`${Math.floor(seconds / periodSeconds)}:${key}`)
        .then(stand, (rejection: unknown) => stand(asExceeded(rejection)))
    }
  }
  const callers = {
    validations: limiter('validations', limits.validationsPerCaller),
    requests: limiter('requests', limits.requestsPerCaller),
  }
  const targets = limiter('validations_per_target', limits.validationsPerTarget)
  return {
    countCaller: (name, callerId) => callers[name](callerId),
    countTarget: (...target) => targets(JSON.stringify(target)),
  }
}

/** The library rejects with the count when it is exceeded, and with an error when something is wrong. */
function asExceeded(rejection: unknown): RateLimiterRes {
  if (rejection instanceof RateLimiterRes) return rejection
  throw rejection
}

/**
 * Tells a client how a limit stands. Whole numbers and lower case: clients of several languages depend on both.
 * Clients wait for `x-ratelimit-reset` seconds after 429, most of them after 5xx too.
 */
export function sendStanding(reply: FastifyReply, standing: Standing): void {
  reply.headers({
    'x-ratelimit-limit': standing.limit,
    'x-ratelimit-period': periodSeconds,
    'x-ratelimit-remaining': standing.remaining,
    'x-ratelimit-reset': standing.resetSeconds,
    'x-ratelimit-name': standing.name,
  })
  if (standing.isExceeded) reply.header('retry-after', standing.resetSeconds)
}
