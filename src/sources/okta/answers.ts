/** Judges Okta's answers: what is not the document that was asked for becomes a SourceError with Okta's own words. */
import type { HttpAnswer } from '../../outbound/http.ts'
import { retryAfterSeconds, secondsUntilReset } from '../../outbound/retry-after.ts'
import { SourceError, type SourceErrorDetails } from '../../outbound/source-error.ts'

/** A challenge of the `WWW-Authenticate` header, where Okta explains refusals that have no body. */
export interface Challenge {
  readonly error?: string
  readonly description?: string
  readonly scope?: string
}

/** An answer, with what else is known of it. */
export interface Heard {
  readonly answer: HttpAnswer
  readonly challenge?: Challenge
  /** An access token that was sent and that the answer may repeat. */
  readonly accessToken?: string
}

/**
 * The body of a 200.
 *
 * @throws SourceError `refused` for an answer of Okta that is none, `unexpected_response` for what no Okta answers
 */
export function bodyOf(heard: Heard, operation: string, asked: string): unknown {
  const { answer } = heard
  if (answer.status !== 200) throw refusalOf(heard, operation, asked)
  const body = answer.json()
  const words = concealed(wordsIn(body), heard)
  // A document that reports an error proves nothing, whatever its status.
  if (words !== undefined)
    throw new SourceError({ code: 'unexpected_response', operation, asked, status: 200, ...words })
  return body
}

/** What an answer other than 200 says. */
export function refusalOf(heard: Heard, operation: string, asked: string): SourceError {
  const { answer, challenge = {} } = heard
  const { status, headers } = answer
  const words = wordsOf(heard)
  const details: SourceErrorDetails = {
    code: 'refused',
    operation,
    asked,
    status,
    ...withWait(answer),
    hints: {
      ...(challenge.scope !== undefined && { challenged_scope: challenge.scope }),
      ...skewHint(answer),
      // Requests at the same time are limited, too; then both numbers are 0.
      // https://developer.okta.com/docs/reference/rl2-monitor/
      ...(status === 429 &&
        headers.get('x-rate-limit-limit') === '0' &&
        headers.get('x-rate-limit-remaining') === '0' && { concurrency: true }),
    },
  }
  if (words !== undefined) return new SourceError({ ...details, ...words })
  // No organisation answers to a host that is not one's; throttling and outages may come from in front of the API.
  if (status === 404 || status === 429 || status >= 500) return new SourceError(details)
  // Okta's refusals are JSON documents or challenges: anything else was said by somebody in between.
  return new SourceError({ ...details, code: 'unexpected_response' })
}

interface Words {
  readonly providerCode: string
  readonly providerMessage?: string
}

/** Okta's code and words: in the challenge, which tells a missing scope from a missing role, or in the body. */
function wordsOf(heard: Heard): Words | undefined {
  const { error, description } = heard.challenge ?? {}
  if (error === undefined) return concealed(wordsIn(parsed(heard.answer)), heard)
  return concealed(
    { providerCode: error, ...(description !== undefined && { providerMessage: description }) },
    heard,
  )
}

/** No real token is this short; hiding a shorter text would tear Okta's codes apart. In characters. */
const shortestToken = 8

/** The request's own secrets are hidden by whoever runs the checks; an access token is known only here. */
function concealed(words: Words | undefined, { accessToken }: Heard): Words | undefined {
  if (words === undefined || accessToken === undefined || accessToken.length < shortestToken) return words
  const conceal = (text: string) => text.replaceAll(accessToken, '[redacted]')
  const { providerCode, providerMessage } = words
  return {
    providerCode: conceal(providerCode),
    ...(providerMessage !== undefined && { providerMessage: conceal(providerMessage) }),
  }
}

/**
 * Okta's code and words, in whichever of its two forms: `{errorCode, errorSummary, errorCauses}` of the API, or
 * `{error, error_description}` of OAuth. The token endpoint uses both.
 *
 * @see https://developer.okta.com/docs/reference/error-codes/
 */
function wordsIn(body: unknown): Words | undefined {
  if (!isRecord(body)) return undefined
  const { errorCode, errorSummary, error, error_description: description } = body
  if (typeof errorCode === 'string' && errorCode !== '') {
    const message = [errorSummary, ...causesIn(body.errorCauses)].filter(isText).join(' ')
    return { providerCode: errorCode, ...(message !== '' && { providerMessage: message }) }
  }
  if (typeof error !== 'string' || error === '') return undefined
  return { providerCode: error, ...(isText(description) && { providerMessage: description }) }
}

const causesIn = (causes: unknown) =>
  Array.isArray(causes)
    ? causes.slice(0, 3).map((cause) => (isRecord(cause) ? cause.errorSummary : undefined))
    : []

function parsed(answer: HttpAnswer): unknown {
  try {
    return answer.json()
  } catch (error) {
    if (error instanceof SourceError) return undefined
    throw error
  }
}

/** @see https://developer.okta.com/docs/reference/rl2-monitor/ the reset is UTC epoch seconds by Okta's clock */
function withWait({ status, headers, receivedAt }: HttpAnswer): { retryAfterSeconds?: number } {
  if (status !== 429 && status !== 503) return {}
  const seconds =
    retryAfterSeconds(headers, receivedAt) ??
    (status === 429 ? secondsUntilReset(headers.get('x-rate-limit-reset'), headers, receivedAt) : undefined)
  // A second more, as the two clocks behind these headers may differ by one.
  return seconds === undefined ? {} : { retryAfterSeconds: seconds + 1 }
}

/** How many seconds our clock is ahead of Okta's, where the answer tells; negative when it is behind. */
function skewHint({ headers, receivedAt }: HttpAnswer): { clock_skew_seconds?: number } {
  const date = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(date)) return {}
  return { clock_skew_seconds: Math.round((receivedAt.getTime() - date) / 1000) }
}

/** Method and path, without the query. */
export const askedOf = (target: string) => `GET ${target.split('?')[0]}`

/** A 200 whose document lacks what this request returns. */
export const unexpected = (operation: string, asked: string) =>
  new SourceError({ code: 'unexpected_response', operation, asked, status: 200 })

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A text with something in it. */
export const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
