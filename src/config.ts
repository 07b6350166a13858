/** What the operator decides: the one reader of the environment and of the files it names. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { readEndpoints } from './outbound/endpoints.ts'
import { isHostName } from './outbound/host-name.ts'
import type { VaultKeySettings } from './vault/keys.ts'

/** A setting is not what it has to be. Names the variable and what was expected, never a value that may be secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Requests per calendar minute. */
export interface Limits {
  /** Validations of one key pair or token subject. */
  readonly validationsPerCaller: number
  /** Other requests of one key pair or token subject. */
  readonly requestsPerCaller: number
  /** Validations of one target: organisation, integration type and domain. */
  readonly validationsPerTarget: number
  /** Attempts with credentials that are not known to be valid, which reach a provider, per target and principal. */
  readonly unprovenAttempts: number
}

export const defaultLimits: Limits = {
  validationsPerCaller: 600,
  requestsPerCaller: 3_000,
  validationsPerTarget: 300,
  unprovenAttempts: 10,
}

/**
 * Signature algorithms a token may use: asymmetric ones alone, so that a public key can never serve as the
 * secret of an HMAC, and `none` never passes.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8725#section-3.1
 */
export const tokenAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

/** An authorization server whose access tokens are accepted as `Authorization: Bearer`. */
export interface OAuthIssuer {
  /** Exactly as in the token's `iss`. */
  readonly issuer: string
  /** One of these must be in the token's `aud`. */
  readonly audience: readonly string[]
  readonly algorithms: readonly string[]
  readonly keys:
    | { readonly jwksUri: URL }
    | { readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] } }
  /** Whose requests these are: one organisation by name or id, or the one that a claim of the token names. */
  readonly organization: { readonly name: string } | { readonly claim: string }
}

export interface Config {
  /** The operator's own PostgreSQL (DATABASE_URL); the embedded one in the data directory when undefined. Holds a password. */
  readonly databaseUrl: string | undefined
  readonly vaultKeys: VaultKeySettings
  /** Provider host → loopback origin (CREDENCE_ENDPOINTS); empty in production. */
  readonly endpoints: ReadonlyMap<string, URL>
  /** The operator's own credentials (CREDENCE_OPERATOR_FILE); see store/operator.ts. */
  readonly operatorFile: string | undefined
  /** Hosts outside a provider's own suffixes that customers may name (CREDENCE_CUSTOM_DOMAINS). */
  readonly customDomains: readonly string[]
  readonly oauthIssuers: readonly OAuthIssuer[]
  readonly logLevel: LogLevel
  readonly limits: Limits
  /** Between two validations of stored credentials (CREDENCE_REVALIDATE_HOURS), in milliseconds. */
  readonly revalidateEveryMs: number
  /** Validations of one source that may be under way at a time (CREDENCE_VALIDATIONS_AT_ONCE); further ones are answered 503, and of one organisation those beyond half of it. */
  readonly validationsAtOnce: number
  /** Syncs of one source that this node works on at a time (CREDENCE_SYNC_AT_ONCE); 0: it leaves them to other nodes. */
  readonly syncsAtOnce: number
  /** Names under which the server may be asked besides loopback ones (CREDENCE_ALLOWED_HOSTS); empty: any, unless it is bound to loopback. */
  readonly allowedHosts: readonly string[]
}

const hourMs = 3_600_000
const defaultRevalidateHours = 6
/** Okta ends API tokens that nobody used for 30 days. @see https://developer.okta.com/docs/guides/create-an-api-token/main/ */
const mostRevalidateHours = 720

/** The configuration of a server about which nothing was said. */
export const defaultConfig: Config = {
  databaseUrl: undefined,
  vaultKeys: {},
  endpoints: new Map(),
  operatorFile: undefined,
  customDomains: [],
  oauthIssuers: [],
  logLevel: 'info',
  limits: defaultLimits,
  revalidateEveryMs: defaultRevalidateHours * hourMs,
  validationsAtOnce: 500,
  syncsAtOnce: 2,
  allowedHosts: [],
}

