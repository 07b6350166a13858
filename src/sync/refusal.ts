/** What keeps a sync from being asked for, changed or found: answers that callers expect, not failures. */

export type Refusal =
  /** The organisation has no configuration of this id; another's is not told from none. */
  | { readonly kind: 'config_not_found'; readonly id: string }
  | { readonly kind: 'run_not_found'; readonly id: string }
  /** Switched off: nothing of it is read. */
  | { readonly kind: 'disabled'; readonly id: string }
  /** Its source can be validated and nothing else. */
  | { readonly kind: 'not_readable'; readonly type: string }
  /** There is nothing that an increment could go on from. */
  | { readonly kind: 'no_increment'; readonly why: 'source' | 'no_full_run' | 'other_credentials' }
  /** Another run is queued or under way. */
  | {
      readonly kind: 'another_active'
      readonly runId: string
      readonly mode: string
      readonly isDryRun: boolean
    }
  /** What the run has read is of other credentials or another domain than the configuration's now. */
  | { readonly kind: 'outdated'; readonly runId: string }
  /** The run is being applied: it is too late to do anything to it. */
  | { readonly kind: 'being_applied'; readonly runId: string }
  /** The run is no longer, or not yet, where this could be done to it. */
  | {
      readonly kind: 'wrong_status'
      readonly runId: string
      readonly status: string
      readonly wanted: string
    }

/** Thrown where a refusal ends an operation; its message is for the log and holds no input. */
export class SyncRefusal extends Error {
  override readonly name = 'SyncRefusal'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.kind)
    this.refusal = refusal
  }
}
