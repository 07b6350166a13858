/** Who may call the sandbox's API, and how much of the organisation they see. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { RsaKeys } from '../keys.ts'

/** Standard roles, as far as the sandbox tells them apart; `none` is an app to which no role was assigned. */
export type Role = 'SUPER_ADMIN' | 'READ_ONLY_ADMIN' | 'GROUP_MEMBERSHIP_ADMIN' | 'none'

export interface ApiTokenRecord {
  /** Metadata id, `00T…`. */
  readonly id: string
  readonly name: string
  readonly value: string
  readonly role: Role
  /** Index of the person who made it. */
  readonly ownerIndex: number
  readonly state: 'alive' | 'revoked' | 'expired' | 'owner_deactivated'
}

export interface ServiceApp {
  readonly clientId: string
  readonly label: string
  readonly role: Role
  readonly grantedScopes: readonly string[]
  readonly requiresDpop: boolean
  readonly type: 'service' | 'web'
  readonly authentication: 'private_key_jwt' | 'client_secret_basic'
  readonly state: 'active' | 'deactivated' | 'outside_zone'
  readonly keyId: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** What a customer holds of a service app. */
export interface ServiceAppCredentials {
  readonly clientId: string
  /** PKCS#8 PEM. */
  readonly privateKey: string
  readonly keyId: string
}

export const readScopes = [
  'okta.users.read',
  'okta.groups.read',
  'okta.roles.read',
  'okta.devices.read',
  'okta.apps.read',
  'okta.orgs.read',
  'okta.logs.read',
] as const

/** Scopes that exist in an organisation; asking for any other is refused. */
export const knownScopes: ReadonlySet<string> = new Set([
  ...readScopes,
  'okta.apiTokens.read',
  'okta.users.manage',
  'okta.groups.manage',
  'okta.apps.manage',
])

export const tokenNames = [
  'readOnly',
  'superAdmin',
  'groupAdmin',
  'revoked',
  'expired',
  'ownerDeactivated',
] as const
export type TokenName = (typeof tokenNames)[number]

export const appNames = [
  'plain',
  'dpop',
  'superAdmin',
  'withoutRole',
  'withoutGroupsScope',
  'withoutLogsScope',
  'requiredScopesOnly',
  'withoutScopes',
  'clientSecret',
  'web',
  'deactivated',
  'outsideZone',
] as const
export type AppName = (typeof appNames)[number]

const roleOfToken: Partial<Record<TokenName, Role>> = {
  superAdmin: 'SUPER_ADMIN',
  groupAdmin: 'GROUP_MEMBERSHIP_ADMIN',
}

const stateOfToken: Partial<Record<TokenName, ApiTokenRecord['state']>> = {
  revoked: 'revoked',
  expired: 'expired',
  ownerDeactivated: 'owner_deactivated',
}

/** Each made by a person of their own, so that the metadata of a token is told by its owner. */
export function createTokens(seed: string, userCount: number): Readonly<Record<TokenName, ApiTokenRecord>> {
  const entries = tokenNames.map((name, index): [TokenName, ApiTokenRecord] => [
    name,
    {
      id: oktaId('00T', seed, `token ${name}`),
      name: `Sandbox ${name}`,
      // The form of real ones: 42 characters that begin with 00.
      value: `00${digest(seed, `token value ${name}`).toString('base64url').slice(0, 40)}`,
      role: roleOfToken[name] ?? 'READ_ONLY_ADMIN',
      ownerIndex: index % userCount,
      state: stateOfToken[name] ?? 'alive',
    },
  ])
  return Object.fromEntries(entries) as Record<TokenName, ApiTokenRecord>
}

const plainApp = {
  role: 'READ_ONLY_ADMIN',
  grantedScopes: readScopes,
  requiresDpop: false,
  type: 'service',
  authentication: 'private_key_jwt',
  state: 'active',
} as const

const differences: Record<AppName, Partial<ServiceApp>> = {
  plain: {},
  dpop: { requiresDpop: true },
  superAdmin: { role: 'SUPER_ADMIN' },
  withoutRole: { role: 'none' },
  withoutGroupsScope: { grantedScopes: readScopes.filter((scope) => scope !== 'okta.groups.read') },
  withoutLogsScope: { grantedScopes: readScopes.filter((scope) => scope !== 'okta.logs.read') },
  requiredScopesOnly: { grantedScopes: ['okta.users.read', 'okta.groups.read'] },
  withoutScopes: { grantedScopes: [] },
  clientSecret: { authentication: 'client_secret_basic' },
  web: { type: 'web' },
  deactivated: { state: 'deactivated' },
  outsideZone: { state: 'outside_zone' },
}

export async function createApps(
  seed: string,
  keys: RsaKeys,
): Promise<Readonly<Record<AppName, ServiceApp>>> {
  // Two pairs are enough: an app with the other's key is the wrong key of every test.
  const entries = await Promise.all(
    appNames.map(async (name): Promise<[AppName, ServiceApp]> => {
      const privateKey = await keys(name === 'dpop' ? 'okta-dpop' : 'okta')
      return [
        name,
        {
          ...plainApp,
          ...differences[name],
          clientId: oktaId('0oa', seed, `app ${name}`),
          label: `Sandbox ${name}`,
          keyId: digest(seed, `key ${name}`).toString('base64url').slice(0, 22),
          privateKey,
          publicKey: createPublicKey(privateKey),
        },
      ]
    }),
  )
  return Object.fromEntries(entries) as Record<AppName, ServiceApp>
}

export const credentialsOf = ({ clientId, privateKey, keyId }: ServiceApp): ServiceAppCredentials => ({
  clientId,
  privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  keyId,
})

/** An id of Okta's form: a prefix of three characters for the kind, and 17 letters and digits. */
export const oktaId = (prefix: string, seed: string, what: string) =>
  `${prefix}${digest(seed, what).toString('hex').slice(0, 17)}`

const digest = (seed: string, what: string) => createHash('sha256').update(`okta\0${seed}\0${what}`).digest()
