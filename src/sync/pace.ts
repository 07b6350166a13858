/** How hard a run works, and how long it waits for what may pass. */
export interface Pace {
  /** Owners whose members or groups are asked for at a time. */
  readonly ownersAtOnce: number
  /** Members asked for at a time, where sizes are told: some providers send each with the whole of their profile. */
  readonly membersAtOnce: number
  /** Entities, memberships and facts that are read and not committed: more wait, so that memory stays flat. */
  readonly rowsWaiting: number
  /** Read rows are committed together from this number on, */
  readonly rowsAtOnce: number
  /** or when the first of them has waited for so long, in milliseconds. A run's first page never waits. */
  readonly lingerMs: number
  /** Where nothing was read for so long, requests are counted and it is looked whether the run is still wanted, in milliseconds. */
  readonly lookMs: number
  /** How often one page is asked for when the provider does not answer, or not sensibly. */
  readonly attempts: number
  /** Before the second attempt, in milliseconds; twice as long before each further one, */
  readonly pauseMs: number
  /** up to this, */
  readonly longestPauseMs: number
  /** or as long as the provider asks for, up to this. */
  readonly longestWaitMs: number
}

export const defaultPace: Pace = {
  ownersAtOnce: 8,
  membersAtOnce: 3_000,
  rowsWaiting: 2_000,
  rowsAtOnce: 1_000,
  lingerMs: 150,
  lookMs: 1_000,
  // About a quarter of an hour in all: a provider's restart passes, and a lasting outage ends the run.
  attempts: 13,
  pauseMs: 1_000,
  longestPauseMs: 120_000,
  longestWaitMs: 600_000,
}
