/** What failures of Google Workspace mean: how Google's words lead to a cause. */
import { SourceError } from '../../outbound/source-error.ts'
import { causeOf, type Diagnosis } from '../cause.ts'
import { diagnoseCommon } from '../common-causes.ts'
import { scopes } from './access.ts'
import { causes, type GoogleCause } from './causes.ts'
import { tokenOperation } from './client.ts'
import { type GoogleCredentials, isEmailAddress } from './secrets.ts'

/** Reasons that mean "too many requests", whatever the status: 403 as well as 429. */
export const throttlingReasons: ReadonlySet<string> = new Set([
  // https://developers.google.com/workspace/admin/directory/v1/limits
  'userRateLimitExceeded',
  'quotaExceeded',
  'rateLimitExceeded',
  // https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
  'RATE_LIMIT_EXCEEDED',
  'RESOURCE_QUOTA_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  // Further ones that the administrators' tool GAM knows.
  'dailyLimitExceeded',
  'limitExceeded',
  'resourceExhausted',
  // The token endpoint's.
  'rate_limit_exceeded',
])

/** Reasons that mean "Google's own fault". https://cloud.google.com/apis/design/errors and GAM's list. */
const outageReasons = new Set([
  'backendError',
  'badGateway',
  'gatewayTimeout',
  'internalError',
  'serviceNotAvailable',
  'systemError',
  'transientError',
  'UNAVAILABLE',
  'INTERNAL',
  'DEADLINE_EXCEEDED',
  // The token endpoint's, which Google's own libraries retry: google-auth-library-python, google/oauth2/_client.py.
  'internal_failure',
  'server_error',
  'temporarily_unavailable',
])

/** Reasons that mean one thing wherever they occur. */
const plainReasons: ReadonlyMap<string, GoogleCause> = new Map([
  ['accessNotConfigured', 'google_admin_sdk_disabled'],
  ['SERVICE_DISABLED', 'google_admin_sdk_disabled'],
  ['domainCannotUseApis', 'google_api_access_disabled'],
  ['CONSUMER_INVALID', 'google_project_deleted'],
  ['CONSUMER_SUSPENDED', 'google_project_suspended'],
  ['USER_PROJECT_DENIED', 'google_project_denied'],
  ['BILLING_DISABLED', 'google_billing_disabled'],
  ['SECURITY_POLICY_VIOLATED', 'google_vpc_service_controls'],
  ['insufficientPermissions', 'google_scope_insufficient'],
  ['ACCESS_TOKEN_SCOPE_INSUFFICIENT', 'google_scope_insufficient'],
] as const)

/**
 * Whether Google refused a scope to a client: `unauthorized_client` where none of the scopes asked for is delegated,
 * `access_denied` where one of them is not.
 *
 * @see https://developers.google.com/identity/protocols/oauth2/service-account#error-codes
 */
export function isScopeRefusal(error: SourceError): boolean {
  const code = codeOf(error)
  return code === 'google_delegation_missing' || code === 'google_scope_missing'
}

/** Whether a refusal of several scopes may be about one of them, so that the others are worth asking for. */
export const mayConcernOneScope = (error: SourceError) =>
  isScopeRefusal(error) ||
  error.providerCode === 'admin_policy_enforced' ||
  error.providerCode === 'invalid_scope'

/**
 * Whether a refusal may be about the one object that was asked for, so that others are worth asking for: a group of
 * another organisation is refused by the words that refuse them all. Neither the credentials nor a scope, a limit or
 * an outage are refused so.
 *
 * @see https://github.com/GAM-team/GAM/issues/400 a group elsewhere: `domainCannotUseApis`
 * @see https://github.com/GAM-team/GAM/blob/main/src/gam/gamlib/glgapi.py GROUP_GET_THROW_REASONS
 */
export function mayConcernOneObject(error: SourceError): boolean {
  if (error.operation === tokenOperation) return false
  const code = codeOf(error)
  return (
    code === 'google_admin_not_authorized' ||
    code === 'google_api_access_disabled' ||
    (code === 'google_unrecognised_refusal' && error.status === 400)
  )
}

/** Whether the answer is a 404 about the path itself, which says nothing of what was asked about. */
export function isUnknownToWhatAnswers(error: unknown): boolean {
  if (!(error instanceof SourceError) || error.status !== 404) return false
  const code = codeOf(error)
  return code === 'google_unrecognised_refusal' || code === 'google_unexpected_response'
}

/** Whether a refused token may be the administrator's fault or the key's: only asking without the administrator tells. */
export const isAmbiguousGrant = (error: SourceError) => codeOf(error) === 'google_grant_refused'

/** The cause of a failure that Google put into words; reasons come before statuses, since 403 is also throttling. */
export function codeOf(error: SourceError): GoogleCause {
  const common = diagnoseCommon('google', causes, error, hostOf(error))
  if (common !== undefined) return common.cause.code as GoogleCause
  return error.operation === tokenOperation ? tokenCause(error) : directoryCause(error)
}

