/** Answers that go on for long: how many a node gives at a time, and whether whoever reads one is there, reads, and still may. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isUnavailable } from '../store/unavailable.ts'
import type { Log } from '../telemetry/log.ts'
import { type Authentication, demandPermission } from './authentication.ts'
import { forbidden, RequestError } from './errors.ts'

/** What a node allows. */
export interface StreamLimits {
  /** Runs watched at a time: each asks the database once a second. */
  readonly runs: number
  /** Streams of lines read at a time, those that are followed among them: each holds a few pieces of lines. */
  readonly lines: number
  /** Of these, for one organisation: it leaves some to others. */
  readonly linesOfOrganization: number
  /** Of these, followed: each asks the database whenever it looks. */
  readonly followedLines: number
  /** How long a reader may take nothing of what waits for it, in milliseconds. */
  readonly unreadMs: number
}

export const defaultStreamLimits: StreamLimits = {
  runs: 200,
  lines: 300,
  linesOfOrganization: 250,
  followedLines: 200,
  unreadMs: 60_000,
}

export type StreamKind = 'run' | 'lines' | 'followed_lines'

export interface Streams {
  /**
   * Takes a place for an answer, and looks after it until it is over. Whoever takes nothing of it is disconnected.
   *
   * @returns aborted at once when the reader leaves, and within 5 s when it may not read any longer. The reason is
   * then the RequestError with which it would be refused: the stream has to end, and not as if it were whole
   * @throws RequestError when there is no place
   */
  open(kind: StreamKind, request: FastifyRequest, reply: FastifyReply): AbortSignal
}

/** How often a stream is looked after, in milliseconds. What is known of a key meanwhile is up to 2 s old. */
const lookMs = 1_000

interface Place {
  readonly name: string
  readonly most: number
  readonly code: 'unavailable' | 'too_many_requests'
  /** What whoever finds none is told. */
  readonly refusal: string
}

export function createStreams(
  authentication: Authentication,
  limits: StreamLimits,
  log: Pick<Log, 'info'>,
): Streams {
  const taken = new Map<string, number>()

  const placesOf = (kind: StreamKind, organizationId: string): readonly Place[] => {
    if (kind === 'run')
      return [
        {
          name: 'runs',
          most: limits.runs,
          code: 'unavailable',
          refusal: 'As many runs are watched as the server allows. Try again.',
        },
      ]
    return [
      {
        name: `lines of ${organizationId}`,
        most: limits.linesOfOrganization,
        code: 'too_many_requests',
        refusal: 'Your organisation reads as many streams of entities as it may. End some, or try again.',
      },
      ...(kind === 'followed_lines'
        ? [
            {
              name: 'followed lines',
              most: limits.followedLines,
              code: 'unavailable' as const,
              refusal: 'As many feeds are followed as the server allows. Try again, or ask without follow.',
            },
          ]
        : []),
      {
        name: 'lines',
        most: limits.lines,
        code: 'unavailable',
        refusal: 'As many streams of entities are read as the server allows. Try again.',
      },
    ]
  }

  /** @returns what gives the places back */
  const take = (places: readonly Place[]): (() => void) => {
    const full = places.find(({ name, most }) => (taken.get(name) ?? 0) >= most)
    if (full !== undefined) throw new RequestError(full.code, full.refusal)
    for (const { name } of places) taken.set(name, (taken.get(name) ?? 0) + 1)
    return () => {
      for (const { name } of places) {
        const left = (taken.get(name) ?? 1) - 1
        if (left === 0) taken.delete(name)
        else taken.set(name, left)
      }
    }
  }

  /** Asks who the caller is, and what they may do, as of a request that comes now. */
  const admitAgain = async (request: FastifyRequest): Promise<void> => {
    const { access } = request.routeOptions.config
    if (access === undefined || access === 'public') return
    const caller = await authentication.callerOf(request, access)
    demandPermission(caller, access)
    request.caller = caller
  }

  return {
    open(kind, request, reply) {
      const { caller, socket } = request
      if (caller === null) throw forbidden()
      const giveBack = take(placesOf(kind, caller.organization.id))
      const watch = new AbortController()
      const isUnread = unreadFor(limits.unreadMs, socket)
      let isOver = false
      let timer: NodeJS.Timeout | undefined

      const end = () => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        giveBack()
        watch.abort(new RequestError('timed_out', 'Nobody reads this any more.'))
      }
      const tell = (why: string) =>
        log.info({ request_id: request.id, caller: caller.id }, `a stream was cut off: ${why}`)

      const look = async () => {
        if (isUnread()) {
          tell('its reader took nothing of it')
          socket.destroy()
        }
        // An answer that waits for an earlier one of its connection does not hear that it is closed.
        if (socket.destroyed) return end()
        if (!watch.signal.aborted)
          await admitAgain(request).catch((error: unknown) => {
            // Without the database nothing is read from it either.
            if (isUnavailable(error) || isOver) return
            tell('its caller would not be admitted any more')
            watch.abort(error)
          })
        if (!isOver) timer = setTimeout(look, lookMs)
      }
      timer = setTimeout(look, lookMs)
      reply.raw.once('close', end)
      return watch.signal
    },
  }
}

/** Whether something has waited for so long to be taken from a connection, and nothing was. */
function unreadFor(
  limitMs: number,
  socket: { readonly bytesWritten: number; readonly writableLength: number },
): () => boolean {
  let takenBytes = 0
  let takenAtMs = performance.now()
  return () => {
    const { bytesWritten, writableLength } = socket
    const nowMs = performance.now()
    if (writableLength === 0 || bytesWritten - writableLength !== takenBytes) {
      takenBytes = bytesWritten - writableLength
      takenAtMs = nowMs
    }
    return nowMs - takenAtMs >= limitMs
  }
}
