/** What Okta's refusals mean: which cause it is, by code, words and the question that was asked. */
import { cleanText } from '../../outbound/clean-text.ts'
import type { SourceError } from '../../outbound/source-error.ts'
import type { Diagnosis } from '../cause.ts'
import { diagnoseCommon } from '../common-causes.ts'
import type { Target } from '../source.ts'
import { requiredScopes, type Scope } from './access.ts'
import { cause, causes, type OktaCause } from './causes.ts'
import { type OktaCredentials, tokenLooksLike } from './secrets.ts'
import { tokenOperation } from './token-request.ts'

const readOnly = 'Read-only Administrator'

/** What a check reads: in words, the scope of a service app for it, and the least standard role that may. */
export interface Reading {
  readonly what: string
  readonly scope: Scope
  readonly role: string
}

export const readings = {
  users: { what: 'users', scope: 'okta.users.read', role: readOnly },
  groups: { what: 'groups', scope: 'okta.groups.read', role: readOnly },
  memberships: { what: 'members of groups', scope: 'okta.groups.read', role: readOnly },
  roles: {
    what: 'role assignments',
    scope: 'okta.roles.read',
    role: 'Super Administrator, or a custom role that may view roles, resources and admin assignments',
  },
  devices: { what: 'devices', scope: 'okta.devices.read', role: readOnly },
  applications: { what: 'applications', scope: 'okta.apps.read', role: readOnly },
  mfa: { what: 'enrolled factors', scope: 'okta.users.read', role: readOnly },
  /** @see https://help.okta.com/okta_help.htm?type=oie&id=ext-administrators-admin-comparison "View System Log" */
  system_log: { what: 'events of the System Log', scope: 'okta.logs.read', role: readOnly },
  credential_expiry: {
    what: 'the metadata of API tokens',
    scope: 'okta.apiTokens.read',
    role: 'Super Administrator, or another that may view API tokens',
  },
} as const satisfies Record<string, Reading>

const readingOf = (checkId: string): Reading | undefined =>
  Object.hasOwn(readings, checkId) ? readings[checkId as keyof typeof readings] : undefined

type OktaTarget = Pick<Target<OktaCredentials>, 'credentials'> & { readonly host: string }

/** What a failure means; anything that Okta does not document as a "no" is indeterminate. */
export function diagnose(error: SourceError, check: { readonly id: string }, target: OktaTarget): Diagnosis {
  const { host, credentials } = target
  const { hints } = error
  const reading = readingOf(check.id)
  const values: Record<string, string> = {
    host,
    ...reading,
    scopes: requiredScopes.join(' and '),
    ...(credentials.kind === 'service_app' && { client_id: cleanText(credentials.clientId, 80) }),
    ...(typeof hints.missing_scope === 'string' && { scope: hints.missing_scope }),
  }
  const is = (code: OktaCause, more: Readonly<Record<string, string>> = {}) =>
    cause(code, { ...values, ...more })

  if (hints.custom_domain === 'foreign') return is('okta_custom_domain_mismatch')
  if (hints.custom_domain === 'undiscoverable') return is('okta_custom_domain_undiscoverable')
  if (hints.missing_scope !== undefined) return is('okta_scope_missing')
  if (hints.nothing_visible === true)
    return is(credentials.kind === 'service_app' ? 'okta_admin_role_missing' : 'okta_nothing_visible')
  if (hints.scopes_refused === true) return is('okta_scopes_not_granted')
  if (hints.concurrency === true)
    return is('okta_concurrency_rate_limited', { wait: `${error.retryAfterSeconds ?? 60} s` })
  if (error.providerCode === 'E0000010') return is('okta_read_only_mode')
  // Okta declares this one with the status 400.
  if (error.providerCode === 'temporarily_unavailable') return is('okta_unavailable')

  const common = diagnoseCommon('okta', causes, error, host)
  if (common !== undefined) return common
  const code = codeOf(error, check.id, credentials)
  if (code === undefined) return is('okta_unrecognised_refusal')
  return is(code, {
    skew: skewOf(error),
    ...(credentials.kind === 'api_token' && { looks_like: tokenLooksLike(credentials.apiToken) ?? '' }),
    ...(typeof hints.challenged_scope === 'string' && { scope: cleanText(hints.challenged_scope, 80) }),
  })
}

function codeOf(error: SourceError, checkId: string, credentials: OktaCredentials): OktaCause | undefined {
  if (checkId === 'custom_domain')
    return error.status === 404 ? 'okta_custom_domain_undiscoverable' : undefined
  // Everything is missing at a name that no organisation has; only this check says so, that it be said once.
  if (error.status === 404 && checkId === 'organization') return 'okta_organization_not_found'
  if (error.status === 404 && error.providerCode === undefined) return 'okta_unexpected_response'
  if (error.operation === tokenOperation) return tokenEndpointCause(error)
  return credentials.kind === 'api_token'
    ? apiTokenCause(error, checkId, credentials.apiToken)
    : accessTokenCause(error, checkId)
}

/** Checks of what not every organisation has. */
const optionalReads: ReadonlySet<string> = new Set(['devices', 'roles', 'mfa', 'applications', 'system_log'])

