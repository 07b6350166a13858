/** Runs a source's checks, each as early as what it comes after allows, and builds the report. */
import type { EgressRule, HttpClient } from '../outbound/http.ts'
import { SourceError } from '../outbound/source-error.ts'
import type { Cause } from '../sources/cause.ts'
import type { Check, EntityType, Outcome, ProviderWords, Source, Subject, Target } from '../sources/source.ts'
import { type Redact, redactor } from './redact.ts'
import type { CheckReport, Report, Warning } from './report.ts'

/** Time budget of a whole validation, in milliseconds, unless the caller sets another. */
export const defaultTimeoutMs = 10_000

/** Why the signal of a validation is aborted. One for all, as errors are costly to make. */
const stopped = new DOMException('the validation has ended', 'AbortError')

/** What validation is given by whoever starts it. */
export interface ValidationTools {
  /** A client that may talk to `rules` alone, and stops when `signal` does, after `budgetMs`. Closed when the validation ends. */
  openHttp(
    rules: readonly EgressRule[],
    signal: AbortSignal,
    budgetMs: number,
  ): HttpClient & { close(): Promise<void> }
  now(): Date
}

export interface ValidationOptions {
  readonly timeoutMs?: number
  /** Stops early; the checks still open end as unknown. */
  readonly signal?: AbortSignal
  /** Told of each check as it ends, in order of ending. */
  readonly onCheck?: (check: CheckReport) => void
  /** Capabilities on which the verdict depends besides those that the source requires. */
  readonly require?: readonly EntityType[]
}

interface Ended {
  readonly outcome: Outcome | { readonly status: 'skipped'; readonly because: string }
  readonly durationMs: number
  readonly retryAfterSeconds: number | undefined
}

/**
 * Validates `target` against its source. Never throws for an answer of the provider: whatever it says or fails to
 * say is in the report.
 */
export async function validate<C, S>(
  source: Source<C, S>,
  target: Target<C>,
  tools: ValidationTools,
  options: ValidationOptions = {},
): Promise<Report> {
  const startedAt = tools.now()
  const started = performance.now()
  const budget = new AbortController()
  const { signal } = budget
  const stop = () => budget.abort(stopped)
  const budgetMs = options.timeoutMs ?? defaultTimeoutMs
  const timer = setTimeout(stop, budgetMs)
  options.signal?.addEventListener('abort', stop, { once: true })
  if (options.signal?.aborted) stop()
  const http = tools.openHttp(source.egress(target), signal, budgetMs)
  const redact = redactor(() => source.secretsIn(target.credentials))
  const checks = withRequired(source.checks, options.require ?? [])

  try {
    const session = source.open(target, { http, signal, now: tools.now })
    const running = new Map<string, Promise<Ended>>()
    const ended = new Map<string, Ended>()

    const ask = async (check: Check<S>): Promise<Ended> => {
      for (const earlierId of check.after) {
        const earlier = await running.get(earlierId)
        if (earlier === undefined)
          throw new Error(`check ${check.id} comes after ${earlierId}, which is not declared before it`)
        if (!mayFollow(earlier)) {
          return {
            outcome: { status: 'skipped', because: earlierId },
            durationMs: 0,
            retryAfterSeconds: undefined,
          }
        }
      }
      const asked = performance.now()
      const { outcome, retryAfterSeconds } = await answerOf(source, check, session, target, signal)
      return { outcome, durationMs: Math.round(performance.now() - asked), retryAfterSeconds }
    }

    for (const check of checks) {
      running.set(
        check.id,
        ask(check).then((end) => {
          ended.set(check.id, end)
          options.onCheck?.(checkReport(check, end, redact))
          return end
        }),
      )
    }
    await Promise.all(running.values())

    const reading = source.readDomain(target.domain)
    return buildReport(source, checks, ended, {
      // What is no domain may be anything, a secret in the wrong field too.
      domain: reading.ok ? reading.domain : undefined,
      checkedAt: startedAt,
      durationMs: Math.round(performance.now() - started),
      redact,
    })
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
    // Also ends what a failed (buggy) check left under way.
    stop()
    await http.close()
  }
}

/** The checks, of which those that decide `capabilities` are required, and with them what they come after. */
function withRequired<S>(
  checks: readonly Check<S>[],
  capabilities: readonly EntityType[],
): readonly Check<S>[] {
  const raised = new Set<string>()
  // What a check comes after is declared before it, so that one walk from the end meets every check in time.
  for (const check of checks.toReversed()) {
    const decides = check.capability !== undefined && capabilities.includes(check.capability)
    if (check.stage === 'health' || !(decides || raised.has(check.id))) continue
    for (const id of [check.id, ...check.after]) raised.add(id)
  }
  return checks.map((check) =>
    check.stage !== 'health' && raised.has(check.id) ? { ...check, required: true } : check,
  )
}

/** A check that does not apply holds nothing back; one that was itself held back does. */
const mayFollow = (end: Ended) =>
  end.outcome.status === 'passed' || (end.outcome.status === 'skipped' && !('because' in end.outcome))

async function answerOf<C, S>(
  source: Source<C, S>,
  check: Check<S>,
  session: S,
  target: Target<C>,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; retryAfterSeconds: number | undefined }> {
  try {
    return { outcome: await check.run(session), retryAfterSeconds: undefined }
  } catch (thrown) {
    const error = asSourceError(thrown, check, signal)
    const { determinate, cause } = source.diagnose(error, check, target)
    const provider = providerWords(error)
    return {
      outcome: { status: determinate ? 'failed' : 'unknown', cause, ...(provider && { provider }) },
      retryAfterSeconds: error.retryAfterSeconds,
    }
  }
}

