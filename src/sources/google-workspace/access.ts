/** Access tokens of a service account that acts for an administrator. */
import { type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { SourceTools } from '../source.ts'
import { type AccessToken, parseToken, tokenOperation } from './client.ts'

/**
 * The scopes asked for. They only read.
 *
 * @see https://developers.google.com/workspace/admin/directory/v1/guides/authorizing
 */
export const scopes = {
  users: 'https://www.googleapis.com/auth/admin.directory.user.readonly',
  groups: 'https://www.googleapis.com/auth/admin.directory.group.readonly',
  memberships: 'https://www.googleapis.com/auth/admin.directory.group.member.readonly',
  domains: 'https://www.googleapis.com/auth/admin.directory.domain.readonly',
  customer: 'https://www.googleapis.com/auth/admin.directory.customer.readonly',
  roles: 'https://www.googleapis.com/auth/admin.directory.rolemanagement.readonly',
  chromeos: 'https://www.googleapis.com/auth/admin.directory.device.chromeos.readonly',
  mobile: 'https://www.googleapis.com/auth/admin.directory.device.mobile.readonly',
  /** @see https://developers.google.com/workspace/admin/reports/reference/rest/v1/activities/list */
  groupLog: 'https://www.googleapis.com/auth/admin.reports.audit.readonly',
} as const
export type ScopeName = keyof typeof scopes

/**
 * Scopes that open what another does, and more.
 *
 * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/members/list#authorization-scopes
 */
export const widerScopes: Partial<Record<ScopeName, ScopeName>> = { memberships: 'groups' }

export const scopeNames = Object.keys(scopes) as readonly ScopeName[]

/**
 * Where tokens come from and whom assertions are meant for: a constant, as in Google's own libraries, whatever
 * `token_uri` a key file names.
 *
 * @see https://developers.google.com/identity/protocols/oauth2/service-account#httprest
 */
export const tokenUrl = 'https://oauth2.googleapis.com/token'

/** How far back an assertion is dated, in seconds: our clock may be a little ahead of Google's. */
const backdatedSeconds = 30
/** Longest life of an assertion, in seconds (Google's limit). */
const assertionLifetimeSeconds = 3600

export interface ServiceAccount {
  readonly email: string
  readonly keyId: string | undefined
  readonly key: KeyObject
}

/**
 * An access token for `scope`, which may be several with blanks between them. Without `subject` it is the service account's own, which proves the key and
 * nothing else.
 *
 * The answer is parsed here and not by oauth4webapi, which refuses answers for members that do not matter to us
 * (an `expires_in` of 0) and hides the words of errors that are not in OAuth's form.
 */
export async function requestToken(
  tools: SourceTools,
  account: ServiceAccount,
  subject: string | undefined,
  scope: string,
  hints: Readonly<Record<string, string>> = {},
): Promise<AccessToken> {
  const issuedAt = Math.floor(tools.now().getTime() / 1000) - backdatedSeconds
  const assertion = await signedJwt(account, {
    iss: account.email,
    ...(subject !== undefined && { sub: subject }),
    scope,
    aud: tokenUrl,
    iat: issuedAt,
    exp: issuedAt + assertionLifetimeSeconds,
  })
  const answer = await tools.http.request({
    operation: tokenOperation,
    method: 'POST',
    url: tokenUrl,
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion,
    }).toString(),
  })
  return parseToken(answer, tools.now(), hints)
}

const signAside = promisify(sign)

/** Signed here and not by jose, which has to convert the key first: that takes longer than all else about it. */
async function signedJwt({ key, keyId }: ServiceAccount, claims: object): Promise<string> {
  const header = { alg: 'RS256', typ: 'JWT', ...(keyId !== undefined && { kid: keyId }) }
  const signed = `${base64url(header)}.${base64url(claims)}`
  // Given a callback, it signs in a thread of its own.
  return `${signed}.${(await signAside('sha256', Buffer.from(signed), key)).toString('base64url')}`
}

const base64url = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
