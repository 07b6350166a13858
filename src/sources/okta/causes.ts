/** The causes that Okta's failures have, and what an administrator does about each. */
import { type CauseTemplate, causeOf, type Diagnosis } from '../cause.ts'
import { commonCauses } from '../common-causes.ts'

const statusPage = 'https://status.okta.com'
export const tokenDocs = 'https://developer.okta.com/docs/guides/create-an-api-token/main/'
export const serviceAppDocs =
  'https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/'
export const rolesDocs = 'https://help.okta.com/okta_help.htm?type=oie&id=ext-administrators-admin-comparison'
export const domainDocs = 'https://developer.okta.com/docs/guides/find-your-domain/main/'
export const customDomainDocs = 'https://developer.okta.com/docs/guides/custom-url-domain/main/'
export const rateLimitDocs = 'https://developer.okta.com/docs/reference/rate-limits/'
const errorDocs = 'https://developer.okta.com/docs/reference/error-codes/'
const zoneDocs = 'https://help.okta.com/okta_help.htm?id=ext_API'
const dpopDocs = 'https://developer.okta.com/docs/guides/dpop/oktaresourceserver/main/'

/** Okta, or the input itself, said "no". */
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
/** Nothing was learnt about the credentials. */
const unknown = (template: Omit<CauseTemplate, 'determinate'>): CauseTemplate => ({
  determinate: false,
  ...template,
})

