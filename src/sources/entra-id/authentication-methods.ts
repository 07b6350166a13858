/**
 * Who has registered which methods for multi-factor authentication. The report leaves out disabled users, and its limit
 * of five requests in ten seconds makes it the slowest list of a large tenant.
 *
 * @see https://learn.microsoft.com/graph/api/authenticationmethodsroot-list-userregistrationdetails
 */
import type { Fact } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { EntityList, Page } from '../reading.ts'
import { objectsIn, type Place } from './graph-page.ts'
import { readListPage } from './list-page.ts'
import { permissions } from './permissions.ts'
import type { ReadingSession } from './reading-session.ts'
import { claimOf, idOf, textsOf } from './values.ts'

/**
 * Its page names no `$top`, while Microsoft's own command sends one.
 *
 * @see https://learn.microsoft.com/powershell/module/microsoft.entra.reports/get-entraauthenticationmethoduserregistrationdetailreport
 */
const page = 999

const registrations: Place = {
  operation: 'read registered authentication methods',
  path: '/reports/authenticationMethods/userRegistrationDetails',
  needs: [permissions.auditLog],
}

export const authenticationMethods: EntityList<ReadingSession> = {
  name: 'authentication_methods',
  title: 'Registered authentication methods',
  capability: 'mfa',
  required: false,
  facts: ['has_mfa', 'mfa_methods'],
  calls: ({ identities }) =>
    identities === undefined ? undefined : Math.max(1, Math.ceil(identities / page)),
  async read(session, cursor) {
    const { path } = registrations
    const read = (first: string) => readListPage(session, registrations, first, cursor, factsIn)
    try {
      return await read(`${path}?$top=${page}`)
    } catch (error) {
      const isUnsupported = cursor === undefined && error instanceof SourceError && error.status === 400
      if (!isUnsupported) throw error
      return read(path)
    }
  },
}

const factsIn = (records: readonly unknown[]): Page => ({ facts: objectsIn(records).flatMap(factsOf) })

/** @see https://learn.microsoft.com/graph/api/resources/userregistrationdetails */
function factsOf({ id, isMfaRegistered, methodsRegistered }: Readonly<Record<string, unknown>>): Fact[] {
  const uid = idOf(id)
  const hasMfa = claimOf(isMfaRegistered)
  if (uid === undefined) return []
  return [
    ...(hasMfa === undefined ? [] : [{ kind: 'identity', uid, name: 'has_mfa', value: hasMfa } as const]),
    ...textsOf(methodsRegistered).map(
      (value) => ({ kind: 'identity', uid, name: 'mfa_methods', value }) as const,
    ),
  ]
}
