/** Syncs under control: asked for, watched, paused, cancelled, approved. What a run does is elsewhere. */
import type { Transaction } from 'kysely'
import type { Requester } from '../configs/requester.ts'
import { nextAfter, type SyncSettings, syncSettingsOf } from '../configs/sync-settings.ts'
import { type EntityKind, entityKinds, kindNumbers } from '../entities/model.ts'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import { recordAudit } from '../store/audit.ts'
import { type ConfigRow, configsIn } from '../store/configs.ts'
import { type Database, inTransaction } from '../store/database.ts'
import type { Schema, SyncMode } from '../store/schema.ts'
import { callOffScheduled, type SyncRemovalRow, type SyncRunRow, syncRunsIn } from '../store/sync-runs.ts'
import { dropStage } from '../store/sync-stage.ts'
import {
  beginSyncs,
  findSyncState,
  recordSyncEnd,
  type SyncStateRow,
  setPaused,
} from '../store/sync-states.ts'
import { databaseCode } from '../store/unavailable.ts'
import type { Accounts } from './accounts.ts'
import type { BudgetStanding, Budgets } from './budget.ts'
import { planRun, type RunPlan } from './plan.ts'
import { readProgress } from './progress.ts'
import { SyncRefusal } from './refusal.ts'

export interface SyncParts {
  readonly database: Pick<Database, 'query'>
  readonly sources: readonly AnySource[]
  readonly budgets: Pick<Budgets, 'standing'>
  readonly accounts: Pick<Accounts, 'of'>
  now(): Date
  /** Told that there is something to work on. */
  onWork(): void
}

type Who = Pick<Requester, 'organization' | 'actor'>

export interface Wish {
  /** Absent: an increment where one is possible, otherwise everything. */
  readonly mode?: SyncMode
  /** Counts what would change, and changes nothing. */
  readonly isDryRun: boolean
}

export interface SyncStatus {
  readonly config: ConfigRow
  readonly settings: SyncSettings
  readonly state: SyncStateRow
  /** Of kinds that were ever seen. */
  readonly sightings: readonly { readonly kind: EntityKind; readonly seenAt: Date; readonly open: number }[]
  /** As this node knows it; empty where it has not read the configuration. */
  readonly budget: readonly BudgetStanding[]
  readonly active: SyncRunRow | undefined
  readonly quarantined: SyncRunRow | undefined
}

export interface RunPage {
  readonly beforeId?: string
  readonly limit: number
}

export interface RemovalPage {
  readonly after?: Pick<SyncRemovalRow, 'kind' | 'entity_id'>
  readonly limit: number
}

/** Operations on syncs. Whatever a caller has to expect is thrown as SyncRefusal. */
export interface Sync {
  status(organizationId: string, configId: string): Promise<SyncStatus>
  /** Requests that runs are thought to take; nobody is asked for it. */
  plan(organizationId: string, configId: string): Promise<RunPlan>
  /** Asks for a run; answers the one that is queued or under way when it is the same. */
  request(who: Who, configId: string, wish: Wish): Promise<SyncRunRow>
  get(organizationId: string, configId: string, runId: string): Promise<SyncRunRow>
  /** The newest first. */
  list(organizationId: string, configId: string, page: RunPage): Promise<SyncRunRow[]>
  /** What is queued ends at once, what is under way as soon as whoever works on it hears of it. */
  cancel(who: Who, configId: string, runId: string): Promise<SyncRunRow>
  /** Has a quarantined run applied as it stands. */
  approve(who: Who, configId: string, runId: string): Promise<SyncRunRow>
  /** Gives a quarantined run up. */
  reject(who: Who, configId: string, runId: string): Promise<SyncRunRow>
  /** What a quarantined run would remove. */
  removals(
    organizationId: string,
    configId: string,
    runId: string,
    page: RemovalPage,
  ): Promise<{ readonly rows: readonly SyncRemovalRow[]; readonly total: number }>
  /** No run begins by itself any more; one that is under way goes on. */
  pause(who: Who, configId: string): Promise<void>
  resume(who: Who, configId: string): Promise<void>
}

