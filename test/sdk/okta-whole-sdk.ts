/** Lists a whole organisation with Okta's own SDK, in a process of its own that trusts the sandbox's authority; prints it as JSON. */
import okta from '@okta/okta-sdk-nodejs'

interface Instructions {
  readonly orgUrl: string
  readonly token: string
  readonly since: string
  readonly until: string
}

const { orgUrl, token, since, until }: Instructions = JSON.parse(process.argv[2] ?? '{}')
const client = new okta.Client({ orgUrl, token })

async function all<T, R>(list: AsyncIterable<T | null>, of: (item: T) => R): Promise<R[]> {
  const found: R[] = []
  for await (const item of list) if (item !== null) found.push(of(item))
  return found
}

const everybody = 'lastUpdated ge "1970-01-01T00:00:00.000Z"'
const users = await all(
  await client.userApi.listUsers({ filter: everybody, limit: 200 }),
  ({ id, status, profile }) => ({ id, status, login: profile?.login, title: profile?.title }),
)
const groups = await all(await client.groupApi.listGroups({ limit: 20 }), ({ id, profile, type }) => ({
  id: String(id),
  name: (profile as { name?: string } | undefined)?.name,
  type,
}))
const memberships: string[] = []
for (const { id: groupId } of groups)
  memberships.push(
    ...(await all(await client.groupApi.listGroupUsers({ groupId }), ({ id }) => `${groupId} ${id}`)),
  )
const devices = await all(await client.deviceApi.listDevices({ limit: 20 }), ({ id, profile }) => ({
  id,
  name: profile?.displayName,
}))
const changed = await all(
  await client.userApi.listUsers({ filter: `lastUpdated gt "${since}"` }),
  ({ id }) => id,
)
const events = await all(
  await client.systemLogApi.listLogEvents({ since, until, limit: 5 }),
  ({ eventType, target }) => ({ eventType, targets: target?.map(({ id }) => id) ?? [] }),
)
process.stdout.write(JSON.stringify({ users, groups, memberships, devices, changed, events }))
