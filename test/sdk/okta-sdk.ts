/** Runs Okta's own SDK in a process of its own, which trusts the sandbox's authority; prints what it got as JSON. */
import okta from '@okta/okta-sdk-nodejs'

interface Instructions {
  readonly orgUrl: string
  readonly token?: string
  readonly clientId?: string
  readonly privateKey?: string
  readonly keyId?: string
  readonly scopes?: string[]
}

const instructions: Instructions = JSON.parse(process.argv[2] ?? '{}')
const client = new okta.Client(
  instructions.token === undefined ? { ...instructions, authorizationMode: 'PrivateKey' } : instructions,
)

/** The result of one call, or how the SDK reports its failure. */
async function outcomeOf<T>(call: () => Promise<T>) {
  try {
    return { result: await call() }
  } catch (error) {
    const { status, errorCode, message, headers } = error as {
      readonly status?: number
      readonly errorCode?: string
      readonly message: string
      readonly headers?: { get(name: string): string | null }
    }
    return {
      failure: { status, errorCode, message, challenge: headers?.get('www-authenticate') ?? undefined },
    }
  }
}

async function idsOf(
  list: AsyncIterable<{ id?: string } | null>,
  most: number,
): Promise<(string | undefined)[]> {
  const ids: (string | undefined)[] = []
  for await (const item of list) {
    if (item === null) break
    ids.push(item.id)
    if (ids.length >= most) break
  }
  return ids
}

const outcomes = {
  // Three pages of ten.
  users: await outcomeOf(async () => idsOf(await client.userApi.listUsers({ limit: 10 }), 30)),
  groups: await outcomeOf(async () => idsOf(await client.groupApi.listGroups({ limit: 10 }), 12)),
  user: await outcomeOf(async () => {
    const [first] = await idsOf(await client.userApi.listUsers({ limit: 1 }), 1)
    const { id, status, profile } = await client.userApi.getUser({ userId: String(first) })
    return { isFirst: id === first, status, hasLogin: typeof profile?.login === 'string' }
  }),
  factors: await outcomeOf(async () => {
    const types: (readonly unknown[])[] = []
    for (const userId of await idsOf(await client.userApi.listUsers({ limit: 5 }), 5)) {
      const factors = await client.userFactorApi.listFactors({ userId: String(userId) })
      const ofUser: unknown[] = []
      await factors.each((factor: { factorType?: unknown; status?: unknown } | null) => {
        ofUser.push(`${factor?.status} ${factor?.factorType}`)
      })
      types.push(ofUser)
    }
    return types
  }),
  members: await outcomeOf(async () => {
    const [first] = await idsOf(await client.groupApi.listGroups({ limit: 1 }), 1)
    return idsOf(await client.groupApi.listGroupUsers({ groupId: String(first), limit: 10 }), 15)
  }),
  devices: await outcomeOf(async () => idsOf(await client.deviceApi.listDevices({ limit: 5 }), 7)),
  missing: await outcomeOf(async () => client.groupApi.getGroup({ groupId: 'none' })),
  roles: await outcomeOf(async () => client.roleAssignmentApi.listUsersWithRoleAssignments({ limit: 1 })),
}
process.stdout.write(JSON.stringify(outcomes))
