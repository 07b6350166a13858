/** Pages as rows of a run's tables. */
import { type EntityKind, entityId, entityKinds, kindNumbers } from '../entities/model.ts'
import { roleTerms, termPrefix } from '../entities/terms.ts'
import { arrayText, copyRow, tsvectorText } from './copy.ts'
import type { SyncMode } from './schema.ts'
import type { StageTables } from './stage-tables.ts'
import type { RunHandle, StagedPage } from './sync-stage.ts'

/** Rows for a table and those of its columns that they fill. */
export interface StageRows {
  readonly into: string
  readonly rows: Iterable<string>
}

/** Rows of one commit at most. */
const rowsOfCommit = 2 ** 24

/** @param commit its number in the run: rows of a later commit have greater numbers */
export function stageRows(
  tables: StageTables,
  run: RunHandle & { readonly mode: SyncMode },
  commit: number,
  pages: readonly StagedPage[],
): StageRows[] {
  const first = commit * rowsOfCommit
  const isAny = (list: keyof StagedPage) => pages.some((page) => (page[list]?.length ?? 0) > 0)
  return [
    ...(isAny('entities') || isAny('removed')
      ? [
          {
            into: `${tables.entities} (n, kind, entity_id, uid, label, member_count, members_tag, activity, document_hash, attributes, raw, terms, keys)`,
            rows: entityRows(run, first, pages),
          },
        ]
      : []),
    ...(isAny('memberships') || isAny('changedGroups')
      ? [
          {
            into: `${tables.memberships} (n, group_uid, member_uid, is_removed, member_count, told_ids)`,
            rows: membershipRows(run, first, pages),
          },
        ]
      : []),
    ...(isAny('facts') || isAny('wholeFacts') || isAny('activities') || isAny('kept')
      ? [{ into: `${tables.facts} (n, entity_id, name, value, terms)`, rows: factRows(run, first, pages) }]
      : []),
  ]
}

function* entityRows(run: RunHandle, first: number, pages: readonly StagedPage[]): Generator<string> {
  const prefix = termPrefix(run.organizationId)
  let n = first
  for (const { entities, removed } of pages) {
    for (const entity of entities) {
      const { document } = entity
      yield copyRow(
        n++,
        kindNumbers[entity.kind],
        entity.entityId,
        entity.uid,
        entity.label,
        entity.memberCount,
        entity.membersTag,
        entity.activity,
        entity.documentHash,
        document?.attributes,
        document?.raw,
        document && tsvectorText(document.terms, prefix),
        document && arrayText(document.keys),
      )
    }
    for (const { kind, uid } of removed) {
      const id = entityId(run.organizationId, run.configId, kind, uid)
      yield copyRow(n++, kindNumbers[kind], id, uid, ...Array.from({ length: 9 }, () => null))
    }
  }
}

function* membershipRows(
  run: RunHandle & { readonly mode: SyncMode },
  first: number,
  pages: readonly StagedPage[],
): Generator<string> {
  let n = first
  for (const { memberships, changedGroups } of pages) {
    const idOf = (kind: EntityKind, uid: string) => entityId(run.organizationId, run.configId, kind, uid)
    // An increment looks up whom it tells of: whatever kind has that id.
    const idsOf = (group: string, member?: string) =>
      run.mode === 'full'
        ? null
        : arrayText([
            idOf('group', group),
            ...(member === undefined ? [] : entityKinds.map((kind) => idOf(kind, member))),
          ])
    for (const { uid, memberCount } of changedGroups)
      yield copyRow(n++, uid, null, false, memberCount, idsOf(uid))
    for (const { group, member, change } of memberships)
      yield copyRow(n++, group, member, change === 'removed', null, idsOf(group, member))
  }
}

function* factRows(
  run: RunHandle & { readonly mode: SyncMode },
  first: number,
  pages: readonly StagedPage[],
): Generator<string> {
  const prefix = termPrefix(run.organizationId)
  let n = first
  for (const { facts, wholeFacts = [], activities, kept = [] } of pages) {
    // A full run knows by its lists what is told whole.
    for (const { kind, uid, names } of run.mode === 'full' ? [] : wholeFacts) {
      const id = entityId(run.organizationId, run.configId, kind, uid)
      for (const name of names) yield copyRow(n++, id, 'whole', name, null)
    }
    for (const { kind, uid, name, value } of facts) {
      const terms = name === 'roles' ? arrayText(roleTerms(value).map((term) => prefix + term)) : null
      yield copyRow(n++, entityId(run.organizationId, run.configId, kind, uid), name, String(value), terms)
    }
    for (const { kind, uid, activity } of activities) {
      const id = entityId(run.organizationId, run.configId, kind, uid)
      yield copyRow(n++, id, 'activity', activity, null)
    }
    for (const { kind, uid } of kept) {
      yield copyRow(n++, entityId(run.organizationId, run.configId, kind, uid), 'kept', null, null)
    }
  }
}
