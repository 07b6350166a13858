/** The questions that a validation asks Okta, from the form of what was given to the health of the credentials. */
import { cleanText } from '../../outbound/clean-text.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { Cause, Diagnosis } from '../cause.ts'
import type { Check, Need, Outcome } from '../source.ts'
import {
  cause,
  customDomainDocs,
  domainDocs,
  rateLimitDocs,
  rolesDocs,
  serviceAppDocs,
  tokenDocs,
} from './causes.ts'
import {
  readApiTokensOf,
  readApplications,
  readDevices,
  readFactors,
  readMembers,
  readOrganizationStatus,
  readRoleAssignees,
  readRoleTypes,
  readSystemLog,
} from './client.ts'
import { type Reading, readings } from './diagnosis.ts'
import type { RefusedHost } from './domain.ts'
import { identifierProblem, type OktaCredentials, tokenProblem } from './secrets.ts'
import type { OktaSession } from './session.ts'

type OktaCheck = Check<OktaSession>

/** One sentence for both kinds of credentials, as the list of checks is the same for both. */
const needs = ({ scope, role }: Reading): Need => ({
  kind: 'permission',
  name: `${scope} (service app) or ${role} (API token)`,
  grantAt:
    'Service app: Applications > Applications > the app > Okta API Scopes, and Admin roles. API token: Security > Administrators, for the user who made it',
  docs: rolesDocs,
})

const credentialsCheck: OktaCheck = {
  id: 'credentials',
  stage: 'shape',
  title: 'Credentials are well formed',
  proves: 'What was given has the form of an API token, or of a client ID with a private key that can sign.',
  required: true,
  after: [],
  async run(session) {
    const wrong = await problemOf(session)
    return wrong === undefined ? { status: 'passed' } : ended(wrong)
  },
}

const domainCheck: OktaCheck = {
  id: 'domain',
  stage: 'shape',
  title: 'Domain is the address of an Okta organisation',
  proves:
    'The domain is a host under a suffix of Okta organisations, or a custom domain that the operator listed.',
  needs: {
    kind: 'setting',
    name: 'Okta domain',
    grantAt: 'Admin Console > menu of the signed-in user',
    docs: domainDocs,
  },
  required: true,
  after: [],
  async run({ domain }) {
    return domain.ok ? { status: 'passed', subject: { domain: domain.host } } : ended(domainDiagnosis(domain))
  },
}

const customDomainCheck: OktaCheck = {
  id: 'custom_domain',
  stage: 'access',
  title: 'Custom domain belongs to an Okta organisation',
  proves:
    'The custom domain and an organisation at an Okta host name each other; the credentials go to that host alone.',
  needs: {
    kind: 'setting',
    name: 'Custom domain',
    grantAt: 'Admin Console > Customizations > Brands > Domains',
    docs: customDomainDocs,
  },
  required: true,
  after: ['credentials', 'domain'],
  async run({ domain, host }) {
    if (domain.ok && domain.kind === 'organization') return { status: 'skipped' }
    await host()
    return { status: 'passed' }
  },
}

const organizationCheck: OktaCheck = {
  id: 'organization',
  stage: 'access',
  title: 'Organisation exists',
  proves: 'The host answers as an Okta organisation.',
  required: true,
  after: ['credentials', 'domain', 'custom_domain'],
  async run(session) {
    try {
      const { id } = await session.organization()
      return { status: 'passed', subject: { organization: cleanText(id, 80) } }
    } catch (error) {
      if (!isMissing(error)) throw error
      await mustAnswer(session, error)
      return { status: 'passed', warnings: [cause('okta_organization_untold').cause] }
    }
  },
}

const accessCheck: OktaCheck = {
  id: 'access',
  stage: 'access',
  title: 'Okta accepts the credentials',
  proves:
    'The API token is alive and it is known whose it is, or the service app was issued an access token.',
  needs: {
    kind: 'setting',
    name: 'API token or API Services app',
    grantAt: 'Admin Console > Security > API > Tokens, or Applications > Applications',
    docs: serviceAppDocs,
  },
  required: true,
  after: ['credentials', 'domain', 'custom_domain'],
  async run(session) {
    const principal = await accepted(session)
    return { status: 'passed', ...(principal !== undefined && { subject: { principal } }) }
  },
}

