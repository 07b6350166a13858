/** Who holds administrator roles: a list of those who hold any, and the roles of each. */
import type { Fact } from '../../entities/model.ts'
import type { EntityList } from '../reading.ts'
import { isRecord, isText } from './answers.ts'
import { readOneByOne } from './one-by-one.ts'
import { readDocumentPage } from './pages.ts'
import type { OktaReading } from './reading-session.ts'

const scope = 'okta.roles.read'
/** The default, and the most that is documented. */
const assigneesPerPage = 100

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
  read: readOneByOne({
    users: {
      operation: 'read who has administrator roles',
      target: `/api/v1/iam/assignees/users?limit=${assigneesPerPage}`,
      scope,
    },
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
  }),
}

/** `SUPER_ADMIN` for a standard role, its name for a custom one. Roles held through a group are listed with the others. */
function roleIn(role: unknown): readonly string[] {
  if (!isRecord(role) || !isText(role.type) || role.status === 'INACTIVE') return []
  return [role.type === 'CUSTOM' && isText(role.label) ? role.label : role.type]
}
