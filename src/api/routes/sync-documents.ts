/** Syncs as the API shows them. What is not known is left out. */
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { timeOf } from '../../configs/sync-settings.ts'
import { type EntityKind, entityKinds, entityTypes, kindNumbers } from '../../entities/model.ts'
import type { SyncRemovalRow, SyncRunRow } from '../../store/sync-runs.ts'
import type { RunPlan } from '../../sync/plan.ts'
import type { SyncStatus } from '../../sync/sync.ts'

/** What whoever asks may be shown. */
export interface Sight {
  /** People, groups and devices by name and id; otherwise they are counted, and no more is told of them. */
  readonly ofEntities: boolean
}

export const sightOf = ({ caller }: Pick<FastifyRequest, 'caller'>): Sight => ({
  ofEntities: caller?.permissions.has('siem_entities_read') === true,
})

const time = z.iso.datetime()
const count = z.int()

const errorDocument = z
  .looseObject({ code: z.string(), title: z.string(), explanation: z.string(), remedy: z.string() })
  .describe('What went wrong, and what to do about it.')

const plannedListSchema = z.object({
  name: z.string(),
  title: z.string(),
  required: z.boolean(),
  calls: count.optional().describe('Requests; absent as long as nobody knows how much there is.'),
})

const listProgress = z.object({
  state: z.string(),
  pages: count,
  seen: count,
})

const resultSchema = z.object({
  counts: z
    .array(
      z.object({
        entity_type: z.string(),
        seen: count,
        added: count,
        changed: count,
        removed: count,
        open: count.describe('There are afterwards.'),
      }),
    )
    .optional(),
  held: z
    .array(z.object({ kind: z.string(), why: z.string(), count, of: count }))
    .optional()
    .describe('What the fuse held back: so many of so many would go.'),
  sample: z
    .array(
      z.object({
        entity_type: z.string(),
        entity_id: z.string(),
        uid: z.string(),
        name: z.string(),
        change: z.enum(['added', 'changed', 'removed']),
      }),
    )
    .optional()
    .describe(
      'Some of what would change, of a dry run or one that waits for approval; shown to whoever has `siem_entities_read` too.',
    ),
  left_out: z.array(errorDocument).optional().describe('Optional lists that could not be read.'),
  unreadable: z
    .object({
      count,
      named: z.array(
        z.object({
          list: z.string(),
          kind: z.string(),
          uid: z.string().optional().describe('Shown to whoever has `siem_entities_read` too.'),
          reason: z.string(),
        }),
      ),
    })
    .optional()
    .describe('Records that could not be read. Nobody is removed for them.'),
  memberships: z
    .object({
      by: z
        .enum(['group', 'identity'])
        .optional()
        .describe('Whom the run asked for memberships: each group, or each user.'),
      before: count.optional().describe('There were.'),
      gained: count.optional(),
      lost: count.optional(),
    })
    .optional(),
})

export const runSchema = z
  .object({
    id: z.uuid(),
    type: z.literal('sync_run'),
    attributes: z.object({
      config_id: z.uuid(),
      mode: z.enum(['full', 'incremental']),
      dry_run: z.boolean(),
      status: z
        .enum(['queued', 'running', 'succeeded', 'failed', 'quarantined', 'cancelled', 'superseded'])
        .describe(
          '`quarantined`: it would remove more than the fuse lets pass, and waits for approval; `superseded`: it waited, and a later run has taken its place.',
        ),
      reason: z.string().describe('`first`, `schedule` or `request`.'),
      requested_by: z.string(),
      requested_at: time,
      started_at: time.optional().describe('Once approved, when it began to be applied.'),
      ended_at: time.optional(),
      duration_ms: count.optional().describe('Of an approved run: of applying it.'),
      cancel_requested: z.boolean(),
      approved_by: z.string().optional(),
      pages: count.describe('Pages read and kept.'),
      seen: count.describe('Entities, memberships and facts read.'),
      changed: count.describe('Revisions written: of entities that are new or have changed.'),
      removed: count.describe('Entities that are gone.'),
      provider_calls: count,
      throttled: count.describe('Answers that refused because of a rate limit.'),
      rate_per_second: z.number().optional().describe('Entities, memberships and facts read a second.'),
      remaining_seconds: count
        .optional()
        .describe('By the plan and the requests made so far; absent where nobody can tell.'),
      lists: z.record(z.string(), listProgress).describe('How far each list was read.'),
      planned_calls: count
        .optional()
        .describe('Requests that the run was thought to take when it began; absent where nobody could tell.'),
      result: resultSchema.optional(),
      error: errorDocument.optional(),
    }),
  })
  .meta({ id: 'SyncRun' })
export type RunDocument = z.infer<typeof runSchema>

