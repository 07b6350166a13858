/** Keeps the request's own secrets out of what is shown, even where a provider echoes them. */

export type Redact = <T>(value: T) => T

/** Shorter strings are too common to hide: hiding them would tear ordinary words apart. */
const shortestSecret = 6

/**
 * A function that returns its argument with every occurrence of a secret, plain or percent-, form-, JSON- or
 * base64-encoded, replaced. Works on any JSON-like value.
 *
 * @param secrets asked for when there is a text to look at
 */
export function redactor(secrets: () => readonly string[]): Redact {
  let hidden: readonly Hidden[] | undefined
  /** Of the secrets that fit into a word of `longestWord` characters. Most texts have short words, and keys are long. */
  let spellings: readonly string[] = []
  let longestWord = -1

  const redactText = (text: string) => {
    const longest = longestWordIn(text)
    if (longest > longestWord) {
      longestWord = longest
      hidden ??= hiddenOf(secrets())
      spellings = spellingsUpTo(longestWord, hidden)
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
  return <T>(value: T) => redact(value) as T
}

interface Hidden {
  readonly secret: string
  readonly longestWord: number
}

const hiddenOf = (secrets: readonly string[]): readonly Hidden[] =>
  [...new Set(secrets)]
    .filter((secret) => secret.length >= shortestSecret)
    .map((secret) => ({ secret, longestWord: longestWordIn(secret) }))

/** Characters of the longest part without a blank. A text holds nothing with a longer one than its own. */
function longestWordIn(text: string): number {
  let longest = 0
  for (let from = 0; from <= text.length; ) {
    const blank = text.indexOf(' ', from)
    const end = blank === -1 ? text.length : blank
    longest = Math.max(longest, end - from)
    from = end + 1
  }
  return longest
}

/** The spellings that a text with words of `length` characters may hold, longest first. */
const spellingsUpTo = (length: number, hidden: readonly Hidden[]): readonly string[] =>
  hidden
    // No encoding makes a word shorter.
    .filter(({ longestWord }) => longestWord <= length)
    .flatMap(({ secret }) => [
      ...new Set([
        secret,
        encodeURIComponent(secret.toWellFormed()),
        formEncoded(secret),
        JSON.stringify(secret).slice(1, -1),
        Buffer.from(secret).toString('base64'),
        Buffer.from(secret).toString('base64url'),
        Buffer.from(secret).toString('hex'),
      ]),
    ])
    .sort((a, b) => b.length - a.length)

/** As in the body of a token request, which an error message may repeat: `~` and others are escaped there, and blanks are `+`. */
const formEncoded = (secret: string) => new URLSearchParams([['', secret]]).toString().slice(1)
