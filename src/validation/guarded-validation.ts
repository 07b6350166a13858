/** A validation as callers may ask for it: the operator's credentials where they are due, and no oracle for guessing. */
import type { EgressRule, HttpClient, HttpRequest } from '../outbound/http.ts'
import { completedByOperator } from '../sources/operator-entry.ts'
import type { AnySource } from '../sources/registry.ts'
import type { FieldFault, Target } from '../sources/source.ts'
import type { Capacity } from './capacity.ts'
import type { GuessGuard, TrialEnd } from './guess-guard.ts'
import { type Redact, redactor } from './redact.ts'
import type { Report } from './report.ts'
import { type ValidationOptions, type ValidationTools, validate } from './validate.ts'

export interface ValidationRequest {
  readonly organization: { readonly id: string; readonly name: string }
  readonly source: AnySource
  /** As given. */
  readonly domain: string
  readonly secrets: Readonly<Record<string, unknown>> | undefined
  /** Who asks, for the audit trail of the operator's credentials; the server itself when absent. */
  readonly actor?: { readonly id: string; readonly address?: string; readonly requestId?: string }
  /** Nobody waits for it: hosts that do not answer may be spared. */
  readonly isUnattended?: boolean
}

/** A request whose secrets could be read; nothing was sent yet. */
export interface ReadRequest {
  /** Hides the request's secrets in whatever is shown or logged. */
  readonly redact: Redact
  /** Takes a place and asks the guard; may have to wait for a trial of the same credentials that is under way. */
  admit(): Promise<AdmittedValidation | RefusedValidation>
}

export interface RefusedValidation {
  readonly isAdmitted: false
  /** `no_place`: as many validations are under way as there may be. `no_attempt`: see GuessGuard. */
  readonly reason: 'no_place' | 'no_attempt'
  readonly retryAfterSeconds: number
}

/** When a place is likely to be free again, in seconds: a validation rarely takes longer. */
const placeFreeAfterSeconds = 2

/** One of its two calls has to follow, once. */
export interface AdmittedValidation {
  readonly isAdmitted: true
  run(options: ValidationOptions): Promise<Report>
  /** Gives place and attempt back, unused. */
  leave(): void
}

export interface GuardedValidationParts {
  readonly tools: ValidationTools
  readonly guard: GuessGuard
  readonly capacity: Capacity
  /** The same client, whose requests count against the budget of the account at the provider. */
  readonly noting?: (source: AnySource, target: Target<unknown>, http: HttpClient) => HttpClient
  /** The same client, which asks nothing of hosts that have not answered lately. */
  readonly sparing?: (
    http: HttpClient,
    whose: { readonly organizationId: string; readonly source: AnySource; readonly target: Target<unknown> },
  ) => HttpClient
  /** Waited for before a validation begins: reading keys takes time, and a burst would hold up everything else. */
  readonly turn: () => Promise<void>
  /** The operator's entry that serves this organisation and domain (in canonical form), if there is one; or a promise of it. */
  readonly operatorEntry: (
    key: string,
    organization: ValidationRequest['organization'],
    domain: string,
    actor: ValidationRequest['actor'],
  ) => unknown
}

/** Reads the secrets of a request: all faults at once when they cannot be understood. */
export async function readRequest(
  { tools, guard, capacity, noting, sparing, operatorEntry }: GuardedValidationParts,
  { organization, source, domain, secrets, actor, isUnattended = false }: ValidationRequest,
): Promise<{ readonly faults: readonly FieldFault[] } | { readonly request: ReadRequest }> {
  const reading = source.readCredentials(secrets)
  if (!reading.ok) return { faults: reading.faults }
  const canonical = source.readDomain(domain)
  const credentials = await completedByOperator(
    source,
    { domain, credentials: reading.credentials },
    (key, canonicalDomain) => operatorEntry(key, organization, canonicalDomain, actor),
  )
  const target = { domain, credentials }

  /**
   * Whose account a guesser would try. A principal is the same one whatever domain is claimed beside it, where the
   * domain does not choose the host: counted by domain, each new one would be worth new attempts.
   */
  function accountTried(domain: string): readonly string[] {
    const principal = source.principalOf(credentials)
    if (principal === undefined) return ['domain', domain]
    const hosts = source.egress(target).map((rule) => ('host' in rule ? rule.host : rule.labelUnder))
    return ['principal', principal.toLowerCase(), ...hosts]
  }

  const admit: ReadRequest['admit'] = async () => {
    // Without a host to go to, nothing can be tried.
    const trial =
      !canonical.ok || source.egress(target).length === 0
        ? undefined
        : {
            subject: [organization.id, source.integrationType, ...accountTried(canonical.domain)],
            credentials: canonicalJson(secrets),
          }
    const leave = capacity.take(source.name, organization.id)
    if (leave === undefined)
      return { isAdmitted: false, reason: 'no_place', retryAfterSeconds: placeFreeAfterSeconds }
    const admission =
      trial === undefined ? ({ isAdmitted: true, settle: () => {} } as const) : await guard.admit(trial)
    if (!admission.isAdmitted) {
      leave()
      return { ...admission, reason: 'no_attempt' }
    }
    return {
      isAdmitted: true,
      leave() {
        admission.settle('nothing_sent')
        leave()
      },
      async run(options) {
        let end: TrialEnd = 'indeterminate'
        let sent = 0
        const openHttp = (rules: readonly EgressRule[], signal: AbortSignal, budgetMs: number) => {
          const http = tools.openHttp(rules, signal, budgetMs)
          const noted = noting?.(source, target, http) ?? http
          const counted = countingRequests(
            { request: (asked) => noted.request(asked), close: () => http.close() },
            () => {
              sent += 1
            },
          )
          if (!isUnattended || sparing === undefined) return counted
          const spared = sparing(counted, { organizationId: organization.id, source, target })
          return { request: (asked: HttpRequest) => spared.request(asked), close: () => http.close() }
        }
        try {
          const report = await validate(source, target, { ...tools, openHttp }, options)
          end = sent === 0 ? 'nothing_sent' : report.verdict
          return report
        } finally {
          admission.settle(end)
          leave()
        }
      },
    }
  }

  return { request: { redact: redactor(() => source.secretsIn(credentials)), admit } }
}

type ClosableHttp = HttpClient & { close(): Promise<void> }

const countingRequests = (http: ClosableHttp, count: () => void): ClosableHttp => ({
  request(request) {
    count()
    return http.request(request)
  },
  close: () => http.close(),
})

/** The same text for the same secrets, in whatever order their keys came. */
function canonicalJson(value: unknown): string {
  return (
    JSON.stringify(value, (_, member: unknown) =>
      member !== null && typeof member === 'object' && !Array.isArray(member)
        ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
        : member,
    ) ?? ''
  )
}
