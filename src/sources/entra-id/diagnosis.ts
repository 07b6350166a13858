/** Finds the cause of a failure at Microsoft's sign-in service or at Graph. */
import type { SourceError } from '../../outbound/source-error.ts'
import { causeOf, type Diagnosis } from '../cause.ts'
import { diagnoseCommon } from '../common-causes.ts'
import type { Check, Target } from '../source.ts'
import { type Refusal, refusalOf } from './aadsts.ts'
import { causes, type EntraCause } from './causes.ts'
import { clouds } from './clouds.ts'
import { type Credentials, cloudOf } from './secrets.ts'

/** What client.ts and access.ts tell about a refusal beyond its status and code. */
export type Hints = SourceError['hints'] & {
  /** Which of the two services refused. */
  readonly service?: 'sign_in' | 'graph'
  /** OAuth's own word for the refusal. */
  readonly error?: string
  /** The first number among AADSTS codes that is known, else the first. */
  readonly aadsts?: number
  /** By how many minutes the service's clock is ahead of ours. */
  readonly skewMinutes?: number
  /** The application permission that the refused read needs. */
  readonly permission?: string
  /** Whether the token carries it: `yes`, `no`, `none` (it carries no permission at all) or `unreadable`. */
  readonly granted?: string
  /** A claims challenge came with the refusal. */
  readonly isChallenged?: boolean
  /** The cloud that the tenant says it is in. */
  readonly tenantCloud?: string
}

/**
 * Classes of refusal that the sign-in service documents as a plain "no" to the app, whatever the number says.
 *
 * @see https://learn.microsoft.com/entra/identity-platform/reference-error-codes#handling-error-codes-in-your-application
 */
const plainNo = new Set(['invalid_client', 'unauthorized_client'])

/** Our clock and Microsoft's may differ by this much before we suspect ours, in minutes; assertions allow for as much. */
const suspiciousSkewMinutes = 4

export function diagnose<S>(error: SourceError, check: Check<S>, target: Target<Credentials>): Diagnosis {
  const hints: Hints = error.hints
  const { credentials } = target
  const cloud = cloudOf(credentials) ?? clouds.global
  const asksSignIn = check.stage === 'shape' || check.stage === 'access'
  const host =
    hints.service === 'sign_in' || (hints.service === undefined && asksSignIn) ? cloud.authority : cloud.graph
  const values = {
    tenant: credentials.kind === 'operator' ? 'of the operator' : credentials.tenantId,
    client: credentials.kind === 'operator' ? 'of the operator' : credentials.clientId,
    cloud: cloud.title,
    authority: cloud.authority,
    graph: cloud.graph,
    permission: hints.permission ?? check.needs?.name ?? 'the permission for this read',
  }
  const of = (code: EntraCause, more: Readonly<Record<string, string>> = {}) =>
    causeOf(causes, code, { ...values, ...more })

  // 501 is an answer to what was asked, and 509 another word for throttling; the rest of 5xx are outages.
  if (error.status === 501) return of('entra_request_malformed')
  if (error.status === 509) return of('entra_rate_limited', { wait: waitOf(error) })
  const common = diagnoseCommon('entra', causes, error, host)
  if (common !== undefined) return common
  if (error.code === 'not_configured') return of('entra_credentials_missing')
  return hints.service === 'graph'
    ? graphRefusal(error, hints, of)
    : signInRefusal(error, hints, credentials, of)
}

type Of = (code: EntraCause, values?: Readonly<Record<string, string>>) => Diagnosis

const isRefusal = (status: number | undefined) => status === 400 || status === 401 || status === 403

function signInRefusal(error: SourceError, hints: Hints, credentials: Credentials, of: Of): Diagnosis {
  if (hints.error === 'temporarily_unavailable' || hints.error === 'server_error')
    return of('entra_unavailable')
  if (!isRefusal(error.status) || hints.error === undefined) return of('entra_unrecognised_refusal')
  const refusal = hints.aadsts === undefined ? undefined : refusalOf(hints.aadsts)
  if (refusal !== undefined) return knownRefusal(refusal, error, credentials, of)
  if (hints.error === 'invalid_tenant') return tenantRefusal('tenant_not_found', hints, of)
  return plainNo.has(hints.error) ? of('entra_credential_rejected') : of('entra_unrecognised_refusal')
}

