/** The people, groups and devices of a directory as Graph v1.0 shows them. */
import type { Device, Directory, Group, Person } from '../directory.ts'
import type { LivingDirectory } from '../living-directory.ts'
import type { App, Tenant } from './tenants.ts'

export type GraphObject = Readonly<Record<string, unknown>>

/** Keys of the directory become GUIDs without loss, so that an object is found by its ID again. */
export const idOf = (key: string) =>
  [key.slice(0, 8), key.slice(8, 12), key.slice(12, 16), key.slice(16, 20), key.slice(20)].join('-')
export const keyOf = (id: string) => id.toLowerCase().replaceAll('-', '')

/** Graph writes times without milliseconds. */
const written = (date: Date) => `${date.toISOString().slice(0, 19)}Z`

/** @see https://learn.microsoft.com/graph/api/resources/user */
export function userOf(person: Person, directory: Directory): GraphObject {
  const isGuest = person.status === 'invited'
  return {
    id: idOf(person.key),
    userPrincipalName: person.email,
    mail: person.email,
    otherMails: [],
    proxyAddresses: [`SMTP:${person.email}`],
    displayName: `${person.givenName} ${person.familyName}`,
    givenName: person.givenName,
    surname: person.familyName,
    jobTitle: person.title,
    department: person.department,
    companyName: directory.domain,
    employeeId: person.employeeNumber,
    employeeType: 'Employee',
    employeeHireDate: written(person.createdAt),
    employeeOrgData: { division: person.department, costCenter: null },
    creationType: isGuest ? 'Invitation' : null,
    officeLocation: person.city,
    city: person.city,
    state: null,
    country: person.countryCode,
    usageLocation: person.countryCode,
    businessPhones: [],
    mobilePhone: null,
    preferredLanguage: 'en-US',
    accountEnabled: person.status === 'active' || isGuest,
    userType: isGuest ? 'Guest' : 'Member',
    externalUserState: isGuest ? 'PendingAcceptance' : null,
    createdDateTime: written(person.createdAt),
    deletedDateTime: null,
    lastPasswordChangeDateTime: written(person.createdAt),
    onPremisesSamAccountName: null,
    onPremisesDomainName: null,
    onPremisesSecurityIdentifier: null,
    onPremisesDistinguishedName: null,
    onPremisesSyncEnabled: null,
    signInSessionsValidFromDateTime: written(person.createdAt),
    ...(person.lastSignInAt !== undefined && {
      signInActivity: {
        lastSignInDateTime: written(person.lastSignInAt),
        lastNonInteractiveSignInDateTime: written(person.lastSignInAt),
        lastSuccessfulSignInDateTime: written(person.lastSignInAt),
      },
    }),
  }
}

/** What a user has; `signInActivity` is absent from those who never signed in, and yet may be selected. */
export const userProperties = [
  'id',
  'userPrincipalName',
  'mail',
  'otherMails',
  'proxyAddresses',
  'displayName',
  'givenName',
  'surname',
  'jobTitle',
  'department',
  'companyName',
  'employeeId',
  'employeeType',
  'employeeHireDate',
  'employeeOrgData',
  'creationType',
  'officeLocation',
  'city',
  'state',
  'country',
  'usageLocation',
  'businessPhones',
  'mobilePhone',
  'preferredLanguage',
  'accountEnabled',
  'userType',
  'externalUserState',
  'createdDateTime',
  'deletedDateTime',
  'lastPasswordChangeDateTime',
  'onPremisesSamAccountName',
  'onPremisesDomainName',
  'onPremisesSecurityIdentifier',
  'onPremisesDistinguishedName',
  'onPremisesSyncEnabled',
  'signInSessionsValidFromDateTime',
  'signInActivity',
]

/** What is returned of a user without `$select`. @see https://learn.microsoft.com/graph/api/user-list */
export const userDefaults = [
  'businessPhones',
  'displayName',
  'givenName',
  'id',
  'jobTitle',
  'mail',
  'mobilePhone',
  'officeLocation',
  'preferredLanguage',
  'surname',
  'userPrincipalName',
]

