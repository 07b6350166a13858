/** The credentials of Google Workspace: a service account's key file, and the administrator in whose name it reads. */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { z } from 'zod'
import { isHostName } from '../../outbound/host-name.ts'
import { rsaNumbersOf } from '../rsa-key.ts'
import type { CredentialField, CredentialKind, FieldFault } from '../source.ts'

/** Google's key files are 2.4 KB; nothing near this size is one. In characters. */
const maxKeyFileLength = 65_536

/** Members of a key file that may be shown: everything else in it is treated as a secret. */
const publicMembers = new Set([
  'type',
  'project_id',
  'private_key_id',
  'client_email',
  'client_id',
  'auth_uri',
  'token_uri',
  'auth_provider_x509_cert_url',
  'client_x509_cert_url',
  'universe_domain',
])

type KeyFile = Readonly<Record<string, unknown>>

/** A service account and the administrator it acts for, either of which may be missing or wrong. Never prints itself. */
export class GoogleCredentials {
  /** `operator`: only the administrator was given; the service account is the operator's. */
  readonly kind: 'service_account' | 'operator'
  readonly adminEmail: string | undefined
  readonly #given: string | KeyFile | undefined
  readonly #keyFile: KeyFile | undefined

  constructor(kind: 'service_account' | 'operator', given: unknown, adminEmail: string | undefined) {
    this.kind = kind
    this.adminEmail = adminEmail
    this.#given = typeof given === 'string' || isObject(given) ? given : undefined
    this.#keyFile = typeof given === 'string' ? parseKeyFile(given) : isObject(given) ? given : undefined
  }

  get hasServiceAccount(): boolean {
    return this.#given !== undefined
  }

  /** Whether what was given for the key file is a JSON object. */
  get isKeyFileReadable(): boolean {
    return this.#keyFile !== undefined
  }

  /** Whether the key file has this member, whatever its value. */
  has(name: string): boolean {
    return this.#keyFile !== undefined && Object.hasOwn(this.#keyFile, name)
  }

  /** A member of the key file that is a text with something in it. */
  text(name: string): string | undefined {
    const value = this.has(name) ? this.#keyFile?.[name] : undefined
    return typeof value === 'string' && value !== '' ? value : undefined
  }