export const statusSchema = z
  .object({
    id: z.uuid(),
    type: z.literal('sync_status'),
    attributes: z.object({
      enabled: z.boolean().describe('Whether the configuration, and its sync, are switched on.'),
      paused: z.boolean().describe('No run begins by itself.'),
      schedule: z.object({
        incremental_minutes: count.describe('0: no increments.'),
        full_at: z.string().optional().describe('Time of day in UTC.'),
        full_hours: count.optional(),
      }),
      next_full_at: time.optional(),
      next_incremental_at: time.optional(),
      incremental_since: time.optional().describe('Increments have followed up to then.'),
      complete_at: time
        .optional()
        .describe('When the last full run whose every required list was read to its end was applied.'),
      entities: z
        .array(
          z.object({
            entity_type: z.string(),
            count: count.describe('There are now.'),
            last_seen_at: time.describe('Until then all of them are known to be as they are stored.'),
          }),
        )
        .describe('By entity type, those that were ever seen.'),
      failures: count.describe('Runs in a row that failed.'),
      last_error: errorDocument.optional(),
      budget: z
        .array(
          z.object({
            bucket: z.string(),
            limit: z.number(),
            per_ms: z.number(),
            rate_per_second: z.number(),
            throttled_until: time.optional(),
          }),
        )
        .describe(
          "The provider's rate limits, and how much of them is used at most; as far as the node that answers has met them.",
        ),
      active_run: runSchema.optional(),
      quarantined_run: runSchema.optional(),
    }),
  })
  .meta({ id: 'SyncStatus' })

export const removalSchema = z
  .object({
    id: z.uuid().describe('Of the entity.'),
    type: z.literal('sync_removal'),
    attributes: z.object({
      entity_type: z.string(),
      uid: z.string().describe("The provider's own id."),
      name: z.string(),
    }),
  })
  .meta({ id: 'SyncRemoval' })

export const planSchema = z
  .object({
    id: z.uuid(),
    type: z.literal('sync_plan'),
    attributes: z.object({
      known: z.array(z.object({ entity_type: z.string(), count })).describe('From the syncs so far.'),
      full: z.object({
        lists: z.array(plannedListSchema),
        memberships: z
          .object({
            by: z.enum(['group', 'identity']).optional().describe('Whom a sync would ask.'),
            calls: z.object({ group: count.optional(), identity: count.optional() }),
          })
          .optional(),
        calls: count.optional().describe('All in all; absent as long as a part of it is unknown.'),
      }),
      incremental: z.object({
        lists: z.array(plannedListSchema),
        calls: count.optional().describe('Of the last one: they depend on what has changed.'),
      }),
    }),
  })
  .meta({ id: 'SyncPlan' })

export const planDocument = (
  configId: string,
  { known, full, incremental }: RunPlan,
): z.infer<typeof planSchema> => ({
  id: configId,
  type: 'sync_plan',
  attributes: {
    known: entityKinds.flatMap((kind) => {
      const open = known[kind]
      return open === undefined ? [] : [{ entity_type: entityTypes[kind], count: open }]
    }),
    full: {
      lists: full.lists.map((list) => ({ ...list })),
      ...(full.memberships && { memberships: full.memberships }),
      ...(full.calls !== undefined && { calls: full.calls }),
    },
    incremental: {
      lists: incremental.lists.map((list) => ({ ...list })),
      ...(incremental.calls !== undefined && { calls: incremental.calls }),
    },
  },
})

/** What a run kept of its end, each part of it as far as it is understood. */
const counts = z.object({ seen: count, added: count, changed: count, removed: count, open: count })
const storedResultSchema = z.object({
  counts: z.object({ identity: counts, group: counts, device: counts }).optional().catch(undefined),
  held: resultSchema.shape.held.catch(undefined),
  sample: z
    .array(
      z.object({
        kind: z.enum(entityKinds),
        entityId: z.string(),
        uid: z.string(),
        label: z.string(),
        change: z.enum(['added', 'changed', 'removed']),
      }),
    )
    .optional()
    .catch(undefined),
  leftOut: resultSchema.shape.left_out.catch(undefined),
  unreadable: resultSchema.shape.unreadable.catch(undefined),
  memberships: resultSchema.shape.memberships.catch(undefined),
})

function resultOf(stored: object, { ofEntities }: Sight): z.infer<typeof resultSchema> {
  const result = storedResultSchema.safeParse(stored).data ?? {}
  const { unreadable } = result
  return {
    ...(result.counts && {
      counts: entityKinds.flatMap((kind) =>
        result.counts === undefined ? [] : [{ entity_type: entityTypes[kind], ...result.counts[kind] }],
      ),
    }),
    ...(result.held && { held: result.held }),
    ...(ofEntities &&
      result.sample && {
        sample: result.sample.map(({ kind, entityId, uid, label, change }) => ({
          entity_type: entityTypes[kind],
          entity_id: entityId,
          uid,
          name: label,
          change,
        })),
      }),
    ...(result.leftOut && result.leftOut.length > 0 && { left_out: result.leftOut }),
    ...(unreadable &&
      unreadable.count > 0 && {
        unreadable: ofEntities
          ? unreadable
          : { ...unreadable, named: unreadable.named.map(({ uid: _, ...record }) => record) },
      }),
    ...(result.memberships && { memberships: result.memberships }),
  }
}

