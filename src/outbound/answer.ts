/** An answer as a source hears it. */
import { JsonRefused, parseBoundedJson } from './bounded-json.ts'
import type { Fields, RawAnswer } from './exchange.ts'
import type { HttpAnswer } from './http.ts'
import { SourceError } from './source-error.ts'

export class Answer implements HttpAnswer {
  readonly status: number
  readonly receivedAt: Date
  /** Private, so that an answer which ends up in a log shows no token. */
  readonly #text: string
  readonly #fields: Fields
  readonly #operation: string
  readonly #asked: string
  #headers: Headers | undefined

  constructor({ status, fields, text, receivedAt }: RawAnswer, operation: string, asked: string) {
    this.status = status
    this.#text = text
    this.receivedAt = receivedAt
    this.#fields = fields
    this.#operation = operation
    this.#asked = asked
  }

  /** Made when it is asked for: of most answers, only status and body are looked at. */
  get headers(): Headers {
    this.#headers ??= this.#headersOf(this.#fields)
    return this.#headers
  }

  get text(): string {
    return this.#text
  }

  json(): unknown {
    try {
      return parseBoundedJson(this.#text)
    } catch (cause) {
      if (!(cause instanceof JsonRefused)) throw cause
      throw this.#unexpected(cause)
    }
  }

  #headersOf(fields: Fields): Headers {
    const headers = new Headers()
    try {
      for (const [name, value] of Object.entries(fields))
        for (const one of [value ?? []].flat()) headers.append(name, one)
    } catch {
      throw this.#unexpected(new Error('a header of the answer is malformed'))
    }
    return headers
  }

  #unexpected(cause: Error): SourceError {
    return new SourceError({
      code: 'unexpected_response',
      operation: this.#operation,
      asked: this.#asked,
      status: this.status,
      cause,
    })
  }
}
