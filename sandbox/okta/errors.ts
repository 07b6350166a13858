/** Okta's refusals, word for word: of the API and of its authorization server. */
import { randomBytes } from 'node:crypto'
import type { SandboxAnswer } from '../provider.ts'

/**
 * Code → status and summary.
 *
 * @see https://developer.okta.com/docs/reference/error-codes/ release 2026.08.1
 */
const apiErrors = {
  E0000001: [400, 'Api validation failed: {0}'],
  E0000005: [403, 'Invalid session'],
  E0000006: [403, 'You do not have permission to perform the requested action'],
  E0000007: [404, 'Not found: {0}'],
  E0000008: [404, 'The requested path was not found'],
  E0000010: [503, 'Service is in read only mode'],
  E0000011: [401, 'Invalid token provided'],
  E0000021: [400, 'Bad request.  Accept and/or Content-Type headers likely do not match supported values.'],
  E0000022: [405, 'The endpoint does not support the provided HTTP method'],
  E0000029: [400, 'Invalid paging request.'],
  E0000031: [400, 'Invalid search criteria.'],
  E0000037: [400, 'Type mismatch exception.  {0}'],
  E0000047: [429, 'API call exceeded rate limit due to too many requests.'],
  E0000053: [400, '{0}'],
} as const satisfies Record<string, readonly [number, string]>

export type ApiErrorCode = keyof typeof apiErrors

/** A refusal thrown anywhere below a route; the answer is sent as it is. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly answer: SandboxAnswer

  constructor(answer: SandboxAnswer) {
    super(`refused with ${answer.status}`)
    this.answer = answer
  }
}

export function apiError(code: ApiErrorCode, detail = ''): SandboxAnswer {
  const [status, summary] = apiErrors[code]
  return {
    status,
    body: {
      errorCode: code,
      errorSummary: summary.replace('{0}', detail),
      errorLink: code,
      errorId: `oae${randomBytes(16).toString('base64url')}`,
      errorCauses: [],
    },
  }
}

export const refuse = (code: ApiErrorCode, detail?: string) => new Refusal(apiError(code, detail))

/**
 * A refusal of the token endpoint.
 *
 * @see https://github.com/okta/okta-developer-docs packages/@okta/vuepress-site/data/oauth2-error-codes.json
 */
export const tokenError = (
  status: number,
  error: string,
  description: string,
  headers: Readonly<Record<string, string>> = {},
) =>
  new Refusal({
    status,
    headers: { 'cache-control': 'no-cache, no-store', pragma: 'no-cache', ...headers },
    body: { error, error_description: description },
  })

export const invalidClient = (description: string) => tokenError(401, 'invalid_client', description)

export interface BearerRefusal {
  readonly scheme: 'Bearer' | 'DPoP'
  readonly host: string
  readonly path: string
  readonly scope: string
  readonly status: number
  readonly error: string
  readonly description: string
}

/**
 * A refusal of an access token by the API: no body, all in the header.
 *
 * @see https://github.com/okta/okta-sdk-golang/issues/145
 * @see https://github.com/okta/terraform-provider-okta/issues/2375
 */
export function challenge({ scheme, host, path, scope, status, error, description }: BearerRefusal): Refusal {
  const parameters = [
    ...(scheme === 'DPoP' ? ['algs="RS256 RS384 RS512 ES256 ES384 ES512"'] : []),
    `authorization_uri="http://${host}/oauth2/v1/authorize"`,
    `realm="http://${host}"`,
    `scope="${scope}"`,
    `error="${error}"`,
    `error_description="${description}"`,
    `resource="${path}"`,
  ]
  return new Refusal({ status, headers: { 'www-authenticate': `${scheme} ${parameters.join(', ')}` } })
}

/** What answers at a name under okta.com that no organisation has. */
export const noSuchOrganization: SandboxAnswer = {
  status: 404,
  headers: { 'content-type': 'text/html;charset=utf-8' },
  body: '<!DOCTYPE html>\n<html lang="en"><head><title>Page not found</title></head><body><h1>404</h1><p>Page not found.</p></body></html>\n',
}
