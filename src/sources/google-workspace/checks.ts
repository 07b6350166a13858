/** The checks of Google Workspace: from the key file's form to one smallest read of each kind of entity. */
import { SourceError } from '../../outbound/source-error.ts'
import { causeOf } from '../cause.ts'
import type { Check, EntityType, Need, Outcome } from '../source.ts'
import { type ScopeName, scopeNames, scopes } from './access.ts'
import { causes, delegationPath } from './causes.ts'
import { groupLog as groupLogList, isText, itemsOf } from './client.ts'
import { codeOf, isAmbiguousGrant, isScopeRefusal, valuesOf } from './diagnosis.ts'
import { ended, missingScopes, notApplicable, passed } from './outcome.ts'
import { ownershipOf } from './ownership.ts'
import { isEmailAddress } from './secrets.ts'
import type { GoogleSession } from './session.ts'

type GoogleCheck = Check<GoogleSession>

/** Every service account key names one of these, which have been Google's token endpoint at one time or another. */
const tokenUris = new Set([
  'https://oauth2.googleapis.com/token',
  'https://www.googleapis.com/oauth2/v4/token',
  'https://accounts.google.com/o/oauth2/token',
])

/** Types of Google credential files; any other value of `type` may be anything and is not repeated. */
const otherFileTypes = new Set([
  'authorized_user',
  'external_account',
  'external_account_authorized_user',
  'impersonated_service_account',
  'gdch_service_account',
])

const directoryScopes = 'https://developers.google.com/workspace/admin/directory/v1/guides/authorizing'
const scopeNeed = (scope: ScopeName): Need => ({
  kind: 'scope',
  name: scopes[scope],
  grantAt: delegationPath,
  docs: directoryScopes,
})
const privilege = (name: string): Need => ({
  kind: 'role',
  name,
  grantAt: 'Admin console > Account > Admin roles',
  docs: 'https://support.google.com/a/answer/1219251',
})

const shapeChecks: readonly GoogleCheck[] = [
  {
    id: 'service_account',
    stage: 'shape',
    title: 'Service account key file',
    proves:
      "The key file is the complete key of a service account, and names no other address than Google's.",
    required: true,
    after: [],
    async run(session) {
      const { credentials } = session
      if (!credentials.hasServiceAccount) return ended(session, 'google_service_account_missing')
      if (!credentials.isKeyFileReadable) return ended(session, 'google_key_file_unreadable')
      const type = credentials.text('type')
      if (type !== undefined && type !== 'service_account') {
        const shown = otherFileTypes.has(type) ? type : 'another'
        return ended(session, 'google_not_a_service_account', { values: { type: shown } })
      }
      const missing = ['type', 'client_email', 'private_key'].filter(
        (name) => credentials.text(name) === undefined,
      )
      if (missing.length > 0)
        return ended(session, 'google_key_file_incomplete', { values: { members: missing.join(', ') } })
      if (!isEmailAddress(credentials.text('client_email') ?? ''))
        return ended(session, 'google_client_email_malformed')
      // Google's own library refuses delegation elsewhere: google-auth-library-nodejs, src/auth/jwtclient.ts.
      if (credentials.has('universe_domain') && credentials.text('universe_domain') !== 'googleapis.com')
        return ended(session, 'google_universe_unsupported')
      if (credentials.has('token_uri') && !tokenUris.has(credentials.text('token_uri') ?? ''))
        return ended(session, 'google_token_uri_foreign')
      return passed
    },
  },
  {
    id: 'private_key',
    stage: 'shape',
    title: 'Private key',
    proves: "The private key is a whole RSA key that Google's way of signing may use.",
    required: true,
    after: ['service_account'],
    async run(session) {
      const reading = session.privateKey
      if (reading.ok) return passed
      const codes = {
        unreadable: 'google_private_key_unreadable',
        not_rsa: 'google_private_key_not_rsa',
        wrong_length: 'google_private_key_wrong_length',
      } as const
      return ended(session, codes[reading.fault])
    },
  },
  {
    id: 'admin_email',
    stage: 'shape',
    title: "Administrator's address",
    proves: 'Where an administrator is named, it is by an e-mail address.',
    required: true,
    after: [],
    async run(session) {
      const address = session.credentials.adminEmail
      // A service account may also have an administrator role of its own; the reads tell.
      if (address === undefined) return notApplicable
      return isEmailAddress(address) ? passed : ended(session, 'google_admin_email_malformed')
    },
  },
  {
    id: 'domain',
    stage: 'shape',
    title: 'Domain name',
    proves: 'The domain is a domain name.',
    required: true,
    after: [],
    run: async (session) =>
      session.domain === undefined ? ended(session, 'google_domain_malformed') : passed,
  },
]

