/** Ends of checks that the source itself comes to, without a refusal of the provider. */
import { type Cause, causeOf } from '../cause.ts'
import type { Outcome } from '../source.ts'
import { causes, type EntraCause } from './causes.ts'

export const fail = (
  code: EntraCause,
  values: Readonly<Record<string, string>>,
): Extract<Outcome, { cause: Cause }> => {
  const { determinate, cause } = causeOf(causes, code, values)
  return { status: determinate ? 'failed' : 'unknown', cause }
}

export const warn = (code: EntraCause, values: Readonly<Record<string, string>> = {}): Cause =>
  causeOf(causes, code, values).cause
