/** A run while it goes on, as server-sent events: how far it is, until its end. */
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SyncRunRow } from '../../store/sync-runs.ts'
import { isUnavailable } from '../../store/unavailable.ts'
import { SyncRefusal } from '../../sync/refusal.ts'
import { errorLine } from '../error-line.ts'
import { RequestError } from '../errors.ts'
import { eventStreamType, openEventStream } from '../event-stream.ts'
import type { ServerParts } from '../parts.ts'
import { runDocument, sightOf } from './sync-documents.ts'

/** How often it is looked how far a run is, in milliseconds: at first, as small ones are soon over, */
const firstLookMs = 100
/** and after twice as long each time, at last. */
const lookMs = 1_000
/** Something is sent at least so often, so that nothing between takes the connection for dead, in milliseconds. */
const keepAliveMs = 15_000
/** The rate is that of so long, in milliseconds. */
const rateMs = 10_000

export interface RunStreams {
  /**
   * Answers with events until the run has ended; `read` looks how far it is. Whoever asks for the head alone is told
   * that there is such a stream, and none is opened.
   *
   * @throws RequestError
   */
  send(request: FastifyRequest, reply: FastifyReply, read: () => Promise<SyncRunRow>): Promise<void>
}

export function createRunStreams({
  lifecycle,
  log,
  streams,
}: Pick<ServerParts, 'lifecycle' | 'log' | 'streams'>): RunStreams {
  return {
    async send(request, reply, read) {
      if (request.method === 'HEAD') {
        await read()
        reply.type(eventStreamType).send('')
        return
      }
      const signal = streams.open('run', request, reply)
      let run = await read()
      const events = openEventStream(reply)
      const recent: { readonly atMs: number; readonly seen: number }[] = []
      let sent = ''
      let sentAtMs = Number.NEGATIVE_INFINITY

      const tell = () => {
        const atMs = performance.now()
        recent.push({ atMs, seen: run.seen })
        while (atMs - (recent[0]?.atMs ?? atMs) > rateMs) recent.shift()
        const { attributes } = runDocument(run, new Date(), sightOf(request))
        const first = recent[0]
        const seconds = first === undefined ? 0 : (atMs - first.atMs) / 1000
        const progress = {
          status: attributes.status,
          pages: attributes.pages,
          seen: attributes.seen,
          provider_calls: attributes.provider_calls,
          throttled: attributes.throttled,
          lists: attributes.lists,
          ...(first !== undefined &&
            seconds > 0 && {
              rate_per_second: Math.round(((run.seen - first.seen) / seconds) * 10) / 10,
            }),
          ...(attributes.remaining_seconds !== undefined && {
            remaining_seconds: attributes.remaining_seconds,
          }),
        }
        const text = JSON.stringify([progress.status, progress.pages, progress.seen, progress.provider_calls])
        if (text === sent && atMs - sentAtMs < keepAliveMs) return
        sent = text
        sentAtMs = atMs
        events.send('progress', progress)
      }

      const follow = async () => {
        for (let pauseMs = firstLookMs; lifecycle.isReady(); ) {
          signal.throwIfAborted()
          tell()
          if (run.status !== 'queued' && run.status !== 'running') {
            events.send('end', { data: runDocument(run, new Date(), sightOf(request)) })
            return
          }
          await wait(pauseMs, undefined, { signal })
          pauseMs = Math.min(pauseMs * 2, lookMs)
          run = await read().catch((error: unknown) => {
            // It is looked again: a database that is away comes back.
            if (isUnavailable(error)) return run
            throw error
          })
        }
      }
      follow()
        .catch((thrown: unknown) => {
          const error = signal.aborted ? signal.reason : thrown
          if (error instanceof RequestError) {
            events.send('error', { errors: error.errors })
            return
          }
          if (error instanceof SyncRefusal) {
            events.send('error', { errors: ['The run is gone: its configuration has been deleted.'] })
            return
          }
          log.error({ request_id: request.id, error: errorLine(error) }, 'internal error')
          events.send('error', {
            errors: [`Internal error. The log has the details under request id ${request.id}.`],
          })
        })
        .finally(() => events.end())
    },
  }
}
