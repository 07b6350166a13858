/** The only way out: opens clients that reach what a source may reach and nothing else. */
import tls from 'node:tls'
import { Answer } from './answer.ts'
import {
  ConnectFailure,
  type Dial,
  dialByTcp,
  type Resolve,
  resolveBySystem,
  type Target,
} from './connect.ts'
import { type Destination, destinationOf } from './destination.ts'
import { exchange } from './exchange.ts'
import { BrokenOff, type Failure, failureOf, outOfTime } from './failure.ts'
import type { EgressRule, HttpAnswer, HttpClient, HttpRequest } from './http.ts'
import { Limit } from './limit.ts'
import { sendableHeaders } from './request-headers.ts'
import { retryAfterSeconds } from './retry-after.ts'
import { endpointTarget, providerTarget, Route } from './route.ts'
import { SourceError, type SourceErrorCode } from './source-error.ts'
import { Turns } from './turns.ts'

/** Largest answer, in bytes after decompression, unless a request sets less. No API answer to a validation comes near. */
export const maxBodyBytes = 1024 * 1024
/** The same for a client that reads whole pages of entities. */
export const maxPageBytes = 4 * 1024 * 1024

/** Requests begun in one turn of the event loop by all clients together: about 2 ms of work, connections included. */
const requestsPerTurn = 16

export interface OutboundLimits {
  /** From the start of a connection until it may carry a request: look-up, TCP and TLS. */
  readonly connectMs: number
  /** From the request until the answer's headers are complete. */
  readonly headersMs: number
  /** Between two pieces of a body. */
  readonly idleMs: number
  /** A whole request, retry included; a client's signal usually ends it earlier. */
  readonly requestMs: number
  /** When every failure to reach a host that the customer named is reported, measured from the start of the request. */
  readonly customerFailureMs: number
  /** All header fields of one answer together. */
  readonly headerBytes: number
  /** Sockets of one client to one host; never fewer than `fewestSocketsPerHost`. */
  readonly socketsPerHost: number
  /** Sockets that the clients open at one time share: when there are many, each has fewer and opens them less often. */
  readonly socketsInAll: number
}

/** What every client has to a host, however many others there are: reads go side by side all the same. */
const fewestSocketsPerHost = 4

const defaultLimits: OutboundLimits = {
  connectMs: 5_000,
  headersMs: 10_000,
  idleMs: 10_000,
  requestMs: 30_000,
  customerFailureMs: 3_000,
  headerBytes: 32 * 1024,
  socketsPerHost: 16,
  socketsInAll: 256,
}

export interface OutboundOptions {
  /**
   * Loopback origins that stand in for provider hosts, from CREDENCE_ENDPOINTS: host → origin. Path, query, Host
   * header and, for https, the name in the certificate stay the provider's.
   */
  readonly endpoints?: ReadonlyMap<string, URL>
  /** Authorities trusted for `endpoints` alone, in PEM (the demo's own; others come by NODE_EXTRA_CA_CERTS). */
  readonly endpointAuthorities?: readonly string[]
  readonly limits?: Partial<OutboundLimits>
  readonly now?: () => Date
  /** Looks names up; the operating system does by default. What it answers is filtered all the same. */
  readonly resolve?: Resolve
  /** Opens TCP connections; whom they reach is compared with whom they were for. */
  readonly dial?: Dial
}

export interface Outbound {
  /**
   * A client of its own sockets for one validation or sync; nothing is shared with any other.
   *
   * @param budgetMs the time that `signal` grants, as far as the caller knows it; nothing is asked a second time once
   *   two thirds of it have passed since `open`, and with 0 nothing ever is
   * @param largestBodyBytes what no request may exceed; `maxBodyBytes` by default
   */
  open(
    rules: readonly EgressRule[],
    signal: AbortSignal,
    budgetMs?: number,
    largestBodyBytes?: number,
  ): HttpClient & { close(): Promise<void> }
}

/** What every client of one Outbound uses. None of it holds anything of a validation. */
interface Equipment {
  readonly endpoints: ReadonlyMap<string, URL>
  readonly limits: OutboundLimits
  readonly now: () => Date
  readonly resolve: Resolve
  readonly dial: Dial
  readonly turns: Turns
  readonly providerContext: () => tls.SecureContext
  readonly endpointContext: () => tls.SecureContext
  /** Clients that are not closed yet. */
  readonly open: Set<Client>
}

