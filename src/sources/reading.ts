/** How a source is read: what one page of a list is. Who reads drives; a source never loops over pages itself. */
import type { Activity, Entity, EntityKind, Fact, FactName, Membership } from '../entities/model.ts'
import type { HttpAnswer, HttpRequest } from '../outbound/http.ts'
import type { EntityType, SourceTools, Target } from './source.ts'

/** Made and understood by the source alone, stored between pages: small, and without secrets. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

export interface Page {
  readonly entities?: readonly Entity[]
  readonly memberships?: readonly Membership[]
  readonly facts?: readonly Fact[]
  /** In increments: facts of these names are told whole with this page, so that an entity without any has none any more. */
  readonly wholeFacts?: readonly {
    readonly kind: EntityKind
    readonly uid: string
    readonly names: readonly FactName[]
  }[]
  /** Activity of entities that this list does not tell otherwise. */
  readonly activities?: readonly {
    readonly kind: EntityKind
    readonly uid: string
    readonly activity: Activity
  }[]
  /** Gone for good, as the provider said in so many words. */
  readonly removed?: readonly { readonly kind: EntityKind; readonly uid: string }[]
  /** In increments: groups whose members have to be read anew, whole. */
  readonly changedGroups?: readonly { readonly uid: string; readonly memberCount?: number }[]
  /** Records that could not be read, each named as far as possible. They count as seen: nobody is removed for them. */
  readonly unreadable?: readonly {
    readonly kind: EntityKind
    readonly uid?: string
    readonly reason: string
  }[]
  /** Records that the provider sent, for a list that passes some over: a page of those alone is not an empty one. */
  readonly records?: number
  /** Where the list goes on. Absent: its end was seen. */
  readonly next?: Json
  /** At the end of an increment's list: where the next increment goes on. */
  readonly mark?: Json
}

/** A list that is read from its beginning to its end. */
export interface EntityList<S> {
  /** Lower snake case, unique in its source: `users`, `deleted_users`, `role_assignments`. */
  readonly name: string
  /** For people: `Users`. */
  readonly title: string
  readonly capability: EntityType
  /** Whether a run fails when it cannot be read. An optional list that is refused is left out, named in the run. */
  readonly required: boolean
  /** Costs a request for each entity: read where `settings.require` of a configuration names its capability. */
  readonly isOnRequest?: boolean
  /** Lists of this name must have ended before. */
  readonly after?: readonly string[]
  /** Once every list that has a kind has ended, entities of it that were not seen are gone. */
  readonly kinds?: readonly EntityKind[]
  /** Once it ended, its facts take the place of those that were known. */
  readonly facts?: readonly FactName[]
  /** Requests that it takes for so many entities, for the plan that is shown before a run. */
  calls(known: {
    readonly identities?: number
    readonly groups?: number
    readonly devices?: number
    /** Entities and facts that this list told in the last full run. */
    readonly told?: number
  }): number | undefined
  /** One page; from the beginning without a cursor. @throws SourceError */
  read(session: S, cursor: Json | undefined): Promise<Page>
}

/** One way to learn who is in which group: asking each group, or asking each user. The cheaper one is taken. */
export interface MembershipWalk<S> {
  readonly by: 'group' | 'identity'
  /** Requests that it takes for one group or user; `memberCount` is there for groups that were read with one. */
  calls(owner: { readonly memberCount?: number }): number
  /** @throws SourceError; with status 404 the owner has gone meanwhile */
  read(session: S, ownerUid: string, cursor: Json | undefined): Promise<Page>
}

/** A list that tells what has changed since a mark. */
export interface IncrementList<S> {
  readonly name: string
  readonly title: string
  readonly capability: EntityType
  readonly required: boolean
  /**
   * Lists of this name are read before, or left out. So a list that tells who is gone has the last word about whoever
   * was on a page of them: what is told last counts.
   */
  readonly after?: readonly string[]
  /** Kinds for which its end proves that what it did not tell of is as it was. */
  readonly kinds: readonly EntityKind[]
  /** It is read whole each time: once it ended, its facts take the place of those that were known. */
  readonly facts?: readonly FactName[]
  /** A mark for now, taken before a full run, so that what changes meanwhile is told by the next increment. */
  begin(session: S): Promise<Json>
  /** One page; the first without a cursor. The last page has a mark. @throws SourceError, MarkLost */
  read(session: S, mark: Json, cursor: Json | undefined): Promise<Page>
}

/** The provider does not know the mark any more: everything has to be read. */
export class MarkLost extends Error {
  override readonly name = 'MarkLost'
}

/** One of the provider's limits: so many points in so many milliseconds. */
export interface RateLimit {
  readonly points: number
  readonly perMs: number
}

/** What an answer tells of a limit. */
export interface RateNews {
  readonly limit?: RateLimit
  /** Points left, and in how many milliseconds all are back, by the provider's clock. */
  readonly remaining?: number
  readonly resetInMs?: number
  /** It refused because of its limits: nothing may be asked of this bucket for so long. */
  readonly throttledForMs?: number
}

/** The provider's limits as it documents them. */
export interface RateRules<C> {
  /** Whose limits they are: the organisation, tenant or customer at the provider. The same for every credential of it. */
  account(target: Target<C>): string
  /** Which limit a request counts against, and how many points it costs. */
  bucketOf(request: Pick<HttpRequest, 'method' | 'url'>): { readonly bucket: string; readonly cost: number }
  /** Until an answer tells otherwise. */
  documented(bucket: string): RateLimit
  /** Requests under way at a time that the provider allows for a bucket, if it limits that. */
  readonly concurrency?: number
  newsIn(answer: Pick<HttpAnswer, 'status' | 'headers' | 'text'>, bucket: string): RateNews | undefined
}

/** Everything that reading a source needs. `C` is its credentials, `S` the session of one run. */
export interface EntityReader<C, S> {
  open(target: Target<C>, tools: SourceTools): S
  /** The lists of a full run. */
  readonly lists: readonly EntityList<S>[]
  readonly memberships: readonly MembershipWalk<S>[]
  /**
   * In increments: the groups of people who were not known before. They may have been in them for long, so that nothing
   * else tells of it: passed over by the last full run, restored, or told of later than their groups.
   */
  readonly newcomers?: MembershipWalk<S>
  readonly increments: readonly IncrementList<S>[]
  readonly rates: RateRules<C>
}

/** Keeps a source's own types while it is written. */
export const defineReader = <C, S>(reader: EntityReader<C, S>): EntityReader<C, S> => reader
