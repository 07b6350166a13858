/** The list of sources. A new provider adds one line here. */
import type { Source } from './source.ts'

// biome-ignore lint/suspicious/noExplicitAny: each source's credential and session types are its own; nobody else looks inside them.
export const sources: readonly Source<any, any>[] = []

export const sourceByIntegrationType = (type: string) =>
  sources.find((source) => source.integrationType === type)
export const sourceByName = (name: string) => sources.find((source) => source.name === name)
