/** Talks to one tenant for one validation or sync: shares its token between reads, and turns Graph's refusals into SourceErrors. */
import type { HttpAnswer, HttpClient } from '../../outbound/http.ts'
import { retryAfterSeconds } from '../../outbound/retry-after.ts'
import { SourceError } from '../../outbound/source-error.ts'
import {
  isObject,
  readObject,
  readTenantDocument,
  requestToken,
  type TenantDocument,
  type Token,
} from './access.ts'
import { isGranted, type Permission } from './permissions.ts'
import type { SoundCredentials } from './sound-credentials.ts'
import { createTokens } from './tokens.ts'

export type GraphObject = Readonly<Record<string, unknown>>

export interface Client {
  /** The token; asked for again before it expires, and once more if Graph calls it invalid. */
  token(): Promise<Token>
  /** What Microsoft publishes of the tenant with this ID or domain; asked for once. */
  tenantDocument(name: string): Promise<TenantDocument>
  /**
   * Reads one object of Graph v1.0. `needs` are the permissions that the read depends on, for the diagnosis.
   *
   * @throws SourceError `refused`, with what is known of the permission in its hints
   */
  read(operation: string, path: string, needs: readonly Permission[]): Promise<GraphObject>
  /** The same for an answer that is no JSON. */
  answer(
    operation: string,
    path: string,
    needs: readonly Permission[],
    headers?: Readonly<Record<string, string>>,
  ): Promise<HttpAnswer>
  /** Reads the first page of a list whose entries have an `id`. */
  list(operation: string, path: string, needs: readonly Permission[]): Promise<readonly GraphObject[]>
}

/** What goes with every request to Graph. */
export interface ClientOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Largest answer accepted, in bytes. */
  readonly maxBodyBytes?: number
}

export function createClient(
  credentials: SoundCredentials,
  tools: { readonly http: HttpClient; now(): Date },
  { headers, maxBodyBytes }: ClientOptions = {},
): Client {
  const { cloud } = credentials
  const documents = new Map<string, Promise<TenantDocument>>()

  const request = () =>
    requestToken(credentials, tools, async () => {
      const document = await client.tenantDocument(credentials.tenantId).catch(() => undefined)
      const told = document?.cloud
      return told === undefined || told === cloud ? undefined : told.name
    })
  const tokens = createTokens(request, () => tools.now())
  const ask = (
    operation: string,
    path: string,
    { accessToken }: Token,
    further?: Readonly<Record<string, string>>,
  ) =>
    tools.http.request({
      operation,
      method: 'GET',
      url: `https://${cloud.graph}/v1.0${path}`,
      headers: {
        authorization: `Bearer ${accessToken}`,
        accept: 'application/json',
        ...headers,
        ...further,
      },
      ...(maxBodyBytes !== undefined && { maxBodyBytes }),
    })

  const client: Client = {
    token: () => tokens.current(),

    tenantDocument(name) {
      const known = documents.get(name)
      if (known !== undefined) return known
      const asked = readTenantDocument(name, cloud, tools.http)
      documents.set(name, asked)
      return asked
    },

    async answer(operation, path, needs, further) {
      let current = await tokens.current()
      let answer = await ask(operation, path, current, further)
      const other = isTokenRefused(answer) ? await tokens.instead(current) : undefined
      if (other !== undefined) {
        current = other
        answer = await ask(operation, path, current, further)
      }
      if (answer.status < 200 || answer.status > 299)
        throw graphRefusal(operation, askedAt(path), answer, current, needs)
      return answer
    },

    async read(operation, path, needs) {
      const answer = await client.answer(operation, path, needs)
      const body = answer.json()
      if (answer.status !== 200 || !isObject(body) || 'error' in body)
        throw new SourceError({
          code: 'unexpected_response',
          operation,
          asked: askedAt(path),
          status: answer.status,
        })
      return body
    },

    async list(operation, path, needs) {
      const { value } = await client.read(operation, path, needs)
      if (!Array.isArray(value) || !value.every(hasId)) throw unusable(operation, askedAt(path))
      return value
    },
  }
  return client
}

