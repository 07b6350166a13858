/** Causes: what a failure means, and what an administrator does about it. */

/** A cause as a report shows it. */
export interface Cause {
  /** `<source>_<what>`, lower snake case; stable once published. */
  readonly code: string
  readonly title: string
  readonly explanation: string
  readonly remedy: string
  /** The vendor's page, or ours where the vendor has none. */
  readonly docs: string
}

/**
 * How far a refusal reaches: to whatever is asked for with these credentials, or to all of what was asked for,
 * whichever of it. Where a cause has none, it may be about a single object.
 */
export type Reach = 'everything' | 'all_alike'

/** A cause as a source declares it. `{name}` in a text is filled in by `causeOf`. */
export interface CauseTemplate {
  /**
   * Whether the provider (or the input itself) plainly said "no": then the check failed. Otherwise nobody knows,
   * and the check is unknown.
   */
  readonly determinate: boolean
  readonly reach?: Reach
  readonly title: string
  readonly explanation: string
  readonly remedy: string
  readonly docs: string
}

export type CauseCatalogue = Readonly<Record<string, CauseTemplate>>

/** A cause that applies to the case at hand, with whether it settles the check. */
export interface Diagnosis {
  readonly determinate: boolean
  readonly reach?: Reach
  readonly cause: Cause
}

/** Fills the cause `code` of `catalogue`; a placeholder without a value keeps its name in angle brackets. */
export function causeOf<C extends CauseCatalogue>(
  catalogue: C,
  code: keyof C & string,
  values: Readonly<Record<string, string>> = {},
): Diagnosis {
  const template = catalogue[code]
  if (template === undefined) throw new Error(`no cause ${code} in the catalogue`)
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? `<${name}>`)
  return {
    determinate: template.determinate,
    ...(template.reach !== undefined && { reach: template.reach }),
    cause: {
      code,
      title: fill(template.title),
      explanation: fill(template.explanation),
      remedy: fill(template.remedy),
      docs: template.docs,
    },
  }
}
