/** What a provider sandbox is: a strict stand-in for one vendor's API, which the frame in server.ts serves over HTTP. */
import type { LivingDirectory } from './living-directory.ts'

export interface SandboxRequest {
  readonly method: string
  /** As the client meant it: scheme it used, its Host header, path and query. */
  readonly url: URL
  readonly headers: Headers
  /** Decoded as UTF-8. */
  readonly body: string
  readonly now: Date
  /** Whether the fault that only the provider itself can play is switched on for this request. */
  readonly faults: ReadonlySet<ProviderFault>
}

export interface SandboxAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** A string is sent as it is; anything else as JSON. */
  readonly body?: unknown
}

/** See faults.ts. The last two are Entra ID's alone. */
export type ProviderFault = 'repeated_next_link' | 'empty_middle_page' | 'lost_delta_token' | 'delta_replays'

/** Attributes of a validation request as they go over the wire. */
export interface ExampleAttributes {
  readonly domain: string
  readonly integration_type: string
  readonly secrets?: Readonly<Record<string, unknown>>
}

export interface ProviderSandbox {
  /** The people and groups of the organisation that the examples are about; what happens there is seen at once. */
  readonly directory?: LivingDirectory
  readonly name: 'google' | 'okta' | 'entra'
  /** The provider's hosts that it answers for: `oauth2.googleapis.com`. */
  readonly hosts: readonly string[]
  handle(request: SandboxRequest): Promise<SandboxAnswer>
  /** 429 (or what the vendor sends instead) with the vendor's headers and body. */
  throttled(request: SandboxRequest): SandboxAnswer
  /** 503 in the vendor's form. */
  unavailable(request: SandboxRequest): SandboxAnswer
  /** Credentials that validate, and the typical failures, each with a title a person understands; for the demo. */
  examples(): {
    readonly valid: ExampleAttributes
    readonly invalid: readonly { readonly title: string; readonly attributes: ExampleAttributes }[]
  }
}
