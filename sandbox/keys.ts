/** RSA keys of made-up service accounts and apps: by name, made when first asked for, kept across restarts where that is wanted. */
import { createPrivateKey, generateKeyPair, type KeyObject, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** The private key of that name (lower-case letters, digits and dashes): the same one each time. */
export type RsaKeys = (name: string) => Promise<KeyObject>

/** A key file is damaged. Says which, and what to do. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
}

/** Keys that live as long as the process. */
export function freshKeys(): RsaKeys {
  return once(makeKey)
}

/**
 * Keys that live in `folder`, a PEM file each that only its owner may read.
 *
 * @throws KeyFileError, when a key is asked for, if its file holds none
 */
export function storedKeys(folder: string): RsaKeys {
  return once(async (name) => {
    const path = join(folder, `${name}.pem`)
    const kept = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (kept !== undefined) return readKey(kept, path)
    const key = await makeKey()
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Written aside and renamed, so that a process that dies here leaves no half of a key under its name.
    const aside = `${path}.${randomUUID()}`
    const handle = await open(aside, 'wx', 0o600)
    try {
      await handle.writeFile(key.export({ type: 'pkcs8', format: 'pem' }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(aside, path)
    return key
  })
}

function readKey(pem: Buffer, path: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw new KeyFileError(`${path} does not hold a private key; remove it to get a new one`)
  }
}

const makeKey = async () => (await promisify(generateKeyPair)('rsa', { modulusLength: 2048 })).privateKey

function once(get: (name: string) => Promise<KeyObject>): RsaKeys {
  const held = new Map<string, Promise<KeyObject>>()
  return (name) => {
    if (!/^[a-z0-9-]+$/.test(name)) throw new TypeError('a key name is lower-case letters, digits and dashes')
    const key = held.get(name) ?? get(name)
    held.set(name, key)
    return key
  }
}
