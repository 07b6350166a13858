/** The list of sources. A new provider adds one line here. */
import type { Source, SourceSettings } from './source.ts'

// biome-ignore lint/suspicious/noExplicitAny: each source's credential and session types are its own; nobody else looks inside them.
export type AnySource = Source<any, any>

export const createSources = (_settings: SourceSettings = { customDomains: [] }): readonly AnySource[] => []

export const sourceByIntegrationType = (sources: readonly AnySource[], type: string) =>
  sources.find((source) => source.integrationType === type)

export const sourceByName = (sources: readonly AnySource[], name: string) =>
  sources.find((source) => source.name === name)
