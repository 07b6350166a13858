/** What the doctor looks at: each finding says what was found, and what to do where it is not well. */
import { constants } from 'node:fs'
import { access, readFile, stat, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Config, ConfigError, readConfig, readDatabaseUrl, readVaultKeySettings } from '../config.ts'
import { reach } from '../outbound/reach.ts'
import { type AnySource, createSources } from '../sources/registry.ts'
import { connect, type Database } from '../store/database.ts'
import { embeddedProcess, hasEmbeddedDatabase, type Inspection, inspect } from '../store/inspection.ts'
import { vaultKeyFaults } from '../store/vault-keys.ts'
import { loadVaultKeys, VaultKeysError } from '../vault/keys.ts'
import { createVault, type Vault } from '../vault/vault.ts'
import { describeFailure } from './data-dir.ts'
import { CommandError } from './exit-codes.ts'
import { describeStoreFailure } from './store-failure.ts'

export interface Finding {
  /** Lower snake case, never renamed. */
  readonly id: string
  readonly title: string
  /** A warning holds nothing back; `skipped` was not looked at, for a reason that another finding tells. */
  readonly status: 'passed' | 'warning' | 'failed' | 'unknown' | 'skipped'
  readonly detail: string
  readonly remedy?: string
}

type Found = Omit<Finding, 'id' | 'title'>

const passed = (detail: string): Found => ({ status: 'passed', detail })
const warning = (detail: string, remedy: string): Found => ({ status: 'warning', detail, remedy })
const failed = (detail: string, remedy: string): Found => ({ status: 'failed', detail, remedy })
const unknown = (detail: string, remedy: string): Found => ({ status: 'unknown', detail, remedy })
const skipped = (detail: string): Found => ({ status: 'skipped', detail })

export interface DoctorOptions {
  readonly dataDir: string
  /** Asks no provider. */
  readonly offline: boolean
}

export async function examineHost({ dataDir, offline }: DoctorOptions): Promise<Finding[]> {
  const settings = settingsFound()
  const url = readDatabaseUrl()
  const [vault, vaultFound] = await vaultConfigured()
  const aboutHost: Finding[] = [
    { id: 'settings', title: 'Settings', ...settings.found },
    { id: 'endpoints', title: 'Stand-ins', ...endpointsFound(settings.config) },
    { id: 'data_directory', title: 'Data directory', ...(await dataDirectoryFound(dataDir)) },
    { id: 'disk', title: 'Disk', ...(await diskFound(dataDir)) },
    { id: 'descriptors', title: 'Open files', ...(await descriptorsFound()) },
    { id: 'vault_key', title: 'Vault key', ...vaultFound },
  ]
  const [aboutDatabase, domains] = await databaseFindings(dataDir, url, vault)
  const aboutProviders = await providerFindings(settings.config, domains, offline)
  return [...aboutHost, ...aboutDatabase, ...aboutProviders]
}

function settingsFound(): { readonly config: Config | undefined; readonly found: Found } {
  try {
    return { config: readConfig(), found: passed('understood') }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return {
      config: undefined,
      found: failed(error.message, 'Correct the variable; no server starts with it.'),
    }
  }
}

function endpointsFound(config: Config | undefined): Found {
  if (config === undefined) return skipped('the settings are not understood')
  const hosts = [...config.endpoints.keys()]
  return hosts.length === 0
    ? passed('none: providers answer for themselves')
    : warning(
        `this machine answers in place of ${hosts.join(', ')}`,
        'Unset CREDENCE_ENDPOINTS where real credentials are to be proved.',
      )
}

