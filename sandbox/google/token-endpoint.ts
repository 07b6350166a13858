/** Google's token endpoint for service accounts: RFC 7523 assertions in, opaque access tokens out. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { compactVerify, decodeJwt, decodeProtectedHeader } from 'jose'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { type createAccounts, knownScopes, type RegisteredAccount } from './accounts.ts'
import { invalidCredentials, loginRequired, tokenRefusal } from './errors.ts'
import type { Organisation } from './organisation.ts'

const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const canonicalUrl = 'https://oauth2.googleapis.com/token'

/** Seconds an access token lives, as Google states it. */
const tokenLifetimeSeconds = 3599
/** Longest life of an assertion and tolerance for clocks, in seconds: Google refuses from 65 minutes on. */
const assertionLifetimeSeconds = 3600
const clockToleranceSeconds = 300

/** What an access token stands for. */
export interface Grant {
  readonly account: string
  /** The person acted for; absent for the service account's own token. */
  readonly userIndex?: number
  readonly scopes: readonly string[]
  readonly expiresAt: number
}

type Accounts = Awaited<ReturnType<typeof createAccounts>>

export function createTokenEndpoint(accounts: Accounts, organisation: Organisation) {
  // Tokens carry their grant, sealed: nothing is kept, however many are issued.
  const sealKey = randomBytes(32)
  const seal = (payload: string) => createHmac('sha256', sealKey).update(payload).digest('base64url')

  const issue = (grant: Grant) => {
    const payload = Buffer.from(JSON.stringify(grant)).toString('base64url')
    return `ya29.c.${payload}.${seal(payload)}`
  }

  return {
    async handle(request: SandboxRequest): Promise<SandboxAnswer> {
      const form = readForm(request)
      const grantType = form.get('grant_type')
      if (grantType === null)
        throw tokenRefusal(400, 'invalid_request', 'Required parameter is missing: grant_type')
      if (grantType !== jwtBearer)
        throw tokenRefusal(400, 'unsupported_grant_type', `Invalid grant_type: ${grantType}`)
      const assertion = form.get('assertion')
      if (assertion === null)
        throw tokenRefusal(400, 'invalid_request', 'Required parameter is missing: assertion')

      const { claims, account } = await verifyAssertion(assertion, accounts, request)
      const scopes = String(claims.scope ?? '')
        .split(' ')
        .filter((scope) => scope !== '')
      if (scopes.length === 0 || !scopes.every((scope) => knownScopes.has(scope)))
        throw tokenRefusal(400, 'invalid_scope', 'Invalid OAuth scope or ID token audience provided.')
      const userIndex = claims.sub === undefined ? undefined : subjectOf(String(claims.sub), organisation)
      if (userIndex !== undefined) checkDelegation(account, scopes)

      const grant: Grant = {
        account: account.email,
        ...(userIndex !== undefined && { userIndex }),
        scopes,
        expiresAt: Math.floor(request.now.getTime() / 1000) + tokenLifetimeSeconds,
      }
      return {
        status: 200,
        headers: { 'cache-control': 'no-cache, no-store, max-age=0, must-revalidate' },
        body: { access_token: issue(grant), expires_in: tokenLifetimeSeconds, token_type: 'Bearer' },
      }
    },

    /** The grant of the request's token. @throws GoogleRefusal 401 */
    authenticate(request: SandboxRequest): Grant {
      const header = request.headers.get('authorization')
      if (header === null) throw loginRequired()
      const match = /^Bearer ya29\.c\.([\w-]+)\.([\w-]+)$/i.exec(header)
      const [, payload, signature] = match ?? []
      if (payload === undefined || signature === undefined) throw invalidCredentials()
      const expected = Buffer.from(seal(payload))
      const given = Buffer.from(signature)
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw invalidCredentials()
      const grant: Grant = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
      if (grant.expiresAt * 1000 <= request.now.getTime()) throw invalidCredentials()
      return grant
    },
  }
}

function readForm(request: SandboxRequest): URLSearchParams {
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded')
    throw tokenRefusal(400, 'invalid_request', 'Required parameter is missing: grant_type')
  const form = new URLSearchParams(request.body)
  const names = [...form.keys()]
  if (new Set(names).size !== names.length)
    throw tokenRefusal(400, 'invalid_request', 'OAuth 2 parameters can only have a single value')
  return form
}

async function verifyAssertion(
  assertion: string,
  accounts: Accounts,
  request: SandboxRequest,
): Promise<{ claims: Record<string, unknown>; account: RegisteredAccount }> {
  const badSignature = () => tokenRefusal(400, 'invalid_grant', 'Invalid JWT Signature.')
  let header: Record<string, unknown>
  let claims: Record<string, unknown>
  try {
    header = { ...decodeProtectedHeader(assertion) }
    claims = { ...decodeJwt(assertion) }
  } catch {
    throw badSignature()
  }
  if (header.typ !== undefined && header.typ !== 'JWT') throw badSignature()
  const account = accounts.find(String(claims.iss))
  if (account === undefined) throw tokenRefusal(400, 'invalid_grant', 'Invalid grant: account not found')
  if (header.kid !== undefined && header.kid !== account.keyId) throw badSignature()
  try {
    await compactVerify(assertion, account.publicKey, { algorithms: ['RS256'] })
  } catch {
    throw badSignature()
  }
  if (account.isDisabled) throw tokenRefusal(401, 'disabled_client', 'The OAuth client was disabled.')

  const { iat, exp, aud } = claims
  const now = request.now.getTime() / 1000
  const isTimely =
    typeof iat === 'number' &&
    typeof exp === 'number' &&
    exp > iat &&
    exp - iat <= assertionLifetimeSeconds &&
    iat <= now + clockToleranceSeconds &&
    exp > now - clockToleranceSeconds
  if (!isTimely)
    throw tokenRefusal(
      400,
      'invalid_grant',
      'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
    )
  const { url } = request
  if (aud !== canonicalUrl && aud !== `${url.origin}${url.pathname}`)
    throw tokenRefusal(400, 'invalid_grant', 'Invalid JWT: Failed audience check.')
  return { claims, account }
}

/** The person acted for. */
function subjectOf(email: string, organisation: Organisation): number {
  if (!/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(email))
    throw tokenRefusal(400, 'invalid_request', `Invalid impersonation "sub" field: ${email}`)
  const index = organisation.findUser(email)
  if (index === undefined) throw tokenRefusal(400, 'invalid_grant', 'Invalid email or User ID')
  // Google does not document what it says of suspended accounts; this is its unspecific refusal.
  if (organisation.isSuspended(organisation.directory.person(index)))
    throw tokenRefusal(400, 'invalid_grant', 'Bad Request')
  return index
}

function checkDelegation(account: RegisteredAccount, scopes: readonly string[]): void {
  const delegated = scopes.filter((scope) => account.delegated.has(scope))
  if (delegated.length === 0)
    throw tokenRefusal(
      401,
      'unauthorized_client',
      'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.',
    )
  if (delegated.length < scopes.length)
    throw tokenRefusal(403, 'access_denied', 'Requested client not authorized.')
  if (account.isBlockedByPolicy)
    throw tokenRefusal(
      400,
      'admin_policy_enforced',
      'Access to this scope is restricted by your administrator.',
    )
}
