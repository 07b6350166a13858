/** Every cause that this source reports: what it means, and what an administrator does about it. */
import type { CauseTemplate } from '../cause.ts'
import { commonCauses } from '../common-causes.ts'
import { apiPermissionsPath } from './permissions.ts'

const errorCodesPage = 'https://learn.microsoft.com/entra/identity-platform/reference-error-codes'
const credentialsPage = 'https://learn.microsoft.com/entra/identity-platform/how-to-add-credentials'
const certificatePage = 'https://learn.microsoft.com/entra/identity-platform/certificate-credentials'
const federationPage = 'https://learn.microsoft.com/entra/workload-id/workload-identity-federation'
const tenantPage = 'https://learn.microsoft.com/entra/fundamentals/how-to-find-tenant'
const cloudsPage = 'https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud'
const registrationPage = 'https://learn.microsoft.com/entra/identity-platform/quickstart-register-app'
const consentPage = 'https://learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent'
const authErrorsPage = 'https://learn.microsoft.com/graph/resolve-auth-errors'
const domainsPage = 'https://learn.microsoft.com/entra/fundamentals/add-custom-domain'
const conditionalAccessPage =
  'https://learn.microsoft.com/entra/identity/conditional-access/workload-identity'
const disabledAppPage =
  'https://learn.microsoft.com/entra/identity/enterprise-apps/disable-user-sign-in-portal'

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

const secretsPath = 'Microsoft Entra admin center > App registrations > (your app) > Certificates & secrets'
const overviewPath = 'Microsoft Entra admin center > App registrations > (your app) > Overview'

