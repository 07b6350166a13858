/** Asks a Credence server for commands: bounded in time and size, and patient when it is told to wait. */
import { setTimeout as delay } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { z } from 'zod'
import { JsonRefused, parseBoundedJson } from '../outbound/bounded-json.ts'
import { CouldNotTell } from './exit-codes.ts'
import type { ServerAccess } from './profiles.ts'
import { printable } from './terminal.ts'

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Below the address of the server, with its query. */
  readonly path: string
  readonly body?: unknown
}

export interface ApiAnswer {
  readonly status: number
  /** Undefined where the body is empty. */
  readonly document: unknown
}

export interface ApiClient {
  /**
   * Asks, and asks again after 429 and 503 when it is time to, as long as the time limit allows.
   *
   * @throws CouldNotTell when there is no answer, or one that no such server gives
   */
  ask(asked: ApiRequest): Promise<ApiAnswer>
  close(): Promise<void>
}

export interface ApiClientOptions {
  /** For all questions together. */
  readonly timeoutMs: number
  /** Called before a wait. */
  onWait(answer: ApiAnswer, waitSeconds: number): void
}

/** A list of ten thousand configurations is about 5 MB. */
const maxAnswerBytes = 64 * 1024 * 1024
const connectTimeoutMs = 10_000
/** A server that names no time to wait, in seconds. */
const defaultWaitSeconds = 5

export function createApiClient(server: ServerAccess, { timeoutMs, onWait }: ApiClientOptions): ApiClient {
  const deadline = performance.now() + timeoutMs
  const leftMs = () => Math.ceil(Math.max(0, deadline - performance.now()))
  // One of our own: no proxy of the environment, no redirect followed.
  const agent = new Agent({
    allowH2: false,
    connections: 1,
    connect: { timeout: Math.min(connectTimeoutMs, timeoutMs), minVersion: 'TLSv1.2' },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: maxAnswerBytes,
  })
  const headers = {
    accept: 'application/json',
    ...(server.apiKey !== undefined && { 'dd-api-key': server.apiKey }),
    'dd-application-key': server.applicationKey,
  }

  async function askOnce({ method, path, body }: ApiRequest) {
    try {
      const answer = await request(`${server.url}${path}`, {
        dispatcher: agent,
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(leftMs()),
      })
      const { statusCode: status } = answer
      const text = await answer.body.text()
      if (status >= 300 && status < 400) {
        throw new CouldNotTell(
          `${server.url} answered ${status}, a redirect: keys are not sent on; name the server's own address`,
        )
      }
      return { status, document: documentOf(text, server.url, status), waitSeconds: waitIn(answer.headers) }
    } catch (error) {
      if (error instanceof CouldNotTell) throw error
      throw new CouldNotTell(`${server.url} ${reasonFor(error)}${method === 'GET' ? '' : unclearEnd}`)
    }
  }

  return {
    async ask(asked) {
      for (;;) {
        const { waitSeconds, ...answer } = await askOnce(asked)
        if (answer.status !== 429 && answer.status !== 503) return answer
        if (waitSeconds * 1_000 >= leftMs()) return answer
        onWait(answer, waitSeconds)
        await delay(waitSeconds * 1_000)
      }
    },
    close: () => agent.destroy(),
  }
}

const unclearEnd = '; whether it was done is not known, credence configs list shows what there is'

/** @throws CouldNotTell for what is no JSON */
function documentOf(text: string, url: string, status: number): unknown {
  if (text === '') return undefined
  try {
    return parseBoundedJson(text)
  } catch (error) {
    if (!(error instanceof JsonRefused)) throw error
    throw new CouldNotTell(
      `${url} answered ${status} with what is no answer of Credence; is it the right address?`,
    )
  }
}

type Headers = Readonly<Record<string, string | string[] | undefined>>

/** `retry-after` may be longer than the period that the other header stays within. */
function waitIn(headers: Headers): number {
  for (const name of ['retry-after', 'x-ratelimit-reset']) {
    const value = headers[name]
    if (typeof value === 'string' && /^\d{1,9}$/.test(value)) return Math.max(1, Number(value))
  }
  return defaultWaitSeconds
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'takes no connection: nothing listens there; is the server running?',
  ENOTFOUND: 'cannot be found: its host name is not known',
  EAI_AGAIN: 'cannot be found: its host name cannot be looked up now',
  EHOSTUNREACH: 'cannot be reached: there is no way to its host',
  ENETUNREACH: 'cannot be reached: there is no way to its network',
  ECONNRESET: 'closed the connection before it answered',
  EPIPE: 'closed the connection before it answered',
  UND_ERR_SOCKET: 'closed the connection before it answered',
  UND_ERR_CONNECT_TIMEOUT: 'takes no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'did not answer in time (--timeout)',
  UND_ERR_BODY_TIMEOUT: 'did not answer in time (--timeout)',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'answered more than any answer of Credence holds',
}

/** Without the error's own words, which may hold what was sent or received. */
function reasonFor(error: unknown): string {
  if (!(error instanceof Error)) return 'could not be asked'
  if (error.name === 'TimeoutError') return 'did not answer in time (--timeout)'
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  const known = reasons[code]
  if (known !== undefined) return known
  if (/CERT|SSL|TLS|ISSUER|SELF_SIGNED|UNABLE_TO/.test(code))
    return `shows no certificate that is trusted (${code}); NODE_EXTRA_CA_CERTS names a file of further authorities`
  return `could not be asked (${printable(code)})`
}

const errorsSchema = z.object({ errors: z.array(z.string()).min(1) })

/** What an answer says went wrong, each safe to print. */
export function errorsIn({ status, document }: ApiAnswer): readonly string[] {
  const read = errorsSchema.safeParse(document)
  if (!read.success) return [`the server answered ${status} and did not say why`]
  // `not_found(…)` is a form for programs.
  return read.data.errors.map((text) => printable(text.replace(/^not_found\((.*)\)$/s, '$1')))
}