async function dataDirectoryFound(dataDir: string): Promise<Found> {
  try {
    const { mode } = await stat(dataDir)
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
    return (mode & 0o066) === 0
      ? passed(resolve(dataDir))
      : warning(`others may read or write ${resolve(dataDir)}`, `Run chmod go-rw on it.`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      return passed(`${resolve(dataDir)} is not there yet; what needs it makes it`)
    const told = describeFailure(error, dataDir)
    if (!(told instanceof CommandError)) throw error
    return failed(told.message, 'Start as the user it belongs to, or name another one with --data-dir.')
  }
}

const mebibyte = 1024 * 1024
/** PostgreSQL stops when its log cannot grow; a segment of it is 16 MiB. */
const leastDiskMebibytes = 256
const littleDiskMebibytes = 2_048

async function diskFound(dataDir: string): Promise<Found> {
  const { bavail, bsize, files, ffree } = await statfs(await nearestFolder(resolve(dataDir)))
  const free = Math.floor((bavail * bsize) / mebibyte)
  const detail = `${free} MiB are free`
  const remedy = 'Make room, or move the data directory to a larger disk while no server runs.'
  // Some file systems count no files.
  if (files > 0 && ffree === 0) return failed('the disk has no room for another file', remedy)
  if (free < leastDiskMebibytes) return failed(detail, remedy)
  return free < littleDiskMebibytes ? warning(detail, remedy) : passed(detail)
}

async function nearestFolder(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  )
  return isThere || dirname(folder) === folder ? folder : nearestFolder(dirname(folder))
}

/** A validation opens up to 16 sockets for each host, a caller one. */
const leastDescriptors = 1_024
const fewDescriptors = 4_096

async function descriptorsFound(): Promise<Found> {
  // Node has raised the soft limit to the hard one by now, as it does in every server.
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => undefined)
  const text = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? '')?.[1]
  if (text === undefined) return skipped('this system does not say how many are allowed')
  const remedy = `Raise the limit: ulimit -n, or LimitNOFILE= of the service, to ${fewDescriptors} or more.`
  const limit = text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
  if (limit < leastDescriptors) return failed(`${text} are allowed`, remedy)
  return limit < fewDescriptors ? warning(`${text} are allowed`, remedy) : passed(`${text} are allowed`)
}

async function vaultConfigured(): Promise<readonly [Vault | undefined, Found]> {
  try {
    const vault = createVault(await loadVaultKeys(readVaultKeySettings()))
    const [first, ...others] = vault.keyIds
    return [vault, passed(`${first} seals${others.length === 0 ? '' : `, ${others.join(', ')} open`}`)]
  } catch (error) {
    if (!(error instanceof VaultKeysError)) throw error
    return [undefined, failed(error.message, 'No server starts without it.')]
  }
}

const databaseTitles = {
  database: 'Database',
  database_version: 'Version of the database',
  schema: 'Tables',
  vault_keys_in_use: 'Keys of stored secrets',
  clock: 'Clock',
  processes: 'Left-over processes',
  queue: 'Queue',
} as const
type DatabaseFindings = Readonly<Record<keyof typeof databaseTitles, Found>>

/** Domains of enabled configurations, by integration type. */
type Domains = ReadonlyMap<string, readonly string[]>

async function databaseFindings(
  dataDir: string,
  url: string | undefined,
  vault: Vault | undefined,
): Promise<readonly [Finding[], Domains]> {
  const [findings, domains] = await examineDatabase(dataDir, url, vault)
  const listed = Object.entries(databaseTitles).map(([id, title]) => ({
    id,
    title,
    ...findings[id as keyof DatabaseFindings],
  }))
  return [listed, domains]
}

const nothingSeen = (database: Found): DatabaseFindings => {
  const rest = skipped('the database was not opened')
  return {
    database,
    database_version: rest,
    schema: rest,
    vault_keys_in_use: rest,
    clock: rest,
    processes: rest,
    queue: rest,
  }
}

