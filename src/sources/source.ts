/** The source contract: everything the rest of the program knows about a provider. */
import type { z } from 'zod'
import type { EgressRule, HttpClient } from '../outbound/http.ts'
import type { SourceError } from '../outbound/source-error.ts'
import type { Cause, CauseCatalogue, Diagnosis } from './cause.ts'
import type { EntityReader } from './reading.ts'

/**
 * - `shape`: no network: the key parses, the domain is well formed
 * - `access`: a token is issued, scope by scope where the provider lumps causes together
 * - `identity`: who the credentials are, and whether their organisation owns `domain`
 * - `capability`: one smallest real read per kind of entity
 * - `health`: expiry, idleness, excess of privilege: warnings only
 */
export const stages = ['shape', 'access', 'identity', 'capability', 'health'] as const
export type Stage = (typeof stages)[number]

/** The kinds of data a sync reads. */
export const entityTypes = [
  'users',
  'groups',
  'memberships',
  'roles',
  'devices',
  'applications',
  'sign_in_activity',
  'mfa',
  'change_log',
  'credential_expiry',
] as const
export type EntityType = (typeof entityTypes)[number]

/** A scope, role or permission, and where an administrator grants it. */
export interface Need {
  readonly kind: 'scope' | 'role' | 'permission' | 'setting'
  /** The provider's own name of it: `okta.users.read`, `User.Read.All`. */
  readonly name: string
  /** The way through the provider's console: `Admin console > Security > API`. */
  readonly grantAt: string
  readonly docs: string
}

/** What the provider said, cleaned. */
export interface ProviderWords {
  readonly status?: number
  readonly code?: string
  readonly message?: string
}

/** Whom the credentials stand for, as far as the provider told. */
export interface Subject {
  /** Who the credentials are: a service account, an administrator, an app registration. */
  readonly principal?: string
  /** The provider's id or name of the organisation, tenant or customer. */
  readonly organization?: string
  /** The domain whose ownership is claimed, in canonical form. */
  readonly domain?: string
}

/** The end of one check. A check may also throw a SourceError, which the source's `diagnose` turns into `failed` or `unknown`. */
export type Outcome =
  | {
      readonly status: 'passed'
      readonly provider?: ProviderWords
      readonly subject?: Subject
      /** Passed, with something the administrator should know. */
      readonly warnings?: readonly Cause[]
      /** When the credentials in use end, where the provider or they themselves tell. */
      readonly credentialsExpireAt?: Date
    }
  | {
      readonly status: 'failed' | 'unknown'
      readonly cause: Cause
      readonly provider?: ProviderWords
      readonly subject?: Subject
    }
  /** Not asked, and not because of an earlier check: it does not apply to these credentials. Never holds a verdict back. */
  | { readonly status: 'skipped' }

/**
 * One question. The session `S` is the source's own: it holds the credentials and shares tokens between checks.
 */
export interface Check<S> {
  /** Lower snake case, unique in its source, never renamed. */
  readonly id: string
  readonly stage: Stage
  /** A noun phrase for people: `Users can be read`. */
  readonly title: string
  /** One sentence: what is certain once it passed. */
  readonly proves: string
  readonly needs?: Need
  /** Whether the verdict depends on it. Health checks never are. */
  readonly required: boolean
  /** Where it is optional, a sentence: what a sync goes without when it does not pass. */
  readonly without?: string
  /** The kind of entity whose availability it decides; several checks may share one. */
  readonly capability?: EntityType
  /** Ids of checks that must have passed (or did not apply) before this one is asked. */
  readonly after: readonly string[]
  run(session: S): Promise<Outcome>
}

/** A secret or other field of the credentials, as forms, documentation and OpenAPI show it. */
export interface CredentialField {
  readonly name: string
  readonly title: string
  readonly help: string
  readonly example?: string
  readonly secret: boolean
  /** Kept in a file and several lines long (a key, a certificate): forms show an area, the command line takes a file. */
  readonly document?: boolean
  /** The only values it may have. */
  readonly choices?: readonly string[]
  readonly required: boolean
  readonly docs: string
}