/** @see https://developer.okta.com/docs/reference/error-codes/ */
function apiCause({ providerCode }: SourceError, checkId: string): OktaCause | undefined {
  const isOptional = optionalReads.has(checkId)
  switch (providerCode) {
    case 'E0000007':
      return 'okta_object_gone'
    case 'E0000008': // no such path
    case 'E0000026': // deprecated
    case 'E0000215': // no longer available
      return isOptional ? 'okta_feature_unavailable' : undefined
    case 'E0000015': // 401: no permission to access the feature
      return isOptional ? 'okta_feature_unavailable' : undefined
    case 'E0000022':
      return 'okta_method_not_allowed'
    case 'E0000260':
      return 'okta_organization_deactivated'
    case 'E0000001':
    case 'E0000002':
    case 'E0000003':
    case 'E0000012':
    case 'E0000018':
    case 'E0000019':
    case 'E0000020':
    case 'E0000021':
    case 'E0000028':
    case 'E0000029':
    case 'E0000031':
    case 'E0000037':
    case 'E0000063':
    case 'E0000094':
    case 'E0000122':
    case 'E0000149':
    case 'E0000243':
      return 'okta_request_refused'
    default:
      return undefined
  }
}

function apiTokenCause(error: SourceError, checkId: string, apiToken: string): OktaCause | undefined {
  switch (error.providerCode) {
    case 'E0000011':
    case 'E0000004':
      return tokenLooksLike(apiToken) === undefined ? 'okta_token_rejected' : 'okta_token_wrong_kind'
    case 'E0000005':
      return 'okta_session_invalid'
    case 'E0000006':
      if (checkId === 'access') return 'okta_token_not_permitted'
      return readingOf(checkId) === undefined ? undefined : 'okta_permission_missing'
    default:
      return apiCause(error, checkId)
  }
}

function accessTokenCause(error: SourceError, checkId: string): OktaCause | undefined {
  const words = error.providerMessage ?? ''
  switch (error.providerCode) {
    case 'insufficient_scope':
      return 'okta_scope_missing'
    case 'E0000006':
      return readingOf(checkId) === undefined ? undefined : 'okta_admin_role_missing'
    case 'E0000005':
      return 'okta_oauth_not_accepted'
    case 'E0000004':
    case 'E0000011':
    case 'invalid_token':
      return /timestamp/i.test(words) ? 'okta_clock_skew' : 'okta_access_token_refused'
    case 'invalid_dpop_proof':
    case 'use_dpop_nonce':
      return isAboutTime(words) ? 'okta_clock_skew' : 'okta_dpop_refused'
    case 'invalid_request':
      return /DPoP/.test(words) ? 'okta_dpop_refused' : 'okta_request_refused'
    case 'access_denied':
      return deniedCause(words)
    default:
      return apiCause(error, checkId)
  }
}

/**
 * Which of the many refusals of one code it is, only Okta's words tell.
 *
 * @see https://github.com/okta/okta-developer-docs packages/@okta/vuepress-site/data/oauth2-error-codes.json, release 2026.08.1
 */
function tokenEndpointCause(error: SourceError): OktaCause | undefined {
  const { providerCode, providerMessage: words = '' } = error
  switch (providerCode) {
    case 'invalid_client':
      return invalidClientCause(words)
    case 'unauthorized_client':
    case 'unsupported_grant_type':
      return 'okta_grant_type_missing'
    case 'access_denied':
      return deniedCause(words)
    case 'consent_required':
    case 'invalid_scope':
      return 'okta_scopes_not_granted'
    case 'invalid_dpop_proof':
    case 'use_dpop_nonce':
      return isAboutTime(words) ? 'okta_clock_skew' : 'okta_dpop_refused'
    case 'invalid_request':
      return /encryption key|JWKSet from jwks_uri/i.test(words)
        ? 'okta_key_set_unusable'
        : 'okta_assertion_refused'
    case 'server_error':
      return /feature is not enabled/i.test(words) ? 'okta_policy_denied' : 'okta_unavailable'
    case 'E0000006':
      return 'okta_access_denied'
    default:
      return apiCause(error, 'access')
  }
}

function invalidClientCause(words: string): OktaCause {
  if (isAboutTime(words)) return 'okta_clock_skew'
  const known: readonly (readonly [RegExp, OktaCause])[] = [
    [/'client_id' parameter|not a valid client_id/i, 'okta_client_unknown'],
    [/retrieving the client JWKSet/i, 'okta_key_set_unreachable'],
    [/JWT signature algorithm is invalid/i, 'okta_assertion_refused'],
    [/signature is invalid|kid is invalid|signed using a signing key/i, 'okta_key_not_registered'],
    [/JWKSet|'use' parameter|encryption key|jwks_uri/i, 'okta_key_set_unusable'],
    [/private_key_jwt|client secret/i, 'okta_client_secret_app'],
    [/'application_type'/i, 'okta_not_service_app'],
    [/client_assertion|No client credentials|Authentication header/i, 'okta_assertion_refused'],
  ]
  return known.find(([pattern]) => pattern.test(words))?.[1] ?? 'okta_client_rejected'
}

function deniedCause(words: string): OktaCause {
  if (/network zone/i.test(words)) return 'okta_network_zone'
  return /policy|feature/i.test(words) ? 'okta_policy_denied' : 'okta_access_denied'
}

/** `is expired`, `too far into the future`, `issued before the current time`, `more than five minutes in the past`, `'iat' claim`. */
const isAboutTime = (words: string) =>
  /\bexpired\b|\bin(?:to)? the future\b|\bbefore the current time\b|\bin the past\b|'iat' claim/i.test(words)

function skewOf({ hints }: SourceError): string {
  const seconds = hints.clock_skew_seconds
  if (typeof seconds !== 'number') return 'wrong by an amount that Okta did not tell'
  if (Math.abs(seconds) < 2) return 'right, so that the time was lost on the way'
  return `about ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead' : 'behind'}`
}
