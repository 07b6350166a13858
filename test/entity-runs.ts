/** Runs of a configuration, as whoever drives a sync has them: pages staged one by one, and merged. */
import { randomUUID } from 'node:crypto'
import {
  type Activity,
  type EntityKind,
  entityId,
  entityKinds,
  factNames,
  kindNumbers,
} from '../src/entities/model.ts'
import type { Page } from '../src/sources/reading.ts'
import type { Database } from '../src/store/database.ts'
import { type Merge, type MergeResult, merge } from '../src/store/merge.ts'
import type { SyncMode } from '../src/store/schema.ts'
import { openStage, type RunHandle, type Stage, type StagedPage } from '../src/store/sync-stage.ts'
import { stagePage } from '../src/sync/staging.ts'

export interface Owner {
  readonly organizationId: string
  readonly configId: string
}

export async function newConfig({ query }: Pick<Database, 'query'>, organizationId?: string): Promise<Owner> {
  const organization =
    organizationId ??
    (
      await query
        .insertInto('organizations')
        .values({ name: `Acme ${randomUUID()}` })
        .returning('id')
        .executeTakeFirstOrThrow()
    ).id
  const { id } = await query
    .insertInto('integration_configs')
    .values({
      organization_id: organization,
      integration_type: 'OKTA',
      domain: 'acme.okta.com',
      instance: randomUUID(),
      name: 'Acme',
      settings: '{}',
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return { organizationId: organization, configId: id }
}

export async function newRun(
  { query }: Pick<Database, 'query'>,
  owner: Owner,
  mode: SyncMode = 'full',
): Promise<RunHandle & { readonly mode: SyncMode }> {
  const { id } = await query
    .insertInto('sync_runs')
    .values({
      organization_id: owner.organizationId,
      config_id: owner.configId,
      mode,
      status: 'running',
      requested_by: 'test',
      reason: 'test',
      fence: 1,
      progress: '{}',
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return { ...owner, id, fence: 1, mode }
}

/** Another node goes on with the run. */
export async function takeOver<R extends RunHandle>({ query }: Pick<Database, 'query'>, run: R): Promise<R> {
  await query
    .updateTable('sync_runs')
    .set({ fence: run.fence + 1, status: 'running' })
    .where('id', '=', run.id)
    .execute()
  return { ...run, fence: run.fence + 1 }
}

/** @param stage of the run, where those that are as they were known are staged without their document */
export async function staged(
  owner: Owner,
  page: Page & Pick<StagedPage, 'kept'>,
  stage: Pick<Stage, 'unchanged'> = { unchanged: async () => new Set() },
): Promise<StagedPage> {
  const read = await stagePage({ ...owner, source: 'okta' }, stage, page, { list: 'test', kinds: [] })
  return { ...read.page, kept: page.kept ?? [] }
}

export const idOf = ({ organizationId, configId }: Owner, kind: EntityKind, uid: string) =>
  entityId(organizationId, configId, kind, uid)

export const noTotals = { pages: 0, seen: 0, providerCalls: 0, throttled: 0 }

export async function commitAll(stage: Stage, owner: Owner, pages: readonly Page[]): Promise<void> {
  for (const page of pages.length === 0 ? [{}] : pages)
    await stage.commit([await staged(owner, page, stage)], {}, noTotals)
}

/** Everything was read to its end, for a full run; nothing of it for an increment. */
export const proofOf = (mode: SyncMode) =>
  ({
    mode,
    completeKinds: mode === 'full' ? entityKinds : [],
    provenKinds: entityKinds,
    areMembershipsComplete: mode === 'full',
    completeFacts: mode === 'full' ? factNames : [],
  }) as const

const looseFuse = { percent: 100, atLeast: 1_000_000 }

/** Merges, and ends the run as what came of it. */
export function mergeRun(
  database: Database,
  run: RunHandle & { readonly mode: SyncMode },
  what: Partial<Merge> = {},
): Promise<MergeResult> {
  return merge(database, {
    run,
    ...proofOf(run.mode),
    fuse: looseFuse,
    now: new Date(),
    async finish(transaction, { kind }) {
      await transaction
        .updateTable('sync_runs')
        .set({ status: kind === 'quarantined' ? 'quarantined' : 'succeeded' })
        .where('id', '=', run.id)
        .execute()
    },
    ...what,
  })
}

/** A whole run. */
export async function sync(
  database: Database,
  owner: Owner,
  mode: SyncMode,
  pages: readonly Page[],
  what: Partial<Merge> = {},
): Promise<MergeResult> {
  const run = await newRun(database, owner, mode)
  const stage = await openStage(database, run)
  await commitAll(stage, owner, pages)
  const result = await mergeRun(database, run, what)
  if (result.kind !== 'quarantined') await stage.drop()
  return result
}

export interface Revision {
  readonly kind: EntityKind
  readonly uid: string
  readonly label: string
  readonly first_seen_at: Date
  readonly ended_at: Date | number
  readonly last_seen_at: Date | null
  readonly opened_in: number
  readonly closed_in: number | null
  readonly content_hash: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly facts: Readonly<Record<string, unknown>>
  readonly group_uids: readonly string[]
  readonly groups: readonly { readonly uid: string; readonly name: string }[]
  readonly activity: Activity
  readonly raw: unknown
  readonly terms: readonly string[]
}

/** All revisions of a configuration, by kind and id, in the order of time. */
export async function revisionsOf(
  { query }: Pick<Database, 'query'>,
  { configId }: Owner,
): Promise<Revision[]> {
  const rows = await query
    .selectFrom('entity_revisions')
    .selectAll()
    .select(({ fn, ref }) => fn<string[]>('tsvector_to_array', [ref('terms')]).as('term_list'))
    .where('config_id', '=', configId)
    .orderBy('kind')
    .orderBy('uid')
    .orderBy('first_seen_at')
    .execute()
  return rows.map((row) => ({
    ...row,
    kind: entityKinds.find((kind) => kindNumbers[kind] === row.kind) ?? 'identity',
    attributes: JSON.parse(row.attributes),
    facts: JSON.parse(row.facts),
    groups: JSON.parse(row.groups),
    activity: JSON.parse(row.activity),
    raw: JSON.parse(row.raw),
    terms: row.term_list.map((term) => term.slice(9)),
  }))
}
