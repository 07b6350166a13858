/** Answers as server-sent events. What goes wrong once one has begun can only be told in it. */
import { PassThrough } from 'node:stream'
import type { FastifyReply } from 'fastify'

export interface EventStream {
  send(event: string, data: unknown): void
  end(): void
}

export const eventStreamType = 'text/event-stream'

/** Begins the answer. */
export function openEventStream(reply: FastifyReply): EventStream {
  const events = new PassThrough()
  reply
    .headers({
      'content-type': eventStreamType,
      'x-accel-buffering': 'no',
      // Kept alive after it, the connection would hold up a server that is asked to end meanwhile.
      connection: 'close',
    })
    .send(events)
  return {
    send(event, data) {
      // A client that has gone takes its stream with it.
      if (!events.destroyed) events.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    },
    end: () => events.end(),
  }
}

/**
 * Whether a stream is named, and preferred to JSON where both are: its status says nothing about the end. JSON that
 * only a wildcard stands for gives way to a stream of the same weight, and to no lighter one.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
 */
export function wantsEvents(accept: string | undefined): boolean {
  if (accept === undefined || !/event-stream/i.test(accept)) return false
  const weights = new Map(
    accept.split(',').map((range) => {
      const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
      return [type, weight === undefined ? 1 : Number(weight)]
    }),
  )
  const stream = weights.get(eventStreamType) ?? 0
  const json = weights.get('application/json')
  if (json !== undefined) return stream > json
  return stream > 0 && stream >= (weights.get('application/*') ?? weights.get('*/*') ?? 0)
}
