/** What the server is made of, handed in by whoever composes it. */
import type { Configs } from '../configs/configs.ts'
import type { AnySource } from '../sources/registry.ts'
import type { Database } from '../store/database.ts'
import type { Sync } from '../sync/sync.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { GuardedValidationParts } from '../validation/guarded-validation.ts'
import type { Redact } from '../validation/redact.ts'
import type { Access, Authentication, Caller } from './authentication.ts'
import type { Limits, RateLimits } from './rate-limits.ts'
import type { Streams } from './streams.ts'
import type { WebOriginPolicy } from './web-origin.ts'

export interface ServerParts {
  readonly configs: Configs
  readonly sync: Sync
  readonly database: Pick<Database, 'query'>
  /** As far as is known: looked at every second. */
  isDatabaseAnswering(): boolean
  readonly sources: readonly AnySource[]
  readonly validation: GuardedValidationParts
  readonly authentication: Authentication
  readonly rateLimits: RateLimits
  readonly limits: Limits
  readonly streams: Streams
  readonly webOrigin: WebOriginPolicy
  readonly metrics: Metrics
  readonly log: Log
  readonly lifecycle: Lifecycle
}

/** Lets what is under way know when the server wants to end. */
export interface Lifecycle {
  /** False as soon as the server has been asked to end. */
  isReady(): boolean
  /** Has `stop` called if the server cannot wait any longer. Returns what ends this. */
  whenImpatient(stop: () => void): () => void
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the route asks of its callers; must be there. */
    access?: Access
    /** Which limit its requests count against; `requests` unless given. */
    limit?: 'validations'
    /** Largest body where it is another than the server's own limit, in bytes. */
    maxBodyBytes?: number
    /** A JSON body may be announced and be empty; otherwise that is refused. */
    isBodyOptional?: boolean
    /** `json_api`: refusals are error objects of JSON:API instead of texts. */
    errorForm?: 'json_api'
  }
  interface FastifyRequest {
    /** Null on public routes, and before the caller is known. */
    caller: Caller | null
    /** Hides the request's secrets, once they are known. */
    redact: Redact | null
  }
}
