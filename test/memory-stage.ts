/** A stage in memory, which keeps pages and progress as the database's does: together, or not at all. */
import type { Membership } from '../src/entities/model.ts'
import type { Stage, StagedEntity, StagedPage } from '../src/store/sync-stage.ts'
import { type Progress, readProgress } from '../src/sync/progress.ts'

export interface MemoryStage extends Stage {
  readonly entities: Map<string, StagedEntity>
  readonly memberships: Set<string>
  readonly facts: Set<string>
  /** As JSON gives it back. */
  readonly progress: () => Progress | undefined
  readonly totals: () => Parameters<Stage['commit']>[2] | undefined
  /** Pages of each commit. */
  readonly commits: StagedPage[][]
  /** Called before a commit is kept. */
  onCommit: (pages: readonly StagedPage[]) => void | Promise<void>
}

export function memoryStage(): MemoryStage {
  const entities = new Map<string, StagedEntity>()
  const memberships = new Set<string>()
  const facts = new Set<string>()
  const changed = new Map<string, { readonly memberCount?: number }>()
  const commits: StagedPage[][] = []
  let text = 'null'
  let totals: Parameters<Stage['commit']>[2] | undefined
  const told = ({ group, member, change }: Membership) => JSON.stringify([group, member, change ?? 'is'])
  const owned = (by: 'group' | 'identity') =>
    [...entities.values()]
      .filter(({ kind }) => kind === by)
      .map(({ uid, memberCount }) => ({ uid, ...(memberCount !== undefined && { memberCount }) }))
      .sort((one, other) => (one.uid < other.uid ? -1 : 1))
  const stage: MemoryStage = {
    entities,
    memberships,
    facts,
    commits,
    progress: () => readProgress(JSON.parse(text)),
    totals: () => totals,
    onCommit: () => undefined,
    get isEmpty() {
      return commits.length === 0
    },
    async commit(pages, progress, now) {
      await stage.onCommit(pages)
      text = JSON.stringify(progress)
      totals = now
      if (pages.length > 0) commits.push([...pages])
      for (const page of pages) {
        for (const entity of page.entities) entities.set(`${entity.kind} ${entity.uid}`, entity)
        for (const membership of page.memberships) memberships.add(told(membership))
        for (const { uid, name, value } of page.facts) facts.add(JSON.stringify([uid, name, value]))
        for (const { uid, ...group } of page.changedGroups) changed.set(uid, group)
      }
    },
    unchanged: async () => new Set(),
    async counts() {
      const count = (kind: StagedEntity['kind']) =>
        [...entities.values()].filter((one) => one.kind === kind).length
      return { identities: count('identity'), groups: count('group'), devices: count('device') }
    },
    sumCalls: async (by, calls) => owned(by).reduce((sum, owner) => sum + calls(owner), 0),
    owners: async (by, after, limit) =>
      owned(by)
        .filter(({ uid }) => uid > after)
        .slice(0, limit),
    newcomers: async () => [],
    changedGroups: async (after, limit) =>
      [...changed]
        .map(([uid, group]) => ({ uid, ...group }))
        .sort((one, other) => (one.uid < other.uid ? -1 : 1))
        .filter(({ uid }) => uid > after)
        .slice(0, limit),
    async drop() {
      entities.clear()
      memberships.clear()
      facts.clear()
      commits.length = 0
      text = 'null'
    },
  }
  return stage
}
