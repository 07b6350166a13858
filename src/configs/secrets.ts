/** Secrets on their way into and out of the vault, and how to tell secrets from what stands for them on a screen. */
import type { AnySource } from '../sources/registry.ts'
import type { FieldFault } from '../sources/source.ts'

export type Secrets = Readonly<Record<string, unknown>>

/** The members of `secrets` that the source reads. Everything else a request may hold is never kept. */
export function knownSecrets({ credentialKinds }: AnySource, secrets: Secrets | undefined): Secrets {
  const known = new Set(credentialKinds.flatMap(({ fields }) => fields.map(({ name }) => name)))
  return Object.fromEntries(Object.entries(secrets ?? {}).filter(([name]) => known.has(name)))
}

/** What the vault seals: texts, so that a member may be a whole key file. */
export const packSecrets = (secrets: Secrets): Record<string, string> =>
  Object.fromEntries(Object.entries(secrets).map(([name, value]) => [name, JSON.stringify(value)]))

export const unpackSecrets = (packed: Readonly<Record<string, string>>): Secrets =>
  Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, JSON.parse(text)]))

/** Faults of secrets that a form or a dump put in place of the real ones: they must never count as new secrets. */
export function maskedSecrets({ credentialKinds }: AnySource, secrets: Secrets): FieldFault[] {
  const secret = new Set(
    credentialKinds.flatMap(({ fields }) => fields.filter((field) => field.secret).map(({ name }) => name)),
  )
  return Object.entries(secrets)
    .filter(([name, value]) => secret.has(name) && isMasked(value))
    .map(([name]) => ({
      field: `secrets.${name}`,
      expected: 'the secret itself, not a mask or an empty text',
    }))
}

/** Bullets occur in no provider's secrets; asterisks do not begin any. */
const mask =
  /[\u2022\u25cf\u2219\u00b7]|^\s*\*{3}|^\s*(?:\*+|x{3,}|\.{3,}|-{3,}|_{3,})?\s*$|^\s*[[<(]?(?:redacted|masked|hidden)[\])>]?\s*$/i

function isMasked(value: unknown): boolean {
  if (typeof value === 'string') return mask.test(value)
  return typeof value === 'object' && value !== null && Object.values(value).some(isMaskedText)
}

/** Within a key file, empty members are its own business. */
const isMaskedText = (value: unknown) => typeof value === 'string' && value !== '' && mask.test(value)