const identityCheck: OktaCheck = {
  id: 'identity',
  stage: 'identity',
  title: 'Credentials and domain are of one organisation',
  proves:
    'The organisation that accepted the credentials has the domain as its own address or as its custom domain.',
  required: true,
  after: ['organization', 'access'],
  async run({ host, organization }) {
    // A token or app is known to its own organisation alone, so that whoever accepts it at this host is that one.
    const [asked, canonicalHost] = await Promise.all([
      host(),
      organization().then(
        (told) => told.canonicalHost,
        (error: unknown) => (isMissing(error) ? undefined : Promise.reject(error)),
      ),
    ])
    // Okta is known to leave the link out: https://github.com/okta/terraform-provider-okta/issues/1804
    if (canonicalHost === undefined || canonicalHost === asked) return { status: 'passed' }
    return ended(
      cause('okta_organization_differs', { host: asked, canonical: cleanText(canonicalHost, 253) }),
    )
  },
}

const usersCheck: OktaCheck = {
  id: 'users',
  stage: 'capability',
  title: 'Users can be read',
  proves: 'A list of users was read and holds at least one.',
  needs: needs(readings.users),
  required: true,
  capability: 'users',
  after: ['access'],
  async run({ credentials, users }) {
    // Okta answers an app without an administrator role with an empty list, and every organisation has users.
    return (await users()).length > 0 ? { status: 'passed' } : nothingVisible(credentials, readings.users)
  },
}

const groupsCheck: OktaCheck = {
  id: 'groups',
  stage: 'capability',
  title: 'Groups can be read',
  proves: 'A list of groups was read and holds at least one.',
  needs: needs(readings.groups),
  required: true,
  capability: 'groups',
  after: ['access'],
  async run({ credentials, groups }) {
    // Every organisation has the group Everyone.
    return (await groups()).length > 0 ? { status: 'passed' } : nothingVisible(credentials, readings.groups)
  },
}

const membershipsCheck: OktaCheck = {
  id: 'memberships',
  stage: 'capability',
  title: 'Members of groups can be read',
  proves: 'The members of a group were read.',
  needs: needs(readings.memberships),
  required: true,
  capability: 'memberships',
  after: ['groups'],
  async run({ api, groups }) {
    const [groupId] = await groups()
    if (groupId === undefined) return { status: 'skipped' }
    await readMembers(await api(), groupId)
    return { status: 'passed' }
  },
}

const rolesCheck: OktaCheck = {
  id: 'roles',
  stage: 'capability',
  title: 'Administrator roles can be read',
  proves: 'The list of users with administrator roles was read.',
  needs: needs(readings.roles),
  required: false,
  without: 'The roles of administrators are not known.',
  capability: 'roles',
  after: ['access'],
  async run({ api }) {
    await readRoleAssignees(await api())
    return { status: 'passed' }
  },
}

const devicesCheck: OktaCheck = {
  id: 'devices',
  stage: 'capability',
  title: 'Devices can be read',
  proves: 'A list of devices was read.',
  needs: needs(readings.devices),
  required: false,
  without: 'Devices and their users are not known.',
  capability: 'devices',
  after: ['access'],
  async run({ api }) {
    await readDevices(await api())
    return { status: 'passed' }
  },
}

const applicationsCheck: OktaCheck = {
  id: 'applications',
  stage: 'capability',
  title: 'Applications can be read',
  proves: 'A list of applications was read.',
  needs: needs(readings.applications),
  required: false,
  without: 'A sync lacks nothing: it does not read applications.',
  capability: 'applications',
  after: ['access'],
  async run({ api }) {
    await readApplications(await api())
    return { status: 'passed' }
  },
}

const signInCheck: OktaCheck = {
  id: 'sign_in_activity',
  stage: 'capability',
  title: 'Last sign-ins can be read',
  proves: 'A user that was read tells when they last signed in.',
  needs: needs(readings.users),
  required: false,
  without: 'Last sign-ins are not known.',
  capability: 'sign_in_activity',
  after: ['users'],
  async run({ users }) {
    const [user] = await users()
    if (user?.tellsLastLogin !== true)
      throw new SourceError({ code: 'unexpected_response', operation: 'read users' })
    return { status: 'passed' }
  },
}

const mfaCheck: OktaCheck = {
  id: 'mfa',
  stage: 'capability',
  title: 'Enrolled factors can be read',
  proves: 'The list of factors that a user enrolled was read.',
  needs: needs(readings.mfa),
  required: false,
  without:
    'Whether people have a second factor is not known. A sync reads it, with a request for each person, where settings.require names mfa.',
  capability: 'mfa',
  after: ['users'],
  async run({ api, users }) {
    const [user] = await users()
    if (user === undefined) return { status: 'skipped' }
    await readFactors(await api(), user.id)
    return { status: 'passed' }
  },
}