/** Progress as far as it is shown: cursors are the source's own. */
const progressSchema = z.object({
  lists: z.record(z.string(), listProgress).catch({}),
  memberships: z.object({ isEnded: z.boolean(), pages: count, seen: count }).optional().catch(undefined),
})
const storedPlanSchema = z.object({ calls: count.optional() })

export function runDocument(row: SyncRunRow, now: Date, sight: Sight): RunDocument {
  const isUnderWay = row.status === 'running'
  const plannedCalls = storedPlanSchema.safeParse(row.plan).data?.calls
  const result = row.result === null ? undefined : resultOf(row.result, sight)
  const elapsedMs =
    row.started_at === null ? undefined : (row.ended_at ?? now).getTime() - row.started_at.getTime()
  return {
    id: row.id,
    type: 'sync_run',
    attributes: {
      config_id: row.config_id,
      mode: row.mode,
      dry_run: row.dry_run,
      status: row.status,
      reason: row.reason,
      requested_by: row.requested_by,
      requested_at: row.requested_at.toISOString(),
      ...(row.started_at && { started_at: row.started_at.toISOString() }),
      ...(row.ended_at && { ended_at: row.ended_at.toISOString() }),
      ...(elapsedMs !== undefined && { duration_ms: Math.max(0, elapsedMs) }),
      cancel_requested: row.cancel_requested,
      ...(row.approved_by !== null && { approved_by: row.approved_by }),
      pages: row.pages,
      seen: row.seen,
      changed: row.changed,
      removed: row.removed,
      provider_calls: row.provider_calls,
      throttled: row.throttled,
      ...(isUnderWay && elapsedMs !== undefined && paceOf(row, plannedCalls, elapsedMs / 1000)),
      lists: listsOf(row),
      ...(plannedCalls !== undefined && { planned_calls: plannedCalls }),
      ...(result && { result }),
      ...(row.error && { error: row.error as z.infer<typeof errorDocument> }),
    },
  }
}

/** How fast it goes, and how long it takes if it goes on like this. */
function paceOf(
  { seen, provider_calls }: SyncRunRow,
  calls: number | undefined,
  seconds: number,
): { readonly rate_per_second?: number; readonly remaining_seconds?: number } {
  if (seconds < 1 || provider_calls === 0) return {}
  return {
    rate_per_second: Math.round((seen / seconds) * 10) / 10,
    ...(calls !== undefined &&
      calls > provider_calls && {
        remaining_seconds: Math.ceil(((calls - provider_calls) / provider_calls) * seconds),
      }),
  }
}

function listsOf({ progress }: SyncRunRow): Record<string, z.infer<typeof listProgress>> {
  const { lists = {}, memberships } = progressSchema.safeParse(progress).data ?? {}
  return {
    ...lists,
    ...(memberships && {
      memberships: {
        state: memberships.isEnded ? 'ended' : 'reading',
        pages: memberships.pages,
        seen: memberships.seen,
      },
    }),
  }
}

export function statusDocument(status: SyncStatus, now: Date, sight: Sight): z.infer<typeof statusSchema> {
  const { config, settings, state, sightings, budget, active, quarantined } = status
  return {
    id: config.id,
    type: 'sync_status',
    attributes: {
      enabled: config.enabled && settings.isEnabled,
      paused: state.paused,
      schedule: {
        incremental_minutes: settings.incrementalMinutes,
        ...('hours' in settings.full
          ? { full_hours: settings.full.hours }
          : { full_at: timeOf(settings.full.atMinute) }),
      },
      ...(state.next_full_at && { next_full_at: state.next_full_at.toISOString() }),
      ...(state.next_incremental_at && { next_incremental_at: state.next_incremental_at.toISOString() }),
      ...(state.incremental_since && { incremental_since: state.incremental_since.toISOString() }),
      ...(state.complete_at && { complete_at: state.complete_at.toISOString() }),
      entities: sightings.map(({ kind, seenAt, open }) => ({
        entity_type: entityTypes[kind],
        count: open,
        last_seen_at: seenAt.toISOString(),
      })),
      failures: state.failures,
      ...(state.last_error && { last_error: state.last_error as z.infer<typeof errorDocument> }),
      budget: budget.map(({ bucket, limit, ratePerSecond, throttledUntil }) => ({
        bucket,
        limit: limit.points,
        per_ms: limit.perMs,
        rate_per_second: ratePerSecond,
        ...(throttledUntil && { throttled_until: throttledUntil.toISOString() }),
      })),
      ...(active && { active_run: runDocument(active, now, sight) }),
      ...(quarantined && { quarantined_run: runDocument(quarantined, now, sight) }),
    },
  }
}

const kindOfNumber = new Map<number, EntityKind>(entityKinds.map((kind) => [kindNumbers[kind], kind]))

export const removalDocument = (row: SyncRemovalRow): z.infer<typeof removalSchema> => ({
  id: row.entity_id,
  type: 'sync_removal',
  attributes: {
    entity_type: entityTypes[kindOfNumber.get(row.kind) ?? 'identity'],
    uid: row.uid,
    name: row.label,
  },
})