const tokenCheck: GoogleCheck = {
  id: 'token',
  stage: 'access',
  title: 'Access token',
  proves: 'Google accepts the key, and lets the service account act for the administrator if one is named.',
  needs: {
    kind: 'setting',
    name: 'Domain-wide delegation',
    grantAt: delegationPath,
    docs: 'https://support.google.com/a/answer/162106',
  },
  required: true,
  after: ['service_account', 'private_key', 'admin_email', 'domain'],
  async run(session) {
    const requests = scopeNames.map((scope) => session.token(scope))
    try {
      // Whichever is granted first proves it; the others go on, and the checks of their scopes wait for them.
      await Promise.any(requests)
      const { credentials } = session
      const principal = credentials.adminEmail ?? credentials.text('client_email')
      return { status: 'passed', ...(principal !== undefined && { subject: { principal } }) }
    } catch (thrown) {
      if (!(thrown instanceof AggregateError)) throw thrown
      return whyNoToken(session, thrown.errors)
    }
  },
}

/** Why not one scope was granted: a "no" to the key or administrator first, then what is unclear, then the delegation. */
async function whyNoToken(session: GoogleSession, thrown: readonly unknown[]): Promise<Outcome> {
  const errors = thrown.filter((error) => error instanceof SourceError)
  const [first] = errors
  const bug = thrown.find((error) => !(error instanceof SourceError))
  if (bug !== undefined || first === undefined) throw bug
  const plain = errors.find((error) => !isScopeRefusal(error) && causes[codeOf(error)].determinate)
  if (plain !== undefined) throw plain
  const ambiguous = errors.find(isAmbiguousGrant)
  if (ambiguous !== undefined && session.hasAdministrator) return askWithoutAdministrator(session, ambiguous)
  const unclear = errors.find((error) => !isScopeRefusal(error))
  if (unclear !== undefined) throw unclear
  const hasEntry = errors.find((error) => codeOf(error) === 'google_scope_missing')
  return hasEntry === undefined
    ? ended(session, 'google_delegation_missing', { error: first })
    : ended(session, 'google_scopes_missing', { error: hasEntry })
}

/** The service account's own token is granted to every valid key: then the refusal was about the administrator. */
async function askWithoutAdministrator(session: GoogleSession, refusal: SourceError): Promise<Outcome> {
  try {
    await session.ownToken()
  } catch (error) {
    if (error instanceof SourceError && isAmbiguousGrant(error))
      return ended(session, 'google_grant_refused', { error: refusal })
    throw error
  }
  return ended(session, 'google_admin_refused', { error: refusal })
}

/** What is read by a scope of its own. */
interface Readable {
  readonly capability: EntityType
  readonly noun: string
  readonly required: boolean
  readonly without?: string
}

function scopeCheck(scope: ScopeName, entity: Readable, id: string = scope): GoogleCheck {
  return {
    id: `scope_${id}`,
    stage: 'access',
    title: `Scope to read ${entity.noun}`,
    proves: `The scope to read ${entity.noun} is delegated.`,
    needs: scopeNeed(scope),
    required: entity.required,
    ...(entity.without !== undefined && { without: entity.without }),
    capability: entity.capability,
    after: ['token'],
    async run(session) {
      try {
        await session.token(scope)
        return passed
      } catch (error) {
        if (!(error instanceof SourceError) || !isScopeRefusal(error)) throw error
        return ended(session, 'google_scope_missing', {
          error,
          values: { scope: scopes[scope], missing: (await missingScopes(session)).join(', ') },
        })
      }
    },
  }
}

const users = { capability: 'users', noun: 'users', required: true } as const
const groups = { capability: 'groups', noun: 'groups', required: true } as const
const memberships = { capability: 'memberships', noun: 'members of groups', required: true } as const
const roles = {
  capability: 'roles',
  noun: 'administrator roles',
  required: false,
  without: 'The roles of administrators are not known.',
} as const
const chromeos = {
  capability: 'devices',
  noun: 'ChromeOS devices',
  required: false,
  without: 'ChromeOS devices are not known.',
} as const
const mobile = {
  capability: 'devices',
  noun: 'mobile devices',
  required: false,
  without: 'Mobile devices are not known.',
} as const
const groupLog = {
  capability: 'change_log',
  noun: 'the log of groups',
  required: false,
  without:
    'Members who come and go are seen by the next full run only, where a group has as many members as before.',
} as const

