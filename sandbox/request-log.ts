/** What the sandboxes were asked, without anything secret: no query, no header, no body. */

/** A request as the sandbox saw it. Secrets are not kept. */
export interface SeenRequest {
  readonly provider: string
  readonly method: string
  readonly host: string
  /** Without the query. */
  readonly path: string
  /** 0 while there is no answer, and for ever when a fault left the request without one. */
  readonly status: number
  readonly at: Date
}

/** Older requests are forgotten. */
const maxRequests = 10_000

/** Longest path kept, in characters. */
const maxPathLength = 300

export interface RequestLog {
  /** In order of arrival. */
  add(request: Omit<SeenRequest, 'status'>): { answered(status: number): void }
  /** Oldest first. */
  list(): readonly SeenRequest[]
  forget(): void
}

export function createRequestLog(): RequestLog {
  let entries: (Omit<SeenRequest, 'status'> & { status: number })[] = []
  return {
    add(request) {
      const entry = { ...request, path: request.path.slice(0, maxPathLength), status: 0 }
      entries.push(entry)
      // Cut back rarely, so that a busy sandbox does not move its whole log for each request.
      if (entries.length >= 2 * maxRequests) entries = entries.slice(-maxRequests)
      return {
        answered(status) {
          entry.status = status
        },
      }
    },
    list: () => entries.slice(-maxRequests).map((entry) => ({ ...entry })),
    forget() {
      entries = []
    },
  }
}
