/** An answer as a source hears it. */
import { JsonRefused, parseBoundedJson } from './bounded-json.ts'
import type { RawAnswer } from './exchange.ts'
import type { HttpAnswer } from './http.ts'
import { SourceError } from './source-error.ts'

export class Answer implements HttpAnswer {
  readonly status: number
  readonly headers: Headers
  readonly receivedAt: Date
  /** Private, so that an answer which ends up in a log shows no token. */
  readonly #text: string
  readonly #operation: string
  readonly #asked: string

  constructor({ status, headers, text, receivedAt }: RawAnswer, operation: string, asked: string) {
    this.status = status
    this.headers = headers
    this.#text = text
    this.receivedAt = receivedAt
    this.#operation = operation
    this.#asked = asked
  }

  get text(): string {
    return this.#text
  }

  json(): unknown {
    try {
      return parseBoundedJson(this.#text)
    } catch (cause) {
      if (!(cause instanceof JsonRefused)) throw cause
      throw new SourceError({
        code: 'unexpected_response',
        operation: this.#operation,
        asked: this.#asked,
        status: this.status,
        cause,
      })
    }
  }
}