const accessChecks: readonly GoogleCheck[] = [
  tokenCheck,
  scopeCheck('users', users),
  scopeCheck('groups', groups),
  scopeCheck('memberships', memberships),
  scopeCheck('roles', roles),
  scopeCheck('chromeos', chromeos),
  scopeCheck('mobile', mobile),
  scopeCheck('groupLog', groupLog, 'group_log'),
  {
    id: 'admin_sdk',
    stage: 'access',
    title: 'Admin SDK API',
    proves: 'The Admin SDK API is enabled in the project of the service account.',
    needs: {
      kind: 'setting',
      name: 'Admin SDK API',
      grantAt: 'Google Cloud console > APIs & Services > Library > Admin SDK API',
      docs: 'https://support.google.com/googleapi/answer/6158841',
    },
    required: true,
    after: ['scope_users'],
    async run(session) {
      try {
        await (session.hasAdministrator ? session.administrator() : session.firstUsers())
      } catch (error) {
        if (!(error instanceof SourceError) || !isAnswerOfTheApi(error)) throw error
      }
      return passed
    },
  },
]

/** Refusals that only the API itself gives, which a switched-off one never does. */
function isAnswerOfTheApi(error: SourceError): boolean {
  const code = codeOf(error)
  return (
    code === 'google_admin_not_authorized' ||
    code === 'google_admin_not_found' ||
    code === 'google_not_a_workspace' ||
    code === 'google_domain_not_owned'
  )
}

const identityChecks: readonly GoogleCheck[] = [
  {
    id: 'administrator',
    stage: 'identity',
    title: 'Administrator',
    proves: 'The administrator exists, is active, and may read users.',
    needs: privilege('Users > Read'),
    required: true,
    after: ['admin_sdk'],
    async run(session) {
      if (!session.hasAdministrator) return notApplicable
      const admin = await session.administrator()
      const subject = admin.customerId === undefined ? undefined : { organization: admin.customerId }
      if (!admin.isActive) return { ...ended(session, 'google_admin_suspended'), ...(subject && { subject }) }
      const isPlain = admin.isSuper === false && admin.isDelegated === false
      const remark = causeOf(causes, 'google_admin_without_role', valuesOf(session.credentials, {}))
      return {
        status: 'passed',
        ...(subject && { subject }),
        ...(isPlain && { warnings: [remark.cause] }),
      }
    },
  },
  {
    id: 'domain_ownership',
    stage: 'identity',
    title: 'Ownership of the domain',
    proves: 'The domain belongs to the organisation whose directory the credentials read.',
    needs: scopeNeed('domains'),
    required: true,
    after: ['token'],
    run: (session) => ownershipOf(session, session.domain ?? ''),
  },
]

/** One smallest read of a list, whose form proves that the API answered. An empty list is a good one. */
function listCheck(
  id: 'roles' | 'chromeos' | 'mobile',
  entity: Readable,
  list: { readonly path: string; readonly kind: string; readonly member: string; readonly idMember: string },
): GoogleCheck {
  return {
    id,
    stage: 'capability',
    title: `${entity.noun.charAt(0).toUpperCase()}${entity.noun.slice(1)} can be read`,
    proves: `The administrator may read ${entity.noun}.`,
    needs: scopeNeed(id),
    required: false,
    ...(entity.without !== undefined && { without: entity.without }),
    capability: entity.capability,
    after: [`scope_${id}`],
    async run(session) {
      const operation = `read ${entity.noun}`
      const body = await session.read(id, {
        operation,
        about: 'customer',
        path: `customer/${await session.customerKey()}/${list.path}`,
        query: { maxResults: '1', fields: `kind,${list.member}(${list.idMember})` },
      })
      itemsOf(body, { kind: list.kind, member: list.member, texts: [list.idMember] }, operation)
      return passed
    },
  }
}

/** A fact about users that Google shows beside their names, given that users can be read. */
function userFactCheck(fact: {
  readonly id: string
  readonly title: string
  readonly proves: string
  readonly without: string
  readonly capability: EntityType
  readonly field: 'isEnrolledIn2Sv' | 'lastLoginTime'
  isShown(value: unknown): boolean
}): GoogleCheck {
  return {
    id: fact.id,
    stage: 'capability',
    title: fact.title,
    proves: fact.proves,
    needs: scopeNeed('users'),
    required: false,
    without: fact.without,
    capability: fact.capability,
    after: ['users'],
    async run(session) {
      const [user] = await session.firstUsers()
      return fact.isShown(user?.[fact.field])
        ? passed
        : ended(session, 'google_field_withheld', { values: { field: fact.field } })
    },
  }
}

