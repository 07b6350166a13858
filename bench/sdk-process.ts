/** A process that asks what a validation asks, one request after another, through the vendors' own SDKs. Needs NODE_EXTRA_CA_CERTS. */
import { Client as OktaClient } from '@okta/okta-sdk-nodejs'
import type { ExampleAttributes } from '../sandbox/provider.ts'
import { scopes as oktaScopes } from '../src/sources/okta/access.ts'
import { answerQuestions } from './child.ts'
import type { Scenario } from './scenarios.ts'
import { googleDirectory, graph, type Secrets } from './sdk-clients.ts'
import { redirectSdks } from './sdk-redirect.ts'

type Probe = (domain: string, secrets: Secrets) => Promise<void>

/** A refusal is an answer too: some reads are refused to credentials that are good enough. */
const answered = (call: Promise<unknown>) => call.then(() => undefined).catch(() => undefined)

const google: Probe = async (domain, secrets) => {
  const { admin_email = '' } = secrets
  const directory = googleDirectory(secrets)
  const customer = 'my_customer'
  await directory.users.get({ userKey: admin_email })
  await directory.domains.get({ customer, domainName: domain })
  await directory.users.list({ customer, maxResults: 1 })
  const { data } = await directory.groups.list({ customer, maxResults: 1 })
  await directory.members.list({ groupKey: data.groups?.[0]?.id ?? '', maxResults: 1 })
  await directory.roles.list({ customer, maxResults: 1 })
  await directory.chromeosdevices.list({ customerId: customer, maxResults: 1 })
  await directory.mobiledevices.list({ customerId: customer, maxResults: 1 })
}

/** The reads of both kinds of credentials. */
async function readOkta(okta: OktaClient, ownRoles: (userId: string) => Promise<unknown>): Promise<void> {
  await okta.orgSettingApi.getWellknownOrgMetadata()
  const user = await (await okta.userApi.listUsers({ limit: 1 })).next()
  const group = await (await okta.groupApi.listGroups({ filter: 'type eq "BUILT_IN"', limit: 1 })).next()
  const userId = user.value?.id ?? ''
  await (await okta.groupApi.listGroupUsers({ groupId: group.value?.id ?? '', limit: 1 })).next()
  await answered(okta.roleAssignmentApi.listUsersWithRoleAssignments({ limit: 1 }))
  await (await okta.deviceApi.listDevices({ limit: 1 })).next()
  await (await okta.applicationApi.listApplications({ limit: 1 })).next()
  await (await okta.userFactorApi.listFactors({ userId })).next()
  await okta.orgSettingApi.getOrgSettings()
  await answered(ownRoles(userId))
}

const oktaToken: Probe = async (domain, { api_token = '' }) => {
  const okta = new OktaClient({ orgUrl: `https://${domain}`, token: api_token })
  await okta.userApi.getUser({ userId: 'me' })
  await answered(okta.apiTokenApi.listApiTokens().then((tokens) => tokens.next()))
  await readOkta(okta, async (userId) =>
    (await okta.roleAssignmentApi.listAssignedRolesForUser({ userId })).next(),
  )
}

const oktaApp: Probe = async (domain, { client_id = '', private_key = '', key_id = '' }) => {
  const okta = new OktaClient({
    orgUrl: `https://${domain}`,
    authorizationMode: 'PrivateKey',
    clientId: client_id,
    privateKey: private_key,
    keyId: key_id,
    scopes: [...oktaScopes],
  })
  await readOkta(okta, async () =>
    (await okta.roleAssignmentApi.listRolesForClient({ clientId: client_id })).next(),
  )
}

const entra: Probe = async (_domain, secrets) => {
  const client = graph(secrets)
  await client.api('/organization').select('id,displayName,verifiedDomains').get()
  await client.api('/users').top(1).select('id,userPrincipalName').get()
  const groups = await client.api('/groups').top(1).select('id').get()
  await client.api(`/groups/${groups.value[0].id}/members`).top(1).select('id').get()
  await client.api('/devices').top(1).select('id').get()
  await client.api('/servicePrincipals').top(1).select('id').get()
  await client.api('/roleManagement/directory/roleAssignments').select('id').get()
  await client.api('/users').top(1).select('id,signInActivity').get()
  await client.api('/reports/authenticationMethods/userRegistrationDetails').get()
  await client
    .api(`/applications(appId='${secrets.client_id}')`)
    .select('passwordCredentials,keyCredentials')
    .get()
}

const probes: Readonly<Record<NonNullable<Scenario['sdk']>, Probe>> = { google, oktaToken, oktaApp, entra }

const answers = {
  redirect: redirectSdks,
  /** Wall time of all requests, with a client made for them, in milliseconds. */
  async probe({ sdk, attributes }: { sdk: NonNullable<Scenario['sdk']>; attributes: ExampleAttributes }) {
    const started = performance.now()
    await probes[sdk](attributes.domain, attributes.secrets as Secrets)
    return performance.now() - started
  },
}
export type SdkAnswers = typeof answers

answerQuestions(answers)
