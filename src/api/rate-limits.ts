/** Limits per caller and per target, in calendar-aligned windows, and the headers that tell about them. */
import type { FastifyReply } from 'fastify'
import type { Leases } from '../store/leases.ts'
import { windowMs } from '../store/rate-windows.ts'

/** Length of a window, in seconds. Windows start at whole multiples of it since 1970. */
export const periodSeconds = windowMs / 1000

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

/** Counts for all nodes together; a promise only where they have to be asked. */
export interface RateLimits {
  /** Counts a request of a caller. */
  countCaller(name: 'validations' | 'requests', callerId: string): Standing | Promise<Standing>
  /** Counts a validation of a target, whoever of the organisation asks. */
  countTarget(organizationId: string, integrationType: string, domain: string): Standing | Promise<Standing>
}

export function createRateLimits(limits: Limits, leases: Leases): RateLimits {
  const limiter = (name: LimitName, limit: number) => {
    const standing = ({ isGranted, remaining, resetSeconds }: Awaited<ReturnType<Leases['spend']>>) => ({
      name,
      limit,
      remaining,
      resetSeconds,
      isExceeded: !isGranted,
    })
    return (key: string): Standing | Promise<Standing> => {
      const spent = leases.spend(`${name}:${key}`, limit)
      return spent instanceof Promise ? spent.then(standing) : standing(spent)
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
