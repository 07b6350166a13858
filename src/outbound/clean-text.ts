/** Makes text that came from outside fit to be shown and logged. */

/** Longest provider text shown, in characters. */
export const maxTextLength = 300

const looksLikeHtml = /<\s*(?:!doctype|html|head|body|script|title|h1|p|div|meta)\b/i

/** JSON Web Tokens, SSWS and bearer tokens, PEM blocks: what must never be repeated, whoever sent it. */
const secretShapes: readonly RegExp[] = [
  /-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)/g,
  /eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g,
  /\b(?:Bearer|SSWS|DPoP|Basic)\s+[\w\-.~+/=]{8,}/gi,
  /\bya29\.[\w\-.]+/g,
]

/** Colours and cursor movements, ECMA-48's control sequences. Their final letter would otherwise stay in the text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what these sequences begin with.
const terminalSequence = /\u001b\[[0-?]*[ -/]*[@-~]/g

/**
 * Characters looked at. The patterns below take quadratic time on text made for it, so that they see only this much;
 * and far more than is ever shown, so that no secret is cut in two unrecognised where the shown part could still hold it.
 */
const maxTextRead = 2048

/** One line of plain text: control characters and markup removed, token-shaped parts hidden, at most `limit` characters. */
export function cleanText(text: string, limit = maxTextLength): string {
  const line = text
    .slice(0, 8 * maxTextRead)
    .toWellFormed()
    .replace(terminalSequence, '')
    // Control, bidirectional and zero-width characters can forge log lines and terminal output.
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, maxTextRead)
  if (looksLikeHtml.test(line)) return 'an HTML page'
  let clean = line.replace(/[<>]/g, '')
  for (const shape of secretShapes) clean = clean.replace(shape, '[redacted]')
  return clean.length <= limit ? clean : `${clean.slice(0, limit - 1).toWellFormed()}…`
}