async function examineDatabase(
  dataDir: string,
  url: string | undefined,
  vault: Vault | undefined,
): Promise<readonly [DatabaseFindings, Domains]> {
  if (url === undefined && !hasEmbeddedDatabase(dataDir))
    return [nothingSeen(passed('there is none yet; the first start of a server makes it')), new Map()]
  try {
    const before = url === undefined ? await embeddedProcess(dataDir) : undefined
    const database = await connect({ dataDirectory: dataDir, poolSize: 1, ...(url !== undefined && { url }) })
    try {
      const seen = await inspect(database)
      const hasTables = seen.missingMigrations.length === 0
      return [
        {
          database: passed(
            database.kind === 'external' ? 'that of DATABASE_URL answers' : 'the embedded one answers',
          ),
          database_version: versionFound(seen),
          schema: schemaFound(seen),
          vault_keys_in_use: hasTables
            ? await keysFound(database, vault)
            : skipped('the tables are not made yet'),
          clock: clockFound(seen),
          processes: processesFound(seen, before),
          queue: queueFound(seen),
        },
        hasTables ? await domainsIn(database) : new Map(),
      ]
    } finally {
      await database.close()
    }
  } catch (error) {
    const told = describeStoreFailure(error) ?? describeFailure(error, dataDir)
    if (!(told instanceof CommandError)) throw error
    const remedy =
      url === undefined
        ? `See ${resolve(dataDir, 'postgres', 'postgres.log')}.`
        : 'Check DATABASE_URL, and that the database runs and takes connections from here.'
    return [nothingSeen(failed(told.message, remedy)), new Map()]
  }
}

/** Tested with these major versions. */
const oldestMajor = 15
const newestMajor = 18

function versionFound({ versionNumber, version }: Inspection): Found {
  const major = Math.floor(versionNumber / 10_000)
  if (major < oldestMajor)
    return failed(`PostgreSQL ${version}`, `Upgrade it to ${oldestMajor} to ${newestMajor}.`)
  return major > newestMajor
    ? warning(`PostgreSQL ${version}`, `This release was tested with ${oldestMajor} to ${newestMajor}.`)
    : passed(`PostgreSQL ${version}`)
}

function schemaFound({ missingMigrations, unknownMigrations }: Inspection): Found {
  if (unknownMigrations.length > 0) {
    return failed(
      `they are of a newer release: ${unknownMigrations.join(', ')}`,
      'Start the newer release, or restore a backup that was made with this one.',
    )
  }
  return missingMigrations.length === 0
    ? passed('those of this release')
    : warning(
        `to be made: ${missingMigrations.join(', ')}`,
        'The next start of a server makes them; take a backup before.',
      )
}

async function keysFound({ query }: Database, vault: Vault | undefined): Promise<Found> {
  if (vault === undefined) return skipped('no vault key is configured')
  const faults = await vaultKeyFaults(query, vault)
  return faults.length === 0
    ? passed('all stored secrets are sealed with configured keys')
    : failed(
        faults.join('; '),
        'Configure the keys that the database was used with; see credence rotate-key --help.',
      )
}

/** Beyond this, tokens are refused as not yet or no longer valid, in milliseconds. */
const clockToleranceMs = 30_000
const noticeableMs = 5_000

function clockFound({ clockAheadMs }: Inspection): Found {
  const seconds = Math.abs(clockAheadMs / 1_000).toFixed(1)
  const detail = `the database's clock is ${seconds} s ${clockAheadMs < 0 ? 'behind' : 'ahead of'} this machine's`
  const remedy = 'Set both by the same time service (NTP): providers refuse what a wrong clock signs.'
  if (Math.abs(clockAheadMs) > clockToleranceMs) return failed(detail, remedy)
  return Math.abs(clockAheadMs) > noticeableMs ? warning(detail, remedy) : passed('as the database has it')
}

function processesFound({ otherSessions }: Inspection, before: number | undefined): Found {
  const count = `${otherSessions} ${otherSessions === 1 ? 'session' : 'sessions'} of other processes`
  if (before === undefined || otherSessions > 0)
    return passed(otherSessions === 0 ? 'none' : `none; ${count}`)
  return warning(
    `the embedded database (process ${before}) runs, but no server uses it: a process of ours was killed`,
    'Nothing was lost. It ends with this command; the next server starts its own.',
  )
}

