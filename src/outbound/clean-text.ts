/** Makes text that came from outside fit to be shown and logged. */

/** Longest provider text shown, in characters. */
export const maxTextLength = 300

const looksLikeHtml = /<\s*(?:!doctype|html|head|body|script|title|h1|p|div|meta)\b/i

/** JSON Web Tokens, SSWS and bearer tokens, PEM blocks: what must never be repeated, whoever sent it. */
const secretShapes: readonly RegExp[] = [
  /-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)/g,
  /\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g,
  /\b(?:Bearer|SSWS|DPoP|Basic)\s+[\w\-.~+/=]{8,}/gi,
  /\bya29\.[\w\-.]+/g,
]

/** One line of plain text: control characters and markup removed, token-shaped parts hidden, at most `limit` characters. */
export function cleanText(text: string, limit = maxTextLength): string {
  if (looksLikeHtml.test(text)) return 'an HTML page'
  let clean = text
  for (const shape of secretShapes) clean = clean.replace(shape, '[redacted]')
  clean = clean
    .toWellFormed()
    // Control, bidirectional and zero-width characters can forge log lines and terminal output.
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[<>]/g, '')
    .replace(/\s+/g, ' ')
    .trim()
  return clean.length <= limit ? clean : `${clean.slice(0, limit - 1).toWellFormed()}…`
}