export function createSync(parts: SyncParts): Sync {
  const { database, sources, budgets, accounts, now, onWork } = parts
  const stored = syncRunsIn(database.query)

  const configOf = async (organizationId: string, configId: string): Promise<ConfigRow> => {
    const row = await configsIn(database.query).find(organizationId, configId)
    if (row === undefined) throw new SyncRefusal({ kind: 'config_not_found', id: configId })
    return row
  }

  const stateOf = async (query: Database['query'] | Transaction<Schema>, config: ConfigRow) => {
    const state = await findSyncState(query, config.organization_id, config.id)
    return state ?? newState(config)
  }

  const readerOf = ({ integration_type }: ConfigRow) => {
    const source = sourceByIntegrationType(sources, integration_type)
    if (source?.reader === undefined) throw new SyncRefusal({ kind: 'not_readable', type: integration_type })
    return { source, reader: source.reader }
  }

  /** Why there is nothing that an increment could go on from, if so. */
  const obstacleTo = (config: ConfigRow, state: SyncStateRow) => {
    if (readerOf(config).reader.increments.length === 0) return 'source'
    if (state.marks === null) return 'no_full_run'
    return state.marks_revision === config.revision ? undefined : 'other_credentials'
  }

  const request: Sync['request'] = async ({ organization, actor }, configId, { mode: wished, isDryRun }) => {
    const config = await configOf(organization.id, configId)
    if (!config.enabled) throw new SyncRefusal({ kind: 'disabled', id: configId })
    const obstacle = obstacleTo(config, await stateOf(database.query, config))
    if (wished === 'incremental' && obstacle !== undefined)
      throw new SyncRefusal({ kind: 'no_increment', why: obstacle })
    const mode = wished ?? (obstacle === undefined ? 'incremental' : 'full')
    const run = await inTransaction(database, async (transaction) => {
      // So that it is neither switched off nor removed meanwhile.
      const held = await configsIn(transaction).hold(organization.id, configId)
      if (held === undefined) throw new SyncRefusal({ kind: 'config_not_found', id: configId })
      if (!held.enabled) throw new SyncRefusal({ kind: 'disabled', id: configId })
      await beginSyncs(transaction, held, now())
      const runs = syncRunsIn(transaction)
      const made = await runs.insert(organization.id, {
        configId,
        mode,
        isDryRun,
        requestedBy: actor.id,
        reason: 'request',
      })
      if (made !== undefined) {
        await recordAudit(transaction, actor, {
          action: 'sync.run.request',
          target: configId,
          outcome: 'succeeded',
          details: { run: made.id, mode, dry_run: isDryRun },
        })
        return made
      }
      const other = await runs.findActive(organization.id, configId)
      // Whatever was active has ended just now: the caller may ask again at once.
      if (other === undefined) return undefined
      const isSame = other.mode === mode && other.dry_run === isDryRun && !other.cancel_requested
      if (isSame && other.approved_by === null) return other
      throw new SyncRefusal({
        kind: 'another_active',
        runId: other.id,
        mode: other.mode,
        isDryRun: other.dry_run,
      })
    })
    if (run === undefined) return request({ organization, actor }, configId, { mode, isDryRun })
    onWork()
    return run
  }

  /** Changes a run while nobody else can, and writes who did it to the audit trail. */
  const changeRun = async (
    { organization, actor }: Who,
    configId: string,
    runId: string,
    action: string,
    change: (transaction: Transaction<Schema>, run: SyncRunRow, config: ConfigRow) => Promise<SyncRunRow>,
  ): Promise<SyncRunRow> => {
    const changed = await inTransaction(database, async (transaction) => {
      // Configuration and run in the order in which a merge takes them.
      const config = await configsIn(transaction).hold(organization.id, configId)
      if (config === undefined) throw new SyncRefusal({ kind: 'config_not_found', id: configId })
      const run = await syncRunsIn(transaction)
        .lock(organization.id, configId, runId)
        .catch((error: unknown) => {
          if (databaseCode(error) === lockNotAvailable)
            throw new SyncRefusal({ kind: 'being_applied', runId })
          throw error
        })
      if (run === undefined) throw new SyncRefusal({ kind: 'run_not_found', id: runId })
      const after = await change(transaction, run, config)
      await recordAudit(transaction, actor, {
        action,
        target: configId,
        outcome: 'succeeded',
        details: { run: runId, mode: run.mode, from: run.status, to: after.status },
      })
      return after
    })
    onWork()
    return changed
  }

  const switchTo = async (paused: boolean, { organization, actor }: Who, configId: string) => {
    await inTransaction(database, async (transaction) => {
      // So that it is not removed meanwhile.
      const config = await configsIn(transaction).hold(organization.id, configId)
      if (config === undefined) throw new SyncRefusal({ kind: 'config_not_found', id: configId })
      await beginSyncs(transaction, config, now())
      if (!(await setPaused(transaction, organization.id, configId, paused))) return
      const calledOff = paused ? await callOffScheduled(transaction, configId, now()) : undefined
      // It is due as soon as the syncs go on.
      if (calledOff !== undefined)
        await recordSyncEnd(
          transaction,
          configId,
          calledOff === 'full' ? { nextFullAt: now() } : { nextIncrementalAt: now() },
        )
      await recordAudit(transaction, actor, {
        action: paused ? 'sync.pause' : 'sync.resume',
        target: configId,
        outcome: 'succeeded',
      })
    })
    onWork()
  }

  const get: Sync['get'] = async (organizationId, configId, runId) => {
    await configOf(organizationId, configId)
    const run = await stored.find(organizationId, configId, runId)
    if (run === undefined) throw new SyncRefusal({ kind: 'run_not_found', id: runId })
    return run
  }

  const approve: Sync['approve'] = (who, configId, runId) =>
    changeRun(who, configId, runId, 'sync.run.approve', async (transaction, run, config) => {
      if (run.status !== 'quarantined') throw notQuarantined(run)
      const runs = syncRunsIn(transaction)
      if (!config.enabled) throw new SyncRefusal({ kind: 'disabled', id: run.config_id })
      const readWith = readProgress(run.progress)?.revision
      if (readWith !== undefined && readWith !== config.revision)
        throw new SyncRefusal({ kind: 'outdated', runId })
      const other = await runs.findActive(run.organization_id, run.config_id)
      if (other !== undefined)
        throw new SyncRefusal({
          kind: 'another_active',
          runId: other.id,
          mode: other.mode,
          isDryRun: other.dry_run,
        })
      return runs.approve(run.organization_id, run.id, who.actor.id)
    }).catch((error: unknown) => {
      // Another one was queued at the same moment: by now it can be named.
      if (databaseCode(error) === uniqueViolation) return approve(who, configId, runId)
      throw error
    })

  return {
    async status(organizationId, configId) {
      const config = await configOf(organizationId, configId)
      const [state, active, quarantined, sightings] = await Promise.all([
        stateOf(database.query, config),
        stored.findActive(organizationId, configId),
        stored.findQuarantined(organizationId, configId),
        database.query
          .selectFrom('entity_sightings')
          .select(['kind', 'seen_at', 'open_count'])
          .where('config_id', '=', configId)
          .where('organization_id', '=', organizationId)
          .execute(),
      ])
      const account = accounts.of(configId)
      return {
        config,
        settings: syncSettingsOf(config.id, config.settings),
        state,
        sightings: entityKinds.flatMap((kind) =>
          sightings
            .filter((one) => one.kind === kindNumbers[kind])
            .map((one) => ({ kind, seenAt: one.seen_at, open: one.open_count })),
        ),
        budget: account === undefined ? [] : budgets.standing(account.source, account.account),
        active,
        quarantined,
      }
    },
    async plan(organizationId, configId) {
      const config = await configOf(organizationId, configId)
      const plan = await planRun(parts, config)
      if (plan === undefined) throw new SyncRefusal({ kind: 'not_readable', type: config.integration_type })
      return plan
    },
    request,
    get,
    async list(organizationId, configId, page) {
      await configOf(organizationId, configId)
      return stored.list(organizationId, configId, page)
    },
    cancel: (who, configId, runId) =>
      changeRun(who, configId, runId, 'sync.run.cancel', async (transaction, run, config) => {
        const runs = syncRunsIn(transaction)
        if (run.status === 'queued') {
          await dropStage(transaction, run.id)
          // What was due has been called off, as if it had been done.
          if (run.reason !== 'request' && run.approved_by === null)
            await recordSyncEnd(
              transaction,
              run.config_id,
              nextAfter(syncSettingsOf(config.id, config.settings), run.mode, now()),
            )
          return runs.cancel(run.organization_id, run.id, now())
        }
        if (run.status === 'running') return runs.requestCancel(run.organization_id, run.id)
        throw new SyncRefusal({
          kind: 'wrong_status',
          runId: run.id,
          status: run.status,
          wanted: 'queued or running',
        })
      }),
    approve,
    reject: (who, configId, runId) =>
      changeRun(who, configId, runId, 'sync.run.reject', async (transaction, run) => {
        if (run.status !== 'quarantined') throw notQuarantined(run)
        await dropStage(transaction, run.id)
        return syncRunsIn(transaction).cancel(run.organization_id, run.id, now())
      }),
    async removals(organizationId, configId, runId, page) {
      const run = await get(organizationId, configId, runId)
      const [rows, total] = await Promise.all([stored.removals(run.id, page), stored.countRemovals(run.id)])
      return { rows, total }
    },
    pause: (who, configId) => switchTo(true, who, configId),
    resume: (who, configId) => switchTo(false, who, configId),
  }
}

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const lockNotAvailable = '55P03'
const uniqueViolation = '23505'

const notQuarantined = ({ id, status }: SyncRunRow) =>
  new SyncRefusal({ kind: 'wrong_status', runId: id, status, wanted: 'quarantined' })

/** Of a configuration that was never asked about. */
const newState = ({ id, organization_id }: ConfigRow): SyncStateRow => ({
  config_id: id,
  organization_id,
  paused: false,
  marks: null,
  marks_revision: null,
  incremental_since: null,
  complete_at: null,
  next_full_at: null,
  next_incremental_at: null,
  failures: 0,
  last_error: null,
})
