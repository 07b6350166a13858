/** Keeps the request's own secrets out of what is shown, even where a provider echoes them. */

export type Redact = <T>(value: T) => T

/** Shorter strings are too common to hide: hiding them would tear ordinary words apart. */
const shortestSecret = 6

/**
 * A function that returns its argument with every occurrence of a secret, plain or percent-, JSON- or
 * base64-encoded, replaced. Works on any JSON-like value.
 */
export function redactor(secrets: readonly string[]): Redact {
  const needles = [
    ...new Set(
      secrets
        .filter((secret) => secret.length >= shortestSecret)
        .flatMap((secret) => [
          secret,
          encodeURIComponent(secret.toWellFormed()),
          JSON.stringify(secret).slice(1, -1),
          Buffer.from(secret).toString('base64'),
          Buffer.from(secret).toString('base64url'),
          Buffer.from(secret).toString('hex'),
        ]),
    ),
  ].sort((a, b) => b.length - a.length)
  const redactText = (text: string) =>
    needles.reduce((left, needle) => left.replaceAll(needle, '[redacted]'), text)
  const redact = (value: unknown): unknown => {
    if (typeof value === 'string') return redactText(value)
    if (Array.isArray(value)) return value.map(redact)
    if (value !== null && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, redact(member)]))
    }
    return value
  }
  return <T>(value: T) => (needles.length === 0 ? value : (redact(value) as T))
}
