/** The questions that a validation asks of an Entra tenant, in the order in which a report shows them. */
import { cleanText } from '../../outbound/clean-text.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { Check } from '../source.ts'
import { checkExpiry } from './expiry.ts'
import { fail, warn } from './outcomes.ts'
import { proveOwnership } from './ownership.ts'
import { canDoMoreThanRead, isGranted, needOf, type Permission, permissions } from './permissions.ts'
import { isGuid } from './secrets.ts'
import type { Session } from './session.ts'

const graphDocs = 'https://learn.microsoft.com/graph/api'

/** A check that reads the first entry of a list and is content with any. */
function listCheck(
  check: Pick<Check<Session>, 'id' | 'title' | 'proves' | 'required' | 'without'> & {
    readonly capability: NonNullable<Check<Session>['capability']>
    readonly path: string
    readonly needs: readonly [Permission, ...Permission[]]
    readonly docs: string
    /** Whether the data needs a licence of the tenant. */
    readonly isPremium?: boolean
  },
): Check<Session> {
  const { path, needs, docs, isPremium = false, ...rest } = check
  return {
    ...rest,
    stage: 'capability',
    // The last is the one that this read needs beyond what the others need already.
    needs: needOf(needs.at(-1) ?? needs[0], `${graphDocs}/${docs}`),
    after: ['token'],
    async run(session) {
      const read = () => session.client().list(`read ${rest.capability}`, path, needs)
      await (isPremium ? twiceIfUnlicensed(read) : read())
      return { status: 'passed' }
    },
  }
}

/**
 * Asks again when Graph says that the licence is missing: tenants that have it are told so now and then
 * (microsoft-graph-docs-contrib#3033).
 */
async function twiceIfUnlicensed<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    const isUnlicensed =
      error instanceof SourceError &&
      error.providerCode === 'Authentication_RequestFromNonPremiumTenantOrB2CTenant'
    if (!isUnlicensed) throw error
    return await read()
  }
}

