/** Seals secrets in envelopes that open in their own place alone. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** A key that wraps data keys, named by an id that is no secret. */
export interface VaultKey {
  readonly id: string
  /** 32 bytes. */
  readonly key: Buffer
}

/** Where an envelope belongs. All of it is bound: moved to any other place, the envelope does not open. */
export interface Place {
  readonly organization: string
  /** Id of the row that owns the secrets. */
  readonly owner: string
  /** Integration type, or what else the owner is. */
  readonly type: string
  /** Canonical domain: what the secrets were proved on. */
  readonly domain: string
}

export interface Envelope {
  readonly keyId: string
  readonly wrappedKey: Buffer
  readonly sealed: Buffer
}

/**
 * `unknown_key`: no key of that id is here. `broken`: tampered with, moved, or sealed by another key of the same id.
 * `retired`: the key seals nothing any more.
 */
export type VaultFault = 'unknown_key' | 'broken' | 'retired'

export class VaultError extends Error {
  override readonly name = 'VaultError'
  readonly code: VaultFault
  readonly keyId: string

  constructor(code: VaultFault, keyId: string) {
    super(messages[code](keyId))
    this.code = code
    this.keyId = keyId
  }
}

const messages: Readonly<Record<VaultFault, (keyId: string) => string>> = {
  unknown_key: (keyId) => `the vault key ${keyId} is needed and not configured`,
  broken: (keyId) =>
    `secrets sealed with the vault key ${keyId} do not open: they were changed or moved, or the key is another`,
  retired: (keyId) => `the vault key ${keyId} was retired, or never registered, and seals nothing`,
}

export interface Vault {
  /** Ids of all keys; the first one seals. */
  readonly keyIds: readonly [string, ...string[]]
  seal(place: Place, secrets: Readonly<Record<string, string>>): Envelope
  /** @throws VaultError */
  open(place: Place, envelope: Envelope): Record<string, string>
  /** The same secrets under the key that seals now; they themselves are not opened. @throws VaultError */
  rewrap(place: Place, envelope: Envelope): Envelope
  /** A value to keep, which proves later that a key of this id is the same key. */
  checkValue(keyId: string): Buffer
  isKey(keyId: string, checkValue: Buffer): boolean
}

const algorithm = 'aes-256-gcm'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
/** First byte of what is sealed, so that another form can follow. */
const version = 1

export function createVault(keys: readonly [VaultKey, ...VaultKey[]]): Vault {
  const keyOf = (id: string) => {
    const found = keys.find((key) => key.id === id)
    if (found === undefined) throw new VaultError('unknown_key', id)
    return found.key
  }
  const [sealing] = keys

  const wrap = (place: Place, dataKey: Buffer) => ({
    keyId: sealing.id,
    wrappedKey: encrypt(sealing.key, dataKey, bound(place, 'data key', sealing.id)),
  })
  const unwrap = (place: Place, { keyId, wrappedKey }: Envelope) =>
    decrypt(keyOf(keyId), wrappedKey, bound(place, 'data key', keyId), keyId)

  const checkValue = (keyId: string) =>
    createHmac('sha256', keyOf(keyId)).update(`credence vault key ${keyId}`).digest()

  return {
    keyIds: keys.map(({ id }) => id) as [string, ...string[]],
    seal(place, secrets) {
      const dataKey = randomBytes(keyBytes)
      try {
        const sealed = encrypt(
          dataKey,
          Buffer.from(JSON.stringify(secrets)),
          bound(place, 'secrets', String(version)),
        )
        return { ...wrap(place, dataKey), sealed: Buffer.concat([Buffer.of(version), sealed]) }
      } finally {
        dataKey.fill(0)
      }
    },
    open(place, envelope) {
      const { keyId, sealed } = envelope
      if (sealed[0] !== version) throw new VaultError('broken', keyId)
      const dataKey = unwrap(place, envelope)
      try {
        // The names of the fields are sealed with them: none can change places with another.
        return JSON.parse(
          decrypt(dataKey, sealed.subarray(1), bound(place, 'secrets', String(version)), keyId).toString(),
        )
      } finally {
        dataKey.fill(0)
      }
    },
    rewrap(place, envelope) {
      const dataKey = unwrap(place, envelope)
      try {
        return { ...wrap(place, dataKey), sealed: envelope.sealed }
      } finally {
        dataKey.fill(0)
      }
    },
    checkValue,
    isKey(keyId, other) {
      const own = checkValue(keyId)
      return own.length === other.length && timingSafeEqual(own, other)
    },
  }
}

/** Associated data: JSON quotes each part, lone surrogates too, so that no two tuples look alike. */
function bound({ organization, owner, type, domain }: Place, what: string, name: string): Buffer {
  return Buffer.from(JSON.stringify([organization, owner, type, domain, what, name]))
}

function encrypt(key: Buffer, plain: Buffer, associated: Buffer): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(algorithm, key, nonce)
  cipher.setAAD(associated)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Buffer, sealed: Buffer, associated: Buffer, keyId: string): Buffer {
  if (sealed.length < nonceBytes + tagBytes) throw new VaultError('broken', keyId)
  const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  })
  decipher.setAAD(associated)
  decipher.setAuthTag(sealed.subarray(-tagBytes))
  try {
    const plain = decipher.update(sealed.subarray(nonceBytes, -tagBytes))
    // Holds no text in this mode, and throws where the text is not the one that was sealed.
    decipher.final()
    return plain
  } catch {
    throw new VaultError('broken', keyId)
  }
}
