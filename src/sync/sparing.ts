/** What the server asks for its own reasons spares hosts that do not answer: runs of syncs, and scheduled validations. */
import type { Circuits } from '../outbound/circuits.ts'
import type { HttpClient } from '../outbound/http.ts'
import type { AnySource } from '../sources/registry.ts'
import type { Target } from '../sources/source.ts'

export interface Spared {
  readonly organizationId: string
  readonly source: Pick<AnySource, 'name' | 'reader' | 'readDomain'>
  readonly target: Target<unknown>
  /** Once it has aborted, failures are our own doing. */
  readonly signal?: AbortSignal
}

/** The same client, guarded by the circuits of the organisation and the account that it asks. */
export type Sparing = (http: HttpClient, spared: Spared) => HttpClient

export const createSparing =
  (circuits: Circuits): Sparing =>
  (http, { organizationId, source: { name, reader, readDomain }, target, signal }) => {
    if (reader === undefined || !readDomain(target.domain).ok) return http
    const { rates } = reader
    return circuits.guarding(http, {
      owner: { organizationId, source: name, account: rates.account(target) },
      ...(signal !== undefined && { signal }),
      isThrottled: (request, answer) =>
        rates.newsIn(answer, rates.bucketOf(request).bucket)?.throttledForMs !== undefined,
    })
  }