const capabilityChecks: readonly GoogleCheck[] = [
  {
    id: 'users',
    stage: 'capability',
    title: 'Users can be read',
    proves: 'The administrator may read the users of the organisation.',
    needs: privilege('Users > Read'),
    required: true,
    capability: 'users',
    after: ['scope_users'],
    async run(session) {
      const found = await session.firstUsers()
      return found.length > 0 ? passed : ended(session, 'google_no_users')
    },
  },
  {
    id: 'groups',
    stage: 'capability',
    title: 'Groups can be read',
    proves: 'The administrator may read the groups of the organisation.',
    needs: privilege('Groups > Read'),
    required: true,
    capability: 'groups',
    after: ['scope_groups'],
    async run(session) {
      await session.firstGroup()
      return passed
    },
  },
  {
    id: 'memberships',
    stage: 'capability',
    title: 'Members of groups can be read',
    proves:
      'The administrator may read who belongs to a group; where there is no group yet, that groups can be listed.',
    needs: privilege('Groups > Read'),
    required: true,
    capability: 'memberships',
    after: ['scope_memberships', 'groups'],
    async run(session) {
      const group = await session.firstGroup()
      if (group === undefined) return passed
      const operation = 'read members of a group'
      const body = await session.read('memberships', {
        operation,
        about: 'group',
        path: `groups/${encodeURIComponent(group)}/members`,
        query: { maxResults: '1', fields: 'kind,members(id,email,type)' },
      })
      const list = { kind: 'admin#directory#members', member: 'members', texts: [] }
      // A member may be the organisation itself, which has no address, or an outsider's address.
      if (!itemsOf(body, list, operation).every(({ id, email }) => isText(id) || isText(email)))
        throw new SourceError({ code: 'unexpected_response', operation, status: 200 })
      return passed
    },
  },
  listCheck('roles', roles, {
    path: 'roles',
    kind: 'admin#directory#roles',
    member: 'items',
    idMember: 'roleId',
  }),
  listCheck('chromeos', chromeos, {
    path: 'devices/chromeos',
    kind: 'admin#directory#chromeosdevices',
    member: 'chromeosdevices',
    idMember: 'deviceId',
  }),
  listCheck('mobile', mobile, {
    path: 'devices/mobile',
    kind: 'admin#directory#mobiledevices',
    member: 'mobiledevices',
    idMember: 'resourceId',
  }),
  {
    id: 'group_log',
    stage: 'capability',
    title: 'Log of groups can be read',
    proves: 'The administrator may read the log of what happens to groups; it may be empty.',
    needs: privilege('Reports'),
    required: false,
    without: groupLog.without,
    capability: 'change_log',
    after: ['scope_group_log'],
    async run(session) {
      const operation = 'read the log of groups'
      const body = await session.read('groupLog', {
        ...groupLogList,
        operation,
        about: 'customer',
        query: { maxResults: '1', fields: `kind,${groupLogList.member}(id)` },
      })
      itemsOf(body, { ...groupLogList, texts: [] }, operation)
      return passed
    },
  },
  userFactCheck({
    id: 'sign_in_activity',
    title: 'Last sign-in can be read',
    proves: 'Users come with the time of their last sign-in.',
    without: 'Last sign-ins are not known.',
    capability: 'sign_in_activity',
    field: 'lastLoginTime',
    // The first second of 1970 stands for "never".
    isShown: (value) => typeof value === 'string' && Number.isFinite(Date.parse(value)),
  }),
  userFactCheck({
    id: 'mfa',
    title: '2-Step Verification can be read',
    proves: 'Users come with whether they are enrolled in 2-Step Verification.',
    without: 'Who uses 2-Step Verification is not known.',
    capability: 'mfa',
    field: 'isEnrolledIn2Sv',
    isShown: (value) => typeof value === 'boolean',
  }),
]

/** The age of a key is not readable with the scopes and hosts that are used here, so there is no check of it. */
const healthChecks: readonly GoogleCheck[] = [
  {
    id: 'admin_privilege',
    stage: 'health',
    title: 'Rights of the administrator',
    proves: 'The administrator has no more rights than reading needs.',
    required: false,
    after: ['administrator'],
    async run(session) {
      if (!session.hasAdministrator) return notApplicable
      const { isSuper } = await session.administrator()
      const remark = causeOf(causes, 'google_admin_is_super', valuesOf(session.credentials, {}))
      return { status: 'passed', ...(isSuper === true && { warnings: [remark.cause] }) }
    },
  },
]

export const checks: readonly GoogleCheck[] = [
  ...shapeChecks,
  ...accessChecks,
  ...identityChecks,
  ...capabilityChecks,
  ...healthChecks,
]
