/** Vault keys as the operator gives them: as text, in a file, or printed by a command. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import type { VaultKey } from './vault.ts'

/** The keys are not what they have to be. Names a place or an id, never a value. */
export class VaultKeysError extends Error {
  override readonly name = 'VaultKeysError'
}

/**
 * Shorter than 32 bytes are in any notation, so that a key in the place of its id is refused and not told.
 */
const idForm = /^[A-Za-z0-9._-]{1,32}$/
const keyForm = /^[A-Za-z0-9+/]{43}=$/
const keyBytes = 32

/**
 * Keys from `<id>:<base64 of 32 bytes>`, several separated by commas: the first seals, all open.
 *
 * @throws VaultKeysError
 */
export function readVaultKeys(text: string): [VaultKey, ...VaultKey[]] {
  if (text.trim() === '')
    throw new VaultKeysError('there is no key in it: expected <id>:<base64 of 32 bytes>')
  const [first, ...others] = text.split(',').map(readKey)
  const keys: [VaultKey, ...VaultKey[]] = [first as VaultKey, ...others]
  for (const [at, key] of keys.entries()) {
    const earlier = keys.slice(0, at)
    if (earlier.some(({ id }) => id === key.id))
      throw new VaultKeysError(`the vault key ${key.id} is given twice: each key needs an id of its own`)
    const same = earlier.find((other) => other.key.equals(key.key))
    if (same !== undefined)
      throw new VaultKeysError(`the vault keys ${same.id} and ${key.id} are one key under two ids`)
  }
  return keys
}

function readKey(text: string, at: number): VaultKey {
  const part = text.trim()
  const colon = part.indexOf(':')
  const id = part.slice(0, Math.max(0, colon))
  if (!idForm.test(id))
    throw new VaultKeysError(
      `vault key ${at + 1}: expected <id>:<base64 of 32 bytes>, the id of at most 32 letters, digits, dots, dashes and underscores`,
    )
  const encoded = part.slice(colon + 1)
  const key = Buffer.from(encoded, 'base64')
  // The second condition refuses stray bits in the last character, which would make two texts one key.
  if (!keyForm.test(encoded) || key.length !== keyBytes || key.toString('base64') !== encoded)
    throw new VaultKeysError(`the vault key ${id}: expected the base64 of 32 bytes after the colon`)
  return { id, key }
}

/** A new key in the form that readVaultKeys() takes. */
export const generateVaultKey = (): string =>
  `key-${randomBytes(4).toString('hex')}:${randomBytes(keyBytes).toString('base64')}`

/** Where the keys are; exactly one of the three. */
export interface VaultKeySettings {
  /** CREDENCE_VAULT_KEY: the keys themselves. */
  readonly text?: string | undefined
  /** CREDENCE_VAULT_KEY_FILE: a file that holds the same text. */
  readonly file?: string | undefined
  /** CREDENCE_VAULT_KEY_COMMAND: what /bin/sh runs to have the same text printed. */
  readonly command?: string | undefined
  /** All that the command sees of our environment. */
  readonly environment?: { readonly PATH?: string | undefined; readonly HOME?: string | undefined }
}

/** No list of keys is longer, in bytes. */
const maxBytes = 64 * 1024
/** Long enough for a key service far away. */
const commandTimeoutMs = 10_000

/**
 * The operator's keys.
 *
 * @param timeoutMs how long a command may take
 * @throws VaultKeysError which names the variable
 */
export async function loadVaultKeys(
  { text, file, command, environment = {} }: VaultKeySettings,
  timeoutMs = commandTimeoutMs,
): Promise<[VaultKey, ...VaultKey[]]> {
  const given = Object.entries({
    CREDENCE_VAULT_KEY: text,
    CREDENCE_VAULT_KEY_FILE: file,
    CREDENCE_VAULT_KEY_COMMAND: command,
  }).filter(([, value]) => value !== undefined && value !== '')
  const [variable] = given.map(([name]) => name)
  if (variable === undefined)
    throw new VaultKeysError(
      'no vault key: set CREDENCE_VAULT_KEY, CREDENCE_VAULT_KEY_FILE or CREDENCE_VAULT_KEY_COMMAND; `credence vault generate-key` prints a new one, to be kept safe: without it stored credentials are lost',
    )
  if (given.length > 1)
    throw new VaultKeysError(`give one of ${given.map(([name]) => name).join(' and ')}, not both`)
  try {
    if (text) return readVaultKeys(text)
    return readVaultKeys(
      file ? await readKeyFile(file) : await runCommand(command ?? '', environment, timeoutMs),
    )
  } catch (error) {
    if (error instanceof VaultKeysError) throw new VaultKeysError(`${variable}: ${error.message}`)
    throw error
  }
}

async function readKeyFile(path: string): Promise<string> {
  try {
    // A pipe has no size to ask for: one byte more than allowed is enough to know.
    return await textOf(createReadStream(path, { end: maxBytes }), 'the file')
  } catch (error) {
    if (error instanceof VaultKeysError) throw error
    throw new VaultKeysError(`expected the path of a readable file (${codeOf(error)})`)
  }
}

/** What the command prints. What it says on standard error is nobody's to read: it may hold what it failed on. */
async function runCommand(
  command: string,
  { PATH, HOME }: NonNullable<VaultKeySettings['environment']>,
  timeoutMs: number,
): Promise<string> {
  // A group of its own, so that what it started ends with it.
  const child = spawn('/bin/sh', ['-c', command], {
    env: { ...(PATH !== undefined && { PATH }), ...(HOME !== undefined && { HOME }) },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    endGroup(child)
  }, timeoutMs)
  const ending = once(child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
  // It is awaited below; until then a shell that cannot be started would count as nobody's error.
  ending.catch(() => undefined)
  try {
    const text = await textOf(child.stdout, 'what the command prints')
    const [code, signal] = await ending
    if (code === 0) return text
    throw new VaultKeysError(
      `the command ended with ${code === null ? `the signal ${signal}` : `exit code ${code}`}; run it by hand to see why`,
    )
  } catch (error) {
    if (isLate) throw new VaultKeysError(`the command took longer than ${timeoutMs / 1000} s`)
    endGroup(child)
    if (error instanceof VaultKeysError) throw error
    throw new VaultKeysError(`/bin/sh cannot be run (${codeOf(error)})`)
  } finally {
    clearTimeout(timer)
  }
}

function endGroup(child: ChildProcessByStdio<null, Readable, null>): void {
  // One that left the group may hold the pipe still.
  child.stdout.destroy()
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

const codeOf = (error: unknown) =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'

async function textOf(stream: Readable, what: string): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) throw new VaultKeysError(`${what} is larger than ${maxBytes / 1024} KiB`)
  }
  return Buffer.concat(chunks).toString()
}
