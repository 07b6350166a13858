/** Turns a report into what a caller is told: a status and sentences. */
import type { CheckReport, Report } from './report.ts'

export interface Answer {
  /** 200 valid, 400 invalid, 429 when the provider's own limit kept us from telling, 503 when anything else did. */
  readonly status: 200 | 400 | 429 | 503
  /** One sentence group per check that decided the answer: what was tried, what the provider said, what to do. */
  readonly errors: readonly string[]
  /** For 429 and 503, whole seconds. */
  readonly retryAfterSeconds?: number
}

/** How long a caller should wait when the provider named no time, in seconds. */
const defaultRetryAfterSeconds = 30
/** No wait longer than this is passed on, whatever a provider asks for, in seconds. */
const longestRetryAfterSeconds = 3_600

export function answerTo(report: Report): Answer {
  if (report.verdict === 'valid') return { status: 200, errors: [] }
  if (report.verdict === 'invalid') return { status: 400, errors: sentences(report, 'failed') }
  const undecided = report.checks.filter((check) => check.required && check.status === 'unknown')
  const limited =
    undecided.length > 0 && undecided.every((check) => check.cause?.code.endsWith('_rate_limited'))
  return {
    status: limited ? 429 : 503,
    errors: sentences(report, 'unknown'),
    retryAfterSeconds: Math.min(
      report.retry_after_seconds ?? defaultRetryAfterSeconds,
      longestRetryAfterSeconds,
    ),
  }
}

/** One sentence group per cause: checks that fail for one reason (an API that is switched off) say so together. */
function sentences(report: Report, status: 'failed' | 'unknown'): string[] {
  const told = new Map<string, { titles: string[]; words: string }>()
  for (const check of report.checks.filter((one) => one.required && one.status === status)) {
    const words = wordsFor(check)
    const same = told.get(words)
    if (same === undefined) told.set(words, { titles: [check.title], words })
    else same.titles.push(check.title)
  }
  if (told.size === 0) return ['The credentials could not be checked. Try again.']
  return [...told.values()].map(({ titles, words }) => `${titles.join(', ')}: ${words}`)
}

/** `Google refused … (401 unauthorized_client: Client is unauthorized …). It lacks … Add the client ID …` */
function wordsFor(check: CheckReport): string {
  const said = providerSaid(check)
  const { cause } = check
  if (cause === undefined) return `${check.status}.`
  return `${cause.title}${said === '' ? '' : ` (${said})`}. ${cause.explanation} ${cause.remedy}`
}

/** `401 E0000011: Invalid token provided`, or an empty text when the provider said nothing. */
export function providerSaid({ provider }: Pick<CheckReport, 'provider'>): string {
  if (provider === undefined) return ''
  const code = [provider.status, provider.code].filter((part) => part !== undefined).join(' ')
  return [code, provider.message].filter((part) => part !== undefined && part !== '').join(': ')
}