const systemLogCheck: OktaCheck = {
  id: 'system_log',
  stage: 'capability',
  title: 'System Log can be read',
  proves: 'The events of the last hour were read, or there was none.',
  needs: needs(readings.system_log),
  required: false,
  without:
    'Deletions and sign-ins are seen by the next full run only: increments do not prove that anybody is still there. Addresses of sign-ins are not known.',
  capability: 'change_log',
  after: ['access'],
  async run({ api, now }) {
    await readSystemLog(await api(), now())
    return { status: 'passed' }
  },
}

/** The end of an organisation is warned of this long ahead, in days. */
const organizationNoticeDays = 30
/** Each use moves the end of a token 30 days away, so that only one that is hardly used comes this near, in days. */
const tokenNoticeDays = 7
const dayMs = 86_400_000

const credentialExpiryCheck: OktaCheck = {
  id: 'credential_expiry',
  stage: 'health',
  title: 'Expiry of the credentials can be read',
  proves: 'It is known when the API token expires; the key of a service app does not.',
  needs: needs(readings.credential_expiry),
  required: false,
  capability: 'credential_expiry',
  after: ['access'],
  async run({ credentials, api, owner, now }) {
    if (credentials.kind === 'service_app') return { status: 'passed' }
    const tokens = await readApiTokensOf(await api(), (await owner()).id)
    // Okta does not say which of its owner's tokens was used; with several, nothing can be said of this one.
    const [token] = tokens.length === 1 ? tokens : []
    return { status: 'passed', warnings: token === undefined ? [] : tokenWarnings(token, now()) }
  },
}

const privilegeCheck: OktaCheck = {
  id: 'privilege',
  stage: 'health',
  title: 'Credentials may do no more than needed',
  proves: 'The credentials are not those of a Super Administrator.',
  needs: needs(readings.roles),
  required: false,
  after: ['access'],
  async run({ credentials, api, owner }) {
    const asked = await api()
    const roles = await whereReadable(async () =>
      readRoleTypes(
        asked,
        credentials.kind === 'service_app'
          ? { clientId: credentials.clientId }
          : { userId: (await owner()).id },
      ),
    )
    if (roles === undefined) return { status: 'skipped' }
    return {
      status: 'passed',
      warnings: roles.includes('SUPER_ADMIN') ? [cause('okta_super_administrator').cause] : [],
    }
  },
}

const completenessCheck: OktaCheck = {
  id: 'completeness',
  stage: 'health',
  title: 'Credentials see all groups',
  proves: 'The group Everyone, which an administrator of some groups alone is not shown, is visible.',
  needs: needs(readings.groups),
  required: false,
  after: ['groups'],
  async run({ builtInGroups }) {
    const groups = await builtInGroups()
    return { status: 'passed', warnings: groups.length === 0 ? [cause('okta_partial_groups').cause] : [] }
  },
}

const idlenessCheck: OktaCheck = {
  id: 'token_idleness',
  stage: 'health',
  title: 'Idle rule of the API token is known',
  proves: 'Nothing of its own: it reminds of the rule that ends API tokens which are not used.',
  needs: {
    kind: 'setting',
    name: 'API token',
    grantAt: 'Admin Console > Security > API > Tokens',
    docs: tokenDocs,
  },
  required: false,
  after: ['access'],
  async run({ credentials }) {
    return credentials.kind === 'service_app'
      ? { status: 'skipped' }
      : { status: 'passed', warnings: [cause('okta_token_idle_rule').cause] }
  },
}

const organizationStatusCheck: OktaCheck = {
  id: 'organization_status',
  stage: 'health',
  title: 'Organisation goes on',
  proves: 'The organisation is active and does not end within a month.',
  required: false,
  after: ['access'],
  async run({ api, now }) {
    const status = await whereReadable(async () => readOrganizationStatus(await api()))
    if (status === undefined) return { status: 'skipped' }
    const { isActive, expiresAt } = status
    return {
      status: 'passed',
      warnings: [
        ...(isActive ? [] : [cause('okta_organization_inactive').cause]),
        ...(isSoon(expiresAt, now(), organizationNoticeDays)
          ? [cause('okta_organization_ends', { date: dateOf(expiresAt) }).cause]
          : []),
      ],
    }
  },
}

/** Warned of below this share of the rate limit. */
const leastShare = 0.1

const rateLimitCheck: OktaCheck = {
  id: 'rate_limit',
  stage: 'health',
  title: 'Rate limit leaves room',
  proves: 'More than a tenth of the requests a minute for reading users was left.',
  needs: {
    kind: 'setting',
    name: 'Rate limit',
    grantAt: 'Admin Console > Reports > Rate Limits',
    docs: rateLimitDocs,
  },
  required: false,
  after: ['users'],
  async run({ rateLimit }) {
    const seen = rateLimit()
    if (seen === undefined) return { status: 'skipped' }
    const { limit, remaining } = seen
    return {
      status: 'passed',
      warnings:
        remaining < limit * leastShare
          ? [cause('okta_rate_limit_low', { limit: String(limit), remaining: String(remaining) }).cause]
          : [],
    }
  },
}

