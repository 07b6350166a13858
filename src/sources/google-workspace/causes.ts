/** The causes that Google Workspace may fail for, each with what an administrator does about it. */
import type { CauseCatalogue, CauseTemplate } from '../cause.ts'
import { commonCauses } from '../common-causes.ts'
import { scopes } from './access.ts'

const pages = {
  tokenErrors: 'https://developers.google.com/identity/protocols/oauth2/service-account#error-codes',
  serviceAccount: 'https://developers.google.com/identity/protocols/oauth2/service-account',
  delegation: 'https://support.google.com/a/answer/162106',
  delegationPractice: 'https://support.google.com/a/answer/14437356',
  keys: 'https://cloud.google.com/iam/docs/keys-create-delete',
  disabledAccount: 'https://cloud.google.com/iam/docs/service-accounts-disable-enable',
  administrators: 'https://support.google.com/a/answer/2405986',
  roleAssignment: 'https://support.google.com/a/answer/9807615',
  suspension: 'https://support.google.com/a/answer/1110339',
  appAccess: 'https://support.google.com/a/answer/7281227',
  domains: 'https://support.google.com/a/answer/182080',
  enableApi: 'https://support.google.com/googleapi/answer/6158841',
  projectSuspension: 'https://cloud.google.com/resource-manager/docs/project-suspension-guidelines',
  vpc: 'https://cloud.google.com/vpc-service-controls/docs/troubleshooting',
  reasons: 'https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto',
  directory: 'https://developers.google.com/workspace/admin/directory/v1/guides/authorizing',
  users: 'https://developers.google.com/workspace/admin/directory/reference/rest/v1/users',
  status: 'https://www.google.com/appsstatus/dashboard/',
} as const

/** Where an administrator delegates scopes to a client. */
export const delegationPath =
  'Admin console > Security > Access and data control > API controls > Manage Domain Wide Delegation'

const no = (template: Omit<CauseTemplate, 'determinate'>): CauseTemplate => ({
  determinate: true,
  ...template,
})
/** A "no" to whatever is asked for with these credentials. */
const noToEverything = (template: Omit<CauseTemplate, 'determinate' | 'reach'>): CauseTemplate =>
  no({ reach: 'everything', ...template })
/** A "no" to all of what was asked for, whichever of it. */
const noToAllAlike = (template: Omit<CauseTemplate, 'determinate' | 'reach'>): CauseTemplate =>
  no({ reach: 'all_alike', ...template })
const unclear = (template: Omit<CauseTemplate, 'determinate'>): CauseTemplate => ({
  determinate: false,
  ...template,
})

const newKeyRemedy =
  'In the Google Cloud console, open IAM & Admin > Service accounts > {account} > Keys, create a new JSON key, and paste the whole file.'