export function createOutbound(options: OutboundOptions = {}): Outbound {
  const equipment: Equipment = {
    endpoints: options.endpoints ?? new Map(),
    limits: { ...defaultLimits, ...options.limits },
    now: options.now ?? (() => new Date()),
    resolve: sharedWhileAsked(options.resolve ?? resolveBySystem),
    dial: options.dial ?? dialByTcp,
    turns: new Turns(requestsPerTurn),
    providerContext: once(() => tls.createSecureContext({ minVersion: 'TLSv1.2' })),
    endpointContext: once(() =>
      tls.createSecureContext({
        minVersion: 'TLSv1.2',
        // The default authorities include those of NODE_EXTRA_CA_CERTS.
        ca: [...tls.getCACertificates('default'), ...(options.endpointAuthorities ?? [])],
      }),
    ),
    open: new Set(),
  }
  return {
    open: (rules, signal, budgetMs = 10_000, largestBodyBytes = maxBodyBytes) =>
      new Client(equipment, rules, signal, budgetMs, largestBodyBytes),
  }
}

class Client implements HttpClient {
  readonly #equipment: Equipment
  readonly #rules: readonly EgressRule[]
  readonly #routes = new Map<string, Route>()
  /** Ends when the caller's signal aborts, and when the client is closed. */
  readonly #life = new Limit()
  readonly #forgetSignal: () => void
  readonly #retryUntil: number
  readonly #largestBodyBytes: number

  constructor(
    equipment: Equipment,
    rules: readonly EgressRule[],
    signal: AbortSignal,
    budgetMs: number,
    largestBodyBytes: number,
  ) {
    this.#equipment = equipment
    this.#rules = rules
    const stop = () => this.#life.end()
    signal.addEventListener('abort', stop, { once: true })
    this.#forgetSignal = () => signal.removeEventListener('abort', stop)
    if (signal.aborted) stop()
    this.#retryUntil = performance.now() + (budgetMs * 2) / 3
    this.#largestBodyBytes = largestBodyBytes
    equipment.open.add(this)
  }

  async close(): Promise<void> {
    this.#equipment.open.delete(this)
    this.#forgetSignal()
    this.#life.end()
    await Promise.all([...this.#routes.values()].map((route) => route.close()))
  }

  async request(request: HttpRequest): Promise<HttpAnswer> {
    const startedAt = performance.now()
    await this.#equipment.turns.take()
    const { operation } = request
    const destination = destinationOf(request.url, this.#rules)
    if (destination === undefined) throw new SourceError({ code: 'forbidden_host', operation })
    const asked = `${request.method} ${destination.pathname}`
    const headers = sendableHeaders(request)

    try {
      return await this.#askTwiceAtMost(request, destination, headers, asked)
    } catch (thrown) {
      if (thrown instanceof SourceError) throw thrown
      const failure = failureOf(thrown)
      if (failure === undefined) throw thrown
      if (destination.chosenBy === 'provider' || !aboutReaching.has(failure.code))
        throw sourceError(failure, operation, asked)
      await this.#waitUntil(startedAt + this.#equipment.limits.customerFailureMs)
      throw new SourceError({ code: 'unreachable', operation, asked })
    }
  }

  async #askTwiceAtMost(
    request: HttpRequest,
    destination: Destination,
    headers: Record<string, string>,
    asked: string,
  ): Promise<HttpAnswer> {
    if (this.#life.isOver) throw outOfTime
    const { requestMs } = this.#equipment.limits
    const limit = new Limit({
      // A host that answers nothing once it is connected must be told no later than one that nobody can reach.
      ms: destination.chosenBy === 'customer' ? Math.min(requestMs, this.#customerMs()) : requestMs,
      within: this.#life,
    })
    const ask = () => this.#ask(request, destination, headers, asked, limit)
    // Only what changes nothing is asked again, and no host that a customer named: its failures keep one time band.
    const isRepeatable = request.method === 'GET' && destination.chosenBy === 'provider'
    try {
      const first = await ask().catch(brokenOff)
      const wait = isRepeatable ? waitBeforeRetryMs(first) : undefined
      if (wait === undefined || !this.#mayRetryAfter(wait)) {
        if (first instanceof BrokenOff) throw first
        return first
      }
      try {
        await limit.pause(wait)
        return await ask()
      } catch (thrown) {
        // An answer says more than a silence.
        if (first instanceof BrokenOff || failureOf(thrown) === undefined) throw thrown
        return first
      }
    } finally {
      limit.release()
    }
  }

  #mayRetryAfter(waitMs: number): boolean {
    return !this.#life.isOver && performance.now() + waitMs < this.#retryUntil
  }

  async #ask(
    request: HttpRequest,
    destination: Destination,
    headers: Record<string, string>,
    asked: string,
    limit: Limit,
  ): Promise<HttpAnswer> {
    const { headersMs, idleMs } = this.#equipment.limits
    const route = this.#routeTo(destination)
    try {
      const answer = await exchange(route.pool, {
        method: request.method,
        path: destination.path,
        headers,
        body: request.body,
        maxBodyBytes: Math.min(request.maxBodyBytes ?? this.#largestBodyBytes, this.#largestBodyBytes),
        headersMs,
        idleMs,
        limit,
        now: this.#equipment.now,
      })
      return new Answer(answer, request.operation, asked)
    } catch (thrown) {
      if (thrown === outOfTime && !route.isConnected) throw new ConnectFailure('unreachable', 'ETIMEDOUT')
      throw thrown
    }
  }

  #routeTo({ host, chosenBy }: Destination): Route {
    const known = this.#routes.get(host)
    if (known !== undefined) return known
    const { limits, dial } = this.#equipment
    const route = new Route(this.#targetOf(host), {
      dial,
      connectMs: chosenBy === 'customer' ? this.#customerMs() : limits.connectMs,
      headerBytes: limits.headerBytes,
      sockets: this.#sockets(),
      within: this.#life,
    })
    this.#routes.set(host, route)
    return route
  }

  /** A margin below the moment of reporting, so that a silent host is reported no later than one that refuses. */
  #customerMs(): number {
    return this.#equipment.limits.customerFailureMs * 0.9
  }