type Environment = Readonly<Record<string, string | undefined>>

/** One variable, for the command line, whose credential variables are named by the sources. */
export const variable = (name: string, environment: Environment = process.env): string | undefined =>
  environment[name]

/** DATABASE_URL, for commands that need the database and nothing else. */
export const readDatabaseUrl = (environment: Environment = process.env): string | undefined =>
  environment.DATABASE_URL?.trim() || undefined

/** Where the vault keys are, for commands that need nothing else. */
export function readVaultKeySettings(environment: Environment = process.env): VaultKeySettings {
  const text = environment.CREDENCE_VAULT_KEY?.trim()
  const file = environment.CREDENCE_VAULT_KEY_FILE?.trim()
  const command = environment.CREDENCE_VAULT_KEY_COMMAND?.trim()
  return {
    ...(text && { text }),
    ...(file && { file }),
    ...(command && { command, environment: { PATH: environment.PATH, HOME: environment.HOME } }),
  }
}

/**
 * Reads the configuration.
 *
 * @throws ConfigError on the first setting that is not understood
 */
export function readConfig(environment: Environment = process.env): Config {
  const setting = (name: string) => {
    const value = environment[name]?.trim()
    return value === undefined || value === '' ? undefined : value
  }
  return {
    databaseUrl: readDatabaseUrl(environment),
    vaultKeys: readVaultKeySettings(environment),
    endpoints: fromFile('CREDENCE_ENDPOINTS', setting('CREDENCE_ENDPOINTS'), readEndpoints) ?? new Map(),
    operatorFile: setting('CREDENCE_OPERATOR_FILE'),
    customDomains: hostList('CREDENCE_CUSTOM_DOMAINS', setting('CREDENCE_CUSTOM_DOMAINS')),
    oauthIssuers:
      fromFile('CREDENCE_OAUTH_ISSUERS', setting('CREDENCE_OAUTH_ISSUERS'), readOAuthIssuers) ?? [],
    logLevel: oneOf('CREDENCE_LOG_LEVEL', setting('CREDENCE_LOG_LEVEL'), logLevels) ?? 'info',
    limits: {
      validationsPerCaller: limit('CREDENCE_LIMIT_VALIDATIONS', 'validationsPerCaller', setting),
      requestsPerCaller: limit('CREDENCE_LIMIT_REQUESTS', 'requestsPerCaller', setting),
      validationsPerTarget: limit('CREDENCE_LIMIT_TARGET', 'validationsPerTarget', setting),
      unprovenAttempts: limit('CREDENCE_LIMIT_ATTEMPTS', 'unprovenAttempts', setting),
    },
    revalidateEveryMs: hours('CREDENCE_REVALIDATE_HOURS', setting('CREDENCE_REVALIDATE_HOURS')) * hourMs,
    validationsAtOnce:
      wholeNumber('CREDENCE_VALIDATIONS_AT_ONCE', setting('CREDENCE_VALIDATIONS_AT_ONCE')) ??
      defaultConfig.validationsAtOnce,
    syncsAtOnce: syncsAtOnce(setting('CREDENCE_SYNC_AT_ONCE')),
    allowedHosts: hostList('CREDENCE_ALLOWED_HOSTS', setting('CREDENCE_ALLOWED_HOSTS')),
  }
}

function fromFile<T>(variable: string, path: string | undefined, read: (text: string) => T): T | undefined {
  if (path === undefined) return undefined
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(
      `${variable} must be the path of a readable file (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`,
    )
  }
  try {
    return read(text)
  } catch (error) {
    throw new ConfigError(`${variable}: ${error instanceof Error ? error.message : 'not understood'}`)
  }
}

function hostList(variable: string, value: string | undefined): string[] {
  const hosts = (value ?? '')
    .split(',')
    .map((host) => host.trim().toLowerCase())
    .filter((host) => host !== '')
  if (!hosts.every(isHostName))
    throw new ConfigError(
      `${variable} must be host names separated by commas, without scheme, port or path, such as login.example.com`,
    )
  return hosts
}

