/**
 * Circuit breakers: a host that failed several times in a row is spared for a while, and what would have been asked of
 * it is answered at once; then one request tries, and its answer has the rest go on. Every owner has circuits of its
 * own, so that nobody's host is felt, or seen, by anybody else.
 */
import type { HttpAnswer, HttpClient, HttpRequest } from './http.ts'
import { SourceError, type SourceErrorCode } from './source-error.ts'

/** Whose requests share a circuit: those of one organisation to one account at a provider. */
export interface CircuitOwner {
  readonly organizationId: string
  readonly source: string
  readonly account: string
}

export interface CircuitNews extends CircuitOwner {
  readonly host: string
  /** Failures in a row. */
  readonly failures: number
  /** What the last one was, in words. */
  readonly reason: string
}

export interface Guarded {
  readonly owner: CircuitOwner
  /** Once it has aborted, failures are our own doing. */
  readonly signal?: AbortSignal
  /** Whether an answer with a status of 500 or more refuses because of a limit. */
  isThrottled(request: HttpRequest, answer: HttpAnswer): boolean
}

export interface Circuits {
  /**
   * The same client, which asks nothing of a host whose circuit is open.
   *
   * Its `request` also throws SourceError `circuit_open`, with `retryAfterSeconds`, and the last failure in words as
   * the hint `circuit`
   */
  guarding(http: HttpClient, guarded: Guarded): HttpClient
}

export interface CircuitsParts {
  /** Failures in a row that open a circuit; 5 by default. */
  readonly failures?: number
  /** How long nothing is asked then, in milliseconds; 30 s by default. */
  readonly coolDownMs?: number
  /** Milliseconds on a clock that never goes back. */
  readonly monotonicMs?: () => number
  /** Told when a circuit opens, and again whenever the request that tried has failed. */
  onOpen(news: CircuitNews): void
  onClose(news: CircuitNews): void
}

/** Circuits with failures that are remembered; the oldest are forgotten. */
const capacity = 10_000

/** Failures that say that the host is not there, and not what it thinks of the request. */
const reasons: Partial<Record<SourceErrorCode, string>> = {
  timed_out: 'it did not answer in time',
  dns_failed: 'its name could not be resolved',
  unreachable: 'no connection could be made, or it broke',
  tls_failed: 'no trusted connection could be made',
}
/** Nothing was sent: it says nothing of the host. */
const unsent: ReadonlySet<SourceErrorCode> = new Set(['not_configured', 'forbidden_host'])

/** A host with failures; one without any has no circuit. */
interface Circuit {
  failures: number
  reason: string
  /** Nothing is asked until then; absent while too little has failed. */
  openUntilMs?: number
  /** A request is trying whether the host is back. */
  isTrying: boolean
}

export function createCircuits({
  failures: most = 5,
  coolDownMs = 30_000,
  monotonicMs: clock = () => performance.now(),
  onOpen,
  onClose,
}: CircuitsParts): Circuits {
  const circuits = new Map<string, Circuit>()

  /** Lets a request through; the circuit when it is the one that tries. @throws SourceError `circuit_open` */
  const admit = (key: string, operation: string): Circuit | undefined => {
    const circuit = circuits.get(key)
    if (circuit?.openUntilMs === undefined) return undefined
    const leftMs = circuit.openUntilMs - clock()
    if (leftMs > 0 || circuit.isTrying)
      throw new SourceError({
        code: 'circuit_open',
        operation,
        retryAfterSeconds: Math.max(1, Math.ceil(leftMs / 1000)),
        hints: { circuit: circuit.reason },
      })
    circuit.isTrying = true
    return circuit
  }

  return {
    guarding: (http, { owner, signal, isThrottled }) => ({
      async request(request) {
        const host = URL.parse(request.url)?.hostname ?? ''
        const key = JSON.stringify([owner.organizationId, owner.source, owner.account, host])
        const trial = admit(key, request.operation)

        const noteReached = () => {
          const circuit = circuits.get(key)
          if (circuit === undefined) return
          circuits.delete(key)
          if (circuit.openUntilMs !== undefined) onClose({ ...owner, host, ...told(circuit) })
        }
        const noteFailure = (reason: string) => {
          const circuit = circuits.get(key) ?? { failures: 0, reason, isTrying: false }
          // What was under way when it opened says no more than what opened it.
          if (circuit.openUntilMs !== undefined && circuit !== trial) return
          circuit.failures += 1
          circuit.reason = reason
          circuits.set(key, circuit)
          const [oldest] = circuits.keys()
          if (circuits.size > capacity && oldest !== undefined) circuits.delete(oldest)
          if (circuit.failures < most) return
          circuit.openUntilMs = clock() + coolDownMs
          onOpen({ ...owner, host, ...told(circuit) })
        }

        try {
          const answer = await http.request(request)
          // 501 is an answer to what was asked.
          const isFailure = answer.status >= 500 && answer.status !== 501 && !isThrottled(request, answer)
          if (isFailure) noteFailure(`it answered ${answer.status}`)
          else noteReached()
          return answer
        } catch (error) {
          if (error instanceof SourceError && signal?.aborted !== true) {
            const reason = reasons[error.code]
            if (reason !== undefined) noteFailure(reason)
            else if (!unsent.has(error.code)) noteReached()
          }
          throw error
        } finally {
          if (trial !== undefined) trial.isTrying = false
        }
      },
    }),
  }
}

const told = ({ failures, reason }: Circuit) => ({ failures, reason })