export const checks: readonly OktaCheck[] = [
  credentialsCheck,
  domainCheck,
  customDomainCheck,
  organizationCheck,
  accessCheck,
  identityCheck,
  usersCheck,
  groupsCheck,
  membershipsCheck,
  rolesCheck,
  devicesCheck,
  applicationsCheck,
  signInCheck,
  mfaCheck,
  systemLogCheck,
  credentialExpiryCheck,
  privilegeCheck,
  completenessCheck,
  idlenessCheck,
  organizationStatusCheck,
  rateLimitCheck,
]

/** Nothing is at this path: neither a document nor a refusal. */
const isMissing = (error: unknown): error is SourceError =>
  error instanceof SourceError && error.code === 'refused' && error.status === 404

/** Whose credentials were accepted; undefined where users can be read and the owner of the token cannot. */
async function accepted({ credentials, api, owner, users }: OktaSession): Promise<string | undefined> {
  if (credentials.kind === 'service_app') {
    await api()
    return credentials.clientId
  }
  try {
    const { id, login } = await owner()
    return cleanText(login ?? id, 200)
  } catch (error) {
    if (!isMissing(error)) throw error
    await users().catch((thrown: unknown) => Promise.reject(isMissing(thrown) ? error : thrown))
    return undefined
  }
}

/** Whoever accepts the credentials, or refuses them in Okta's words, is an organisation, even if it tells nothing of itself. */
async function mustAnswer(session: OktaSession, missing: SourceError): Promise<void> {
  try {
    await accepted(session)
  } catch (error) {
    if (isMissing(error)) throw missing
    const isOktas =
      error instanceof SourceError && error.code === 'refused' && error.providerCode !== undefined
    if (!isOktas) throw error
  }
}

async function problemOf({ credentials, key }: OktaSession): Promise<Diagnosis | undefined> {
  if (credentials.kind === 'api_token') {
    const problem = tokenProblem(credentials.apiToken)
    return problem === undefined ? undefined : cause('okta_token_malformed', { problem })
  }
  const idProblem = identifierProblem(credentials.clientId)
  if (idProblem !== undefined) return cause('okta_client_id_malformed', { problem: idProblem })
  const reading = await key()
  if (reading.ok) return undefined
  const values = { problem: reading.detail ?? '' }
  switch (reading.problem) {
    case 'public':
      return cause('okta_private_key_is_public', values)
    case 'encrypted':
      return cause('okta_private_key_encrypted', values)
    case 'unsupported':
      return cause('okta_private_key_unsupported', values)
    case 'unreadable':
      return cause('okta_private_key_unreadable', values)
  }
}

export const domainDiagnosis = (reading: RefusedHost): Diagnosis =>
  cause('okta_domain_not_permitted', {
    problem: reading.problem,
    suggestion:
      reading.suggestion ??
      "the organisation's address as the Admin Console shows it in the menu of the signed-in user, such as acme.okta.com",
  })

function nothingVisible(credentials: OktaCredentials, { what, role }: Reading): Outcome {
  return ended(
    cause(credentials.kind === 'service_app' ? 'okta_admin_role_missing' : 'okta_nothing_visible', {
      what,
      role,
    }),
  )
}

const ended = ({ determinate, cause }: Diagnosis): Outcome => ({
  status: determinate ? 'failed' : 'unknown',
  cause,
})

/** What may be read; undefined where only the permission for it is lacking, which is no fault of the credentials. */
async function whereReadable<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof SourceError && isRefusal(error)) return undefined
    throw error
  }
}

const isRefusal = ({ code, status }: SourceError) =>
  code === 'not_configured' || (code === 'refused' && (status === 403 || status === 404 || status === 405))

function tokenWarnings(
  token: {
    readonly name: string
    readonly expiresAt: Date | undefined
    readonly connection: string | undefined
  },
  now: Date,
): readonly Cause[] {
  return [
    ...(isSoon(token.expiresAt, now, tokenNoticeDays)
      ? [
          cause('okta_token_expires_soon', { name: cleanText(token.name, 80), date: dateOf(token.expiresAt) })
            .cause,
        ]
      : []),
    ...(token.connection === 'ANYWHERE' ? [cause('okta_token_from_anywhere').cause] : []),
  ]
}

const isSoon = (time: Date | undefined, now: Date, days: number) =>
  time !== undefined && time.getTime() - now.getTime() < days * dayMs

const dateOf = (time: Date | undefined) => (time === undefined ? '' : time.toISOString().slice(0, 10))
