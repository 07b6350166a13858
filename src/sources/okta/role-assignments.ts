/** Who holds administrator roles: a list of those who hold any, and the roles of each. */
import type { Fact } from '../../entities/model.ts'
import { isRecord, isText } from './answers.ts'
import { oneByOneList } from './one-by-one.ts'
import { readDocumentPage } from './pages.ts'

const scope = 'okta.roles.read'
/** The default, and the most that is documented. */
const assigneesPerPage = 100

/**
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/roleassignmentauser/other/listuserswithroleassignments
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/roleassignmentauser/other/listassignedrolesforuser
 */
export const roleAssignmentList = oneByOneList({
  name: 'role_assignments',
  title: 'Administrator roles',
  capability: 'roles',
  facts: ['roles'],
  users: {
    operation: 'read who has administrator roles',
    target: `/api/v1/iam/assignees/users?limit=${assigneesPerPage}`,
    scope,
  },
  usersPerPage: assigneesPerPage,
  // Each administrator has a role at least.
  countIn: ({ told }) => told,
  readPage: readDocumentPage,
  requestOf: (uid) => ({
    operation: 'read the roles of a user',
    target: `/api/v1/users/${encodeURIComponent(uid)}/roles`,
    scope,
  }),
  factsOf: (uid, roles) =>
    [...new Set(roles.flatMap(roleIn))].map(
      (value): Fact => ({ kind: 'identity', uid, name: 'roles', value }),
    ),
})

/** `SUPER_ADMIN` for a standard role, its name for a custom one. Roles held through a group are listed with the others. */
function roleIn(role: unknown): readonly string[] {
  if (!isRecord(role) || !isText(role.type) || role.status === 'INACTIVE') return []
  return [role.type === 'CUSTOM' && isText(role.label) ? role.label : role.type]
}