function oneOf<T extends string>(
  variable: string,
  value: string | undefined,
  allowed: readonly T[],
): T | undefined {
  if (value === undefined) return undefined
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw new ConfigError(`${variable} must be one of ${allowed.join(', ')}`)
  return found
}

function limit(variable: string, name: keyof Limits, setting: (name: string) => string | undefined): number {
  return wholeNumber(variable, setting(variable), ' of requests a minute') ?? defaultLimits[name]
}

function wholeNumber(variable: string, value: string | undefined, ofWhat = ''): number | undefined {
  if (value === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(value))
    throw new ConfigError(`${variable} must be a whole number${ofWhat} from 1 to 999999999`)
  return Number(value)
}

/** Each holds its own connections to the provider, and some of its pages in memory. */
const mostSyncsAtOnce = 64

function syncsAtOnce(value: string | undefined): number {
  if (value === undefined) return defaultConfig.syncsAtOnce
  const count = /^\d{1,2}$/.test(value) ? Number(value) : Number.NaN
  if (!(count <= mostSyncsAtOnce))
    throw new ConfigError(`CREDENCE_SYNC_AT_ONCE must be a whole number from 0 to ${mostSyncsAtOnce}`)
  return count
}

function hours(variable: string, value = String(defaultRevalidateHours)): number {
  const count = /^[1-9]\d{0,2}$/.test(value) ? Number(value) : Number.NaN
  if (!(count <= mostRevalidateHours))
    throw new ConfigError(`${variable} must be a whole number of hours from 1 to ${mostRevalidateHours}`)
  return count
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

const jwksUriSchema = z
  .string()
  .refine(
    (text) => {
      const url = URL.canParse(text) ? new URL(text) : undefined
      return url?.protocol === 'https:' || (url?.protocol === 'http:' && loopbackHosts.has(url.hostname))
    },
    { error: 'an https URL (http is accepted for loopback alone)' },
  )
  .transform((text) => new URL(text))

const nonEmpty = z.string().min(1)

const issuerSchema = z
  .strictObject({
    issuer: nonEmpty,
    audience: z.union([nonEmpty.transform((one) => [one]), z.array(nonEmpty).min(1)]),
    algorithms: z.array(z.enum(tokenAlgorithms)).min(1).optional(),
    jwks_uri: jwksUriSchema.optional(),
    jwks: z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1) }).optional(),
    organization: nonEmpty.optional(),
    organization_claim: nonEmpty.optional(),
  })
  .refine(({ jwks, jwks_uri }) => (jwks === undefined) !== (jwks_uri === undefined), {
    error: 'exactly one of jwks and jwks_uri',
  })
  .refine((issuer) => (issuer.organization === undefined) !== (issuer.organization_claim === undefined), {
    error: 'exactly one of organization and organization_claim',
  })

const issuersSchema = z
  .array(issuerSchema)
  .min(1)
  .refine((issuers) => new Set(issuers.map(({ issuer }) => issuer)).size === issuers.length, {
    error: 'each issuer once',
  })

/**
 * Issuers from a JSON list of `{"issuer", "audience", "jwks_uri" | "jwks", "organization" | "organization_claim",
 * "algorithms"}`.
 *
 * @throws ConfigError naming the member and what was expected
 */
export function readOAuthIssuers(text: string): OAuthIssuer[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ConfigError('the issuers are not JSON')
  }
  const issuers = issuersSchema.safeParse(value)
  if (!issuers.success) {
    const [issue] = issuers.error.issues
    throw new ConfigError(`${issue?.path.join('.') || 'the list'}: ${issue?.message}`)
  }
  return issuers.data.map(
    ({ issuer, audience, algorithms, jwks, jwks_uri, organization, organization_claim }) => ({
      issuer,
      audience,
      algorithms: algorithms ?? tokenAlgorithms,
      keys: jwks_uri === undefined ? { jwks: jwks ?? { keys: [] } } : { jwksUri: jwks_uri },
      organization:
        organization_claim === undefined ? { name: organization ?? '' } : { claim: organization_claim },
    }),
  )
}
