/** What the demo keeps in its data directory, so that it goes on from there when it is started again. */
import { randomUUID } from 'node:crypto'
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import type { Organisation } from '../../sandbox/organisation.ts'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import type { Database } from '../store/database.ts'
import { generateVaultKey } from '../vault/keys.ts'
import { CommandError } from './exit-codes.ts'

/** Whose requests the demo answers: the same as of keys made with `credence keys create` and nothing else. */
export const demoOrganization = 'default'

const keysSchema = z.object({ id: z.string(), api_key: z.string(), application_key: z.string() })
export type DemoKeys = z.infer<typeof keysSchema>

/** The demo's key pair: the one printed before while it is in force, otherwise a new one. */
export async function demoKeys(dataDir: string, database: Database): Promise<DemoKeys> {
  // Slow to load, and all commands load this file.
  const { createKey, listKeys } = await import('../store/keys.ts')
  const path = join(dataDir, 'demo.json')
  const kept = await readKeys(path)
  const isInForce = async (keys: DemoKeys) =>
    (await listKeys({ database })).some((key) => key.id === keys.id && key.revokedAt === undefined)
  if (kept !== undefined && (await isInForce(kept))) return kept
  const made = await createKey({
    database,
    permissions: ['admin'],
    organization: demoOrganization,
    name: 'demo',
    actor: { id: 'system' },
  })
  await writePrivately(path, made)
  return made
}

/** The file with the demo's own vault key, made at the first start. Without it nothing that was stored opens again. */
export async function demoVaultKeyFile(dataDir: string): Promise<string> {
  const path = resolve(dataDir, 'vault.key')
  try {
    await access(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await writePrivately(path, `${generateVaultKey()}\n`)
  }
  return path
}

async function readKeys(path: string): Promise<DemoKeys | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return keysSchema.parse(JSON.parse(text))
  } catch {
    throw new CommandError(`${path} is damaged; remove it, and the demo makes new keys`)
  }
}

/** Writes the operator's own credentials, bound to the demo's organisation; returns the file that names them. */
export async function writeOperatorFile(dataDir: string, { google, entra }: Organisation): Promise<string> {
  const folder = resolve(dataDir, 'operator')
  const file = async (name: string, content: unknown) => {
    const path = join(folder, name)
    await writePrivately(path, content)
    return path
  }
  const bindingsOf = (domains: readonly string[]) =>
    domains.map((domain) => ({ organization: demoOrganization, domain }))
  return file('operator.json', {
    google_workspace: [
      {
        service_account_file: await file('google-service-account.json', google.operator.serviceAccount),
        bindings: bindingsOf(google.operator.domains),
      },
    ],
    entra_id: [
      {
        tenant_id: entra.operator.tenantId,
        client_id: entra.operator.clientId,
        client_secret_file: await file('entra-client-secret.txt', entra.operator.clientSecret),
        bindings: bindingsOf(entra.operator.domains),
      },
    ],
  })
}

export interface ExampleFile {
  /** `google_workspace`, as in the demo's JSON. */
  readonly source: string
  readonly title: string
  readonly isValid: boolean
  readonly attributes: ExampleAttributes
  /** The whole request body, ready for `curl -d @file`. */
  readonly path: string
}

/** Writes each example as a request body, in place of those of an earlier start. */
export async function writeExamples(
  dataDir: string,
  examples: readonly Omit<ExampleFile, 'path'>[],
): Promise<readonly ExampleFile[]> {
  const folder = join(dataDir, 'examples')
  await rm(folder, { recursive: true, force: true })
  const written: ExampleFile[] = []
  for (const example of examples) {
    const name = `${example.source} ${example.title}`.toLowerCase().replace(/[^a-z0-9]+/g, '-')
    const path = join(folder, `${name.replace(/^-|-$/g, '').slice(0, 200)}.json`)
    await writePrivately(path, { data: { type: 'integration_config', attributes: example.attributes } })
    written.push({ ...example, path })
  }
  return written
}

/** Text as it is, anything else as JSON; replaced as a whole, so that a process that dies here leaves no half of it. */
export async function writePrivately(path: string, content: unknown): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
  const aside = `${path}.${randomUUID()}`
  const handle = await open(aside, 'wx', 0o600)
  try {
    await handle.writeFile(typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(aside, path)
}