export const checks: readonly Check<Session>[] = [
  {
    id: 'credentials',
    stage: 'shape',
    title: 'Credentials are complete',
    proves:
      'The credentials have the form of such credentials, and have not expired as far as that can be seen.',
    required: true,
    after: [],
    async run({ credentials }) {
      if (!credentials.ok)
        return {
          status: credentials.diagnosis.determinate ? 'failed' : 'unknown',
          cause: credentials.diagnosis.cause,
        }
      const { cloud, proof } = credentials.credentials
      const isUnusual = proof.kind === 'federated_token' && !proof.audience.includes(cloud.exchangeAudience)
      return isUnusual
        ? {
            status: 'passed',
            warnings: [warn('entra_unusual_audience', { audience: cloud.exchangeAudience })],
          }
        : { status: 'passed' }
    },
  },
  {
    id: 'domain',
    stage: 'shape',
    title: 'Domain is well formed',
    proves: 'The domain is a host name.',
    required: true,
    after: [],
    async run({ domain }) {
      return domain.ok
        ? { status: 'passed', subject: { domain: domain.domain } }
        : { status: 'failed', cause: domain.diagnosis.cause }
    },
  },
  {
    id: 'tenant',
    stage: 'access',
    title: 'Tenant exists',
    proves: 'The chosen Microsoft cloud knows the tenant.',
    // A token proves more. This tells why there is none, and must hold nothing back by itself.
    required: false,
    after: ['credentials', 'domain'],
    async run(session) {
      const { tenantId, cloud } = session.sound()
      const document = await session.client().tenantDocument(tenantId)
      const told = document.cloud
      if (told !== undefined && told !== cloud)
        return fail('entra_cloud_differs', { right_cloud: told.title, right_cloud_name: told.name })
      return { status: 'passed', subject: { organization: document.tenantId } }
    },
  },
  {
    id: 'token',
    stage: 'access',
    title: 'Access token',
    proves: 'The tenant issues the app a token for Microsoft Graph.',
    required: true,
    after: ['credentials', 'domain'],
    async run(session) {
      const { tenantId, clientId, cloud } = session.sound()
      const { claims } = await session.client().token()
      const issuedBy = claims?.tenantId
      if (isGuid(tenantId) && issuedBy !== undefined && issuedBy !== tenantId)
        return fail('entra_token_unusable', { authority: cloud.authority })
      const organization = issuedBy ?? (isGuid(tenantId) ? tenantId : undefined)
      const name = cleanText(claims?.appName ?? '', 100)
      return {
        status: 'passed',
        subject: {
          principal: name === '' ? clientId : `${name} (${clientId})`,
          ...(organization !== undefined && { organization }),
        },
      }
    },
  },
  {
    id: 'permissions',
    stage: 'access',
    title: 'Application permissions are consented to',
    proves: 'The token carries the application permissions for users, groups and memberships.',
    needs: needOf(permissions.users, 'https://learn.microsoft.com/graph/permissions-reference'),
    // A hint: what the reads say is decisive.
    required: false,
    after: ['token'],
    async run(session) {
      const { claims } = await session.client().token()
      if (claims === undefined) return { status: 'skipped' }
      const lacking = [permissions.users, permissions.groups].filter((need) => !isGranted(need, claims.roles))
      if (lacking.length === 0) return { status: 'passed' }
      const permission = lacking.map(({ name }) => name).join(' and ')
      return fail(claims.roles.size === 0 ? 'entra_no_application_permissions' : 'entra_permission_missing', {
        permission,
      })
    },
  },
  {
    id: 'domain_ownership',
    stage: 'identity',
    title: 'Tenant owns the domain',
    proves: 'The domain is one of the verified domains of the tenant that the credentials belong to.',
    required: true,
    after: ['token'],
    run: proveOwnership,
  },
  {
    id: 'users',
    stage: 'capability',
    title: 'Users can be read',
    proves: 'One user was read.',
    needs: needOf(permissions.users, `${graphDocs}/user-list`),
    required: true,
    capability: 'users',
    after: ['token'],
    async run(session) {
      const users = await session
        .client()
        .list('read users', '/users?$top=1&$select=id,userPrincipalName', [permissions.users])
      return users.length === 0 ? fail('entra_users_empty', {}) : { status: 'passed' }
    },
  },
  {
    id: 'groups',
    stage: 'capability',
    title: 'Groups can be read',
    proves: 'One group was read, or there is none.',
    needs: needOf(permissions.groups, `${graphDocs}/group-list`),
    required: true,
    capability: 'groups',
    after: ['token'],
    async run(session) {
      const group = await session.firstGroup()
      return group === undefined
        ? { status: 'passed', warnings: [warn('entra_no_groups')] }
        : { status: 'passed' }
    },
  },
  {
    id: 'memberships',
    stage: 'capability',
    title: 'Group memberships can be read',
    proves: 'The members of one group were read, or there is no group.',
    needs: needOf(permissions.groups, `${graphDocs}/group-list-members`),
    required: true,
    capability: 'memberships',
    after: ['groups'],
    async run(session) {
      const group = await session.firstGroup()
      if (group === undefined) return { status: 'passed' }
      await session
        .client()
        .list('read memberships', `/groups/${encodeURIComponent(group)}/members?$top=1&$select=id`, [
          permissions.groups,
        ])
      return { status: 'passed' }
    },
  },
  listCheck({
    id: 'devices',
    title: 'Devices can be read',
    proves: 'The list of devices was read.',
    required: false,
    without: 'Devices and their owners are not known.',
    capability: 'devices',
    path: '/devices?$top=1&$select=id',
    needs: [permissions.devices],
    docs: 'device-list',
  }),
  listCheck({
    id: 'applications',
    title: 'Applications can be read',
    proves: 'The list of service principals was read.',
    required: false,
    without: 'A sync lacks nothing: it does not read applications.',
    capability: 'applications',
    path: '/servicePrincipals?$top=1&$select=id',
    needs: [permissions.applications],
    docs: 'serviceprincipal-list',
  }),
  listCheck({
    id: 'roles',
    title: 'Directory roles can be read',
    proves: 'The list of role assignments was read.',
    required: false,
    without: 'The directory roles of people are not known.',
    capability: 'roles',
    // Its page names $filter, $expand and $select, and no $top.
    path: '/roleManagement/directory/roleAssignments?$select=id',
    needs: [permissions.roles],
    docs: 'rbacapplication-list-roleassignments',
  }),
  listCheck({
    id: 'sign_in_activity',
    title: 'Sign-in activity can be read',
    proves: 'A user was read together with the last sign-in.',
    required: false,
    without: 'Last sign-ins are not known.',
    capability: 'sign_in_activity',
    path: '/users?$top=1&$select=id,signInActivity',
    needs: [permissions.users, permissions.auditLog],
    docs: 'resources/signinactivity',
    isPremium: true,
  }),
  listCheck({
    id: 'mfa',
    title: 'Authentication methods can be read',
    proves: 'The report on registered authentication methods was read.',
    required: false,
    without: 'Registered authentication methods are not known.',
    capability: 'mfa',
    // Its page names $filter and $orderby alone.
    path: '/reports/authenticationMethods/userRegistrationDetails',
    needs: [permissions.auditLog],
    docs: 'authenticationmethodsroot-list-userregistrationdetails',
    isPremium: true,
  }),
  {
    id: 'credential_expiry',
    stage: 'health',
    title: 'Credentials stay valid',
    proves: 'It is known until when the credentials are valid.',
    needs: needOf(permissions.applications, `${graphDocs}/application-get`),
    required: false,
    capability: 'credential_expiry',
    after: ['token'],
    run: checkExpiry,
  },
  {
    id: 'privilege',
    stage: 'health',
    title: 'The app may only read',
    proves: 'The token carries no permission to change anything.',
    required: false,
    after: ['token'],
    async run(session) {
      const { claims } = await session.client().token()
      if (claims === undefined) return { status: 'skipped' }
      const powers = [...claims.roles].filter(canDoMoreThanRead)
      if (powers.length === 0) return { status: 'passed' }
      const named = powers.slice(0, 5).join(', ')
      return {
        status: 'passed',
        warnings: [
          warn('entra_too_powerful', {
            permissions: powers.length > 5 ? `${named} and ${powers.length - 5} more` : named,
          }),
        ],
      }
    },
  },
]
