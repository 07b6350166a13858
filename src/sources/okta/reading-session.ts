/** What the requests of one run share: the organisation's host and access to it. */
import type { HttpAnswer } from '../../outbound/http.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { SourceTools } from '../source.ts'
import { readingScopes, type Scope, serviceAppAccess, tokenAccess } from './access.ts'
import { askedOf, bodyOf } from './answers.ts'
import type { HostReading } from './domain.ts'
import { renewedAccess } from './renewed-access.ts'
import type { OktaCredentials } from './secrets.ts'
import { appOf, openSession } from './session.ts'
import { tokenOperation } from './token-request.ts'

export interface OktaReading {
  get(request: ReadingRequest): Promise<Got>
  /** Members asked for at once: the most that Okta gives, until an organisation's users prove too large for that. */
  membersPerPage: number
}

export interface ReadingRequest {
  readonly operation: string
  /** Path and query. */
  readonly target: string
  readonly scope: Scope
  readonly headers?: Readonly<Record<string, string>>
}

export interface Got {
  readonly body: unknown
  readonly answer: HttpAnswer
  /** The host that was asked. */
  readonly host: string
}

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group/other/listgroupusers the default, and the most */
export const mostMembersPerPage = 1000

export function openReading(
  credentials: OktaCredentials,
  domain: HostReading,
  tools: SourceTools,
): OktaReading {
  const { http, now } = tools
  if (!domain.ok)
    throw new SourceError({
      code: 'not_configured',
      operation: 'read the domain',
      hints: { problem: domain.problem },
    })
  const session = openSession(credentials, domain, tools)

  const accessAt = async (host: string) => {
    if (credentials.kind === 'api_token') return tokenAccess(http, credentials.apiToken)
    const reading = await session.key()
    if (!reading.ok)
      throw new SourceError({
        code: 'not_configured',
        operation: 'read the private key',
        hints: { problem: reading.problem },
      })
    return serviceAppAccess(http, host, appOf(credentials, reading.key), now, readingScopes)
  }
  const open = async () => {
    const host = await session.host()
    try {
      return await accessAt(host)
    } catch (error) {
      if (!isSpent(error)) throw error
      return accessAt(host)
    }
  }
  const renewed = renewedAccess(open, now)
  // An API token that was refused is refused for good.
  const access = credentials.kind === 'api_token' ? tokenAccess(http, credentials.apiToken) : renewed

  return {
    membersPerPage: mostMembersPerPage,
    async get({ operation, target, scope, headers }) {
      const host = await session.host()
      const url = `https://${host}${target}`
      const heard = await access.get({ operation, url, scope, ...(headers !== undefined && { headers }) })
      const { answer } = heard
      return { body: bodyOf(heard, operation, askedOf(target)), answer, host }
    },
  }
}

/**
 * A client assertion is good for minutes and one request. One that waited for its turn, or was sent again after a
 * refusal because of a limit, is too old or spent, and so is its proof: the next try has new ones.
 */
const isSpent = (error: unknown) =>
  error instanceof SourceError &&
  error.operation === tokenOperation &&
  (error.providerCode === 'invalid_dpop_proof' ||
    /already been used|is expired/.test(error.providerMessage ?? ''))