const hostOf = (error: SourceError | undefined) =>
  error?.operation === tokenOperation ? 'oauth2.googleapis.com' : 'admin.googleapis.com'

const reasonsOf = (error: SourceError) => String(error.hints.reasons ?? '').split(' ')

function tokenCause(error: SourceError): GoogleCause {
  const words = error.providerMessage ?? ''
  const code = error.providerCode ?? ''
  // The endpoint's own form of error, or the API's, which its front end may give.
  const reasons = [code, ...reasonsOf(error)]
  if (reasons.some((reason) => throttlingReasons.has(reason))) return 'google_rate_limited'
  if (reasons.some((reason) => outageReasons.has(reason))) return 'google_unavailable'
  // A "no" that comes with a status which does not mean one is not Google's.
  if (error.status !== 400 && error.status !== 401 && error.status !== 403)
    return 'google_unrecognised_refusal'
  switch (code) {
    case 'invalid_grant':
      return grantCause(words)
    case 'unauthorized_client':
      return 'google_delegation_missing'
    case 'access_denied':
      return /account restricted/i.test(words) ? 'google_account_restricted' : 'google_scope_missing'
    case 'admin_policy_enforced':
      return 'google_blocked_by_policy'
    case 'disabled_client':
      return 'google_key_disabled'
    case 'deleted_client':
      return 'google_service_account_unknown'
    case 'invalid_client':
      return /not found|deleted/i.test(words) ? 'google_service_account_unknown' : 'google_client_refused'
    case 'invalid_request':
      return /invalid impersonation/i.test(words)
        ? 'google_admin_email_malformed'
        : 'google_assertion_refused'
    case 'invalid_scope':
    case 'unsupported_grant_type':
      return 'google_assertion_refused'
    default:
      return 'google_unrecognised_refusal'
  }
}

/**
 * `invalid_grant` says in its description alone what is wrong.
 *
 * @see https://developers.google.com/identity/protocols/oauth2/service-account#error-codes
 * @see https://github.com/GAM-team/GAM/blob/main/src/gam/gamlib/glapi.py OAUTH2_TOKEN_ERRORS
 */
function grantCause(words: string): GoogleCause {
  if (/invalid jwt signature/i.test(words)) return 'google_key_rejected'
  if (/short-lived token|reasonable timeframe|\biat\b/i.test(words)) return 'google_clock_skew'
  if (/no valid verifier/i.test(words)) return 'google_issuer_unverified'
  if (/invalid jwt|audience check/i.test(words)) return 'google_assertion_refused'
  if (/account not found/i.test(words)) return 'google_service_account_unknown'
  if (/invalid email or user id|not a valid email/i.test(words)) return 'google_admin_unknown'
  if (/account has been deleted/i.test(words)) return 'google_admin_deleted'
  if (/rapt/i.test(words)) return 'google_reauthentication_required'
  if (words === '' || /^bad request\.?$/i.test(words)) return 'google_grant_refused'
  return 'google_unrecognised_refusal'
}

function directoryCause(error: SourceError): GoogleCause {
  const words = error.providerMessage ?? ''
  const reasons = reasonsOf(error)
  const about = error.hints.about
  if (reasons.some((reason) => throttlingReasons.has(reason))) return 'google_rate_limited'
  if (reasons.some((reason) => outageReasons.has(reason))) return 'google_unavailable'
  // A fault of Google's that calls itself "invalid": GAM, REASON_MESSAGE_MAP.
  if (/a system error has occurred/i.test(words)) return 'google_unavailable'

  const status = error.status
  if (status === 401)
    return reasons.includes('required') || /login required/i.test(words)
      ? 'google_authorization_lost'
      : 'google_token_refused'
  if (status === 403) {
    const plain = reasons.map((reason) => plainReasons.get(reason)).find((cause) => cause !== undefined)
    if (plain !== undefined) return plain
    if (error.hints.challenge === 'insufficient_scope') return 'google_scope_insufficient'
    if (/access not configured|has not been used in project/i.test(words)) return 'google_admin_sdk_disabled'
    if (/insufficient authentication scopes/i.test(words)) return 'google_scope_insufficient'
    if (about === 'domain' && /invalid domain/i.test(words)) return 'google_domain_not_owned'
    if (reasons.some((reason) => reason === 'forbidden' || reason === 'PERMISSION_DENIED'))
      return 'google_admin_not_authorized'
    if (/^not authorized to access this resource/i.test(words)) return 'google_admin_not_authorized'
  }
  if (status === 404 && (reasons.includes('notFound') || reasons.includes('NOT_FOUND') || words !== '')) {
    if (about === 'domain') return 'google_domain_not_owned'
    // "Resource Not Found: domain"; other words are about the path, which says nothing of the domain.
    if (about === 'domain_entry' && /domain/i.test(words)) return 'google_domain_not_owned'
    if (about === 'administrator' && /domain/i.test(words)) return 'google_not_a_workspace'
    // "Resource Not Found: userKey"; as above, other words are about the path.
    if (about === 'administrator' && /user/i.test(words)) return 'google_admin_not_found'
    if (about === 'customer' && /domain not found|customer doesn.?t exist/i.test(words))
      return 'google_not_a_workspace'
  }
  if (status === 400) {
    if (/invalid customer id/i.test(words)) return 'google_not_a_workspace'
    if (about === 'domain' && /invalid domain/i.test(words)) return 'google_domain_not_owned'
  }
  return 'google_unrecognised_refusal'
}