/** What is not a SourceError is a bug and goes on up, unless it is merely the echo of our own time limit. */
function asSourceError(thrown: unknown, check: { id: string }, signal: AbortSignal): SourceError {
  if (thrown instanceof SourceError) return thrown
  if (signal.aborted && thrown instanceof Error && thrown.name === 'AbortError') {
    return new SourceError({ code: 'timed_out', operation: check.id })
  }
  throw thrown
}

function providerWords(error: SourceError): ProviderWords | undefined {
  if (error.status === undefined && error.providerCode === undefined && error.providerMessage === undefined)
    return undefined
  return {
    ...(error.status !== undefined && { status: error.status }),
    ...(error.providerCode !== undefined && { code: error.providerCode }),
    ...(error.providerMessage !== undefined && { message: error.providerMessage }),
  }
}

/** Only words that came from outside are redacted: a secret that equals one of our own words must not change a verdict. */
function checkReport<S>(check: Check<S>, end: Ended, redact: Redact): CheckReport {
  const { outcome, durationMs } = end
  return {
    id: check.id,
    stage: check.stage,
    title: check.title,
    status: outcome.status,
    required: check.required,
    proves: check.proves,
    ...(check.without !== undefined && !check.required && !mayFollow(end) && { without: check.without }),
    ...(check.needs && {
      needs: {
        kind: check.needs.kind,
        name: check.needs.name,
        grant_at: check.needs.grantAt,
        docs: check.needs.docs,
      },
    }),
    ...('provider' in outcome && outcome.provider && { provider: redact(outcome.provider) }),
    ...('cause' in outcome && { cause: redactCause(outcome.cause, redact) }),
    ...('because' in outcome && { because: outcome.because }),
    duration_ms: durationMs,
  }
}

function buildReport<C, S>(
  source: Source<C, S>,
  checks: readonly Check<S>[],
  ended: ReadonlyMap<string, Ended>,
  {
    domain,
    checkedAt,
    durationMs,
    redact,
  }: { domain: string | undefined; checkedAt: Date; durationMs: number; redact: Redact },
): Report {
  const ends = checks.map((check) => {
    const end = ended.get(check.id)
    if (end === undefined) throw new Error(`check ${check.id} did not end`)
    return { check, end }
  })
  const verdict = verdictOf(ends)
  const subject: Subject = Object.assign(
    {},
    ...ends.map(({ end }) => ('subject' in end.outcome ? end.outcome.subject : undefined)),
  )
  const [expireAt] = ends
    .flatMap(
      ({ end: { outcome } }) => ('credentialsExpireAt' in outcome && outcome.credentialsExpireAt) || [],
    )
    .sort((one, other) => one.getTime() - other.getTime())
  const waits = ends.flatMap(({ end }) => end.retryAfterSeconds ?? [])
  return {
    verdict,
    source: source.name,
    subject: redact({ ...(domain !== undefined && { domain }), ...subject }),
    capabilities: capabilitiesOf(ends),
    checks: ends.map(({ check, end }) => checkReport(check, end, redact)),
    warnings: ends.flatMap(({ check, end }) => warningsOf(check, end, redact)),
    checked_at: checkedAt.toISOString(),
    duration_ms: durationMs,
    ...(expireAt !== undefined && { credentials_expire_at: expireAt.toISOString() }),
    ...(verdict === 'indeterminate' && waits.length > 0 && { retry_after_seconds: Math.max(...waits) }),
  }
}

/** Code and page are the catalogue's alone; what came from outside may stand in the texts. */
const redactCause = (cause: Cause, redact: Redact): Cause => ({
  ...cause,
  title: redact(cause.title),
  explanation: redact(cause.explanation),
  remedy: redact(cause.remedy),
})

type CheckEnd<S> = { readonly check: Check<S>; readonly end: Ended }

/** A required check that was held back proves nothing: never valid, even where what held it back was optional. */
function verdictOf<S>(ends: readonly CheckEnd<S>[]): Report['verdict'] {
  const required = ends.filter(({ check }) => check.required)
  if (required.some(({ end }) => end.outcome.status === 'failed')) return 'invalid'
  return required.every(({ end }) => mayFollow(end)) ? 'valid' : 'indeterminate'
}

function capabilitiesOf<S>(ends: readonly CheckEnd<S>[]): Report['capabilities'] {
  const byType = new Map<Report['capabilities'][number]['entity_type'], CheckEnd<S>[]>()
  for (const end of ends) {
    const type = end.check.capability
    if (type !== undefined) byType.set(type, [...(byType.get(type) ?? []), end])
  }
  return [...byType].map(([entity_type, deciding]) => {
    const asked = deciding.filter(({ end }) => !(end.outcome.status === 'skipped' && mayFollow(end)))
    const lacking = asked.filter(({ end }) => end.outcome.status !== 'passed')
    return {
      entity_type,
      available: asked.length > 0 && lacking.length === 0,
      missing: [...new Set(lacking.flatMap(({ check }) => check.needs?.name ?? []))],
    }
  })
}

/** What passed with a remark, and every optional check that did not pass. */
function warningsOf<S>(check: Check<S>, { outcome }: Ended, redact: Redact): Warning[] {
  const causes: readonly Cause[] =
    outcome.status === 'passed'
      ? (outcome.warnings ?? [])
      : 'cause' in outcome && !check.required
        ? [outcome.cause]
        : []
  return causes.map((cause) => ({ check: check.id, ...redactCause(cause, redact) }))
}
