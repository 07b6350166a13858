/** Uses Google's own client libraries in a process of its own, as they trust a local authority by NODE_EXTRA_CA_CERTS alone. */
import { admin } from '@googleapis/admin'
import { GoogleAuth, JWT } from 'google-auth-library'

interface Task {
  readonly tokenOrigin: string
  readonly apiOrigin: string
  readonly keyFile: {
    readonly client_email: string
    readonly private_key: string
    readonly private_key_id: string
  }
  readonly subject: string
  readonly scopes: readonly string[]
  readonly calls: readonly string[]
}

const task: Task = JSON.parse(process.argv[2] ?? '')

const auth = new JWT({
  email: task.keyFile.client_email,
  key: task.keyFile.private_key,
  scopes: [...task.scopes],
  subject: task.subject,
})
// The library has the token endpoint built in.
auth.transporter.interceptors.request.add({
  async resolved(config) {
    const url = new URL(String(config.url))
    if (url.host === 'oauth2.googleapis.com') config.url = new URL(`${task.tokenOrigin}${url.pathname}`)
    return config
  },
})
const directory = admin({ version: 'directory_v1', auth, rootUrl: `${task.apiOrigin}/`, retry: false })

const reports = admin({ version: 'reports_v1', auth, rootUrl: `${task.apiOrigin}/`, retry: false })

/** Everything that a list holds, a few at a time. */
async function everything<T>(
  page: (
    pageToken: string | undefined,
  ) => Promise<{ items: T[] | undefined; next: string | null | undefined }>,
): Promise<T[]> {
  const found: T[] = []
  let token: string | undefined
  do {
    const { items = [], next } = await page(token)
    found.push(...items)
    token = next ?? undefined
  } while (token !== undefined)
  return found
}
const from = (pageToken: string | undefined) => (pageToken === undefined ? {} : { pageToken })
const customer = 'my_customer'

const listUsers = (more: { showDeleted?: string } = {}) =>
  everything(async (token) => {
    const { data } = await directory.users.list({ customer, maxResults: 9, ...more, ...from(token) })
    return { items: data.users, next: data.nextPageToken }
  })
const listGroups = () =>
  everything(async (token) => {
    const { data } = await directory.groups.list({ customer, maxResults: 5, ...from(token) })
    return { items: data.groups, next: data.nextPageToken }
  })
const listMembers = (groupKey: string) =>
  everything(async (token) => {
    const { data } = await directory.members.list({ groupKey, maxResults: 4, ...from(token) })
    return { items: data.members, next: data.nextPageToken }
  })
const groupLog = { userKey: 'all', applicationName: 'groups_enterprise' }

const calls: Record<string, () => Promise<unknown>> = {
  async token() {
    const { access_token, token_type } = await auth.authorize()
    return { has_token: typeof access_token === 'string', token_type }
  },
  async fromJson() {
    const client = new GoogleAuth().fromJSON({ type: 'service_account', ...task.keyFile }) as JWT
    return { email: client.email, keyId: client.keyId }
  },
  async users() {
    const first = await directory.users.list({ customer: 'my_customer', maxResults: 40, orderBy: 'email' })
    const second = await directory.users.list({
      customer: 'my_customer',
      maxResults: 40,
      orderBy: 'email',
      ...(first.data.nextPageToken && { pageToken: first.data.nextPageToken }),
    })
    return [first, second].map(({ data }) => ({
      kind: data.kind,
      emails: data.users?.map(({ primaryEmail }) => primaryEmail),
      goesOn: typeof data.nextPageToken === 'string',
    }))
  },
  async user() {
    const { data } = await directory.users.get({ userKey: task.subject })
    return { email: data.primaryEmail, isAdmin: data.isAdmin, name: data.name?.fullName }
  },
  async groups() {
    const { data } = await directory.groups.list({
      customer: 'my_customer',
      fields: 'groups(id,email),nextPageToken',
    })
    const members = await directory.members.list({ groupKey: data.groups?.[0]?.id ?? '', maxResults: 3 })
    return {
      groups: data.groups?.length,
      members: data.groups?.map((group) => Object.keys(group).sort().join(' '))[0],
      first: members.data.members?.map(({ role }) => role),
    }
  },
  async devices() {
    const chrome = await directory.chromeosdevices.list({ customerId: 'my_customer', maxResults: 5 })
    const mobile = await directory.mobiledevices.list({ customerId: 'my_customer', maxResults: 5 })
    return [chrome.data.chromeosdevices?.length, mobile.data.mobiledevices?.length]
  },
  async organisation() {
    const [customer, domains, roles] = await Promise.all([
      directory.customers.get({ customerKey: 'my_customer' }),
      directory.domains.list({ customer: 'my_customer' }),
      directory.roles.list({ customer: 'my_customer' }),
    ])
    return {
      primary: customer.data.customerDomain,
      domains: domains.data.domains?.map(({ domainName }) => domainName),
      roles: roles.data.items?.length,
    }
  },
  everyUser: async () =>
    (await listUsers()).map(({ id, primaryEmail, suspended, etag }) => ({
      id,
      primaryEmail,
      suspended,
      etag,
    })),
  everyDeletedUser: async () =>
    (await listUsers({ showDeleted: 'true' })).map(({ id, deletionTime }) => ({ id, deletionTime })),
  everyGroup: async () =>
    (await listGroups()).map(({ id, name, directMembersCount }) => ({ id, name, directMembersCount })),
  async everyMember() {
    const members: Record<string, (string | null | undefined)[][]> = {}
    for (const { id } of await listGroups())
      members[id ?? ''] = (await listMembers(id ?? '')).map((member) => [member.type, member.id])
    return members
  },
  everyAssignment: () =>
    everything(async (token) => {
      const { data } = await directory.roleAssignments.list({ customer, maxResults: 2, ...from(token) })
      return {
        items: data.items?.map(({ assignedTo, assigneeType, roleId }) => [assigneeType, assignedTo, roleId]),
        next: data.nextPageToken,
      }
    }),
  everyLogEntry: () =>
    everything(async (token) => {
      const { data } = await reports.activities.list({ ...groupLog, maxResults: 2, ...from(token) })
      return {
        items: data.items?.map(({ events }) => [events?.[0]?.name, events?.[0]?.parameters?.[0]?.value]),
        next: data.nextPageToken,
      }
    }),
  brokenPage: () => directory.users.list({ customer, pageToken: 'broken' }),
  deletedUsersElsewhere: () => directory.users.list({ domain: 'initech.com', showDeleted: 'true' }),
  membersOfNoGroup: () => directory.members.list({ groupKey: 'nobody@example.com' }),
  groupsOfNobody: () => directory.groups.list({ userKey: 'nobody@example.com' }),
  assignmentsElsewhere: () => directory.roleAssignments.list({ customer: 'C0000000' }),
  logOfTomorrow: () => reports.activities.list({ ...groupLog, startTime: '2999-01-01T00:00:00.000Z' }),
  missingUser: () => directory.users.get({ userKey: 'nobody@example.com' }),
  foreignDomain: () => directory.users.list({ domain: 'initech.com' }),
}

const results: Record<string, unknown> = {}
for (const name of task.calls) {
  try {
    results[name] = { ok: await calls[name]?.() }
  } catch (error) {
    const { status, code, message, response } = error as {
      status?: unknown
      code?: unknown
      message?: unknown
      response?: { data?: unknown }
    }
    results[name] = { status, code: String(code), message, data: response?.data }
  }
}
process.stdout.write(JSON.stringify(results))