/** Every cause that this source reports. Codes are stable once published. */
export const causes = {
  ...commonCauses('entra', 'Microsoft Entra ID', 'https://status.cloud.microsoft'),

  // Shape: nothing was sent.
  entra_domain_malformed: no({
    title: 'The domain is not a domain name',
    explanation:
      'It must be a domain name that the tenant has verified, such as acme.com or acme.onmicrosoft.com, without port, path or any other part.',
    remedy:
      'Enter one of the names listed in the Microsoft Entra admin center > Domain names. Names with other than ASCII letters are written in their ASCII form (xn--…).',
    docs: domainsPage,
  }),
  entra_credentials_missing: no({
    title: 'No credentials were given, and no app registration of the operator serves this request',
    explanation:
      'Without credentials in the request, an app registration is used that the operator of this server holds and has bound to your organisation and domain. There is none.',
    remedy:
      'Send tenant_id, client_id and client_secret (or certificate with private_key, or federated_token), or ask the operator to bind an app registration to your organisation and domain.',
    docs: registrationPage,
  }),
  entra_cloud_unknown: no({
    title: 'There is no such Microsoft cloud',
    explanation: 'The cloud decides which sign-in authority and which Graph are asked.',
    remedy: 'Use one of {clouds}, or leave it out for the global cloud.',
    docs: cloudsPage,
  }),
  entra_tenant_malformed: no({
    title: 'The tenant ID is neither a GUID nor a domain name',
    explanation: 'No tenant can have this ID.',
    remedy: `Copy "Directory (tenant) ID" from ${overviewPath}.`,
    docs: tenantPage,
  }),
  entra_tenant_shared: no({
    title: 'The tenant ID names no single tenant',
    explanation:
      'common, organizations and consumers stand for many tenants. An app can get a token of its own from one tenant only.',
    remedy: `Copy "Directory (tenant) ID" from ${overviewPath}.`,
    docs: tenantPage,
  }),
  entra_client_id_malformed: no({
    title: 'The client ID is not a GUID',
    explanation: 'No app registration can have this ID.',
    remedy: `Copy "Application (client) ID" from ${overviewPath}; neither the name nor the object ID of the app will do.`,
    docs: registrationPage,
  }),
  entra_secret_is_id: no({
    title: "The client secret is the secret's ID, not its value",
    explanation:
      'Entra shows an ID (a GUID) and a value for each client secret. Only the value authenticates, and what was given has the form of the ID. Nothing was sent.',
    remedy: `Copy the column "Value" at ${secretsPath} > Client secrets. It is shown only right after creation: if it is gone, create a new client secret.`,
    docs: credentialsPage,
  }),
  entra_secret_malformed: no({
    title: 'The client secret cannot be one',
    explanation:
      'It is empty, masked, far too long, or holds blanks, line breaks or characters that Entra never uses. Nothing was sent.',
    remedy: `Copy the column "Value" at ${secretsPath} > Client secrets once more, without anything around it, or create a new client secret.`,
    docs: credentialsPage,
  }),
  entra_certificate_malformed: no({
    title: 'The certificate cannot be read',
    explanation: 'It must be in PEM form: a block from BEGIN CERTIFICATE to END CERTIFICATE.',
    remedy: 'Export the certificate as PEM (Base-64 encoded X.509), and send the whole file.',
    docs: certificatePage,
  }),
  entra_private_key_malformed: no({
    title: 'The private key cannot be read',
    explanation: 'It must be in PEM form (PKCS#8 or PKCS#1), complete with its first and last line.',
    remedy: 'Export the private key of the certificate as PEM, and send the whole file.',
    docs: certificatePage,
  }),
  entra_private_key_encrypted: no({
    title: 'The private key is encrypted',
    explanation: 'A key that is protected by a passphrase cannot be used, as there is no one to ask for it.',
    remedy: 'Remove the passphrase (openssl pkey -in encrypted.pem -out key.pem), and send the result.',
    docs: certificatePage,
  }),
  entra_private_key_not_rsa: no({
    title: 'The private key is not an RSA key',
    explanation: "An app's certificate signs with PS256, which needs an RSA key.",
    remedy: `Create an RSA certificate of at least 2048 bits, and upload it at ${secretsPath} > Certificates.`,
    docs: certificatePage,
  }),
  entra_private_key_too_small: no({
    title: 'The RSA key is too small',
    explanation: 'Keys of fewer than 2048 bits are not accepted.',
    remedy: `Create an RSA certificate of at least 2048 bits, and upload it at ${secretsPath} > Certificates.`,
    docs: certificatePage,
  }),
  entra_certificate_key_mismatch: no({
    title: 'The private key does not belong to the certificate',
    explanation: 'The public key in the certificate is not the one of the private key.',
    remedy: 'Send the certificate and the key of one and the same pair.',
    docs: certificatePage,
  }),
  entra_certificate_expired: noToEverything({
    title: 'The certificate has expired',
    explanation: 'It was valid until {date}.',
    remedy: `Create a new certificate, upload it at ${secretsPath} > Certificates, and send it with its key.`,
    docs: certificatePage,
  }),
  entra_certificate_not_yet_valid: no({
    title: 'The certificate is not valid yet',
    explanation: 'It becomes valid on {date}.',
    remedy: 'Wait until then, or use a certificate that is valid now.',
    docs: certificatePage,
  }),
  entra_federated_token_malformed: no({
    title: 'The federated token is not a complete JWT',
    explanation:
      'It must be a signed JWT with the claims iss, sub, aud and exp: Entra compares the first three with the federated credentials of the app.',
    remedy: 'Send the token of your identity provider as it is, in three parts separated by dots.',
    docs: federationPage,
  }),
  entra_federated_token_expired: noToEverything({
    title: 'The federated token has expired',
    explanation: "Your identity provider's tokens are valid for a short time, and this one's is over.",
    remedy: 'Have your identity provider issue a new token, and validate with it right away.',
    docs: federationPage,
  }),

  // Access: the sign-in service refused.
  entra_tenant_not_found: noToEverything({
    title: 'There is no tenant {tenant} in {cloud}',
    explanation:
      'The sign-in service of this cloud knows no such tenant. The ID has a typing error, or the tenant is in another Microsoft cloud.',
    remedy: `Compare with "Directory (tenant) ID" at ${overviewPath}. For a tenant of US Government or China, set cloud to us-gov, us-gov-dod or china.`,
    docs: tenantPage,
  }),
  entra_other_cloud: noToEverything({
    title: 'The tenant is not in {cloud}',
    explanation: 'Each Microsoft cloud signs in its own tenants only. This tenant belongs to {right_cloud}.',
    remedy: 'Set cloud to {right_cloud_name}; the app must be registered in that cloud.',
    docs: cloudsPage,
  }),
  entra_cloud_differs: unclear({
    title: 'The tenant seems to be in {right_cloud}',
    explanation: "The tenant's public sign-in document names another Microsoft cloud than the one chosen.",
    remedy: 'If reading fails, set cloud to {right_cloud_name}.',
    docs: cloudsPage,
  }),
  entra_app_not_found: noToEverything({
    title: 'The app {client} is not known in the tenant',
    explanation:
      'The tenant {tenant} has neither an app registration with this client ID nor a service principal of an app from another tenant.',
    remedy: `Compare with "Application (client) ID" and "Directory (tenant) ID" at ${overviewPath}. For an app that is registered in another tenant, an administrator of this one must grant consent first.`,
    docs: registrationPage,
  }),
  entra_app_disabled: noToEverything({
    title: 'The app {client} is disabled',
    explanation: 'An administrator, or Microsoft, has disabled it, so that no token is issued for it.',
    remedy:
      'Set "Enabled for users to sign-in?" to Yes in Microsoft Entra admin center > Enterprise apps > (your app) > Properties.',
    docs: disabledAppPage,
  }),
  entra_app_is_public: noToEverything({
    title: 'The app {client} is a public client',
    explanation: 'A public client has no credentials of its own, so that it cannot authenticate as itself.',
    remedy:
      'Set "Allow public client flows" to No in Microsoft Entra admin center > App registrations > (your app) > Authentication, or use another app.',
    docs: registrationPage,
  }),
  entra_secret_wrong: noToEverything({
    title: 'The client secret is wrong',
    explanation:
      'The app {client} has no client secret with this value. Deleted secrets are answered the same way.',
    remedy: `Copy the column "Value" (not "Secret ID") at ${secretsPath} > Client secrets, or create a new client secret.`,
    docs: credentialsPage,
  }),
  entra_secret_expired: noToEverything({
    title: 'The client secret has expired',
    explanation: 'The value was right, and its time is over.',
    remedy: `Create a new client secret at ${secretsPath} > Client secrets, and send its value.`,
    docs: credentialsPage,
  }),
  entra_credential_rejected: noToEverything({
    title: "The app's credentials were rejected",
    explanation: 'The sign-in service refused to authenticate the app {client} with what was given.',
    remedy: `Replace the credentials: create a new client secret, or upload the certificate again, at ${secretsPath}.`,
    docs: errorCodesPage,
  }),
  entra_certificate_not_registered: noToEverything({
    title: 'The certificate is not registered with the app',
    explanation:
      'The signature could not be checked with any certificate of the app {client}: this one was never uploaded, was removed, or has expired.',
    remedy: `Upload this certificate at ${secretsPath} > Certificates, and compare its thumbprint.`,
    docs: certificatePage,
  }),
  entra_certificate_subject: noToEverything({
    title: 'The subject of the certificate is not authorised',
    explanation: 'The app accepts certificates by subject name and issuer, and this one has another.',
    remedy: "Use a certificate with an authorised subject, or change the app's trusted subjects.",
    docs: certificatePage,
  }),
  entra_clock_skew: unclear({
    title: "This server's clock is wrong",
    explanation:
      "It differs from Microsoft's by about {skew} minutes, so that what it signs is refused. This says nothing about the credentials.",
    remedy: "Synchronise this server's clock (NTP), then try again.",
    docs: certificatePage,
  }),
  entra_assertion_time: unclear({
    title: "This server's assertion was called out of time",
    explanation:
      'The sign-in service refused an assertion that this server had just signed. Either the clock of this server is wrong, or the request was under way too long.',
    remedy: "Compare this server's clock with NTP, then try again.",
    docs: certificatePage,
  }),
  entra_assertion_audience: unclear({
    title: 'The assertion was addressed to another sign-in service',
    explanation:
      'The tenant is served by another authority than {authority}. The usual reason is that the tenant is in another Microsoft cloud.',
    remedy: 'Check which cloud the tenant is in, and set cloud accordingly.',
    docs: cloudsPage,
  }),
  entra_assertion_invalid: unclear({
    title: 'The assertion was not accepted',
    explanation:
      'The sign-in service found something wrong with the signed assertion that it does not tell plainly.',
    remedy:
      "Read the provider's words in the report; check the certificate or the issuer of the federated token.",
    docs: errorCodesPage,
  }),
  entra_federated_token_rejected: noToEverything({
    title: 'The federated token was not accepted',
    explanation:
      'Its signature, issuer or lifetime did not hold. Entra fetches the keys of the issuer from its public discovery document.',
    remedy:
      'Check that the issuer publishes its signing keys where Entra can reach them, and send a token that it has just issued.',
    docs: federationPage,
  }),
  entra_federated_no_match: noToEverything({
    title: 'No federated credential of the app matches the token',
    explanation:
      'Issuer, subject and audience of the token must equal those of one federated credential of the app {client}, letter for letter. Here {part} differs.',
    remedy: `Correct the entry at ${secretsPath} > Federated credentials (mind upper case and a slash at the end), or have the token issued with the expected values.`,
    docs: federationPage,
  }),
  entra_federated_token_type: noToEverything({
    title: 'The federated token is of a kind that is not accepted',
    explanation:
      'A token that Entra itself issued is accepted only where it was issued to an app, not to a user.',
    remedy: 'Send a token that the other app got with its own credentials.',
    docs: federationPage,
  }),
  entra_consent_missing: noToEverything({
    title: 'The app is not consented to in the tenant',
    explanation: 'An administrator of the tenant {tenant} has not granted the app {client} what it asks for.',
    remedy: `Add the application permissions at ${apiPermissionsPath}, and choose "Grant admin consent".`,
    docs: consentPage,
  }),
  entra_graph_not_in_tenant: noToEverything({
    title: 'The tenant does not know the Graph of {cloud}',
    explanation:
      'A token for {graph} was asked for, and the tenant has no such resource: it belongs to another cloud, or to the other one of the two US Government clouds.',
    remedy: 'Check which cloud the tenant is in, and set cloud to global, us-gov, us-gov-dod or china.',
    docs: cloudsPage,
  }),
  entra_graph_disabled: noToEverything({
    title: 'Microsoft Graph is disabled in the tenant',
    explanation:
      'The service principal of Microsoft Graph is disabled, or the subscription of the tenant has lapsed.',
    remedy:
      'Enable it in Microsoft Entra admin center > Enterprise apps > Microsoft Graph > Properties, and check the subscription.',
    docs: disabledAppPage,
  }),
  entra_conditional_access: noToEverything({
    title: 'A Conditional Access policy blocks the app',
    explanation: 'The credentials may be right; a policy of the tenant refuses the app access from here.',
    remedy:
      'Allow the app {client}, or the IP addresses of this server, in the policy named in Microsoft Entra admin center > Monitoring & health > Sign-in logs > Service principal sign-ins.',
    docs: conditionalAccessPage,
  }),
  entra_tenant_restrictions: unclear({
    title: 'A proxy restricts which tenants may be reached',
    explanation:
      'A proxy between this server and Microsoft marks requests with the tenants that it allows, and this one is not among them. This says nothing about the credentials.',
    remedy: "Allow the tenant {tenant} in the proxy's tenant restrictions, or exempt this server.",
    docs: 'https://learn.microsoft.com/entra/identity/enterprise-apps/tenant-restrictions',
  }),
  entra_request_malformed: unclear({
    title: 'Microsoft did not understand the request',
    explanation:
      'The request was refused for its form, which is not the fault of the credentials unless one of the IDs is unusual.',
    remedy:
      'Compare tenant ID and client ID with the app registration; if they are right, please report this.',
    docs: errorCodesPage,
  }),
  entra_token_unusable: unclear({
    title: 'The token belongs to another tenant',
    explanation:
      'The sign-in service answered with a token of another tenant than the one asked for. This says nothing about the credentials.',
    remedy: 'Check that nothing between this server and {authority} intercepts the traffic. Then try again.',
    docs: 'https://learn.microsoft.com/entra/identity-platform/access-tokens',
  }),

  // Identity and capabilities: Graph refused.
  entra_domain_not_verified: no({
    title: 'The tenant has not verified the domain {domain}',
    explanation:
      'The credentials belong to the tenant {organization}, and {domain} is not among its verified domains.',
    remedy:
      'Enter a domain listed as verified in the Microsoft Entra admin center > Domain names, or use an app registration of the tenant that owns {domain}.',
    docs: domainsPage,
  }),
  entra_domain_other_tenant: no({
    title: 'The domain {domain} belongs to another tenant',
    explanation:
      "Microsoft's public directory says that {domain} is a domain of another tenant than {organization}.",
    remedy: 'Enter a domain of your tenant, or use an app registration of the tenant that owns {domain}.',
    docs: domainsPage,
  }),
  entra_no_application_permissions: noToEverything({
    title: 'The app has no application permission at all',
    explanation:
      'The token carries no application permissions: they were never added, admin consent is missing, or they were added as delegated permissions, which do not count when an app acts as itself.',
    remedy: `Add {permission} with type Application at ${apiPermissionsPath} > Microsoft Graph, and choose "Grant admin consent". Then a new token is needed: validate again after a few minutes.`,
    docs: consentPage,
  }),
  entra_permission_missing: noToAllAlike({
    title: 'The application permission {permission} is missing',
    explanation:
      'Graph allows the read only with this permission or a wider one, and the token carries none of them.',
    remedy: `Add {permission} with type Application (not Delegated) at ${apiPermissionsPath} > Microsoft Graph, and choose "Grant admin consent". Then a new token is needed: validate again after a few minutes.`,
    docs: consentPage,
  }),
  entra_denied_despite_permission: no({
    title: 'Graph refused the read although the permission is there',
    explanation:
      'The token carries {permission}, and Graph still answered that privileges are insufficient. A consent that is only minutes old, a restriction on the app in the tenant, or a removed subscription can be the reason.',
    remedy:
      'Wait a few minutes and validate again. If it persists, look for restrictions on the app in Microsoft Entra admin center > Enterprise apps > (your app) > Permissions.',
    docs: authErrorsPage,
  }),
  entra_service_principal_missing: noToEverything({
    title: 'The app has no service principal in the tenant',
    explanation:
      'The app {client} may be registered, and yet it is nobody in the tenant as long as it has no service principal there. Registrations made by script often lack it.',
    remedy: `Choose "Grant admin consent" at ${apiPermissionsPath}: this creates the service principal. Then validate again.`,
    docs: consentPage,
  }),
  entra_service_principal_disabled: noToEverything({
    title: 'The service principal of the app is disabled',
    explanation: 'The app {client} can still get a token, but Graph refuses it in this tenant.',
    remedy:
      'Set "Enabled for users to sign-in?" to Yes in Microsoft Entra admin center > Enterprise apps > (your app) > Properties.',
    docs: disabledAppPage,
  }),
  entra_token_rejected: unclear({
    title: 'Graph did not accept the token',
    explanation:
      'The token was issued a moment ago, and Graph calls it invalid. This says nothing about the credentials, unless the cloud is wrong.',
    remedy: "Check the cloud and this server's clock, then try again.",
    docs: authErrorsPage,
  }),
  entra_premium_required: noToAllAlike({
    title: 'The tenant has no licence for this data',
    explanation:
      'Sign-in activity and registered authentication methods need Microsoft Entra ID P1 or P2. Everything else can be synchronised without.',
    remedy: 'Leave it, or add a P1 licence to the tenant.',
    docs: 'https://learn.microsoft.com/graph/api/resources/signinactivity',
  }),
  entra_users_empty: unclear({
    title: 'Graph showed no users',
    explanation: 'Every tenant has at least one user, so an empty list proves nothing.',
    remedy: 'Validate again. If it persists, look whether the app is restricted to administrative units.',
    docs: authErrorsPage,
  }),
  entra_no_groups: no({
    title: 'The tenant has no groups',
    explanation: 'Groups can be read, and there are none; so there was no membership to read either.',
    remedy: 'Nothing needs to be done.',
    docs: 'https://learn.microsoft.com/graph/api/group-list',
  }),

  // Health: warnings.
  entra_expires_within_30_days: no({
    title: 'The credentials of the app expire within 30 days',
    explanation: 'The {credential} is valid until {date}.',
    remedy: `Create its successor at ${secretsPath}, and replace it here before that day.`,
    docs: credentialsPage,
  }),
  entra_expires_within_14_days: no({
    title: 'The credentials of the app expire within 14 days',
    explanation: 'The {credential} is valid until {date}.',
    remedy: `Create its successor at ${secretsPath} this week, and replace it here.`,
    docs: credentialsPage,
  }),
  entra_expires_within_3_days: no({
    title: 'The credentials of the app expire within 3 days',
    explanation: 'The {credential} is valid until {date}. After that, nothing can be read.',
    remedy: `Create its successor at ${secretsPath} now, and replace it here.`,
    docs: credentialsPage,
  }),
  entra_unusual_audience: no({
    title: 'The federated token has an unusual audience',
    explanation: 'It is not issued for {audience}, which Microsoft recommends for this cloud.',
    remedy: 'If no federated credential matches, have the token issued for {audience}.',
    docs: federationPage,
  }),
  entra_too_powerful: no({
    title: 'The app may do more than read',
    explanation: 'Its token also carries {permissions}. Reading needs none of them.',
    remedy: `Remove what this integration does not need at ${apiPermissionsPath}, or use an app of its own.`,
    docs: 'https://learn.microsoft.com/entra/identity-platform/secure-least-privileged-access',
  }),
} satisfies Record<string, CauseTemplate>

export type EntraCause = keyof typeof causes