/** One way to hold credentials for a source: an API token, a service app, a service account. */
export interface CredentialKind {
  readonly kind: string
  readonly title: string
  readonly fields: readonly CredentialField[]
  /** What `secrets` looks like for it; unknown keys are kept out, never an error. */
  readonly schema: z.ZodType
}

/** A field of the request that cannot be understood at all. Everything that can be understood is judged by a check instead. */
export interface FieldFault {
  /** Path below `data.attributes`: `secrets.api_token`. */
  readonly field: string
  /** What was expected there: `a string`. Never repeats the value. */
  readonly expected: string
}

/** The domain as the customer wrote it, read by the source's own parser. */
export type DomainReading =
  | { readonly ok: true /** Canonical ASCII, lower case. */; readonly domain: string }
  | { readonly ok: false; readonly diagnosis: Diagnosis }

/** What the operator decides for all sources. */
export interface SourceSettings {
  /** Hosts outside a provider's own suffixes that customers may name as `domain` (Okta custom domains), in canonical form. */
  readonly customDomains: readonly string[]
}

/** What a validation is about. */
export interface Target<C> {
  /** As given. */
  readonly domain: string
  readonly credentials: C
}

/** What a source is handed to work with. It has no other way to the network, the time or the environment. */
export interface SourceTools {
  readonly http: HttpClient
  readonly signal: AbortSignal
  now(): Date
}

/** The operator's own credentials of one kind, which serve the domains bound to them. */
export interface OperatorCredentialKind<C> {
  /** The member of the operator file: `google_workspace`. */
  readonly key: string
  /** The entry's members, without `bindings`; members that end in `_file` have been replaced by the file's content, without that ending. */
  readonly schema: z.ZodType
  /** The members, for forms and the command line. */
  readonly fields: readonly CredentialField[]
  /** What of an entry is no secret, and tells it from others: tenant and client ID. Undefined when it cannot be read. */
  describe(entry: unknown): Readonly<Record<string, string>> | undefined
  /** Whether these credentials are of the kind that leaves the secret to the operator. */
  needed(credentials: C): boolean
  /** The credentials completed by the operator's entry. */
  complete(credentials: C, entry: unknown): C
}

/**
 * A provider. `C` is its credentials, never printable as a whole; `S` the session its checks share.
 */
export interface Source<C = unknown, S = unknown> {
  /** In URLs, rows and commands; never renamed: `google-workspace`. */
  readonly name: string
  /** On the wire: `GOOGLE_WORKSPACE`. */
  readonly integrationType: string
  /** For people: `Google Workspace`. */
  readonly title: string
  /** What `domain` means here, for forms and documentation. */
  readonly domainField: Omit<CredentialField, 'secret' | 'required'>
  readonly credentialKinds: readonly CredentialKind[]
  readonly operator?: OperatorCredentialKind<C>
  readonly causes: CauseCatalogue
  readonly checks: readonly Check<S>[]

  readDomain(domain: string): DomainReading
  /** Reads `secrets`; all faults at once when it cannot be understood. */
  readCredentials(
    secrets: Readonly<Record<string, unknown>> | undefined,
  ): { ok: true; credentials: C } | { ok: false; faults: readonly FieldFault[] }
  /** Every string in the credentials that must never be shown. */
  secretsIn(credentials: C): readonly string[]
  /** The identifier within the credentials that a guesser would hold fast while changing the secret, if there is one. */
  principalOf(credentials: C): string | undefined
  /** The exact hosts a validation of this target may talk to; none when the domain is not well formed. */
  egress(target: Target<C>): readonly EgressRule[]
  open(target: Target<C>, tools: SourceTools): S
  /** How its entities are read; absent where nothing but validation is possible. */
  readonly reader?: EntityReader<C, unknown>
  /** What a failure means. Anything the vendor does not document as a "no" is indeterminate. */
  diagnose(error: SourceError, check: Check<S>, target: Target<C>): Diagnosis
}

/** Keeps a source's own types while it is written; the registry holds it as `Source`. */
export function defineSource<C, S>(source: Source<C, S>): Source<C, S> {
  return source
}