/** @see https://learn.microsoft.com/graph/api/resources/group */
export const groupOf = (group: Group): GraphObject => ({
  id: idOf(group.key),
  deletedDateTime: null,
  classification: null,
  createdDateTime: written(group.createdAt),
  description: group.description,
  displayName: group.name,
  groupTypes: [],
  mail: null,
  mailEnabled: false,
  mailNickname: group.mailNickname,
  membershipRule: null,
  onPremisesSamAccountName: null,
  onPremisesSecurityIdentifier: null,
  onPremisesSyncEnabled: null,
  proxyAddresses: [],
  renewedDateTime: written(group.updatedAt),
  securityEnabled: true,
  visibility: null,
})

export const groupProperties = [
  'id',
  'deletedDateTime',
  'classification',
  'createdDateTime',
  'description',
  'displayName',
  'groupTypes',
  'mail',
  'mailEnabled',
  'mailNickname',
  'membershipRule',
  'onPremisesSamAccountName',
  'onPremisesSecurityIdentifier',
  'onPremisesSyncEnabled',
  'proxyAddresses',
  'renewedDateTime',
  'securityEnabled',
  'visibility',
]

const operatingSystems = {
  CHROMEOS: 'ChromeOS',
  ANDROID: 'Android',
  IOS: 'iOS',
  MACOS: 'MacMDM',
  WINDOWS: 'Windows',
} as const

/** @see https://learn.microsoft.com/graph/api/resources/device */
export const deviceOf = (device: Device): GraphObject => ({
  id: idOf(device.key),
  deletedDateTime: null,
  accountEnabled: true,
  approximateLastSignInDateTime: written(device.lastSeenAt),
  deviceId: idOf(`${device.key.slice(16)}${device.key.slice(0, 16)}`),
  displayName: device.name,
  isCompliant: device.index % 7 !== 0,
  isManaged: device.index % 5 !== 0,
  manufacturer: null,
  model: null,
  operatingSystem: operatingSystems[device.platform],
  operatingSystemVersion: device.osVersion,
  registrationDateTime: '2026-09-30T00:00:00Z',
  trustType: device.index % 3 === 0 ? 'Workplace' : 'AzureAd',
})

export const deviceProperties = [
  'id',
  'deletedDateTime',
  'accountEnabled',
  'approximateLastSignInDateTime',
  'deviceId',
  'displayName',
  'isCompliant',
  'isManaged',
  'manufacturer',
  'model',
  'operatingSystem',
  'operatingSystemVersion',
  'registrationDateTime',
  'trustType',
]

/** @see https://learn.microsoft.com/graph/api/resources/userregistrationdetails */
export const registrationOf = (person: Person): GraphObject => ({
  id: idOf(person.key),
  userPrincipalName: person.email,
  userDisplayName: `${person.givenName} ${person.familyName}`,
  isAdmin: person.index === 0,
  isSsprRegistered: false,
  isSsprEnabled: false,
  isSsprCapable: false,
  isMfaRegistered: person.hasMfa,
  isMfaCapable: person.hasMfa,
  isPasswordlessCapable: false,
  lastUpdatedDateTime: written(person.updatedAt),
  methodsRegistered: person.hasMfa ? ['microsoftAuthenticatorPush'] : [],
  userType: person.status === 'invited' ? 'guest' : 'member',
})

export const registrationProperties = [
  'id',
  'userPrincipalName',
  'userDisplayName',
  'isAdmin',
  'isSsprRegistered',
  'isSsprEnabled',
  'isSsprCapable',
  'isMfaRegistered',
  'isMfaCapable',
  'isPasswordlessCapable',
  'lastUpdatedDateTime',
  'methodsRegistered',
  'userType',
]

/** @see https://learn.microsoft.com/graph/api/resources/organization */
export const organizationOf = (tenant: Tenant): GraphObject => ({
  id: tenant.id,
  displayName: tenant.name,
  countryLetterCode: 'US',
  createdDateTime: '2017-01-09T00:00:00Z',
  tenantType: 'AAD',
  verifiedDomains: tenant.domains.map((name, index) => ({
    capabilities: 'Email, OfficeCommunicationsOnline',
    isDefault: index === tenant.domains.length - 1,
    isInitial: index === 0,
    name,
    type: 'Managed',
  })),
  assignedPlans: tenant.isPremium
    ? [
        {
          capabilityStatus: 'Enabled',
          service: 'AADPremiumService',
          servicePlanId: '41781fb2-bc02-4b7c-bd55-b576c07bb09d',
        },
      ]
    : [],
})

