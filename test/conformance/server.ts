/** A running server with the provider sandboxes behind it, and keys of every kind. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { type Fault, startSandbox } from '../../sandbox/index.ts'
import { createOrganisation, type Organisation } from '../../sandbox/organisation.ts'
import { demoOrganization, writeOperatorFile } from '../../src/cli/demo-folder.ts'
import { defaultConfig, type Limits } from '../../src/config.ts'
import { createOutbound } from '../../src/outbound/outbound.ts'
import { startService } from '../../src/service.ts'
import { createAccessToken, createKey } from '../../src/store/keys.ts'
import type { Permission } from '../../src/store/permissions.ts'
import { generateVaultKey } from '../../src/vault/keys.ts'
import { freshDatabaseUrl } from '../fresh-database.ts'
import { administer } from '../postgres-server.ts'

export interface KeyPair {
  readonly apiKey: string
  readonly applicationKey: string
}

export interface ConformanceServer<Name extends string> {
  readonly origin: string
  readonly organisation: Organisation
  /** Each with limits of its own, as limits count per key pair. */
  readonly keyPairs: Readonly<Record<Name, KeyPair>>
  /** Works in place of both keys, and permits `integrations_read`. */
  readonly serviceAccessToken: string
  setFaults(faults: readonly Fault[]): void
  /** Puts the database's clock, by which limits count, forward to this second of a minute. */
  setSecond(second: number): Promise<void>
  /** A token of the OAuth issuer that the server trusts. */
  oauthToken(scope: string): Promise<string>
  close(): Promise<void>
}

const issuer = 'https://login.example.com/'
const audience = 'https://credence.example.com/'

export async function startConformanceServer<Name extends string>(options: {
  readonly keyPairs: Readonly<Record<Name, readonly Permission[]>>
  readonly limits?: Partial<Limits>
}): Promise<ConformanceServer<Name>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'credence-conformance-'))
  const organisation = await createOrganisation({ users: 30, groups: 4, seed: 'conformance' })
  const sandbox = await startSandbox({
    providers: organisation.providers,
    directory: join(dataDir, 'sandbox'),
  })
  const endpoints = new Map(
    Object.entries(sandbox.endpoints).map(([host, origin]) => [host, new URL(origin)]),
  )
  const signing = await generateKeyPair('ES256')
  const ends: (() => unknown)[] = []
  const databaseUrl = await freshDatabaseUrl({ after: (end) => ends.push(end) })
  const setSecond = await putClock(databaseUrl)
  const service = await startService({
    dataDir,
    config: {
      ...defaultConfig,
      databaseUrl,
      logLevel: 'silent',
      syncsAtOnce: 0,
      vaultKeys: { text: generateVaultKey() },
      endpoints,
      operatorFile: await writeOperatorFile(dataDir, organisation),
      limits: { ...defaultConfig.limits, ...options.limits },
      oauthIssuers: [
        {
          issuer,
          audience: [audience],
          algorithms: ['ES256'],
          keys: { jwks: { keys: [{ ...(await exportJWK(signing.publicKey)) }] } },
          organization: { name: demoOrganization },
        },
      ],
    },
    outbound: createOutbound({ endpoints, endpointAuthorities: [sandbox.authority ?? ''] }),
  })
  const inOrganization = { database: service.database, organization: demoOrganization }
  const keyPairs: Partial<Record<Name, KeyPair>> = {}
  for (const name of Object.keys(options.keyPairs) as Name[]) {
    const made = await createKey({ ...inOrganization, permissions: options.keyPairs[name] })
    keyPairs[name] = { apiKey: made.api_key, applicationKey: made.application_key }
  }
  const { access_token: serviceAccessToken } = await createAccessToken({
    ...inOrganization,
    permissions: ['integrations_read'],
    kind: 'service_access_token',
  })
  return {
    origin: service.url,
    organisation,
    keyPairs: keyPairs as Record<Name, KeyPair>,
    serviceAccessToken,
    setFaults: sandbox.setFaults,
    setSecond,
    oauthToken: (scope) =>
      new SignJWT({ scope })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject('conformance-client')
        .setIssuedAt()
        .setExpirationTime('5 minutes')
        .sign(signing.privateKey),
    async close() {
      await service.close()
      for (const end of ends) await end()
      await sandbox.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Gives a database a `clock_timestamp()` of its own, for sessions that begin from now on. */
async function putClock(url: string): Promise<(second: number) => Promise<void>> {
  const clock = (aheadSeconds: number) =>
    administer(
      url,
      `create or replace function clock_timestamp() returns timestamptz language sql volatile as
       $$ select pg_catalog.clock_timestamp() + interval '${aheadSeconds} seconds' $$`,
    )
  let aheadMs = 0
  await clock(0)
  await administer(
    url,
    `alter database ${new URL(url).pathname.slice(1)} set search_path = public, pg_catalog`,
  )
  return async (second) => {
    const currentMs = (Date.now() + aheadMs) % 60_000
    aheadMs += (second * 1000 - currentMs + 60_000) % 60_000
    await clock(aheadMs / 1000)
  }
}
