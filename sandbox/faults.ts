/** Faults: what may go wrong with an answer on its way, which requests it strikes, and for how often. */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { z } from 'zod'
import type { ProviderFault, SandboxRequest } from './provider.ts'

/** Longest pause a fault may make, in ms: longer than any time limit a client would set. */
const longestPauseMs = 10 * 60 * 1000

const kinds = {
  latency: 'waits `ms` (1000) before answering; further faults still strike',
  throttled: "the vendor's answer to too many requests",
  unavailable: "the vendor's 503",
  status: '`status` (500) with `headers` and `body`',
  html: "a captive portal's page with 200",
  cut: 'closes the connection after half of the answer',
  reset: 'resets the connection without an answer',
  truncated: 'half of the JSON document, correctly framed',
  hang: 'never answers',
  drip: 'the body a byte at a time, `ms` (100) apart',
  endless: 'a body without end',
  gzip_bomb: 'a small body that decompresses to 10 GB',
  deep_json: "nesting beyond any API's",
  redirect: '302 to `location`',
  repeated_next_link: "each page's next link names the page itself",
  empty_middle_page: 'one page between others is empty',
  lost_delta_token: 'Entra ID: a delta query answers 410, as for a token it does not know any more',
  delta_replays:
    'Entra ID: a delta query tells changes again that it told before, out of order, parts of objects only',
} as const

/** Every kind with its meaning. */
export const faultKinds: Readonly<Record<Fault['kind'], string>> = kinds

/** A fault and the requests it strikes. */
export interface Fault {
  readonly provider?: 'google' | 'okta' | 'entra'
  readonly method?: string
  /** Regular expression that the path, without its query, must match; every path by default. */
  readonly path?: string
  readonly kind: keyof typeof kinds
  /** `latency`: how long it waits; `drip`: pause between two bytes. */
  readonly ms?: number
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** A string is sent as it is, anything else as JSON. */
  readonly body?: unknown
  readonly location?: string
  /** How many requests it strikes before it switches itself off; all by default. */
  readonly times?: number
}

const passes = (check: () => unknown): boolean => {
  try {
    check()
    return true
  } catch {
    return false
  }
}

/** What can be sent in a header; Node refuses anything else only while it is sending. */
const headers = z.record(z.string(), z.string()).refine(
  (all) =>
    Object.entries(all).every(([name, value]) =>
      passes(() => {
        validateHeaderName(name)
        validateHeaderValue(name, value)
      }),
    ),
  'must be names and values that HTTP allows',
)

export const faultSchema: z.ZodType<Fault> = z
  .strictObject({
    provider: z.enum(['google', 'okta', 'entra']).optional(),
    method: z
      .string()
      .regex(/^[A-Z]+$/, 'must be upper-case letters')
      .optional(),
    path: z
      .string()
      .max(200)
      .refine((text) => passes(() => new RegExp(text)), 'must be a regular expression')
      .optional(),
    kind: z.enum(Object.keys(kinds) as Fault['kind'][]),
    ms: z.int().min(0).max(longestPauseMs).optional(),
    status: z.int().min(200).max(599).optional(),
    headers: headers.optional(),
    body: z.unknown().optional(),
    location: z
      .string()
      .max(2000)
      .refine((text) => passes(() => validateHeaderValue('location', text)), 'must be a URL')
      .optional(),
    times: z.int().min(1).optional(),
  })
  .refine((fault) => fault.kind !== 'redirect' || fault.location !== undefined, {
    path: ['location'],
    error: 'is needed for a redirect',
  })

/** A fault that replaces or damages the answer. */
export type AnswerFault = Fault & { readonly kind: Exclude<Fault['kind'], ProviderFault | 'latency'> }

const isPlayedByProvider = (kind: Fault['kind']): kind is ProviderFault =>
  kind === 'repeated_next_link' ||
  kind === 'empty_middle_page' ||
  kind === 'lost_delta_token' ||
  kind === 'delta_replays'

/** What strikes one request. */
export interface Struck {
  /** Waits of all matching `latency` faults together. */
  readonly latencyMs: number
  /** Faults that the provider itself plays. */
  readonly played: ReadonlySet<ProviderFault>
  /** The first fault that replaces or damages the answer. */
  readonly fault: AnswerFault | undefined
}

export interface FaultBoard {
  /** Replaces all faults. @throws z.ZodError when one of them is none */
  set(faults: readonly Fault[]): void
  /** Those still switched on; `times` is what is left. */
  list(): readonly Fault[]
  /** What strikes this request; counts as one time for each fault that does. */
  strike(provider: Fault['provider'], request: Pick<SandboxRequest, 'method' | 'url'>): Struck
}

export function createFaultBoard(): FaultBoard {
  let entries: { fault: Fault; path: RegExp | undefined; left: number }[] = []
  return {
    set(faults) {
      entries = z
        .array(faultSchema)
        .parse(faults)
        .map((fault) => ({
          fault,
          path: fault.path === undefined ? undefined : new RegExp(fault.path),
          left: fault.times ?? Number.POSITIVE_INFINITY,
        }))
    },
    list: () =>
      entries.map(({ fault, left }) => (fault.times === undefined ? fault : { ...fault, times: left })),
    strike(provider, request) {
      let latencyMs = 0
      let main: AnswerFault | undefined
      const played = new Set<ProviderFault>()
      for (const entry of entries) {
        const { fault, path } = entry
        if (fault.provider !== undefined && fault.provider !== provider) continue
        if (fault.method !== undefined && fault.method !== request.method) continue
        if (path !== undefined && !path.test(request.url.pathname)) continue
        const { kind } = fault
        if (kind === 'latency') latencyMs += fault.ms ?? 1000
        else if (isPlayedByProvider(kind)) played.add(kind)
        else if (main === undefined) main = { ...fault, kind }
        else continue // Only one answer can be given: this fault waits for its turn.
        entry.left -= 1
      }
      entries = entries.filter((entry) => entry.left > 0)
      return { latencyMs, played, fault: main }
    },
  }
}
