/** The service accounts that the sandbox knows, each with its key file and with what is wrong about it. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { RsaKeys } from '../keys.ts'
import type { Privilege } from './organisation.ts'

export const scopePrefix = 'https://www.googleapis.com/auth/'

const required = [
  'admin.directory.user.readonly',
  'admin.directory.group.readonly',
  'admin.directory.group.member.readonly',
]
const everything = [
  ...required,
  'admin.directory.domain.readonly',
  'admin.directory.customer.readonly',
  'admin.directory.rolemanagement.readonly',
  'admin.directory.device.chromeos.readonly',
  'admin.directory.device.mobile.readonly',
  'admin.reports.audit.readonly',
]

/** Scopes that exist; others are not OAuth scopes at all. */
export const knownScopes: ReadonlySet<string> = new Set(
  [...everything, 'admin.directory.orgunit.readonly', 'admin.directory.user.security', 'cloud-platform']
    .flatMap((scope) => (scope.includes('reports') ? [scope] : [scope, scope.replace(/\.readonly$/, '')]))
    .map((scope) => `${scopePrefix}${scope}`),
)

/** A key file as Google issues it. */
export interface ServiceAccountKeyFile {
  readonly type: 'service_account'
  readonly project_id: string
  readonly private_key_id: string
  readonly private_key: string
  readonly client_email: string
  readonly client_id: string
  readonly auth_uri: string
  readonly token_uri: string
  readonly auth_provider_x509_cert_url: string
  readonly client_x509_cert_url: string
  readonly universe_domain: string
}

export interface RegisteredAccount {
  readonly email: string
  readonly keyId: string
  readonly publicKey: KeyObject
  readonly isDisabled: boolean
  readonly isBlockedByPolicy: boolean
  /** Scopes delegated to it in the sandbox's organisation. */
  readonly delegated: ReadonlySet<string>
  readonly projectNumber: string
  readonly isAdminSdkEnabled: boolean
  /** What it may read in its own name, by an administrator role of its own. */
  readonly privileges: readonly Privilege[]
}

interface Scenario {
  readonly delegated: readonly string[]
  readonly project?: string
  readonly isDisabled?: boolean
  readonly isDeleted?: boolean
  readonly isBlockedByPolicy?: boolean
  readonly privileges?: readonly Privilege[]
  /** The key file holds another key than the one that is registered. */
  readonly hasForeignKey?: boolean
}

const scenarios = {
  /** Everything delegated, everything on. */
  good: { delegated: everything },
  /** The same account with a key that was deleted in the meantime. */
  deletedKey: { delegated: everything, hasForeignKey: true },
  disabled: { delegated: everything, isDisabled: true },
  deletedAccount: { delegated: everything, isDeleted: true },
  blockedByPolicy: { delegated: everything, isBlockedByPolicy: true },
  notDelegated: { delegated: [] },
  withoutGroups: { delegated: everything.filter((scope) => scope !== 'admin.directory.group.readonly') },
  /** Nothing that is optional: the domain is proved by its users. */
  requiredOnly: { delegated: required },
  /** Without the log of groups. */
  withoutReports: { delegated: everything.filter((scope) => scope !== 'admin.reports.audit.readonly') },
  /** The domain is proved by the organisation's primary one. */
  withCustomer: { delegated: [...required, 'admin.directory.customer.readonly'] },
  /** No delegation, but an administrator role of its own. */
  withRole: { delegated: [], privileges: ['users', 'groups'] },
  /** Its project has the Admin SDK API switched off. */
  apiDisabled: { delegated: everything, project: 'directory-sync-off' },
} satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof scenarios

const digits = (text: string, length: number) =>
  (BigInt(`0x${createHash('sha256').update(text).digest('hex')}`) % 10n ** BigInt(length - 1))
    .toString()
    .padStart(length - 1, '0')
    .replace(/^/, '1')

export async function createAccounts(keys: RsaKeys): Promise<{
  readonly keyFiles: Readonly<Record<ScenarioName, ServiceAccountKeyFile>>
  find(email: string): RegisteredAccount | undefined
}> {
  // The scenarios share one key, but for the account that works: each takes a noticeable time to make.
  const [good, other, foreign] = await Promise.all([
    keys('google-good'),
    keys('google-scenarios'),
    keys('google-foreign'),
  ])
  const registered = new Map<string, RegisteredAccount>()
  const keyFiles = Object.entries<Scenario>(scenarios).map(([name, scenario]) => {
    const project = scenario.project ?? 'directory-sync'
    const slug = scenario.hasForeignKey ? 'good' : name
    const email = `${slug.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}@${project}.iam.gserviceaccount.com`
    const ownKey = slug === 'good' ? good : other
    const keyId = createHash('sha256').update(`${email} key`).digest('hex').slice(0, 40)
    if (!scenario.isDeleted && !scenario.hasForeignKey) {
      registered.set(email, {
        email,
        keyId,
        publicKey: createPublicKey(ownKey),
        isDisabled: scenario.isDisabled ?? false,
        isBlockedByPolicy: scenario.isBlockedByPolicy ?? false,
        delegated: new Set(scenario.delegated.map((scope) => `${scopePrefix}${scope}`)),
        projectNumber: digits(project, 12),
        isAdminSdkEnabled: scenario.project === undefined,
        privileges: scenario.privileges ?? [],
      })
    }
    const file: ServiceAccountKeyFile = {
      type: 'service_account',
      project_id: project,
      private_key_id: keyId,
      private_key: (scenario.hasForeignKey ? foreign : ownKey)
        .export({ type: 'pkcs8', format: 'pem' })
        .toString(),
      client_email: email,
      client_id: digits(email, 21),
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: 'https://oauth2.googleapis.com/token',
      auth_provider_x509_cert_url: 'https://www.googleapis.com/oauth2/v1/certs',
      client_x509_cert_url: `https://www.googleapis.com/robot/v1/metadata/x509/${encodeURIComponent(email)}`,
      universe_domain: 'googleapis.com',
    }
    return [name, file] as const
  })
  return {
    keyFiles: Object.fromEntries(keyFiles) as Record<ScenarioName, ServiceAccountKeyFile>,
    find: (email) => registered.get(email),
  }
}