/** What only the holder of the service account can repair. */
const accountCauses: ReadonlySet<GoogleCause> = new Set([
  'google_key_file_unreadable',
  'google_key_file_incomplete',
  'google_not_a_service_account',
  'google_universe_unsupported',
  'google_token_uri_foreign',
  'google_client_email_malformed',
  'google_private_key_unreadable',
  'google_private_key_not_rsa',
  'google_private_key_wrong_length',
  'google_key_rejected',
  'google_key_disabled',
  'google_service_account_unknown',
  'google_admin_sdk_disabled',
  'google_project_deleted',
  'google_project_suspended',
  'google_project_denied',
  'google_billing_disabled',
  'google_vpc_service_controls',
] as const)

/** The cause `code`, told to whom it concerns: customers are not blamed for the operator's service account. */
export function causeFor(
  credentials: GoogleCredentials,
  code: GoogleCause,
  values: Readonly<Record<string, string>>,
): Diagnosis {
  const diagnosis = causeOf(causes, code, values)
  if (credentials.kind !== 'operator' || !accountCauses.has(code)) return diagnosis
  const reason = diagnosis.cause.title
  return causeOf(causes, 'google_operator_account_unusable', { ...values, reason })
}

/** What an administrator needs at the least. @see https://support.google.com/a/answer/1219251 */
const requiredPrivileges: readonly string[] = ['Users > Read', 'Groups > Read', 'Domain settings']

/** What fills the placeholders of causes. Only values of a safe form are shown. */
export function valuesOf(
  credentials: GoogleCredentials,
  more: {
    readonly domain?: string | undefined
    readonly error?: SourceError
    readonly scope?: string | undefined
    /** The one that a read of its own needs. */
    readonly privilege?: string | undefined
  },
): Record<string, string> {
  const shown = (name: string, form: RegExp) => {
    const value = credentials.text(name)
    return value !== undefined && form.test(value) ? value : undefined
  }
  const account = shown('client_email', /^[\w.+-]{1,100}@[\w.-]{1,120}$/)
  const clientId = shown('client_id', /^\d{1,40}$/)
  const admin = credentials.adminEmail
  const { error, domain, scope, privilege } = more
  const skew = error?.hints.clockSkewSeconds
  const project = error?.hints.project ?? shown('project_id', /^[a-z0-9.:-]{1,64}$/)
  return {
    account: account ?? 'the service account',
    client:
      clientId !== undefined
        ? `client ID ${clientId}`
        : `the client ID of ${account ?? 'the service account'} (Google Cloud console > IAM & Admin > Service accounts, column "OAuth 2 client ID")`,
    admin: admin !== undefined && isEmailAddress(admin) ? admin : 'the administrator',
    ...(project !== undefined && { project: String(project) }),
    domain: domain ?? 'the domain',
    scope: scope ?? 'the scope',
    privileges:
      privilege === undefined || requiredPrivileges.includes(privilege)
        ? `${requiredPrivileges.slice(0, -1).join(', ')} and ${requiredPrivileges.at(-1)}`
        : privilege,
    skew:
      typeof skew === 'number'
        ? `${Math.abs(skew)} s (ours is ${skew > 0 ? 'ahead' : 'behind'})`
        : 'an unknown time',
    // Of the others, a run has been granted those that it needs.
    missing:
      error !== undefined && isOptional(error)
        ? String(error.hints.only_scope)
        : Object.values(scopes).join(', '),
    wait: error?.retryAfterSeconds === undefined ? 'a minute' : `${error.retryAfterSeconds} s`,
    host: hostOf(error),
  }
}

/**
 * Whether one scope alone was asked for, without which a sync goes on: it has been granted others, whatever Google
 * says of "any of the scopes requested".
 */
function isOptional({ hints: { only_scope: scope } }: SourceError): boolean {
  const required: readonly unknown[] = [scopes.users, scopes.groups, scopes.memberships]
  return scope !== undefined && !required.includes(scope)
}

/** What a failure means. Never claims more than Google said. */
export function diagnose(
  error: SourceError,
  credentials: GoogleCredentials,
  more: Omit<Parameters<typeof valuesOf>[1], 'error'>,
): Diagnosis {
  const refused = codeOf(error)
  const code = refused === 'google_delegation_missing' && isOptional(error) ? 'google_scope_missing' : refused
  const isOwnName = code === 'google_admin_not_authorized' && credentials.adminEmail === undefined
  return causeFor(
    credentials,
    isOwnName ? 'google_admin_email_missing' : code,
    valuesOf(credentials, { ...more, error }),
  )
}
