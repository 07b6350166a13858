/** One request and its answer on a pool of sockets, with every limit on bytes and time. */
import type { Dispatcher } from 'undici'
import { BodyBytes, decodeBody } from './body.ts'
import { AnswerRefused, asBrokenOff, outOfTime } from './failure.ts'
import type { Limit } from './limit.ts'

export interface Exchange {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  readonly maxBodyBytes: number
  readonly headersMs: number
  readonly idleMs: number
  /** Its end ends the exchange, and closes the socket. */
  readonly limit: Limit
  now(): Date
}

/** Header fields by their lower-case names. */
export type Fields = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]

export interface RawAnswer {
  readonly status: number
  readonly fields: Fields
  readonly text: string
  readonly receivedAt: Date
}

/** More answers of status 1xx before the real one are not waited for. */
const maxInterimAnswers = 8

/**
 * Sends a request and reads its answer to the end, or to the first byte that breaks a limit.
 *
 * @throws AnswerRefused, BrokenOff, Interrupted, or what undici, zlib or the pool's connections throw
 */
export async function exchange(pool: Dispatcher, asked: Exchange): Promise<RawAnswer> {
  const { status, fields, bytes, receivedAt } = await received(pool, asked)
  const text = await decodeBody(bytes, [fields['content-encoding'] ?? []].flat(), asked.maxBodyBytes)
  return { status, fields, text, receivedAt }
}

interface Received extends Omit<RawAnswer, 'text'> {
  readonly bytes: Buffer
}

function received(pool: Dispatcher, asked: Exchange): Promise<Received> {
  const { limit } = asked
  return new Promise((resolve, reject) => {
    const body = new BodyBytes(asked.maxBodyBytes)
    let controller: Dispatcher.DispatchController | null = null
    let head: Omit<Received, 'bytes'> | undefined
    let interimAnswers = 0
    let isOver = false

    const fail = (reason: unknown) => {
      if (isOver) return
      isOver = true
      limit.forget(onLimit)
      reject(reason)
      controller?.abort(abandoned)
    }
    const onLimit = () => fail(outOfTime)
    if (limit.isOver) return onLimit()
    limit.onEnd(onLimit)

    const { method, path, headers, headersMs, idleMs } = asked
    const request = {
      method,
      path,
      headers,
      body: asked.body ?? null,
      headersTimeout: headersMs,
      bodyTimeout: idleMs,
    }
    pool.dispatch(request, {
      onRequestStart(started) {
        controller = started
        // Given up while it waited for a socket.
        if (isOver) started.abort(abandoned)
      },
      onResponseStart(_controller, status, fields) {
        // Interim answers restart the timer of the headers, so their number is bounded instead.
        if (status < 200) {
          if (++interimAnswers > maxInterimAnswers)
            fail(new AnswerRefused('unexpected_response', 'too many interim answers'))
        } else if (status >= 300 && status < 400) {
          fail(new AnswerRefused('redirected', 'redirects are not followed', status))
        } else if (status > 599) {
          fail(new AnswerRefused('unexpected_response', 'there is no such status', status))
        } else {
          head = { status, fields, receivedAt: asked.now() }
          body.expect(fields['content-length'])
        }
      },
      onResponseData(_controller, chunk) {
        try {
          body.add(chunk)
        } catch (refused) {
          fail(refused)
        }
      },
      onResponseEnd() {
        if (isOver || head === undefined) return
        isOver = true
        limit.forget(onLimit)
        resolve({ ...head, bytes: body.bytes() })
      },
      onResponseError(_controller, error) {
        fail(head === undefined ? asBrokenOff(error) : error)
      },
    })
  })
}

/** What undici is told of an exchange that was given up; nobody else hears it. One for all, as errors are costly to make. */
const abandoned = new Error('abandoned')
