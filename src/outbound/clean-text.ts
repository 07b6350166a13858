/** Makes text that came from outside fit to be shown and logged. */

/** Longest provider text shown, in characters. */
export const maxTextLength = 300

const looksLikeHtml = /<\s*(?:!doctype|html|head|body|script|title|h1|p|div|meta)\b/i

/** What is a secret wherever it stands. */
const pemBlock = /-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)/g
const jsonWebToken = /eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g
const googleToken = /\bya29\.[\w\-.]+/g
/** A scheme of authentication, and what may be the credential behind it. */
const behindScheme = /\b(?:Bearer|SSWS|DPoP|Basic)\s+[\w\-.~+/=]{8,}/gi

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
  const line = lineOf(text, unseen)
  if (looksLikeHtml.test(line)) return 'an HTML page'
  let clean = line.replace(/[<>]/g, '')
  for (const shape of [pemBlock, jsonWebToken, behindScheme, googleToken])
    clean = clean.replace(shape, hidden)
  return cut(clean, limit)
}

/**
 * What somebody wrote into a directory, as one line of at most `limit` characters: a name may look like markup or
 * begin with a scheme, so that it loses no more than control and bidirectional characters and those that nobody sees.
 * The joiners stay: Persian and Indian scripts are written with them.
 */
export const cleanValue = (text: string, limit: number): string => cut(lineOf(text, unseenInScripts), limit)

/** The same where nobody says what is written there, and it may be a credential: those are hidden. */
export function cleanFreeValue(text: string, limit: number): string {
  let clean = lineOf(text, unseenInScripts)
  for (const shape of [pemBlock, jsonWebToken, googleToken]) clean = clean.replace(shape, hidden)
  for (const [scheme, isCredential] of schemes)
    clean = clean.replace(scheme, (found, behind: string) => (isCredential(behind) ? hidden : found))
  return cut(clean, limit)
}

const hidden = '[redacted]'

/** Control, bidirectional and zero-width characters, which can forge log lines and terminal output. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu
const unseenInScripts = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]--[\u{200c}\u{200d}]]+/gv

const lineOf = (text: string, unwanted: RegExp) =>
  text
    .slice(0, 8 * maxTextRead)
    .toWellFormed()
    .replace(terminalSequence, '')
    .replace(unwanted, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, maxTextRead)

const cut = (text: string, limit: number) =>
  text.length <= limit ? text : `${text.slice(0, limit - 1).toWellFormed()}…`

/**
 * Schemes that are words, too, and how a credential behind them is told from the next word: "Basic Research",
 * "Standard Bearer Office". Tried one after the other, as what is behind one may hold another.
 */
const schemes: readonly (readonly [scheme: RegExp, isCredential: (behind: string) => boolean])[] = [
  [/\b(?:SSWS|DPoP)\s+([\w\-.~+/=]{8,})/gi, () => true],
  [/\bBearer\s+([\w\-.~+/=]{8,})/gi, isToken],
  [/\bBasic\s+([\w\-.~+/=]{8,})/gi, isUserAndPassword],
]

/** In one piece longer than all but the longest words, or of letters and digits. */
function isToken(text: string): boolean {
  const pieces = text.match(/[a-z\d]{8,}/gi) ?? []
  return pieces.some((piece) => piece.length >= 16 || (/\d/.test(piece) && /[a-z]/i.test(piece)))
}

/**
 * The base64 of a user, a colon and a password, all without control characters; no word is.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7617#section-2
 */
function isUserAndPassword(text: string): boolean {
  const decoded = Buffer.from(text, 'base64').toString()
  return !decoded.includes('\u{fffd}') && /^[^\p{Cc}:]+:\P{Cc}*$/u.test(decoded)
}
