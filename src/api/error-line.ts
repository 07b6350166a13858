/** Errors as the log tells them: where and what kind, in words that hold no input and no secret. */
import { cleanText } from '../outbound/clean-text.ts'
import type { Redact } from '../validation/redact.ts'

interface ErrorLine {
  readonly type: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: ErrorLine
}

/** How many causes of causes are told. */
const maxCauses = 4

/** An error's words are cleaned, and left out where the runtime is known to repeat its input in them. */
export function errorLine(thrown: unknown, redact: Redact = (value) => value, depth = 0): ErrorLine {
  if (!(thrown instanceof Error))
    return { type: typeof thrown, message: 'something other than an error was thrown' }
  const code = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
  const frames = thrown.stack?.split('\n').filter((line) => /^\s+at /.test(line))
  return {
    type: thrown.name,
    message: repeatsInput(thrown, code)
      ? 'withheld, as it may repeat input'
      : cleanText(redact(thrown.message)),
    ...(code !== undefined && { code: cleanText(code, 80) }),
    ...(frames !== undefined && { stack: frames.join('\n') }),
    ...(thrown.cause !== undefined &&
      depth < maxCauses && { cause: errorLine(thrown.cause, redact, depth + 1) }),
  }
}

/** `JSON.parse` quotes what it could not read; Node's argument errors quote what they received. */
const repeatsInput = (error: Error, code: string | undefined) =>
  error instanceof SyntaxError || code?.startsWith('ERR_INVALID_') === true