  /** Everything that must never be shown: the key in each form it may be echoed in, and every member that is not known to be public. */
  secrets(): string[] {
    if (typeof this.#given === 'string' && this.#keyFile === undefined) return [this.#given]
    const texts = Object.entries(this.#keyFile ?? {})
      .filter(([name]) => !publicMembers.has(name))
      .flatMap(([, value]) => textsIn(value, 8))
    return [...new Set(texts.flatMap(formsOf))]
  }

  toJSON(): string {
    return '[Google Workspace credentials]'
  }

  [inspect.custom](): string {
    return this.toJSON()
  }
}

function isObject(value: unknown): value is KeyFile {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseKeyFile(text: string): KeyFile | undefined {
  if (text.length > maxKeyFileLength) return undefined
  try {
    // Windows editors put a byte order mark before the text, which JSON does not allow.
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function textsIn(value: unknown, depth: number): string[] {
  if (typeof value === 'string') return [value]
  if (depth === 0 || typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap((member) => textsIn(member, depth - 1))
}

/** A PEM text also without its line breaks, and line by line: an error message may repeat a part of it. */
function formsOf(secret: string): string[] {
  const pem = unescapeLines(secret)
  if (!pem.includes('-----BEGIN')) return [secret]
  const lines = pem.split(/\r?\n/).filter((line) => line.length >= 16 && !line.startsWith('-----'))
  return [secret, pem, pem.trim(), lines.join(''), ...lines]
}

/** Keys that went through an environment variable or a form often hold `\n` as two characters. */
const unescapeLines = (pem: string) => pem.replaceAll('\\r', '').replaceAll('\\n', '\n')

const keyFileField: CredentialField = {
  name: 'service_account_json',
  title: 'Service account key',
  help: 'The JSON key file of the service account, whole: as an object or as text. Create it in the Google Cloud console under IAM & Admin > Service accounts > Keys.',
  secret: true,
  document: true,
  required: true,
  docs: 'https://cloud.google.com/iam/docs/keys-create-delete',
}

export const credentialKinds: readonly CredentialKind[] = [
  {
    kind: 'service_account',
    title: 'Service account with domain-wide delegation',
    fields: [
      keyFileField,
      {
        name: 'admin_email',
        title: 'Administrator',
        help: 'The administrator in whose name the directory is read, by domain-wide delegation. Not needed where the service account has an administrator role of its own.',
        example: 'admin@example.com',
        secret: false,
        required: false,
        docs: 'https://developers.google.com/workspace/admin/directory/v1/guides/delegation',
      },
    ],
    schema: z.object({
      service_account_json: z.union([
        z
          .looseObject({
            type: z.string(),
            project_id: z.string().optional(),
            private_key_id: z.string().optional(),
            private_key: z.string(),
            client_email: z.string(),
            client_id: z.string().optional(),
          })
          .describe('The key file as Google issued it.'),
        z.string().describe('The same, as JSON text.'),
      ]),
      admin_email: z.string().optional(),
    }),
  },
  {
    kind: 'operator',
    title: "The operator's service account",
    fields: [
      {
        name: 'admin_email',
        title: 'Administrator',
        help: "The administrator in whose name the directory is read. The service account is the one that this server's operator holds: delegate to its client ID.",
        example: 'admin@example.com',
        secret: false,
        required: true,
        docs: 'https://support.google.com/a/answer/162106',
      },
    ],
    schema: z.object({ admin_email: z.string() }),
  },
]

/** What the operator's file holds for Google Workspace. */
export const operatorSchema = z.object({
  service_account: z.union([z.string().min(1), z.record(z.string(), z.unknown())]),
})

export const operatorFields: readonly CredentialField[] = [{ ...keyFileField, name: 'service_account' }]

/** @see OperatorCredentialKind.describe */
export function describeOperator(entry: unknown): Record<string, string> | undefined {
  const account = new GoogleCredentials('operator', operatorSchema.parse(entry).service_account, undefined)
  const client_email = account.text('client_email')
  const client_id = account.text('client_id')
  if (client_email === undefined || account.text('private_key') === undefined) return undefined
  // Customers delegate to the client ID.
  return { client_email, ...(client_id !== undefined && { client_id }) }
}

export function readCredentials(
  secrets: Readonly<Record<string, unknown>> | undefined,
): { ok: true; credentials: GoogleCredentials } | { ok: false; faults: readonly FieldFault[] } {
  const member = (name: string) =>
    secrets !== undefined && Object.hasOwn(secrets, name) ? (secrets[name] ?? undefined) : undefined
  const keyFile = member('service_account_json')
  const adminEmail = member('admin_email')
  const faults: FieldFault[] = []
  if (keyFile !== undefined && typeof keyFile !== 'string' && !isObject(keyFile)) {
    faults.push({
      field: 'secrets.service_account_json',
      expected: 'the key file of a service account, as an object or as text',
    })
  }
  if (adminEmail !== undefined && typeof adminEmail !== 'string')
    faults.push({ field: 'secrets.admin_email', expected: 'a string' })
  if (keyFile === undefined && adminEmail === undefined) {
    faults.push({
      field: 'secrets',
      expected: 'service_account_json with admin_email, or admin_email alone',
    })
  }
  if (faults.length > 0) return { ok: false, faults }
  return {
    ok: true,
    credentials: new GoogleCredentials(
      keyFile === undefined ? 'operator' : 'service_account',
      keyFile,
      typeof adminEmail === 'string' ? adminEmail : undefined,
    ),
  }
}

/** The customer's administrator with the operator's service account. */
export function completeByOperator(credentials: GoogleCredentials, entry: unknown): GoogleCredentials {
  const { service_account } = operatorSchema.parse(entry)
  return new GoogleCredentials('operator', service_account, credentials.adminEmail)
}

/** Before lower-casing: the Kelvin sign, for one, would become an ASCII k. */
const isVisibleAscii = (text: string) => /^[\x21-\x7e]+$/.test(text)

/** Whether `text` can be the address of a Google account: one `@`, a plain local part, a host name. */
export function isEmailAddress(text: string): boolean {
  const at = text.lastIndexOf('@')
  return (
    text.length <= 254 &&
    isVisibleAscii(text) &&
    /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/i.test(text.slice(0, at)) &&
    at <= 64 &&
    isHostName(text.slice(at + 1).toLowerCase())
  )
}

/**
 * The Workspace domain in canonical form (ASCII, lower case), or undefined. A bare name or `https://name/`;
 * everything that two parsers could read differently is refused. International names are written in their `xn--` form.
 */
export function canonicalDomain(text: string): string | undefined {
  if (text.length > 300 || !isVisibleAscii(text)) return undefined
  const name = text
    .toLowerCase()
    .replace(/^https:\/\//, '')
    .replace(/\/$/, '')
  return isHostName(name) ? name : undefined
}

/** Shortest RSA modulus that RS256 may be used with, in bits (RFC 7518 section 3.3). */
const minKeyBits = 2048
/** Longest modulus signed with here, in bits: Google issues 2048; each doubling costs about seven times as much. */
const maxKeyBits = 8192

export type KeyReading =
  | { readonly ok: true; readonly key: KeyObject }
  | { readonly ok: false; readonly fault: 'unreadable' | 'not_rsa' | 'wrong_length' }

/** The private key in PKCS#8 or PKCS#1 PEM. Its numbers are compared: a key that was damaged on its way may still parse. */
export function readPrivateKey(pem: string): KeyReading {
  let key: KeyObject
  try {
    key = createPrivateKey(unescapeLines(pem))
  } catch {
    return { ok: false, fault: 'unreadable' }
  }
  if (key.asymmetricKeyType !== 'rsa') return { ok: false, fault: 'not_rsa' }
  const { bits, isConsistent } = rsaNumbersOf(key)
  if (bits < minKeyBits || bits > maxKeyBits) return { ok: false, fault: 'wrong_length' }
  return isConsistent() ? { ok: true, key } : { ok: false, fault: 'unreadable' }
}
