/** How many requests a run is thought to take, before it is begun: what the provider's limits will be spent on. */
import { requiredBy } from '../configs/settings.ts'
import { type EntityKind, entityKinds, kindNumbers } from '../entities/model.ts'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import type { ConfigRow } from '../store/configs.ts'
import type { Database } from '../store/database.ts'
import type { RunOutcome } from './result.ts'
import { type AnyReader, withWantedLists } from './session.ts'

export interface PlannedList {
  readonly name: string
  /** For people. */
  readonly title: string
  readonly required: boolean
  /** Requests; absent as long as nobody knows how much there is. */
  readonly calls?: number
}

export interface RunPlan {
  /** What is known of how much there is, from the runs before. */
  readonly known: Readonly<Partial<Record<EntityKind, number>>>
  readonly full: {
    readonly lists: readonly PlannedList[]
    /** Absent where the source tells memberships with its lists. */
    readonly memberships?: {
      /** The walk that would be taken: each group is asked, or each user. */
      readonly by?: 'group' | 'identity'
      /** Requests of each walk, as they were counted in the last full run. */
      readonly calls: Readonly<Partial<Record<'group' | 'identity', number>>>
    }
    /** All in all; absent as long as a part of it is unknown. */
    readonly calls?: number
  }
  /** Its requests depend on what has changed. */
  readonly incremental: {
    readonly lists: readonly Omit<PlannedList, 'calls'>[]
    /** As many as the last one took. */
    readonly calls?: number
  }
}

export interface PlanParts {
  readonly database: Pick<Database, 'query'>
  readonly sources: readonly AnySource[]
}

/** Undefined for a source whose entities are not read. */
export async function planRun(
  { database, sources }: PlanParts,
  config: Pick<ConfigRow, 'id' | 'organization_id' | 'integration_type' | 'settings'>,
): Promise<RunPlan | undefined> {
  const source = sourceByIntegrationType(sources, config.integration_type)
  const reader: AnyReader | undefined = source?.reader
  if (source === undefined || reader === undefined) return undefined
  const { query } = database
  const lastRun = (mode: 'full' | 'incremental') =>
    query
      .selectFrom('sync_runs')
      .select(['provider_calls', 'result'])
      .where('config_id', '=', config.id)
      .where('organization_id', '=', config.organization_id)
      .where('mode', '=', mode)
      .where('status', 'in', ['succeeded', 'quarantined', 'superseded'])
      .orderBy('requested_at', 'desc')
      .limit(1)
      .executeTakeFirst()
  const [sightings, full, incremental] = await Promise.all([
    query
      .selectFrom('entity_sightings')
      .select(['kind', 'open_count'])
      .where('config_id', '=', config.id)
      .where('organization_id', '=', config.organization_id)
      .execute(),
    lastRun('full'),
    lastRun('incremental'),
  ])
  const known = Object.fromEntries(
    entityKinds.flatMap((kind) =>
      sightings
        .filter((one) => one.kind === kindNumbers[kind])
        .map(({ open_count }) => [kind, open_count] as const),
    ),
  )
  return planOf(withWantedLists(reader, requiredBy(source, config.settings)), known, {
    outcome: full?.result as Partial<RunOutcome> | undefined,
    lastIncrementCalls: incremental?.provider_calls,
  })
}

export function planOf(
  { lists, memberships: walks, increments }: AnyReader,
  known: RunPlan['known'],
  {
    outcome,
    lastIncrementCalls,
  }: {
    readonly outcome?: Partial<RunOutcome> | undefined
    readonly lastIncrementCalls?: number | undefined
  },
): RunPlan {
  const counts = {
    ...(known.identity !== undefined && { identities: known.identity }),
    ...(known.group !== undefined && { groups: known.group }),
    ...(known.device !== undefined && { devices: known.device }),
  }
  const planned = lists.map(({ name, title, required, calls }): PlannedList => {
    const told = outcome?.lists?.[name]?.seen
    const count = calls({ ...counts, ...(told !== undefined && { told }) })
    return { name, title, required, ...(count !== undefined && { calls: count }) }
  })
  const walk = outcome?.memberships
  const walkCalls = walk?.calls?.[walk.by]
  const all = [...planned.map(({ calls }) => calls), ...(walks.length === 0 ? [] : [walkCalls])]
  const sum = all.reduce<number | undefined>(
    (total, calls) => (total === undefined || calls === undefined ? undefined : total + calls),
    0,
  )
  return {
    known,
    full: {
      lists: planned,
      ...(walks.length > 0 && {
        memberships: { ...(walk !== undefined && { by: walk.by }), calls: walk?.calls ?? {} },
      }),
      ...(sum !== undefined && { calls: sum }),
    },
    incremental: {
      lists: increments.map(({ name, title, required }) => ({ name, title, required })),
      ...(lastIncrementCalls !== undefined && { calls: lastIncrementCalls }),
    },
  }
}