/** Jobs are taken within seconds. */
const longWaitSeconds = 120
const neglectSeconds = 900

function queueFound({ queue }: Inspection): Found {
  if (queue === undefined) return passed('not set up yet; the first start of a server does it')
  const { waiting, oldestSeconds } = queue
  const detail = `${waiting} waiting, the oldest for ${oldestSeconds} s`
  const remedy =
    'Is a server running? If several are, they are too few or held up by providers; their logs say.'
  if (oldestSeconds > neglectSeconds) return failed(detail, remedy)
  return oldestSeconds > longWaitSeconds ? warning(detail, remedy) : passed(detail)
}

async function domainsIn({ query }: Database): Promise<Domains> {
  const rows = await query
    .selectFrom('integration_configs')
    .select(['integration_type', 'domain'])
    .distinct()
    .where('enabled', '=', true)
    .orderBy('domain')
    .limit(1_000)
    .execute()
  return new Map(
    [...Map.groupBy(rows, ({ integration_type }) => integration_type)].map(([type, found]) => [
      type,
      found.map(({ domain }) => domain),
    ]),
  )
}

const reachTimeoutMs = 5_000
/** Of a source whose hosts differ by customer, no more are tried. */
const maxHosts = 8

async function providerFindings(
  config: Config | undefined,
  domains: Domains,
  offline: boolean,
): Promise<Finding[]> {
  const sources = createSources({ customDomains: config?.customDomains ?? [] })
  return Promise.all(
    sources.map(async (source) => ({
      id: `provider_${source.name.replaceAll('-', '_')}`,
      title: source.title,
      ...(offline
        ? skipped('as --offline says')
        : await providerFound(
            source,
            domains.get(source.integrationType) ?? [],
            config?.endpoints ?? new Map(),
          )),
    })),
  )
}

async function providerFound(
  source: AnySource,
  domains: readonly string[],
  endpoints: ReadonlyMap<string, URL>,
): Promise<Found> {
  const hosts = hostsOf(source, domains).slice(0, maxHosts)
  if (hosts.length === 0) return skipped("its hosts are the customers' own, and no configuration names one")
  const ends = await Promise.all(
    hosts.map(async (host) => ({ host, ...(await reach(host, { endpoints, timeoutMs: reachTimeoutMs })) })),
  )
  const lost = ends.flatMap(({ host, failure }) =>
    failure === undefined ? [] : [`${host} (${failure.code}, ${failure.network})`],
  )
  return lost.length === 0
    ? passed(`reached ${hosts.join(', ')}`)
    : unknown(
        `not reached: ${lost.join(', ')}`,
        'Check name service, firewall and proxy: this machine has to reach these hosts on port 443. NODE_EXTRA_CA_CERTS names the authority of a proxy that inspects traffic.',
      )
}

/** The hosts that a validation talks to: the same for all customers, or those of the domains that are stored. */
function hostsOf(source: AnySource, domains: readonly string[]): string[] {
  const example = source.domainField.example ?? 'example.com'
  const kind = source.credentialKinds.find(({ fields }) => fields.some(({ secret }) => secret))
  const secrets = (kind?.fields ?? []).filter(({ required }) => required)
  // Which hosts they are depends on the form of the credentials alone, so that any text will do.
  const reading = source.readCredentials(Object.fromEntries(secrets.map(({ name }) => [name, 'none'])))
  if (!reading.ok) return []
  const hosts = [example, ...domains].flatMap((domain) =>
    source
      .egress({ domain, credentials: reading.credentials })
      .flatMap((rule) => ('host' in rule && rule.chosenBy === 'provider' ? [rule.host] : [])),
  )
  return [...new Set(hosts)].filter((host) => host !== example || domains.includes(example))
}