export const organizationProperties = [
  'id',
  'displayName',
  'countryLetterCode',
  'createdDateTime',
  'tenantType',
  'verifiedDomains',
  'assignedPlans',
]

/** @see https://learn.microsoft.com/graph/api/resources/serviceprincipal */
export const servicePrincipalOf = (app: App): GraphObject => ({
  id: app.servicePrincipalId,
  accountEnabled: app.fault === undefined,
  appDisplayName: app.name,
  appId: app.clientId,
  displayName: app.name,
  servicePrincipalType: 'Application',
  tags: ['WindowsAzureActiveDirectoryIntegratedApp'],
})

export const servicePrincipalProperties = [
  'id',
  'accountEnabled',
  'appDisplayName',
  'appId',
  'displayName',
  'servicePrincipalType',
  'tags',
]

/** @see https://learn.microsoft.com/graph/api/resources/application */
export const applicationOf = (app: App): GraphObject => ({
  id: app.objectId,
  appId: app.clientId,
  displayName: app.name,
  signInAudience: 'AzureADMyOrg',
  passwordCredentials: app.passwords.map(({ keyId, displayName, value, startAt, endAt }) => ({
    customKeyIdentifier: null,
    displayName,
    endDateTime: written(endAt),
    hint: value.slice(0, 3),
    keyId,
    secretText: null,
    startDateTime: written(startAt),
  })),
  keyCredentials: app.certificates.map((certificate) => ({
    customKeyIdentifier: certificate.fingerprint.replaceAll(':', ''),
    displayName: 'CN=acme directory sync',
    endDateTime: written(new Date(certificate.validTo)),
    key: null,
    keyId: app.objectId,
    startDateTime: written(new Date(certificate.validFrom)),
    type: 'AsymmetricX509Cert',
    usage: 'Verify',
  })),
})

export const applicationProperties = [
  'id',
  'appId',
  'displayName',
  'signInAudience',
  'passwordCredentials',
  'keyCredentials',
]

/** @see https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference */
export const roleDefinitions: readonly GraphObject[] = [
  ['62e90394-69f5-4237-9190-012177145e10', 'Global Administrator'],
  ['fe930be7-5e62-47db-91af-98c3a49a38b1', 'User Administrator'],
  ['5d6b6bb7-de71-4623-b4af-96380a352509', 'Security Reader'],
].map(([id, displayName]) => ({ id, displayName, isBuiltIn: true, isEnabled: true, templateId: id }))

export const roleDefinitionProperties = ['id', 'displayName', 'isBuiltIn', 'isEnabled', 'templateId']

/** The first administrators: one of each role, as far as there are people; and a group, in a varied tenant. */
export function roleAssignmentsOf(
  directory: LivingDirectory,
  roleGroup: number | undefined,
): readonly GraphObject[] {
  const assigned = (principalKey: string, type: string, role: GraphObject, number: number) => ({
    id: Buffer.from(`${role.id}${number}`).toString('base64url'),
    principalId: idOf(principalKey),
    roleDefinitionId: role.id,
    directoryScopeId: '/',
    principal: { '@odata.type': type, id: idOf(principalKey) },
    roleDefinition: role,
  })
  const people = roleDefinitions.flatMap((role, index) =>
    directory.hasPerson(index)
      ? [assigned(directory.person(index).key, '#microsoft.graph.user', role, index)]
      : [],
  )
  const reader = roleDefinitions.at(-1)
  return roleGroup === undefined || !directory.hasGroup(roleGroup) || reader === undefined
    ? people
    : [...people, assigned(directory.group(roleGroup).key, '#microsoft.graph.group', reader, 9)]
}

export const roleAssignmentProperties = ['id', 'principalId', 'roleDefinitionId', 'directoryScopeId']

/** A role as an object of the directory, which a user is a member of. @see https://learn.microsoft.com/graph/api/resources/directoryrole */
export const directoryRoleOf = (role: GraphObject): GraphObject => ({
  '@odata.type': '#microsoft.graph.directoryRole',
  // The first part is changed, as a role's own id is not that of its template.
  id: `d0000000${String(role.id).slice(8)}`,
  displayName: role.displayName,
  roleTemplateId: role.id,
})
