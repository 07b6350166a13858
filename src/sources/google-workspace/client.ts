/** Requests to the Admin SDK's Directory and Reports APIs, and the answers of it and of the token endpoint, told apart into data and refusals. */
import type { HttpAnswer, HttpClient } from '../../outbound/http.ts'
import { retryAfterSeconds } from '../../outbound/retry-after.ts'
import { SourceError } from '../../outbound/source-error.ts'

/**
 * @see https://developers.google.com/workspace/admin/directory/reference/rest
 * @see https://developers.google.com/workspace/admin/reports/reference/rest
 */
const apiHost = 'https://admin.googleapis.com'
export const apiPaths = { directory: '/admin/directory/v1/', reports: '/admin/reports/v1/' } as const

/** What token requests are called in errors; it tells the two endpoints apart. */
export const tokenOperation = 'request a token'

export type JsonObject = Readonly<Record<string, unknown>>

/** What a request is about, for the case that Google does not find it. */
export type About = 'administrator' | 'customer' | 'domain' | 'domain_entry' | 'group'

export interface DirectoryRequest {
  readonly operation: string
  readonly about: About
  /** The Directory API by default. */
  readonly api?: keyof typeof apiPaths
  /** Below the API's own path, each part escaped. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
}

/** Asks the API; the answer is a JSON object without an error in it. */
export async function readDirectory(
  http: HttpClient,
  token: string,
  request: DirectoryRequest,
  now: () => Date,
): Promise<JsonObject> {
  const path = `${apiPaths[request.api ?? 'directory']}${request.path}`
  const url = `${apiHost}${path}?${new URLSearchParams(request.query)}`
  const asked = { operation: request.operation, asked: `GET ${path}` }
  const answer = await http.request({
    operation: request.operation,
    method: 'GET',
    url,
    headers: { accept: 'application/json', authorization: `Bearer ${token}` },
  })
  if (answer.status !== 200)
    throw refusal(answer, { ...asked, hints: { about: request.about }, accessToken: token }, now())
  const body = answer.json()
  if (!isObject(body) || 'error' in body) throw unexpected(answer, asked)
  return body
}

/**
 * The log of what happens to groups and their members. Google's reference and its answers differ about `kind`.
 *
 * @see https://developers.google.com/workspace/admin/reports/reference/rest/v1/activities/list
 */
export const groupLog = {
  api: 'reports',
  path: 'activity/users/all/applications/groups_enterprise',
  kind: 'admin#reports#activities',
  otherKind: 'reports#activities',
  member: 'items',
} as const

export interface AccessToken {
  readonly text: string
  /** As Google says it, whatever that is. */
  readonly expiresInSeconds?: number
}

/** The access token in an answer of the token endpoint. */
export function parseToken(
  answer: HttpAnswer,
  now: Date,
  hints: Readonly<Record<string, string>> = {},
): AccessToken {
  const asked = { operation: tokenOperation, asked: 'POST /token' }
  if (answer.status !== 200) throw refusal(answer, { ...asked, hints }, now)
  const body = answer.json()
  if (!isObject(body) || 'error' in body) throw unexpected(answer, asked)
  const { access_token: token, token_type: type, expires_in: expiresInSeconds } = body
  // Visible ASCII: it is going to stand in a header.
  if (typeof token !== 'string' || !/^[\x21-\x7e]{1,8192}$/.test(token)) throw unexpected(answer, asked)
  if (type !== undefined && (typeof type !== 'string' || type.toLowerCase() !== 'bearer'))
    throw unexpected(answer, asked)
  return { text: token, ...(typeof expiresInSeconds === 'number' && { expiresInSeconds }) }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The items of a list, every one an object with these texts. Google leaves the member out when there are none; then
 * `kind` must prove that it is this list at all.
 *
 * @throws SourceError `unexpected_response`
 */
export function itemsOf(
  body: JsonObject,
  list: {
    readonly kind: string
    /** What `kind` says as well, where Google's reference and its answers differ. */
    readonly otherKind?: string
    readonly member: string
    readonly texts: readonly string[]
  },
  operation: string,
): readonly JsonObject[] {
  const items = body[list.member]
  const isEmpty = body.kind === list.kind || (list.otherKind !== undefined && body.kind === list.otherKind)
  if (items === undefined && isEmpty) return []
  if (
    !Array.isArray(items) ||
    !items.every((item) => isObject(item) && list.texts.every((text) => isText(item[text])))
  ) {
    throw new SourceError({ code: 'unexpected_response', operation, status: 200 })
  }
  return items
}

export const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

interface Asked {
  readonly operation: string
  readonly asked: string
}

const unexpected = (answer: HttpAnswer, asked: Asked, cause?: unknown) =>
  new SourceError({ code: 'unexpected_response', ...asked, status: answer.status, cause })

/** Throttling and outages are known by their status, whatever the body is: gateways answer them with pages. */
const isPlainByStatus = (status: number) => status === 429 || status >= 500

/** The refusal in an answer that is not a 200. An answer that Google's API does not give is `unexpected_response`. */
function refusal(
  answer: HttpAnswer,
  asked: Asked & { readonly hints: Readonly<Record<string, string>>; readonly accessToken?: string },
  now: Date,
): SourceError {
  const { operation, hints } = asked
  const wait = retryAfterSeconds(answer.headers, answer.receivedAt)
  const common = {
    code: 'refused' as const,
    operation,
    asked: asked.asked,
    status: answer.status,
    ...(wait !== undefined && { retryAfterSeconds: wait }),
  }
  // The challenge alone tells what is wrong, also where there is no body.
  const challenge = /^bearer\b.*\berror="?([a-z_]{1,40})/i.exec(
    answer.headers.get('www-authenticate') ?? '',
  )?.[1]
  const isPlain = isPlainByStatus(answer.status) || challenge !== undefined
  let body: unknown
  try {
    body = answer.json()
  } catch (error) {
    if (!isPlain) return unexpected(answer, asked, error)
  }
  const words = isObject(body) ? wordsOf(body, asked.accessToken) : undefined
  if (words === undefined && !isPlain) return unexpected(answer, asked)
  const skew = clockSkewSeconds(answer, now)
  return new SourceError({
    ...common,
    ...words?.shown,
    hints: {
      ...hints,
      ...words?.hints,
      ...(skew !== undefined && { clockSkewSeconds: skew }),
      ...(challenge !== undefined && { challenge }),
    },
  })
}

/**
 * Google has two forms of error: OAuth's `{error, error_description}`, and `{error: {code, message, status, errors,
 * details}}`, which gives its reason in `errors[].reason`, in `details[].reason`, or in both.
 *
 * @see https://cloud.google.com/apis/design/errors
 */
function wordsOf(
  body: JsonObject,
  accessToken = '',
):
  | {
      readonly shown: { readonly providerCode?: string; readonly providerMessage?: string }
      readonly hints: Readonly<Record<string, string>>
    }
  | undefined {
  const { error } = body
  if (isText(error)) {
    const description = body.error_description
    return {
      shown: { providerCode: error, ...(isText(description) && { providerMessage: description }) },
      hints: {},
    }
  }
  if (!isObject(error)) return undefined
  const reasons = reasonsIn(error)
  const consumer = listOf(error.details)
    .map(({ metadata }) => (isObject(metadata) ? metadata.consumer : undefined))
    .find((value) => typeof value === 'string' && /^projects\/[a-z0-9.:-]{1,64}$/.test(value))
  const status =
    typeof error.status === 'string' && /^\w{1,40}$/.test(error.status) ? error.status : undefined
  const code = reasons[0] ?? status
  return {
    shown: {
      ...(code !== undefined && { providerCode: concealed(code, accessToken) }),
      ...(isText(error.message) && { providerMessage: concealed(error.message, accessToken) }),
    },
    hints: {
      // Ten are more than Google ever gives.
      reasons: [...new Set([...reasons.slice(0, 10), ...(status === undefined ? [] : [status])])].join(' '),
      ...(typeof consumer === 'string' && { project: consumer.slice('projects/'.length) }),
    },
  }
}

/** Every reason that an error of the API's form gives. */
export const reasonsIn = (error: JsonObject): readonly string[] =>
  [...listOf(error.errors), ...listOf(error.details)].flatMap(({ reason }) =>
    typeof reason === 'string' && /^\w{1,80}$/.test(reason) ? [reason] : [],
  )

/** No real token is this short; hiding a shorter text would tear words apart. In characters. */
const shortestToken = 8

/** The request's own secrets are hidden by whoever runs the checks; an access token is known only here. */
const concealed = (words: string, accessToken: string) =>
  accessToken.length < shortestToken ? words : words.replaceAll(accessToken, '[redacted]')

const listOf = (value: unknown): readonly JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : [])

/** How far our clock is ahead of Google's (negative: behind), in whole seconds, as far as its `Date` tells. */
function clockSkewSeconds(answer: HttpAnswer, now: Date): number | undefined {
  const theirs = Date.parse(answer.headers.get('date') ?? '')
  const skew = Math.round((now.getTime() - theirs) / 1000)
  return Number.isFinite(skew) ? skew : undefined
}
