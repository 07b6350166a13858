/** The operator's own credentials: read from a file at start, each bound to the organisations and domains it serves. */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import type { AnySource } from '../sources/registry.ts'
import type { Organization } from './keys.ts'

/** The file is not what it has to be. Names the member and what was expected, never a value. */
export class OperatorFileError extends Error {
  override readonly name = 'OperatorFileError'
}

export interface OperatorCredentials {
  /** The entry of `key` (`google_workspace`) that serves `domain` (in canonical form) for this organisation, and no other. */
  entryFor(key: string, organization: Organization, domain: string): unknown
  /** What serves this organisation. */
  servicesFor(key: string, organization: Organization): readonly OperatorService[]
}

/** Credentials of the operator as an organisation may know them. */
export interface OperatorService {
  /** Without secrets: tenant and client ID. */
  readonly attributes: Readonly<Record<string, string>>
  /** In canonical form: those of this organisation that they serve. */
  readonly domains: readonly string[]
}

/** What a server has whose operator holds no credentials. */
export const noOperatorCredentials: OperatorCredentials = {
  entryFor: () => undefined,
  servicesFor: () => [],
}

const documentSchema = z.record(z.string(), z.array(z.record(z.string(), z.unknown())))
const bindingsSchema = z.array(z.object({ organization: z.string().min(1), domain: z.string().min(1) }))

interface Binding {
  readonly key: string
  readonly organization: string
  readonly domain: string
  readonly entry: unknown
  readonly attributes: Readonly<Record<string, string>>
}

/**
 * Reads the operator's file: `{"google_workspace": [{…, "bindings": [{"organization", "domain"}]}]}`. A member whose
 * name ends in `_file` is the path of a file, relative to this one; the entry holds its content without that ending.
 *
 * @throws OperatorFileError
 */
export async function readOperatorFile(
  path: string,
  sources: readonly AnySource[],
): Promise<OperatorCredentials> {
  const document = parseDocument(await readText(path, 'the file'))
  const bindings: Binding[] = []
  for (const [key, entries] of Object.entries(document)) {
    const source = sources.find(({ operator }) => operator?.key === key)
    if (source === undefined) throw new OperatorFileError(`${key}: expected one of ${keysOf(sources)}`)
    for (const [at, members] of entries.entries()) {
      const where = `${key}[${at}]`
      const entry = await readEntry(members, where, dirname(path))
      const checked = source.operator?.schema.safeParse(entry)
      if (checked?.success !== true) throw new OperatorFileError(fault(checked?.error, where))
      const attributes = source.operator?.describe(checked.data) ?? {}
      for (const binding of readBindings(members.bindings, where, source)) {
        const isTaken = bindings.some(
          (other) =>
            other.key === key &&
            other.organization === binding.organization &&
            other.domain === binding.domain,
        )
        if (isTaken)
          throw new OperatorFileError(
            `${where}.bindings: ${binding.domain} is bound twice for one organisation`,
          )
        bindings.push({ key, ...binding, entry: checked.data, attributes })
      }
    }
  }
  const boundTo = (key: string, { id, name }: Organization) =>
    bindings.filter((one) => one.key === key && (one.organization === id || one.organization === name))
  return {
    entryFor: (key, organization, domain) =>
      boundTo(key, organization).find((one) => one.domain === domain)?.entry,
    servicesFor(key, organization) {
      const byEntry = Map.groupBy(boundTo(key, organization), ({ entry }) => entry)
      return [...byEntry.values()].map((bound) => ({
        attributes: bound[0]?.attributes ?? {},
        domains: [...new Set(bound.map(({ domain }) => domain))],
      }))
    },
  }
}

const keysOf = (sources: readonly AnySource[]) =>
  sources.flatMap(({ operator }) => operator?.key ?? []).join(', ') ||
  'no key: no source takes operator credentials'

function parseDocument(text: string): z.infer<typeof documentSchema> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new OperatorFileError('the file is not JSON')
  }
  const document = documentSchema.safeParse(value)
  if (!document.success) throw new OperatorFileError(fault(document.error, 'the file'))
  return document.data
}

async function readEntry(
  members: Readonly<Record<string, unknown>>,
  where: string,
  directory: string,
): Promise<Record<string, unknown>> {
  const entry: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(members)) {
    if (name === 'bindings') continue
    if (!name.endsWith('_file')) {
      entry[name] = value
      continue
    }
    const member = name.slice(0, -'_file'.length)
    if (Object.hasOwn(members, member))
      throw new OperatorFileError(`${where}: either ${member} or ${name}, not both`)
    if (typeof value !== 'string' || value === '')
      throw new OperatorFileError(`${where}.${name}: expected the path of a file`)
    // Editors end a file with a line break, which no secret does.
    entry[member] = (await readText(resolve(directory, value), `${where}.${name}`)).replace(/[\r\n]+$/, '')
  }
  return entry
}

async function readText(path: string, where: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new OperatorFileError(
      `${where} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'no reason given'})`,
    )
  }
}

function readBindings(value: unknown, where: string, source: AnySource) {
  const bindings = bindingsSchema.safeParse(value)
  if (!bindings.success) throw new OperatorFileError(fault(bindings.error, `${where}.bindings`))
  return bindings.data.map(({ organization, domain }, at) => {
    const reading = source.readDomain(domain)
    if (!reading.ok)
      throw new OperatorFileError(`${where}.bindings[${at}].domain: ${reading.diagnosis.cause.title}`)
    return { organization, domain: reading.domain }
  })
}

/** Where a schema refused and what it expected; zod's words name types and allowed values, never the value. */
function fault(error: z.ZodError | undefined, where: string): string {
  const [issue] = error?.issues ?? []
  return `${[where, ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'not understood'}`
}