function knownRefusal(refusal: Refusal, error: SourceError, credentials: Credentials, of: Of): Diagnosis {
  const hints: Hints = error.hints
  const { kind } = credentials
  const skew = hints.skewMinutes ?? 0
  const isSkewed = Math.abs(skew) >= suspiciousSkewMinutes
  const clockSkew = () => of('entra_clock_skew', { skew: String(Math.abs(skew)) })
  switch (refusal) {
    case 'unavailable':
      return of('entra_unavailable')
    case 'rate_limited':
      return of('entra_rate_limited', { wait: waitOf(error) })
    case 'tenant_not_found':
    case 'other_cloud':
      return tenantRefusal(refusal, hints, of)
    case 'tenant_malformed':
      return of('entra_tenant_malformed')
    case 'assertion_time':
      if (isSkewed) return clockSkew()
      // What we sign is valid from before now until after; only a token from outside can really be out of time.
      return kind === 'federated_token' ? of('entra_federated_token_expired') : of('entra_assertion_time')
    case 'assertion_invalid':
      if (isSkewed) return clockSkew()
      return kind === 'federated_token' ? of('entra_federated_token_rejected') : of('entra_assertion_invalid')
    case 'certificate_not_registered':
      if (isSkewed) return clockSkew()
      return kind === 'federated_token'
        ? of('entra_federated_token_rejected')
        : of('entra_certificate_not_registered')
    case 'graph_not_in_tenant':
      return hints.tenantCloud === undefined
        ? of('entra_graph_not_in_tenant')
        : tenantRefusal('other_cloud', hints, of)
    case 'assertion_audience':
      return hints.tenantCloud === undefined
        ? of('entra_assertion_audience')
        : tenantRefusal('other_cloud', hints, of)
    case 'credential_rejected':
    case 'secret_wrong':
      // Both are older numbers: for a wrong client secret, and for an assertion with whatever is wrong about it.
      if (kind !== 'client_secret' && isSkewed) return clockSkew()
      return kind === 'client_secret' ? of('entra_secret_wrong') : of('entra_credential_rejected')
    case 'federated_issuer':
      return of('entra_federated_no_match', { part: 'the issuer' })
    case 'federated_audience':
      return of('entra_federated_no_match', { part: 'the audience' })
    case 'federated_subject':
      return of('entra_federated_no_match', { part: 'the subject' })
    case 'federated_no_match':
      return of('entra_federated_no_match', { part: 'at least one of them' })
    default:
      return of(`entra_${refusal}`)
  }
}

function tenantRefusal(refusal: 'tenant_not_found' | 'other_cloud', hints: Hints, of: Of): Diagnosis {
  const right = Object.values(clouds).find(({ name }) => name === hints.tenantCloud)
  if (right !== undefined)
    return of('entra_other_cloud', { right_cloud: right.title, right_cloud_name: right.name })
  if (refusal === 'tenant_not_found') return of('entra_tenant_not_found')
  return of('entra_other_cloud', {
    right_cloud: 'another one',
    right_cloud_name: 'that of the tenant (global, us-gov, us-gov-dod or china)',
  })
}

/** Graph's codes for "not permitted"; the last two name the permission in their words. */
const denials = new Set([
  'Authorization_RequestDenied',
  'accessDenied',
  'AccessDenied',
  'Authentication_MSGraphPermissionMissing',
  'Authentication_ApplicationHasNoReadAuditLogDataAccess',
])

const throttles = new Set(['activityLimitReached', 'throttledRequest', 'TooManyRequests'])

function graphRefusal(error: SourceError, hints: Hints, of: Of): Diagnosis {
  const { status, providerCode: code } = error
  if (code !== undefined && throttles.has(code)) return of('entra_rate_limited', { wait: waitOf(error) })
  if (code === 'serviceNotAvailable') return of('entra_unavailable')
  if (status === 401) {
    // Looked at first: a challenge comes under the same code as an expired token.
    if (hints.isChallenged === true) return of('entra_conditional_access')
    if (code === 'Authorization_IdentityNotFound') return of('entra_service_principal_missing')
    if (code === 'Authorization_IdentityDisabled') return of('entra_service_principal_disabled')
    if (code === 'InvalidAuthenticationToken' || code === 'unauthenticated') return of('entra_token_rejected')
  }
  if (status === 403) {
    if (hints.isChallenged === true || code === 'insufficient_claims') return of('entra_conditional_access')
    if (code === 'Authentication_RequestFromNonPremiumTenantOrB2CTenant') return of('entra_premium_required')
    if (code !== undefined && denials.has(code)) return denied(error, hints, of)
  }
  if (status === 400) return of('entra_request_malformed')
  return of('entra_unrecognised_refusal')
}

/** A refusal for want of a permission, told apart by what the token carries. */
function denied(error: SourceError, hints: Hints, of: Of): Diagnosis {
  const named = /\b[A-Z]\w+(?:\.[A-Z]\w+)+\b/.exec(
    error.providerCode === 'Authentication_MSGraphPermissionMissing' ? (error.providerMessage ?? '') : '',
  )?.[0]
  const permission: Record<string, string> = named === undefined ? {} : { permission: named }
  if (hints.granted === 'none') return of('entra_no_application_permissions', permission)
  if (named === undefined && hints.granted === 'yes') return of('entra_denied_despite_permission')
  return of('entra_permission_missing', permission)
}

const waitOf = ({ retryAfterSeconds }: SourceError) =>
  retryAfterSeconds === undefined ? 'a minute' : `${retryAfterSeconds} s`
