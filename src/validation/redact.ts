/** Keeps the request's own secrets out of what is shown, even where a provider echoes them. */

export type Redact = <T>(value: T) => T

/** Shorter strings are too common to hide: hiding them would tear ordinary words apart. */
const shortestSecret = 6

/**
 * A function that returns its argument with every occurrence of a secret, plain or percent-, JSON- or
 * base64-encoded, replaced. Works on any JSON-like value.
 */
export function redactor(secrets: readonly string[]): Redact {
  const hidden = [...new Set(secrets)].filter((secret) => secret.length >= shortestSecret)
  /** Of the secrets that fit into `longestText` characters, longest first. Most texts are short, and keys are long. */
  let spellings: readonly string[] = []
  let longestText = 0

  const redactText = (text: string) => {
    if (text.length > longestText) {
      longestText = 2 * text.length
      spellings = spellingsUpTo(longestText, hidden)
    }
    return spellings.reduce((left, spelling) => left.replaceAll(spelling, '[redacted]'), text)
  }
  const redact = (value: unknown): unknown => {
    if (typeof value === 'string') return redactText(value)
    if (Array.isArray(value)) return value.map(redact)
    if (value !== null && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, redact(member)]))
    }
    return value
  }
  return <T>(value: T) => (hidden.length === 0 ? value : (redact(value) as T))
}

const spellingsUpTo = (length: number, secrets: readonly string[]): readonly string[] =>
  secrets
    // No spelling of a secret is shorter than the secret.
    .filter((secret) => secret.length <= length)
    .flatMap((secret) => [
      ...new Set([
        secret,
        encodeURIComponent(secret.toWellFormed()),
        // As in a form, where more is escaped.
        new URLSearchParams([['', secret]]).toString().slice(1),
        JSON.stringify(secret).slice(1, -1),
        Buffer.from(secret).toString('base64'),
        Buffer.from(secret).toString('base64url'),
        Buffer.from(secret).toString('hex'),
      ]),
    ])
    .filter((spelling) => spelling.length <= length)
    .sort((a, b) => b.length - a.length)
