/** The list of sources. A new provider adds one line here. */
import { entraId } from './entra-id/index.ts'
import { googleWorkspace } from './google-workspace/index.ts'
import { createOkta } from './okta/index.ts'
import type { Source, SourceSettings } from './source.ts'

// biome-ignore lint/suspicious/noExplicitAny: each source's credential and session types are its own; nobody else looks inside them.
export type AnySource = Source<any, any>

export const createSources = (settings: SourceSettings = { customDomains: [] }): readonly AnySource[] => [
  googleWorkspace,
  createOkta(settings),
  entraId,
]

export const sourceByIntegrationType = (sources: readonly AnySource[], type: string) =>
  sources.find((source) => source.integrationType === type)

export const sourceByName = (sources: readonly AnySource[], name: string) =>
  sources.find((source) => source.name === name)
