/** Who has enrolled which factors. Okta tells it of one user at a time, so it is read where a configuration asks for it. */
import type { Fact } from '../../entities/model.ts'
import { isRecord, isText } from './answers.ts'
import { pageSize, smallerPage } from './lists.ts'
import { oneByOneList } from './one-by-one.ts'
import { readPageOrSmaller } from './page-size.ts'

const scope = 'okta.users.read'

/**
 * A list of users without a filter leaves out the deprovisioned, who sign in no more.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/user/other/listusers
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/userfactor/other/listfactors
 */
export const enrolledFactorList = oneByOneList({
  name: 'enrolled_factors',
  title: 'Enrolled factors',
  capability: 'mfa',
  isOnRequest: true,
  facts: ['has_mfa', 'mfa_methods'],
  users: { operation: 'read users', target: `/api/v1/users?limit=${pageSize}`, scope },
  usersPerPage: pageSize,
  countIn: ({ identities }) => identities,
  readPage: (session, request) => readPageOrSmaller(session, request, smallerPage),
  requestOf: (uid) => ({
    operation: 'read the factors of a user',
    target: `/api/v1/users/${encodeURIComponent(uid)}/factors`,
    scope,
  }),
  factsOf(uid, factors) {
    const methods = new Set(factors.flatMap(methodIn))
    return [
      { kind: 'identity', uid, name: 'has_mfa', value: methods.size > 0 },
      ...[...methods].map((value): Fact => ({ kind: 'identity', uid, name: 'mfa_methods', value })),
    ]
  },
})

/** `push`, `token:software:totp`, `webauthn`, as Okta names it; none for a factor whose enrolment was not finished. */
function methodIn(factor: unknown): readonly string[] {
  return isRecord(factor) && isText(factor.factorType) && factor.status === 'ACTIVE'
    ? [factor.factorType]
    : []
}
