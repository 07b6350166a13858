/** Refusals in Google's own forms: OAuth's at the token endpoint, the API's everywhere else. */
import type { SandboxAnswer } from '../provider.ts'

/** A refusal on its way up to the answer. */
export class GoogleRefusal extends Error {
  override readonly name = 'GoogleRefusal'
  readonly answer: SandboxAnswer

  constructor(answer: SandboxAnswer) {
    super(`refused with ${answer.status}`)
    this.answer = answer
  }
}

export const tokenRefusal = (status: number, error: string, description: string) =>
  new GoogleRefusal({ status, body: { error, error_description: description } })

interface ApiError {
  readonly reason: string
  readonly message: string
  /** The canonical gRPC name of the status; older parts of the API leave it out. */
  readonly status?: string
  readonly details?: readonly unknown[]
  readonly domain?: string
  readonly location?: { readonly location: string; readonly locationType: string }
  readonly headers?: Readonly<Record<string, string>>
}

/** `{error: {code, message, errors, status, details}}`. */
export function apiRefusal(code: number, error: ApiError): GoogleRefusal {
  const { reason, message, status, details, domain = 'global', location, headers } = error
  return new GoogleRefusal({
    status: code,
    ...(headers && { headers }),
    body: {
      error: {
        code,
        message,
        errors: [{ message, domain, reason, ...location }],
        ...(status && { status }),
        ...(details && { details }),
      },
    },
  })
}

export const notAuthorized = () =>
  apiRefusal(403, { reason: 'forbidden', message: 'Not Authorized to access this resource/api' })

export const notFound = (what: string) =>
  apiRefusal(404, { reason: 'notFound', message: `Resource Not Found: ${what}` })

export const invalid = (message: string) => apiRefusal(400, { reason: 'invalid', message })

export const invalidParameter = (name: string, message: string) =>
  apiRefusal(400, {
    reason: 'invalidParameter',
    message,
    location: { location: name, locationType: 'parameter' },
  })

export const loginRequired = () =>
  apiRefusal(401, {
    reason: 'required',
    message: 'Login Required.',
    status: 'UNAUTHENTICATED',
    location: { location: 'Authorization', locationType: 'header' },
    headers: { 'www-authenticate': 'Bearer realm="https://accounts.google.com/"' },
  })

export const invalidCredentials = () =>
  apiRefusal(401, {
    reason: 'authError',
    message: 'Invalid Credentials',
    status: 'UNAUTHENTICATED',
    location: { location: 'Authorization', locationType: 'header' },
    headers: { 'www-authenticate': 'Bearer realm="https://accounts.google.com/", error="invalid_token"' },
  })

export const insufficientScope = (scope: string) =>
  apiRefusal(403, {
    reason: 'insufficientPermissions',
    message: 'Request had insufficient authentication scopes.',
    status: 'PERMISSION_DENIED',
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'ACCESS_TOKEN_SCOPE_INSUFFICIENT',
        domain: 'googleapis.com',
        metadata: { service: 'admin.googleapis.com' },
      },
    ],
    headers: {
      'www-authenticate': `Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="${scope}"`,
    },
  })

export const serviceDisabled = (projectNumber: string) =>
  apiRefusal(403, {
    reason: 'accessNotConfigured',
    domain: 'usageLimits',
    message: `Admin SDK API has not been used in project ${projectNumber} before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/admin.googleapis.com/overview?project=${projectNumber} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.`,
    status: 'PERMISSION_DENIED',
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: 'SERVICE_DISABLED',
        domain: 'googleapis.com',
        metadata: { consumer: `projects/${projectNumber}`, service: 'admin.googleapis.com' },
      },
    ],
  })

/** Google's front end answers paths that no service has with a page. */
export const unknownPath = (path: string): SandboxAnswer => ({
  status: 404,
  headers: { 'content-type': 'text/html; charset=UTF-8' },
  body: `<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><p><b>404.</b> <ins>That’s an error.</ins><p>The requested URL <code>${encodeURI(path)}</code> was not found on this server.`,
})
