/** Who holds administrator roles: a list of those who hold any, and the roles of each. */
import type { Fact } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { EntityList, Json } from '../reading.ts'
import { isRecord, isText, unexpected } from './answers.ts'
import { uidOf } from './normalise.ts'
import { readDocumentPage } from './pages.ts'
import { askedOf, type OktaReading } from './reading-session.ts'

const scope = 'okta.roles.read'
/** The default, and the most that is documented. */
const assigneesPerPage = 100
const firstPage = `/api/v1/iam/assignees/users?limit=${assigneesPerPage}`
/** Users whose roles are asked for side by side, as one page of this list. */
const usersPerPage = 10

/** A list read to its end is a page of users first, and then the roles of a few of them at a time. */
interface Progress {
  /** Path and query of the next page of users. */
  readonly at: string | undefined
  /** Users whose roles are still to be asked for. */
  readonly pending: readonly string[]
}

/**
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/roleassignmentauser/other/listuserswithroleassignments
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/roleassignmentauser/other/listassignedrolesforuser
 */
export const roleAssignmentList: EntityList<OktaReading> = {
  name: 'role_assignments',
  title: 'Administrator roles',
  capability: 'roles',
  required: false,
  facts: ['roles'],
  // Each administrator has a role at least, and is asked for.
  calls: ({ told }) =>
    told === undefined ? undefined : Math.max(1, Math.ceil(told / assigneesPerPage)) + told,
  async read(session, cursor) {
    const { at, pending } = progressIn(cursor)
    if (pending.length === 0 && at !== undefined) {
      const operation = 'read who has administrator roles'
      const page = await readDocumentPage(session, { operation, target: at, scope })
      const ids = page.records.map(uidOf)
      if (!ids.every((id) => id !== undefined)) throw unexpected(operation, askedOf(at))
      return goingOn({}, { at: page.next, pending: ids })
    }
    const [now, later] = [pending.slice(0, usersPerPage), pending.slice(usersPerPage)]
    const facts = await Promise.all(now.map((uid) => rolesOf(session, uid)))
    return goingOn({ facts: facts.flat() }, { at, pending: later })
  },
}

function goingOn(page: { readonly facts?: readonly Fact[] }, { at, pending }: Progress) {
  if (at === undefined && pending.length === 0) return page
  return { ...page, next: { pending, ...(at !== undefined && { at }) } }
}

function progressIn(cursor: Json | undefined): Progress {
  if (!isRecord(cursor)) return { at: firstPage, pending: [] }
  const { at, pending } = cursor
  return {
    at: typeof at === 'string' ? at : undefined,
    pending: Array.isArray(pending) ? pending.filter((id) => typeof id === 'string') : [],
  }
}

async function rolesOf(session: OktaReading, uid: string): Promise<readonly Fact[]> {
  const operation = 'read the roles of a user'
  const target = `/api/v1/users/${uid}/roles`
  try {
    const { body } = await session.get({ operation, target, scope })
    if (!Array.isArray(body)) throw unexpected(operation, askedOf(target))
    return [...new Set(body.flatMap(roleIn))].map(
      (value): Fact => ({ kind: 'identity', uid, name: 'roles', value }),
    )
  } catch (error) {
    // Gone since the users were listed.
    if (error instanceof SourceError && error.status === 404) return []
    throw error
  }
}

/** `SUPER_ADMIN` for a standard role, its name for a custom one. Roles held through a group are listed with the others. */
function roleIn(role: unknown): readonly string[] {
  if (!isRecord(role) || !isText(role.type) || role.status === 'INACTIVE') return []
  return [role.type === 'CUSTOM' && isText(role.label) ? role.label : role.type]
}