/** Whether a new token may help, as Microsoft advises for a token called invalid; it does not against a claims challenge. */
function isTokenRefused(answer: HttpAnswer): boolean {
  if (answer.status !== 401 || isChallenge(answer.headers)) return false
  const error = readObject(answer.text)?.error
  return isObject(error) && error.code === 'InvalidAuthenticationToken'
}

/** @see https://learn.microsoft.com/entra/identity-platform/claims-challenge */
const isChallenge = (headers: Headers) =>
  /\bclaims\s*=|insufficient_claims/i.test(headers.get('www-authenticate') ?? '')

/** What was asked, as errors show it: without the query. */
export const askedAt = (path: string) => `GET /v1.0${path.split('?')[0]}`

/** An answer with status 200 that is not what was asked for. */
export const unusable = (operation: string, asked: string) =>
  new SourceError({ code: 'unexpected_response', operation, asked, status: 200 })

const hasId = (entry: unknown) => isObject(entry) && typeof entry.id === 'string' && entry.id !== ''

/**
 * Graph's refusal: `{error: {code, message, innerError: {request-id, date}}}`.
 *
 * @see https://learn.microsoft.com/graph/errors
 */
function graphRefusal(
  operation: string,
  asked: string,
  { status, headers, text, receivedAt }: HttpAnswer,
  token: Token,
  needs: readonly Permission[],
): SourceError {
  const body = readObject(text)
  const error = isObject(body?.error) ? body.error : undefined
  // Throttling, outages and challenges may come without a body; any other answer without JSON is not Graph's own.
  if (body === undefined && status !== 429 && status < 500 && !isChallenge(headers))
    return new SourceError({ code: 'unexpected_response', operation, asked, status })

  const wait = retryAfterSeconds(headers, receivedAt)
  const message = error === undefined ? undefined : wordsOf(error, token)
  const roles = token.claims?.roles
  const missing = roles === undefined ? undefined : needs.find((need) => !isGranted(need, roles))
  const permission = (missing ?? needs.at(-1))?.name
  return new SourceError({
    code: 'refused',
    operation,
    asked,
    status,
    ...(typeof error?.code === 'string' &&
      error.code !== '' && { providerCode: concealed(error.code, token) }),
    ...(message !== undefined && { providerMessage: message }),
    ...(wait !== undefined && { retryAfterSeconds: wait }),
    hints: {
      service: 'graph',
      granted:
        roles === undefined ? 'unreadable' : roles.size === 0 ? 'none' : missing === undefined ? 'yes' : 'no',
      ...(permission !== undefined && { permission }),
      isChallenged: isChallenge(headers),
    },
  })
}

/** Longest part of a message that is kept, so that the request ID behind it is not cut off. */
const longestMessage = 220

/** No real token is this short; hiding a shorter text would tear words apart. In characters. */
const shortestToken = 8

/** The request's own secrets are hidden by whoever runs the checks; an access token is known only here. */
const concealed = (words: string, { accessToken }: Token) =>
  accessToken.length < shortestToken ? words : words.replaceAll(accessToken, '[redacted]')

/** The message, and the request ID by which Microsoft's support finds the request. */
function wordsOf({ message, innerError, innererror }: GraphObject, token: Token): string | undefined {
  const inner = isObject(innerError) ? innerError : isObject(innererror) ? innererror : {}
  // Hidden before the cut, which could leave a part of a token.
  const told = typeof message === 'string' ? concealed(message.trim(), token).slice(0, longestMessage) : ''
  const requestId = inner['request-id']
  const trail =
    typeof requestId === 'string' && /^[\w-]{1,64}$/.test(requestId) ? `request-id: ${requestId}` : ''
  return [told, trail].filter((part) => part !== '').join(' ') || undefined
}