export const causes = {
  ...commonCauses('google', 'Google Workspace', pages.status),

  // Shape: judged without asking Google.
  google_service_account_missing: no({
    title: 'There is no service account to ask with',
    explanation:
      "Only an administrator's address was given, and this server's operator holds no service account for this domain.",
    remedy:
      "Give the key file of your own service account as service_account_json, or ask this server's operator to bind its service account to your domain.",
    docs: pages.serviceAccount,
  }),
  google_operator_account_unusable: unclear({
    reach: 'everything',
    title: "This server's own service account cannot be used",
    explanation:
      "Only the administrator is yours here; the service account is the one that this server's operator holds. {reason}. This says nothing about your administrator.",
    remedy:
      "Ask this server's operator to repair the service account that is configured for google_workspace, or give the key file of your own as service_account_json.",
    docs: pages.serviceAccount,
  }),
  google_key_file_unreadable: no({
    title: 'The service account key is not a JSON object',
    explanation:
      'What was given as the key file cannot be read as JSON, so it was cut off or is another file.',
    remedy: 'Paste the whole JSON key file as Google issued it, from its first brace to its last.',
    docs: pages.keys,
  }),
  google_key_file_incomplete: no({
    title: 'The service account key lacks {members}',
    explanation: 'A key file holds at least type, client_email and private_key, each with a text in it.',
    remedy: 'Paste the whole JSON key file as Google issued it.',
    docs: pages.keys,
  }),
  google_not_a_service_account: no({
    title: 'The key file is not the key of a service account',
    explanation:
      'Its member type is {type}, not service_account. Files of other types hold the credentials of a person or name addresses to be asked, and are not accepted.',
    remedy:
      'In the Google Cloud console, open IAM & Admin > Service accounts > your account > Keys, create a JSON key, and paste that file.',
    docs: pages.keys,
  }),
  google_universe_unsupported: no({
    title: 'The key is for another universe than googleapis.com',
    explanation:
      "The member universe_domain names another cloud than Google's public one. Google Workspace and domain-wide delegation exist in googleapis.com alone.",
    remedy: 'Use a service account of a project in the public Google Cloud.',
    docs: pages.serviceAccount,
  }),
  google_token_uri_foreign: no({
    title: 'The key file sends tokens somewhere else than to Google',
    explanation:
      "The member token_uri is not the address of Google's token endpoint. Key files that Google issues always name it; this one was changed. The address was not contacted.",
    remedy:
      'Take the key file as Google issued it, whose token_uri is https://oauth2.googleapis.com/token. If you did not change it yourself, treat the file as tampered with and create a new key.',
    docs: pages.keys,
  }),
  google_client_email_malformed: no({
    title: 'The client_email of the key file is no address',
    explanation: 'The address of a service account looks like name@project.iam.gserviceaccount.com.',
    remedy: 'Paste the whole JSON key file as Google issued it.',
    docs: pages.keys,
  }),
  google_private_key_unreadable: no({
    title: 'The private key in the key file cannot be read',
    explanation:
      'The member private_key must hold a whole RSA private key in PEM, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----. It was cut off, changed, or encrypted.',
    remedy: `Paste the whole file again, with the line breaks of private_key as \\n. If it was lost: ${newKeyRemedy}`,
    docs: pages.keys,
  }),
  google_private_key_not_rsa: no({
    title: 'The private key in the key file is not an RSA key',
    explanation: 'Google signs in service accounts by RSA signatures alone (RS256).',
    remedy: newKeyRemedy,
    docs: pages.keys,
  }),
  google_private_key_wrong_length: no({
    title: 'The private key has a length that is not accepted',
    explanation:
      'RS256 needs RSA keys of at least 2048 bits (RFC 7518, section 3.3), and keys beyond 8192 bits are not used here. Google issues 2048 bits.',
    remedy: newKeyRemedy,
    docs: pages.keys,
  }),
  google_admin_email_malformed: no({
    title: "The administrator's address is not an e-mail address",
    explanation:
      'Google identifies the administrator by the full primary address, such as admin@example.com.',
    remedy: "Enter the administrator's full e-mail address as admin_email.",
    docs: pages.tokenErrors,
  }),
  google_domain_malformed: no({
    title: 'The domain is not a domain name',
    explanation:
      'A domain of Google Workspace is a name such as example.com: without port, path, user name, blanks or final dot; international names in their xn-- form.',
    remedy: 'Enter one of the domains listed in the Admin console under Account > Domains > Manage domains.',
    docs: pages.domains,
  }),

  // Access: what the token endpoint says.
  google_key_rejected: noToEverything({
    title: "Google does not accept the key's signature",
    explanation:
      'The signature does not belong to a valid key of {account}: the key was deleted, disabled or has expired, or private_key and client_email come from different files.',
    remedy: newKeyRemedy,
    docs: pages.tokenErrors,
  }),
  google_key_disabled: noToEverything({
    title: 'The key or its service account is disabled',
    explanation: 'Google knows the key with which the request was signed, and it is disabled.',
    remedy:
      'In the Google Cloud console, open IAM & Admin > Service accounts > {account} and enable the account and its key, or create a new key.',
    docs: pages.disabledAccount,
  }),
  google_service_account_unknown: noToEverything({
    title: 'The service account does not exist',
    explanation: 'Google knows no service account {account}: it was deleted, or its project was.',
    remedy:
      'Create a service account in the Google Cloud console under IAM & Admin > Service accounts, delegate the scopes to its client ID in the Admin console, and use its JSON key.',
    docs: pages.serviceAccount,
  }),
  google_client_refused: unclear({
    title: 'Google calls the client or the assertion invalid',
    explanation:
      'Google says this both of service accounts that are not configured properly and of token requests that are not formed properly, so it is not taken as a verdict on the key.',
    remedy:
      "Check in the Google Cloud console that {account} exists and is enabled. If it is, please report this to the project with Google's words.",
    docs: pages.tokenErrors,
  }),
  google_assertion_refused: unclear({
    title: 'Google does not accept the form of our token request',
    explanation:
      'This concerns the request that this server made, not your credentials: its claims, its scope or its parameters.',
    remedy: "Please report this to the project with Google's words.",
    docs: pages.tokenErrors,
  }),
  google_issuer_unverified: unclear({
    title: 'Google found no key to verify the signature with',
    explanation:
      'Google answers this when it finds no keys of {account}. The account may have been made just now or deleted just now, so this is not taken as a verdict.',
    remedy: `Try again in ten minutes. If it stays: ${newKeyRemedy}`,
    docs: pages.tokenErrors,
  }),
  google_clock_skew: unclear({
    title: "This server's clock is wrong",
    explanation:
      "Google found the times in the token request out of range. Our clock and Google's differ by {skew}. This says nothing about the credentials.",
    remedy: 'Set the clock of this server by NTP, then try again.',
    docs: pages.tokenErrors,
  }),
  google_delegation_missing: noToAllAlike({
    title: 'The service account has no domain-wide delegation',
    explanation:
      'Google refused every scope to {client} when it asked on behalf of {admin}: none of them is delegated to it in the Workspace of this administrator. The entry must hold the numeric client ID, not the e-mail address. A new delegation takes effect within minutes as a rule, at most 24 hours.',
    remedy: `In ${delegationPath}, add {client} with these scopes: {missing}. If you did so less than a day ago, wait and try again.`,
    docs: pages.delegation,
  }),
  google_scopes_missing: noToAllAlike({
    title: 'None of the needed scopes is delegated',
    explanation:
      'Google knows {client} in this Workspace, but none of the scopes that are needed is delegated to it.',
    remedy: `In ${delegationPath}, edit the entry of {client} and add these scopes: {missing}.`,
    docs: pages.delegation,
  }),
  google_scope_missing: noToAllAlike({
    title: 'The scope {scope} is not delegated',
    explanation:
      'Google refused this scope to {client}, although it granted others. A change of the delegation takes effect within minutes as a rule, at most 24 hours.',
    remedy: `In ${delegationPath}, edit the entry of {client} and add: {missing}. If you did so less than a day ago, wait and try again.`,
    docs: pages.delegation,
  }),
  google_blocked_by_policy: noToAllAlike({
    title: "The organisation's policy blocks the access",
    explanation:
      'An administrator restricted which apps may use these scopes, and {client} is not among those allowed.',
    remedy:
      'In Admin console > Security > Access and data control > API controls > Manage app access, trust the app with {client}.',
    docs: pages.appAccess,
  }),
  google_account_restricted: noToEverything({
    title: "Google restricts the administrator's account",
    explanation: 'Google denies access in the name of {admin}, since the account is restricted.',
    remedy:
      'In Admin console > Directory > Users, look up {admin} and lift the restriction, or name another administrator as admin_email.',
    docs: pages.suspension,
  }),
  google_admin_unknown: noToEverything({
    title: 'The administrator does not exist',
    explanation: 'Google knows no account {admin} in a Workspace that this service account may act for.',
    remedy: 'Give the primary e-mail address of an administrator of this Workspace as admin_email.',
    docs: pages.tokenErrors,
  }),
  google_admin_deleted: noToEverything({
    title: "The administrator's account was deleted",
    explanation: 'Google says that {admin} has been deleted.',
    remedy: 'Give the address of another administrator as admin_email, or restore the account.',
    docs: pages.tokenErrors,
  }),
  google_admin_refused: noToEverything({
    title: 'Google lets nobody act for this administrator',
    explanation:
      'The key is in order: asked without an administrator, Google granted it a token. For {admin} it refused, without saying why. A suspended account, or one that has never signed in, is the usual reason.',
    remedy:
      'In Admin console > Directory > Users, check that {admin} is active, and sign in as this user once; or name another administrator as admin_email.',
    docs: pages.suspension,
  }),
  google_grant_refused: unclear({
    title: 'Google refused the token request without saying why',
    explanation:
      'The words that Google used fit a suspended administrator as well as a faulty key, and asking further did not settle it.',
    remedy:
      'Check that {admin} is active (Admin console > Directory > Users), and that the key of {account} is (Google Cloud console > IAM & Admin > Service accounts > Keys). Then try again.',
    docs: pages.tokenErrors,
  }),
  google_reauthentication_required: unclear({
    title: 'Google asks for a new sign-in',
    explanation:
      "Google's session control asks for the presence of a person, which service accounts are exempt from as a rule.",
    remedy:
      'In Admin console > Security > Access and data control > Google Cloud session control, exempt trusted apps and mark {client} as trusted.',
    docs: 'https://support.google.com/a/answer/9368756',
  }),

  // What the Directory API says.
  google_admin_sdk_disabled: noToEverything({
    title: 'The Admin SDK API is off in the project of the service account',
    explanation:
      'Google counts requests on the Cloud project {project}, to which the service account belongs, and the Admin SDK API is not enabled there.',
    remedy:
      'Enable it at https://console.cloud.google.com/apis/library/admin.googleapis.com?project={project}, wait a few minutes, and try again.',
    docs: pages.enableApi,
  }),
  google_api_access_disabled: noToEverything({
    title: 'The organisation does not allow API access',
    explanation: 'Google says that this domain cannot use APIs (domainCannotUseApis).',
    remedy:
      'In Admin console > Security > Access and data control > API controls, allow API access and unrestrict Google Workspace Admin. If it was changed just now, wait some minutes.',
    docs: pages.appAccess,
  }),
  google_project_deleted: noToEverything({
    title: 'The Cloud project of the service account is gone',
    explanation: 'Google says that the project {project} is not valid: it was deleted, or never existed.',
    remedy:
      'Restore the project within 30 days of its deletion (Google Cloud console > IAM & Admin > Manage resources), or use a service account of another project.',
    docs: pages.reasons,
  }),
  google_project_suspended: noToEverything({
    title: 'The Cloud project of the service account is suspended',
    explanation: 'Google suspended the project {project}.',
    remedy: 'Appeal in the Google Cloud console, or use a service account of another project.',
    docs: pages.projectSuspension,
  }),
  google_project_denied: noToEverything({
    title: 'The Cloud project may not be used for this request',
    explanation: 'Google does not let the caller use the project {project}.',
    remedy:
      'Check in the Google Cloud console that the project exists and that {account} belongs to it, or create the service account anew.',
    docs: pages.reasons,
  }),
  google_billing_disabled: noToEverything({
    title: 'Billing is disabled for the Cloud project of the service account',
    explanation:
      'Google refuses requests on account of the project {project}, whose billing account is disabled.',
    remedy:
      'Enable billing for {project} in the Google Cloud console, or use a service account of another project.',
    docs: pages.reasons,
  }),
  google_vpc_service_controls: noToEverything({
    title: 'VPC Service Controls refuse the request',
    explanation: 'The project {project} lies in a service perimeter that does not let this request in.',
    remedy:
      'Add an ingress rule for this server and admin.googleapis.com to the perimeter, or use a service account of a project outside of it.',
    docs: pages.vpc,
  }),
  google_token_refused: noToEverything({
    title: 'Google does not accept the token that it has just issued',
    explanation:
      "Two tokens, both fresh, were refused as invalid: access in the name of {admin} is revoked, or the account's state changed.",
    remedy:
      'In Admin console > Directory > Users, check that {admin} is active, then try again; or name another administrator as admin_email.',
    docs: pages.directory,
  }),
  google_authorization_lost: unclear({
    title: 'Google saw no token in the request',
    explanation:
      'The request carried a token, and Google says that a login is required. A proxy that removes the Authorization header is the usual reason.',
    remedy:
      'Check that nothing between this server and admin.googleapis.com changes requests. Then try again.',
    docs: pages.directory,
  }),
  google_scope_insufficient: noToAllAlike({
    title: "The token's scope does not suffice",
    explanation: 'Google issued a token for {scope}, and says that it does not cover this read.',
    remedy: `In ${delegationPath}, edit the entry of {client} and add {scope} again, exactly so.`,
    docs: pages.directory,
  }),
  google_admin_not_authorized: no({
    title: 'The administrator may not read this',
    explanation:
      'Google refuses this read in the name of {admin}: the account is not an administrator, or none of its roles has the privilege.',
    remedy:
      'In Admin console > Account > Admin roles, give {admin} a role with these privileges: {privileges} (Super Admin has all of them), or name another administrator as admin_email.',
    docs: pages.administrators,
  }),
  google_admin_email_missing: no({
    title: 'No administrator is named, and the service account may not read this itself',
    explanation:
      'Without an administrator the service account asks in its own name. Google refuses that: {account} has no administrator role of its own, or none in the organisation that has {domain}.',
    remedy:
      'Give the full address of an administrator of this Workspace as admin_email, for whom the service account acts by domain-wide delegation. Or, in Admin console > Account > Admin roles, assign a role with these privileges to the service account {account}: {privileges}.',
    docs: pages.roleAssignment,
  }),
  google_admin_not_found: no({
    title: 'The administrator is not in this directory',
    explanation: 'Google issued a token for {admin} and finds no such user in the directory.',
    remedy: 'Give the primary e-mail address of an administrator of this Workspace as admin_email.',
    docs: pages.users,
  }),
  google_admin_suspended: noToEverything({
    title: 'The administrator is suspended',
    explanation:
      'The account {admin} is suspended or archived, and cannot be relied on to read the directory.',
    remedy:
      'In Admin console > Directory > Users, restore {admin}, or name another administrator as admin_email.',
    docs: pages.suspension,
  }),
  google_not_a_workspace: no({
    title: 'The administrator belongs to no Google Workspace',
    explanation: 'Google finds no customer to whom {admin} belongs.',
    remedy:
      'Give the address of an administrator of the Workspace as admin_email, not of a personal account.',
    docs: pages.directory,
  }),
  google_domain_not_owned: no({
    title: 'This Workspace does not have the domain {domain}',
    explanation:
      'The credentials work, and {domain} is neither a domain nor a domain alias of their Workspace.',
    remedy:
      'Enter one of the domains listed in Admin console > Account > Domains > Manage domains, or use the credentials of the Workspace that has {domain}.',
    docs: pages.domains,
  }),
  google_domain_unverified: no({
    title: 'The domain {domain} is not verified',
    explanation: 'The Workspace lists {domain}, and nobody has proved yet that it belongs to it.',
    remedy: 'Verify it in Admin console > Account > Domains > Manage domains.',
    docs: 'https://support.google.com/a/answer/60216',
  }),
  google_domain_unproved: unclear({
    title: 'Whether this Workspace has the domain {domain} could not be told',
    explanation:
      'With the scopes that are delegated, only users of {domain} could prove it, and Google showed none.',
    remedy: `In ${delegationPath}, add ${scopes.domains} to the entry of {client}, so that the domains can be read.`,
    docs: pages.domains,
  }),
  google_no_users: unclear({
    title: 'Google showed no user at all',
    explanation:
      'The read succeeded and held nobody, although every Workspace has at least its administrator: {admin} may see only a part of the organisation.',
    remedy:
      'In Admin console > Account > Admin roles, give {admin} a role that covers all organisational units, or name another administrator as admin_email.',
    docs: pages.administrators,
  }),
  google_field_withheld: unclear({
    title: 'Google did not show {field}',
    explanation: 'Users can be read, and the one that was looked at came without {field}.',
    remedy: 'Name a super administrator as admin_email, and try again.',
    docs: pages.users,
  }),

  // Remarks on credentials that work.
  google_admin_without_role: no({
    title: 'The administrator has no role of its own',
    explanation:
      'Google marks {admin} neither as super administrator nor as delegated administrator. The reads decide whether its rights suffice.',
    remedy: 'Give {admin} an administrator role in Admin console > Account > Admin roles.',
    docs: pages.administrators,
  }),
  google_admin_is_super: no({
    title: 'The administrator is a super administrator',
    explanation:
      'The service account acts for an account with every right. Its delegated scopes only read, but more could be added to them.',
    remedy:
      'Name an administrator whose role holds only what is read: Users > Read, Groups > Read, Domain settings and Reports.',
    docs: pages.delegationPractice,
  }),
} satisfies CauseCatalogue

export type GoogleCause = keyof typeof causes
