/** Parses JSON from outside: bounded in depth, and silent about what it read when it fails. */

/** Deepest nesting accepted. What the providers document is at most about ten deep. */
export const maxJsonDepth = 64

/** The text is not JSON that we accept. The message never quotes it. */
export class JsonRefused extends Error {
  override readonly name = 'JsonRefused'
}

/** @throws JsonRefused when `text` is empty, no JSON, or nested deeper than `maxJsonDepth` */
export function parseBoundedJson(text: string): unknown {
  if (text.trim() === '') throw new JsonRefused('the body is empty')
  if (isTooDeep(text)) throw new JsonRefused(`the body is nested deeper than ${maxJsonDepth}`)
  try {
    return JSON.parse(text)
  } catch {
    // V8's message quotes the text, which may hold a token.
    throw new JsonRefused('the body is not JSON')
  }
}

/**
 * Whether brackets outside of strings nest deeper than `maxJsonDepth`. Looked at before parsing, since JSON.parse takes
 * any depth and whatever walks the result recursively then fails.
 */
export function isTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === 0x22 /* " */) at = endOfString(text, at)
    else if (char === 0x5b /* [ */ || char === 0x7b /* { */) {
      if (++depth > maxJsonDepth) return true
    } else if (char === 0x5d || char === 0x7d) depth--
  }
  return false
}

/** Where the string that begins at `start` has its closing quote; the length of `text` when it has none. */
function endOfString(text: string, start: number): number {
  let end = start
  do {
    end = text.indexOf('"', end + 1)
    if (end === -1) return text.length
  } while (isEscaped(text, end))
  return end
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number): boolean {
  let before = at - 1
  while (text.charCodeAt(before) === 0x5c /* \ */) before--
  return (at - before) % 2 === 0
}
