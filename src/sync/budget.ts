/** One rate budget for each account at a provider, shared by its configurations, validations and nodes. */
import type { HttpClient } from '../outbound/http.ts'
import type { RateRules } from '../sources/reading.ts'

export interface BudgetUse {
  /** Requests made, retries included. */
  calls: number
  /** Answers that refused because of a limit. */
  throttled: number
}

export interface Budget {
  /**
   * The same client, whose requests wait for their turn within the account's budget, and are asked again after a
   * refusal that only the limit caused. What they come to is added to `use`.
   *
   * @param share how much of what the provider grants may be used, in percent
   */
  spending(http: HttpClient, signal: AbortSignal, use: BudgetUse, share?: number): HttpClient
}

/** How a budget stands, for people. */
export interface BudgetStanding {
  readonly source: string
  readonly account: string
  readonly bucket: string
  readonly limit: { readonly points: number; readonly perMs: number }
  /** Points a second that are used at most, after `share` and what throttling taught. */
  readonly ratePerSecond: number
  readonly throttledUntil?: Date
}

export interface Budgets {
  of(
    source: string,
    account: string,
    rules: Pick<RateRules<never>, 'bucketOf' | 'documented' | 'newsIn' | 'concurrency'>,
  ): Budget
  standing(source: string, account: string): readonly BudgetStanding[]
}
