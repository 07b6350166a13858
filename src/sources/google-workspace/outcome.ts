/** How checks end: outcomes with the causes of this source. */
import { SourceError } from '../../outbound/source-error.ts'
import type { Outcome } from '../source.ts'
import { scopeNames, scopes } from './access.ts'
import type { GoogleCause } from './causes.ts'
import { causeFor, isScopeRefusal, valuesOf } from './diagnosis.ts'
import type { GoogleSession } from './session.ts'

export const passed: Outcome = { status: 'passed' }
/** The check has no meaning for these credentials. */
export const notApplicable: Outcome = { status: 'skipped' }

/** The outcome of a check that fails, or stays open, for a cause that the check itself found. */
export function ended(
  session: GoogleSession,
  code: GoogleCause,
  more: { readonly error?: SourceError; readonly values?: Readonly<Record<string, string>> } = {},
): Outcome {
  const { error } = more
  const diagnosis = causeFor(session.credentials, code, {
    ...valuesOf(session.credentials, { domain: session.domain, ...(error !== undefined && { error }) }),
    ...more.values,
  })
  return {
    status: diagnosis.determinate ? 'failed' : 'unknown',
    cause: diagnosis.cause,
    ...(error !== undefined && {
      provider: {
        ...(error.status !== undefined && { status: error.status }),
        ...(error.providerCode !== undefined && { code: error.providerCode }),
        ...(error.providerMessage !== undefined && { message: error.providerMessage }),
      },
    }),
  }
}

/** All scopes that Google refused, so that an administrator adds them in one go. */
export async function missingScopes(session: GoogleSession): Promise<string[]> {
  const requests = await Promise.allSettled(scopeNames.map((scope) => session.token(scope)))
  return scopeNames
    .filter((_, index) => {
      const request = requests[index]
      return (
        request?.status === 'rejected' &&
        request.reason instanceof SourceError &&
        isScopeRefusal(request.reason)
      )
    })
    .map((scope) => scopes[scope])
}