export const causes = {
  ...commonCauses('okta', 'Okta', statusPage),

  okta_domain_not_permitted: no({
    title: 'The domain is not the address of an Okta organisation',
    explanation:
      'The domain is refused because {problem}. Credentials are sent only to hosts of Okta organisations (one name before okta.com, oktapreview.com, okta-emea.com, okta-gov.com or okta.mil) and to custom domains that the operator of this server listed. Nothing was sent.',
    remedy: 'Enter {suggestion}.',
    docs: domainDocs,
  }),
  okta_custom_domain_mismatch: no({
    title: 'The custom domain and the Okta organisation do not name each other',
    explanation:
      '{host} names an Okta organisation that does not name {host} as its custom domain. The credentials were not sent.',
    remedy:
      "Enter the organisation's own okta.com address, which the Admin Console shows in the menu of the signed-in user, or check the domain under Customizations > Brands > Domains.",
    docs: customDomainDocs,
  }),
  okta_custom_domain_undiscoverable: unknown({
    title: 'The Okta organisation behind the custom domain could not be found out',
    explanation:
      '{host} and its organisation do not say enough about each other to be sure which Okta organisation it is. The credentials were not sent.',
    remedy:
      "Enter the organisation's own okta.com address, which the Admin Console shows in the menu of the signed-in user.",
    docs: customDomainDocs,
  }),

  okta_token_malformed: no({
    title: 'What was given is not an API token',
    explanation: 'The API token cannot be right, because {problem}. Nothing was sent.',
    remedy:
      'Paste the bare token value as Okta showed it when it was made, without anything before or after it.',
    docs: tokenDocs,
  }),
  okta_client_id_malformed: no({
    title: 'What was given is not a client ID',
    explanation: 'The client ID cannot be right, because {problem}. Nothing was sent.',
    remedy: 'Copy the Client ID from the General tab of the app.',
    docs: serviceAppDocs,
  }),
  okta_private_key_unreadable: no({
    title: 'The private key cannot be read',
    explanation: 'The private key cannot be read: {problem}. Nothing was sent.',
    remedy:
      'Paste the whole private key, from "-----BEGIN PRIVATE KEY-----" to "-----END PRIVATE KEY-----", or the whole JSON Web Key.',
    docs: serviceAppDocs,
  }),
  okta_private_key_is_public: no({
    title: 'What was given is a public key, not the private one',
    explanation:
      'Signing needs the private half of the key; the public half is what Okta holds. Nothing was sent.',
    remedy:
      'Paste the private key. If it was not kept, add a new key to the app (General > Public keys > Add key): Okta shows its private half once.',
    docs: serviceAppDocs,
  }),
  okta_private_key_encrypted: no({
    title: 'The private key is encrypted with a passphrase',
    explanation: 'A key that is protected by a passphrase cannot be used to sign. Nothing was sent.',
    remedy: 'Decrypt it first, for example with openssl pkcs8 -topk8 -nocrypt, and paste the result.',
    docs: serviceAppDocs,
  }),
  okta_private_key_unsupported: no({
    title: 'The private key is of a kind that cannot be used with Okta',
    explanation:
      'The private key cannot be used: {problem}. Okta takes RSA keys (RS256, RS384, RS512) and elliptic curve keys (ES256, ES384, ES512). Nothing was sent.',
    remedy:
      'Make an RSA key of 2048 bits or more, add its public half to the app, and give its private half here.',
    docs: serviceAppDocs,
  }),

  okta_organization_not_found: no({
    title: 'There is no Okta organisation at {host}',
    explanation:
      'Okta has no organisation of this name: it is misspelt, was deleted, or was a trial that ended.',
    remedy:
      "Enter the organisation's address as the Admin Console shows it in the menu of the signed-in user.",
    docs: domainDocs,
  }),
  okta_organization_deactivated: noToEverything({
    title: 'The Okta organisation at {host} is deactivated',
    explanation: 'Okta no longer serves this organisation.',
    remedy: 'Have the organisation activated again by Okta support, or use another one.',
    docs: errorDocs,
  }),
  okta_organization_differs: no({
    title: 'The organisation at {host} has another address',
    explanation: 'The organisation that answers at {host} says that its own address is {canonical}.',
    remedy: 'Enter {canonical} as the domain, and make sure that the credentials are of that organisation.',
    docs: domainDocs,
  }),

  okta_token_rejected: noToEverything({
    title: 'Okta refuses the API token',
    explanation:
      'The token is wrong, was revoked, belongs to another organisation, was not used for 30 days, or belongs to a user who was deactivated. A token that is tied to network zones may be refused like this, too, where this server is outside them.',
    remedy:
      'Look the token up in the Admin Console of {host} under Security > API > Tokens. If it is there, add the address of this server to its network zones; otherwise create a new one and enter its value here.',
    docs: tokenDocs,
  }),
  okta_token_wrong_kind: noToEverything({
    title: 'Okta refuses the API token, which looks like {looks_like}',
    explanation: 'What was given has the form of {looks_like}. Okta refused it.',
    remedy:
      'Create a token in the Admin Console of {host} under Security > API > Tokens, and paste the value that Okta shows once.',
    docs: tokenDocs,
  }),
  okta_token_not_permitted: noToEverything({
    title: 'The API token may not be used for this',
    explanation:
      'Okta knows the token but does not let it read even its own user: the user who made it is no administrator any more, or the token is tied to network zones that this server is outside of.',
    remedy:
      'In the Admin Console, check under Security > API > Tokens from where the token may be used, and under Security > Administrators that its user is at least a Read-only Administrator.',
    docs: zoneDocs,
  }),
  okta_session_invalid: noToEverything({
    title: 'Okta does not accept the API token as one',
    explanation: 'Okta answered as if the request had carried no API token that it can read.',
    remedy:
      'Create a new token in the Admin Console of {host} under Security > API > Tokens, and enter its value.',
    docs: tokenDocs,
  }),

  okta_client_unknown: noToEverything({
    title: 'The organisation has no app with this client ID',
    explanation: 'Okta at {host} does not know the client ID {client_id}, or its app is deactivated.',
    remedy:
      "Copy the Client ID from the General tab of the API Services app in this organisation's Admin Console, and check that the app is active.",
    docs: serviceAppDocs,
  }),
  okta_client_rejected: noToEverything({
    title: 'Okta refuses to authenticate the app',
    explanation:
      'Okta did not accept the app {client_id} with this key, and does not say which of the two is wrong; an app that is deactivated or set to a client secret is refused alike.',
    remedy:
      'On the General tab of the app, check that it is active, that Client authentication is "Public key / Private key", and that the public half of this key is listed.',
    docs: serviceAppDocs,
  }),
  okta_key_not_registered: noToEverything({
    title: 'The private key does not belong to the app',
    explanation:
      "The signature or the key's ID fits none of the public keys of the app {client_id}: the key was rotated or deleted, or belongs to another app.",
    remedy:
      'On the General tab of the app, under Public keys, add the public half of this private key; if a key ID is given here, it must be the KID shown there.',
    docs: serviceAppDocs,
  }),
  okta_key_set_unusable: noToEverything({
    title: "The app's public keys cannot be used",
    explanation:
      'Okta cannot verify anything with the public keys that the app {client_id} holds or points to: there is none, or one is invalid, ambiguous or meant for another use.',
    remedy:
      'On the General tab of the app, under Public keys, correct the keys or the URL that they come from. A signing key has use "sig".',
    docs: serviceAppDocs,
  }),
  okta_key_set_unreachable: unknown({
    title: "Okta could not fetch the app's public keys",
    explanation: 'The app {client_id} takes its public keys from a URL, and Okta could not read them there.',
    remedy:
      'Check that the URL under Public keys on the General tab of the app answers Okta, then try again.',
    docs: serviceAppDocs,
  }),
  okta_client_secret_app: noToEverything({
    title: 'The app is set to a client secret',
    explanation:
      'Okta issues access tokens for its API only to apps that authenticate with a public and a private key.',
    remedy:
      'On the General tab of the app, set Client authentication to "Public key / Private key" and add the public half of this key.',
    docs: serviceAppDocs,
  }),
  okta_not_service_app: noToEverything({
    title: 'The app is no API Services app',
    explanation: 'Only apps of the type "API Services" can get access tokens without a user.',
    remedy:
      'Create an app under Applications > Create App Integration > API Services, and use its client ID and key.',
    docs: serviceAppDocs,
  }),
  okta_grant_type_missing: noToEverything({
    title: 'The app may not use client credentials',
    explanation: 'The grant type "Client Credentials" is not allowed for the app {client_id}.',
    remedy:
      'On the General tab of the app, allow the grant type Client Credentials, or create an API Services app.',
    docs: serviceAppDocs,
  }),
  okta_network_zone: noToEverything({
    title: "This server is outside the app's network zones",
    explanation:
      'The app {client_id} may only be used from certain network zones, and this server is in none of them.',
    remedy:
      'Add the addresses from which this server reaches the internet to the network zone (Security > Networks), or change the zones on the General tab of the app.',
    docs: zoneDocs,
  }),
  okta_policy_denied: noToEverything({
    title: 'A policy of the organisation denies the app its access token',
    explanation: "The organisation's policies do not let the app {client_id} have a token with these scopes.",
    remedy:
      'Check the policies that apply to the app, and the System Log for the evaluation of this request.',
    docs: errorDocs,
  }),
  okta_access_denied: noToEverything({
    title: 'Okta denies the request',
    explanation:
      'The authorization server denied the request of the app {client_id} without a closer reason.',
    remedy:
      'Look the request up in the System Log (Reports > System Log), which tells the reason; network zones and access policies of the app are the usual ones.',
    docs: errorDocs,
  }),
  okta_scopes_not_granted: noToEverything({
    title: 'The app is granted none of the scopes',
    explanation: 'Each scope was asked for by itself, and Okta refused them all. Required are {scopes}.',
    remedy:
      'As a Super Administrator, open the Okta API Scopes tab of the app and click Grant for {scopes}. Then refresh the page, to see that it was saved.',
    docs: serviceAppDocs,
  }),
  okta_scope_missing: noToAllAlike({
    title: 'The app is not granted {scope}',
    explanation: 'Okta issued a token, but not for the scope {scope}.',
    remedy: 'As a Super Administrator, open the Okta API Scopes tab of the app and click Grant for {scope}.',
    docs: serviceAppDocs,
  }),
  okta_clock_skew: unknown({
    title: "This server's clock and Okta's differ",
    explanation:
      'Okta refused a signed statement because of its time. By the answer, the clock of this server is {skew}. This says nothing about the credentials.',
    remedy: "Set this server's clock right (NTP), then try again.",
    docs: serviceAppDocs,
  }),
  okta_assertion_refused: unknown({
    title: 'Okta refused the form of the signed statement',
    explanation:
      'Okta objected to how this server signs in, not to the key or the app. This says nothing about the credentials.',
    remedy: "Try again. If it recurs, report Okta's words to this project.",
    docs: serviceAppDocs,
  }),
  okta_dpop_refused: unknown({
    title: 'Okta refused the proof of possession',
    explanation:
      'The app requires DPoP, and Okta did not accept the proof that this server made. This says nothing about the credentials.',
    remedy: "Try again. If it recurs, report Okta's words to this project.",
    docs: dpopDocs,
  }),
  okta_access_token_refused: unknown({
    title: 'Okta refused an access token that it had just issued',
    explanation:
      'The app signed in, and then its access token was not accepted: the app or its grants were changed meanwhile, or the token is not for this API.',
    remedy: 'Try again. If it recurs, check in the System Log what happened to the app.',
    docs: serviceAppDocs,
  }),
  okta_oauth_not_accepted: unknown({
    title: 'Okta did not take the access token for one',
    explanation:
      'Okta answered as if the request had carried no access token. Endpoints that do not take OAuth access tokens answer like this.',
    remedy: 'Try again. If it recurs, use an API token, and report it to this project.',
    docs: serviceAppDocs,
  }),

  okta_admin_role_missing: no({
    title: 'The app has no administrator role that lets it see {what}',
    explanation:
      'The scope is granted, and yet Okta shows it no {what}: scopes say what an app may do, roles in which part of the organisation. Without a role an app sees nothing, and for some things the role has to be a higher one.',
    remedy:
      'On the Admin roles tab of the app, assign this role: {role}. A custom role needs a resource set that covers the whole organisation.',
    docs: rolesDocs,
  }),
  okta_permission_missing: no({
    title: 'The administrator behind the API token may not read {what}',
    explanation: 'An API token can do what the user who made it can do, and that user may not read {what}.',
    remedy:
      'Under Security > Administrators, give the user who made the token this role: {role}. The token follows at once.',
    docs: rolesDocs,
  }),
  okta_nothing_visible: no({
    title: 'The administrator behind the API token sees no {what}',
    explanation:
      'Okta shows no {what}, though every organisation has some: the role of the user who made the token is limited to a part of the organisation that holds none.',
    remedy:
      'Under Security > Administrators, give the user who made the token this role, not limited to single groups or resource sets: {role}.',
    docs: rolesDocs,
  }),
  okta_feature_unavailable: noToAllAlike({
    title: 'The organisation has no {what} to read',
    explanation:
      'The organisation lacks the feature or the endpoint: it is not licensed, not switched on, or exists in Okta Identity Engine alone.',
    remedy: 'Sync without {what}, or have the feature enabled for the organisation.',
    docs: errorDocs,
  }),
  okta_object_gone: unknown({
    title: 'What was to be read is no longer there',
    explanation: 'The user or group that Okta had just listed was not found, or may not be seen one by one.',
    remedy:
      'Try again. If it recurs, check that the role behind the credentials covers the whole organisation.',
    docs: errorDocs,
  }),
  okta_request_refused: unknown({
    title: 'Okta refused the form of the request',
    explanation: 'Okta objected to the request itself, which says nothing about the credentials.',
    remedy: "Try again. If it recurs, report Okta's words to this project.",
    docs: errorDocs,
  }),
  okta_method_not_allowed: unknown({
    title: 'Okta does not allow the call',
    explanation:
      'Okta answers like this where the sender lacks permissions, where its token is not valid for the call, or where the feature is not enabled. Which of them it is, it does not say.',
    remedy: 'Check the role behind the credentials, and that API access is enabled for the organisation.',
    docs: errorDocs,
  }),
  okta_read_only_mode: unknown({
    title: 'Okta is in read-only mode',
    explanation: 'Okta is being maintained or is recovering from an outage.',
    remedy: "Try again in a few minutes; Okta's status page tells about maintenance.",
    docs: statusPage,
  }),
  okta_concurrency_rate_limited: unknown({
    title: 'Too many requests are under way in the organisation',
    explanation:
      'Okta limits how many requests of an organisation run at the same time. This says nothing about the credentials.',
    remedy:
      'Wait {wait}, then try again. If it recurs, find out which other integration sends many requests at once.',
    docs: 'https://developer.okta.com/docs/reference/rl2-concurrency/',
  }),

  okta_super_administrator: no({
    title: 'The credentials are those of a Super Administrator',
    explanation: 'Whoever gets hold of them can change everything in the organisation. A sync only reads.',
    remedy:
      'Use a service account or a service app with the role Read-only Administrator, or a custom role that only views.',
    docs: rolesDocs,
  }),
  okta_organization_untold: no({
    title: 'The organisation tells nothing of itself',
    explanation:
      'The API answers, but the public document with the ID and the address of the organisation is not there.',
    remedy:
      'Check that the domain is the address which the Admin Console shows in the menu of the signed-in user.',
    docs: domainDocs,
  }),
  okta_partial_groups: no({
    title: 'The credentials see only a part of the groups',
    explanation:
      'Okta does not show the group Everyone, as to an administrator of some groups alone: a sync would miss groups and users.',
    remedy:
      'Use credentials with the role Read-only Administrator, not limited to single groups or resource sets.',
    docs: rolesDocs,
  }),
  okta_token_idle_rule: no({
    title: 'An API token that is not used for 30 days expires',
    explanation:
      'Each call to Okta starts the 30 days anew, and the period cannot be changed. The token also ends when the user who made it is deactivated.',
    remedy: 'Keep the sync running at least once a month, or use a service app, whose key does not expire.',
    docs: tokenDocs,
  }),
  okta_token_expires_soon: no({
    title: 'The API token expires on {date}',
    explanation: 'Okta says that the token "{name}" expires on {date}. It stays alive as long as it is used.',
    remedy: 'Look at Security > API > Tokens and make a new one in time, or keep the sync running.',
    docs: tokenDocs,
  }),
  okta_token_from_anywhere: no({
    title: 'The API token can be used from any address',
    explanation: 'Okta can tie a token to network zones, and this one is tied to none.',
    remedy:
      'Under Security > API > Tokens, open the token and let its calls come only from a zone that holds the addresses of this server.',
    docs: zoneDocs,
  }),
  okta_organization_ends: no({
    title: 'The organisation ends on {date}',
    explanation: 'Okta says that the organisation expires on {date}, as trials do.',
    remedy: 'Have Okta prolong it, or use the credentials of another organisation.',
    docs: domainDocs,
  }),
  okta_organization_inactive: no({
    title: 'The organisation is not active',
    explanation: 'The settings of the organisation say that it is inactive.',
    remedy: 'Have the organisation activated again by Okta support, or use another one.',
    docs: domainDocs,
  }),
  okta_rate_limit_low: no({
    title: 'Little is left of the rate limit for reading users',
    explanation:
      '{remaining} of {limit} requests a minute were left. By default a token or app may use half of the limit of the organisation.',
    remedy:
      'Look under Reports > Rate Limits which integration uses it up, or raise the share of this token or app.',
    docs: rateLimitDocs,
  }),
} as const satisfies Record<string, CauseTemplate>

export type OktaCause = keyof typeof causes & string

export const cause = (code: OktaCause, values: Readonly<Record<string, string>> = {}): Diagnosis =>
  causeOf(causes, code, values)