  #sockets(): number {
    const { limits, open } = this.#equipment
    const share = Math.floor(limits.socketsInAll / open.size)
    return Math.min(limits.socketsPerHost, Math.max(fewestSocketsPerHost, share))
  }

  #targetOf(host: string): Target {
    const { endpoints, resolve, providerContext, endpointContext } = this.#equipment
    const endpoint = endpoints.get(host)
    return endpoint === undefined
      ? providerTarget(host, resolve, providerContext())
      : endpointTarget(host, endpoint, endpointContext)
  }

  async #waitUntil(time: number): Promise<void> {
    // Timers count whole milliseconds.
    const left = Math.ceil(time - performance.now())
    if (left > 0) await this.#life.pause(left)
  }
}

/** A connection that was broken off is the one failure that asking again may mend. */
function brokenOff(thrown: unknown): BrokenOff {
  if (thrown instanceof BrokenOff) return thrown
  throw thrown
}

/** Milliseconds to wait before asking again, where the server seems only briefly unable to answer. */
function waitBeforeRetryMs(first: HttpAnswer | BrokenOff): number | undefined {
  if (first instanceof BrokenOff) return jitteredMs()
  if (first.status !== 502 && first.status !== 503 && first.status !== 504) return undefined
  const { headers, receivedAt } = first
  if (!headers.has('retry-after')) return jitteredMs()
  const seconds = retryAfterSeconds(headers, receivedAt)
  return seconds === undefined || seconds > 1 ? undefined : Math.max(seconds * 1000, jitteredMs())
}

/** A pause that keeps the many clients of one outage from coming back together. */
const jitteredMs = () => 50 + Math.random() * 150

/** Failures before there was an answer: of these, a host that a customer named shows one kind. */
const aboutReaching: ReadonlySet<SourceErrorCode> = new Set([
  'unreachable',
  'dns_failed',
  'tls_failed',
  'forbidden_host',
  'timed_out',
])

function sourceError({ code, network, status }: Failure, operation: string, asked: string): SourceError {
  return new SourceError({
    code,
    operation,
    asked,
    ...(status !== undefined && { status }),
    ...(network !== undefined && { hints: { network }, cause: new Error(network) }),
  })
}

/**
 * Asks for a name once while the same question is open. Look-ups by the system share two threads of the process, so
 * that many validations of one slow name must not take them from all others. An answer is not kept.
 */
function sharedWhileAsked(resolve: Resolve): Resolve {
  const open = new Map<string, ReturnType<Resolve>>()
  return (host) => {
    const asked = open.get(host) ?? resolve(host).finally(() => open.delete(host))
    open.set(host, asked)
    return asked
  }
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
