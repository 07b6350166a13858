/**
 * Who has which directory role: by an assignment of their own, or as a member of a group that has one. Roles that
 * somebody may only activate (Privileged Identity Management) count once they are active. A role that does not count
 * in the whole tenant says where it does: `User Administrator (administrative unit …)`.
 *
 * @see https://learn.microsoft.com/graph/api/rbacapplication-list-roleassignments
 */
import type { Fact } from '../../entities/model.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { EntityList, Json, Page } from '../reading.ts'
import { mostIds, readByIds } from './by-ids.ts'
import type { GraphObject } from './client.ts'
import { badLink, objectsIn, type Place } from './graph-page.ts'
import { readListPage } from './list-page.ts'
import { permissions } from './permissions.ts'
import type { ReadingSession } from './reading-session.ts'
import { idOf, textOf } from './values.ts'
import { readWhole } from './whole-list.ts'

/** What all assignments come to: role names by their holders. */
export interface Holders {
  readonly users: ReadonlyMap<string, ReadonlySet<string>>
  readonly groups: ReadonlyMap<string, ReadonlySet<string>>
}

/** After the assignments, the members of each group among the holders, in the order of the groups' ids. */
interface Cursor {
  readonly group: string
  readonly members?: Json
}

export const roleAssignments: EntityList<ReadingSession> = {
  name: 'role_assignments',
  title: 'Directory roles',
  capability: 'roles',
  required: false,
  facts: ['roles'],
  // The definitions, the assignments, a few groups, and which of the holders are groups.
  calls: ({ told = 0 }) => 3 + Math.max(1, Math.ceil(told / mostIds)),
  async read(session, cursor) {
    const { users, groups } = await session.roleHolders()
    if (cursor === undefined)
      return {
        facts: [...users].flatMap(([uid, roles]) => factsOf(uid, roles)),
        ...nextGroup(groups, ''),
      }
    const { group, members } = readCursor(cursor)
    const roles = groups.get(group)
    // The assignments were read again since, and it is no holder any more.
    if (roles === undefined) return nextGroup(groups, group)
    const { next, ...page } = await readMembers(session, group, roles, members)
    return {
      ...page,
      ...(next === undefined ? nextGroup(groups, group) : { next: { group, members: next } }),
    }
  },
}

const factsOf = (uid: string, roles: ReadonlySet<string>): Fact[] =>
  [...roles].map((value) => ({ kind: 'identity', uid, name: 'roles', value }))

function nextGroup(groups: Holders['groups'], after: string): Pick<Page, 'next'> {
  const group = [...groups.keys()].filter((id) => id > after).sort()[0]
  return group === undefined ? {} : { next: { group } }
}

/** A group that may hold roles has no groups in it. @see https://learn.microsoft.com/entra/identity/role-based-access-control/groups-concept */
async function readMembers(
  session: ReadingSession,
  group: string,
  roles: ReadonlySet<string>,
  cursor: Json | undefined,
): Promise<Page> {
  const place: Place = {
    operation: 'read members of a group with roles',
    path: `/groups/${group}/members`,
    needs: [permissions.groups],
  }
  try {
    return await readListPage(session, place, `${place.path}?$top=999&$select=id`, cursor, (records) => ({
      facts: objectsIn(records).flatMap(({ id }) => {
        const uid = idOf(id)
        return uid === undefined ? [] : factsOf(uid, roles)
      }),
    }))
  } catch (error) {
    // The group has gone meanwhile, and its roles with it.
    if (error instanceof SourceError && error.status === 404) return {}
    throw error
  }
}

function readCursor(cursor: Json): Cursor {
  if (typeof cursor !== 'object' || cursor === null || !('group' in cursor))
    throw badLink(assignments, 'malformed')
  const { group, members } = cursor
  if (typeof group !== 'string' || idOf(group) !== group) throw badLink(assignments, 'malformed')
  return { group, ...(members !== undefined && { members }) }
}

const definitions: Place = {
  operation: 'read role definitions',
  path: '/roleManagement/directory/roleDefinitions',
  needs: [permissions.roles],
}
const assignments: Place = {
  operation: 'read role assignments',
  path: '/roleManagement/directory/roleAssignments',
  needs: [permissions.roles],
}

const groupsAmongHolders: Place = {
  operation: 'read groups with roles',
  path: '/groups',
  needs: [permissions.groups],
}

/** Far more pages than a tenant's roles and their assignments take: a handful of each is usual. */
const mostPages = 100

/**
 * Reads definitions and assignments at once: they are few, and each makes sense only with the others. The holders are
 * not expanded, since Graph then shows each with every property that it has, once for each assignment. That one is a
 * group is asked of the groups, which takes no permission beyond theirs.
 */
export async function readRoleHolders(session: Pick<ReadingSession, 'page'>): Promise<Holders> {
  // The pages of both name $filter, $expand and $select alone.
  const names = new Map<string, string>()
  const all = await readWhole(session, definitions, `${definitions.path}?$select=id,displayName`, mostPages)
  for (const { id, displayName } of all) {
    const role = idOf(id)
    const name = textOf(displayName)
    if (role !== undefined && name !== undefined) names.set(role, name)
  }
  const holders = new Map<string, Set<string>>()
  for (const assignment of await readWhole(session, assignments, assignments.path, mostPages)) {
    const uid = idOf(assignment.principalId)
    const role = idOf(assignment.roleDefinitionId)
    if (uid === undefined || role === undefined) continue
    const value = `${names.get(role) ?? role}${scopeOf(assignment)}`
    holders.set(uid, (holders.get(uid) ?? new Set()).add(value))
  }
  const areGroups = await readByIds(session, groupsAmongHolders, '$select=id', [...holders.keys()])
  const those = (isWanted: (uid: string) => boolean) => new Map([...holders].filter(([uid]) => isWanted(uid)))
  return { users: those((uid) => !areGroups.has(uid)), groups: those((uid) => areGroups.has(uid)) }
}

/**
 * Where a role counts, unless it is the whole tenant: so that nobody takes one for the other.
 *
 * @see https://learn.microsoft.com/graph/api/resources/unifiedroleassignment
 * @see https://learn.microsoft.com/graph/api/rbacapplication-post-roleassignments#request-body
 */
function scopeOf({ directoryScopeId, appScopeId }: GraphObject): string {
  const app = textOf(appScopeId)
  // Known to one application alone, in words of its own.
  if (app !== undefined && app !== '/') return ` (scope ${app})`
  const scope = textOf(directoryScopeId) ?? app
  if (scope === '/') return ''
  const [, place = '', id = ''] = /^\/(?:(\w+)\/)?([^/]+)$/.exec(scope ?? '') ?? []
  const uid = idOf(id)
  if (scope === undefined || uid === undefined) return ` (scope ${scope ?? 'unknown'})`
  if (place === '') return ` (application ${uid})`
  return place === 'administrativeUnits' ? ` (administrative unit ${uid})` : ` (scope ${scope})`
}
