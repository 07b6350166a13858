/** A process that lists users, groups and members through the vendors' own SDKs, and keeps nothing. Needs NODE_EXTRA_CA_CERTS. */
import { PageIterator } from '@microsoft/microsoft-graph-client'
import { Client as OktaClient } from '@okta/okta-sdk-nodejs'
import type { ExampleAttributes, ProviderSandbox } from '../sandbox/provider.ts'
import { answerQuestions } from './child.ts'
import { googleDirectory, graph, type Secrets } from './sdk-clients.ts'
import { redirectSdks } from './sdk-redirect.ts'

export interface Listed {
  readonly users: number
  readonly groups: number
  readonly memberships: number
}

/** Largest pages that the vendor documents, one request after another, as the SDK iterates. */
type List = (attributes: ExampleAttributes, origin: string) => Promise<Listed>

const okta: List = async ({ secrets }, origin) => {
  const { api_token = '' } = secrets as Secrets
  const client = new OktaClient({ orgUrl: origin, token: api_token })
  const counted = { users: 0, groups: 0, memberships: 0 }
  await (await client.userApi.listUsers({ limit: 200 })).each(() => {
    counted.users += 1
  })
  const groups: string[] = []
  await (await client.groupApi.listGroups({ limit: 200 })).each((group) => {
    groups.push(group?.id ?? '')
  })
  counted.groups = groups.length
  for (const groupId of groups)
    await (await client.groupApi.listGroupUsers({ groupId, limit: 1000 })).each(() => {
      counted.memberships += 1
    })
  return counted
}

const google: List = async ({ secrets }) => {
  const directory = googleDirectory(secrets as Secrets)
  const customer = 'my_customer'
  const counted = { users: 0, groups: 0, memberships: 0 }
  const groups: string[] = []
  await eachPage(
    async (token) => (await directory.users.list({ customer, maxResults: 500, ...token })).data,
    ({ users = [] }) => {
      counted.users += users.length
    },
  )
  await eachPage(
    async (token) => (await directory.groups.list({ customer, maxResults: 200, ...token })).data,
    (page) => {
      groups.push(...(page.groups ?? []).map(({ id }) => id ?? ''))
    },
  )
  counted.groups = groups.length
  for (const groupKey of groups)
    await eachPage(
      async (token) => (await directory.members.list({ groupKey, maxResults: 200, ...token })).data,
      ({ members = [] }) => {
        counted.memberships += members.length
      },
    )
  return counted
}

/** Google's SDK leaves the walk from page to page to its callers. */
async function eachPage<P extends { nextPageToken?: string | null }>(
  read: (token: { readonly pageToken?: string }) => Promise<P>,
  on: (page: P) => void,
): Promise<void> {
  let pageToken: string | undefined
  do {
    const page: P = await read(pageToken === undefined ? {} : { pageToken })
    on(page)
    pageToken = page.nextPageToken ?? undefined
  } while (pageToken !== undefined)
}

const entra: List = async ({ secrets }) => {
  const client = graph(secrets as Secrets)
  const each = async (path: string, select: string, on: (entry: { readonly id: string }) => void) => {
    const first = await client.api(path).top(999).select(select).get()
    await new PageIterator(client, first, (entry) => {
      on(entry)
      return true
    }).iterate()
  }
  const counted = { users: 0, groups: 0, memberships: 0 }
  const columns =
    'id,userPrincipalName,displayName,givenName,surname,mail,otherMails,proxyAddresses,jobTitle,department,employeeId,employeeType,officeLocation,city,country,accountEnabled,userType,createdDateTime'
  await each('/users', columns, () => {
    counted.users += 1
  })
  const groups: string[] = []
  await each('/groups', 'id,displayName,mail,groupTypes', ({ id }) => groups.push(id))
  counted.groups = groups.length
  for (const group of groups)
    await each(`/groups/${group}/members`, 'id', () => {
      counted.memberships += 1
    })
  return counted
}

const lists: Readonly<Record<ProviderSandbox['name'], List>> = { okta, google, entra }

const answers = {
  /** Wall time of the whole, in milliseconds, and what was listed. */
  async list({
    provider,
    attributes,
    endpoints,
  }: {
    provider: ProviderSandbox['name']
    attributes: ExampleAttributes
    endpoints: Readonly<Record<string, string>>
  }) {
    redirectSdks(endpoints)
    const started = performance.now()
    const listed = await lists[provider](attributes, endpoints[attributes.domain] ?? '')
    return { ms: performance.now() - started, listed }
  },
}
export type SdkListAnswers = typeof answers

answerQuestions(answers)
